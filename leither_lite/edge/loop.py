"""The asyncio edge: takes events to the node's turn and performs its effects, in order (docs/store.md).

One turn at a time: what arrives while a commit is on its way to the disk shares the next one. Decides nothing about
the ledger; when a commit fails, the node is made again from the store, and whoever waited is told.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from leither_lite.board import Board
from leither_lite.edge import machine
from leither_lite.edge.client import format_address
from leither_lite.edge.health import Health
from leither_lite.edge.inbox import Inbox, limits_of
from leither_lite.edge.lmdb import Store
from leither_lite.edge.tcp import Wire
from leither_lite.edge.watchers import Subscription
from leither_lite.effects import Effects, Note, Write
from leither_lite.errors import Halt, LocalError
from leither_lite.node.clock import Clock
from leither_lite.node.events import Event, PeerJoined, Request
from leither_lite.node.turn import Node
from leither_lite.node.view import View
from leither_lite.node.wallet import Keyring

EVENTS_QUEUED_MAX: Final = 1_024
PROBE_MS: Final = 2_000
_WIRE_COUNTERS: Final = ("connections", "handshakes", "refused", "dropped", "sent_bytes", "received_bytes")

Waiter = asyncio.Future[dict[str, Any]]


class Service:
    """A running node: its store, its turn, and whoever waits for it."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        keyring: Keyring,
        board: Board,
        token: str,
        restored: bool,
        place: bytes,
        address: str | None = None,
    ) -> None:
        """`address`: where others reach this node, empty if it only dials out, None if it is on no network."""
        self.folder = folder
        self.board = board
        self.token = token
        self._store = store
        self._keyring = keyring
        self._place = place
        self._restored = restored
        self._address = address
        self._events: deque[tuple[Callable[[int], Request], Waiter]] = deque()
        self._wake = asyncio.Event()
        self.inbox = Inbox(board, self._wake.set)
        self.wire: Wire | None = None
        self._wanted: tuple[list[str], int] = ([], 0)
        self._here: list[Event] = []
        self._writer = ThreadPoolExecutor(1, "commit")
        self._subscriptions: list[Subscription] = []
        self._stopping = False
        self._probe_ms = 0
        self._written_bytes = 0
        self._counts = {"turns": 0, "commits": 0, "commit_failures": 0, "requests": 0, "requests_refused": 0}
        self.fatal: Halt | None = None
        self._make_node()
        self._healthy = True
        self.health = Health(folder, board.disk_reserve_bytes, self.node.pulse_ms, machine.now_ms())
        self.health.awaits_checkpoint = self.node.awaits_checkpoint

    def _make_node(self, clock: Clock | None = None) -> None:
        """From the store; with the count of the node before, if it had one."""
        now_ms = machine.now_ms()
        kept = clock if clock is not None and clock.counts else None
        self._store.renew()
        self.node = Node(
            self._store,
            self._keyring,
            self.board,
            os.urandom,
            now_ms,
            place=self._place,
            restored=self._restored,
            tick=None if kept is None else kept.tick(now_ms),
            tick_ms=None if kept is None else kept.since_ms(now_ms),
            address=self._address,
        )
        self.view = View(self.node)
        if self.wire is not None:
            self._here = [PeerJoined(peer, dialled) for peer, _, dialled in self.wire.peers()]
            self._wake.set()

    async def listen(self, host: str, port: int, address: str | None = None) -> tuple[str, int]:
        """Be on the network: reached at `host` and `port` (0: one that is free), and known to others as `address`, by
        default those two. Raises OSError."""
        self._join_network()
        wire = self.wire
        if wire is None:
            raise OSError("there is no wire")
        host, port = await wire.open(host, port)
        self.node.addresses.own = self._address = format_address(host, port) if address is None else address
        return host, port

    def announce(self, address: str) -> None:
        """Be known to others under this address."""
        self.node.addresses.own = self._address = address

    def _join_network(self) -> None:
        """Dial others, once."""
        if self.wire is None:
            key = self._keyring.node
            self.wire = Wire(self.node.network, key, self.inbox, limits_of(self.board), os.urandom)
            self.wire.goes_first = lambda peer: self.node.between.has_to_do_with(peer)
            self.inbox.resume = self.wire.resume

    def dial_out(self) -> None:
        """Be on the network without listening."""
        self._join_network()
        self.node.addresses.own = self._address = ""

    # -- what the API uses ---------------------------------------------------------------------------------------

    async def ask(self, make: Callable[[int], Request]) -> dict[str, Any]:
        """Put an event into the next turn; its answer comes when the turn's writes are on disk.

        Raises LocalError: what the node answers, busy, disk_low, or the code of the trouble with the store.
        """
        if self._stopping:
            raise LocalError("stopping", "the node is stopping")
        trouble, disk = self.health.trouble, self.health.disk_reason()
        if trouble is not None:
            raise LocalError(trouble.code, trouble.message)
        if disk is not None:
            raise LocalError(*disk)
        if len(self._events) >= EVENTS_QUEUED_MAX:
            raise LocalError("busy", "too many requests are waiting; try again")
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._events.append((make, waiter))
        self._wake.set()
        return await waiter

    def subscribe(self) -> Subscription:
        """Watch what happens. Raises LocalError("too_many_streams")."""
        if len(self._subscriptions) >= self.board.api_events_max:
            raise LocalError("too_many_streams", f"at most {self.board.api_events_max} streams of events")
        subscription = Subscription(self.unsubscribe)
        self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a watcher."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def report(self, halt: Halt) -> None:
        """A read has met damage in what the turns do not need: it is a reason in `status` from now on."""
        self.health.damage = self.health.damage or halt

    def status(self) -> dict[str, Any]:
        """The body of GET /v1/status."""
        node, header, root = self.node, self.node.books.header, self.view.way.root_node
        now_ms = machine.now_ms()
        reasons = self.health.reasons(now_ms)
        return {
            "account": node.wallet.node_key.account.hex(),
            "organization": node.network.hex(),
            "name": node.charter.charter.name,
            "pulse": header.pulse,
            "tick": node.tick(now_ms),
            "term": node.term,
            "group": self.view.way.own_place(),
            "role": self.view.role,
            "peers": len(node.peers.connected),
            "behind": node.catchup.behind,
            "evidence": node.committee.evidence.count,
            "chief_tick": node.hall.heartbeat.tick,
            "supply": node.group.supply,
            "root": None if root is None else root.hex(),
            "memory_kb": machine.memory_kb(),
            "store_bytes": self._store.size_bytes,
            "written_bytes": self._written_bytes,
            "healthy": not reasons,
            "reasons": reasons,
        }

    def metrics(self) -> dict[str, int]:
        """Counters and gauges."""
        memory = machine.memory_kb()
        header = self.node.books.header
        return {
            **{f"{name}_total": count for name, count in self._counts.items()},
            "pulse": header.pulse,
            "tick": self.node.tick(machine.now_ms()),
            "healthy": int(not self.health.reasons(machine.now_ms())),
            "late_ms": self.health.late_ms,
            "store_bytes": self._store.size_bytes,
            "written_bytes_total": self._written_bytes,
            "memory_resident_bytes": memory["resident"] * 1024,
            "memory_anonymous_bytes": memory["anonymous"] * 1024,
            "events_queued": len(self._events),
            "accounts": len(self.node.group.entries),
            "pool_bytes": self.node.books.pool.size_bytes,
            "pool_operations": len(self.node.books.pool),
            **self._wire_metrics(),
        }

    def _wire_metrics(self) -> dict[str, int]:
        wire = self.wire
        counters = {} if wire is None else wire.counters
        return {
            "peers": len(self.node.peers.connected),
            "peer_frames_waiting_bytes": self.inbox.size_bytes,
            "peer_frames_refused_total": sum(self.node.hall.refused.values()),
            **{f"peer_{name}_total": counters.get(name, 0) for name in _WIRE_COUNTERS},
        }

    # -- the loop ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End `run` after the turn that is under way."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Turn until stopped. Ends early, with `fatal` set, when the store cannot be trusted or an invariant broke."""
        try:
            while not self._stopping:
                await self._await_work()
                await self._turn()
        except Halt as halt:
            self.fatal = halt
        finally:
            self._stopping = True
            for _, waiter in self._events:
                _fail(waiter, LocalError("stopping", "the node is stopping"))
            for subscription in list(self._subscriptions):
                subscription.close()
            self._writer.shutdown()
            if self.wire is not None:
                await self.wire.close()

    async def _await_work(self) -> None:
        self._wake.clear()
        wait_ms = self.node.deadline_ms() - machine.now_ms()
        if self._events or self._stopping or wait_ms <= 0 or len(self.inbox) or self._here:
            return
        try:
            await asyncio.wait_for(self._wake.wait(), wait_ms / 1000)
        except TimeoutError:
            pass

    async def _turn(self) -> None:
        taken = [self._events.popleft() for _ in range(min(len(self._events), self.board.turn_events_max))]
        waiters = [waiter for _, waiter in taken]
        events: list[Event] = [*self._here, *self.inbox.take()]
        self._here = []
        events += [make(token) for token, (make, _) in enumerate(taken)]
        now_ms = machine.now_ms()
        due_ms = self.node.deadline_ms()
        try:
            effects = self.node.turn(events, now_ms)
            self._counts["turns"] += 1
            self._counts["requests"] += len(taken)
            if effects.writes:
                await self._commit(effects.writes)
            self._perform(effects, waiters)
            if effects.renew:
                # Peers tell the new node again what came after that; who asked for something is still to be answered.
                self._events.extendleft(reversed(taken[len(taken) - min(effects.untaken, len(taken)) :]))
                self._make_node(self.node.clock)
        except Halt as halt:
            for waiter in waiters:
                _fail(waiter, LocalError(halt.code, halt.message))
            if halt.code not in _OUTSIDE:
                raise
            self._recover(halt)
        except Exception:
            for waiter in waiters:
                _fail(waiter, LocalError("internal", "the node has failed; its log says how"))
            raise
        if now_ms >= due_ms:
            self.health.late_ms = now_ms - due_ms
            self.health.last_tick_ms = now_ms
            self.health.awaits_checkpoint = self.node.awaits_checkpoint
            self.health.others = self.node.troubles(now_ms, machine.memory_kb()["anonymous"] * 1024)
            await self._after_tick(now_ms)

    async def _commit(self, writes: Sequence[Write]) -> None:
        """Have writes on the disk. Raises Halt."""
        loop = asyncio.get_running_loop()
        self._written_bytes += await loop.run_in_executor(self._writer, _write, self._store, writes)
        self._store.renew()
        self.node.performed()
        self._restored = False  # the store remembers it now
        self._counts["commits"] += 1
        self.health.trouble = None

    def _recover(self, halt: Halt) -> None:
        """The commit failed, so nothing of the turn has happened: forget it, and begin again from the store.

        Raises Halt: store_lost where it may have happened; only a new start can tell.
        """
        self._counts["commit_failures"] += 1
        self.health.trouble = halt
        self._make_node(self.node.clock)

    def _perform(self, effects: Effects, waiters: Sequence[Waiter]) -> None:
        self._send(effects)
        for reply in effects.replies:
            waiter = waiters[reply.token]
            if isinstance(reply.value, LocalError):
                self._counts["requests_refused"] += 1
                _fail(waiter, reply.value)
            elif not waiter.done():
                waiter.set_result(reply.value)
        for note in effects.notes:
            if note.kind != "tick":
                self._tell(note)

    def _send(self, effects: Effects) -> None:
        """What is for the peers; each is sent what it is sent in order."""
        wire = self.wire
        if wire is None:
            return
        for peer, content in effects.sends:
            wire.send(peer, content)
        for peer, work in effects.work:
            wire.charge(peer, work)
        addresses = self.node.addresses
        wanted = (addresses.wanted(), len(addresses.needed()))
        if wanted != self._wanted:
            self._wanted = wanted
            wire.want(*wanted)

    def _tell(self, note: Note) -> None:
        for subscription in list(self._subscriptions):
            subscription.put(note)

    async def _after_tick(self, now_ms: int) -> None:
        """Tell a change of health; and while there is trouble, try now and then whether a commit works again.

        Where a seal is due, that is the trial: a smaller one would not show that there is room for it.
        """
        seals = self.node.books.has_work and not self.node.comeback.silent
        is_due = self.health.trouble is not None and now_ms >= self._probe_ms and not seals
        if is_due and self.health.disk_reason() is None:
            self._probe_ms = now_ms + PROBE_MS
            try:
                await self._commit([self.node.place_write()])
            except Halt as halt:
                if halt.code not in _OUTSIDE:
                    raise
                self._counts["commit_failures"] += 1
                self.health.trouble = halt
                self._store.renew()
        reasons = self.health.reasons(now_ms)
        if self._healthy == bool(reasons):
            self._healthy = not reasons
            self._tell(Note("health", {"healthy": self._healthy, "reasons": reasons}))


# Trouble that lies outside the store: it is tried again, and the node goes on where it was.
_OUTSIDE: Final = frozenset({"store_full", "disk_full", "disk_read_only", "disk_failing", "store_failed"})


def _write(store: Store, writes: Sequence[Write]) -> int:
    """Commit, and say how many bytes this thread has written for it."""
    before = machine.thread_written_bytes()
    store.write(writes)
    return machine.thread_written_bytes() - before


def _fail(waiter: Waiter, error: LocalError) -> None:
    if not waiter.done():
        waiter.set_exception(error)
