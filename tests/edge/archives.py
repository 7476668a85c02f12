"""What an archive is filled with: workloads of any size, made group by group.

Nodes are those of `SumTree`, so that they owe nothing to what the archive does.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from leither_lite.edge.archive import Change
from leither_lite.identity import h32
from leither_lite.ledger.archive import Elsewhere, GroupPage, Place
from leither_lite.ledger.records import Entry, Record, Role, decode_page, encode_page
from leither_lite.limits import ID_BITS, ID_BYTES, SUPPLY_MAX
from leither_lite.tree import node
from leither_lite.tree.proof import GroupStep
from leither_lite.tree.tree import SumTree

PULSE: Final = 1_000_000
QUIET_ITEM_BYTES: Final = 36
ACTIVE_ITEM_BYTES: Final = 54

Entries = dict[bytes, Entry]


def quiet(draw: random.Random) -> Entry:
    """A member that has received an amount and not moved since: 36 bytes in its page, pulse and balance of 5."""
    return Entry(PULSE - draw.randrange(900_000), Record(draw.randrange(1 << 16, 1 << 32), 0, 0, Role.MEMBER, 0))


def active(draw: random.Random) -> Entry:
    """An account with everything: 54 bytes, balance and frozen of 9, sent and pulse of 5, a mask of 16 nominations."""
    balance, frozen = (draw.randrange(1 << 32, SUPPLY_MAX // 2**20) for _ in range(2))
    votes = draw.randrange(1 << 15, 1 << 16)
    return Entry(PULSE, Record(balance, frozen, draw.randrange(1 << 16, 1 << 32), Role.SUPERVISOR, votes))


def page_of(entries: Entries) -> bytes:
    """The page of entries."""
    return encode_page([(account, entry.pulse, entry.record.encode()) for account, entry in sorted(entries.items())])


def opening(place: Place, pulse: int) -> GroupStep:
    """How a group opens at a pulse."""
    return GroupStep(*place, pulse, h32("meta", bytes(place[:2]) + place.prefix + pulse.to_bytes(8, "big")))


def node_of(group: GroupStep, tree: SumTree) -> bytes:
    """The node of a group with a tree in it."""
    return node.group(group.level, group.bits, group.prefix, group.pulse, tree.root(), group.meta)


def place_at(level: int, bits: int, number: int) -> Place:
    """The group whose prefix is a number of so many bits."""
    return Place(level, bits, (number << (ID_BITS - bits)).to_bytes(ID_BYTES, "big"))


@dataclass(frozen=True, slots=True)
class Workload:
    """Sub-databases, groups in each, accounts in each of those: all alike, each number but the last a power of two.

    Under a group of level 3 if there is more than one sub-database. Ids are drawn within their groups.
    """

    sub_databases: int
    groups: int
    members: int
    is_active: bool = False

    @property
    def accounts(self) -> int:
        """How many there are in all."""
        return self.sub_databases * self.groups * self.members

    def page(self, number: int) -> GroupPage:
        """The level-1 group of that number, in the order of prefixes."""
        draw = random.Random(number)
        place = place_at(1, (self.sub_databases * self.groups).bit_length() - 1, number)
        shift = ID_BITS - place.bits
        entry = active if self.is_active else quiet
        ids = sorted((number << shift | draw.getrandbits(shift)).to_bytes(ID_BYTES, "big") for _ in range(self.members))
        return GroupPage(opening(place, PULSE), page_of({account: entry(draw) for account in ids}))

    def changes(self) -> Iterator[Change]:
        """All of it, as an empty archive takes it."""
        bits = self.sub_databases.bit_length() - 1
        for number in range(self.sub_databases):
            yield from map(self.page, range(number * self.groups, (number + 1) * self.groups))
            yield opening(place_at(2, bits, number), PULSE)
        if bits:
            yield opening(place_at(3, 0, 0), PULSE)

    def ids(self, count: int) -> list[bytes]:
        """So many of its accounts, drawn from all groups alike."""
        draw = random.Random(count)
        pages = (self.page(draw.randrange(self.sub_databases * self.groups)).content for _ in range(count))
        return [draw.choice(decode_page(page))[0] for page in pages]


def top_node(changes: Iterable[Change]) -> bytes:
    """The node to which changes lead that are complete."""
    nodes: list[tuple[Place, bytes]] = []
    for change in changes:
        if isinstance(change, Elsewhere):
            nodes.append((Place(2, change.bits, change.prefix), change.node))
            continue
        group = change.group if isinstance(change, GroupPage) else change
        tree = SumTree()
        if isinstance(change, GroupPage):
            tree.put_many((account, entry.leaf(account)) for account, entry in decode_page(change.content))
        else:
            tree.put_many((place.prefix, found) for place, found in nodes if place.level == group.level - 1)
            nodes = [(place, found) for place, found in nodes if place.level >= group.level]
        nodes.append((Place(group.level, group.bits, group.prefix), node_of(group, tree)))
    ((_, found),) = nodes
    return found
