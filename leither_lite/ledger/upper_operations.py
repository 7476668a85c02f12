"""What bodies above level 1 consist of: children's seals, and what is decided of children (docs/protocol.md, 4.8).

Decides whether one is well formed. Nobody signs them beside who seals the header: what they show is checked in
`ledger.judge_children`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import RemoteError
from leither_lite.header import (
    HEADER_BYTES_MAX,
    ROSTER_BYTES_MAX,
    Signatures,
    signatures_value,
    take_signatures,
)
from leither_lite.ledger.children import Place
from leither_lite.ledger.committee import Held
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import WILLING_BYTES_MAX
from leither_lite.ledger.structure import TermEnd
from leither_lite.limits import (
    HELD_SIGNATURES_MAX,
    ID_BITS,
    ID_BYTES,
    KEY_BYTES,
    NODE_BYTES,
    SIGNATURE_BYTES,
    STATE_BYTES_MAX,
    UINT_MAX,
)
from leither_lite.tree.node import zero_padded

_BAD: Final = "bad_operation"


@dataclass(frozen=True, slots=True)
class ChildSeal:
    """A child's sealed header, with all that its node opens to; `willing` is W where it is another than before, else
    empty; `held` are signatures of those that hold page and body, keys rising."""

    CODE: ClassVar[int] = 13
    header_bytes: bytes
    signatures: Signatures
    roster: bytes
    inner: bytes
    outbox: bytes
    sent_out: int
    settled_in: int
    state: bytes
    willing: bytes
    held: Signatures

    @classmethod
    def of(cls, sealed: SealedPulse, held: Signatures, *, shows_willing: bool) -> ChildSeal:
        """What a parent is told of a sealed pulse."""
        return cls(
            sealed.header_bytes,
            sealed.signatures,
            sealed.roster,
            sealed.inner,
            sealed.outbox,
            sealed.sent_out,
            sealed.settled_in,
            sealed.state,
            sealed.willing if shows_willing else b"",
            held,
        )

    @classmethod
    def from_values(cls, values: list[Value]) -> ChildSeal:
        """Raises RemoteError("bad_operation"), or a reason of the codec."""
        _, header, signatures, roster, inner, outbox, sent_out, settled_in, state, willing, held = codec.fields(
            values, 11, _BAD
        )
        pairs = []
        for pair in codec.items(held, HELD_SIGNATURES_MAX, _BAD):
            key, signature = codec.fields(pair, 2, _BAD)
            pairs.append((codec.octets(key, KEY_BYTES, _BAD), codec.octets(signature, SIGNATURE_BYTES, _BAD)))
        if any(later[0] <= earlier[0] for earlier, later in pairwise(pairs)):
            raise RemoteError(_BAD, "keys must rise")
        return cls(
            codec.octets_upto(header, HEADER_BYTES_MAX, _BAD),
            take_signatures(signatures, _BAD),
            codec.octets_upto(roster, ROSTER_BYTES_MAX, _BAD),
            codec.octets(inner, NODE_BYTES, _BAD),
            codec.octets(outbox, NODE_BYTES, _BAD),
            codec.uint(sent_out, UINT_MAX, _BAD),
            codec.uint(settled_in, UINT_MAX, _BAD),
            codec.octets_upto(state, STATE_BYTES_MAX, _BAD),
            codec.octets_upto(willing, WILLING_BYTES_MAX, _BAD),
            tuple(pairs),
        )

    def encode(self) -> bytes:
        """CBOR [13, header, signatures, R, inner, outbox, out, in, S, W or empty, [[key, signature], ...]]."""
        return encode(
            [
                self.CODE,
                self.header_bytes,
                signatures_value(self.signatures),
                self.roster,
                self.inner,
                self.outbox,
                self.sent_out,
                self.settled_in,
                self.state,
                self.willing,
                signatures_value(self.held),
            ]
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What a parent decides of the child at a place: CHANGED or KEPT of what it has offered, CALL for a header, APPOINT
    a new roster."""

    CODE: ClassVar[int] = 14
    place: Place
    kind: int

    @classmethod
    def from_values(cls, values: list[Value]) -> Decision:
        """Raises RemoteError("bad_operation")."""
        _, prefix, bits, kind = codec.fields(values, 4, _BAD)
        place = codec.octets(prefix, ID_BYTES, _BAD), codec.uint(bits, ID_BITS, _BAD)
        if not zero_padded(*place):
            raise RemoteError(_BAD, "a prefix is not zero beyond its bits")
        return cls(place, codec.uint(kind, APPOINT, _BAD))

    def encode(self) -> bytes:
        """CBOR [14, prefix, bits, kind]."""
        return encode([self.CODE, *self.place, self.kind])


CHANGED: Final = 0
KEPT: Final = 1
CALL: Final = 2
APPOINT: Final = 3

UpperOperation = ChildSeal | Decision | Held | TermEnd

_KINDS: Final[dict[int, type[UpperOperation]]] = {
    Held.CODE: Held,
    TermEnd.CODE: TermEnd,
    ChildSeal.CODE: ChildSeal,
    Decision.CODE: Decision,
}


def upper_from_value(value: Value) -> UpperOperation:
    """The operation of a decoded array. Raises RemoteError("bad_operation"), or a reason of the codec."""
    values = codec.items(value, 11, _BAD)
    code = values[0] if values else None
    kind = _KINDS.get(code) if type(code) is int else None
    if kind is None:
        raise RemoteError(_BAD, "an unknown kind of operation above level 1")
    return kind.from_values(values)
