"""Bugs planted in the core, one at a time: the simulator finds each within fifty seeds, by what it promises."""

from __future__ import annotations

import pytest

from leither_lite.sim.world import Plan, simulate_world
from tests.sim.plants import PLANTS

SEEDS = 50

# By which violation each must be found, among others.
SEEN_BY = {
    "no write-ahead": {"forgotten"},
    "a forgotten lock": {"lock", "two_decisions"},
    "votes of two rounds added up": {"no_polka", "no_quorum"},
    "a credit twice": {"page_differs"},
    "a credit from nothing": {"conservation"},
    "a seal for two successors": {"no_quorum", "forgotten"},
    "a torn commit": {"failed"},
}


def test_every_plant_is_looked_for() -> None:
    """None is forgotten."""
    assert SEEN_BY.keys() == PLANTS.keys()


@pytest.mark.parametrize("name", sorted(SEEN_BY))
def test_is_found(name: str) -> None:
    """Without the bug the same seed holds."""
    for seed in range(SEEDS):
        plan = Plan(seed, pulses=40)
        with PLANTS[name]():
            found = simulate_world(plan)["violations"]
        kinds = {violation.partition(":")[0] for violation in found}
        if kinds & SEEN_BY[name]:
            print(f"{name}: seed {seed}, {found[0]}")
            assert simulate_world(plan)["violations"] == []
            return
    pytest.fail(f"{name} was not found in {SEEDS} seeds")
