"""Signed ticks: when a member tells its own, and whose are believed."""

from __future__ import annotations

from typing import Final

import pytest

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.errors import RemoteError
from leither_lite.node.heartbeat import Beat, Heartbeat
from tests.ledger.founding import NETWORK, key_of

KEYS: Final = [key_of(number) for number in range(60, 64)]
ROSTER: Final = tuple(key.public for key in KEYS)


def told(frame: bytes | None) -> list[codec.Value]:
    """The items of a frame."""
    assert frame is not None
    value = codec.decode(frame)
    assert isinstance(value, list)
    return value


def test_the_chief_beats_every_five_ticks() -> None:
    chief = Heartbeat(NETWORK, KEYS[0])
    beats = [tick for tick in range(20) if chief.beat(ROSTER, 0, tick, True) is not None]
    assert beats == [0, 5, 10, 15]
    assert Heartbeat(NETWORK, KEYS[0]).beat(ROSTER[:1], 0, 9, True) is None, "a roster of one has nobody to tell"
    assert Heartbeat(NETWORK, key_of(9)).beat(ROSTER, 0, 9, True) is None


def test_a_backup_beats_only_to_ask_and_when_asked() -> None:
    backup, lost = Heartbeat(NETWORK, KEYS[1]), Heartbeat(NETWORK, KEYS[2])
    assert [tick for tick in range(20) if backup.beat(ROSTER, 0, tick, True) is not None] == []
    assert [tick for tick in range(8) if lost.beat(ROSTER, 0, tick, False) is not None] == [0, 2, 4, 6]
    question = lost.beat(ROSTER, 0, 8, False)
    assert backup.take(told(question), ROSTER, 0) == Beat(ROSTER[2], 8, 0)
    answer = backup.beat(ROSTER, 0, 21, True)
    assert lost.take(told(answer), ROSTER, 0) == Beat(ROSTER[1], 21, 1)
    assert backup.beat(ROSTER, 0, 30, True) is None, "once"


def test_what_is_believed() -> None:
    chief, other = Heartbeat(NETWORK, KEYS[0]), Heartbeat(NETWORK, KEYS[3])
    frame = told(chief.beat(ROSTER, 2, 7, True))
    assert other.tick is None
    assert other.take(frame, ROSTER, 1) is None, "of another term"
    assert other.take(frame, ROSTER, 2) == Beat(ROSTER[0], 7, 1)
    assert other.tick == 7
    assert other.take(frame, ROSTER, 2) is None, "no news"
    with pytest.raises(RemoteError, match="not_on_roster"):
        Heartbeat(NETWORK, KEYS[3]).take(frame, ROSTER[1:], 2)
    forged = [frame[0], encode([2, 8, 1]), *frame[2:]]
    with pytest.raises(RemoteError, match="bad_signature"):
        other.take(forged, ROSTER, 2)
    short, number = [frame[0], encode([2, 8]), *frame[2:]], [frame[0], 5, *frame[2:]]
    wrongs: list[list[codec.Value]] = [[18], [*frame[:2], b"x", frame[3]], short, number]
    for wrong in wrongs:
        with pytest.raises(RemoteError, match="bad_tick"):
            other.take(wrong, ROSTER, 2)
