"""The root headers that a node remembers: which, how many, and in what order they are told."""

from __future__ import annotations

from leither_lite.ledger.roots import KNOWN_MAX, Known, Roots
from leither_lite.ledger.tip import Anchor


def digest(pulse: int) -> bytes:
    """Of the root header of a pulse."""
    return pulse.to_bytes(32, "big")


def test_the_newest_are_remembered_in_whatever_order_they_come() -> None:
    """The first that comes of a pulse counts; what is older than all where there is no room is not kept."""
    known = Known()
    for pulse in (5, 9, 7, 6):
        known.add(digest(pulse), pulse, 10 * pulse)
    known.add(digest(1), 7, 1)
    assert list(known.above(0)) == [Anchor(digest(pulse), pulse, 10 * pulse) for pulse in (5, 6, 7, 9)]
    assert [each.pulse for each in known.above(6)] == [7, 9]
    assert known.get(8) is None
    for pulse in range(10, 10 + KNOWN_MAX):
        known.add(digest(pulse), pulse, pulse)
    known.add(digest(2), 2, 2)
    found = [each.pulse for each in known.above(-1)]
    assert found == list(range(10, 10 + KNOWN_MAX))
    assert known.get(10) == Anchor(digest(10), 10, 10)


def test_what_is_known_and_what_is_denied() -> None:
    """Nothing is denied of a pulse of which nothing is known."""
    roots = Roots(bytes(20), -1, ())
    roots.remember(digest(3), 3, 4)
    assert roots.newest == roots.anchor(digest(3), 3) == Anchor(digest(3), 3, 4)
    assert roots.knows(digest(3), 3)
    assert not roots.denies(digest(3), 3)
    assert roots.denies(digest(4), 3)
    assert not roots.knows(digest(4), 4)
    assert not roots.denies(digest(4), 4)
    assert roots.anchor(digest(4), 3) is None
