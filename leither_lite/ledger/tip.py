"""Where a group's chain stands: what its next header builds on (docs/protocol.md, sections 2.4 and 3).

Mostly that is what its last header says; after a split, a merge or an appointment by the parent it is not, and is kept
in a row of its own until the next seal. Decides only how that is encoded.
"""

from __future__ import annotations

from typing import NamedTuple

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.errors import RemoteError
from leither_lite.header import ROSTER_BYTES_MAX, decode_roster, header_digest
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import WILLING_BYTES_MAX, State
from leither_lite.limits import DIGEST_BYTES, ID_BITS, ID_BYTES, NODE_BYTES, STATE_BYTES_MAX, UINT_MAX
from leither_lite.tree.node import zero_padded


class Anchor(NamedTuple):
    """A sealed root header that a header builds on: its digest (32 bytes), pulse and tick."""

    digest: bytes
    pulse: int
    tick: int


class Tip(NamedTuple):
    """What the next header of a level-1 group builds on: `digest` is its previous, `term` its term, `roster` (CBOR) who
    may seal it; `inner`, the counters and `state` are what its body starts from. `opened`: what the group's node has
    for the digest of S until that header, where a merge has made it; empty where it is that of `state`."""

    digest: bytes
    roster: bytes
    state: State
    bits: int
    prefix: bytes
    term: int
    inner: bytes
    sent_out: int
    settled_in: int
    opened: bytes = b""

    @property
    def place(self) -> tuple[int, bytes, int, bytes, int, int]:
        """bits, prefix, term, inner, out, in."""
        return self[3:9]

    @classmethod
    def after(cls, sealed: SealedPulse, state: State) -> Tip:
        """What the last header itself says; `state` is its S."""
        header = sealed.header
        return cls(
            header_digest(sealed.header_bytes),
            sealed.roster,
            state,
            header.bits,
            header.prefix,
            max(header.term, state.appointed),
            sealed.inner,
            sealed.sent_out,
            sealed.settled_in,
        )

    def encode(self) -> bytes:
        """CBOR [digest, R, S, W, bits, prefix, term, inner, out, in, opened]."""
        state = self.state
        return encode([self.digest, self.roster, state.encode(), state.encode_willing(), *self.place, self.opened])

    @classmethod
    def decode(cls, content: bytes) -> Tip:
        """Raises RemoteError("bad_tip"), or a reason of the codec, of rosters or of states."""
        reason = "bad_tip"
        values = codec.fields(codec.decode(content), 11, reason)
        digest, roster, state, willing, bits, prefix, term, inner, sent_out, settled_in, opened = values
        tip = cls(
            codec.octets(digest, DIGEST_BYTES, reason),
            codec.octets_upto(roster, ROSTER_BYTES_MAX, reason),
            State.decode(
                codec.octets_upto(state, STATE_BYTES_MAX, reason), codec.octets_upto(willing, WILLING_BYTES_MAX, reason)
            ),
            codec.uint(bits, ID_BITS, reason),
            codec.octets(prefix, ID_BYTES, reason),
            codec.uint(term, UINT_MAX, reason),
            codec.octets(inner, NODE_BYTES, reason),
            codec.uint(sent_out, UINT_MAX, reason),
            codec.uint(settled_in, UINT_MAX, reason),
            codec.octets_upto(opened, DIGEST_BYTES, reason),
        )
        decode_roster(tip.roster, empty_allowed=True)
        if not zero_padded(tip.prefix, tip.bits):
            raise RemoteError(reason, "a prefix is not zero beyond its bits")
        if tip.opened and len(tip.opened) != DIGEST_BYTES:
            raise RemoteError(reason, "a digest is cut short")
        if not tip.term and not tip.bits:
            raise RemoteError(reason, "no group has such a tip")
        return tip
