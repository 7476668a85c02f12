"""Organizations that stand from the start: every store holds by itself, and all of them together are one tree."""

from __future__ import annotations

import pytest

from leither_lite.header import Header
from leither_lite.ledger import group as ledger
from leither_lite.ledger.group import Rules
from leither_lite.ledger.upper import UpperGroup
from leither_lite.ledger.upper_store import load_upper
from leither_lite.node.scope import Scope
from leither_lite.sim.disk import Disk
from leither_lite.sim.standing import stand
from leither_lite.store import keys
from leither_lite.tree.node import node_sum


@pytest.mark.parametrize(("nodes", "levels"), [(61, 3), (150, 3), (600, 4)])
def test_every_store_holds(nodes: int, levels: int) -> None:
    """Each machine has its own group, and each seat above: one tree, whose root holds the supply."""
    founded = stand(nodes, 4, 8, 40)
    rules = Rules(4, 8, 40)
    members: dict[bytes, bytes] = {}
    tops: dict[tuple[int, int, bytes], UpperGroup] = {}
    shown: dict[tuple[int, int, bytes], bytes] = {}
    for index, key in enumerate(founded.nodes):
        disk = Disk(founded.store(index))
        group = ledger.load(disk, founded.network, founded.supply, rules=rules)
        assert key.account in group.entries
        assert len(group.entries) <= 8
        members |= {account: entry.leaf(account) for account, entry in group.entries.items()}
        shown[1, group.bits, group.prefix] = group.header.node
        starts = dict.fromkeys(each[:23] for each, _ in disk.scan(*keys.GROUPS))
        for start in starts:
            upper = load_upper(Scope(disk, start), founded.network, founded.supply, rules, lambda digest, pulse: False)
            assert key.public in upper.roster_keys
            tops[upper.level, upper.bits, upper.prefix] = upper
            shown[upper.level, upper.bits, upper.prefix] = upper.header.node
    assert len(members) == nodes + 1
    assert max(level for level, _, _ in tops) == levels
    root = tops[levels, 0, bytes(20)]
    assert root.roster_keys == tuple(key.public for key in founded.roster)
    assert node_sum(root.inner) == founded.supply
    for (level, _, _), upper in tops.items():
        assert 2 <= len(upper.children) <= 8
        for child in upper.children.values():
            place = (level - 1, child.bits, child.prefix)
            assert child.roster == b"\x80" or child.node(level - 1) == shown[place]
        assert Header.decode(upper.sealed.header_bytes) == upper.header
