"""The state S of a level-1 group, and W, who is willing to hold for it (docs/protocol.md, sections 3, 4 and 5).

Decides how both are encoded; S commits to W by its digest, so that whoever checks a seal is shown W only where it is
another. What may change them is decided in `ledger.judge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import ROSTER_BYTES_MAX, decode_roster
from leither_lite.identity import h32
from leither_lite.ledger.committee import Willing
from leither_lite.limits import (
    DIGEST_BYTES,
    GROUP_MEMBERS_MAX,
    ID_BITS,
    ID_BYTES,
    NODE_BYTES,
    RECEIPT_TICKS_MAX,
    SETTLED_TICKS_MIN,
    STATE_BYTES_MAX,
    UINT_MAX,
    WILLING_MAX,
)
from leither_lite.tree import node

SPLIT: Final = 1
MERGE: Final = 2
SPLIT_BITS_MAX: Final = 3
SUCCESSORS_MAX: Final = 2**SPLIT_BITS_MAX
WILLING_BYTES_MAX: Final = 4_096
"""W has at most 24 nodes of 111 bytes."""
DECODED_MAX: Final = 32
"""So many W's are kept decoded, of a parent's children: 300 KB at most."""

_FIELDS: Final = 11
_BAD: Final = "bad_state"


class Successor(NamedTuple):
    """A group that a last header offers to be split into: its prefix (20 bytes, zero beyond `bits`), inner node (36
    bytes), counters, R (CBOR), and the digest of its S (32 bytes)."""

    bits: int
    prefix: bytes
    inner: bytes
    sent_out: int
    settled_in: int
    roster: bytes
    state: bytes


class Offer(NamedTuple):
    """What a last header offers its parent: `kind` 0 nothing, SPLIT into the successors in order, or MERGE with the
    buddy."""

    kind: int = 0
    successors: tuple[Successor, ...] = ()

    def value(self) -> Value:
        """[], [1, [[bits, prefix, inner, out, in, R, digest of S], ...]] or [2]."""
        if not self.kind:
            return []
        return [MERGE] if self.kind == MERGE else [SPLIT, [[*each] for each in self.successors]]

    @classmethod
    def take(cls, value: Value) -> Offer:
        """The inverse of `value`. Raises RemoteError("bad_state")."""
        items = codec.items(value, 2, _BAD)
        if not items:
            return NOTHING
        kind = codec.uint(items[0], MERGE, _BAD)
        if kind == MERGE and len(items) == 1:
            return cls(MERGE)
        if kind != SPLIT or len(items) != 2:
            raise RemoteError(_BAD, "an unknown offer")
        successors = tuple(_take_successor(each) for each in codec.items(items[1], SUCCESSORS_MAX, _BAD))
        if len(successors) < 2 or any(later.prefix <= earlier.prefix for earlier, later in pairwise(successors)):
            raise RemoteError(_BAD, "successors are two or more, in the order of their prefixes")
        return cls(SPLIT, successors)


NOTHING: Final = Offer()


def _take_successor(value: Value) -> Successor:
    bits, prefix, inner, sent_out, settled_in, roster, state = codec.fields(value, 7, _BAD)
    successor = Successor(
        codec.uint(bits, ID_BITS, _BAD),
        codec.octets(prefix, ID_BYTES, _BAD),
        codec.octets(inner, NODE_BYTES, _BAD),
        codec.uint(sent_out, UINT_MAX, _BAD),
        codec.uint(settled_in, UINT_MAX, _BAD),
        codec.octets_upto(roster, ROSTER_BYTES_MAX, _BAD),
        codec.octets(state, DIGEST_BYTES, _BAD),
    )
    decode_roster(successor.roster, empty_allowed=True)
    if not node.zero_padded(successor.prefix, successor.bits):
        raise RemoteError(_BAD, "a prefix is not zero beyond its bits")
    return successor


def encode_willing(nodes: Sequence[Willing]) -> bytes:
    """W: CBOR [[key, address, number, silent], ...], keys rising."""
    return encode([[*each] for each in nodes])


@lru_cache(DECODED_MAX)
def decode_willing(content: bytes) -> tuple[Willing, ...]:
    """The inverse of `encode_willing`. Raises RemoteError("bad_state"), or a reason of the codec."""
    nodes = tuple(Willing.take(value, _BAD) for value in codec.items(codec.decode(content), WILLING_MAX, _BAD))
    if any(later.key <= earlier.key for earlier, later in pairwise(nodes)):
        raise RemoteError(_BAD, "the keys of the willing must rise")
    return nodes


def willing_digest(content: bytes) -> bytes:
    """H32("leither.willing", W): 32 bytes."""
    return h32("willing", content)


NOBODY: Final = encode_willing(())


class State(NamedTuple):
    """S: [date, floor, settled, pending, invites, role changes, frozen ids, appointed, since, digest of W, offer].

    `settled`, `pending` and `invites` are roots of sets (36 bytes); date, floor and since are ticks, `since` the date
    of the term's first header; frozen ids rise, and so do the keys of the willing. `appointed` is the term that the
    last appointment, or the last header, opens.
    """

    date: int
    floor: int
    settled: bytes
    pending: bytes
    invites: bytes
    role_changes: int
    frozen: tuple[bytes, ...]
    appointed: int = 0
    since: int = 0
    willing: tuple[Willing, ...] = ()
    offer: Offer = NOTHING

    def encode(self) -> bytes:
        """The CBOR of S. Raises Halt("state_too_large"): the rules keep it within 4,096 bytes."""
        content = encode(
            [
                *self[:6],
                list(self.frozen),
                self.appointed,
                self.since,
                willing_digest(self.encode_willing()),
                self.offer.value(),
            ]
        )
        if len(content) > STATE_BYTES_MAX:
            raise Halt(
                "state_too_large", f"the state has {len(content)} bytes; at most {STATE_BYTES_MAX} are agreed on"
            )
        return content

    def encode_willing(self) -> bytes:
        """The CBOR of W."""
        return encode_willing(self.willing)

    @classmethod
    def decode(cls, content: bytes, willing: bytes) -> State:
        """The state of its CBOR and W's. Raises RemoteError("bad_state"), or a reason of the codec or of rosters."""
        state, digest = cls.decode_alone(content)
        if willing_digest(willing) != digest:
            raise RemoteError(_BAD, "the willing are not those that the state commits to")
        return state._replace(willing=decode_willing(willing))

    @classmethod
    def decode_alone(cls, content: bytes) -> tuple[State, bytes]:
        """The state as if nobody were willing, and the digest of W. Raises RemoteError("bad_state"), or the codec's."""
        if len(content) > STATE_BYTES_MAX:
            raise RemoteError(_BAD, "more than 4,096 bytes")
        date, floor, settled, pending, invites, role_changes, frozen, appointed, since, digest, offer = codec.fields(
            codec.decode(content), _FIELDS, _BAD
        )
        ids = tuple(codec.octets(account, ID_BYTES, _BAD) for account in codec.items(frozen, GROUP_MEMBERS_MAX, _BAD))
        if any(later <= earlier for earlier, later in pairwise(ids)):
            raise RemoteError(_BAD, "frozen ids must rise")
        state = cls(
            codec.uint(date, UINT_MAX, _BAD),
            codec.uint(floor, UINT_MAX, _BAD),
            codec.octets(settled, NODE_BYTES, _BAD),
            codec.octets(pending, NODE_BYTES, _BAD),
            codec.octets(invites, NODE_BYTES, _BAD),
            codec.uint(role_changes, UINT_MAX, _BAD),
            ids,
            codec.uint(appointed, UINT_MAX, _BAD),
            codec.uint(since, UINT_MAX, _BAD),
            (),
            Offer.take(offer),
        )
        return state, codec.octets(digest, DIGEST_BYTES, _BAD)

    def opened(self, date: int, *, new_term: bool = False) -> State:
        """The state with which a body starts: `date` is the tick of the root header that it builds on.

        `new_term`: the body's header is the first of its term. The floor follows the date a day behind, and by an hour
        at a time: a group that was away for long still settles what waited for it.
        """
        floor = max(self.floor, min(self.date - SETTLED_TICKS_MIN, self.floor + RECEIPT_TICKS_MAX))
        return self._replace(date=date, floor=floor, since=date if new_term else self.since, offer=NOTHING)


GENESIS_STATE: Final = State(0, 0, node.EMPTY, node.EMPTY, node.EMPTY, 0, ())
