"""What a group keeps of one sealed header: its seal, and what its node opens to (docs/protocol.md, section 9).

Decides how these are encoded, at level 1 and above. Never checks who agreed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.header import (
    HEADER_BYTES_MAX,
    ROSTER_BYTES_MAX,
    Header,
    Signatures,
    roster_digest,
    signatures_value,
    state_digest,
    take_signatures,
)
from leither_lite.ledger.state import WILLING_BYTES_MAX
from leither_lite.limits import BODY_SEGMENTS_MAX, DIGEST_BYTES, NODE_BYTES, STATE_BYTES_MAX, UINT_MAX
from leither_lite.tree import node

SEALED_BYTES_MAX: Final = 32 * 1024

BodyEntries = tuple[tuple[bytes, bytes, bytes], ...]
"""For each segment: its digest, and inner node and meta after it."""


@dataclass(frozen=True, slots=True)
class SealedPulse:
    """What a group keeps of one sealed pulse, beside its body and what changed in its page.

    The header's node opens to R `roster`, `inner`, `outbox`, the counters, and S `state`; S commits to W `willing`.
    """

    header_bytes: bytes
    signatures: Signatures
    roster: bytes
    inner: bytes
    outbox: bytes
    sent_out: int
    settled_in: int
    state: bytes
    willing: bytes
    entries: BodyEntries

    @property
    def header(self) -> Header:
        """The decoded header."""
        return Header.decode(self.header_bytes)

    @property
    def meta(self) -> bytes:
        """The meta digest that the header's node commits to."""
        return node.meta(
            roster_digest(self.roster), self.outbox, self.sent_out, self.settled_in, state_digest(self.state)
        )

    def encode(self) -> bytes:
        """CBOR [header, signatures, R, inner, outbox, out, in, S, W, body entries]."""
        return encode(
            [
                self.header_bytes,
                signatures_value(self.signatures),
                self.roster,
                self.inner,
                self.outbox,
                self.sent_out,
                self.settled_in,
                self.state,
                self.willing,
                [list(entry) for entry in self.entries],
            ]
        )

    @classmethod
    def decode(cls, content: bytes) -> SealedPulse:
        """Raises RemoteError("bad_sealed_pulse"), or a reason of the codec or of headers."""
        reason = "bad_sealed_pulse"
        header, signatures, roster, inner, outbox, sent_out, settled_in, state, willing, entries = codec.fields(
            codec.decode(content), 10, reason
        )
        header = codec.octets_upto(header, HEADER_BYTES_MAX, reason)
        Header.decode(header)
        taken = []
        for value in codec.items(entries, BODY_SEGMENTS_MAX, reason):
            digest, after, meta = codec.fields(value, 3, reason)
            taken.append(
                (
                    codec.octets(digest, DIGEST_BYTES, reason),
                    codec.octets(after, NODE_BYTES, reason),
                    codec.octets(meta, DIGEST_BYTES, reason),
                )
            )
        return cls(
            header,
            take_signatures(signatures, reason),
            codec.octets_upto(roster, ROSTER_BYTES_MAX, reason),
            codec.octets(inner, NODE_BYTES, reason),
            codec.octets(outbox, NODE_BYTES, reason),
            codec.uint(sent_out, UINT_MAX, reason),
            codec.uint(settled_in, UINT_MAX, reason),
            codec.octets_upto(state, STATE_BYTES_MAX, reason),
            codec.octets_upto(willing, WILLING_BYTES_MAX, reason),
            tuple(taken),
        )
