"""Where a group's rows lie in the store: those of the node's own group at the top, others in a part each.

Decides only how keys look (docs/store.md), so that the same code keeps the books of any group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from leither_lite.effects import Write
from leither_lite.limits import ID_BYTES
from leither_lite.store import keys
from leither_lite.store.reader import Reader

GROUP_KEY_BYTES: Final = len(keys.group(1, 0, bytes(ID_BYTES)))
"""What the keys of a group that is not the node's own begin with has so many bytes."""


class Scope:
    """A part of the store: all its keys begin with `start`."""

    def __init__(self, reader: Reader, start: bytes = b"") -> None:
        self._reader = reader
        self._start = start

    @classmethod
    def of(cls, reader: Reader, level: int, bits: int, prefix: bytes) -> Scope:
        """The part of a group that is not the node's own."""
        return cls(reader, keys.group(level, bits, prefix))

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        return self._reader.get(self._start + key)

    def scan(self, first: bytes, end: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with first <= key < end, in the order of their keys or against it."""
        start = self._start
        if not start:
            yield from self._reader.scan(first, end, reverse=reverse)
            return
        for key, value in self._reader.scan(start + first, start + end, reverse=reverse):
            yield key[len(start) :], value

    def writes(self, writes: Iterable[Write]) -> list[Write]:
        """Writes of this part, as the store takes them."""
        return [(self._start + key, value) for key, value in writes]

    def clear(self, writes: Iterable[Write] = ()) -> list[Write]:
        """What deletes all of it, with what `writes` are about to write, but what this node has signed, which binds it
        whatever becomes of the rest; nothing of the node's own group."""
        start = self._start
        if not start:
            return []
        log = start + keys.VOTES[0]
        kept = (key for key, _ in self._reader.scan(start, after(start)))
        coming = (key for key, value in writes if value is not None and key.startswith(start))
        return [(key, None) for key in dict.fromkeys((*kept, *coming)) if not key.startswith(log)]


def after(start: bytes) -> bytes:
    """The first key that does not begin with `start`."""
    return (int.from_bytes(start, "big") + 1).to_bytes(len(start), "big")


def group_starts(reader: Reader) -> Iterator[bytes]:
    """What the keys begin with of each group in the store that is not the node's own."""
    at = keys.GROUPS[0]
    while (found := next(reader.scan(at, keys.GROUPS[1]), None)) is not None:
        start = found[0][:GROUP_KEY_BYTES]
        yield start
        at = after(start)
