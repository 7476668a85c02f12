"""The log of own signatures: what its rows say, which are stale, which are superseded, and what damage does."""

from __future__ import annotations

import pytest

from leither_lite.codec import encode
from leither_lite.errors import Halt
from leither_lite.pulse import log
from leither_lite.pulse.agreement import PROPOSE
from leither_lite.pulse.votes import PRECOMMIT, PREVOTE, Place
from tests.pulse.members import PLACE, precommit, prevote, proposal, seal

POLKA = [prevote(member, 1, 1) for member in range(3)]
OLDER = [prevote(member, 0, 2) for member in range(3)]


def test_an_empty_log_says_nothing() -> None:
    kept = log.read([], PLACE)
    assert (kept.round, kept.step, kept.lock_round, kept.locked, kept.seal, kept.votes) == (
        0,
        PROPOSE,
        -1,
        None,
        None,
        [],
    )


def test_rows_say_where_a_member_was() -> None:
    sealed = seal(0, 1, 1, [precommit(member, 1, 1) for member in range(3)])
    rows = [
        log.row(PLACE, log.PROPOSAL, 0, [proposal(0, 0, 2).digest, 0]),
        log.row(PLACE, log.PREVOTED, 0, prevote(0, 0, 2).value()),
        log.row(PLACE, log.LOCK, 1, log.lock_value(proposal(1, 1, 1), POLKA)),
        log.row(PLACE, log.LOCK, 0, log.lock_value(proposal(0, 0, 2), OLDER)),
        log.row(PLACE, log.PRECOMMITTED, 1, precommit(0, 1, 1).value()),
        log.row(PLACE, log.PREVOTED, 1, prevote(0, 1, 1).value()),
        log.row(PLACE, log.SEAL, 0, sealed.value()),
    ]
    kept = log.read([(key, content or b"") for key, content in rows], PLACE)
    assert (kept.round, kept.step) == (1, PRECOMMIT)
    assert kept.votes == [prevote(0, 0, 2), precommit(0, 1, 1), prevote(0, 1, 1)]
    assert (kept.lock_round, kept.locked, kept.polka) == (1, proposal(1, 1, 1), POLKA), "the newest lock"
    assert kept.seal == sealed
    assert (kept.keys, kept.stale) == ([key for key, _ in rows], [])


def test_a_proposal_alone_says_in_which_round_it_was() -> None:
    key, content = log.row(PLACE, log.PROPOSAL, 3, [bytes(32), 0])
    kept = log.read([(key, content or b"")], PLACE)
    assert (kept.round, kept.step) == (3, PROPOSE)


@pytest.mark.parametrize("place", [PLACE._replace(term=1), PLACE._replace(previous=bytes(32))])
def test_rows_of_another_instance_are_stale(place: Place) -> None:
    key, content = log.row(PLACE, log.PREVOTED, 3, prevote(0, 3, 1).value())
    kept = log.read([(key, content or b"")], place)
    assert (kept.keys, kept.stale, kept.votes, kept.round) == ([], [key], [], 0)


def test_rows_with_another_kind_of_key_are_stale() -> None:
    _, content = log.row(PLACE, log.PREVOTED, 3, prevote(0, 3, 1).value())
    assert log.read([(b"v\1", content or b"")], PLACE).stale == [b"v\1"]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (log.PREVOTED, b""),
        (log.PREVOTED, b"\xff"),
        (log.PREVOTED, encode([0, PLACE.previous])),
        (log.PREVOTED, encode([0, PLACE.previous, 5])),
        (log.SEAL, encode([0, PLACE.previous, prevote(0, 0, 1).value()])),
        (log.LOCK, encode([0, PLACE.previous, [proposal(0, 0, 1).value()]])),
        (log.LOCK, encode([0, PLACE.previous, [proposal(0, 0, 1).value(), [5]]])),
    ],
)
def test_a_damaged_row_halts(kind: int, content: bytes) -> None:
    with pytest.raises(Halt, match="store_corrupt"):
        log.read([(log.row_key(kind, 0), content)], PLACE)


def test_superseded_rows_are_of_older_rounds_and_older_locks() -> None:
    rows = [log.row_key(kind, round_) for kind in range(5) for round_ in range(3)]
    steps = [row for row in rows if row[1] in (log.PROPOSAL, PREVOTE, PRECOMMIT)]
    assert log.superseded(rows, log.PREVOTED, 1) == [row for row in steps if row[2:] == bytes(4)]
    assert log.superseded(rows, log.LOCK, 2) == [log.row_key(log.LOCK, 0), log.row_key(log.LOCK, 1)]
    assert log.superseded(rows, log.SEAL, 2) == []
