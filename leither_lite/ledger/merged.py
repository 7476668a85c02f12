"""What a parent has made of two buddies, as a root header showed it before they had sealed anything together.

Carries out docs/protocol.md, section 3. Decides whether two halves, with R and W, are what was shown: so anybody can
tell it, long after the parent has gone on. Whether that root header is one of the root chain is for its caller to say.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.errors import RemoteError
from leither_lite.header import ROSTER_BYTES_MAX, roster_digest
from leither_lite.identity import h32
from leither_lite.ledger.branch import Branch
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.state import WILLING_BYTES_MAX, decode_willing, encode_willing
from leither_lite.ledger.tip import Tip
from leither_lite.tree.node import EMPTY
from leither_lite.tree.shown import Shown

_BAD: Final = "bad_state"


def opened_by(low: bytes, high: bytes, willing: bytes) -> bytes:
    """What a merged group has for the digest of its S until its first header: H32("leither.merge", digests of the last
    headers of both || that of W), 32 bytes each. Its node opens to R besides: so nothing of it is left open."""
    return h32("merge", low + high + willing)


class Merged(NamedTuple):
    """A merged group's node under a root header, with its R (CBOR) and its W."""

    shown: Shown
    roster: bytes
    willing: tuple[Willing, ...]

    @classmethod
    def of(cls, branch: Branch, tip: Tip) -> Merged | None:
        """As a branch shows it; None where that shows something else."""
        shown = Shown(
            branch.seal.header,
            branch.seal.signatures,
            tip.bits,
            tip.prefix,
            int.from_bytes(branch.floors[-1].nodes[tip.prefix, tip.bits][:8], "big"),
            tip.inner,
            roster_digest(tip.roster),
            EMPTY,
            tip.sent_out,
            tip.settled_in,
            tip.opened,
            branch.above(tip.prefix),
        )
        merged = cls(shown, tip.roster, tip.state.willing)
        try:
            merged.check(branch.header.network)
        except RemoteError:
            return None
        return merged

    def check(self, network: bytes) -> None:
        """That it leads to a root header. Raises RemoteError: bad_state, or as `Shown.check`."""
        self.shown.check(network)
        if (roster_digest(self.roster), EMPTY) != (self.shown.roster, self.shown.outbox):
            raise RemoteError(_BAD, "another roster was shown")

    def is_of(self, tip: Tip) -> bool:
        """True if this is where the group's chain goes on from."""
        shown = self.shown
        there = shown.bits, shown.prefix, shown.inner, shown.sent_out, shown.settled_in, shown.state, self.roster
        return there == (tip.bits, tip.prefix, tip.inner, tip.sent_out, tip.settled_in, tip.opened, tip.roster)

    def encode(self) -> bytes:
        """CBOR [shown, R, W]."""
        return encode([self.shown.value(), self.roster, encode_willing(self.willing)])

    @classmethod
    def decode(cls, content: bytes) -> Merged:
        """The inverse of `encode`, unchecked. Raises RemoteError("bad_state"), or a reason of the codec."""
        shown, roster, willing = codec.fields(codec.decode(content), 3, _BAD)
        return cls(
            Shown.take(shown, _BAD),
            codec.octets_upto(roster, ROSTER_BYTES_MAX, _BAD),
            decode_willing(codec.octets_upto(willing, WILLING_BYTES_MAX, _BAD)),
        )
