"""Pages that go down in two steps: with as few spans as two, so that small groups of groups have relays already."""

from __future__ import annotations

import pytest

from leither_lite.codec import decode, items
from leither_lite.effects import Effects
from leither_lite.node import frames, spreading
from leither_lite.node.transfers import CREDITED, REFUNDED
from leither_lite.sim.faults import KINDS
from leither_lite.sim.forest import Forest, ForestPlan
from leither_lite.sim.machine import Machine

NODES = 64


@pytest.fixture(name="_narrow", autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "WIDE", 2)


class Counting(Forest):
    """Counts the relays that are named."""

    def __init__(self, plan: ForestPlan) -> None:
        self.named = 0
        super().__init__(plan)

    def performed(self, machine: Machine, effects: Effects) -> None:
        """A turn of a machine is durable."""
        super().performed(machine, effects)
        for _, content in effects.sends:
            if frames.kind_of(content) == frames.BRANCH:
                self.named += len(items(items(decode(content), 7, "bad_branch")[6], 30, "bad_branch"))


@pytest.mark.parametrize("faults", [(), KINDS], ids=["quiet", "faults"])
def test_everybody_hears_it(faults: tuple[str, ...]) -> None:
    """Nothing is lost, and all come to rest under one root header."""
    world = Counting(ForestPlan(3, nodes=NODES, pulses=8, faults=faults))
    found = world.run()
    assert found["violations"] == []
    assert found["levels"] >= 3
    states = set(world.transfers.values()) - ({"passed"} if faults else set())  # of one, its payer may know no more
    assert states <= {CREDITED, REFUNDED}
    assert found["taken"] == len(world.transfers) > 5
    assert world.named > 100
    relays = [list(machine.node.between.trunk.relays()) for machine in world.machines if machine.node is not None]
    assert sum(map(bool, relays)) > 4, "some have been asked to pass it on"
