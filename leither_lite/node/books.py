"""The books: the group's tip, a proposed body on it, the open body above, and what waits for a seal (section 4).

Decides when an operation counts as accepted, what is proposed, whether a proposed body holds, and what a seal writes.
A roster of one seals alone: its vote for a header lies in the same transaction as the seal, so the two are never apart.
Never agrees with anybody (`pulse` does), never reads a clock.
"""

from __future__ import annotations

from typing import Any, Final

from leither_lite.effects import Effects, Note, Write
from leither_lite.errors import Halt
from leither_lite.header import Header, Signatures, sign_seal
from leither_lite.ledger.body import Body, next_term
from leither_lite.ledger.committee import Held
from leither_lite.ledger.group import entry_writes, is_snapshot, sealers_write
from leither_lite.ledger.handovers import handover_writes
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.receipts import ReceiptKind
from leither_lite.ledger.records import Entry
from leither_lite.ledger.replay import check_proposal
from leither_lite.ledger.sealed import BodyEntries, SealedPulse
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import MERGE, SPLIT
from leither_lite.ledger.structure import END, TermEnd, is_kept, is_large, is_small
from leither_lite.ledger.tip import Anchor
from leither_lite.node import retention
from leither_lite.node.intake import Intake
from leither_lite.node.pool import WAIT_PULSES_MAX, Waiting, content_digest
from leither_lite.node.transfers import CREDITED, RECLAIMED, Transfer
from leither_lite.node.wallet import kept_transfer
from leither_lite.store import keys

LEFT_OUT_PULSES_MAX: Final = 8
"""A backup does not vote for a proposal that leaves out what it has held for longer, unless the body is full."""

MERGE_TERMS: Final = 4
"""Small groups offer to be merged in the ticks after each multiple of so many shortest terms, and at no other time."""
MERGE_TICKS: Final = 8


class Books(Intake):
    """The group as this node knows it: what is proposed for it, and what is sealed."""

    @property
    def has_work(self) -> bool:
        """True while something waits for a seal that the ledger allows, or that must be settled as refused."""
        if self.proposed is not None:
            return True  # what it takes from the open body waits too
        if self._waits_for_parent:
            return False
        if self.is_called or self._term_end() is not None:
            return True
        return not self.body.is_empty or (self.seals_alone and len(self.pool) > 0)

    # -- proposals -------------------------------------------------------------------------------------------------

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
        if not self._rises(self.roots.newest):
            return None
        end = self._term_end()
        if self.body.is_empty and end is None and not self.is_called:
            return None
        if held is not None or not self.group.is_root:
            self.body.undo()
            self.body = self._open_body()
            if held is not None:
                self.body.take(held, held.encode())
            for waiting in self.pool:
                waiting.is_taken = False
            self._try_all()
        if end is not None:
            self.body.take(end, end.encode())
        if self.body.is_empty and not self.is_called:
            return None
        self.body.close(tick)
        self.proposed = self.body
        self.body = self._open_body()
        self._try_all()
        return self.proposed

    def _rises(self, anchor: Anchor | None) -> bool:
        """True if a header that builds on this root header has a higher pulse than the last one."""
        return self.group.is_root or (anchor is not None and anchor.pulse >= self.group.header.pulse)

    @property
    def _waits_for_parent(self) -> bool:
        """True after an offer, until the parent calls for a header: it does so only once it has kept things as they
        are, and what is sealed before would be void if it did not."""
        return bool(self.group.state.offer.kind) and not self.is_called

    def _term_end(self) -> TermEnd | None:
        """The end of the term, if it is due and changes something. Buddies that are to be merged end theirs together: a
        small group waits for the next time at which all small ones do, if another term would not be over before."""
        group, state = self.group, self.body.state
        if state.date < state.since + group.rules.term_ticks:
            return None
        if is_large(len(group.entries), group.page_bytes, group.rules.members_max) and is_kept(group, state.willing):
            return TermEnd(SPLIT)
        if is_small(len(group.entries), group.page_bytes, group.rules.members_max) and self.has_buddy():
            term = group.rules.term_ticks
            late = state.date % (MERGE_TERMS * term)
            if late < MERGE_TICKS:
                return TermEnd(MERGE)
            if MERGE_TERMS * term - late < term:
                return None
        return None if group.is_root or not state.willing else TermEnd(END)

    def knows_anchor(self, header: Header) -> bool:
        """True if the root header that a header builds on is known here, or it needs none."""
        return self.group.is_root or self.roots.knows(header.anchor, header.pulse - 1)

    def _anchor_of(self, header: Header) -> Anchor | None:
        return None if self.group.is_root else self.roots.anchor(header.anchor, header.pulse - 1)

    def adopt(
        self,
        header_bytes: bytes,
        entries: BodyEntries,
        segments: list[bytes],
        term: int | None = None,
        anchor: Anchor | None = None,
    ) -> Body:
        """Execute somebody's proposal in place of what was proposed before. Raises RemoteError if it does not hold.

        `term`: that of its header, where it is sealed already and a checkpoint opened one that is not known here.
        """
        self.body.undo()
        if self.proposed is not None:
            self.proposed.undo()
            self.proposed = None
        try:
            self.proposed = check_proposal(
                self.group,
                header_bytes,
                entries,
                segments,
                self.term if term is None else term,
                self._is_known,
                anchor=self._anchor_of(Header.decode(header_bytes)) or anchor,
                may_be_empty=self.is_called or anchor is not None,
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
        before, sealers = group.header, self.sealers
        if not group.is_root:
            self.body.undo()  # the sets of receipts are written as this body leaves them
        sealed = body.seal(signatures)
        self._under_way.append((body, before))
        self.proposed = None
        pulse = group.header.pulse
        writes = effects.writes
        writes.append((keys.sealed(pulse), sealed.encode()))
        writes += [(keys.segment(pulse, index), segment) for index, segment in enumerate(body.segments)]
        entries = self._entries_at_tip() if group.is_root and is_snapshot(pulse, before.pulse) else group.entries
        writes += entry_writes(pulse, before.pulse, body.records, entries)
        self.is_under_root = group.is_root
        if not group.is_root:
            self.on_body(effects, body)
            writes += [*body.traffic.writes(), sealers_write(pulse, before.pulse, sealers)]
            ends = group.header.term > before.term and group.header.bits == before.bits
            gone = (*keys.HALVES, keys.MERGED) if ends else ()
            writes += [(key, None) for key in (keys.TIP, keys.APPOINTED, *gone)]
            self.is_called = False
        writes += [(keys.invite(item), pulse.to_bytes(8, "big")) for item in body.used_invites]
        if body.changes_roster and group.is_root:
            writes += handover_writes(sealed)
        self.term = next_term(group)
        if group.is_root:
            self.roots.remember(group.digest, pulse, group.header.tick)
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
        self._tell_receipts(effects, body, pulse)
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
        if self.group.is_root:
            self._try_all()
        else:
            self._reopen()
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

    def _tell_receipts(self, effects: Effects, body: Body, pulse: int) -> None:
        """Tell what became of our transfers to other groups, and what has come from there."""
        told: list[tuple[int, Transfer, list[Write]]] = []
        back = {receipt.refunds for receipt in body.traffic.came if receipt.kind == ReceiptKind.REFUND}
        for receipt in body.traffic.gone:
            if receipt.id in back:
                continue
            told += self._wallet.resolve(receipt, RECLAIMED if receipt in body.traffic.reclaimed else CREDITED, pulse)
        for receipt in body.traffic.came:
            if receipt.kind == ReceiptKind.REFUND:
                told += self._wallet.refunded(receipt, pulse)
            elif receipt.kind != ReceiptKind.ADMISSION and receipt.payee in self.group.entries:
                told += self._wallet.arrived(receipt, pulse)
        for number, transfer, writes in told:
            effects.writes += writes
            effects.notes.append(Note("transfer", transfer.to_json(number)))

    def _tell(self, effects: Effects, number: int, pulse: int, refusal: str | None, *, missed: bool = False) -> None:
        transfer, writes = self._wallet.settle(number, pulse, refusal, missed=missed, holds=self.group.holds)
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
