"""The write-ahead log of what a member has signed for the successor of its last header.

Decides how its rows look and what they say after a start (docs/protocol.md, section 4: what a member signs is on disk
before it is on the wire). Rows of another instance bind nobody any more and are to be deleted. Never signs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.effects import Write
from leither_lite.errors import Halt, RemoteError
from leither_lite.pulse.agreement import PROPOSE
from leither_lite.pulse.votes import Place, Proposal, SealVote, Vote

TABLE: Final = b"v"
PROPOSAL, PREVOTED, PRECOMMITTED, SEAL, LOCK = range(5)
"""Kinds of rows; the first three are in the order of the steps of a round."""


def row_key(kind: int, round_: int) -> bytes:
    """The key of a row: its kind and round."""
    return TABLE + bytes([kind]) + round_.to_bytes(4, "big")


def row(place: Place, kind: int, round_: int, value: Value) -> Write:
    """The write that makes a signature last: CBOR [term, previous, value]."""
    return row_key(kind, round_), encode([place.term, place.previous, value])


def superseded(rows: Iterable[bytes], kind: int, round_: int) -> list[bytes]:
    """Of the keys of rows, those that bind nobody any more once a row of this kind and round is written: rounds only
    rise, and of the locks the newest counts."""
    steps = (PROPOSAL, PREVOTED, PRECOMMITTED)
    kinds = (LOCK,) if kind == LOCK else steps if kind in steps else ()
    return [row for row in rows if row[1] in kinds and int.from_bytes(row[2:], "big") < round_]


def lock_value(proposal: Proposal, prevotes: Iterable[Vote]) -> Value:
    """What a LOCK row holds: the proposal, and the quorum of prevotes that allowed to precommit it."""
    return [proposal.value(), [vote.value() for vote in prevotes]]


@dataclass(slots=True)
class Kept:
    """What a log says: own votes, own seal, the newest lock, and in which step of which round the member was."""

    keys: list[bytes] = field(default_factory=list)
    stale: list[bytes] = field(default_factory=list)
    votes: list[Vote] = field(default_factory=list)
    seal: SealVote | None = None
    lock_round: int = -1
    locked: Proposal | None = None
    polka: list[Vote] = field(default_factory=list)
    round: int = 0
    step: int = PROPOSE


def read(rows: Iterable[tuple[bytes, bytes]], place: Place) -> Kept:
    """What the rows say of the instance at `place`. Raises Halt("store_corrupt")."""
    kept = Kept()
    try:
        for key, content in rows:
            term, previous, value = codec.fields(codec.decode(content), 3, "bad_log")
            if (term, previous) != (place.term, place.previous) or len(key) != len(row_key(0, 0)):
                kept.stale.append(key)
                continue
            kept.keys.append(key)
            _take(kept, key[1], int.from_bytes(key[2:], "big"), value)
    except RemoteError as error:
        raise Halt("store_corrupt", f"the log of own signatures cannot be read: {error}") from error
    return kept


def _take(kept: Kept, kind: int, round_: int, value: Value) -> None:
    if kind == LOCK:
        if round_ > kept.lock_round:
            proposal, prevotes = codec.fields(value, 2, "bad_log")
            kept.lock_round, kept.locked = round_, Proposal.take(proposal)
            kept.polka = [Vote.take(vote) for vote in codec.items(prevotes, 7, "bad_log")]
        return
    if kind == SEAL:
        kept.seal = SealVote.take(value)
        return
    if kind != PROPOSAL:
        kept.votes.append(Vote.take(value))
    if (round_, kind) > (kept.round, kept.step):
        kept.round, kept.step = round_, kind
