"""How the ledger tree (docs/protocol.md, section 2) lies in a store: cut into strata of a few bits.

One value holds the branches whose depths lie in one stratum under one prefix, so a path is a few values however many
ids there are, and equal sets of leaves have equal bytes in the store whatever led to them. Reads through a function
that is handed in; never writes, and keeps what changed for whoever does. A change patches copies of the values on its
way in place and at once. The branches on its way are hashed when the next change leaves them, or at the next question
about the root; so changes in the order of the ids hash each branch once.

A value is a body. Body of a branch: u8 depth || u16 length of the left body || left node[36] || right node[36] ||
left body || right body. Of a leaf: u8 160 || id[20]. Of a tree in a deeper stratum: u8 161+stratum || prefix[20,
zero-padded], whose body is the value under u8 stratum || the prefix's bytes up to that stratum. The value under the
empty key is the root's: u64 number of leaves || node[36] || body; it holds stratum 0, if the tree has branches there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import Final, cast

from leither_lite.errors import Halt
from leither_lite.limits import ID_BITS, ID_BYTES, NODE_BYTES
from leither_lite.tree.branches import BRANCH_COPIES, SUM_CYCLE, FoundPath, unpack_heads
from leither_lite.tree.node import EMPTY, pack_node

Reader = Callable[[bytes], bytes | None]  # What it gives is cast to bytearray here; none but copies is written to.

# Wider strata make fewer and longer values: of 4 to 8 bits, 8 took the least time for an insert among 10,000 ids. A
# value has at most 44 + 256 * 21 + 255 * 75 bytes, and the length of a left body fits 16 bits.
STRATUM_BITS: Final = 8
ROOT_KEY: Final = b""
_LEAF: Final = ID_BITS  # The tag of a leaf; that of a tree in stratum n is _REF + n.
_REF: Final = _LEAF + 1

_COUNT_BYTES: Final = 8
_ROOT_AT: Final = _COUNT_BYTES + NODE_BYTES  # Where the root's body begins.
_LEFT_AT: Final = 3  # Where in a branch's body the left node is, and so on.
_RIGHT_AT: Final = _LEFT_AT + NODE_BYTES
_BODIES_AT: Final = _RIGHT_AT + NODE_BYTES
_END_BYTES: Final = 1 + ID_BYTES  # The body of a leaf, and of a tree in a deeper stratum.
_GROWTH: Final = _BODIES_AT + _END_BYTES  # What a leaf and its branch add to a value.
_pack_cut: Final = Struct(">BH").pack
_LEAF_TAG: Final = bytes([_LEAF])
_BITS: Final = tuple(1 << (ID_BITS - 1 - depth) for depth in range(ID_BITS))


# Where a tree lies: the tag that opens its body; its node: in which value, and where; its body: in which value, and
# where. The values differ where the body is behind a reference; then it is the whole of its own.
_Place = tuple[int, bytearray, int, bytearray, int]


class Strata:
    """A tree's values in a store, read through `reader`, and copies of those that change. Errors: Halt("tree_corrupt").

    Never judges what it is given: sizes and sums are its caller's.
    """

    __slots__ = ("_changed", "_count", "_number", "_reader", "_root", "_way")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._changed: dict[bytes, bytearray | None] = {}
        self._root: bytearray | None = None  # The root's value; empty if there are no leaves, None before it is read.
        self._count = 0
        # The way to the last change, that of the id `_number`: its branches are yet to be hashed.
        self._way: list[_Place] = []
        self._number = 0

    def __len__(self) -> int:
        self._read_root()
        return self._count

    def put_many(self, leaves: Iterable[tuple[bytes, bytes]]) -> None:
        """Insert or replace all (id, leaf)."""
        for account, leaf in leaves:
            if not self._read_root():
                self._changed[ROOT_KEY] = self._root = bytearray(bytes(_COUNT_BYTES) + leaf + _LEAF_TAG + account)
                self._count = 1
                continue
            number = int.from_bytes(account, "big")
            way = self._way
            if way:
                self._fold(ID_BITS - (number ^ self._number).bit_length())
            self._number = number
            place = self._walk(way, number, opening=True)
            _, holder, node_at, value, at = place
            found = value[at + 1 : at + _END_BYTES]
            if found == account:
                holder[node_at : node_at + NODE_BYTES] = leaf
            else:
                self._insert(way, place, account, leaf, found)

    def remove(self, account: bytes) -> None:
        """Remove an id. Raises KeyError if it is absent."""
        if self.get(account) is None:
            raise KeyError(account)
        self._fold(-1)
        self._count -= 1
        self._number = number = int.from_bytes(account, "big")
        way = self._way
        self._walk(way, number, opening=True)
        if not way:
            self._root, self._changed[ROOT_KEY] = bytearray(), None
            return
        depth, holder, node_at, value, at = way.pop()
        left = at + _BODIES_AT
        middle = _middle(value, at)
        end = _end(way, value, number)
        if number & _BITS[depth]:
            node, body = value[at + _LEFT_AT : at + _RIGHT_AT], value[left:middle]
        else:
            node, body = value[at + _RIGHT_AT : left], value[middle:end]
        if value is holder:
            value[at:end] = body
            _lengthen(way, value, number, -_GROWTH)
        elif body[0] < _LEAF:
            value[:] = body
        else:
            self._changed[_key(depth // STRATUM_BITS, number)] = None
            there = _body_at(way, number)
            holder[there : there + _END_BYTES] = body
        holder[node_at : node_at + NODE_BYTES] = node

    def get(self, account: bytes) -> bytes | None:
        """The 36-byte leaf of an id, or None."""
        if not self._read_root():
            return None
        _, holder, node_at, value, at = self._walk([], int.from_bytes(account, "big"))
        if value[at + 1 : at + _END_BYTES] != account:
            return None
        return bytes(holder[node_at : node_at + NODE_BYTES])

    def root(self) -> bytes:
        """The 36-byte node over all leaves; EMPTY if there are none."""
        root = self._read_root()
        if not root:
            return EMPTY
        self._fold(-1)
        return bytes(root[_COUNT_BYTES:_ROOT_AT])

    def path(self, account: bytes) -> FoundPath | None:
        """The path of the leaf to which an id's bits lead, None if there is none."""
        if self.root() == EMPTY:
            return None
        number = int.from_bytes(account, "big")
        way: list[_Place] = []
        _, holder, node_at, value, at = self._walk(way, number)
        steps = []
        for depth, _, _, beside, branch_at in reversed(way):
            there = branch_at + (_LEFT_AT if number & _BITS[depth] else _RIGHT_AT)
            steps.append((depth, bytes(beside[there : there + NODE_BYTES])))
        return bytes(value[at + 1 : at + _END_BYTES]), bytes(holder[node_at : node_at + NODE_BYTES]), tuple(steps)

    def leaves(self) -> Iterator[tuple[bytes, bytes]]:
        """Every (id, leaf) in the order of the ids."""
        root = self._read_root()
        waiting = [(root, _COUNT_BYTES, root, _ROOT_AT)] if root else []
        while waiting:
            holder, node_at, value, at = waiting.pop()
            try:
                if value[at] > _LEAF:
                    value, at = self._fetched(value, at), 0
                if value[at] == _LEAF:
                    yield bytes(value[at + 1 : at + _END_BYTES]), bytes(holder[node_at : node_at + NODE_BYTES])
                else:
                    waiting.append((value, at + _RIGHT_AT, value, _middle(value, at)))
                    waiting.append((value, at + _LEFT_AT, value, at + _BODIES_AT))
            except IndexError:
                raise _corrupt(value) from None

    def writes(self) -> list[tuple[bytes, bytes | None]]:
        """The values that changed, None for those to be deleted. Forgets all: the next question reads them back."""
        found: list[tuple[bytes, bytes | None]] = []
        if self._changed:
            self.root()
            for key, value in self._changed.items():
                if value is not None:
                    if key == ROOT_KEY:
                        value[:_COUNT_BYTES] = self._count.to_bytes(_COUNT_BYTES, "big")
                    found.append((key, bytes(value)))
                elif self._reader(key) is not None:
                    # Else it came and went between two calls, and never was in the store.
                    found.append((key, None))
        self._changed = {}
        self._root = None
        return found

    def _read_root(self) -> bytearray:
        root = self._root
        if root is None:
            root = cast(bytearray, self._reader(ROOT_KEY) or b"")
            if 0 < len(root) <= _ROOT_AT:
                raise _corrupt(ROOT_KEY)
            self._root = root
            self._count = int.from_bytes(root[:_COUNT_BYTES], "big")
        return root

    def _walk(self, way: list[_Place], number: int, opening: bool = False) -> _Place:
        """Lengthen a way from the root, which there must be, as the bits of `number` lead, up to the leaf whose place
        is given. `opening` makes copies of the values, to be changed."""
        bits = _BITS
        push = way.append
        if way:
            depth, _, _, value, at = way[-1]
            is_right = number & bits[depth]
            node_at = at + (_RIGHT_AT if is_right else _LEFT_AT)
            at = _middle(value, at) if is_right else at + _BODIES_AT
        else:
            value = self._read_root()
            if opening and type(value) is not bytearray:
                value = self._changed[ROOT_KEY] = self._root = bytearray(value)
            depth = -1
            node_at = _COUNT_BYTES
            at = _ROOT_AT
        holder = value
        try:
            while True:
                tag = value[at]
                if tag > _LEAF:
                    if depth >= (tag - _REF) * STRATUM_BITS:
                        raise IndexError  # Strata only deepen; so no walk runs in a circle.
                    value = self._fetched(value, at, opening)
                    at = 0
                    tag = value[0]
                place = (tag, holder, node_at, value, at)
                if tag == _LEAF:
                    return place
                push(place)
                depth = tag
                holder = value
                if number & bits[tag]:
                    node_at = at + _RIGHT_AT
                    at += _BODIES_AT + (value[at + 1] << 8 | value[at + 2])
                else:
                    node_at = at + _LEFT_AT
                    at += _BODIES_AT
        except IndexError:
            raise _corrupt(value) from None

    def _insert(self, way: list[_Place], place: _Place, account: bytes, leaf: bytes, found: bytearray) -> None:
        """Put in a leaf whose `way` led to the leaf of another id at `place`; what is left of the way leads to the
        branch that it gets."""
        number = int.from_bytes(account, "big")
        depth = ID_BITS - (number ^ int.from_bytes(found, "big")).bit_length()
        while way and way[-1][0] > depth:
            place = way.pop()
        _, holder, node_at, value, at = place
        node = holder[node_at : node_at + NODE_BYTES]
        stratum = depth // STRATUM_BITS
        tag = value[at]
        if stratum == (way[-1][0] // STRATUM_BITS if way else 0):
            # It comes into the value over it, and takes in what is there, if only a reference.
            there = _body_at(way, number)
            size = _end(way, holder, number) - there if holder[there] < _LEAF else _END_BYTES
            _wrap(holder, there, size, depth, node, account, leaf, number)
            _lengthen(way, holder, number, _GROWTH)
            value, at = holder, there
        elif value is not holder and tag // STRATUM_BITS == stratum:
            _wrap(value, 0, len(value), depth, node, account, leaf, number)
        else:
            there = _body_at(way, number)
            apart = holder[there : there + _END_BYTES]
            _wrap(apart, 0, _END_BYTES, depth, node, account, leaf, number)
            self._changed[_key(stratum, number)] = apart
            holder[there : there + _END_BYTES] = _reference(stratum, number)
            value, at = apart, 0
        way.append((depth, holder, node_at, value, at))
        self._count += 1

    def _fold(self, above: int) -> None:
        """Hash the branches deeper than `above` on the way of the last change."""
        way = self._way
        while way and way[-1][0] > above:
            depth, holder, node_at, value, at = way.pop()
            pair = value[at + _LEFT_AT : at + _BODIES_AT]
            hasher = BRANCH_COPIES[depth]()
            hasher.update(pair)
            pulse, total, other_pulse, other_sum = unpack_heads(pair)
            total += other_sum
            if total >= SUM_CYCLE:
                total -= SUM_CYCLE
            node = pack_node(pulse if pulse > other_pulse else other_pulse, total, hasher.digest())
            holder[node_at : node_at + NODE_BYTES] = node

    def _fetched(self, value: bytearray, at: int, opening: bool = False) -> bytearray:
        """The value to which the reference at `at` leads; `opening` makes a copy to be changed."""
        stratum = value[at] - _REF
        key = bytes([stratum]) + value[at + 1 : at + 1 + (stratum * STRATUM_BITS + 7 >> 3)]
        found = self._changed.get(key)
        if found is None:
            found = cast(bytearray, None if key in self._changed else self._reader(key))
            if found and opening:
                found = self._changed[key] = bytearray(found)
        # A value opens with a branch of its own stratum.
        if not found or found[0] // STRATUM_BITS != stratum:
            raise _corrupt(key)
        return found


def _key(stratum: int, number: int) -> bytes:
    """The key of the value of a stratum over an id."""
    return bytes([stratum]) + _reference(stratum, number)[1 : 1 + (stratum * STRATUM_BITS + 7 >> 3)]


def _reference(stratum: int, number: int) -> bytes:
    """The body that refers to the value of a stratum over an id."""
    beyond = ID_BITS - stratum * STRATUM_BITS
    return bytes([_REF + stratum]) + (number >> beyond << beyond).to_bytes(ID_BYTES, "big")


def _body_at(way: list[_Place], number: int) -> int:
    """Where the body of what comes after a way begins, in the value of the way's last branch."""
    if not way:
        return _ROOT_AT
    depth, _, _, value, at = way[-1]
    return _middle(value, at) if number & _BITS[depth] else at + _BODIES_AT


def _middle(value: bytearray, at: int) -> int:
    """Where the right body of the branch at `at` begins."""
    return at + _BODIES_AT + (value[at + 1] << 8 | value[at + 2])


def _end(way: list[_Place], value: bytearray, number: int) -> int:
    """Where the body of what comes after a way ends in `value`: with the last left body into which the way goes."""
    for depth, _, _, here, at in reversed(way):
        if here is not value:
            break
        if not number & _BITS[depth]:
            return _middle(value, at)
    return len(value)


def _lengthen(way: list[_Place], value: bytearray, number: int, growth: int) -> None:
    """Correct the lengths of the left bodies of `value` into which a way goes."""
    for depth, _, _, here, at in reversed(way):
        if here is not value:
            break
        if not number & _BITS[depth]:
            value[at : at + _LEFT_AT] = _pack_cut(depth, (value[at + 1] << 8 | value[at + 2]) + growth)


def _wrap(
    value: bytearray, at: int, size: int, depth: int, node: bytearray, account: bytes, leaf: bytes, number: int
) -> None:
    """Put a branch at `depth` over the `size` bytes of body at `at`, whose node is `node`, and over a new leaf."""
    if number & _BITS[depth]:
        value[at + size : at + size] = _LEAF_TAG + account
        value[at:at] = _pack_cut(depth, size) + node + leaf
    else:
        value[at:at] = _pack_cut(depth, _END_BYTES) + leaf + node + _LEAF_TAG + account


def _corrupt(near: bytes | bytearray) -> Halt:
    place = near[:ID_BYTES].hex()
    return Halt("tree_corrupt", f"the store lacks a part of the tree near {place}: restore it from its group")
