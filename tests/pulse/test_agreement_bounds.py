"""An agreement after a stop, rounds far off, proofs, and what is known: nothing grows without a bound."""

from __future__ import annotations

from leither_lite.header import Signatures
from leither_lite.pulse.agreement import (
    PROPOSE,
    ROUNDS_AHEAD_MAX,
    ROUNDS_KEPT_MAX,
    Cast,
    Decided,
    Lock,
    NeedProposal,
    NeedVerdict,
    Repropose,
)
from leither_lite.pulse.votes import PRECOMMIT, PREVOTE, ROUND_MAX
from tests.pulse.members import precommit, prevote, roster
from tests.pulse.played import TIMING, A, Member


def test_resume_goes_on_where_it_was() -> None:
    member = Member(1)
    member.agreement.resume(4, PRECOMMIT, (3, A), 0)
    assert member.take() == []
    assert (member.agreement.round, member.agreement.step) == (4, PRECOMMIT)
    assert (member.agreement.locked_round, member.agreement.valid) == (3, A)
    assert member.hear(PRECOMMIT, 4, 0, 0, 2, 3) == [Repropose(5, 3, A)]
    waiting = Member(2)
    waiting.agreement.resume(4, PROPOSE, None, 100)
    assert waiting.agreement.deadline_ms == 100 + TIMING.propose_ms(4, False)


def test_rounds_far_ahead_are_not_kept_but_noticed() -> None:
    member = Member(1)
    member.start()
    far = ROUNDS_AHEAD_MAX + 1
    assert not member.agreement.is_near(far)
    assert member.agreement.is_near(far - 1)
    member.hear(PREVOTE, far, 0, 0)
    assert member.agreement.vote(far, PREVOTE, roster(4)[0]) is None
    member.hear(PREVOTE, far, 0, 2)
    assert member.agreement.round == far
    for round_ in range(10**6, 10**6 + 500 * far, far):
        member.hear(PREVOTE, round_, 0, 0, 2)
    assert member.agreement.round > 10**6
    assert len(member.agreement._rounds) <= ROUNDS_KEPT_MAX + ROUNDS_AHEAD_MAX


def test_what_came_as_proof_is_kept_however_old() -> None:
    member = Member(1)
    member.start()
    member.hear(PREVOTE, 200, 0, 0, 2)
    assert not member.agreement.is_near(3)
    for other in (0, 2, 3):
        member.agreement.take_vote(prevote(other, 3, 1), 0, proven=True)
    member.propose(200, A, 3)
    assert member.judge(A) == [Cast(200, PREVOTE, A)]


def test_a_proof_counts_whole_whatever_a_liar_in_it_has_told_others() -> None:
    member = Member(1)
    member.start()
    member.hear(PREVOTE, 0, 0, 3)
    member.hear(PRECOMMIT, 0, 0, 0, 2, 3)
    member.hear(PRECOMMIT, 1, 0, 0, 2, 3)
    for other in (0, 2, 3):
        member.agreement.take_vote(prevote(other, 0, 1), 0, proven=True)
    member.propose(2, A, 0)
    assert member.judge(A) == [Cast(2, PREVOTE, A)]
    for other in (0, 2, 3):
        member.agreement.take_vote(precommit(other, 0, 1), 0, proven=True)
    assert member.take() == [Decided(0, A)]


def test_the_last_round_of_all_is_the_last() -> None:
    member = Member(0, 3)
    member.start()
    member.hear(PREVOTE, ROUND_MAX, 0, 1)
    assert member.agreement.round == ROUND_MAX
    member.hear(PRECOMMIT, ROUND_MAX, 0, 1, 2)
    while member.agreement.deadline_ms is not None:
        member.late()
    assert member.agreement.round == ROUND_MAX


def test_alone_everything_is_at_once() -> None:
    member = Member(0, 1)
    assert member.start() == [NeedProposal(0)]
    assert member.propose(0, A) == [NeedVerdict(A)]
    assert member.judge(A) == [Cast(0, PREVOTE, A), Lock(0, A), Cast(0, PRECOMMIT, A), Decided(0, A)]


def test_what_is_known() -> None:
    member = Member(1)
    member.start()
    member.hear(PREVOTE, 0, 1, 3, 0)
    member.hear(PRECOMMIT, 0, 0, 2)
    agreement = member.agreement
    assert agreement.votes_of(0) == [prevote(0, 0, 1), prevote(3, 0, 1), precommit(2, 0, 0)]
    assert agreement.votes_of(7) == []
    nothing: Signatures = ()
    assert agreement.quorum_of(0, PREVOTE, A) == agreement.quorum_of(7, PREVOTE, A) == nothing
    member.hear(PREVOTE, 0, 1, 1, 2)
    assert [key for key, _ in agreement.quorum_of(0, PREVOTE, A)] == list(roster(3)), "a quorum, in the roster's order"
