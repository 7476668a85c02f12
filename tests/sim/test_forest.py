"""Worlds of several groups: whatever happens in them, the promises hold, and once all is healed everything arrives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from leither_lite.edge.walk import walk
from leither_lite.errors import LocalError
from leither_lite.sim import groves
from leither_lite.sim.faults import KINDS
from leither_lite.sim.forest import Forest, ForestPlan, simulate_forest
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys
from tests.sim.forest_plants import PLANTS

ROOT = Path(__file__).parents[2]


def violations(plans: Iterable[ForestPlan]) -> list[tuple[ForestPlan, Any]]:
    """What was violated in worlds, two at a time."""
    planned = list(plans)
    with ProcessPoolExecutor(2) as executor:
        results = list(executor.map(simulate_forest, planned))
    return [(plan, found["violations"]) for plan, found in zip(planned, results, strict=True) if found["violations"]]


def test_seeds_of_two_levels(pytestconfig: pytest.Config, full: bool) -> None:
    """Six seeds with every fault; two others on other libraries, sixty in the long form."""
    first, end = (6, 8) if pytestconfig.getoption("system") else (0, 60 if full else 6)
    assert violations(ForestPlan(seed, faults=KINDS) for seed in range(first, end)) == []


def test_three_levels_without_faults() -> None:
    """Forty nodes come to three levels by themselves while they pay each other, and all of it arrives."""
    world = Forest(ForestPlan(0, nodes=40, pulses=52))
    found = world.run()
    assert found["violations"] == []
    assert found["levels"] == 3
    assert found["groups"] >= 15
    assert found["taken"] == found["credited"] + found["refunded"] > 100
    assert found["refunded"] > 0
    assert found["taken"] + sum(found["refused"].values()) == found["offered"]
    assert set(found["refused"]) <= {"unknown_payee"}
    assert 0 < found["summary_bytes"] <= 10_240
    for machine in world.machines:  # and nothing is left of splits and of seats that were given up
        assert walk(machine.disk, not machine.index % 4, lambda text: None) == []
        shown, pending = (machine.disk.scan(*span) for span in (keys.SHOWN, keys.PENDING))
        assert {key[1:] for key, _ in shown} <= {key[1:] for key, _ in pending}


def test_a_tree_that_stands(full: bool) -> None:
    """Three levels from the start: 64 nodes without faults; in the long form three seeds of 150 with every fault."""
    plans = [ForestPlan(0, nodes=64, pulses=8)]
    if full:
        plans += [ForestPlan(seed, nodes=150, pulses=20, faults=KINDS) for seed in range(3)]
    for plan in plans:
        found = simulate_forest(plan)
        assert found["violations"] == []
        assert found["levels"] >= 3
        assert found["taken"] == found["credited"] + found["refunded"] > 10


def test_all_power_fails_at_once() -> None:
    """The newest root header is on the disks of those who keep the root: everybody comes back by it, and goes on."""
    world = Forest(ForestPlan(0))
    with checked_once():
        world.until(lambda: False, 60_000)
        before = world.groves.pulse
        for machine in world.machines:
            machine.stop()
        for machine in world.machines:
            world.agenda.after(3_000, machine.start)
        world.until(lambda: world.groves.pulse > before + 5, 60_000)
        assert world.groves.pulse > before + 5
        world.finish()
    assert world.groves.violations == []


@cache
def unharmed(plan: ForestPlan) -> list[str]:
    """What is violated in a world as it is."""
    found: list[str] = simulate_forest(plan)["violations"]
    return found


@pytest.mark.parametrize("name", sorted(PLANTS))
def test_a_planted_bug_is_found(name: str, pytestconfig: pytest.Config) -> None:
    """Within fifty seeds; without the bug the same seed holds."""
    plant = PLANTS[name]
    if pytestconfig.getoption("system") and plant.plan.nodes > ForestPlan(0).nodes:
        pytest.skip("the large world is made with the newest releases only")
    for seed in range(50):
        plan = replace(plant.plan, seed=seed)
        with plant.bug(), patch.object(groves, "VIOLATIONS_MAX", 1):
            found: list[str] = simulate_forest(plan)["violations"]
        if {each.partition(":")[0] for each in found} & plant.found_by:
            print(f"{name}: seed {seed}, {found[0]}")
            with plant.without():
                assert (unharmed(plan) if plant.without is nullcontext else simulate_forest(plan)["violations"]) == []
            return
    pytest.fail(f"{name} was not found in fifty seeds")


def test_a_seed_is_the_same_in_every_process() -> None:
    """Whatever order sets have in it."""
    script = (
        "import json; from leither_lite.sim.forest import ForestPlan, simulate_forest; "
        "from leither_lite.sim.faults import KINDS; "
        "print(json.dumps(simulate_forest(ForestPlan(3, pulses=20, faults=KINDS))))"
    )
    told = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        ran = subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT, env=environment
        )
        told.append(json.loads(ran.stdout))
    assert told[0] == told[1]


@pytest.mark.parametrize("nodes", [3, 4_097])
def test_worlds_that_cannot_be(nodes: int) -> None:
    with pytest.raises(LocalError, match="usage"):
        simulate_forest(ForestPlan(0, nodes=nodes))
