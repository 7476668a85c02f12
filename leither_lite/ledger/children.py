"""The children of a group above level 1, as their parent agrees on them (docs/protocol.md, sections 3 and 4.8).

Decides how the table of children and the state S above level 1 are encoded. Never decides which seal a child may have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import ROSTER_BYTES_MAX, decode_roster, roster_digest
from leither_lite.identity import h32
from leither_lite.ledger.state import NOTHING, Offer
from leither_lite.limits import (
    DIGEST_BYTES,
    GROUP_MEMBERS_MAX,
    ID_BITS,
    ID_BYTES,
    NODE_BYTES,
    STATE_BYTES_MAX,
    UINT_MAX,
)
from leither_lite.tree.node import EMPTY, group, meta, zero_padded

_CHILD_FIELDS: Final = 16
_STATE_FIELDS: Final = 6
_BAD: Final = "bad_state"

Place = tuple[bytes, int]
"""A child's prefix (20 bytes, zero beyond its bits) and its bits. In this order children partition their parent."""


class Child(NamedTuple):
    """A child group: `head` is the digest of its last header (32 bytes), `term` that of its next one, `roster` (CBOR)
    its R. It opens to `inner`, `outbox`, its counters, and the digest of its S; `willing` is that of its W.

    `offer` is what its last header has offered, `offered` the parent's date when it came; `appointed` (CBOR) a roster
    that the parent has named in place of R, or empty; `called` the parent's date when it called for a header, or 0.
    """

    bits: int
    prefix: bytes
    pulse: int
    head: bytes
    term: int
    roster: bytes
    inner: bytes
    outbox: bytes
    sent_out: int
    settled_in: int
    state: bytes
    willing: bytes
    offer: Offer = NOTHING
    offered: int = 0
    appointed: bytes = b""
    called: int = 0

    @property
    def place(self) -> Place:
        """Its prefix and bits."""
        return self.prefix, self.bits

    @property
    def sealers(self) -> tuple[bytes, ...]:
        """Who may seal its next header; none: whoever may seal the parent's."""
        return decode_roster(self.appointed or self.roster, empty_allowed=True)

    def node(self, level: int) -> bytes:
        """The child's node, `level` being its own: 36 bytes."""
        opened = meta(roster_digest(self.roster), self.outbox, self.sent_out, self.settled_in, self.state)
        return group(level, self.bits, self.prefix, self.pulse, self.inner, opened)

    def value(self) -> Value:
        """The child as a CBOR value."""
        return [*self[:12], self.offer.value(), self.offered, self.appointed, self.called]

    @classmethod
    def take(cls, value: Value) -> Child:
        """The inverse of `value`. Raises RemoteError("bad_state")."""
        fields = codec.fields(value, _CHILD_FIELDS, _BAD)
        bits, prefix, pulse, head, term, roster, inner, outbox, sent_out, settled_in, state, willing = fields[:12]
        offer, offered, appointed, called = fields[12:]
        child = cls(
            codec.uint(bits, ID_BITS, _BAD),
            codec.octets(prefix, ID_BYTES, _BAD),
            codec.uint(pulse, UINT_MAX, _BAD),
            codec.octets(head, DIGEST_BYTES, _BAD),
            codec.uint(term, UINT_MAX, _BAD),
            codec.octets_upto(roster, ROSTER_BYTES_MAX, _BAD),
            codec.octets(inner, NODE_BYTES, _BAD),
            codec.octets(outbox, NODE_BYTES, _BAD),
            codec.uint(sent_out, UINT_MAX, _BAD),
            codec.uint(settled_in, UINT_MAX, _BAD),
            codec.octets(state, DIGEST_BYTES, _BAD),
            codec.octets(willing, DIGEST_BYTES, _BAD),
            Offer.take(offer),
            codec.uint(offered, UINT_MAX, _BAD),
            codec.octets_upto(appointed, ROSTER_BYTES_MAX, _BAD),
            codec.uint(called, UINT_MAX, _BAD),
        )
        decode_roster(child.roster, empty_allowed=True)
        if child.appointed:
            decode_roster(child.appointed)
        if not zero_padded(child.prefix, child.bits):
            raise RemoteError(_BAD, "a prefix is not zero beyond its bits")
        return child


def encode_children(children: Iterable[Child]) -> bytes:
    """The table: CBOR of the children in the order of their prefixes."""
    return encode([child.value() for child in children])


def decode_children(content: bytes) -> dict[Place, Child]:
    """The inverse of `encode_children`. Raises RemoteError("bad_state"), or a reason of the codec or of rosters."""
    children: dict[Place, Child] = {}
    before = -1
    for value in codec.items(codec.decode(content), GROUP_MEMBERS_MAX, _BAD):
        child = Child.take(value)
        start = int.from_bytes(child.prefix, "big")
        if start <= before:
            raise RemoteError(_BAD, "children must rise, and not overlap")
        before = last_of(child)
        children[child.place] = child
    return children


def last_of(child: Child) -> int:
    """The largest id of a child, as a number."""
    return int.from_bytes(child.prefix, "big") | ((1 << (ID_BITS - child.bits)) - 1)


def children_digest(content: bytes) -> bytes:
    """H32("leither.children", table): 32 bytes."""
    return h32("children", content)


class UpperState(NamedTuple):
    """S above level 1: [date, digest of the table of children, appointed, since, digest of W, offer]: as at level 1."""

    date: int
    children: bytes
    appointed: int
    since: int
    willing: bytes
    offer: Offer = NOTHING

    def encode(self) -> bytes:
        """The CBOR of S. Raises Halt("state_too_large")."""
        content = encode([*self[:5], self.offer.value()])
        if len(content) > STATE_BYTES_MAX:
            raise Halt("state_too_large", f"the state has {len(content)} bytes")
        return content

    @classmethod
    def decode(cls, content: bytes) -> UpperState:
        """Raises RemoteError("bad_state"), or a reason of the codec."""
        if len(content) > STATE_BYTES_MAX:
            raise RemoteError(_BAD, "more than 4,096 bytes")
        date, children, appointed, since, willing, offer = codec.fields(codec.decode(content), _STATE_FIELDS, _BAD)
        return cls(
            codec.uint(date, UINT_MAX, _BAD),
            codec.octets(children, DIGEST_BYTES, _BAD),
            codec.uint(appointed, UINT_MAX, _BAD),
            codec.uint(since, UINT_MAX, _BAD),
            codec.octets(willing, DIGEST_BYTES, _BAD),
            Offer.take(offer),
        )


def nodes_of(children: Mapping[Place, Child], level: int) -> list[tuple[bytes, bytes]]:
    """(prefix, node) of children at `level`, as a tree takes them."""
    return [(child.prefix, child.node(level)) for child in children.values()]


def encode_upper_page(nodes: Iterable[tuple[int, bytes]]) -> bytes:
    """The page above level 1, of children's (bits, node) in the order of their prefixes: their depths as one byte
    string, and their nodes as another; at most 256 x 37 bytes and 8 of heads."""
    pairs = list(nodes)
    return encode([bytes(bits for bits, _ in pairs), b"".join(node for _, node in pairs)])


def decode_upper_page(content: bytes, bits: int, prefix: bytes) -> dict[Place, bytes]:
    """The nodes of a page whose group has this prefix, by the children's places. Raises RemoteError("bad_page")."""
    reason = "bad_page"
    depths, nodes = codec.fields(codec.decode(content), 2, reason)
    depths = codec.octets_upto(depths, GROUP_MEMBERS_MAX, reason)
    nodes = codec.octets(nodes, NODE_BYTES * len(depths), reason)
    start, end = int.from_bytes(prefix, "big"), int.from_bytes(prefix, "big") + (1 << (ID_BITS - bits))
    found: dict[Place, bytes] = {}
    for index, depth in enumerate(depths):
        size = 1 << (ID_BITS - depth) if depth <= ID_BITS else 0
        if not size or depth < bits or start % size or start >= end:
            raise RemoteError(reason, "the children do not partition the prefix")
        node = nodes[index * NODE_BYTES : (index + 1) * NODE_BYTES]
        if node == EMPTY:
            raise RemoteError(reason, "no child has an empty node")
        found[start.to_bytes(ID_BYTES, "big"), depth] = node
        start += size
    if start != end:
        raise RemoteError(reason, "the children do not partition the prefix")
    return found


def is_partition(places: Iterable[Place], bits: int, prefix: bytes) -> bool:
    """True if these places, in order, are exactly all of a prefix."""
    at, end = int.from_bytes(prefix, "big"), int.from_bytes(prefix, "big") + (1 << (ID_BITS - bits))
    for start, depth in places:
        if int.from_bytes(start, "big") != at or depth < bits:
            return False
        at += 1 << (ID_BITS - depth)
    return at == end
