"""A roster that may never seal is not named, unless by force."""

from __future__ import annotations

import pytest

from leither_lite.errors import LocalError
from leither_lite.identity import Key
from leither_lite.node import events as ev
from leither_lite.node.frames import Status
from tests.node.net import Net


def code(net: Net, *roster: Key, force: bool = False) -> str:
    """The code with which the founder's node refuses a roster."""
    try:
        net.ask(0, ev.ChangeRoster(0, tuple(key.public for key in roster), force))
    except LocalError as error:
        return error.code
    return "ok"


@pytest.mark.parametrize(
    ("roster", "down", "expected"),
    [
        ((0,), (), "ok"),
        ((0,), (1, 2, 3), "ok"),
        ((1,), (), "ok"),
        ((1,), (1,), "roster_unreachable"),
        ((0, 1, 2), (2,), "ok"),
        ((0, 1, 2), (1, 2), "roster_unreachable"),
        ((1, 2, 3), (3,), "ok"),
        ((1, 2, 3), (2, 3), "roster_unreachable"),
        ((0, 1, 2, 3), (3,), "ok"),
        ((0, 1, 2, 3), (2, 3), "roster_unreachable"),
    ],
)
def test_a_quorum_must_be_there(roster: tuple[int, ...], down: tuple[int, ...], expected: str) -> None:
    net = Net(4, 1).settled()
    for index in down:
        net.kill(index)
    assert code(net, *(net.keys[index] for index in roster)) == expected


def test_the_message_names_who_is_away_and_the_risk() -> None:
    net = Net(4, 1).settled()
    net.kill(1)
    net.kill(2)
    with pytest.raises(LocalError) as told:
        net.ask(0, ev.ChangeRoster(0, tuple(key.public for key in net.keys[:3])))
    for part in (net.keys[1].account.hex(), net.keys[2].account.hex(), "are not", "--force", "ever", "--roster"):
        assert part in told.value.message
    assert net.keys[0].account.hex() not in told.value.message
    assert net.nodes[0].books.has_work is False


def test_by_force() -> None:
    net = Net(3, 1).settled()
    net.kill(1)
    assert code(net, net.keys[1]) == "roster_unreachable"
    assert code(net, net.keys[1], force=True) == "ok"
    net.run(3_000)
    assert net.nodes[0].group.roster_keys == (net.keys[1].public,)


def test_who_tells_that_it_is_far_behind_is_not_there() -> None:
    net = Net(2, 1).settled()
    net.beat(10)
    newest = net.pulses[0]
    for behind, expected in ((4, "roster_unreachable"), (3, "ok")):
        header = net.nodes[0].group.header
        net.hear(0, 1, Status(newest - behind, net.nodes[0].group.digest, header.tick, 1).encode())
        assert code(net, net.keys[1]) == expected


def test_who_keeps_up_is_there_however_long_ago_it_told() -> None:
    """A status is told every ten seconds; in between, a follower says nothing of the pulses that it takes."""
    net = Net(2, 1).settled()
    for _ in range(12):
        net.beat(1)
        assert net.nodes[0].peers.is_near(net.keys[1].public)


def test_who_has_caught_up_says_so_at_once() -> None:
    net = Net(2, 1).settled()
    net.kill(1)
    net.beat(20)
    net.start(1)
    assert code(net, net.keys[1]) == "roster_unreachable"
    net.run(3_000)
    assert code(net, net.keys[1]) == "ok"


def test_own_further_accounts_sign_nothing() -> None:
    net = Net(3, 1).settled()
    net.ask(0, ev.OpenAccount(0, ""))
    net.run(2_500)
    derived = net.keys[0].derive(1)
    for force in (False, True):
        assert code(net, derived, force=force) == "bad_roster"
        assert code(net, net.keys[0], net.keys[1], derived, force=force) == "bad_roster"


def test_who_is_no_supervisor_is_told_so() -> None:
    net = Net(3, 1).settled()
    with pytest.raises(LocalError, match="not_permitted"):
        net.ask(2, ev.ChangeRoster(0, (net.keys[2].public,)))
