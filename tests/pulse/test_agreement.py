"""Tendermint's rules one by one, by the line numbers of algorithm 1 (arXiv:1807.04938), and what liars cannot do."""

from __future__ import annotations

import pytest

from leither_lite.limits import QUORUM
from leither_lite.pulse.agreement import (
    PROPOSE,
    TIMEOUT_MS_MAX,
    Cast,
    Decided,
    Lock,
    NeedProposal,
    NeedVerdict,
    Repropose,
    Timing,
)
from leither_lite.pulse.votes import NIL, PRECOMMIT, PREVOTE
from tests.pulse.members import roster
from tests.pulse.played import TIMING, A, B, Member


def test_l11_the_chief_proposes_and_the_backups_in_turn() -> None:
    assert Member(0).start() == [NeedProposal(0)]
    for size in QUORUM:
        agreement = Member(0, size).agreement
        assert [agreement.proposer(round_) for round_ in range(2 * size)] == [*roster(size), *roster(size)]
    member = Member(1)
    assert member.start() == []
    assert member.hear(PRECOMMIT, 0, 0, 0, 2, 3) == [NeedProposal(1)]


def test_a_watcher_proposes_and_votes_nothing_but_decides() -> None:
    member = Member(0, votes=False)
    assert member.start() == []
    assert member.agreement.deadline_ms is None
    assert member.propose(0, A) == [NeedVerdict(A)]
    assert member.judge(A) == []
    member.hear(PREVOTE, 0, 1, 1, 2, 3)
    assert member.hear(PRECOMMIT, 0, 1, 1, 2, 3) == [Decided(0, A)]


def test_l22_a_first_proposal_gets_a_prevote_if_it_is_valid_and_timely() -> None:
    for valid, timely, digest in ((True, True, A), (True, False, NIL), (False, False, NIL)):
        member = Member(1)
        assert member.propose(0, A) == [NeedVerdict(A)], "a proposal begins"
        assert member.judge(A, valid=valid, timely=timely) == [Cast(0, PREVOTE, digest)]


def test_l22_who_is_locked_prevotes_nothing_else() -> None:
    member = Member(1).locked()
    assert member.agreement.round == 1
    assert member.take() == []
    member.agreement.take_proposal(1, B, -1, member.now_ms)
    member.agreement.judged(B, True, True, member.now_ms)
    assert [each for each in member.take() if isinstance(each, Cast)] == [Cast(1, PREVOTE, NIL)]


def test_l28_what_had_a_quorum_is_judged_without_clock_and_unlocks() -> None:
    member = Member(3).locked()
    assert (member.agreement.locked_round, member.agreement.locked) == (0, A)
    member.hear(PREVOTE, 1, 2, 0, 1, 2)
    member.hear(PRECOMMIT, 1, 0, 0, 1, 2)
    assert member.agreement.round == 2
    member.propose(2, B, 1)
    assert member.judge(B, timely=False) == [Cast(2, PREVOTE, B)], "the lock of round 0 yields to a quorum of round 1"


def test_l28_needs_the_quorum_of_the_valid_round() -> None:
    member = Member(1)
    member.start()
    member.hear(PRECOMMIT, 0, 0, 0, 2, 3)
    member.hear(PRECOMMIT, 1, 0, 0, 2, 3)
    assert member.agreement.round == 2
    member.propose(2, A, 0)
    assert member.judge(A) == [], "who says that there was a quorum has to show it"
    assert member.hear(PREVOTE, 0, 1, 0, 2, 3) == [Cast(2, PREVOTE, A)]


def test_l28_an_older_quorum_does_not_unlock() -> None:
    member = Member(3)
    member.start()
    member.hear(PREVOTE, 0, 2, 0, 1, 2)
    member.hear(PRECOMMIT, 0, 0, 0, 1, 2)
    member.propose(1, A)
    member.judge(A)
    member.hear(PREVOTE, 1, 1, 0, 1)
    assert (member.agreement.locked_round, member.agreement.locked) == (1, A)
    member.hear(PRECOMMIT, 1, 0, 0, 1, 2)
    member.propose(2, B, 0)
    assert member.judge(B) == [Cast(2, PREVOTE, NIL)]


def test_l34_after_a_quorum_of_any_prevotes_it_waits_and_then_precommits_nil() -> None:
    member = Member(1)
    member.propose(0, A)
    member.judge(A)
    assert member.agreement.deadline_ms == TIMING.propose_ms(0, False)
    member.hear(PREVOTE, 0, 0, 0)
    before_ms = member.agreement.deadline_ms
    member.hear(PREVOTE, 0, 2, 2)
    assert before_ms is not None
    assert member.agreement.deadline_ms == TIMING.vote_ms(0) < before_ms
    assert member.late() == [Cast(0, PRECOMMIT, NIL)]


def test_l36_a_quorum_of_prevotes_locks_and_precommits() -> None:
    member = Member(1)
    member.propose(0, A)
    member.judge(A)
    assert member.hear(PREVOTE, 0, 1, 0) == []
    assert member.hear(PREVOTE, 0, 1, 2) == [Lock(0, A), Cast(0, PRECOMMIT, A)], "the lock is kept first"
    agreement = member.agreement
    assert (agreement.locked_round, agreement.locked, agreement.valid_round, agreement.valid) == (0, A, 0, A)


def test_l36_too_late_to_precommit_it_is_still_what_is_proposed_next() -> None:
    member = Member(1)
    member.start()
    member.late()
    member.hear(PREVOTE, 0, 0, 0, 2)
    assert member.agreement.step == PRECOMMIT
    member.propose(0, A)
    member.judge(A)
    member.hear(PREVOTE, 0, 1, 3)
    assert member.agreement.valid_round == -1, "one vote is no quorum"
    member = Member(1, 7)
    member.start()
    member.late()
    member.hear(PREVOTE, 0, 0, 0)
    for other in (2, 3, 4):
        member.hear(PREVOTE, 0, 1, other)
    assert member.late() == [Cast(0, PRECOMMIT, NIL)]
    member.propose(0, A)
    member.judge(A)
    member.hear(PREVOTE, 0, 1, 5, 6)
    assert (member.agreement.locked_round, member.agreement.valid_round) == (-1, 0)
    assert member.hear(PRECOMMIT, 0, 0, 0, 2, 3, 4) == [Repropose(1, 0, A)]


def test_l36_waits_for_the_verdict() -> None:
    member = Member(1)
    member.propose(0, A)
    member.agreement.timeout(10**6)
    member.take()
    assert member.hear(PREVOTE, 0, 1, 0, 2, 3) == []
    assert member.judge(A) == [Lock(0, A), Cast(0, PRECOMMIT, A)]
    other = Member(1)
    other.propose(0, A)
    other.judge(A, valid=False)
    assert other.hear(PREVOTE, 0, 1, 0, 2, 3) == [], "what does not hold gets no precommit, whoever wants it"


def test_l44_a_quorum_of_nil_prevotes_precommits_nil_at_once() -> None:
    member = Member(1)
    member.start()
    member.late()
    assert member.hear(PREVOTE, 0, 0, 0, 2) == [Cast(0, PRECOMMIT, NIL)]


def test_l47_after_a_quorum_of_any_precommits_it_waits_and_goes_on() -> None:
    member = Member(2)
    member.start()
    member.hear(PRECOMMIT, 0, 0, 0, 1)
    assert member.agreement.round == 0
    member.hear(PRECOMMIT, 0, 1, 3)
    while member.agreement.round == 0:
        member.late()
    assert member.now_ms == TIMING.vote_ms(0)
    assert member.agreement.step == PROPOSE


def test_l49_decides_in_any_round_once_it_is_valid() -> None:
    member = Member(1)
    member.start()
    member.hear(PREVOTE, 5, 0, 0, 2)
    assert member.agreement.round == 5
    assert member.hear(PRECOMMIT, 2, 1, 0, 2, 3) == [NeedVerdict(A)]
    assert member.judge(A) == [Decided(2, A)]
    assert member.agreement.decided == (2, A)
    assert member.agreement.deadline_ms is None
    assert member.hear(PRECOMMIT, 5, 0, 0, 2, 3) == [], "nothing follows"


def test_l49_never_decides_what_does_not_hold() -> None:
    member = Member(1)
    member.start()
    member.hear(PRECOMMIT, 0, 1, 0, 2, 3)
    member.judge(A, valid=False)
    assert member.agreement.decided is None


def test_votes_before_their_proposal_ask_again_when_it_comes() -> None:
    """Nobody can judge what is not here: the question that went unanswered is asked once more."""
    member = Member(1)
    member.start()
    member.late()
    assert member.hear(PREVOTE, 0, 1, 0, 2, 3) == [NeedVerdict(A)]
    assert member.propose(0, A) == [NeedVerdict(A)]
    assert member.judge(A)[0] == Lock(0, A)


@pytest.mark.parametrize(("size", "needed"), [(3, 1), (4, 2), (7, 3)])
def test_l55_goes_on_to_where_more_are_than_can_lie(size: int, needed: int) -> None:
    member = Member(0, size)
    member.start()
    for other in range(1, needed):
        member.hear(PREVOTE, 9, 0, other)
    assert member.agreement.round == 0
    member.hear(PRECOMMIT, 12, 0, needed)
    assert member.agreement.round == (12 if needed == 1 else 9)
    assert member.agreement.step == PROPOSE


def test_l57_without_a_proposal_it_prevotes_nil() -> None:
    member = Member(1)
    member.start()
    assert member.agreement.deadline_ms == TIMING.propose_ms(0, False)
    assert member.late() == [Cast(0, PREVOTE, NIL)]
    assert member.agreement.deadline_ms is None, "who is alone waits for the others, not for time"


def test_l61_and_l65_timers_of_rounds_that_are_over_do_nothing() -> None:
    member = Member(1)
    member.start()
    stale_ms = member.agreement.deadline_ms
    assert stale_ms is not None
    member.hear(PRECOMMIT, 0, 0, 0, 2, 3)
    assert member.agreement.round == 1
    member.agreement.timeout(0)
    assert member.take() == []
    assert member.agreement.step == PROPOSE


def test_a_nil_round_begins_the_next_at_once() -> None:
    member = Member(2)
    member.start()
    member.late()
    member.hear(PREVOTE, 0, 0, 0, 1)
    assert member.hear(PRECOMMIT, 0, 0, 0, 1) == []
    assert member.agreement.round == 1
    member.hear(PREVOTE, 1, 0, 0, 1, 3)
    assert member.hear(PRECOMMIT, 1, 0, 0, 1, 3) == [NeedProposal(2)]


def test_the_first_wait_is_for_the_cycle_unless_the_chief_was_late_before() -> None:
    assert Member(1).start() == Member(1, suspect=True).start() == []
    patient, wary = Member(1), Member(1, suspect=True)
    patient.start()
    wary.start()
    assert (patient.agreement.deadline_ms, wary.agreement.deadline_ms) == (1_500, 500)
    assert TIMING.propose_ms(10_000, False) == TIMING.vote_ms(10_000) == TIMEOUT_MS_MAX
    assert [TIMING.vote_ms(round_) for round_ in range(4)] == sorted(TIMING.vote_ms(round_) for round_ in range(4))
    assert Timing(20).vote_ms(0) == 150
