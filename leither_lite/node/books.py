"""The books: the group's tip, a proposed body on it, the open body above, and what waits for a seal (section 4).

Decides when an operation counts as accepted, what is proposed, whether a proposed body holds, and what a seal writes.
A roster of one seals alone: its vote for a header lies in the same transaction as the seal, so the two are never apart.
Never agrees with anybody (`pulse` does), never reads a clock.
"""

from __future__ import annotations

from typing import Any, Final

from leither_lite.board import Board
from leither_lite.effects import Effects, Note, Write
from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.header import Header, Signatures, sign_seal
from leither_lite.identity import account_id
from leither_lite.ledger.body import Body, next_term
from leither_lite.ledger.committee import Held, Willingness
from leither_lite.ledger.group import SNAPSHOT_PULSES, BodyEntries, Group, SealedPulse, base_pulse, entry_writes
from leither_lite.ledger.handovers import handover_writes
from leither_lite.ledger.operations import Operation, decode
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.records import Entry
from leither_lite.ledger.replay import check_proposal
from leither_lite.ledger.signed import Status
from leither_lite.node import retention
from leither_lite.node.pool import WAIT_PULSES_MAX, Pool, Waiting, content_digest, is_dead
from leither_lite.node.refusals import local_error
from leither_lite.node.wallet import Wallet, kept_transfer, queued_content, read_queued
from leither_lite.store import keys
from leither_lite.store.reader import Reader

LEFT_OUT_PULSES_MAX: Final = 8
"""A backup does not vote for a proposal that leaves out what it has held for longer, unless the body is full."""


class Books:
    """The group as this node knows it, and what it has executed ahead of the last header."""

    def __init__(self, reader: Reader, board: Board, group: Group, wallet: Wallet, publicity_ticks: int) -> None:
        """Take what was accepted before the last stop into the open body, in the order in which it came.

        Raises Halt("store_corrupt").
        """
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
        self.proposed: Body | None = None
        self.body = Body(group, self.term)
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

    @property
    def seals_alone(self) -> bool:
        """True if this node is the whole roster."""
        return self.group.roster_keys == (self._wallet.node_key.public,)

    @property
    def is_on_roster(self) -> bool:
        """True if this node may sign the next header."""
        return self._wallet.node_key.public in self.group.roster_keys

    @property
    def is_member(self) -> bool:
        """True if this node's account is in the group: it holds page and bodies, and takes part."""
        return self._wallet.node_key.account in self.group.entries or self.is_on_roster

    def performed(self) -> None:
        """What the last turn has sealed lies in the store now."""
        self._under_way = []
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

    @property
    def has_work(self) -> bool:
        """True while something waits for a seal that the ledger allows, or that must be settled as refused."""
        if self.proposed is not None:
            return True  # what it takes from the open body waits too
        return not self.body.is_empty or (self.seals_alone and len(self.pool) > 0)

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
            entry = self.sealed_entry(account_id(waiting.operation.payer_key))
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

    # -- proposals -------------------------------------------------------------------------------------------------

    def _reopen(self) -> None:
        """Begin the open body again, above the proposal if there is one, with all that waits and is not in that."""
        self.body = Body(self.group, None if self.proposed is not None else self.term, under=self.proposed)
        done: frozenset[bytes] = frozenset()
        if self.proposed is not None:
            done = frozenset(content_digest(content) for _, content in self.proposed.operations)
        for digest, waiting in self.pool.items():
            waiting.is_taken = digest in done
        self._try_all()

    def enter_term(self, term: int) -> None:
        """The next header opens this term: a checkpoint stands on the last one."""
        self.term = term
        self.body.undo()
        if self.proposed is not None:
            self.proposed.undo()
            self.proposed = None
        self._reopen()

    def drop_proposal(self) -> None:
        """Take back the proposed body, if there is one."""
        if self.proposed is not None:
            self.body.undo()
            self.proposed.undo()
            self.proposed = None
            self._reopen()

    def propose(self, tick: int, held: Held | None) -> Body | None:
        """Close the open body as this node's proposal; None if there is nothing to propose."""
        self.drop_proposal()
        if self.body.is_empty:
            return None
        if held is not None:
            self.body.undo()
            self.body = Body(self.group, self.term)
            self.body.take(held, held.encode())
            for waiting in self.pool:
                waiting.is_taken = False
            self._try_all()
            if self.body.is_empty:
                return None
        self.body.close(tick)
        self.proposed = self.body
        self.body = Body(self.group, None, under=self.proposed)
        self._try_all()
        return self.proposed

    def adopt(self, header_bytes: bytes, entries: BodyEntries, segments: list[bytes], term: int | None = None) -> Body:
        """Execute somebody's proposal in place of what was proposed before. Raises RemoteError if it does not hold.

        `term`: that of its header, where it is sealed already and a checkpoint opened one that is not known here.
        """
        self.body.undo()
        if self.proposed is not None:
            self.proposed.undo()
            self.proposed = None
        try:
            self.proposed = check_proposal(
                self.group, header_bytes, entries, segments, self.term if term is None else term, self._is_known
            )
        finally:
            self._reopen()
        return self.proposed

    def _is_known(self, content: bytes) -> bool:
        return self.pool.get(content_digest(content)) is not None

    @property
    def leaves_out(self) -> bool:
        """True if the proposed body leaves out a valid operation that this node has held for more than 8 pulses."""
        if self.proposed is None or self.proposed.full or self.body.is_empty:
            return False
        oldest = self.group.header.pulse - LEFT_OUT_PULSES_MAX
        above = frozenset(content_digest(content) for _, content in self.body.operations)
        return any(waiting.since <= oldest and digest in above for digest, waiting in self.pool.items())

    # -- seals -----------------------------------------------------------------------------------------------------

    def seal_alone(self, effects: Effects, tick: int, held: Held | None) -> None:
        """Close the open body, seal it as the roster of one that this node is, and open the next."""
        key = self._wallet.node_key
        if not self.seals_alone:
            raise Halt("not_the_roster", "this node's key is not the roster of one that may seal")
        if self.propose(tick, held) is None:
            self._settle(effects, (), self.group.header.pulse)
            self._tidy(effects, tick)
            return
        header_bytes = self._proposed().header_bytes
        self.seal(effects, ((key.public, sign_seal(key, header_bytes)),), tick)

    def _proposed(self) -> Body:
        if self.proposed is None:
            raise Halt("no_proposal", "a seal came for a body that was not executed")
        return self.proposed

    def seal(self, effects: Effects, signatures: Signatures, tick: int) -> SealedPulse:
        """Make the proposed body the last, as sealed by a quorum; what is open above it goes on."""
        body = self._proposed()
        group = self.group
        before = group.header
        sealed = body.seal(signatures)
        self._under_way.append((body, before))
        self.proposed = None
        pulse = group.header.pulse
        writes = effects.writes
        writes.append((keys.sealed(pulse), sealed.encode()))
        writes += [(keys.segment(pulse, index), segment) for index, segment in enumerate(body.segments)]
        entries = group.entries if pulse % SNAPSHOT_PULSES else self._entries_at_tip()
        writes += entry_writes(pulse, body.records, entries)
        writes += [(keys.invite(item), pulse.to_bytes(8, "big")) for item in body.used_invites]
        if body.changes_roster:
            writes += handover_writes(sealed)
        self.term = next_term(group)
        effects.notes.append(
            Note(
                "pulse",
                {
                    "pulse": pulse,
                    "tick": group.header.tick,
                    "term": group.header.term,
                    "root": group.header.node.hex(),
                    "operations": len(body.operations),
                },
            )
        )
        self._settle(effects, body.operations, pulse)
        self._tidy(effects, tick)
        return sealed

    def _entries_at_tip(self) -> dict[bytes, Entry]:
        """The group's entries without what the open body has done."""
        entries = dict(self.group.entries)
        for account, entry in self.body.before.items():
            if entry is None:
                del entries[account]
            else:
                entries[account] = entry
        return entries

    def _settle(self, effects: Effects, operations: Any, pulse: int) -> None:
        """Let go of what a seal has in it, and of what no later one can take; tell what became of our transfers."""
        for operation, content in operations:
            waiting = self.pool.remove(content_digest(content))
            number = 0 if waiting is None else waiting.number
            if not number and isinstance(operation, Payment | Distribution):
                number = self._wallet.number_of(operation)
                if number:
                    self._wallet.await_seal(number, self.group.network, operation, b"", b"")
            if waiting is not None:
                self._forget(effects, waiting)
            if number:
                self._tell(effects, number, pulse, None)
        self._try_all()
        for digest, waiting in self.pool.items():
            if waiting.is_taken:
                continue
            old = waiting.peer != b"" and pulse - waiting.since > WAIT_PULSES_MAX
            if not old and not self._is_dead(waiting):
                continue
            self.pool.remove(digest)
            self._forget(effects, waiting)
            if waiting.number:
                missed = waiting.missed and waiting.refusal is Status.WRONG_SENT
                self._tell(effects, waiting.number, pulse, waiting.refusal.value, missed=missed)

    def _forget(self, effects: Effects, waiting: Waiting) -> None:
        if waiting.sequence and self._unsaved.pop(waiting.sequence, None) is None:
            effects.writes.append((keys.queued(waiting.sequence), None))

    def _tell(self, effects: Effects, number: int, pulse: int, refusal: str | None, *, missed: bool = False) -> None:
        transfer, writes = self._wallet.settle(number, pulse, refusal, missed=missed)
        effects.writes += writes
        effects.notes.append(Note("transfer", transfer.to_json(number)))

    def _tidy(self, effects: Effects, tick: int) -> None:
        """What a seal lets go of."""
        writes, pulse = effects.writes, self.group.header.pulse
        writes += retention.old_pulses(self._reader, self._board, pulse)
        writes += retention.old_bodies(self._reader, pulse, tick, self._publicity_ticks)
        newest = self._wallet.next_number - 1
        added = sum(1 for key, value in writes if key[:1] == keys.TRANSFERS[0] and value is not None)
        writes += retention.old_transfers(self._reader, self._board, added, newest, kept_transfer, self._wallet.forget)
