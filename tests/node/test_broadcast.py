"""Who tells whom of a new page, and who carries a seal up: everybody hears it, and nobody tells too many."""

from __future__ import annotations

from collections import Counter

import pytest

from leither_lite.node.spreading import RELAYS_MAX, WIDE, Told, carriers, told_by, turned


def rosters(children: int, size: int) -> list[tuple[bytes, ...]]:
    return [tuple(b"%d/%d" % (child, member) for member in range(size)) for child in range(children)]


def child_of(key: bytes) -> bytes:
    return key.partition(b"/")[0]


@pytest.mark.parametrize("committee", [1, 3, 4, 7])
@pytest.mark.parametrize("children", [2, WIDE, WIDE + 1, 100, 256])
@pytest.mark.parametrize("below", [1, 4])
def test_every_child_hears_it_from_each_of_the_committee(committee: int, children: int, below: int) -> None:
    heard: Counter[bytes] = Counter()
    ways: dict[bytes, set[tuple[int, bytes]]] = {}
    keys = set()
    for own in range(committee):
        told = list(told_by(own, rosters(children, below), lambda key: True))
        assert len(told) <= WIDE
        for each in told:
            assert len(each.relays) < RELAYS_MAX
            for key in (each.key, *each.relays):
                keys.add(key)
                heard[child_of(key)] += 1
                ways.setdefault(child_of(key), set()).add((own, each.key))
    assert len(heard) == children
    assert set(heard.values()) == {committee}, "nobody is told twice by one, or left out"
    for child in heard:
        assert sum(child_of(key) == child for key in keys) == min(below, committee)
    for child, found in ways.items():  # nobody who passes nothing on keeps it from a child
        firsts = {first for _, first in found}
        assert committee == 1 or len(firsts) > 1 or child_of(min(firsts)) == child


def test_one_who_is_connected_is_told_first() -> None:
    span = rosters(32, 4)
    assert next(told_by(0, span, lambda key: False)) == Told(b"0/0", (b"1/0",))
    assert next(told_by(0, span, lambda key: key == b"0/2")) == Told(b"0/2", (b"1/0",))
    assert next(told_by(0, span, lambda key: key == b"1/3")) == Told(b"1/3", (b"0/0",))


def test_nobody_cuts_off_a_span_for_long() -> None:
    """One teller, and in each span one node that passes nothing on: by the next turn all others have heard it."""
    children = rosters(192, 4)
    told = [list(told_by(0, children, lambda key: True, turn)) for turn in range(2)]
    silent = {each.key for each in told[0]}
    reached = {child_of(each.key) for each in told[0]}
    reached |= {child_of(key) for each in told[1] if each.key not in silent for key in (each.key, *each.relays)}
    assert len(silent) == WIDE
    assert len(reached) == 192


def test_nobody_is_told_where_nobody_seals() -> None:
    assert list(told_by(0, [(), (b"a",)], lambda key: True)) == [Told(b"a")]
    assert list(told_by(3, [], lambda key: True)) == []
    assert turned([], 3) == []


@pytest.mark.parametrize("above", [1, 4, 7])
@pytest.mark.parametrize("signed", [1, 3, 4])
@pytest.mark.parametrize("tries", [0, 1, 5])
def test_a_seal_is_carried_to_each_above(above: int, signed: int, tries: int) -> None:
    roster = [b"a", b"b", b"c", b"d"]
    for number in range(above):
        found = carriers(roster, roster[:signed], number, tries)
        assert any(key in roster[:signed] for key in found)
        assert found[0] == roster[(number + tries) % 4], "whoever holds it may tell it, whatever others have of it"
        assert len(found) == (1 if found[0] in roster[:signed] else 2)
        assert carriers(roster, roster, number, tries) == [roster[(number + tries) % 4]]
    assert carriers(roster, [b"x", b"y"], 0) == [b"a", b"x"]
    assert carriers([], [b"x"], 3, 1) == [b"x"]
