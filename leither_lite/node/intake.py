"""What waits for a seal, executed ahead of it on the open body (docs/protocol.md, section 4).

Decides when an operation counts as accepted, what of others' is kept waiting, and what no later header can take. Never
proposes or seals anything: `books` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from leither_lite.board import Board
from leither_lite.effects import Effects, Write
from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.header import Header
from leither_lite.identity import account_id
from leither_lite.ledger.body import Body, next_term
from leither_lite.ledger.committee import Willingness
from leither_lite.ledger.group import Group, base_pulse
from leither_lite.ledger.operations import Operation, decode
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.records import Entry
from leither_lite.ledger.roots import Roots
from leither_lite.ledger.signed import Status
from leither_lite.node.pool import Pool, Waiting, content_digest, is_dead
from leither_lite.node.refusals import local_error
from leither_lite.node.undoing import take_back
from leither_lite.node.wallet import Wallet, queued_content, read_queued
from leither_lite.store import keys
from leither_lite.store.reader import Reader


class Intake:
    """The group as this node knows it, what it has executed ahead of the last header, and what waits."""

    def __init__(
        self, reader: Reader, board: Board, group: Group, wallet: Wallet, publicity_ticks: int, roots: Roots
    ) -> None:
        """Take what was accepted before the last stop into the open body, in the order in which it came.

        `roots`: the root chain, which headers outside the root group build on. Raises Halt("store_corrupt").
        """
        self.roots = roots
        group.vouch = roots.vouch
        self._reader = reader
        self._board = board
        self._wallet = wallet
        self._publicity_ticks = publicity_ticks
        self._unsaved: dict[int, Waiting] = {}
        self._accepted: list[bytes] = []
        self._risen: list[Waiting] = []
        self._next_queued = 1
        self._under_way: list[tuple[Body, Header]] = []
        self.group = group
        self.term = next_term(group)
        self.pool = Pool(board.pool_bytes)
        self.is_called = bool(group.opened)  # what two have become is to be sealed, so that others can take it over
        # A group that has sealed nothing of its own yet has nothing to wait for.
        self.is_under_root = group.is_root or (group.bits, group.prefix) != (group.header.bits, group.header.prefix)
        self.on_body: Callable[[Effects, Body], None] = lambda effects, body: None
        self.parents: tuple[bytes, ...] = ()
        self.has_buddy: Callable[[], bool] = lambda: False
        self.proposed: Body | None = None
        self.body = self._open_body()
        has_jumped = 0 < base_pulse(reader) == group.header.pulse
        for key, content in reader.scan(*keys.QUEUED):
            operation_content, number, asked, request = read_queued(content)
            try:
                operation = decode(operation_content)
            except RemoteError as error:
                raise Halt("store_corrupt", f"a queued operation in the store cannot be read: {error}") from error
            # A body with one bad signature in it convicts whoever seals it: no damage to the store may lead there.
            if operation.check_signatures(group.network) is not Status.OK:
                raise Halt("store_corrupt", "a queued operation in the store is not the one that was accepted")
            self._next_queued = keys.sequence_of(key)
            waiting = Waiting(operation, operation_content, b"", group.header.pulse, self._next_queued, number)
            waiting.asked, waiting.request, waiting.missed = asked, request, has_jumped
            self._next_queued += 1
            digest = content_digest(operation_content)
            self.pool.add(digest if self.pool.get(digest) is None else content_digest(key + content), waiting)
            self._try(waiting)
            if number and isinstance(operation, Payment | Distribution):
                wallet.await_seal(number, group.network, operation, asked, request)

    def _open_body(self) -> Body:
        """A body on the tip, or on the proposal; outside the root group on the newest root header."""
        under = self.proposed
        term = self.term if under is None else None
        return Body(self.group, term, under, None if self.group.is_root else self.roots.newest)

    @property
    def seals_alone(self) -> bool:
        """True if this node is the whole roster."""
        return self.sealers == (self._wallet.node_key.public,)

    @property
    def sealers(self) -> tuple[bytes, ...]:
        """Who may seal the next header: R, or, where nobody is on it, whoever may seal the parent's."""
        return self.group.roster_keys or self.parents

    @property
    def is_on_roster(self) -> bool:
        """True if this node may sign the next header."""
        return self._wallet.node_key.public in self.sealers

    @property
    def is_member(self) -> bool:
        """True if this node's account is in the group: it holds page and bodies, and takes part."""
        return self._wallet.node_key.account in self.group.entries or self.is_on_roster

    def performed(self) -> None:
        """What the last turn has sealed lies in the store now."""
        self._under_way = []
        self.group.settled.performed()
        self._wallet.performed()

    @property
    def header(self) -> Header:
        """The newest header that surely is on disk: not one whose commit is under way."""
        return self._under_way[0][1] if self._under_way else self.group.header

    def entry(self, account: bytes) -> Entry | None:
        """An account's entry as of `header`."""
        for body in (*(body for body, _ in self._under_way), self.proposed, self.body):
            if body is not None and account in body.before:
                return body.before[account]
        return self.group.entries.get(account)

    def sealed_entry(self, account: bytes) -> Entry | None:
        """An account's entry as of the last header, whether or not it is on disk yet."""
        return self.body.entry_before(account)

    # -- what waits ------------------------------------------------------------------------------------------------

    def accept(self, operation: Operation, content: bytes, asked: bytes = b"", request: bytes = b"") -> dict[str, Any]:
        """Execute an operation whose signatures are good on the open body, and keep it until it is sealed.

        Raises LocalError with the status of the ledger as its code; then nothing has changed.
        """
        waiting = Waiting(operation, content, b"", self.group.header.pulse, self._next_queued)
        if not self.pool.has_room(b"", waiting.size):
            raise LocalError("busy", "too many operations wait for a seal; try again after it")
        status = self.body.take(operation, content)
        if status is not Status.OK:
            raise local_error(status)
        waiting.is_taken = True
        waiting.number = number = self._wallet.number_of(operation)
        waiting.asked, waiting.request = asked, request
        digest = content_digest(content)
        refused = self.pool.get(digest)
        if refused is not None and refused.sequence:
            waiting.sequence = refused.sequence  # it has its row
        else:
            self._next_queued += 1
        self._unsaved[waiting.sequence] = waiting
        self._accepted.append(content)
        self.pool.add(digest, waiting)
        if not number or not isinstance(operation, Payment | Distribution):
            return {"state": "pending"}
        transfer = self._wallet.await_seal(number, self.group.network, operation, asked, request)
        return {"id": transfer.name(number), "state": transfer.state, "repeated": False}

    def take_accepted(self) -> list[bytes]:
        """What `accept` has taken since the last call: the others are to know of it."""
        accepted, self._accepted = self._accepted, []
        return accepted

    def take_risen(self) -> list[Waiting]:
        """What others have sent, and has been found good since the last call: the members are to know of it."""
        risen, self._risen = self._risen, []
        return [waiting for waiting in risen if waiting.peer]

    def receive(self, operation: Operation, content: bytes, peer: bytes, *, waits: bool = True) -> Status:
        """Take an operation with good signatures that a peer has sent; OK if it waits now, for this body or a later.

        What can never be sealed, or finds no room, is not kept; without `waits` nor is what this body cannot take.
        """
        waiting = Waiting(operation, content, peer, self.group.header.pulse)
        if not self.pool.has_room(peer, waiting.size):
            return Status.BODY_FULL
        if not self._try(waiting) and (not waits or self._is_dead(waiting)):
            return waiting.refusal
        self.pool.add(content_digest(content), waiting)
        return Status.OK

    def _try(self, waiting: Waiting) -> bool:
        waiting.refusal = self.body.take(waiting.operation, waiting.content)
        waiting.is_taken = waiting.refusal is Status.OK
        if waiting.is_taken and not waiting.is_told:
            waiting.is_told = True
            self._risen.append(waiting)
        return waiting.is_taken

    def _try_all(self) -> None:
        """Take what waits, in the order in which it came; what came before its payer's earlier ones, after those."""
        late = [each for each in self.pool if not each.is_taken and not self._try(each)]
        late = [each for each in late if each.refusal is Status.WRONG_SENT]
        for waiting in sorted(late, key=lambda each: getattr(each.operation, "sent", 0)):
            self._try(waiting)

    def _is_dead(self, waiting: Waiting) -> bool:
        """True if no header can take this operation any more, as of the last one."""
        sent = None
        if isinstance(waiting.operation, Payment):
            payer = account_id(waiting.operation.payer_key)
            if not self.group.holds(payer):
                return True  # the group was split since it came
            entry = self.sealed_entry(payer)
            sent = None if entry is None else entry.record.sent
        elif isinstance(waiting.operation, Distribution):
            entry = self.sealed_entry(account_id(waiting.operation.organization_key))
            sent = None if entry is None else entry.record.sent
        elif waiting.refusal is Status.WRONG_NUMBER:
            # Changes of role and of the roster come one after the other; of where a node is, only the newest counts.
            number = getattr(waiting.operation, "number", 0)
            return isinstance(waiting.operation, Willingness) or number < self.group.state.role_changes
        # Of others, an earlier one may still be on its way; our own came in order.
        alone = self.seals_alone and waiting.refusal is not Status.BODY_FULL and not waiting.peer
        return alone or is_dead(waiting, waiting.refusal, sent)

    def save(self) -> list[Write]:
        """What keeps the operations that this turn has accepted, and not sealed, over a stop."""
        writes: list[Write] = [
            (keys.queued(sequence), queued_content(kept.content, kept.number, kept.asked, kept.request))
            for sequence, kept in self._unsaved.items()
        ]
        self._unsaved = {}
        return writes

    def _reopen(self) -> None:
        """Begin the open body again, above the proposal if there is one, with all that waits and is not in that."""
        self.body = self._open_body()
        done: frozenset[bytes] = frozenset()
        if self.proposed is not None:
            done = frozenset(content_digest(content) for _, content in self.proposed.operations)
        for digest, waiting in self.pool.items():
            waiting.is_taken = digest in done
        self._try_all()

    def rewind(self) -> None:
        """Take back all that was executed above the last header: the group is as that says, until `refresh`."""
        self.body.undo()
        if self.proposed is not None:
            self.proposed.undo()
            self.proposed = None
        self.body = self._open_body()

    def take_back(self, entries: Mapping[bytes, Entry]) -> list[Write]:
        """The last header may not be in the chain: what it has of this node's own payments, and these entries do not,
        waits again."""
        return take_back(self._reader, self._wallet, self.group, entries)

    def refresh(self) -> None:
        """There is a newer root header to build on."""
        if self.proposed is None:
            self.body.undo()
            self._reopen()
