"""Counting ticks: whose ticks are believed, and what a node without a count takes for the present."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leither_lite.node.clock import TICKS_APART_MAX, Clock
from tests.ledger.founding import founded_group, key_of
from tests.node.net import Net

HEADER = replace(founded_group().header, tick=100)
KEYS = tuple(key_of(number).public for number in range(4))


def test_a_count_goes_on_and_never_below_the_last_header() -> None:
    clock = Clock(1_000, HEADER, 5_000, None, True)
    assert [clock.tick(now_ms) for now_ms in (5_000, 5_999, 6_000, 15_000)] == [100, 100, 101, 110]
    clock.follow(replace(HEADER, tick=150), 15_000)
    assert clock.tick(15_000) == 150
    assert Clock(1_000, HEADER, 0, 777, False).tick(0) == 777
    assert Clock(1_000, HEADER, 0, 50, False).tick(0) == 100


def test_a_new_term_begins_the_count_anew() -> None:
    clock = Clock(1_000, HEADER, 0, 400, True)
    clock.follow(replace(HEADER, tick=120), 0)
    assert clock.tick(0) == 400
    clock.follow(replace(HEADER, tick=130, term=1), 0)
    assert clock.tick(2_000) == 132


@pytest.mark.parametrize(
    ("tick", "passed", "taken"),
    [
        (100, 0, True),
        (99, 0, False),
        (100 + TICKS_APART_MAX, 0, True),
        (101 + TICKS_APART_MAX, 0, False),
        (1_100 + 15, 1_000, True),
        (1_100 + 16, 1_000, False),
        (1_100 - 15, 1_000, True),
        (1_100 - 16, 1_000, False),
    ],
)
def test_ticks_within_five_and_one_percent_are_taken(tick: int, passed: int, taken: bool) -> None:
    assert Clock(1_000, HEADER, 0, None, True).accepts(tick, passed * 1_000) is taken


def test_without_a_count_any_tick_that_does_not_fall_is_taken() -> None:
    clock = Clock(1_000, HEADER, 0, None, False)
    assert clock.accepts(10**9, 0)
    assert not clock.accepts(99, 0)


def test_a_node_without_a_count_takes_the_median() -> None:
    clock = Clock(1_000, HEADER, 0, None, False)
    clock.told(KEYS[1], 5, True, 0, KEYS, 3)
    clock.told(KEYS[1], 0, True, 0, KEYS, 3)
    clock.told(KEYS[2], 500, True, 1_000, KEYS, 3)
    assert not clock.counts
    clock.told(key_of(9).public, 999, True, 2_000, KEYS, 3)
    assert not clock.counts, "whoever is not on the roster has no voice"
    clock.told(KEYS[3], 502, True, 3_000, KEYS, 3)
    assert clock.counts
    assert clock.tick(3_000) == 502, "between two honest ones, whatever the liar says"
    clock.told(KEYS[3], 9, True, 3_000, KEYS, 1)
    assert clock.tick(3_000) == 502


def test_where_nobody_has_a_count_it_goes_on_from_what_they_have() -> None:
    clock = Clock(1_000, HEADER, 0, None, False)
    clock.told(KEYS[1], 100, False, 0, KEYS, 2)
    clock.told(KEYS[2], 105, False, 0, KEYS, 2)
    assert clock.counts
    assert clock.tick(0) == 100


def test_a_restarted_member_counts_with_its_committee() -> None:
    net = Net(4, 4).settled()
    net.run(100_000)
    net.start(3)
    assert not net.nodes[3].clock.counts
    net.run(15_000)
    assert net.nodes[3].clock.counts
    assert abs(net.nodes[3].tick(net.now_ms) - net.nodes[0].tick(net.now_ms)) <= 1
    net.kill(2)
    name = net.pay(1, 0)
    net.run(4_000)
    assert net.state(1, name) == "credited"
