"""A disk that can be cut off in the middle of a commit: whole transactions or nothing, as LMDB keeps them.

A transaction is written beside what is there, row by row; when all of it is synced, the root is turned to it. A cut
leaves some of the unsynced rows behind and the root where it was, or just turned. Decides what a machine finds after
a cut. Never acknowledges what is not synced.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

from leither_lite.effects import Write
from leither_lite.store.reader import MemoryStore


class Disk(MemoryStore):
    """A store on a simulated disk; reads see the newest root's rows only."""

    def __init__(self, writes: Iterable[Write]) -> None:
        """A disk that holds what these writes leave."""
        super().__init__()
        self._unsynced: list[Write] = []
        self.debris: list[Write] = []
        self.write(writes)

    def begin(self, writes: Sequence[Write]) -> None:
        """Write a transaction beside what is there: nothing of it can be read yet."""
        self._unsynced = list(writes)
        self.debris = []  # free pages are used again

    def turn_root(self) -> None:
        """All is synced: the root is turned to the transaction."""
        self.write(self._unsynced)
        self._unsynced = []

    def cut(self, random: Random, *, turned: bool) -> int:
        """The power fails, after the root was turned or before; how many unsynced rows were torn off.

        What is left of them lies where no root leads to.
        """
        unsynced, self._unsynced = self._unsynced, []
        if turned:
            self.write(unsynced)
            return 0
        self.debris = [write for write in unsynced if random.randrange(2)]
        return len(unsynced) - len(self.debris)

    @property
    def is_writing(self) -> bool:
        """True while a transaction is on its way."""
        return bool(self._unsynced)
