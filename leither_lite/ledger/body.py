"""The body of a header: operations executed in order on a group's state, segment by segment (docs/protocol.md, 4, 5).

Decides which operations the state allows, and what the state is after them. Everybody who has the state before a
header can execute its body again and must come to the same header. Never checks who agreed, never reads a clock.
"""

from __future__ import annotations

from collections.abc import Sequence

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import Header, Signatures, body_digest, header_digest, segment_digest
from leither_lite.identity import account_id
from leither_lite.ledger.group import BodyEntries, Group, SealedPulse, invite_item, invite_leaf
from leither_lite.ledger.joins import Admission, Application, InvitedJoin, RoleChange
from leither_lite.ledger.operations import Operation, from_value
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.records import Entry, Record, Role, counted_bytes
from leither_lite.ledger.signed import Status
from leither_lite.limits import (
    BODY_SEGMENTS_MAX,
    GROUP_MEMBERS_MAX,
    JOIN_SHARED_BITS_MAX,
    PAGE_BYTES_MAX,
    SEGMENT_BYTES_MAX,
    SEGMENT_SET_ITEMS_MAX,
)
from leither_lite.tree.node import ZEROS, leaf, node_sum, record_digest, shared_bits

_OPERATIONS_MAX = SEGMENT_BYTES_MAX
_ARRAY_HEAD_BYTES = 3


class Body:
    """A body that is being executed on its group, for the header after the group's last.

    The group's entries run ahead as operations are taken; its tree follows when a segment is closed.
    """

    def __init__(self, group: Group) -> None:
        self.group = group
        self.pulse = group.header.pulse + 1
        self.state = group.state.opened(group.header.tick)
        self.segments: list[bytes] = []
        self.entries: list[tuple[bytes, bytes, bytes]] = []
        self.before: dict[bytes, Entry | None] = {}
        self.records: dict[bytes, bytes] = {}
        self.used_invites: list[bytes] = []
        self._inner = group.sealed.inner
        self._meta = group.meta_of(self.state)
        self._contents: list[bytes] = []
        self._content_bytes = 0
        self._touched: dict[bytes, None] = {}
        self._set_items = 0

    @property
    def is_empty(self) -> bool:
        """True while no operation has been taken."""
        return not self._contents and not self.segments

    def entry_before(self, account: bytes) -> Entry | None:
        """An account's entry in the group's last header, whatever this body has done since."""
        return self.before[account] if account in self.before else self.group.entries.get(account)

    def take(self, operation: Operation, content: bytes) -> Status:
        """Execute an operation whose signatures are good, `content` being its CBOR; close segments as they fill.

        BODY_FULL: the operation is good, but for another body. Anything but OK has changed nothing, and closed nothing.
        """
        status = self.judge(operation)
        if status is not Status.OK:
            return status
        if self._content_bytes + len(content) + _ARRAY_HEAD_BYTES > SEGMENT_BYTES_MAX or (
            type(operation) is InvitedJoin and self._set_items == SEGMENT_SET_ITEMS_MAX
        ):
            if len(self.segments) + 1 >= BODY_SEGMENTS_MAX:
                return Status.BODY_FULL
            self._close(codec.encode_array(self._contents))
        self._apply(operation)
        self._contents.append(content)
        self._content_bytes += len(content)
        return status

    def judge(self, operation: Operation) -> Status:
        """OK if the state allows an operation whose signatures are good. Changes nothing."""
        if type(operation) is Payment:
            return self._judge_payment(operation)
        if type(operation) is Distribution:
            return self._judge_distribution(operation)
        if type(operation) is Admission:
            return self._judge_admission(operation.supervisor_key, operation.application, operation.role)
        if type(operation) is InvitedJoin:
            return self._judge_invited(operation)
        if type(operation) is RoleChange:
            return self._judge_role(operation)
        raise TypeError(f"{type(operation).__name__} is no operation")

    def _apply(self, operation: Operation) -> None:
        """Execute an operation that the state allows."""
        if type(operation) is Payment:
            payee = account_id(operation.invoice.payee_key)
            self._move(account_id(operation.payer_key), payee, operation.amount)
        elif type(operation) is Distribution:
            self._move(account_id(operation.organization_key), operation.payee, operation.amount)
        elif type(operation) is Admission:
            self._set(operation.account, Record(0, 0, 0, operation.role, 0))
        elif type(operation) is InvitedJoin:
            self._use_invite(operation)
        elif type(operation) is RoleChange:
            record = self.group.entries[operation.account].record
            self.state = self.state._replace(role_changes=self.state.role_changes + 1)
            self._set(operation.account, record._replace(role=operation.role))

    def _set(self, account: bytes, record: Record) -> None:
        group = self.group
        if account not in self.before:
            self.before[account] = group.entries.get(account)
        group.insert(account, Entry(self.pulse, record))
        self._touched[account] = None

    def _move(self, payer: bytes, payee: bytes, amount: int) -> None:
        entries = self.group.entries
        balance, frozen, sent, role, votes = entries[payer].record
        self._set(payer, Record(balance - amount, frozen, sent + 1, role, votes))
        balance, frozen, sent, role, votes = entries[payee].record
        self._set(payee, Record(balance + amount, frozen, sent, role, votes))

    def _refusal(self, payer: bytes, payee: bytes, amount: int, sent: int) -> Status:
        """OK if `payer`, whose next payment is number `sent`, can pay `amount` to `payee`."""
        if payer == payee:
            return Status.PAYER_IS_PAYEE
        if not amount:
            return Status.AMOUNT_ZERO
        entry = self.group.entries.get(payer)
        if entry is None:
            return Status.UNKNOWN_PAYER
        if payee not in self.group.entries:
            return Status.UNKNOWN_PAYEE
        if payer in self.state.frozen or payee in self.state.frozen:
            return Status.ACCOUNT_FROZEN
        if sent != entry.record.sent:
            return Status.WRONG_SENT
        if amount > entry.record.balance:
            return Status.INSUFFICIENT_BALANCE
        return Status.OK

    def _judge_payment(self, payment: Payment) -> Status:
        invoice = payment.invoice
        if invoice.amount and invoice.amount != payment.amount:
            return Status.AMOUNT_MISMATCH
        if invoice.valid_until and self.state.date > invoice.valid_until:
            return Status.EXPIRED
        payer, payee = account_id(payment.payer_key), account_id(invoice.payee_key)
        return self._refusal(payer, payee, payment.amount, payment.sent)

    def _judge_distribution(self, distribution: Distribution) -> Status:
        payer = account_id(distribution.organization_key)
        entry = self.group.entries.get(payer)
        if entry is not None and entry.record.role != Role.ORGANIZATION:
            return Status.NOT_PERMITTED
        return self._refusal(payer, distribution.payee, distribution.amount, distribution.sent)

    def _may_admit(self, key: bytes) -> bool:
        entry = self.group.entries.get(account_id(key))
        return entry is not None and entry.record.role in (Role.SUPERVISOR, Role.ORGANIZATION)

    def _judge_admission(self, supervisor_key: bytes, application: Application, role: int) -> Status:
        group, account = self.group, application.account
        if not self._may_admit(supervisor_key):
            return Status.NOT_PERMITTED
        if account in group.entries:
            return Status.ACCOUNT_EXISTS
        if any(shared_bits(account, other) >= group.header.bits + JOIN_SHARED_BITS_MAX for other in group.entries):
            return Status.ID_TOO_CLOSE
        counted = counted_bytes(Record(0, 0, 0, role, 0))
        if len(group.entries) >= GROUP_MEMBERS_MAX or group.page_bytes + counted > PAGE_BYTES_MAX:
            return Status.GROUP_FULL
        return Status.OK

    def _judge_invited(self, join: InvitedJoin) -> Status:
        invite = join.invite
        if self.state.date > invite.valid_until:
            return Status.EXPIRED
        if invite_item(invite.content) in self.group.invites:
            return Status.INVITE_USED
        return self._judge_admission(invite.supervisor_key, join.application, invite.role)

    def _use_invite(self, join: InvitedJoin) -> None:
        item = invite_item(join.invite.content)
        self._set(join.application.account, Record(0, 0, 0, join.invite.role, 0))
        self.group.invites.put(item, invite_leaf(self.pulse, item))
        self.used_invites.append(item)
        self._set_items += 1
        self.state = self.state._replace(invites=self.group.invites.root())

    def _judge_role(self, change: RoleChange) -> Status:
        if not self._may_admit(change.supervisor_key):
            return Status.NOT_PERMITTED
        entry = self.group.entries.get(change.account)
        if entry is None:
            return Status.UNKNOWN_ACCOUNT
        if entry.record.role > Role.SUPERVISOR:
            return Status.ROLE_FIXED
        if change.number != self.state.role_changes:
            return Status.WRONG_NUMBER
        return Status.OK

    def _close(self, segment: bytes) -> None:
        """Settle what the open segment touched, and add its entry."""
        group = self.group
        entries, leaves = group.entries, []
        for account in self._touched:
            record = entries[account].record
            content = self.records[account] = record.encode()
            leaves.append((account, leaf(account, self.pulse, record.balance + record.frozen, record_digest(content))))
        group.tree.put_many(leaves)
        self._inner = group.tree.root()
        self._meta = group.meta_of(self.state)
        self.segments.append(segment)
        self.entries.append((segment_digest(segment), self._inner, self._meta))
        self._contents, self._content_bytes = [], 0
        self._touched, self._set_items = {}, 0

    def close(self, term: int, tick: int) -> Header:
        """The header to seal: closes the last segment. `tick` is the present one, never below the predecessor's.

        Raises Halt("not_conserved") if the sum of the accounts is not the supply: then nothing may be sealed.
        """
        if self._contents:
            self._close(codec.encode_array(self._contents))
        group, before = self.group, self.group.header
        sealed = group.sealed
        if node_sum(self._inner) + sealed.sent_out - sealed.settled_in != group.supply:
            raise Halt("not_conserved", f"the accounts hold {node_sum(self._inner)} of a supply of {group.supply}")
        return Header(
            network=before.network,
            level=before.level,
            bits=before.bits,
            prefix=before.prefix,
            term=term,
            pulse=self.pulse,
            tick=max(tick, before.tick),
            anchor=ZEROS,
            node=group.node_of(self.pulse, self._inner, self._meta),
            previous=group.digest,
            body=body_digest(self.entries),
        )

    def seal(self, header_bytes: bytes, header: Header, signatures: Signatures) -> SealedPulse:
        """Make the sealed header the group's last, and say what is to be kept of it."""
        group = self.group
        sealed = SealedPulse(
            header_bytes,
            signatures,
            group.roster,
            self._inner,
            group.sealed.sent_out,
            group.sealed.settled_in,
            self.state.encode(),
            tuple(self.entries),
        )
        group.sealed, group.header, group.state = sealed, header, self.state
        group.digest = header_digest(header_bytes)
        return sealed

    def replay(self, segments: Sequence[bytes], entries: BodyEntries) -> None:
        """Execute a body as somebody else sealed it, checking every signature and the state after each segment.

        Raises RemoteError: body_segments, body_segment_size, body_set_items, body_operation (the status as detail),
        body_state (the state after a segment is another), or what decoding an operation raises.
        """
        if len(segments) != len(entries) or len(segments) > BODY_SEGMENTS_MAX:
            raise RemoteError("body_segments", f"{len(segments)} segments, {len(entries)} entries")
        for segment, entry in zip(segments, entries, strict=True):
            if len(segment) > SEGMENT_BYTES_MAX:
                raise RemoteError("body_segment_size", f"{len(segment)} bytes")
            values = codec.items(codec.decode(segment), _OPERATIONS_MAX, "body_segments")
            if not values:
                raise RemoteError("body_segments", "an empty segment")
            for value in values:
                operation = from_value(value)
                status = operation.check_signatures(self.group.network)
                if status is Status.OK:
                    status = self.judge(operation)
                if status is not Status.OK:
                    raise RemoteError("body_operation", status.value)
                self._apply(operation)
            if self._set_items > SEGMENT_SET_ITEMS_MAX:
                raise RemoteError("body_set_items", f"a segment touches {self._set_items} items of sets")
            self._close(segment)
            if self.entries[-1] != entry:
                raise RemoteError("body_state", "the state after a segment is not the one that was sealed")


def execute_again(group: Group, sealed: SealedPulse, segments: Sequence[bytes]) -> None:
    """Re-execute a sealed body on the group as it was before it; the group moves on to it.

    Raises RemoteError: header_term (neither the predecessor's nor the next), header_mismatch if the header is not the
    one that follows from the body, or as `Body.replay`. After an error the group is of no more use.
    """
    header = sealed.header
    if header.term - group.header.term not in (0, 1):
        raise RemoteError("header_term", f"term {header.term} after {group.header.term}")
    body = Body(group)
    body.replay(segments, sealed.entries)
    if body.close(header.term, header.tick) != header:
        raise RemoteError("header_mismatch", "the header does not follow from the state before it and its body")
    body.seal(sealed.header_bytes, header, sealed.signatures)
