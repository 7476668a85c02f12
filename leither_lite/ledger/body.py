"""The body of a header: operations executed in order on a group's state, segment by segment (docs/protocol.md, 4, 5).

Decides what the state is after operations that it allows (`ledger.judge` says which), and takes them back. Everybody
who has the state before a header can execute its body again and must come to the same header. Never checks who agreed,
never reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import (
    Header,
    Signatures,
    body_digest,
    decode_roster,
    encode_roster,
    header_digest,
    segment_digest,
)
from leither_lite.identity import account_id
from leither_lite.ledger.committee import Appointment, Held, Willingness
from leither_lite.ledger.group import BodyEntries, Group, SealedPulse, State
from leither_lite.ledger.joins import Admission, InvitedJoin, RoleChange, invite_item, invite_leaf
from leither_lite.ledger.judge import judge, judge_held
from leither_lite.ledger.operations import Operation, from_value
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.records import Entry, Record
from leither_lite.ledger.signed import Status
from leither_lite.limits import BODY_SEGMENTS_MAX, SEGMENT_BYTES_MAX, SEGMENT_SET_ITEMS_MAX
from leither_lite.tree.node import ZEROS, leaf, node_sum, record_digest

_OPERATIONS_MAX: Final = SEGMENT_BYTES_MAX
_ARRAY_HEAD_BYTES: Final = 3
OPERATION_BYTES_MAX: Final = 404
"""The longest operation that may follow another in a body: a distribution with every field at its longest."""


def never(content: bytes) -> bool:
    """Says of no operation (CBOR) that its signatures were checked before."""
    return False


def next_term(group: Group, under: Body | None = None) -> int:
    """The term of the header after the group's last, or after that of `under`, if no checkpoint opens another."""
    if under is None:
        return max(group.header.term, group.state.appointed)
    return max(under.closed_header.term, under.state.appointed)


class Body:
    """A body that is being executed, for the header after the group's last, or after that of the body `under` it.

    Bodies on one group are layers: each executes on what those under it have left, and only the topmost that has done
    anything can be taken back. The group's entries run ahead as operations are taken; its tree follows when a segment
    is closed. `operations` are those executed, each with its CBOR, in order; `roster` is R as it is after them. Once it
    is closed there are `header`, its CBOR `header_bytes`, and its `digest`; before, None and b"".
    """

    def __init__(self, group: Group, term: int | None = None, under: Body | None = None) -> None:
        """Open a body. `term` is that of its header, by default `next_term`.

        `under`: a body on this group that is closed and not sealed yet. Raises Halt("body_layers") if it is not closed.
        """
        self.group = group
        self.term = next_term(group, under) if term is None else term
        if under is None:
            before, state = group.header, group.state
            self.previous = group.digest
            self.roster = group.roster
            self._inner = group.sealed.inner
        else:
            before, state = under.closed_header, under.state
            self.previous = under.digest
            self.roster = under.roster
            self._inner = under._inner
            under._above = self
        self.under = under
        self.pulse = before.pulse + 1
        self.state: State = state.opened(before.tick)
        self.header: Header | None = None
        self.header_bytes: bytes = b""
        self.digest: bytes = b""
        self.operations: list[tuple[Operation, bytes]] = []
        self.segments: list[bytes] = []
        self.entries: list[tuple[bytes, bytes, bytes]] = []
        self.before: dict[bytes, Entry | None] = {}
        self.records: dict[bytes, bytes] = {}
        self.used_invites: list[bytes] = []
        self._above: Body | None = None
        self._before = before
        self._sealers = self.roster
        self._appoints = False
        self._is_ahead = False
        self._page_bytes = 0
        self._meta = group.meta_of(self.state, self.roster)
        self._contents: list[bytes] = []
        self._content_bytes = 0
        self._set_items = 0
        self._touched: dict[bytes, None] = {}

    @property
    def closed_header(self) -> Header:
        """The header of a closed body. Raises Halt("body_layers") while it is open."""
        if self.header is None:
            raise Halt("body_layers", "the body is not closed")
        return self.header

    @property
    def is_empty(self) -> bool:
        """True while no operation has been taken but `Held`: then there is nothing to seal."""
        return not self.operations or (len(self.operations) == 1 and type(self.operations[0][0]) is Held)

    @property
    def changes_roster(self) -> bool:
        """True if its operations appoint another roster than the one that seals it."""
        return self.roster != self._sealers

    @property
    def full(self) -> bool:
        """True if an operation of the largest size (404 bytes), or a join by invite, would be BODY_FULL."""
        return self._is_last_segment and not self._fits(OPERATION_BYTES_MAX, 1)

    @property
    def _is_last_segment(self) -> bool:
        return len(self.segments) + bool(self._contents) >= BODY_SEGMENTS_MAX

    def _fits(self, size: int, items: int) -> bool:
        """True if the newest segment, open or closed, has room for an operation."""
        return (
            self._content_bytes + size + _ARRAY_HEAD_BYTES <= SEGMENT_BYTES_MAX
            and self._set_items + items <= SEGMENT_SET_ITEMS_MAX
        )

    def entry_before(self, account: bytes) -> Entry | None:
        """An account's entry in the group's last header, whatever this body, the topmost, and those under it have done
        since."""
        entry = self.before[account] if account in self.before else self.group.entries.get(account)
        layer = self.under
        while layer is not None:
            entry = layer.before.get(account, entry)
            layer = layer.under
        return entry

    def take(self, operation: Operation, content: bytes) -> Status:
        """Execute an operation whose signatures are good, `content` being its CBOR; close segments as they fill.

        BODY_FULL: the operation is good, but for another body. Anything but OK has changed nothing, and closed nothing.
        Raises Halt("body_layers") if the body is closed, or another is executed above those under it.
        """
        if self.header is not None:
            raise Halt("body_layers", "the body is closed")
        status = self.judge(operation)
        if status is not Status.OK:
            return status
        if self._contents and not self._fits(len(content), type(operation) is InvitedJoin):
            if self._is_last_segment:
                return Status.BODY_FULL
            self._close(codec.encode_array(self._contents))
        self._apply(operation, content)
        return status

    def judge(self, operation: Operation) -> Status:
        """OK if the state allows an operation whose signatures are good. Changes nothing."""
        if type(operation) is Held:
            if self.operations:
                return Status.MISPLACED
            return judge_held(self.state, decode_roster(self._sealers), self.previous, operation)
        status = judge(self.group, self.state, operation)
        return Status.BODY_FULL if self._appoints and type(operation) is Appointment and status is Status.OK else status

    def _apply(self, operation: Operation, content: bytes) -> None:
        """Execute an operation that the state allows, in the open segment."""
        if not self._is_ahead:
            self._go_ahead()
        if not self._contents:
            self._content_bytes = self._set_items = 0
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
        elif type(operation) is Appointment:
            self.roster = encode_roster(operation.roster)
            self.state = self.state._replace(role_changes=self.state.role_changes + 1, appointed=self.term + 1)
            self._appoints = True
        elif type(operation) is Willingness:
            self.state = self.state._replace(willing=operation.registered(self.state.willing))
        elif type(operation) is Held:
            self.state = self.state._replace(willing=operation.marked(self.state.willing))
        self.operations.append((operation, content))
        self._contents.append(content)
        self._content_bytes += len(content)

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

    def _use_invite(self, join: InvitedJoin) -> None:
        item = invite_item(join.invite.content)
        self._set(join.application.account, Record(0, 0, 0, join.invite.role, 0))
        self.group.invites.put(item, invite_leaf(self.pulse, item))
        self.used_invites.append(item)
        self._set_items += 1
        self.state = self.state._replace(invites=self.group.invites.root())

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
        self._meta = group.meta_of(self.state, self.roster)
        self.segments.append(segment)
        self.entries.append((segment_digest(segment), self._inner, self._meta))
        self._contents = []
        self._touched = {}

    def close(self, tick: int) -> Header:
        """The header to seal: closes the last segment. `tick` is the present one, never below the predecessor's.

        Raises Halt("not_conserved") if the sum of the accounts is not the supply: then nothing may be sealed.
        """
        if self._contents:
            self._close(codec.encode_array(self._contents))
        group, before = self.group, self._before
        sealed = group.sealed
        if node_sum(self._inner) + sealed.sent_out - sealed.settled_in != group.supply:
            raise Halt("not_conserved", f"the accounts hold {node_sum(self._inner)} of a supply of {group.supply}")
        header = Header(
            network=before.network,
            level=before.level,
            bits=before.bits,
            prefix=before.prefix,
            term=self.term,
            pulse=self.pulse,
            tick=max(tick, before.tick),
            anchor=ZEROS,
            node=group.node_of(self.pulse, self._inner, self._meta),
            previous=self.previous,
            body=body_digest(self.entries),
        )
        self.header, self.header_bytes = header, header.encode()
        self.digest = header_digest(self.header_bytes)
        return header

    def seal(self, signatures: Signatures) -> SealedPulse:
        """Make the closed body's header, as sealed by a quorum, the group's last, and say what is to be kept of it. A
        body above this one goes on.

        Raises Halt("body_layers") unless this body is closed and the lowest.
        """
        group, header = self.group, self.closed_header
        if self.previous != group.digest:
            raise Halt("body_layers", "only the body on the group's last header can be sealed")
        sealed = SealedPulse(
            self.header_bytes,
            signatures,
            self.roster,
            self._inner,
            group.sealed.sent_out,
            group.sealed.settled_in,
            self.state.encode(),
            tuple(self.entries),
        )
        group.sealed, group.header, group.state = sealed, header, self.state
        group.digest, group.roster = self.digest, self.roster
        group.ahead -= self._is_ahead
        self._is_ahead = False
        if self._above is not None:
            self._above.under = None
        return sealed

    def _layers(self) -> int:
        """How many of this body and those under it have done something."""
        return self._is_ahead + (0 if self.under is None else self.under._layers())

    def _go_ahead(self) -> None:
        """Count this body among those that the group is ahead by; note what `undo` goes back to."""
        group = self.group
        if group.ahead != self._layers():
            raise Halt("body_layers", "another body is executed above this one, and was neither sealed nor undone")
        group.ahead += 1
        self._is_ahead = True
        self._page_bytes = group.page_bytes

    def undo(self) -> None:
        """Take back all that this body has done to its group, which is then as it was. The body is of no more use, but
        `operations` says what is to be executed again.

        Raises Halt("body_layers") if the body is sealed, or another one above it has done something.
        """
        group = self.group
        if not self._is_ahead and self.operations:
            raise Halt("body_layers", "the body is sealed or undone")
        if group.ahead != self._layers():
            raise Halt("body_layers", "only the topmost body can be undone")
        if not self._is_ahead:
            return
        leaves = []
        for account, entry in self.before.items():
            if entry is None:
                del group.entries[account]
                if account in self.records:
                    group.tree.delete(account)
            else:
                group.entries[account] = entry
                if account in self.records:
                    leaves.append((account, entry.leaf(account)))
        group.tree.put_many(leaves)
        for item in self.used_invites:
            group.invites.delete(item)
        group.page_bytes = self._page_bytes
        group.ahead -= 1
        self._is_ahead = False

    def replay(self, segments: Sequence[bytes], entries: BodyEntries, known: Callable[[bytes], bool] = never) -> None:
        """Execute a body as somebody else made it, checking every signature and the state after each segment.

        `known` says of an operation (CBOR) that its signatures were checked before. After an error `undo` takes back
        what was executed until then.

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
                operation, content = from_value(value), codec.encode(value)
                status = Status.OK if known(content) else operation.check_signatures(self.group.network)
                if status is Status.OK:
                    status = self.judge(operation)
                if status is not Status.OK:
                    raise RemoteError("body_operation", status.value)
                self._apply(operation, content)
            if self._set_items > SEGMENT_SET_ITEMS_MAX:
                raise RemoteError("body_set_items", f"a segment touches {self._set_items} items of sets")
            self._close(segment)
            if self.entries[-1] != entry:
                raise RemoteError("body_state", "the state after a segment is not the one that was sealed")
