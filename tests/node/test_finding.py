"""Looking for who keeps the books of an id: answers that differ are not followed without end."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from leither_lite.codec import Value, decode
from leither_lite.effects import Effects
from leither_lite.node import frames
from leither_lite.node.errands import Errands
from leither_lite.node.finding import FIND_AGAIN_MS, FIND_PEERS_MAX, STEPS_MAX, WAITING_BYTES_MAX, Finder
from leither_lite.node.peers import Peers
from tests.ledger.founding import key_of

OWN = key_of(900).public
ACCOUNT = key_of(901).account
UPPER = [key_of(number).public for number in range(910, 914)]
LOWER = [key_of(number).public for number in range(920, 924)]
KEEPERS = [key_of(number).public for number in range(930, 934)]


def finder() -> Finder:
    """Of a node that is connected to all who are asked, and knows nothing."""
    peers = Peers(lambda key: False)
    for key in (*UPPER, *LOWER, *KEEPERS):
        peers.join(key, True, 0)
    trunk: Any = SimpleNamespace(branch=None)
    return Finder(peers, trunk, cast(Any, ()), Errands(peers, OWN))


def answer(level: int, who: list[bytes]) -> list[Value]:
    """[30, id, level, bits, prefix, [[key, address], …]]."""
    return [frames.FOUND, ACCOUNT, level, 0, bytes(20), [[key, ""] for key in who]]


def asked(effects: Effects) -> list[bytes]:
    """Who is asked."""
    return [peer for peer, frame in effects.sends if cast(list[Value], decode(frame))[0] == frames.FIND]


def test_answers_that_differ_are_not_followed_for_ever() -> None:
    """Two committees that name each other are asked a few times; after a while it all begins again."""
    one, effects = finder(), Effects()
    one.carry(effects, ACCOUNT, b"waits", 0)
    first = asked(effects)
    assert len(first) == FIND_PEERS_MAX
    one.take_found(effects, answer(3, UPPER), first[0], 10)
    for _ in range(10):
        one.take_found(effects, answer(2, LOWER), UPPER[0], 10)
        one.take_found(effects, answer(2, UPPER), LOWER[0], 10)
    assert len(asked(effects)) == FIND_PEERS_MAX + 4 * STEPS_MAX
    assert set(asked(effects)) >= {*UPPER, *LOWER}
    again = Effects()
    one.pass_time(again, FIND_AGAIN_MS)
    whom = asked(again)
    assert 0 < len(whom) <= 4 + FIND_PEERS_MAX
    one.take_found(again, answer(1, KEEPERS), whom[0], FIND_AGAIN_MS)
    assert again.sends[-4:] == [(key, b"waits") for key in KEEPERS]


def test_what_waits_is_bounded_in_bytes() -> None:
    """However many ids are looked for; what has no room now is shown again later."""
    one, frame = finder(), bytes(60_000)
    for number in range(1_000, 1_040):
        one.carry(Effects(), key_of(number).account, frame, 0)
    assert 0 < sum(len(each) for search in one._searches.values() for each in search.frames) <= WAITING_BYTES_MAX
