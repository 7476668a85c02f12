"""When a transfer is told of as an event, in a group that seals one header after the other."""

from __future__ import annotations

from leither_lite.effects import Effects
from leither_lite.sim.machine import Machine
from leither_lite.sim.signatures import checked_once
from tests.node.groups import grown


def test_a_transfer_is_told_of_while_the_group_seals_on() -> None:
    """A roster of one seals its next header in the turn in which the last one is known to be under the root."""
    with checked_once():
        world = grown()
        payer = next(index for index, node in enumerate(world.nodes) if node.books.seals_alone)
        told: list[str] = []

        def performed(machine: Machine, effects: Effects) -> None:
            told.extend(
                note.value["id"] for note in effects.notes if note.kind == "transfer" and machine.index == payer
            )

        world.performed = performed  # type: ignore[method-assign]
        names = []
        for number in range(15):
            names.append(world.pay(payer, (payer + 1 + number % (len(world.nodes) - 1)) % len(world.nodes), 1))
            world.run(300)
        assert set(told) & set(names), "none was told of as long as there was a next one"
        world.until(lambda: set(names) <= set(told))
