"""The sparse Merkle sum tree over 20-byte ids (docs/protocol.md, section 2), in memory or through a store.

Decides what a tree takes: sizes and sums are judged before anything changes, so an operation that fails has changed
nothing. Never writes: a store is read through a function that is handed in, and `writes()` returns what is to be put
there. Never forms a leaf.

The branches are those of a crit-bit tree (D. J. Bernstein), which is the protocol's shortened tree: one branch for
each bit in which neighbouring ids first differ. `branches` has them in memory, `strata` in the values of a store; with
both the next question about the root hashes each changed branch once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from leither_lite.errors import RemoteError
from leither_lite.limits import ID_BYTES, NODE_BYTES, SUM_MAX
from leither_lite.tree.branches import Branches
from leither_lite.tree.node import EMPTY, node_sum
from leither_lite.tree.strata import Reader, Strata

_unpack_head: Final = Struct(">QQ20x").unpack  # pulse and sum
_UNKNOWN: Final = -1


@dataclass(frozen=True, slots=True)
class TreePath:
    """The way from a leaf to the root. For an absent id the leaf is the one in whose place it would lie.

    `account`: the leaf's 20-byte id. `leaf`: its 36 bytes. `steps`: from the leaf upward, the depth of each branch
    (falling strictly) and the 36 bytes of the sibling there.
    """

    account: bytes
    leaf: bytes
    steps: tuple[tuple[int, bytes], ...]


class SumTree:
    """A set of leaves (36 bytes each) under 20-byte ids, with the node over all of them.

    Without a `reader` the tree lives in memory. With one it is the tree in a store: `reader(key)` returns the value
    under a key of at most 21 bytes, or None; after each `writes()` nothing of it stays in memory. It sees the store
    as at its first reading until then: whoever writes through another tree makes a new one. `modular`: sums are
    taken mod 2^64 (the protocol's sets); else a sum beyond 2^63-1 is refused.

    An operation that raises has changed nothing. Over a store any may raise Halt("tree_corrupt"), where a part of the
    tree is missing; then the store is as it was, and the tree is of no more use.
    """

    __slots__ = ("_bound", "_modular", "_shape")

    def __init__(self, reader: Reader | None = None, *, modular: bool = False) -> None:
        self._shape: Branches | Strata = Branches() if reader is None else Strata(reader)
        self._modular = modular
        self._bound = _UNKNOWN  # Else no less than the sum of the leaves.

    def put(self, account: bytes, leaf: bytes) -> None:
        """Insert the leaf of an id, or replace it. Raises RemoteError("sum_too_large"), ValueError for bad sizes."""
        if len(account) != ID_BYTES or len(leaf) != NODE_BYTES or leaf == EMPTY:
            raise _bad_size()
        batch = ((account, leaf),)
        if not self._modular:
            if self._bound < 0:
                self._bound = node_sum(self.root())
            bound = self._bound + _unpack_head(leaf)[1]
            self._bound = bound if bound <= SUM_MAX else self._exact_sum(batch)
        self._shape.put_many(batch)

    def put_many(self, leaves: Iterable[tuple[bytes, bytes]]) -> None:
        """Insert or replace all (id, leaf); of one id the last counts. Raises as `put`, and then takes none.

        The sum is judged after the whole batch, so leaves may pass amounts to each other in any order.
        """
        unique = dict(leaves)
        for account, leaf in unique.items():
            if len(account) != ID_BYTES or len(leaf) != NODE_BYTES or leaf == EMPTY:
                raise _bad_size()
        # Neighbours share most of their way, and those that came into memory together lie there together.
        batch = sorted(unique.items())
        if not self._modular:
            if self._bound < 0:
                self._bound = node_sum(self.root())
            bound = self._bound + sum([_unpack_head(leaf)[1] for _, leaf in batch])
            self._bound = bound if bound <= SUM_MAX else self._exact_sum(batch)
        self._shape.put_many(batch)

    def delete(self, account: bytes) -> None:
        """Remove an id. Raises KeyError if it is absent."""
        self._shape.remove(_checked(account))

    def get(self, account: bytes) -> bytes | None:
        """The 36-byte leaf of an id, or None."""
        return self._shape.get(_checked(account))

    def root(self) -> bytes:
        """The 36-byte node over all leaves; EMPTY if there are none."""
        return self._shape.root()

    def path(self, account: bytes) -> TreePath | None:
        """The path of an id, or, if it is absent, of the leaf in its place: that one agrees with it in every branch's
        bit. None if the tree is empty."""
        found = self._shape.path(_checked(account))
        return None if found is None else TreePath(*found)

    def leaves(self) -> Iterator[tuple[bytes, bytes]]:
        """Every (id, leaf) in the order of the ids. The tree must not change meanwhile."""
        return self._shape.leaves()

    def __iter__(self) -> Iterator[bytes]:
        """Every id, in order."""
        return (account for account, _ in self.leaves())

    def __contains__(self, account: object) -> bool:
        return isinstance(account, bytes) and self.get(account) is not None

    def __len__(self) -> int:
        return len(self._shape)

    def writes(self) -> list[tuple[bytes, bytes | None]]:
        """What changed since the last call: each key with its value, or None for one to be deleted.

        They belong into one transaction of the store, before the next operation on this tree, which reads them back.
        Empty for a tree in memory.
        """
        if isinstance(self._shape, Branches):
            return []
        self._bound = _UNKNOWN
        return self._shape.writes()

    def _exact_sum(self, batch: Iterable[tuple[bytes, bytes]]) -> int:
        """The sum of all leaves with `batch` among them. Raises RemoteError("sum_too_large") beyond 2^63-1."""
        total = node_sum(self.root())
        for account, leaf in batch:
            replaced = self.get(account)
            total += node_sum(leaf) - (0 if replaced is None else node_sum(replaced))
        if total > SUM_MAX:
            raise RemoteError("sum_too_large", "a sum beyond 2^63-1")
        return total


def _checked(account: bytes) -> bytes:
    if len(account) != ID_BYTES:
        raise ValueError("an id has 20 bytes")
    return account


def _bad_size() -> ValueError:
    return ValueError("an id has 20 bytes; a leaf has 36 and is not EMPTY")
