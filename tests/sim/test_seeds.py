"""Worlds from many seeds: whatever happens in them, the promises hold, and once all is healed everything is sealed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from leither_lite.sim.faults import KINDS
from leither_lite.sim.world import Plan, simulate_world
from tests.sim.seeds import FAILED_ONCE

ROOT = Path(__file__).parents[2]


def violations(plans: Iterable[Plan]) -> list[tuple[Plan, Any]]:
    """What was violated in worlds, two at a time."""
    planned = list(plans)
    with ProcessPoolExecutor(2) as executor:
        results = list(executor.map(simulate_world, planned))
    return [(plan, found["violations"]) for plan, found in zip(planned, results, strict=True) if found["violations"]]


def test_seeds_of_two_hundred_pulses(pytestconfig: pytest.Config, full: bool) -> None:
    """Forty seeds, with every fault; eight others on other libraries, two hundred in the long form."""
    first, end = (40, 48) if pytestconfig.getoption("system") else (0, 200 if full else 40)
    assert violations(Plan(seed) for seed in range(first, end)) == []


@pytest.mark.parametrize(("nodes", "roster"), [(1, 1), (2, 1), (3, 3), (4, 4), (5, 4), (6, 1), (9, 7), (7, 3)])
def test_rosters(nodes: int, roster: int) -> None:
    """Committees of every size, with members outside that hold pages, and without."""
    assert violations(Plan(seed, nodes=nodes, roster=roster, pulses=60) for seed in range(2)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_alone(kind: str) -> None:
    """Each kind happens, and does no harm."""
    found = simulate_world(Plan(7, pulses=40, faults=(kind,)))
    assert found["violations"] == []
    assert found["pulses"] >= 40
    assert list(found["faults"]) == [kind]
    assert found["faults"][kind] > 0


def test_nothing_is_lost_without_faults() -> None:
    """Every payment offered is sealed and acknowledged, at about a pulse a second."""
    found = simulate_world(Plan(1, pulses=60, faults=()))
    assert found["violations"] == []
    assert found["pulses"] >= 60
    assert found["transfers"] == found["offered"] > 60
    assert found["acknowledged"] > found["offered"] * 9 // 10
    assert found["virtual_ms"] < 120_000


@pytest.mark.parametrize("plan", FAILED_ONCE, ids=lambda plan: f"{plan.seed}-{plan.nodes}")
def test_seeds_that_once_failed(plan: Plan) -> None:
    """They hold now."""
    assert simulate_world(plan)["violations"] == []


def test_a_seed_is_the_same_in_every_process() -> None:
    """Whatever order sets have in it."""
    script = (
        "import json; from leither_lite.sim.world import Plan, simulate_world; "
        "print(json.dumps(simulate_world(Plan(3, pulses=15, liars=(2,)))))"
    )
    told = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        ran = subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT, env=environment
        )
        told.append(json.loads(ran.stdout))
    assert told[0] == told[1]
    assert simulate_world(Plan(3, pulses=15, liars=(2,))) == told[0]
    assert simulate_world(Plan(4, pulses=15, liars=(2,)))["digest"] != told[0]["digest"]
