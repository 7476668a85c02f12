"""What the committee above is told of who holds a header of the own group."""

from __future__ import annotations

from leither_lite.node import frames
from leither_lite.sim.founding import PULSE_MS
from leither_lite.sim.signatures import checked_once
from tests.node.groups import grown


def test_the_committee_above_hears_at_once_that_enough_hold_a_header() -> None:
    """Not at the end of the pulse cycle only: it takes no header before."""
    with checked_once():
        world = grown()
        payer = next(index for index, node in enumerate(world.nodes) if node.books.seals_alone)
        own = world.keys[payer].public
        held_ms: dict[bytes, int] = {}
        waited_ms: dict[bytes, int] = {}

        def passes(source: int, peer: bytes, content: bytes) -> bool:
            """Note when a signature goes to the payer's node, and when that goes on to those above."""
            kind = frames.kind_of(content)
            if kind == frames.HELD and peer == own:
                held_ms.setdefault(bytes(content[-64:]), world.agenda.now_ms)
            elif kind == frames.CHILD and source == payer:
                for signature, since_ms in held_ms.items():
                    if signature in content:
                        waited_ms.setdefault(signature, world.agenda.now_ms - since_ms)
            return True

        world.passes = passes
        for number in range(6):
            name = world.pay(payer, (payer + 1 + number) % len(world.nodes), 1)
            world.until(lambda name=name: world.view(payer).transfer(name)["state"] != "pending")  # type: ignore[misc]
        assert waited_ms
        assert max(waited_ms.values()) < PULSE_MS / 4
