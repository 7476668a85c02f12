"""The body of a header above level 1: children's seals, and what is decided of children (docs/protocol.md, 4.8).

Decides what the state is after operations that it allows (`ledger.judge_children` says which). Works on a copy, so
there is nothing to take back. Everybody who has the state before a header can execute its body again and must come to
the same header. Never checks who agreed, never reads a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import (
    Header,
    Signatures,
    body_digest,
    encode_roster,
    header_digest,
    roster_digest,
    segment_digest,
    state_digest,
)
from leither_lite.ledger.children import Child, Place, UpperState, children_digest, encode_children, nodes_of
from leither_lite.ledger.committee import Held
from leither_lite.ledger.judge_children import Parent, candidates, decided, judge_decision, take_child
from leither_lite.ledger.sealed import BodyEntries, SealedPulse
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import (
    MERGE,
    NOBODY,
    NOTHING,
    SPLIT,
    Offer,
    decode_willing,
    encode_willing,
    willing_digest,
)
from leither_lite.ledger.structure import TermEnd, draw, inner_of
from leither_lite.ledger.tip import Anchor
from leither_lite.ledger.upper import UpperGroup, counters_of, upper_split, upper_willing, willing_of_parts
from leither_lite.ledger.upper_operations import ChildSeal, Decision, UpperOperation, upper_from_value
from leither_lite.limits import BODY_SEGMENTS_MAX, SEGMENT_BYTES_MAX
from leither_lite.tree.node import EMPTY, ZEROS, group, meta, node_sum

_OPERATIONS_MAX: Final = 4_096
_ARRAY_HEAD_BYTES: Final = 3


class UpperBody:
    """A body that is being executed, for the header after the group's last.

    `operations` are those executed, each with its CBOR, in order; `roster` is R as it is after them. Once it is closed
    there are `header`, its CBOR `header_bytes`, and its `digest`; before, None and b"".
    """

    def __init__(
        self, parent: UpperGroup, anchor: Anchor | None = None, sealers: tuple[bytes, ...] | None = None
    ) -> None:
        """Open a body on the tip of `parent`. `anchor`: the root header that it builds on; None in the root group.

        `sealers`: who seals this header, where R is none: the next group's above that has one.
        """
        self.group = parent
        self.anchor = anchor
        self.term = parent.term
        before = parent.header
        base = before if anchor is None else anchor
        self.pulse = base.pulse + 1
        self.previous = parent.digest
        is_first = self.term != before.term or (parent.bits, parent.prefix, parent.level) != (
            before.bits,
            before.prefix,
            before.level,
        )
        state = parent.state
        self.state: UpperState = state._replace(
            date=base.tick, since=base.tick if is_first else state.since, offer=NOTHING
        )
        self.roster = parent.roster
        self.children: dict[Place, Child] = dict(parent.children)
        self.shown: dict[bytes, bytes] = dict(parent.shown)
        self.header: Header | None = None
        self.header_bytes: bytes = b""
        self.digest: bytes = b""
        self.operations: list[tuple[UpperOperation, bytes]] = []
        self.segments: list[bytes] = []
        self.entries: list[tuple[bytes, bytes, bytes]] = []
        self._sealers = parent.roster_keys if sealers is None else sealers
        self._seed = parent.digest if anchor is None else anchor.digest
        self._contents: list[bytes] = []
        self._content_bytes = 0
        self._ends = False
        self._inner = parent.inner
        self._meta = self._meta_now()

    # -- operations ------------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """True while nothing has been taken but `Held`."""
        return not self.operations or (len(self.operations) == 1 and type(self.operations[0][0]) is Held)

    @property
    def changes_roster(self) -> bool:
        """True if another roster may seal the next header than this one."""
        return self.roster != self.group.roster

    def take(self, operation: UpperOperation, content: bytes) -> bool:
        """Execute an operation, `content` being its CBOR; close segments as they fill. False if it is for another body.

        Raises RemoteError with the reason why it is not allowed: then nothing has changed.
        """
        size = len(content) + _ARRAY_HEAD_BYTES
        if self._contents and self._content_bytes + size > SEGMENT_BYTES_MAX:
            if len(self.segments) + 1 >= BODY_SEGMENTS_MAX:
                return False
            self._close(codec.encode_array(self._contents))
        self._execute(operation)
        self.operations.append((operation, content))
        self._contents.append(content)
        self._content_bytes += len(content)
        return True

    def parent(self) -> Parent:
        """What operations are judged by now."""
        return Parent(self.group, self.children, self.shown, self.state.date, self.anchor, self._sealers)

    def _execute(self, operation: UpperOperation) -> None:
        if self._ends:
            raise RemoteError("misplaced", "the term has ended")
        if isinstance(operation, ChildSeal):
            child = take_child(self.parent(), operation, self.group.network)
            self._replace((), (child,), (operation.willing,) if operation.willing else ())
        elif isinstance(operation, Decision):
            reason = judge_decision(self.parent(), operation)
            if reason:
                raise RemoteError(reason, "a decision that is not allowed")
            self._replace(*decided(self.parent(), operation, self._seed))
        elif isinstance(operation, Held):
            self._hold(operation)
        else:
            self._end(operation)

    def _replace(self, gone: Sequence[Place], children: Sequence[Child], shown: Sequence[bytes]) -> None:
        for place in gone:
            del self.children[place]
        for child in children:
            self.children[child.place] = child
        for content in shown:
            self.shown[willing_digest(content)] = content
        if gone:
            self.children = dict(sorted(self.children.items()))

    def _hold(self, held: Held) -> None:
        if self.operations:
            raise RemoteError("misplaced", "it is not the first")
        willing = decode_willing(self.shown.get(self.state.willing, NOBODY))
        keys = frozenset(each.key for each in willing)
        named = (*held.signers, *held.silent)
        if held.header_digest != self.previous or any(key not in keys for key in named):
            raise RemoteError("not_permitted", "of another header, or by somebody who is not willing")
        if not frozenset(held.signers).isdisjoint(held.silent):
            raise RemoteError("not_permitted", "both signer and silent")
        if held.check_signatures(self.group.network) is not Status.OK:
            raise RemoteError("bad_signature", "of a holder")
        self._set_willing(encode_willing(held.marked(willing)))

    def _set_willing(self, content: bytes) -> None:
        digest = willing_digest(content)
        self.shown[digest] = content
        self.state = self.state._replace(willing=digest)

    def _end(self, end: TermEnd) -> None:
        """Draw who is willing from the children's rosters, and from these the next roster."""
        parent, count, most = self.group, len(self.children), self.group.rules.members_max
        if self.state.date < self.state.since + parent.rules.term_ticks:
            raise RemoteError("too_early", "the term is not over")
        if end.kind == SPLIT and count <= most * 3 // 4:
            raise RemoteError("not_permitted", "it is not large")
        if end.kind == MERGE and (parent.is_root or count > most // 2):
            raise RemoteError("not_permitted", "it is not small")
        after = max(self.pulse - parent.rules.term_ticks, 0)
        if end.kind == SPLIT:
            willing = willing_of_parts(parent, self.children, self.shown, self._seed, after)
        else:
            willing = upper_willing(self.children.values(), self.shown, self._seed, parent.rules.roster_max, after)
        if willing:
            self._set_willing(encode_willing(willing))
            self.roster = encode_roster(draw(willing, self._seed, parent.rules.roster_max, self.children))
        self.state = self.state._replace(appointed=self.term + 1, children=self._table())
        self._ends = True
        if end.kind == MERGE:
            self.state = self.state._replace(offer=Offer(MERGE))
        elif end.kind == SPLIT:
            parts = upper_split(parent, self.children, willing or parent.willing, self.state.date, self._seed)
            self.state = self.state._replace(offer=Offer(SPLIT, tuple(part.successor for part in parts)))

    # -- segments and headers ----------------------------------------------------------------------------------------

    def _table(self) -> bytes:
        return children_digest(encode_children(self.children.values()))

    def _meta_now(self) -> bytes:
        return meta(
            roster_digest(self.roster), EMPTY, *counters_of(self.children.values()), state_digest(self.state.encode())
        )

    def _close(self, segment: bytes) -> None:
        self.state = self.state._replace(children=self._table())
        self._inner = inner_of(nodes_of(self.children, self.group.level - 1))
        self._meta = self._meta_now()
        self.segments.append(segment)
        self.entries.append((segment_digest(segment), self._inner, self._meta))
        self._contents, self._content_bytes = [], 0

    def close(self, tick: int) -> Header:
        """The header to seal. `tick` is the present one, never below the predecessor's.

        Raises Halt("not_conserved") if the root's sum, and what is under way, are not the supply.
        """
        if self._contents:
            self._close(codec.encode_array(self._contents))
        parent, before, anchor = self.group, self.group.header, self.anchor
        under_way = self.under_way
        if parent.is_root and (node_sum(self._inner) + under_way != parent.supply):
            raise Halt("not_conserved", f"{node_sum(self._inner)} and {under_way} under way of {parent.supply}")
        self.header = Header(
            network=parent.network,
            level=parent.level,
            bits=parent.bits,
            prefix=parent.prefix,
            term=self.term,
            pulse=self.pulse,
            tick=max(tick, before.tick, 0 if anchor is None else anchor.tick),
            anchor=ZEROS if anchor is None else anchor.digest,
            node=group(parent.level, parent.bits, parent.prefix, self.pulse, self._inner, self._meta),
            previous=self.previous,
            body=body_digest(self.entries),
        )
        self.header_bytes = self.header.encode()
        self.digest = header_digest(self.header_bytes)
        return self.header

    @property
    def under_way(self) -> int:
        """out - in: what receipts have taken away and not yet brought, as a signed number."""
        sent_out, settled_in = counters_of(self.children.values())
        difference = (sent_out - settled_in) % 2**64
        return difference if difference < 2**63 else difference - 2**64

    def replay(self, segments: Sequence[bytes], entries: BodyEntries) -> None:
        """Execute a body as somebody else made it, checking the state after each segment.

        Raises RemoteError: body_segments, body_segment_size, body_state, or why an operation is not allowed.
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
                operation = upper_from_value(value)
                self._execute(operation)
                self.operations.append((operation, codec.encode(value)))
            self._close(segment)
            if self.entries[-1] != entry:
                raise RemoteError("body_state", "the state after a segment is not the one that was sealed")

    def holders(self) -> tuple[bytes, ...]:
        """Who may be drawn to hold the closed header's page and body, in the order in which they are."""
        willing = decode_willing(self.shown.get(self.state.willing, NOBODY))
        return candidates(willing, self.roster, self.digest)

    def seal(self, signatures: Signatures) -> SealedPulse:
        """Make the closed body's header, as sealed by a quorum, the group's last; what is to be kept of it.

        Raises Halt("body_layers") unless this body is closed, and on the group's tip.
        """
        parent, header = self.group, self.header
        if header is None or self.previous != parent.digest:
            raise Halt("body_layers", "only a closed body on the group's last header can be sealed")
        sealed = SealedPulse(
            self.header_bytes,
            signatures,
            self.roster,
            self._inner,
            EMPTY,
            *counters_of(self.children.values()),
            self.state.encode(),
            self.shown.get(self.state.willing, NOBODY),
            tuple(self.entries),
        )
        needed = {child.willing for child in self.children.values()} | {self.state.willing}
        parent.sealed, parent.header, parent.digest = sealed, header, self.digest
        parent.state, parent.roster, parent.children = self.state, self.roster, self.children
        parent.term = max(self.term, self.state.appointed)
        parent.shown = {digest: content for digest, content in self.shown.items() if digest in needed}
        return sealed
