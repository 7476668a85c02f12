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
    header_digest,
    segment_digest,
)
from leither_lite.ledger.committee import Appointment, Held
from leither_lite.ledger.draft import Draft
from leither_lite.ledger.group import Group
from leither_lite.ledger.judge import judge, judge_held, judge_term_end
from leither_lite.ledger.operations import Operation, from_value
from leither_lite.ledger.records import Entry
from leither_lite.ledger.sealed import BodyEntries, SealedPulse
from leither_lite.ledger.settling import RECEIPTS_MAX
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import State
from leither_lite.ledger.structure import TermEnd, after_appointment
from leither_lite.ledger.tip import Anchor
from leither_lite.ledger.traffic import CYCLE
from leither_lite.limits import BODY_SEGMENTS_MAX, SEGMENT_BYTES_MAX, SEGMENT_SET_ITEMS_MAX
from leither_lite.tree.node import EMPTY, ZEROS, node_sum

_OPERATIONS_MAX: Final = SEGMENT_BYTES_MAX
_ARRAY_HEAD_BYTES: Final = 3
SHOWN_BYTES_USUAL: Final = 8 * 1024
"""Outside the root group: few operations that show receipts are longer."""
OPERATION_BYTES_MAX: Final = 404
"""The longest operation that may follow another in a body: a distribution with every field at its longest."""


def never(content: bytes) -> bool:
    """Says of no operation (CBOR) that its signatures were checked before."""
    return False


def next_term(group: Group, under: Body | None = None) -> int:
    """The term of the header after the group's last, or after that of `under`, if no checkpoint opens another."""
    if under is None:
        return group.term
    return max(under.closed_header.term, under.state.appointed)


def _basis(group: Group, under: Body | None) -> tuple[Header, State, bytes, bytes, bytes]:
    """What a body starts from: the header before it, S, its previous, R and inner node."""
    if under is None:
        return group.header, group.state, group.digest, group.roster, group.inner
    return under.closed_header, under.state, under.digest, under.roster, under._inner


class Body(Draft):
    """A body that is being executed, for the header after the group's last, or after that of the body `under` it.

    Bodies on one group are layers: each executes on what those under it have left, and only the topmost that has done
    anything can be taken back. The group's entries run ahead as operations are taken; its tree follows when a segment
    is closed. `operations` are those executed, each with its CBOR, in order; `roster` is R as it is after them. Once it
    is closed there are `header`, its CBOR `header_bytes`, and its `digest`; before, None and b"".
    """

    def __init__(
        self, group: Group, term: int | None = None, under: Body | None = None, anchor: Anchor | None = None
    ) -> None:
        """Open a body. `term` is that of its header, by default `next_term`.

        `under`: a body on this group that is closed and not sealed yet. `anchor`: the root header that it builds on;
        None in the root group. Raises Halt("body_layers") if `under` is not closed.
        """
        term = next_term(group, under) if term is None else term
        before, start, self.previous, roster, inner = _basis(group, under)
        self._counters_before = (group.sent_out, group.settled_in)
        base = before if anchor is None else anchor
        is_first = term != before.term or (group.bits, group.prefix) != (before.bits, before.prefix)
        state = start.opened(base.tick, new_term=is_first)
        if under is None and group.ousted:
            state = state._replace(willing=after_appointment(state.willing, group.ousted, group.roster_keys))
        seed = self.previous if anchor is None else anchor.digest
        super().__init__(group, term, base.pulse + 1, state, roster, inner, seed)
        if under is not None:
            under._above = self
            self._counters_before = under.counters
            self.traffic.sent_out, self.traffic.settled_in = under.counters
        self.anchor = anchor
        self.under = under
        self.header: Header | None = None
        self.header_bytes: bytes = b""
        self.digest: bytes = b""
        self.operations: list[tuple[Operation, bytes]] = []
        self.segments: list[bytes] = []
        self.entries: list[tuple[bytes, bytes, bytes]] = []
        self._above: Body | None = None
        self._before = before
        self._inner_before = inner
        self._sealers = roster
        self._is_ahead = False
        self._page_bytes = 0
        self._contents: list[bytes] = []
        self._content_bytes = 0
        self._set_items = 0
        if under is None and state.floor > start.floor and start.settled != EMPTY:
            self._go_ahead()
            floor = max(start.floor, self.traffic.forget(state.floor))
            self.state = state._replace(floor=floor, settled=group.settled.tree.root())
        self._meta = self._meta_now()

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
        size, items = (OPERATION_BYTES_MAX, 1) if self.group.is_root else (SHOWN_BYTES_USUAL, 3 * RECEIPTS_MAX)
        return self._is_last_segment and not self._fits(size, items)

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
        if len(content) + _ARRAY_HEAD_BYTES > SEGMENT_BYTES_MAX:
            return Status.BODY_FULL
        status = self.judge(operation)
        if status is not Status.OK:
            return status
        if self._contents and not self._fits(len(content), self._items_of(operation)):
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
            return judge_held(self.state, decode_roster(self._sealers, empty_allowed=True), self.previous, operation)
        if self._ends:
            return Status.BODY_FULL
        if type(operation) is TermEnd:
            return judge_term_end(self.group, self.state, operation)
        status = judge(self.group, self.state, operation)
        return Status.BODY_FULL if self._appoints and type(operation) is Appointment and status is Status.OK else status

    def _apply(self, operation: Operation, content: bytes) -> None:
        """Execute an operation that the state allows, in the open segment."""
        if not self._is_ahead:
            self._go_ahead()
        if not self._contents:
            self._content_bytes = self._set_items = 0
        self._execute(operation)
        self._set_items += self._items_of(operation)
        self.operations.append((operation, content))
        self._contents.append(content)
        self._content_bytes += len(content)

    def _close(self, segment: bytes) -> None:
        """Settle what the open segment touched, and add its entry."""
        self._settle_tree()
        self._meta = self._meta_now()
        self.segments.append(segment)
        self.entries.append((segment_digest(segment), self._inner, self._meta))
        self._contents = []

    def close(self, tick: int) -> Header:
        """The header to seal: closes the last segment. `tick` is the present one, never below the predecessor's.

        Raises Halt("not_conserved") if the sum of the accounts is not the supply: then nothing may be sealed.
        """
        if self._contents:
            self._close(codec.encode_array(self._contents))
        group, before, traffic = self.group, self._before, self.traffic
        out, settled = self._counters_before
        change = (traffic.settled_in - settled) - (traffic.sent_out - out)
        gained = node_sum(self._inner) - node_sum(self._inner_before)
        if (gained - change) % CYCLE or (group.is_root and node_sum(self._inner) != group.supply):
            raise Halt("not_conserved", f"the accounts hold {node_sum(self._inner)}, {gained} more than before")
        anchor = self.anchor
        header = Header(
            network=before.network,
            level=1,
            bits=group.bits,
            prefix=group.prefix,
            term=self.term,
            pulse=self.pulse,
            tick=max(tick, before.tick, 0 if anchor is None else anchor.tick),
            anchor=ZEROS if anchor is None else anchor.digest,
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
            self.traffic.outbox.root(),
            self.traffic.sent_out,
            self.traffic.settled_in,
            self.state.encode(),
            self.state.encode_willing(),
            tuple(self.entries),
        )
        group.sealed, group.header, group.state = sealed, header, self.state
        group.digest, group.roster, group.inner = self.digest, self.roster, self._inner
        group.sent_out, group.settled_in = self.traffic.sent_out, self.traffic.settled_in
        group.term = max(self.term, self.state.appointed)
        group.ousted, group.opened = (), b""
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
        self.traffic.undo()
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
