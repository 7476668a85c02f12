"""What an archive keeps of a node group, as bytes, and the paths that it makes of them (docs/store.md, The archive).

Decides the content of its rows: a level-1 group's page without what its prefix and its form say already, a higher
group's children with the whole tree over them. A page comes back byte for byte. Never reads or writes a file, and keeps
no checksums: that is `edge.archive`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import add
from struct import Struct
from typing import Final, NamedTuple, cast

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.ledger.records import Entry, Record, decode_page, encode_page, uint_bytes
from leither_lite.limits import DIGEST_BYTES, GROUP_MEMBERS_MAX, ID_BITS, ID_BYTES, NODE_BYTES, SUM_MAX
from leither_lite.tree import node
from leither_lite.tree.flat import flat_bytes, flat_nodes, flat_path
from leither_lite.tree.proof import BranchStep, GroupStep, OtherLeaf, Path

ACCOUNTS_LEVEL: Final = 1
"""The level of the groups whose members are accounts."""
TOP_LEVEL_MAX: Final = 3
SUB_DATABASE_LEVEL: Final = 2
REMOVE: Final = "Remove the archive: it is filled anew from the network"

_OPENING: Final = Struct(">Q32s")  # pulse, meta
_COUNT: Final = Struct(">H")
_FIELDS: Final = 6  # of an entry, without its id
_RECORD_HEAD: Final = codec.array_head(_FIELDS - 1)


class Place(NamedTuple):
    """Where a group lies among all: its level (1 to 3), the bits of its prefix, the prefix (20 bytes, zero beyond)."""

    level: int
    bits: int
    prefix: bytes

    @property
    def end(self) -> int:
        """The first number beyond the group's ids, which begin with its prefix."""
        return int.from_bytes(self.prefix, "big") + (1 << (ID_BITS - self.bits))

    def holds(self, account: bytes) -> bool:
        """True if an id of 20 bytes has the group's prefix."""
        return node.is_prefix(account, self.prefix, self.bits)


@dataclass(frozen=True, slots=True)
class GroupPage:
    """A level-1 group: how its node opens, and its page, the CBOR of docs/protocol.md, section 3."""

    group: GroupStep
    content: bytes


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A level-2 group that is not kept: its place and its node (36 bytes)."""

    bits: int
    prefix: bytes
    node: bytes


class Row(NamedTuple):
    """What is kept of a group: its place, its node (36 bytes), and its value, which is empty for one kept elsewhere."""

    place: Place
    node: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """What an archive says of an id: its entry, or None and the leaf in its place (None too if its group is empty).

    `path`: the steps from that leaf, or from EMPTY, to the node of the archive's top group.
    """

    account: bytes
    entry: Entry | None
    other: OtherLeaf | None
    path: Path

    def start(self) -> bytes:
        """The node from which the path starts, 36 bytes."""
        if self.entry is not None:
            return self.entry.leaf(self.account)
        other = self.other
        return node.EMPTY if other is None else node.leaf(other.account, other.pulse, other.amount, other.digest)


def place_of(group: GroupStep) -> Place:
    """The place of a group. Raises RemoteError("archive_place") for one that no archive keeps."""
    if not ACCOUNTS_LEVEL <= group.level <= TOP_LEVEL_MAX or not 0 <= group.bits <= ID_BITS:
        raise RemoteError("archive_place", f"level {group.level}, {group.bits} bits")
    if not node.zero_padded(group.prefix, group.bits):
        raise RemoteError("archive_place", "a prefix is 20 bytes, zero beyond its bits")
    if not 0 <= group.pulse <= SUM_MAX or len(group.meta) != DIGEST_BYTES:
        raise RemoteError("archive_place", "a pulse beyond 2^63-1, or a meta that is not 32 bytes")
    return Place(group.level, group.bits, group.prefix)


def page_row(page: GroupPage) -> Row:
    """The row of a level-1 group.

    Raises RemoteError: archive_place, archive_page (an account of another group), as `decode_page`; sum_too_large.
    """
    place = place_of(page.group)
    ids: list[int] = []
    tails: list[bytes] = []
    items: list[bytes] = []
    leaves: list[bytes] = []
    skipped = place.bits // 8
    for account, (pulse, record) in decode_page(page.content):
        if not place.holds(account):
            raise RemoteError("archive_page", f"{account.hex()} is not of the group")
        encoded = record.encode()
        ids.append(int.from_bytes(account, "big"))
        tails.append(account[skipped:])
        items.append(codec.encode(pulse) + encoded[len(_RECORD_HEAD) :])
        leaves.append(node.leaf(account, pulse, record.balance + record.frozen, node.record_digest(encoded)))
    inner = flat_nodes(ids, leaves)[-NODE_BYTES:] or node.EMPTY
    sizes = bytes(map(len, items))
    value = b"".join((_opening(page.group), _COUNT.pack(len(ids)), *tails, sizes, *items))
    return Row(place, _node_of(page.group, inner), value)


def upper_row(group: GroupStep, children: Sequence[tuple[Place, bytes]]) -> Row:
    """The row of a group above level 1, of its children's places and nodes in the order of their prefixes.

    Raises RemoteError: archive_place; archive_partition (not all of the group's ids, some twice, or more than 256
    children); sum_too_large.
    """
    place = place_of(group)
    due = int.from_bytes(place.prefix, "big")
    for child, _ in children:
        if int.from_bytes(child.prefix, "big") != due:
            raise RemoteError("archive_partition", f"at {child.prefix.hex()}, level {child.level}")
        due = child.end
    if due != place.end or len(children) > GROUP_MEMBERS_MAX:
        raise RemoteError("archive_partition", f"{len(children)} children under {place.prefix.hex()}")
    ids = [int.from_bytes(child.prefix, "big") for child, _ in children]
    nodes = flat_nodes(ids, [found for _, found in children])
    depths = bytes(child.bits for child, _ in children)
    return Row(place, _node_of(group, nodes[-NODE_BYTES:]), _opening(group) + depths + nodes)


def elsewhere_row(group: Elsewhere) -> Row:
    """The row of a sub-database that is not kept. Raises RemoteError("archive_place")."""
    place = place_of(GroupStep(SUB_DATABASE_LEVEL, group.bits, group.prefix, 0, node.ZEROS))
    if len(group.node) != NODE_BYTES:
        raise RemoteError("archive_place", "a node is 36 bytes")
    return Row(place, group.node, b"")


class PageView:
    """The row of a level-1 group, as it is read. All of it raises Halt("archive_corrupt") for what no row has."""

    __slots__ = ("_count", "_head", "_items", "_place", "_sizes", "_tails", "group")

    def __init__(self, place: Place, value: bytes) -> None:
        tails_at = _OPENING.size + _COUNT.size
        if len(value) < tails_at:
            raise corrupt(place)
        self.group = _group(place, value)
        (self._count,) = _COUNT.unpack_from(value, _OPENING.size)
        self._place = place
        self._head = place.prefix[: place.bits // 8]
        sizes_at = tails_at + self._count * (ID_BYTES - len(self._head))
        items_at = sizes_at + self._count
        self._tails = value[tails_at:sizes_at]
        self._sizes = value[sizes_at:items_at]
        self._items = value[items_at:]
        if self._count > GROUP_MEMBERS_MAX or sum(self._sizes) != len(self._items):
            raise corrupt(place)

    def content(self) -> bytes:
        """The page, byte for byte."""
        accounts = map(self._account, range(self._count))
        pulses = self._numbers()[::_FIELDS]
        return encode_page(
            (account, pulse, _record(pulse, items))
            for account, pulse, items in zip(accounts, pulses, self._entries(), strict=True)
        )

    def look_up(self, account: bytes) -> Entry | None:
        """The entry of an id, or None."""
        at = bisect_left(range(self._count), account, key=self._account)
        if at == self._count or self._account(at) != account:
            return None
        start = sum(self._sizes[:at])
        return _entry(self._decoded(self._items[start : start + self._sizes[at]], 1))

    def find(self, account: bytes) -> Found:
        """The entry of an id, or the leaf in its place, with its path to the node of this group."""
        if not self._count:
            return Found(account, None, None, (self.group,))
        accounts = [self._account(at) for at in range(self._count)]
        numbers = self._numbers()
        pulses, balances, frozen = numbers[::_FIELDS], numbers[1::_FIELDS], numbers[2::_FIELDS]
        digests = [
            node.record_digest(_record(pulse, items)) for pulse, items in zip(pulses, self._entries(), strict=True)
        ]
        sums = map(add, balances, frozen)
        ids = [int.from_bytes(member, "big") for member in accounts]
        nodes = flat_nodes(ids, list(map(node.leaf, accounts, pulses, sums, digests)))
        at, steps = flat_path(ids, nodes, int.from_bytes(account, "big"))
        path: Path = (*steps, self.group)
        if accounts[at] == account:
            return Found(account, _entry(numbers[at * _FIELDS : (at + 1) * _FIELDS]), None, path)
        other = OtherLeaf(accounts[at], pulses[at], balances[at] + frozen[at], digests[at])
        return Found(account, None, other, path)

    def _account(self, at: int) -> bytes:
        width = ID_BYTES - len(self._head)
        return self._head + self._tails[at * width : (at + 1) * width]

    def _entries(self) -> list[bytes]:
        """The items of each entry."""
        return [self._items[start:end] for start, end in pairwise(accumulate(self._sizes, initial=0))]

    def _numbers(self) -> list[int]:
        """The items of all entries as numbers, six for each."""
        return self._decoded(self._items, self._count)

    def _decoded(self, items: bytes, count: int) -> list[int]:
        try:
            values = codec.fields(codec.decode(codec.array_head(count * _FIELDS) + items), count * _FIELDS, "bad_page")
        except RemoteError:
            raise corrupt(self._place) from None
        if not set(map(type, values)) <= {int}:
            raise corrupt(self._place)
        return cast(list[int], values)


def upper_steps(place: Place, value: bytes, account: bytes) -> tuple[Place, list[BranchStep | GroupStep]]:
    """Of the row of a group above level 1: the child that holds an id of the group, and the steps from that child's
    node to the group's. Raises Halt("archive_corrupt")."""
    # One byte for a child's bits, and the nodes over so many children.
    count, odd = divmod(len(value) - _OPENING.size + NODE_BYTES, 2 * NODE_BYTES + 1)
    if odd or not 0 < count <= GROUP_MEMBERS_MAX:
        raise corrupt(place)
    nodes_at = len(value) - flat_bytes(count)
    depths = value[_OPENING.size : nodes_at]
    if max(depths) > ID_BITS:
        raise corrupt(place)
    start = int.from_bytes(place.prefix, "big")
    ids = list(accumulate((1 << (ID_BITS - bits) for bits in depths), initial=start))
    if ids.pop() != place.end:
        raise corrupt(place)
    at, steps = flat_path(ids, value[nodes_at:], int.from_bytes(account, "big"))
    return Place(place.level - 1, depths[at], ids[at].to_bytes(ID_BYTES, "big")), [*steps, _group(place, value)]


def corrupt(place: Place) -> Halt:
    """The halt for a group whose row cannot be trusted."""
    return Halt(
        "archive_corrupt", f"the archive's group at {place.prefix.hex()}, level {place.level}, is damaged. {REMOVE}"
    )


def _entry(numbers: Sequence[int]) -> Entry:
    """Of an entry's six numbers."""
    return Entry(numbers[0], Record(*numbers[1:]))


def _record(pulse: int, items: bytes) -> bytes:
    """The encoded record of an entry's items, which begin with its pulse."""
    return _RECORD_HEAD + items[uint_bytes(pulse) :]


def _opening(group: GroupStep) -> bytes:
    return _OPENING.pack(group.pulse, group.meta)


def _group(place: Place, value: bytes) -> GroupStep:
    pulse, meta = _OPENING.unpack_from(value)
    return GroupStep(place.level, place.bits, place.prefix, pulse, meta)


def _node_of(group: GroupStep, inner: bytes) -> bytes:
    return node.group(group.level, group.bits, group.prefix, group.pulse, inner, group.meta)
