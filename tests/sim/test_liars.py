"""Members with two faces: never two seals, the others go on, and what was signed twice is kept and shown."""

from __future__ import annotations

import pytest

from leither_lite.identity import account_id
from leither_lite.pulse.votes import Evidence
from leither_lite.sim.faults import KINDS
from leither_lite.sim.liar import LIES
from leither_lite.sim.world import Plan, World

ROSTERS = {4: ((0,), (2,)), 7: ((0, 3), (1, 2))}


@pytest.mark.parametrize("faults", [(), KINDS], ids=["healthy", "faulty"])
@pytest.mark.parametrize("lies", [*LIES, "all"])
@pytest.mark.parametrize("roster", sorted(ROSTERS))
def test_every_kind_of_double_signature(roster: int, lies: str, faults: tuple[str, ...]) -> None:
    """As chief or as backup, alone or two together: a third of the committee can neither split nor stop it."""
    kinds = set()
    for liars in ROSTERS[roster]:
        plan = Plan(5, nodes=roster, pulses=25, faults=faults, liars=liars, lies=(lies,))
        world = World(plan)
        found = world.run()
        assert found["violations"] == []
        accounts = {account_id(world.founded.nodes[index].public).hex() for index in liars}
        shown = world.evidence()
        assert {each["account"] for each in shown} <= accounts
        kinds |= {each["kind"] for each in shown}
        for each in shown:
            evidence = Evidence(
                each["kind"],
                bytes.fromhex(each["key"]),
                each["term"],
                bytes.fromhex(each["previous"]),
                each["round"],
                bytes.fromhex(each["first"]),
                bytes.fromhex(each["second"]),
            )
            assert evidence.holds(world.founded.network)
    assert kinds == (set(LIES) if lies == "all" else {lies})
