"""How the core reads the store: handed in, so that a node, a test and a simulator run the same core."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import Protocol

from leither_lite.effects import Write


class Reader(Protocol):
    """A consistent view of the store: what the last performed turn left."""

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""

    def scan(self, first: bytes, end: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with first <= key < end, in the order of their keys or against it. Must not outlive the turn."""


class MemoryStore:
    """A store in memory: for tests, benches and simulated worlds."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        return self._values.get(key)

    def scan(self, first: bytes, end: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with first <= key < end."""
        span = self._keys[bisect_left(self._keys, first) : bisect_left(self._keys, end)]
        for key in reversed(span) if reverse else span:
            yield key, self._values[key]

    def write(self, writes: Iterable[Write]) -> None:
        """Perform a turn's writes."""
        values, keys = self._values, self._keys
        for key, value in writes:
            if value is not None:
                if key not in values:
                    insort(keys, key)
                values[key] = value
            elif key in values:
                del values[key]
                del keys[bisect_left(keys, key)]

    def content(self) -> dict[bytes, bytes]:
        """A copy of everything."""
        return dict(self._values)
