"""How the ledger tree (docs/protocol.md, section 2) lies in a store: cut into strata of a few bits.

One value holds the branches whose depths lie in one stratum under one prefix, so a path is a few values however many
ids there are, and equal sets of leaves have equal bytes in the store whatever led to them. Reads through a function
that is handed in; never writes, and keeps what changed for whoever does.

A value is a body. Body of a branch: u8 depth || u16 length of the left body || left node[36] || right node[36] ||
left body || right body. Of a leaf: u8 160 || id[20]. Of a tree in a deeper stratum: u8 161+stratum || prefix[20,
zero-padded], whose body is the value under u8 stratum || the prefix's bytes up to that stratum. The value under the
empty key is the root's: u64 number of leaves || node[36] || body; it holds stratum 0, if the tree has branches there.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from leither_lite.errors import Halt
from leither_lite.limits import ID_BITS, ID_BYTES, NODE_BYTES, UINT_MAX
from leither_lite.tree.node import BRANCH_HASHES, pack_node

Reader = Callable[[bytes], bytes | None]

# A tree: its node[36]; then of a branch its depth, left, right; of a leaf LEAF, id, None; of a part of a store that
# has not been unpacked STUB, body, None.
Tree = tuple[bytes, int, Any, Any]
LEAF: Final = ID_BITS
STUB: Final = 255

# One step of a walk down: the depth of a branch, its child off the walk, whether the walk went to the right (bit 1),
# and the branch itself where there is one in memory.
Step = tuple[int, Tree, bool, Tree | None]

# What every fold of a branch needs: the id's bit, the prepared hash, the heads of two nodes side by side.
BITS: Final = tuple(1 << (ID_BITS - 1 - depth) for depth in range(ID_BITS))
BRANCH_COPIES: Final = tuple(prepared.copy for prepared in BRANCH_HASHES)
unpack_heads: Final = Struct(">QQ20xQQ20x").unpack
SUM_CYCLE: Final = UINT_MAX + 1

# Wider strata make fewer and longer values: of 4 to 8 bits, 8 took the least time for an insert among 10,000 ids. A
# value has at most 44 + 256 * 21 + 255 * 75 bytes, and the length of a left body fits 16 bits.
STRATUM_BITS: Final = 8
ROOT_KEY: Final = b""
_REF: Final = LEAF + 1  # The tag of a tree in stratum 0; that of stratum n is _REF + n.

_COUNT_BYTES: Final = 8
_ROOT_HEAD_BYTES: Final = _COUNT_BYTES + NODE_BYTES
_BODIES_AT: Final = 3 + 2 * NODE_BYTES
_pack_cut: Final = Struct(">BH").pack
_LEAF_TAG: Final = bytes([LEAF])
# The first depth of the stratum of a body by its tag; leaves and deeper strata fit under any branch.
_FLOORS: Final = tuple(tag - tag % STRATUM_BITS if tag < LEAF else 0 for tag in range(256))


def _place(account: bytes, stratum: int) -> tuple[bytes, bytes]:
    """The key of the value of a stratum over an id, and the body that refers to it."""
    beyond = (1 << (ID_BITS - stratum * STRATUM_BITS)) - 1
    number = int.from_bytes(account, "big")
    prefix = (number - (number & beyond)).to_bytes(ID_BYTES, "big")
    return _key(stratum, prefix), bytes([_REF + stratum]) + prefix


def _key(stratum: int, prefix: bytes) -> bytes:
    return bytes([stratum]) + prefix[: (stratum * STRATUM_BITS + 7) >> 3]


class Strata:
    """A tree's values in a store, read through `reader`, and those that changed. Errors: Halt("tree_corrupt")."""

    __slots__ = ("_changed", "_reader")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._changed: dict[bytes, bytes | None] = {}

    def copy(self) -> Strata:
        """The same store, with the same changes."""
        twin = Strata(self._reader)
        twin._changed = dict(self._changed)
        return twin

    def read_root(self) -> tuple[Tree | None, int]:
        """The root or None, and the number of leaves."""
        value = self._reader(ROOT_KEY)
        if value is None:
            return None, 0
        if len(value) <= _ROOT_HEAD_BYTES:
            raise _corrupt(ROOT_KEY)
        count = int.from_bytes(value[:_COUNT_BYTES], "big")
        return (value[_COUNT_BYTES:_ROOT_HEAD_BYTES], STUB, value[_ROOT_HEAD_BYTES:], None), count

    def descend(self, path: list[Step], tree: Tree, number: int) -> Tree:
        """The leaf to which the bits of `number` lead from `tree`; `path` takes the steps."""
        node, _, body, _ = tree
        bits = BITS
        push = path.append
        at = 0
        end = len(body)
        node_at = 0  # Where in the body the node of what lies at `at` is; 0: it is `node`.
        try:
            while True:
                tag = body[at]
                if tag < LEAF:
                    left = at + _BODIES_AT
                    right = left + (body[at + 1] << 8 | body[at + 2])
                    if number & bits[tag]:
                        push((tag, (body[at + 3 : at + 39], STUB, body[left:right], None), True, None))
                        node_at = at + 39
                        at = right
                    else:
                        push((tag, (body[at + 39 : left], STUB, body[right:end], None), False, None))
                        node_at = at + 3
                        at = left
                        end = right
                    continue
                if node_at:
                    node = body[node_at : node_at + NODE_BYTES]
                if tag == LEAF:
                    return (node, LEAF, body[at + 1 : end], None)
                if path and path[-1][0] >= (tag - _REF) * STRATUM_BITS:
                    raise IndexError  # Strata only deepen; so no walk runs in a circle.
                body = self._fetched(tag - _REF, body[at + 1 : end])
                at = node_at = 0
                end = len(body)
        except IndexError:
            raise _corrupt(body[:ID_BYTES]) from None

    def fold(self, path: list[Step], tree: Tree, above: int, account: bytes) -> Tree:
        """Take from `path` the steps deeper than `above`, and give the tree that they lead up to from `tree`, fit to
        lie under a branch at `above` (-1: to be the root). `account` is an id in `tree`, or in its place."""
        node, kind, body, _ = tree
        if kind == LEAF:
            body = _LEAF_TAG + body
        floors = _FLOORS
        floor = floors[body[0]]
        # The body grows at both ends; it is put together once for each stratum. `front` is in reverse.
        front: list[bytes] = []
        back: list[bytes] = []
        size = len(body)
        cut = _pack_cut
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
            if depth < floor:
                front.reverse()
                body = self._put_apart(b"".join((*front, body, *back)), floor // STRATUM_BITS, account)
                front = []
                back = []
                size = len(body)
            hasher = copies[depth]()
            sibling_node, _, beside, _ = sibling
            if is_right:
                pair = sibling_node + node
                front += (beside, pair, cut(depth, len(beside)))
            else:
                pair = node + sibling_node
                front += (pair, cut(depth, size))
                back.append(beside)
            size += _BODIES_AT + len(beside)
            hasher.update(pair)
            pulse, total, other_pulse, other_sum = heads(pair)
            total += other_sum
            if total >= SUM_CYCLE:
                total -= SUM_CYCLE
            node = pack(pulse if pulse > other_pulse else other_pulse, total, hasher.digest())
            floor = floors[depth]
        front.reverse()
        body = b"".join((*front, body, *back))
        if floor and above < floor:
            body = self._put_apart(body, floor // STRATUM_BITS, account)
        return (node, STUB, body, None)

    def unchanged(self, path: list[Step], found: Tree, above: int) -> Tree:
        """Take from `path` the steps deeper than `above`, and give the tree that they lead up to from the leaf `found`,
        at which that walk ended. Nothing in it changed; what a walk cut open is put together again."""
        return self.fold(path, found, above, found[2])

    def note_branch_removed(self, account: bytes, depth: int) -> None:
        """Take note that the branch at `depth` over `account` is gone. Whatever else is left of its stratum there, the
        fold that follows puts back."""
        stratum = depth // STRATUM_BITS
        if stratum:
            self._changed[_place(account, stratum)[0]] = None

    def opened(self, tree: Tree) -> Tree:
        """A branch over its two parts, or a leaf."""
        node, _, body, _ = tree
        try:
            if body[0] > LEAF:
                body = self._fetched(body[0] - _REF, body[1:])
            if body[0] == LEAF:
                return (node, LEAF, body[1:], None)
            middle = _BODIES_AT + (body[1] << 8 | body[2])
        except IndexError:
            raise _corrupt(body[:ID_BYTES]) from None
        left = (body[3:39], STUB, body[_BODIES_AT:middle], None)
        right = (body[39:_BODIES_AT], STUB, body[middle:], None)
        return (node, body[0], left, right)

    def writes(self, root: Tree | None, count: int) -> list[tuple[bytes, bytes | None]]:
        """The values that changed, None for those to be deleted; the root's is always among them."""
        changed = self._changed
        head = count.to_bytes(_COUNT_BYTES, "big")
        changed[ROOT_KEY] = None if root is None else b"".join((head, root[0], root[2]))
        self._changed = {}
        # A value that came and went between two calls never was in the store.
        return [(key, value) for key, value in changed.items() if value is not None or self._reader(key) is not None]

    def _put_apart(self, body: bytes, stratum: int, account: bytes) -> bytes:
        """Make a branch's body the value of its stratum, and give the body that refers to it."""
        key, reference = _place(account, stratum)
        self._changed[key] = body
        return reference

    def _fetched(self, stratum: int, prefix: bytes) -> bytes:
        key = _key(stratum, prefix)
        body = self._changed[key] if key in self._changed else self._reader(key)
        # A value opens with a branch of its own stratum.
        if not body or body[0] // STRATUM_BITS != stratum:
            raise _corrupt(key)
        return body


def _corrupt(key: bytes) -> Halt:
    return Halt("tree_corrupt", f"the store lacks a part of the tree near {key.hex()}: restore it from its group")
