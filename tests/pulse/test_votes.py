"""Votes, proposals, seal votes and evidence: their one form, their signatures, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import RemoteError
from leither_lite.pulse.votes import NIL, PRECOMMIT, PREVOTE, ROUND_MAX, Evidence, Proposal, SealVote, Vote
from tests.pulse.members import (
    KEYS,
    NETWORK,
    PLACE,
    digest_of,
    header_of,
    precommit,
    prevote,
    proposal,
    seal,
    signatures,
    vote,
)

POLKA: Final = [prevote(member, 0, 1) for member in range(3)]
COMMIT: Final = [precommit(member, 2, 1) for member in range(3)]
VOTES: Final = [prevote(0, 0, 1), precommit(1, 7, 0), vote(2, ROUND_MAX, PREVOTE, 3)]
PROPOSALS: Final = [proposal(0, 0, 1), proposal(1, 1, 1, 0, signatures(POLKA))]
SEALS: Final = [seal(0, 1, 2, COMMIT), seal(3, 2, 0, [])]


@pytest.mark.parametrize("given", VOTES)
def test_votes_there_and_back(given: Vote) -> None:
    taken = Vote.take(codec.decode(codec.encode(given.value())))
    assert taken == given
    assert taken.is_signed(NETWORK)
    assert not taken.is_signed(bytes(20)), "another network"
    for other in (
        taken._replace(round=1),
        taken._replace(step=3 - taken.step),
        taken._replace(digest=digest_of(9)),
        taken._replace(key=KEYS[6].public),
        taken._replace(place=PLACE._replace(term=1)),
        taken._replace(place=PLACE._replace(level=2)),
        taken._replace(place=PLACE._replace(previous=bytes(32))),
        taken._replace(signature=bytes(64)),
    ):
        assert not other.is_signed(NETWORK)


@pytest.mark.parametrize("given", PROPOSALS)
def test_proposals_there_and_back(given: Proposal) -> None:
    taken = Proposal.take(codec.decode(codec.encode(given.value())))
    assert taken == given
    assert taken.is_signed(NETWORK)
    assert taken.is_whole
    assert not taken._replace(entries=()).is_whole
    assert not taken.is_signed(bytes(20)), "another network"
    for other in (
        taken._replace(round=5),
        taken._replace(valid_round=taken.valid_round + 1),
        taken._replace(digest=digest_of(9)),
        taken._replace(key=KEYS[6].public),
        taken._replace(place=PLACE._replace(bits=1)),
    ):
        assert not other.is_signed(NETWORK)


@pytest.mark.parametrize("given", SEALS)
def test_seal_votes_there_and_back(given: SealVote) -> None:
    taken = SealVote.take(codec.decode(codec.encode(given.value())))
    assert taken == given
    assert taken.is_signed()
    assert not taken._replace(digest=digest_of(9)).is_signed()
    assert not taken._replace(key=KEYS[6].public).is_signed()


def changed(value: Value, at: int, part: Value) -> Value:
    """A list with one of its items another."""
    items: list[Any] = list(value) if isinstance(value, list) else []
    items[at] = part
    return items


def content(**parts: Any) -> bytes:
    """What a vote signs, with some of it another."""
    told: dict[str, Any] = {"level": 1, "bits": 0, "prefix": bytes(20), "term": 0, "previous": bytes(32)}
    told |= {"round": 0, "step": 1, "digest": NIL, **parts}
    return codec.encode(list(told.values()))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (7, "bad_vote"),
        ([b"", b""], "bad_vote"),
        (changed(VOTES[0].value(), 0, 5), "bad_vote"),
        (changed(VOTES[0].value(), 0, bytes(257)), "bad_vote"),
        (changed(VOTES[0].value(), 0, b"\x81"), "cbor_truncated"),
        (changed(VOTES[0].value(), 0, codec.encode([1])), "bad_vote"),
        (changed(VOTES[0].value(), 1, bytes(31)), "bad_vote"),
        (changed(VOTES[0].value(), 2, bytes(63)), "bad_vote"),
        *(
            (changed(VOTES[0].value(), 0, content(**part)), "bad_vote")
            for part in (
                {"level": 256},
                {"bits": 161},
                {"prefix": bytes(19)},
                {"term": b""},
                {"previous": bytes(31)},
                {"round": ROUND_MAX + 1},
                {"step": 0},
                {"step": 3},
                {"digest": bytes(31)},
                {"digest": 0},
            )
        ),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_votes_refused(value: Value, reason: str) -> None:
    with pytest.raises(RemoteError) as caught:
        Vote.take(value)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("at", "part", "reason"),
    [
        (0, bytes(257), "bad_proposal"),
        (0, b"", "cbor_truncated"),
        (0, codec.encode([1]), "header_fields"),
        (1, 5, "bad_proposal"),
        (1, [[bytes(31), bytes(36), bytes(32)]], "bad_proposal"),
        (1, [[bytes(32), bytes(35), bytes(32)]], "bad_proposal"),
        (1, [[bytes(32), bytes(36), bytes(31)]], "bad_proposal"),
        (1, [[bytes(32), bytes(36), bytes(32)]] * 33, "bad_proposal"),
        (2, ROUND_MAX + 1, "bad_proposal"),
        (3, 2, "bad_proposal"),
        (3, b"", "bad_proposal"),
        (4, [[bytes(32), bytes(64)]] * 8, "bad_proposal"),
        (4, [[bytes(31), bytes(64)]], "bad_proposal"),
        (5, bytes(33), "bad_proposal"),
        (6, bytes(65), "bad_proposal"),
    ],
)
def test_proposals_refused(at: int, part: Value, reason: str) -> None:
    with pytest.raises(RemoteError) as caught:
        Proposal.take(changed(PROPOSALS[1].value(), at, part))
    assert caught.value.reason == reason


def test_a_proposal_is_a_list_of_seven() -> None:
    with pytest.raises(RemoteError, match="bad_proposal"):
        Proposal.take([b""] * 8)


@pytest.mark.parametrize(
    ("at", "part", "reason"),
    [
        (0, bytes(257), "bad_seal_vote"),
        (0, codec.encode([1]), "header_fields"),
        (1, ROUND_MAX + 1, "bad_seal_vote"),
        (2, 0, "bad_seal_vote"),
        (2, [[bytes(32), bytes(64)]] * 8, "bad_seal_vote"),
        (3, b"", "bad_seal_vote"),
        (4, b"", "bad_seal_vote"),
    ],
)
def test_seal_votes_refused(at: int, part: Value, reason: str) -> None:
    with pytest.raises(RemoteError) as caught:
        SealVote.take(changed(SEALS[0].value(), at, part))
    assert caught.value.reason == reason


EVIDENCE: Final = {
    "prevote": Evidence.of_votes(prevote(1, 3, 1), prevote(1, 3, 2)),
    "precommit": Evidence.of_votes(precommit(1, 3, 1), precommit(1, 3, 0)),
    "proposal": Evidence.of_proposals(proposal(1, 1, 1), proposal(1, 1, 2)),
    "seal": Evidence.of_seals(seal(1, 1, 2, COMMIT), seal(1, 2, 0, [])),
}


@pytest.mark.parametrize("kind", EVIDENCE)
def test_evidence_holds_and_comes_back(kind: str) -> None:
    evidence = EVIDENCE[kind]
    assert evidence.kind == kind
    assert evidence.holds(NETWORK)
    taken = Evidence.decode(evidence.encode())
    assert taken == evidence
    shown = taken.to_json()
    assert (shown["kind"], shown["key"], shown["term"]) == (kind, KEYS[1].public.hex(), 0)
    assert bytes.fromhex(str(shown["first"])) == evidence.first


@pytest.mark.parametrize("kind", EVIDENCE)
def test_evidence_with_a_byte_flipped_does_not_hold(kind: str) -> None:
    evidence = EVIDENCE[kind]
    for name in ("first", "second"):
        told: bytes = getattr(evidence, name)
        for at in range(len(told)):
            flipped = told[:at] + bytes([told[at] ^ 1]) + told[at + 1 :]
            changed_ = evidence._replace(first=flipped) if name == "first" else evidence._replace(second=flipped)
            # The round in a seal vote is signed by nobody, and changes nothing of what was.
            if changed_.holds(NETWORK):
                assert kind == "seal"
                assert SealVote.take(codec.decode(flipped)).digest == SealVote.take(codec.decode(told)).digest


@pytest.mark.parametrize(
    "evidence",
    [
        Evidence.of_votes(prevote(1, 3, 1), prevote(1, 3, 1)),
        Evidence.of_votes(prevote(1, 3, 1), prevote(1, 4, 2)),
        Evidence.of_votes(prevote(1, 3, 1), precommit(1, 3, 2)),
        Evidence.of_votes(prevote(1, 3, 1), prevote(2, 3, 2)),
        Evidence.of_votes(prevote(1, 3, 1), vote(1, 3, PREVOTE, 2, PLACE._replace(term=1))),
        Evidence.of_proposals(proposal(1, 1, 1), proposal(1, 1, 1)),
        Evidence.of_proposals(proposal(1, 1, 1), proposal(1, 5, 2)),
        Evidence.of_seals(seal(1, 1, 2, COMMIT), seal(1, 1, 0, [])),
        Evidence.of_seals(
            seal(1, 1, 0, []), SealVote.make(KEYS[1], header_of(2, term=1), 0, ())
        ),  # of different terms they are none
        Evidence.of_seals(seal(1, 1, 0, []), SealVote.make(KEYS[1], header_of(2, previous=bytes(32)), 0, ())),
        EVIDENCE["prevote"]._replace(key=KEYS[2].public),
        EVIDENCE["proposal"]._replace(key=KEYS[2].public),
        EVIDENCE["seal"]._replace(key=KEYS[2].public),
        EVIDENCE["seal"]._replace(kind="prevote"),
        EVIDENCE["prevote"]._replace(kind="seal"),
        EVIDENCE["prevote"]._replace(kind="anything"),
        EVIDENCE["prevote"]._replace(first=b""),
    ],
)
def test_what_is_no_evidence(evidence: Evidence) -> None:
    assert not evidence.holds(NETWORK)


def test_evidence_is_of_one_network() -> None:
    assert not EVIDENCE["precommit"].holds(bytes(20))
    assert not EVIDENCE["proposal"].holds(bytes(20))


@pytest.mark.parametrize(
    ("at", "part"),
    [(0, "x" * 17), (0, 5), (1, b""), (2, b""), (3, bytes(31)), (4, ROUND_MAX + 1), (5, bytes(4097)), (6, 5)],
)
def test_evidence_refused(at: int, part: Value) -> None:
    whole = codec.decode(EVIDENCE["prevote"].encode())
    with pytest.raises(RemoteError, match="bad_evidence"):
        Evidence.decode(codec.encode(changed(whole, at, part)))


def test_what_is_signed_under_one_tag_is_nothing_under_another() -> None:
    """A proposal and a vote may sign the same bytes: neither signature holds for the other."""
    given = proposal(1, PRECOMMIT, 1)
    words: list[Callable[[], bool]] = [
        lambda: Vote(PLACE, 2, 0, digest_of(1), given.key, given.signature).is_signed(NETWORK),
        lambda: given._replace(signature=prevote(1, 2, 1).signature).is_signed(NETWORK),
    ]
    assert Vote(PLACE, 2, 0, digest_of(1), given.key, b"").content() == given.content()
    assert not any(word() for word in words)
