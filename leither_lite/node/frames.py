"""The frames that nodes exchange: CBOR [kind, …], one kind for each thing that can be said (docs/protocol.md, 9).

Decides how frames look; who may send which, and what becomes of them, is decided by `peers` and `committee`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import RemoteError
from leither_lite.header import Checkpoint, Signatures, signatures_value
from leither_lite.identity import account_id
from leither_lite.limits import DIGEST_BYTES, FRAME_BYTES_MAX, ID_BITS, ID_BYTES, TICK_TOLD_MAX, UINT_MAX
from leither_lite.node.events import FRAME_OPERATION
from leither_lite.pulse.votes import Proposal, SealVote, Vote

# 0 and 2 are the wire's own: hello, and the sign of life.
OPERATION: Final = FRAME_OPERATION
STATUS: Final = 3
VOTE: Final = 4
PROPOSAL: Final = 5
SEAL_VOTE: Final = 6
SEGMENT: Final = 7
WANT_SEGMENTS: Final = 8
SEALED: Final = 9
WANT_PULSE: Final = 10
PULSE: Final = 11
WANT_STATE: Final = 12
STATE: Final = 13
WANT_CHARTER: Final = 14
CHARTER: Final = 15
APPLICATION: Final = 16
ADDRESS: Final = 17
TICK: Final = 18
HELD: Final = 19
REFUSED: Final = 20
NOT_HERE: Final = 21
CHECKPOINT: Final = 22
# 23 and less take one byte of CBOR; the kinds between groups have two.
BRANCH: Final = 24
WANT_BRANCH: Final = 25
CHILD: Final = 26
WANT_UPPER: Final = 27
UPPER: Final = 28
FIND: Final = 29
FOUND: Final = 30
ASK_RECEIPTS: Final = 31

KINDS: Final = frozenset({*range(OPERATION, CHECKPOINT + 1), *range(BRANCH, ASK_RECEIPTS + 1)})
BETWEEN_GROUPS: Final = frozenset(range(BRANCH, ASK_RECEIPTS + 1))
_TWO_BYTES: Final = 0x18
STRANGERS: Final = frozenset({OPERATION, STATUS, WANT_CHARTER, CHARTER, APPLICATION, STATE, REFUSED, SEALED, NOT_HERE})
"""What a node takes from who is not a member: to join, and to be told by those whom it has asked."""
REASON_BYTES_MAX: Final = 64


class Status(NamedTuple):
    """What a node says of itself: its newest sealed header, and its count of ticks."""

    pulse: int
    digest: bytes
    tick: int
    counts: int
    """1 where the count is the node's own since the term began, 0 where it only goes on from a header."""
    bits: int = 0
    prefix: bytes = bytes(ID_BYTES)
    """Of its level-1 group."""
    root: int = 0
    """The pulse of the newest root header above that group."""

    def encode(self) -> bytes:
        """The frame."""
        return encode([STATUS, *self])

    @classmethod
    def take(cls, values: list[Value]) -> Status:
        """Raises RemoteError("bad_status")."""
        _, pulse, digest, tick, counts, bits, prefix, root = codec.fields(values, 8, "bad_status")
        return cls(
            codec.uint(pulse, UINT_MAX, "bad_status"),
            codec.octets(digest, DIGEST_BYTES, "bad_status"),
            codec.uint(tick, TICK_TOLD_MAX, "bad_status"),
            codec.uint(counts, 1, "bad_status"),
            codec.uint(bits, ID_BITS, "bad_status"),
            codec.octets(prefix, ID_BYTES, "bad_status"),
            codec.uint(root, UINT_MAX, "bad_status"),
        )


def kind_of(content: bytes) -> int:
    """The kind of a frame without decoding the rest. Raises RemoteError("bad_frame")."""
    if len(content) < 2 or len(content) > FRAME_BYTES_MAX or not 0x81 <= content[0] <= 0x97:
        raise RemoteError("bad_frame", "not an array that begins with its kind")
    kind = content[1]
    if kind == _TWO_BYTES and len(content) > 2:
        kind = content[2]
        if kind not in BETWEEN_GROUPS:
            raise RemoteError("bad_frame", f"an unknown kind of frame: {kind}")
    elif kind not in KINDS or kind in BETWEEN_GROUPS:
        raise RemoteError("bad_frame", f"an unknown kind of frame: {kind}")
    return kind


def values_of(content: bytes) -> list[Value]:
    """The items of a frame, kind first. Raises RemoteError("bad_frame"), or a reason of the codec."""
    return codec.items(codec.decode(content), 23, "bad_frame")


def one(content: bytes, reason: str) -> Value:
    """The one item of a frame behind its kind. Raises RemoteError(reason), or a reason of the codec."""
    return codec.fields(codec.decode(content), 2, reason)[1]


def operation_frame(content: bytes) -> bytes:
    """[1, operation], of an operation's CBOR."""
    return b"\x82\x01" + content


def message_frame(message: Vote | Proposal | SealVote) -> bytes:
    """What a committee says: [4, vote], [5, proposal] or [6, seal vote]."""
    kind = VOTE if isinstance(message, Vote) else PROPOSAL if isinstance(message, Proposal) else SEAL_VOTE
    return encode([kind, message.value()])


def segment_frame(segment: bytes) -> bytes:
    """[7, segment]"""
    return encode([SEGMENT, segment])


def sealed_frame(header: bytes, signatures: Signatures) -> bytes:
    """[9, header, signatures]"""
    return encode([SEALED, header, signatures_value(signatures)])


def checkpoint_frame(checkpoint: Checkpoint) -> bytes:
    """[22, checkpoint]"""
    return encode([CHECKPOINT, checkpoint.value()])


def refused_frame(kind: int, reason: str) -> bytes:
    """[20, kind, reason]: what was asked is not for this peer."""
    return encode([REFUSED, kind, reason])


def name_of(key: bytes) -> str:
    """How a peer is told of in notes and reasons: its account id."""
    return account_id(key).hex()
