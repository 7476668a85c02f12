"""Nodes of one organization on stores in memory, joined by links with a delay: what a test does to them in one line.

Time is the test's. A frame arrives unless its link is cut or its receiver is down; nothing else is lost.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from leither_lite.board import Board
from leither_lite.effects import Effects, Note
from leither_lite.errors import LocalError
from leither_lite.ledger.joins import Admission, Application
from leither_lite.ledger.records import Role
from leither_lite.node import events as ev
from leither_lite.node.turn import Node
from leither_lite.node.view import View
from leither_lite.node.wallet import Keyring
from leither_lite.organization import Charter, SignedCharter, first_writes, joined_writes, usual_parameters
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore
from leither_lite.tree.proof import Trust, verify
from tests.ledger.founding import key_of

PULSE_MS: Final = 1_000
DELAY_MS: Final = 5
MISBEHAVED: Final = 50
Frame = tuple[int, int, int, int, bytes]


class Net:
    """`nodes[i]` is the node on `stores[i]`, with `keys[i]`; node 0 is the founder's, and holds the organization's key.

    The first `roster` are the committee. `willing` 0: nobody holds for the committee, so that seals are final at once.
    """

    def __init__(self, size: int, roster: int, *, held: int = 2, willing: int = 0, board: Board | None = None) -> None:
        self.organization = key_of(1)
        self.keys = [key_of(10 + index) for index in range(size)]
        self.board = Board(willing=willing) if board is None else board
        self.now_ms = 0
        self.stores: list[MemoryStore] = []
        self.nodes: list[Node] = []
        self.up: list[bool] = []
        self.cut: set[tuple[int, int]] = set()
        self.notes: list[list[Note]] = []
        self.blamed: list[tuple[int, int]] = []
        self.frames: list[Frame] = []
        self.tamper: Callable[[int, int, bytes], bytes | None] = lambda source, target, content: content
        self.seals: dict[tuple[int, bytes], bytes] = {}
        self._ticking = 0
        roster_keys = self.keys[:roster]
        charter = Charter(
            self.organization.public,
            "Test",
            1_000_000,
            PULSE_MS,
            tuple(key.public for key in roster_keys),
            self.keys[0].public,
            usual_parameters(roster_max=7, held=held),
        )
        self.charter = SignedCharter.sign(self.organization, charter)
        self.network = charter.network
        self.trust = Trust(self.organization.public, charter.roster)
        for _ in range(size):
            self.stores.append(MemoryStore())
            self.stores[-1].write(first_writes(self.charter, roster_keys))
        for index in range(size):
            self._place(index)
        for index in range(size):
            self.meet(index)

    def _place(self, index: int, *, restored: bool = False) -> None:
        node = self._make(index, restored=restored, tick=None)
        if index == len(self.nodes):
            self.nodes.append(node)
            self.up.append(True)
            self.notes.append([])
        self.nodes[index] = node
        self.up[index] = True

    def _make(self, index: int, *, restored: bool, tick: int | None) -> Node:
        return Node(
            self.stores[index],
            Keyring(self.keys[index], self.organization if index == 0 else None),
            self.board,
            Random(index).randbytes,
            self.now_ms,
            place=b"here",
            restored=restored,
            tick=tick,
            address=f"node{index}:1",
        )

    # -- links -----------------------------------------------------------------------------------------------------

    def is_linked(self, one: int, other: int) -> bool:
        """True if frames can go from one to the other."""
        return one != other and self.up[one] and self.up[other] and (min(one, other), max(one, other)) not in self.cut

    def meet(self, index: int) -> None:
        """A node and all that it is linked with see each other come."""
        for other in range(len(self.nodes)):
            if self.is_linked(index, other):
                self._see(index, other)
                self._see(other, index)

    def _see(self, index: int, other: int) -> None:
        if self.keys[other].public not in self.nodes[index].peers.connected:
            self.do(index, ev.PeerJoined(self.keys[other].public, index > other))

    def part(self, index: int, other: int) -> None:
        """Cut a link."""
        self.cut.add((min(index, other), max(index, other)))
        for one, two in ((index, other), (other, index)):
            if self.up[one]:
                self.do(one, ev.PeerLeft(self.keys[two].public))

    def split(self, *sides: Sequence[int]) -> None:
        """Cut all links between sides."""
        for number, side in enumerate(sides):
            for other in sides[number + 1 :]:
                for one in side:
                    for two in other:
                        self.part(one, two)

    def heal(self) -> None:
        """No link is cut any more."""
        self.cut = set()
        for index in range(len(self.nodes)):
            if self.up[index]:
                self.meet(index)

    def kill(self, index: int) -> None:
        """A node stops at once; its store stays."""
        self.up[index] = False
        for other in range(len(self.nodes)):
            if self.up[other]:
                self.do(other, ev.PeerLeft(self.keys[index].public))

    def stop(self) -> None:
        """All stop at once, and what is under way is lost."""
        self.up = [False] * len(self.nodes)
        self.frames = []

    def start(self, index: int, *, restored: bool = False) -> None:
        """A node starts from its store."""
        if self.up[index]:
            self.kill(index)
        self._place(index, restored=restored)
        self.meet(index)

    def newcomer(self) -> int:
        """A further node, whose store begins with the genesis; it is linked with nobody yet."""
        index = len(self.keys)
        self.keys.append(key_of(10 + index))
        self.stores.append(MemoryStore())
        self.stores[index].write(joined_writes(self.charter, self.stores[0].get(keys.GENESIS) or b""))
        self.cut |= {(other, index) for other in range(index)}
        self._place(index)
        return index

    def link(self, index: int, other: int) -> None:
        """Link two nodes."""
        self.cut.discard((min(index, other), max(index, other)))
        self._see(index, other)
        self._see(other, index)

    # -- turns -----------------------------------------------------------------------------------------------------

    def do(self, index: int, *events: ev.Event) -> Effects:
        """A turn of a node, performed."""
        effects = self.nodes[index].turn(events, self.now_ms)
        self.stores[index].write(effects.writes)
        self.nodes[index].performed()
        for target, content in effects.sends:
            self._send(index, self._index(target), content)
        self.notes[index] += [note for note in effects.notes if note.kind != "tick"]
        self.blamed += [(index, self._index(key)) for key, work in effects.work if work >= MISBEHAVED]
        if effects.renew:
            clock = self.nodes[index].clock
            tick = clock.tick(self.now_ms) if clock.counts else None
            self.nodes[index] = self._make(index, restored=False, tick=tick)
            self.meet(index)
            for other in range(len(self.nodes)):
                if self.is_linked(index, other):
                    self.do(index, ev.PeerJoined(self.keys[other].public, index > other))
        sealed = self.nodes[index].group.sealed.header
        digest = self.nodes[index].group.digest
        assert self.seals.setdefault((sealed.term, sealed.previous), digest) == digest, "two seals"
        return effects

    def _index(self, key: bytes) -> int:
        return next(index for index, each in enumerate(self.keys) if each.public == key)

    def _send(self, source: int, target: int, content: bytes) -> None:
        if not self.is_linked(source, target):
            return
        changed = self.tamper(source, target, content)
        if changed is not None:
            self._ticking += 1
            heapq.heappush(self.frames, (self.now_ms + DELAY_MS, self._ticking, source, target, changed))

    def hear(self, index: int, source: int, content: bytes) -> Effects:
        """A frame arrives."""
        return self.do(index, ev.FrameReceived(self.keys[source].public, content))

    def ask(self, index: int, event: ev.Event) -> dict[str, Any]:
        """The answer to an event. Raises its LocalError."""
        [reply] = self.do(index, event).replies
        if isinstance(reply.value, LocalError):
            raise reply.value
        return reply.value

    def run(self, ms: int) -> None:
        """So much time passes."""
        until_ms = self.now_ms + ms
        turns = 0
        while True:
            due_ms, index = min(
                (self.nodes[each].deadline_ms(), each) for each in range(len(self.nodes)) if self.up[each]
            )
            arrives_ms = self.frames[0][0] if self.frames else until_ms + 1
            if min(due_ms, arrives_ms) > until_ms:
                break
            turns = 0 if max(self.now_ms, min(due_ms, arrives_ms)) > self.now_ms else turns + 1
            assert turns < 50_000, "time stands still"
            if arrives_ms <= due_ms:
                _, _, source, target, content = heapq.heappop(self.frames)
                self.now_ms = max(self.now_ms, arrives_ms)
                if self.is_linked(source, target):
                    self.hear(target, source, content)
            else:
                self.now_ms = max(self.now_ms, due_ms)
                self.do(index)
        self.now_ms = until_ms

    # -- what tests ask most ---------------------------------------------------------------------------------------

    @property
    def pulses(self) -> list[int]:
        """The newest pulse of each node."""
        return [node.group.header.pulse for node in self.nodes]

    def agree(self) -> bool:
        """True if all that are up have the same last header."""
        return len({node.group.digest for index, node in enumerate(self.nodes) if self.up[index]}) == 1

    def admit(self, *indexes: int, role: int = Role.MEMBER) -> None:
        """The founder admits nodes."""
        for index in indexes:
            application = Application.make(self.network, self.keys[index], "")
            operation = Admission.make(self.network, self.keys[0], application, role)
            self.ask(0, ev.OperationReceived(0, operation, operation.encode()))

    def settled(self, amount: int = 1_000) -> Net:
        """All nodes have an account with some money in it."""
        self.run(50)
        self.admit(*range(1, len(self.nodes)))
        self.run(2_500)
        for index in range(len(self.nodes)):
            self.ask(0, ev.Distribute(0, self.keys[index].account, amount, "to begin with", None))
        self.run(2_500)
        assert self.agree(), self.pulses
        return self

    def pay(self, payer: int, payee: int, amount: int = 1) -> str:
        """A payment from one node to another; the transfer's id."""
        invoice = self.ask(payee, ev.CreateInvoice(0, None, amount, "", 0))["invoice"]
        return str(self.ask(payer, ev.PayInvoice(0, None, invoice, None, None))["id"])

    def state(self, payer: int, transfer: str) -> str:
        """What a payer is shown of a transfer."""
        return str(View(self.nodes[payer]).transfer(transfer)["state"])

    def balance(self, index: int, at: int | None = None) -> int:
        """What a node has, as another one knows."""
        entry = self.nodes[index if at is None else at].group.entries[self.keys[index].account]
        return entry.record.balance

    def beat(self, count: int, index: int = 0) -> None:
        """So many pulses, each with a distribution of node 0."""
        for _ in range(count):
            self.ask(0, ev.Distribute(0, self.keys[index].account, 1, "a beat", None))
            self.run(PULSE_MS)

    def check(self, index: int) -> None:
        """A node's store loads again to the same state, and what it proves can be verified from the charter."""
        node = self.nodes[index]
        again = self._make(index, restored=False, tick=None)
        assert again.group.digest == node.group.digest
        proof = View(again).proof(self.keys[index].account, None)
        record = verify(proof, self.trust).record
        assert record is not None
        assert record[0] == self.balance(index)
