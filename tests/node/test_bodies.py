"""Segments that wait: bounded in bytes, and what is needed is never let go of."""

from __future__ import annotations

from leither_lite.header import segment_digest
from leither_lite.node.bodies import Bodies


def entry(segment: bytes) -> tuple[bytes, bytes, bytes]:
    """As a body's list names it."""
    return segment_digest(segment), bytes(36), bytes(32)


def test_the_oldest_go_first_but_not_what_is_needed() -> None:
    segments = [bytes([number]) * 100 for number in range(10)]
    needed = [segment_digest(segments[0])]
    bodies = Bodies(350, lambda: frozenset(needed))
    for segment in segments:
        bodies.keep(segment)
    assert bodies.missing(tuple(entry(each) for each in segments)) == [segment_digest(each) for each in segments[1:8]]
    assert bodies.get(segment_digest(segments[0])) == segments[0]
    assert bodies.of((entry(segments[9]), entry(segments[1]), entry(segments[0]))) == [segments[9], segments[0]]


def test_what_is_here_counts_once() -> None:
    bodies = Bodies(250, lambda: frozenset())
    for _ in range(9):
        bodies.keep(b"a" * 100)
    bodies.keep(b"b" * 100)
    assert bodies.missing((entry(b"a" * 100), entry(b"b" * 100))) == []
    bodies.clear()
    assert bodies.get(segment_digest(b"b" * 100)) is None
    bodies.keep(b"c" * 251)
    assert bodies.missing((entry(b"c" * 251),)) == [segment_digest(b"c" * 251)], "larger than all the room"
