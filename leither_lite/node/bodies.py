"""Segments of bodies that were proposed, by their digest, bounded in bytes.

Decides which are let go of when there are too many: the oldest that nothing executed and no lock needs. Never looks
into one.
"""

from __future__ import annotations

from collections.abc import Callable

from leither_lite.header import segment_digest
from leither_lite.ledger.sealed import BodyEntries


class Bodies:
    """What is here of the bodies of proposals."""

    def __init__(self, bytes_max: int, needed: Callable[[], frozenset[bytes]]) -> None:
        """`needed` gives the digests of the segments that must not be lost; they may exceed the bound."""
        self._bytes_max = bytes_max
        self._needed = needed
        self._segments: dict[bytes, bytes] = {}
        self._bytes = 0

    def get(self, digest: bytes) -> bytes | None:
        """A segment."""
        return self._segments.get(digest)

    def missing(self, entries: BodyEntries) -> list[bytes]:
        """Digests of the segments of a body that are not here."""
        return [entry[0] for entry in entries if entry[0] not in self._segments]

    def of(self, entries: BodyEntries) -> list[bytes]:
        """The segments of a body that are here, in order."""
        return [self._segments[entry[0]] for entry in entries if entry[0] in self._segments]

    def keep(self, segment: bytes) -> None:
        """Keep a segment, if there is room."""
        digest = segment_digest(segment)
        if digest in self._segments:
            return
        self._segments[digest] = segment
        self._bytes += len(segment)
        if self._bytes <= self._bytes_max:
            return
        needed = self._needed()
        for spare in [each for each in self._segments if each not in needed]:
            if self._bytes <= self._bytes_max:
                return
            self._bytes -= len(self._segments.pop(spare))

    def clear(self) -> None:
        """Let go of all."""
        self._segments, self._bytes = {}, 0
