"""Counting ticks: whose ticks are believed, and what a node without a count takes for the present."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leither_lite.limits import TICK_TOLD_MAX, UINT_MAX
from leither_lite.node.clock import TICKS_APART_MAX, Clock
from leither_lite.node.frames import Status
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
    clock = Clock(1_000, HEADER, 0, 124, True)
    clock.follow(replace(HEADER, tick=120), 0)
    assert clock.tick(0) == 124, "within the bound each keeps its own"
    clock.follow(replace(HEADER, tick=130, term=1), 0)
    assert clock.tick(2_000) == 132


@pytest.mark.parametrize(("behind", "after"), [(0, 60), (3, 60), (4, 56), (-1, 61)])
def test_a_new_term_loses_no_time_that_agreement_took(behind: int, after: int) -> None:
    """A header's tick is that of its proposal: who is a little ahead of it goes on as it did."""
    clock = Clock(1_000, HEADER, 0, None, True)
    clock.follow(replace(HEADER, tick=150 - behind, term=1), 50_400)
    assert clock.tick(60_400) == 100 + after
    assert clock.accepts(160 + TICKS_APART_MAX - (4 if behind > 3 else 0), 60_400)
    assert not clock.accepts(162 + TICKS_APART_MAX, 60_400)


def test_terms_of_groups_above_do_not_touch_the_count() -> None:
    """One clock for every group that a node keeps: their terms come and go, and nothing is lost with any."""
    clock = Clock(1_000, HEADER, 0, None, True)
    for second in range(1, 60):
        clock.follow(replace(HEADER, tick=99 + second, level=2, term=second), second * 1_000)
        clock.follow(replace(HEADER, tick=99 + second), second * 1_000)
    assert clock.tick(60_000) == 160


@pytest.mark.parametrize("sealed", [110, 500])
def test_what_a_quorum_has_sealed_beyond_the_bound_is_right(sealed: int) -> None:
    """Be it before or after this count: one header mends it, and it goes on from there."""
    clock = Clock(1_000, HEADER, 0, 300, True)
    clock.follow(replace(HEADER, tick=sealed), 0)
    assert clock.tick(60_000) == sealed + 60


def test_rounds_without_a_decision_bring_counts_together_that_are_a_day_apart() -> None:
    clock = Clock(1_000, HEADER, 0, None, True)
    assert not clock.accepts(100 + 86_400, 0, 0)
    assert next(round_ for round_ in range(30) if clock.accepts(100 + 86_400, 0, round_)) == 17


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


def test_without_a_count_more_is_taken_but_not_anything() -> None:
    """After a power cut the first to propose may have been up all the time; one that lies cannot move time at will."""
    clock = Clock(1_000, HEADER, 0, None, False)
    assert clock.accepts(100 + 60_000, 0)
    assert not clock.accepts(100 + 90_000, 0)
    assert clock.accepts(100 + 90_000, 0, 1), "where all were away for longer, rounds go by"
    assert not clock.accepts(2**63, 0, 20)
    assert not clock.accepts(99, 0)


def test_who_hears_too_few_counts_by_itself_in_the_end() -> None:
    alone, one = Clock(1_000, HEADER, 0, None, False), Clock(1_000, HEADER, 0, None, False)
    one.told(KEYS[1], 500, True, 10_000, KEYS, 1)
    for clock in (alone, one):
        clock.settle(29_000)
        assert not clock.counts
        clock.settle(30_000)
        assert clock.counts
    assert (alone.tick(30_000), one.tick(30_000)) == (130, 520)


def test_a_count_is_handed_on_without_losing_a_part_of_a_tick() -> None:
    """A node that is made again, as after each commit that failed, must not fall behind."""
    clock = Clock(1_000, HEADER, 0, None, True)
    for now_ms in range(900, 900_000, 900):
        clock = Clock(1_000, HEADER, now_ms, clock.tick(now_ms), True, clock.since_ms(now_ms))
    assert clock.tick(899_100) == 999


def test_a_node_without_a_count_takes_the_median() -> None:
    clock = Clock(1_000, HEADER, 0, None, False)
    clock.told(KEYS[1], 5, True, 0, KEYS, 1)
    clock.told(KEYS[1], 0, True, 0, KEYS, 1)
    clock.told(KEYS[2], 500, True, 1_000, KEYS, 1)
    assert not clock.counts
    clock.told(key_of(9).public, 999, True, 2_000, KEYS, 1)
    assert not clock.counts, "whoever is not on the roster has no voice"
    clock.told(KEYS[3], 502, True, 3_000, KEYS, 1)
    assert clock.counts
    assert clock.tick(3_000) == 502, "between two honest ones, whatever the liar says"
    clock.told(KEYS[3], 9, True, 3_000, KEYS, 0)
    assert clock.tick(3_000) == 502


def test_where_nobody_has_a_count_it_goes_on_from_what_they_have() -> None:
    clock = Clock(1_000, HEADER, 0, None, False)
    clock.told(KEYS[1], 100, False, 0, KEYS, 0)
    assert clock.counts
    assert clock.tick(0) == 100


def test_those_that_count_go_before_those_that_do_not() -> None:
    clock = Clock(1_000, HEADER, 0, None, False)
    for key, tick, counts in ((KEYS[1], 500, True), (KEYS[2], 100, False), (KEYS[3], 501, True)):
        clock.told(key, tick, counts, 0, KEYS, 1)
    assert clock.tick(0) == 500


def test_after_a_power_cut_of_three_one_may_be_down() -> None:
    """They go on from the last header's tick, an hour before the fourth's: they come together again."""
    net = Net(4, 4).settled()
    net.run(3_600_000)
    for index in (1, 2, 3):
        net.kill(index)
    for index in (1, 2, 3):
        net.start(index)
    net.run(20_000)
    net.kill(3)
    name = net.pay(1, 0)
    net.run(90_000)
    assert net.state(1, name) == "credited"
    net.run(600_000)
    name = net.pay(1, 0)
    net.run(5_000)
    assert net.state(1, name) == "credited", "one seal has mended it"


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


def test_no_tick_that_is_told_leads_out_of_an_unsigned_integer() -> None:
    """A roster of 3 believes each of its members; a node must not end for it."""
    net = Net(3, 3).settled()
    net.start(1)
    for tick, refused in ((2**64 - 1, 1), (TICK_TOLD_MAX, 1)):
        status = Status(0, bytes(32), tick, 1).encode()
        net.hear(1, 2, status)
        assert net.nodes[1].hall.refused.get("bad_status", 0) == refused
    net.run(60_000)
    assert net.nodes[1].clock.tick(net.now_ms) <= UINT_MAX
