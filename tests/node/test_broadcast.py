"""Who tells whom of a new page: everybody hears it, from two where there are many, and nobody tells too many."""

from __future__ import annotations

from collections import Counter

import pytest

from leither_lite.node.seats import WIDE, told_by


def rosters(children: int, size: int) -> list[tuple[bytes, ...]]:
    return [tuple(b"%d/%d" % (child, member) for member in range(size)) for child in range(children)]


@pytest.mark.parametrize("committee", [1, 3, 4, 7])
@pytest.mark.parametrize("children", [2, WIDE, WIDE + 1, 256])
@pytest.mark.parametrize("below", [1, 4])
def test_every_child_hears_it(committee: int, children: int, below: int) -> None:
    told = [list(told_by(own, committee, rosters(children, below))) for own in range(committee)]
    tellers = Counter(key.partition(b"/")[0] for each in told for key in dict.fromkeys(each, 1))
    hearers = Counter(key.partition(b"/")[0] for key in {key for each in told for key in each})
    assert len(tellers) == children
    assert min(hearers.values()) >= min(1 if children > WIDE and committee == 1 else 2, below)
    most = max(len(each) for each in told)
    if children <= WIDE:
        assert most == 2 * children
    else:
        assert most <= -(-children // committee) * min(2, committee)
        assert set(tellers.values()) == {min(2, committee)}


def test_nobody_is_told_where_nobody_seals() -> None:
    assert list(told_by(0, 4, [(), (b"a",)])) == [b"a", b"a"]
