"""A small world of groups that the tests of the archive change, and what an archive of it must say.

Nodes and paths are those of `SumTree`, made anew for each question.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest

from leither_lite.edge.archive import Archive, Change
from leither_lite.errors import LocalError
from leither_lite.ledger.archive import Elsewhere, Found, GroupPage, Place
from leither_lite.limits import ID_BITS
from leither_lite.tree import node
from leither_lite.tree.proof import BranchStep, GroupStep, OtherLeaf, Step, fold_path
from leither_lite.tree.tree import SumTree
from tests.edge.archives import Entries, active, node_of, opening, page_of, quiet

SEED: Final = 11


@dataclass
class World:
    """A few groups on up to three levels: the accounts of each level-1 group, and each group's pulse.

    `elsewhere`: level-2 groups that an archive of it does not keep.
    """

    accounts: dict[Place, Entries] = field(default_factory=dict)
    pulses: dict[Place, int] = field(default_factory=dict)
    elsewhere: list[Place] = field(default_factory=list)

    @property
    def top(self) -> Place:
        """The group over all."""
        return max(self.pulses)

    def under(self, place: Place) -> list[Place]:
        """A group's children, in order."""
        return sorted(
            (child for child in self.pulses if child.level == place.level - 1 and place.holds(child.prefix)),
            key=lambda child: child.prefix,
        )

    def group(self, place: Place) -> GroupStep:
        """How a group opens."""
        return opening(place, self.pulses[place])

    def tree(self, place: Place) -> SumTree:
        """The tree in a group."""
        tree = SumTree()
        if place.level == 1:
            tree.put_many((account, entry.leaf(account)) for account, entry in self.accounts[place].items())
        else:
            tree.put_many((child.prefix, self.node(child)) for child in self.under(place))
        return tree

    def node(self, place: Place) -> bytes:
        """A group's node."""
        return node_of(self.group(place), self.tree(place))

    def changes(self, since: int = 0) -> list[Change]:
        """What has a pulse of `since` or later, as an archive takes it."""

        def walk(place: Place) -> Iterator[Change]:
            is_new = self.pulses[place] >= since
            if place in self.elsewhere:
                if is_new:
                    yield Elsewhere(place.bits, place.prefix, self.node(place))
                return
            for child in self.under(place) if place.level > 1 else ():
                yield from walk(child)
            if is_new:
                group = self.group(place)
                yield GroupPage(group, page_of(self.accounts[place])) if place.level == 1 else group

        return list(walk(self.top))

    def found(self, account: bytes) -> Found:
        """What an archive should say of an id."""
        place = self.top
        upper: list[list[Step]] = []
        while place.level > 1:
            way = self.tree(place).path(account)
            assert way is not None
            upper.insert(0, [*(BranchStep(*step) for step in way.steps), self.group(place)])
            place = next(child for child in self.under(place) if child.holds(account))
        way = self.tree(place).path(account)
        entries = self.accounts[place]
        branches = [] if way is None else [BranchStep(*step) for step in way.steps]
        path = (*branches, self.group(place), *(step for steps in upper for step in steps))
        if account in entries:
            return Found(account, entries[account], None, path)
        if way is None:
            return Found(account, None, None, path)
        entry = entries[way.account]
        record = entry.record
        amount = record.balance + record.frozen
        return Found(
            account, None, OtherLeaf(way.account, entry.pulse, amount, node.record_digest(record.encode())), path
        )


def grown(place: Place, depths: list[int]) -> list[Place]:
    """Groups one level lower that partition a group: of so many bits more each, in order."""
    found, first = [], int.from_bytes(place.prefix, "big")
    for depth in depths:
        found.append(Place(place.level - 1, place.bits + depth, first.to_bytes(20, "big")))
        first += 1 << (ID_BITS - place.bits - depth)
    return found


def drawn(draw: random.Random, place: Place, count: int) -> Entries:
    """Accounts of a group."""
    first = int.from_bytes(place.prefix, "big")
    ids = [(first | draw.getrandbits(ID_BITS - place.bits)).to_bytes(20, "big") for _ in range(count)]
    return {account: draw.choice([quiet, active])(draw) for account in ids}


def world_of(top: Place, uneven: list[int], seed: int = SEED) -> World:
    """A world under a group of level 2 or 3: groups of uneven sizes, one of them empty, one with a single account."""
    draw = random.Random(seed)
    world = World(pulses={top: 5})
    parents = [top]
    while parents[0].level > 1:
        parents = [child for parent in parents for child in grown(parent, uneven)]
        world.pulses.update((place, 5) for place in parents)
    counts = [0, 1, *(draw.randrange(2, 40) for _ in parents)]
    world.accounts = {place: drawn(draw, place, count) for place, count in zip(parents, counts, strict=False)}
    return world


def touched(world: World, draw: random.Random, count: int) -> None:
    """Payments, joins and departures in some groups, in a new pulse."""
    pulse = world.pulses[world.top] + 1
    for place in draw.sample(sorted(world.accounts), count):
        entries = world.accounts[place]
        for account in draw.sample(sorted(entries), min(len(entries), 3)):
            entries[account] = active(draw)._replace(pulse=pulse)
        entries.update(drawn(draw, place, draw.randrange(3)))
        world.accounts[place] = dict(list(entries.items())[draw.randrange(2) :])
        renewed(world, place, pulse)


def renewed(world: World, place: Place, pulse: int) -> None:
    """Give a group and all over it a pulse."""
    for over in world.pulses:
        if over.level >= place.level and over.holds(place.prefix) and over.bits <= place.bits:
            world.pulses[over] = pulse


def told(archive: Archive, world: World, since: int = 0) -> None:
    """Have an archive take what has changed."""
    archive.replace(iter(world.changes(since)), world.node(world.top))


def holds(archive: Archive, world: World) -> None:
    """It says of every account, and of others, what the world does; every page is there byte for byte."""
    top = world.node(world.top)
    assert archive.node == top
    draw = random.Random(SEED + 1)
    for place, entries in world.accounts.items():
        absent = list(drawn(draw, place, 2))
        if any(not_kept.holds(place.prefix) for not_kept in world.elsewhere):
            for account in absent:
                for ask in (archive.look_up, archive.path, archive.page):
                    with pytest.raises(LocalError, match="archive_elsewhere"):
                        ask(account)
            continue
        assert archive.page(place.prefix) == GroupPage(world.group(place), page_of(entries))
        assert [archive.look_up(account) for account in entries] == list(entries.values())
        assert [archive.look_up(account) for account in absent] == [None, None]
        for account in [*absent, *draw.sample(sorted(entries), min(len(entries), 3))]:
            found = archive.path(account)
            assert found == world.found(account)
            assert fold_path(found.start(), account, found.path) == top
