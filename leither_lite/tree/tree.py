"""The sparse Merkle sum tree over 20-byte ids (docs/protocol.md, section 2), in memory or through a store.

Decides the shape of a tree, its paths, and which of its stored values an operation changes. Never writes: a store is
read through a function that is handed in, and `writes()` returns what is to be put there. Never forms a leaf.

The branches are those of a crit-bit tree (D. J. Bernstein), which is the protocol's shortened tree: one branch for
each bit in which neighbouring ids first differ. Every node is an immutable tuple, and a change makes new ones from
its leaf to the root, so an operation that fails has changed nothing and a copy of a tree costs nothing. What changes
is first only noted; the next question about the root settles all of it in one pass in the order of the ids, which
hashes each changed branch once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Final

from leither_lite.errors import RemoteError
from leither_lite.limits import ID_BITS, ID_BYTES, NODE_BYTES, SUM_MAX
from leither_lite.tree.node import EMPTY, node_sum, pack_node
from leither_lite.tree.strata import (
    BITS,
    BRANCH_COPIES,
    LEAF,
    STUB,
    SUM_CYCLE,
    Reader,
    Step,
    Strata,
    Tree,
    unpack_heads,
)

_unpack_head: Final = Struct(">QQ").unpack_from  # pulse and sum


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

    __slots__ = ("_bound", "_changed", "_count", "_modular", "_pending", "_root", "_shape", "_unread")

    def __init__(self, reader: Reader | None = None, *, modular: bool = False) -> None:
        self._shape: Strata | _Branches = _Branches() if reader is None else Strata(reader)
        self._modular = modular
        self._pending: dict[bytes, bytes] = {}
        self._root: Tree | None = None
        self._count = 0
        self._bound = 0  # No less than the sum of the leaves, those that are pending among them.
        self._unread = reader is not None
        self._changed = False

    def copy(self) -> SumTree:
        """A tree of its own with the same leaves; in a store, over the same reader. In memory nothing is copied."""
        self._settle()
        twin = SumTree(modular=self._modular)
        twin._shape = self._shape.copy()
        twin._root, twin._count, twin._bound = self._root, self._count, self._bound
        twin._unread, twin._changed = self._unread, self._changed
        return twin

    def put(self, account: bytes, leaf: bytes) -> None:
        """Insert the leaf of an id, or replace it. Raises RemoteError("sum_too_large"), ValueError for bad sizes."""
        if len(account) != ID_BYTES or len(leaf) != NODE_BYTES or leaf == EMPTY:
            raise _bad_size()
        if self._unread:
            self._read_root()
        if not self._modular:
            bound = self._bound + _unpack_head(leaf)[1]
            self._bound = bound if bound <= SUM_MAX else self._exact_sum({account: leaf})
        self._pending[account] = leaf

    def put_many(self, leaves: Iterable[tuple[bytes, bytes]]) -> None:
        """Insert or replace all (id, leaf); of one id the last counts. Raises as `put`, and then takes none.

        The sum is judged after the whole batch, so leaves may pass amounts to each other in any order.
        """
        batch = dict(leaves)
        for account, leaf in batch.items():
            if len(account) != ID_BYTES or len(leaf) != NODE_BYTES or leaf == EMPTY:
                raise _bad_size()
        if self._unread:
            self._read_root()
        if not self._modular:
            bound = self._bound + sum([_unpack_head(leaf)[1] for leaf in batch.values()])
            self._bound = bound if bound <= SUM_MAX else self._exact_sum(batch)
        self._pending.update(batch)

    def delete(self, account: bytes) -> None:
        """Remove an id. Raises KeyError if it is absent."""
        self._settle()
        path: list[Step] = []
        found = self._walk(path, account)
        if found is None or found[2] != account:
            raise KeyError(account)
        if path:
            depth, sibling, _, _ = path.pop()
            self._shape.note_branch_removed(account, depth)
            self._root = self._shape.fold(path, sibling, -1, account)
            self._bound = node_sum(self._root[0])
        else:
            self._root = None
            self._bound = 0
        self._count -= 1
        self._changed = True

    def get(self, account: bytes) -> bytes | None:
        """The 36-byte leaf of an id, or None."""
        pending = self._pending.get(account)
        if pending is not None:
            return pending
        found = self._walk([], account)
        return found[0] if found is not None and found[2] == account else None

    def root(self) -> bytes:
        """The 36-byte node over all leaves; EMPTY if there are none."""
        self._settle()
        if self._unread:
            self._read_root()
        return EMPTY if self._root is None else self._root[0]

    def path(self, account: bytes) -> TreePath | None:
        """The path of an id, or, if it is absent, of the leaf in its place: that one agrees with it in every branch's
        bit. None if the tree is empty."""
        self._settle()
        path: list[Step] = []
        found = self._walk(path, account)
        if found is None:
            return None
        path.reverse()
        return TreePath(found[2], found[0], tuple([(depth, sibling[0]) for depth, sibling, _, _ in path]))

    def leaves(self) -> Iterator[tuple[bytes, bytes]]:
        """Every (id, leaf) in the order of the ids. In a store, the tree must not change meanwhile."""
        self._settle()
        if self._unread:
            self._read_root()
        waiting = [] if self._root is None else [self._root]
        while waiting:
            tree = waiting.pop()
            node, depth, left, right = self._shape.opened(tree) if tree[1] == STUB else tree
            if depth == LEAF:
                yield left, node
            else:
                waiting += (right, left)

    def __iter__(self) -> Iterator[bytes]:
        """Every id, in order."""
        return (account for account, _ in self.leaves())

    def __contains__(self, account: object) -> bool:
        return isinstance(account, bytes) and self.get(account) is not None

    def __len__(self) -> int:
        self._settle()
        if self._unread:
            self._read_root()
        return self._count

    def writes(self) -> list[tuple[bytes, bytes | None]]:
        """What changed since the last call: each key with its value, or None for one to be deleted.

        They belong into one transaction of the store, before the next operation on this tree, which reads them back.
        Empty for a tree in memory.
        """
        self._settle()
        if isinstance(self._shape, _Branches):
            return []
        changed = self._shape.writes(self._root, self._count) if self._changed else []
        self._root, self._count, self._bound = None, 0, 0
        self._unread, self._changed = True, False
        return changed

    def _read_root(self) -> None:
        self._root, self._count = self._shape.read_root()
        self._bound = 0 if self._root is None else node_sum(self._root[0])
        self._unread = False

    def _exact_sum(self, batch: dict[bytes, bytes]) -> int:
        """The sum of all leaves with `batch` among them. Raises RemoteError("sum_too_large") beyond 2^63-1."""
        self._settle()
        total = 0 if self._root is None else node_sum(self._root[0])
        for account, leaf in batch.items():
            replaced = self.get(account)
            total += node_sum(leaf) - (0 if replaced is None else node_sum(replaced))
        if total > SUM_MAX:
            raise RemoteError("sum_too_large", "a sum beyond 2^63-1")
        return total

    def _walk(self, path: list[Step], account: bytes) -> Tree | None:
        """The leaf to which an id's bits lead from the root, or None; `path` takes the steps."""
        if len(account) != ID_BYTES:
            raise ValueError("an id has 20 bytes")
        if self._unread:
            self._read_root()
        return None if self._root is None else self._shape.descend(path, self._root, int.from_bytes(account, "big"))

    def _settle(self) -> None:
        """Take up the pending leaves in the order of their ids: down from the branch at which an id leaves the one
        before it, and up again to where the next one leaves it. So each branch that changes is hashed once."""
        if not self._pending:
            return
        shape = self._shape
        tree = self._root
        added = 0
        path: list[Step] = []
        before = b""
        before_number = 0
        pending = self._pending
        for account in sorted(pending):
            placed: Tree = (pending[account], LEAF, account, None)
            number = int.from_bytes(account, "big")
            is_new = True
            if tree is not None:
                found: Tree | None = None
                if not before:
                    found = shape.descend(path, tree, number)
                else:
                    shared = ID_BITS - (number ^ before_number).bit_length()
                    tree = shape.fold(path, tree, shared, before)
                    if path and path[-1][0] == shared:
                        right = path.pop()[1]
                        path.append((shared, tree, True, None))
                        found = shape.descend(path, right, number)
                    else:
                        # All under `tree` agree with the id before in more than `shared` bits: a new branch.
                        path.append((shared, tree, True, None))
                if found is not None:
                    if found[2] == account:
                        is_new = False
                    else:
                        other = int.from_bytes(found[2], "big")
                        shared = ID_BITS - (number ^ other).bit_length()
                        beside = shape.unchanged(path, found, shared)
                        path.append((shared, beside, number > other, None))
            added += is_new
            tree = placed
            before = account
            before_number = number
        if tree is not None:
            self._root = shape.fold(path, tree, -1, before)
        self._count += added
        self._changed = True
        self._pending = {}


class _Branches:
    """A tree in memory: every branch a tuple, and nothing to be read."""

    __slots__ = ()

    def copy(self) -> _Branches:
        return self

    def read_root(self) -> tuple[Tree | None, int]:
        return None, 0

    def opened(self, tree: Tree) -> Tree:
        return tree

    def note_branch_removed(self, account: bytes, depth: int) -> None:
        pass

    def descend(self, path: list[Step], tree: Tree, number: int) -> Tree:
        """As Strata.descend; the steps have their branches."""
        bits = BITS
        push = path.append
        while True:
            _, depth, left, right = tree
            if depth == LEAF:
                return tree
            if number & bits[depth]:
                push((depth, left, True, tree))
                tree = right
            else:
                push((depth, right, False, tree))
                tree = left

    def unchanged(self, path: list[Step], found: Tree, above: int) -> Tree:
        """As Strata.unchanged."""
        while path and path[-1][0] > above:
            here = path.pop()[3]
            if here is not None:
                found = here
        return found

    def fold(self, path: list[Step], tree: Tree, above: int, account: bytes) -> Tree:
        """As Strata.fold."""
        node = tree[0]
        copies = BRANCH_COPIES
        heads = unpack_heads
        pack = pack_node
        pop = path.pop
        while path:
            step = pop()
            depth, sibling, is_right, _ = step
            if depth <= above:
                path.append(step)
                break
            hasher = copies[depth]()
            if is_right:
                pair = sibling[0] + node
                left, right = sibling, tree
            else:
                pair = node + sibling[0]
                left, right = tree, sibling
            hasher.update(pair)
            pulse, total, other_pulse, other_sum = heads(pair)
            total += other_sum
            if total >= SUM_CYCLE:
                total -= SUM_CYCLE
            node = pack(pulse if pulse > other_pulse else other_pulse, total, hasher.digest())
            tree = (node, depth, left, right)
        return tree


def _bad_size() -> ValueError:
    return ValueError("an id has 20 bytes; a leaf has 36 and is not EMPTY")
