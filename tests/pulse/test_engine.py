"""A member's part in sealing: the log before the word, restarts at every point, one seal, evidence, repetition."""

from __future__ import annotations

from itertools import pairwise

import pytest

from leither_lite.errors import Halt
from leither_lite.pulse import log
from leither_lite.pulse.agreement import ROUNDS_KEPT_MAX, NeedVerdict
from leither_lite.pulse.engine import (
    ELSEWHERE,
    NEW,
    REPEAT_MS_MAX,
    KeepBody,
    Sealed,
    Send,
)
from leither_lite.pulse.proposals import PROPOSALS_MAX
from leither_lite.pulse.votes import NIL, PRECOMMIT, PREVOTE, Proposal, SealVote
from tests.pulse.desk import Desk, word
from tests.pulse.members import (
    COMMIT,
    GOOD,
    KEYS,
    PLACE,
    A,
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

# What member 1 of 4 hears in a round that ends in nothing before another ends in a seal.
LOCKED: list[Message] = [
    proposal(0, 0, 1),
    prevote(0, 0, 1),
    prevote(2, 0, 1),
    precommit(2, 0, 0),
    precommit(3, 0, 0),
    precommit(0, 0, 0),
    prevote(0, 1, 1),
    prevote(3, 1, 1),
    precommit(0, 1, 1),
    precommit(3, 1, 1),
]
LOCK_ROW = log.row_key(log.LOCK, 0)


def test_a_round_to_the_seal_in_the_order_of_its_outputs() -> None:
    desk = Desk(1)
    assert desk.take(*GOOD) == [NEW] * len(GOOD)
    assert desk.own() == [("vote", 0, PREVOTE, A), ("vote", 0, PRECOMMIT, A), ("seal", 0, 0, A)]
    kinds = [type(each).__name__ for each in desk.outputs]
    assert kinds == [
        "NeedVerdict",
        *("tuple", "Send"),  # prevote
        *("tuple", "KeepBody"),  # the lock and its body
        *("tuple", "Send"),  # precommit
        *("tuple", "Send"),  # seal
        "Sealed",
    ]
    [sealed] = desk.sealed
    assert (sealed.header, sealed.digest) == (header_of(1), A)
    assert [key for key, _ in sealed.signatures] == list(roster(3)), "a quorum, in the roster's order"
    assert desk.bodies == [A]
    assert desk.engine.deadline_ms is None


def test_the_seal_vote_carries_the_precommits_and_who_gets_it_signs_too() -> None:
    first = Desk(1)
    first.take(*GOOD[:5])
    [told] = [message for message in first.sent if isinstance(message, SealVote)]
    assert {key for key, _ in told.precommits} == set(roster(3))
    late = Desk(3)
    late.take(GOOD[0])
    assert late.take(told) == [NEW]
    assert late.own()[-1] == ("seal", 0, 0, A), "the precommits came with the seal"


def test_what_is_committed_is_sealed_only_once_it_is_here_and_valid() -> None:
    desk = Desk(3)
    assert desk.take(seal(0, 1, 0, COMMIT)) == [NEW]
    assert desk.own() == []
    desk.take(GOOD[0])
    assert desk.own() == [("seal", 0, 0, A)]
    doubting = Desk(3)
    doubting.verdict = (False, False)
    doubting.take(GOOD[0], seal(0, 1, 0, COMMIT))
    assert doubting.own() == [("vote", 0, PREVOTE, NIL)]


def test_one_seal_for_one_predecessor_whatever_is_committed() -> None:
    desk = Desk(1)
    desk.take(*GOOD[:5])
    other = [precommit(member, 3, 2) for member in (0, 2, 3)]
    desk.take(proposal(3, 3, 2), *other)
    assert [said for said in desk.own() if said[0] == "seal"] == [("seal", 0, 0, A)]
    desk.restart()
    desk.take(proposal(3, 3, 2), *other)
    assert [said for said in desk.own() if said[0] == "seal"] == [("seal", 0, 0, A)]
    assert desk.engine.agreement.decided == (0, A)


@pytest.mark.parametrize("script", [GOOD, LOCKED], ids=["good", "locked"])
@pytest.mark.parametrize("lost", [False, True], ids=["heard again", "lost"])
def test_a_restart_at_every_point_contradicts_nothing_and_goes_on(script: list[Message], lost: bool) -> None:
    whole = Desk(1)
    whole.take(*script)
    for at in range(len(script) + 1):
        desk = Desk(1)
        desk.take(*script[:at])
        desk.restart()
        rest = script[at:] if lost else script
        desk.take(*rest)  # the desk itself sees to it that nothing is signed twice
        if not lost:
            desk.take(*script)
        said = desk.own()
        if script is GOOD and not lost:
            assert desk.sealed or ("seal", 0, 0, A) in said, at
        for _ in range(6):
            if desk.engine.deadline_ms is None:
                break
            desk.late()
        assert len({key for key in desk.signed if key[0] == "seal"}) <= 1


def test_two_restarts_in_a_row_say_the_same() -> None:
    desk = Desk(1)
    desk.take(*GOOD[:3])
    rows = dict(desk.rows)
    for _ in range(3):
        desk.restart()
        assert {key: value for key, value in desk.rows.items() if value != rows.get(key)} == {}
    assert desk.engine.agreement.locked == A


def test_the_lock_brings_the_proposal_back() -> None:
    """Whoever has precommitted can propose it again, alone, with the proof, after all have forgotten it."""
    desk = Desk(1)
    desk.take(*GOOD[:3])
    desk.restart()
    assert desk.engine.proposal(A) == GOOD[0]
    desk.take(*(precommit(member, 0, 0) for member in (0, 2, 3)))
    [told] = [message for message in desk.sent if isinstance(message, Proposal) and message.key == KEYS[1].public]
    assert (told.round, told.valid_round, told.header, told.entries) == (1, 0, header_of(1), entries_of(1))
    other = Desk(2)
    other.take(*(precommit(member, 0, 0) for member in (0, 1, 3)))
    assert other.take(told) == [NEW]
    assert other.own() == [("vote", 1, PREVOTE, A)]


def test_who_is_locked_takes_no_other_proposal_after_a_restart() -> None:
    desk = Desk(1)
    desk.take(*GOOD[:3])
    desk.restart()
    desk.take(prevote(2, 2, 0), prevote(3, 2, 0), proposal(2, 2, 2))
    assert desk.own()[-2:] == [("vote", 2, PREVOTE, NIL), ("vote", 2, PRECOMMIT, NIL)]


def test_the_log_holds_one_round_and_one_lock() -> None:
    desk = Desk(1)
    for round_ in range(40):
        desk.take(prevote(0, round_, 0), prevote(2, round_, 0))
        while desk.engine.agreement.round == round_ and desk.engine.deadline_ms is not None:
            desk.take(*(precommit(member, round_, 0) for member in (0, 2, 3)))
            if desk.engine.agreement.round == round_:
                desk.late()
    assert len(desk.rows) <= 4
    desk.restart()
    assert desk.engine.agreement.round > 30


def test_a_proposer_proposes_once_in_a_round() -> None:
    desk = Desk(0)
    desk.start()
    assert desk.own()[:2] == [("proposal", 0, 0, A), ("vote", 0, PREVOTE, A)]
    engine = desk.engine
    assert engine.propose(0, header_of(2), entries_of(2), 0) is None
    desk.restart()
    desk.number = 2
    desk.start()
    assert desk.engine.propose(0, header_of(2), entries_of(2), 0) is None
    assert [said for said in desk.own() if said[0] == "proposal"] == [("proposal", 0, 0, A)]


def test_only_the_proposer_of_the_round_proposes() -> None:
    desk = Desk(1)
    desk.start()
    assert desk.engine.propose(0, header_of(1), entries_of(1), 0) is None
    assert desk.engine.propose(1, header_of(1), entries_of(1), 0) is None
    assert desk.own() == []


def test_alone_it_seals_in_one_go() -> None:
    desk = Desk(0, 1)
    desk.start()
    assert [said[0] for said in desk.own()] == ["proposal", "vote", "vote", "seal"]
    assert [each.digest for each in desk.sealed] == [A]
    assert desk.bodies == [], "nobody else could have it lost"


def test_newest_words_are_repeated_ever_less_often() -> None:
    desk = Desk(1)
    desk.take(*GOOD[:3])
    times = []
    for _ in range(6):
        before = len(desk.sent)
        outputs = desk.late() or desk.late()
        assert all(isinstance(each, Send) and each.again for each in outputs)
        told = [word(message) for message in desk.sent[before:]]
        assert told == [
            ("proposal", 0, 0, A),
            *[("vote", 0, PREVOTE, A)] * 3,
            ("vote", 0, PRECOMMIT, A),
        ], "others' words too"
        times.append(desk.now_ms)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == REPEAT_MS_MAX
    desk.take(precommit(0, 0, 1), precommit(2, 0, 1))
    assert desk.engine.deadline_ms == desk.now_ms + 1_000, "a new word begins anew"


def test_nobody_precommits_what_was_let_go_of() -> None:
    """Many headers are proposed, the first is forgotten, and then a quorum wants it: it must be shown again."""
    desk = Desk(1, number=50)
    desk.take(proposal(0, 0, 1))
    for round_ in range(1, PROPOSALS_MAX + 6):
        desk.take(*(precommit(member, round_ - 1, 0) for member in (0, 2, 3)))
        if round_ % 4 != 1:
            desk.take(proposal(round_ % 4, round_, 1 + round_))
    last = desk.engine.agreement.round
    assert desk.engine.proposal(A) is None
    desk.take(prevote(0, last, 1), prevote(2, last, 1), prevote(3, last, 1))
    assert ("vote", last, PRECOMMIT, A) not in desk.own(), "it could not bring it back"
    desk.take(*(precommit(member, last, 1) for member in (0, 2, 3)))
    assert desk.engine.agreement.decided is None
    desk.take(
        proposal((last + 1) % 4, last + 1, 1, last, signatures([prevote(member, last, 1) for member in (0, 2, 3)]))
    )
    assert desk.own()[-1] == ("seal", 0, 0, A)


def test_the_quorum_of_an_old_lock_is_there_after_a_restart() -> None:
    desk = Desk(1)
    desk.take(proposal(0, 0, 1), prevote(0, 0, 1), prevote(2, 0, 1))
    far = ROUNDS_KEPT_MAX + 5
    desk.take(*(prevote(member, far, 0) for member in (0, 2, 3)))
    desk.late()
    assert desk.engine.agreement.round == far
    desk.restart()
    assert (desk.engine.agreement.locked_round, desk.engine.agreement.round) == (0, far)
    assert desk.engine.agreement.quorum_of(0, PREVOTE, A)


def test_after_a_restart_all_is_repeated_at_once() -> None:
    desk = Desk(1)
    desk.take(*GOOD[:5])
    desk.now_ms = 77
    desk.restart()
    assert desk.engine.deadline_ms == 77
    desk.late()
    assert isinstance(desk.sent[-1], SealVote)


def test_the_next_instance_forgets_and_deletes() -> None:
    desk = Desk(1)
    desk.take(*GOOD)
    assert desk.rows
    desk.engine.open(PLACE._replace(previous=A), roster(4), 0)
    desk.settle()
    assert desk.rows == {}
    assert desk.engine.sealed is None
    assert desk.take(GOOD[0]) == [ELSEWHERE]
    assert desk.engine.newest() == []
    assert not desk.engine.agreement.is_started


def test_rows_of_an_older_instance_bind_nobody_and_are_deleted() -> None:
    desk = Desk(1)
    desk.take(*GOOD[:3])
    desk.restart(PLACE._replace(previous=A))
    assert desk.rows == {}
    assert desk.engine.agreement.locked == NIL


def test_a_chief_that_was_late_is_waited_for_less_in_the_next() -> None:
    desk = Desk(2)
    desk.start()
    patient_ms = desk.engine.deadline_ms
    desk.take(proposal(1, 1, 1), *(precommit(member, 1, 1) for member in (0, 1, 3)))
    desk.take(*(seal(member, 1, 1, [precommit(each, 1, 1) for each in (0, 1, 3)]) for member in (0, 1, 3)))
    assert desk.sealed
    desk.engine.open(PLACE._replace(previous=A), roster(4), 0)
    desk.engine.start(0)
    assert patient_ms is not None
    assert desk.engine.deadline_ms is not None
    assert desk.engine.deadline_ms < patient_ms


def test_a_damaged_log_halts() -> None:
    desk = Desk(1)
    desk.take(*GOOD[:5])
    desk.rows[log.row_key(log.SEAL, 0)] = log.row(PLACE, log.SEAL, 0, seal(1, 1, 0, []).value())[1] or b""
    with pytest.raises(Halt, match="store_corrupt"):
        desk.restart()


def test_outputs_that_are_not_for_a_desk() -> None:
    """The verdict of what is not here is asked for again when it comes."""
    desk = Desk(3)
    desk.take(*COMMIT)
    asked = [each for each in desk.outputs if isinstance(each, NeedVerdict)]
    desk.take(GOOD[0])
    assert len([each for each in desk.outputs if isinstance(each, NeedVerdict)]) == len(asked) + 1
    assert desk.own() == [("seal", 0, 0, A)]
    assert not [each for each in desk.outputs if isinstance(each, KeepBody | Sealed)]
