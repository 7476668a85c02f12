"""The command `simulate`: what it answers, and its exit code."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest

from leither_lite.errors import LocalError
from leither_lite.sim.command import simulate
from leither_lite.sim.faults import KINDS, kinds_of
from tests.sim.plants import PLANTS


def arguments(**changed: Any) -> Namespace:
    """Arguments of a short run."""
    return Namespace(**{"seed": 1, "nodes": 4, "roster": 0, "pulses": 8, "faults": "loss,drift", **changed})


def test_tells_what_became_of_a_world() -> None:
    """One object and a few lines; exit code 0 where nothing was violated."""
    value, lines, code = simulate(arguments())
    assert code == 0
    assert value["seed"] == 1
    assert value["violations"] == []
    assert value["pulses"] == 8
    assert value["transfers"] == value["offered"] > 0
    assert list(value["faults"]) == ["loss", "drift"]
    assert (value["nodes"], value["roster"]) == (4, 4)
    assert len(bytes.fromhex(value["digest"])) == 16
    assert any(value["digest"] in line for line in lines)


def test_tells_what_became_of_several_groups() -> None:
    """The same object, with what only such a world has."""
    value, lines, code = simulate(arguments(nodes=None, group_max=8, pulses=8, faults="none"))
    assert code == 0
    assert value["violations"] == []
    assert (value["nodes"], value["group_max"], value["levels"], value["pulses"]) == (14, 8, 2, 8)
    assert value["groups"] >= 3
    assert 0 < value["summary_bytes"] <= 10_240
    assert value["taken"] == value["credited"] + value["refunded"] > 0
    assert any(f"{value['summary_bytes']} bytes" in line for line in lines)
    assert any(value["digest"] in line for line in lines)


def test_exit_code_of_a_violation() -> None:
    """1, and the violations stand in both."""
    with PLANTS["a credit twice"]():
        value, lines, code = simulate(arguments())
    assert code == 1
    assert value["violations"]
    assert value["violations"][0] in lines


def test_kinds_of_faults() -> None:
    """In their own order, once each."""
    assert kinds_of("all") == KINDS
    assert kinds_of("none") == ()
    assert kinds_of("torn,loss,torn") == ("loss", "torn")


@pytest.mark.parametrize(
    "changed",
    [
        *[{"faults": "los"}, {"faults": ""}, {"nodes": 0}, {"nodes": 25}, {"roster": 7}, {"roster": 2}],
        *[{"group_max": 8, "roster": 3}, {"group_max": 8, "nodes": 3}, {"group_max": 8, "nodes": 4_097}],
        *[{"group_max": 3, "nodes": 8}, {"paper": True, "group_max": 8}, {"paper": True, "roster": 1}],
    ],
)
def test_refuses(changed: dict[str, Any]) -> None:
    """What makes no world."""
    with pytest.raises(LocalError) as caught:
        simulate(arguments(**changed))
    assert caught.value.code == "usage"
