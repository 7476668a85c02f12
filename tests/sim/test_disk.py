"""The simulated disk: whole transactions or nothing, wherever it is cut."""

from __future__ import annotations

from random import Random

import pytest

from leither_lite.effects import Write
from leither_lite.sim.disk import Disk
from leither_lite.store.reader import MemoryStore

BEFORE: list[Write] = [(b"a", b"1"), (b"b", b"2"), (b"d", b"3")]
NEXT: list[Write] = [(b"a", None), (b"c", b"4"), (b"b", b"5"), (b"x", None)]


def content(disk: Disk) -> dict[bytes, bytes]:
    """All that can be read."""
    return dict(disk.scan(b"", b"\xff"))


def test_reads_as_a_store_in_memory() -> None:
    """Whatever is written, in whatever order."""
    random = Random(1)
    disk, store = Disk(()), MemoryStore()
    for _ in range(200):
        writes: list[Write] = [
            (random.randbytes(1), random.choice((None, random.randbytes(2)))) for _ in range(random.randrange(5))
        ]
        disk.begin(writes)
        disk.turn_root()
        store.write(writes)
        first, end = sorted((random.randbytes(1), random.randbytes(1)))
        for reverse in (False, True):
            assert list(disk.scan(first, end, reverse=reverse)) == list(store.scan(first, end, reverse=reverse))
        assert disk.get(first) == store.get(first)


def test_nothing_shows_before_the_root_is_turned() -> None:
    """And all of it afterwards."""
    disk = Disk(BEFORE)
    disk.begin(NEXT)
    assert disk.is_writing
    assert content(disk) == {b"a": b"1", b"b": b"2", b"d": b"3"}
    disk.turn_root()
    assert not disk.is_writing
    assert content(disk) == {b"b": b"5", b"c": b"4", b"d": b"3"}


@pytest.mark.parametrize("turned", [False, True])
def test_a_cut_leaves_the_one_or_the_other(turned: bool) -> None:
    """Never a part of a transaction; what was torn off is counted."""
    torn = 0
    for seed in range(20):
        disk = Disk(BEFORE)
        disk.begin(NEXT)
        torn += disk.cut(Random(seed), turned=turned)
        assert content(disk) == ({b"b": b"5", b"c": b"4", b"d": b"3"} if turned else dict(BEFORE))
        disk.turn_root()
        assert content(disk) == ({b"b": b"5", b"c": b"4", b"d": b"3"} if turned else dict(BEFORE))
    assert (torn > 0) is not turned
