"""A simulated machine: one node at a time, its disk, and a clock of its own that may be wrong.

Carries events to the node's turn and performs its effects as the real edge does: what a turn writes is on the disk
before anything of it leaves, and what comes meanwhile shares the next turn. Decides when the process dies and what it
finds when it starts again. Never looks into what the node says.
"""

from __future__ import annotations

import traceback
from collections import deque
from functools import partial
from random import Random
from typing import Final, Protocol

from leither_lite.board import Board
from leither_lite.effects import Effects, Reply
from leither_lite.errors import Halt
from leither_lite.identity import Key
from leither_lite.node.events import Event, FrameReceived, PeerJoined, PeerLeft
from leither_lite.node.turn import Node
from leither_lite.node.wallet import Keyring
from leither_lite.sim.agenda import Agenda
from leither_lite.sim.disk import Disk
from leither_lite.sim.faults import CRASH_EVERY_MS, TORN_PER_10_000, Faults
from leither_lite.sim.network import Hub

COMMIT_MS: Final = (1, 30)
BOOTED_MS: Final = (0, 1_000_000)
"""What a machine's own clock shows when its process starts."""
IDLE_TURNS_MAX: Final = 400
"""In a second without events: a node that asks for more does not wait, it spins."""
BOARD: Final = Board()


class Watcher(Protocol):
    """Who sees what machines do."""

    def performed(self, machine: Machine, effects: Effects) -> None:
        """A turn is durable, and its effects are about to leave."""

    def failed(self, machine: Machine, what: str) -> None:
        """A turn has failed in a way that no fault explains."""

    def told(self, machine: Machine, reply: Reply) -> None:
        """Somebody is answered."""

    def sends(self, machine: Machine, effects: Effects) -> list[tuple[bytes, bytes]]:
        """What really leaves a machine."""


class Machine:
    """One machine. `index` is its number in the world, `runs` counts its processes."""

    def __init__(
        self,
        index: int,
        key: Key,
        organization: Key | None,
        disk: Disk,
        agenda: Agenda,
        faults: Faults,
        random: Random,
        watcher: Watcher,
    ) -> None:
        self.index = index
        self.key_public = key.public
        self.disk = disk
        self.node: Node | None = None
        self.runs = 0
        self.hub: Hub | None = None
        self.is_up = False
        self._keyring = Keyring(key, organization)
        self._agenda = agenda
        self._faults = faults
        self._random = random
        self._watcher = watcher
        self._drift = faults.drift()
        self._inbox: deque[Event] = deque()
        self._events: list[Event] = []  # of the last turn
        self._is_busy = False
        self._turn_planned = False
        self._wake_ms: int | None = None
        self._booted_ms = 0
        self._began_ms = 0
        self._idle = (0, 0)

    # -- the clock -------------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """What the machine's own clock shows."""
        return self._booted_ms + (self._agenda.now_ms - self._began_ms) * (10_000 + self._drift) // 10_000

    def _virtual_ms(self, now_ms: int) -> int:
        """When the own clock shows `now_ms`."""
        passed = (now_ms - self._booted_ms) * 10_000
        return self._began_ms - (-passed // (10_000 + self._drift))

    # -- life and death --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A process starts, and recovers from the disk."""
        if self.is_up:
            return
        self.runs += 1
        self._booted_ms, self._began_ms = self._random.randint(*BOOTED_MS), self._agenda.now_ms
        self._inbox.clear()
        self._is_busy = self._turn_planned = False
        self._wake_ms = None
        self._make(None)
        self.is_up = self.node is not None
        self._plan_wake()
        if self._faults.may("crash"):
            after_ms = self._faults.between(CRASH_EVERY_MS)
            self._agenda.after(after_ms, partial(self._crash, self.runs, "crash", False))

    def _make(self, tick: int | None) -> None:
        try:
            self.node = Node(
                self.disk,
                self._keyring,
                BOARD,
                self._random.randbytes,
                self.now_ms,
                place=b"%d" % self.index,
                tick=tick,
                address=f"machine-{self.index}:1",
            )
        except Exception as error:
            self._fail("start", error)

    def _crash(self, run: int, kind: str, turned: bool) -> None:
        """Kill -9, or the power fails: at any moment, in the middle of a commit too."""
        if run != self.runs or not self.is_up or not self._faults.may(kind):
            return
        self._faults.counts[kind] += 1
        turned = turned or (self.disk.is_writing and not self._random.randrange(2))
        self.disk.cut(self._random, turned=turned)
        self.stop()
        self._agenda.after(self._faults.down_ms(), self.start)

    def stop(self) -> None:
        """The process is gone, with all that it had not written."""
        self.node = None
        self.is_up = False
        self._inbox.clear()
        if self.hub is not None:
            self.hub.down(self.index)

    def _fail(self, doing: str, error: Exception) -> None:
        if isinstance(error, Halt):
            self._watcher.failed(self, f"halt {error.code} at {doing}: {error.message}")
        else:
            frames = traceback.extract_tb(error.__traceback__)[-4:]
            where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
            self._watcher.failed(self, f"{type(error).__name__} at {doing}: {error} ({where})")
        self.stop()

    # -- turns -----------------------------------------------------------------------------------------------------

    def put(self, event: Event) -> None:
        """Something has come for the node."""
        if self.is_up:
            self._inbox.append(event)
            self._plan_turn()

    def _plan_turn(self) -> None:
        if not self._turn_planned and not self._is_busy:
            self._turn_planned = True
            self._agenda.after(1, partial(self._turn, self.runs))

    def _plan_wake(self) -> None:
        if self.node is None:
            return
        due_ms = max(self._virtual_ms(self.node.deadline_ms()), self._agenda.now_ms + 1)
        if self._wake_ms is None or due_ms < self._wake_ms or self._wake_ms <= self._agenda.now_ms:
            self._wake_ms = due_ms
            self._agenda.after(due_ms - self._agenda.now_ms, partial(self._wake, self.runs, due_ms))

    def _wake(self, run: int, due_ms: int) -> None:
        if run == self.runs and due_ms == self._wake_ms:
            self._wake_ms = None
            if not self._is_busy and not self._turn_planned:
                self._turn(run)

    def _count_idle(self) -> None:
        second, count = self._idle
        now_s = self._agenda.now_ms // 1_000
        self._idle = (now_s, count + 1 if now_s == second else 1)
        if self._idle[1] == IDLE_TURNS_MAX:
            self._watcher.failed(
                self, f"spins: deadline {self.node.deadline_ms() - self.now_ms if self.node else 0} ms"
            )

    def _turn(self, run: int) -> None:
        node = self.node
        if run != self.runs or node is None or self._is_busy:
            return
        self._turn_planned = False
        inbox = self._inbox
        events = self._events = [inbox.popleft() for _ in range(min(len(inbox), BOARD.turn_events_max))]
        if not events:
            self._count_idle()
        try:
            effects = node.turn(events, self.now_ms)
        except Exception as error:
            self._fail("turn", error)
            return
        if not effects.writes:
            self._perform(run, effects)
            return
        self._is_busy = True
        self.disk.begin(effects.writes)
        took_ms = self._random.randint(*COMMIT_MS)
        self._agenda.after(took_ms, partial(self._synced, run, effects))
        if self._faults.may("torn") and self._random.randrange(10_000) < TORN_PER_10_000:
            cut_ms = self._random.randint(0, took_ms - 1)
            turned = not self._random.randrange(3)
            self._agenda.after(cut_ms, partial(self._crash, run, "torn", turned))

    def _synced(self, run: int, effects: Effects) -> None:
        if run == self.runs and self.is_up:
            self.disk.turn_root()
            self._is_busy = False
            self._perform(run, effects)

    def _perform(self, run: int, effects: Effects) -> None:
        node, hub = self.node, self.hub
        if node is None or hub is None:
            return
        node.performed()
        self._watcher.performed(self, effects)
        for peer, content in self._watcher.sends(self, effects):
            hub.send(self.index, peer, content)
        for reply in effects.replies:
            self._watcher.told(self, reply)
        if effects.renew:
            untaken = self._events[len(self._events) - effects.untaken :]
            self._inbox.extendleft(
                reversed([each for each in untaken if not isinstance(each, PeerJoined | PeerLeft | FrameReceived)])
            )
            self._make(node.tick(self.now_ms) if node.clock.counts else None)
            self._inbox.extendleft(reversed(hub.peers_of(self.index)))
        if self._inbox:
            self._plan_turn()
        self._plan_wake()
