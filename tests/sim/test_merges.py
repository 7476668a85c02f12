"""Worlds that begin in groups smaller than they need to be: buddies are merged while everything else goes on."""

from __future__ import annotations

import pytest

from leither_lite.edge.walk import walk
from leither_lite.node.transfers import CREDITED, REFUNDED
from leither_lite.sim.faults import KINDS
from leither_lite.sim.forest import Forest, ForestPlan
from tests.sim.test_forest import violations

SMALL = 2
"""A quarter of what a group of these worlds may have."""


def places(world: Forest) -> set[tuple[int, bytes]]:
    """Where the groups are that have nodes."""
    nodes = (machine.node for machine in world.machines)
    return {(node.group.bits, node.group.prefix) for node in nodes if node is not None}


def test_small_groups_are_merged() -> None:
    """Nothing else is lost by it: whoever has paid knows what became of it."""
    world = Forest(ForestPlan(0, nodes=20, pulses=20, small=SMALL))
    before = places(world)
    found = world.run()
    assert found["violations"] == []
    after = places(world)
    gone, come = before - after, after - before
    assert len(gone) >= 4
    assert len(come) * 2 <= len(gone)
    assert set(world.transfers.values()) == {CREDITED, REFUNDED}
    assert found["taken"] == found["credited"] + found["refunded"] > 30
    for machine in world.machines:
        assert walk(machine.disk, not machine.index % 4, lambda text: None) == []


def test_seeds_with_every_fault(pytestconfig: pytest.Config, full: bool) -> None:
    """Two seeds; another on other libraries, thirty in the long form."""
    first, end = (2, 3) if pytestconfig.getoption("system") else (0, 30 if full else 2)
    assert violations(ForestPlan(seed, 20, pulses=20, faults=KINDS, small=SMALL) for seed in range(first, end)) == []
