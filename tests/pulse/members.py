"""Members of a committee that tests play: their keys, headers to agree on, and what they sign."""

from __future__ import annotations

import hashlib
from typing import Final

from leither_lite.header import Header, Signatures, body_digest, header_digest
from leither_lite.identity import Key
from leither_lite.pulse.votes import NIL, PRECOMMIT, PREVOTE, Entries, Place, Proposal, SealVote, Vote

NETWORK: Final = bytes(range(20))
PREVIOUS: Final = bytes(range(32))
KEYS: Final = tuple(Key.from_seed(number.to_bytes(32, "big")) for number in range(1, 8))
STRANGER: Final = Key.from_seed(bytes(32))
PLACE: Final = Place(1, 0, bytes(20), 0, PREVIOUS)


def roster(size: int) -> tuple[bytes, ...]:
    """The keys of a committee, chief first."""
    return tuple(key.public for key in KEYS[:size])


def entries_of(number: int) -> Entries:
    """The list of the body of header `number`."""
    digest = hashlib.blake2b(number.to_bytes(4, "big"), digest_size=32).digest()
    return ((digest, bytes(36), bytes(32)),)


def header_of(number: int, *, term: int = 0, previous: bytes = PREVIOUS) -> bytes:
    """One of many headers that may follow: they differ in their bodies."""
    return Header(
        network=NETWORK,
        level=1,
        bits=0,
        prefix=bytes(20),
        term=term,
        pulse=1,
        tick=number,
        anchor=bytes(32),
        node=bytes(36),
        previous=previous,
        body=body_digest(entries_of(number)),
    ).encode()


def digest_of(number: int) -> bytes:
    """The digest of header `number`; NIL for 0."""
    return header_digest(header_of(number)) if number else NIL


def vote(member: int, round_: int, step: int, number: int, place: Place = PLACE) -> Vote:
    """A member's vote for header `number`, or for none (0)."""
    return Vote.make(NETWORK, KEYS[member], place, round_, step, digest_of(number))


def prevote(member: int, round_: int, number: int) -> Vote:
    """A prevote."""
    return vote(member, round_, PREVOTE, number)


def precommit(member: int, round_: int, number: int) -> Vote:
    """A precommit."""
    return vote(member, round_, PRECOMMIT, number)


def signatures(votes: list[Vote]) -> Signatures:
    """The proof that votes make."""
    return tuple((each.key, each.signature) for each in votes)


def proposal(member: int, round_: int, number: int, valid_round: int = -1, prevotes: Signatures = ()) -> Proposal:
    """A member's proposal of header `number`."""
    return Proposal.make(
        NETWORK, KEYS[member], PLACE, round_, valid_round, header_of(number), entries_of(number), prevotes
    )


def seal(member: int, number: int, round_: int, precommits: list[Vote]) -> SealVote:
    """A member's seal."""
    return SealVote.make(KEYS[member], header_of(number), round_, signatures(precommits))


A, B = digest_of(1), digest_of(2)
COMMIT: Final = [precommit(member, 0, 1) for member in (0, 2, 3)]
COMMIT_OF_B: Final = [precommit(member, 0, 2) for member in (0, 2, 3)]
Message = Vote | Proposal | SealVote

GOOD: Final[list[Message]] = [
    proposal(0, 0, 1),
    prevote(0, 0, 1),
    prevote(2, 0, 1),
    precommit(0, 0, 1),
    precommit(2, 0, 1),
    seal(0, 1, 0, COMMIT),
    seal(2, 1, 0, COMMIT),
]
"""What member 1 of 4 hears in a round that ends in a seal."""
