"""What an engine takes from others: what is refused, what is known, evidence, and floods."""

from __future__ import annotations

import pytest

from leither_lite.errors import RemoteError
from leither_lite.pulse.agreement import ROUNDS_AHEAD_MAX, NeedProposal
from leither_lite.pulse.engine import (
    ELSEWHERE,
    EVIDENCE_MAX,
    KNOWN,
    NEW,
)
from leither_lite.pulse.votes import PRECOMMIT, PREVOTE, Proposal, SealVote, Vote
from tests.pulse.desk import Desk
from tests.pulse.members import (
    COMMIT,
    COMMIT_OF_B,
    GOOD,
    KEYS,
    NETWORK,
    PLACE,
    STRANGER,
    A,
    B,
    Message,
    entries_of,
    header_of,
    precommit,
    prevote,
    proposal,
    roster,
    seal,
    signatures,
)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Vote.make(NETWORK, STRANGER, PLACE, 0, PREVOTE, A), "not_on_roster"),
        (prevote(6, 0, 1), "not_on_roster"),
        (prevote(2, 0, 1)._replace(digest=B), "bad_signature"),
        (proposal(1, 0, 1), "not_proposer"),
        (proposal(0, 1, 1), "not_proposer"),
        (proposal(0, 0, 1)._replace(entries=entries_of(2)), "bad_proposal"),
        (proposal(0, 0, 1)._replace(signature=bytes(64)), "bad_signature"),
        (proposal(1, 1, 1, 0, ()), "no_quorum"),
        (proposal(1, 1, 1, 0, signatures([prevote(0, 0, 1)] * 3)), "no_quorum"),
        (proposal(1, 1, 1, 0, signatures([prevote(member, 0, 2) for member in range(3)])), "bad_signature"),
        (proposal(1, 1, 1, 0, signatures([precommit(member, 0, 1) for member in range(3)])), "bad_signature"),
        (proposal(1, 1, 1, 0, signatures([prevote(member, 0, 1) for member in (0, 1, 6)])), "not_on_roster"),
        (seal(6, 1, 0, COMMIT), "not_on_roster"),
        (seal(2, 1, 0, COMMIT)._replace(signature=bytes(64)), "bad_signature"),
        (seal(2, 1, 0, COMMIT[:2]), "no_quorum"),
        (seal(2, 1, 1, COMMIT), "bad_signature"),
        (seal(2, 1, 0, [*COMMIT, COMMIT[0]]), "doubled_signer"),
        (proposal(1, 1, 1, 0, signatures([prevote(member, 0, 1) for member in (0, 1, 2, 2)])), "doubled_signer"),
    ],
)
def test_refused(message: Message, reason: str) -> None:
    desk = Desk(3)
    with pytest.raises(RemoteError) as caught:
        desk.take(message)
    assert caught.value.reason == reason
    desk.settle()
    assert desk.own() == []
    assert desk.evidence == []
    assert desk.engine.newest() == [], "nobody is blamed for passing it on"
    if not isinstance(message, SealVote):
        assert not desk.engine.agreement.is_started


def test_a_seal_whose_proof_was_torn_off_on_its_way_does_not_hide_the_whole_one() -> None:
    desk = Desk(3)
    whole = seal(2, 1, 0, COMMIT)
    with pytest.raises(RemoteError, match="no_quorum"):
        desk.take(whole._replace(precommits=()))
    assert desk.take(proposal(0, 0, 1), whole) == [NEW, NEW]
    assert desk.own()[-1] == ("seal", 0, 0, A)


def test_new_known_and_elsewhere() -> None:
    desk = Desk(1)
    assert desk.take(*GOOD[:2]) == [NEW, NEW]
    checks = desk.engine.checks
    assert desk.take(*GOOD[:2]) == [KNOWN, KNOWN]
    assert desk.engine.checks == checks, "what is known is not checked again"
    other = PLACE._replace(term=1)
    assert desk.take(Vote.make(NETWORK, KEYS[0], other, 0, PREVOTE, A)) == [ELSEWHERE]
    assert desk.take(SealVote.make(KEYS[0], header_of(1, term=1), 0, ())) == [ELSEWHERE]
    elsewhere = Proposal.make(NETWORK, KEYS[0], other, 0, -1, header_of(1, term=1), entries_of(1), ())
    assert desk.take(elsewhere) == [ELSEWHERE]
    far = ROUNDS_AHEAD_MAX + 4
    assert desk.take(prevote(0, far, 1), proposal(0, far, 1)) == [ELSEWHERE, ELSEWHERE], "perhaps later"
    assert desk.take(seal(0, 1, 0, COMMIT), seal(0, 1, 0, COMMIT)) == [NEW, KNOWN]


def test_a_silent_member_hears_and_signs_nothing() -> None:
    desk = Desk(1, silent=True)
    desk.start()
    desk.take(*GOOD)
    for _ in range(3):
        if desk.engine.deadline_ms is not None:
            desk.late()
    assert (desk.own(), desk.rows) == ([], {})
    assert not desk.sealed, "its seal is missing"
    desk.take(seal(3, 1, 0, COMMIT))
    assert [each.digest for each in desk.sealed] == [A]
    chief = Desk(0, silent=True)
    chief.start()
    assert not [each for each in chief.outputs if isinstance(each, NeedProposal)]
    assert chief.engine.propose(0, header_of(1), entries_of(1), 0) is None


def test_evidence_of_every_kind_once_each() -> None:
    desk = Desk(1)
    desk.take(*GOOD[:5])
    assert desk.take(prevote(2, 0, 2), precommit(2, 0, 2), proposal(0, 0, 2)) == [NEW] * 3, "others are to know"
    assert desk.take(prevote(2, 0, 0), precommit(2, 0, 0), proposal(0, 0, 3)) == [KNOWN] * 3
    desk.take(seal(2, 2, 0, COMMIT_OF_B))
    assert desk.take(seal(2, 1, 0, COMMIT)) == [NEW]
    assert [each.kind for each in desk.evidence][:3] == ["prevote", "precommit", "proposal"]
    assert desk.evidence[-1].kind == "seal"
    assert all(each.holds(NETWORK) for each in desk.evidence)


@pytest.mark.parametrize("first", [1, 2])
def test_who_signs_two_seals_counts_for_neither(first: int) -> None:
    desk = Desk(1)
    desk.take(*GOOD[:5])
    words = [seal(3, 1, 0, COMMIT), seal(3, 2, 0, COMMIT_OF_B)]
    desk.take(*(words if first == 1 else words[::-1]), seal(0, 1, 0, COMMIT))
    assert not desk.sealed, "three have sealed it, but one of them is a liar"
    desk.take(seal(2, 1, 0, COMMIT))
    [sealed] = desk.sealed
    assert {key for key, _ in sealed.signatures} == set(roster(3))


def test_a_liar_in_a_proof_does_not_make_it_void() -> None:
    """It prevoted A to one and nil to the others; the one is locked, and proposes again with its proof."""
    desk = Desk(2)
    desk.take(prevote(3, 0, 0), *(precommit(member, 0, 0) for member in (0, 1, 3)))
    assert desk.take(proposal(1, 1, 1, 0, signatures([prevote(member, 0, 1) for member in (0, 1, 3)]))) == [NEW]
    assert desk.own()[-1] == ("vote", 1, PREVOTE, A)
    assert [each.kind for each in desk.evidence] == ["prevote"]
    late = Desk(2)
    late.take(precommit(3, 0, 0), GOOD[0])
    late.take(seal(1, 1, 0, [precommit(member, 0, 1) for member in (0, 1, 3)]))
    assert late.own()[-1] == ("seal", 0, 0, A)


def test_a_flood_of_a_liars_proposals_leaves_the_honest_one() -> None:
    desk = Desk(2)
    desk.verdict = (True, True)
    engine = desk.engine
    engine.take_proposal(proposal(0, 0, 1), 0)
    for round_ in range(1, 4_000, 4):
        engine.take_proposal(proposal(1, round_, 5 + round_), 0)
    desk.settle()
    assert engine.proposal(A) == proposal(0, 0, 1)
    assert desk.own() == [("vote", 0, PREVOTE, A)]
    assert len(engine._proposals._by_digest) <= 8
    assert len(engine._proposals._by_round) <= 16


def test_evidence_is_bounded() -> None:
    desk = Desk(1, 7)
    for round_ in range(-1, 3):
        for step in (PREVOTE, PRECOMMIT):
            for member in (0, 2, 3, 4, 5, 6):
                at = 1 + round_
                one = Vote.make(NETWORK, KEYS[member], PLACE, at, step, A)
                desk.take(one, Vote.make(NETWORK, KEYS[member], PLACE, at, step, B))
    assert 0 < len(desk.evidence) <= EVIDENCE_MAX
