"""The sparse Merkle sum tree (docs/protocol.md, section 2) in memory: one object for each branch.

Decides how a tree in memory changes, and what is hashed anew. A change is made in place and at once, and marks the
branches over it as stale; the next question about the root hashes each of them once, those below first. A branch keeps
the nodes of both its children, so that a way through the tree touches nothing beside it: among 10,000 ids, what a
processor waits for is memory. Never judges what it is given: sizes and sums are its caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from struct import Struct
from typing import Any, Final, final

from leither_lite.limits import ID_BITS, UINT_MAX
from leither_lite.tree.node import BRANCH_HASHES, EMPTY, pack_node

SUM_CYCLE: Final = UINT_MAX + 1
BRANCH_COPIES: Final = tuple(prepared.copy for prepared in BRANCH_HASHES)
unpack_heads: Final = Struct(">QQ20xQQ20x").unpack  # pulse and sum of two nodes side by side

FoundPath = tuple[bytes, bytes, tuple[tuple[int, bytes], ...]]
"""A leaf's id and 36 bytes; from it upward, the depth of each branch and the 36 bytes of its other child."""


@final
class _Branch:
    """A branch: its children (a leaf is its 20-byte id) and their nodes (36 bytes; of a stale child, outdated).

    `mask` is the bit of an id that tells the children apart: the deeper, the smaller. `copied` copies the prepared
    hash of its depth. `over`: the branch over it if it is stale: if a leaf under it changed since it was hashed; else
    `_FRESH`.
    """

    __slots__ = ("copied", "left", "left_node", "mask", "over", "right", "right_node")

    copied: Callable[[], Any]
    mask: int
    over: _Branch
    left: _Branch | bytes
    right: _Branch | bytes
    left_node: bytes
    right_node: bytes


_FRESH: Final = _Branch()  # stands for no branch


class Branches:
    """A tree in memory."""

    __slots__ = ("_count", "_is_ordered", "_stale", "_top")

    def __init__(self) -> None:
        # Over the root: its mask is no bit of any id, so the whole tree is to the left of it.
        self._top = _Branch()
        self._top.mask = 1 << ID_BITS
        self._top.left, self._top.left_node = b"", EMPTY
        self._count = 0
        # The stale branches; each comes after those over it, unless `_is_ordered` is off.
        self._stale: list[_Branch] = []
        self._is_ordered = True

    def __len__(self) -> int:
        return self._count

    def put_many(self, leaves: Iterable[tuple[bytes, bytes]]) -> None:
        """Insert or replace all (id, leaf). Quickest in the order of the ids."""
        stale = self._stale
        push = stale.append
        number_of = int.from_bytes
        top = self._top
        for account, leaf in leaves:
            number = number_of(account, "big")
            over = top
            child = top.left
            # What is over a stale branch is stale, and what is under one that is not stale is not.
            while type(child) is _Branch and child.over is not _FRESH:
                over = child
                child = child.right if number & child.mask else child.left
            known = len(stale)
            while type(child) is _Branch:
                child.over = over
                push(child)
                over = child
                child = child.right if number & child.mask else child.left
            if child == account:
                if number & over.mask:
                    over.right_node = leaf
                else:
                    over.left_node = leaf
            elif child:
                self._insert(account, number, leaf, 1 << ((number ^ number_of(child, "big")).bit_length() - 1), known)
            else:
                top.left, top.left_node = account, leaf
                self._count = 1

    def _insert(self, account: bytes, number: int, leaf: bytes, mask: int, known: int) -> None:
        """Put in a leaf with a branch of its own, that of `mask`. Its way has just been marked; all but the first
        `known` of the stale branches are those that it did not find stale."""
        stale = self._stale
        while len(stale) > known and stale[-1].mask < mask:
            stale.pop().over = _FRESH
        over = stale[-1] if len(stale) > known else self._top
        child = over.right if number & over.mask else over.left
        while type(child) is _Branch and child.mask > mask:
            over = child
            child = child.right if number & child.mask else child.left
        branch = _Branch()
        branch.mask = mask
        branch.copied = BRANCH_COPIES[ID_BITS - mask.bit_length()]
        branch.over = over
        if type(child) is _Branch and child.over is not _FRESH:
            child.over = branch
            self._is_ordered = False
        if number & over.mask:
            node = over.right_node
            over.right = branch
        else:
            node = over.left_node
            over.left = branch
        if number & mask:
            branch.left, branch.left_node, branch.right, branch.right_node = child, node, account, leaf
        else:
            branch.left, branch.left_node, branch.right, branch.right_node = account, leaf, child, node
        stale.append(branch)
        self._count += 1

    def remove(self, account: bytes) -> None:
        """Remove an id. Raises KeyError if it is absent."""
        self._refresh()
        number = int.from_bytes(account, "big")
        way = [self._top]
        child = self._top.left
        while type(child) is _Branch:
            way.append(child)
            child = child.right if number & child.mask else child.left
        if child != account:
            raise KeyError(account)
        gone = way.pop()
        if way:
            beside = (gone.left, gone.left_node) if number & gone.mask else (gone.right, gone.right_node)
            over = way[-1]
            if number & over.mask:
                over.right, over.right_node = beside
            else:
                over.left, over.left_node = beside
        else:
            gone.left, gone.left_node = b"", EMPTY
        for over, branch in pairwise(way):
            branch.over = over
        self._stale = way[1:]
        self._count -= 1

    def get(self, account: bytes) -> bytes | None:
        """The 36-byte leaf of an id, or None."""
        number = int.from_bytes(account, "big")
        over = self._top
        child = over.left
        while type(child) is _Branch:
            over = child
            child = child.right if number & child.mask else child.left
        if child != account:
            return None
        return over.right_node if number & over.mask else over.left_node

    def root(self) -> bytes:
        """The 36-byte node over all leaves; EMPTY if there are none."""
        if self._stale:
            self._refresh()
        return self._top.left_node

    def path(self, account: bytes) -> FoundPath | None:
        """The path of the leaf to which an id's bits lead, None if there is none."""
        if not self._count:
            return None
        self._refresh()
        number = int.from_bytes(account, "big")
        node = self._top.left_node
        child = self._top.left
        steps: list[tuple[int, bytes]] = []
        while type(child) is _Branch:
            mask = child.mask
            if number & mask:
                steps.append((ID_BITS - mask.bit_length(), child.left_node))
                node = child.right_node
                child = child.right
            else:
                steps.append((ID_BITS - mask.bit_length(), child.right_node))
                node = child.left_node
                child = child.left
        steps.reverse()
        return child, node, tuple(steps)

    def leaves(self) -> Iterator[tuple[bytes, bytes]]:
        """Every (id, leaf) in the order of the ids."""
        waiting = [(self._top.left, self._top.left_node)] if self._count else []
        while waiting:
            child, node = waiting.pop()
            if type(child) is _Branch:
                waiting.append((child.right, child.right_node))
                waiting.append((child.left, child.left_node))
            else:
                yield child, node

    def _refresh(self) -> None:
        """Hash every stale branch."""
        stale = self._stale
        if not self._is_ordered:
            stale.clear()
            waiting = [self._top.left]
            while waiting:
                child = waiting.pop()
                if type(child) is _Branch and child.over is not _FRESH:
                    stale.append(child)
                    waiting.append(child.right)
                    waiting.append(child.left)
            self._is_ordered = True
        heads = unpack_heads
        pack = pack_node
        cycle = SUM_CYCLE
        for branch in reversed(stale):
            pair = branch.left_node + branch.right_node
            copied = branch.copied
            hasher = copied()
            hasher.update(pair)
            pulse, total, other_pulse, other_sum = heads(pair)
            total += other_sum
            if total >= cycle:
                total -= cycle
            node = pack(pulse if pulse > other_pulse else other_pulse, total, hasher.digest())
            over = branch.over
            if over.left is branch:
                over.left_node = node
            else:
                over.right_node = node
            branch.over = _FRESH
        stale.clear()
