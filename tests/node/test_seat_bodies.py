"""Bodies of what is proposed above level 1, where they do not come with the proposal."""

from __future__ import annotations

from leither_lite.node import frames
from leither_lite.sim.signatures import checked_once
from tests.node.groups import grown


def test_a_member_asks_the_others_of_its_committee_for_a_body() -> None:
    """They are of other groups: those of its own have not heard of the proposal."""
    with checked_once():
        world = grown()
        payer, payee = world.apart()
        lost: dict[tuple[bytes, bytes], None] = {}

        def passes(source: int, peer: bytes, content: bytes) -> bool:
            """The first time, no segment arrives."""
            if frames.kind_of(content) != frames.SEGMENT or (peer, content) in lost:
                return True
            lost[peer, content] = None
            return False

        world.passes = passes
        rounds: dict[int, None] = {}

        def is_credited() -> bool:
            for node in world.nodes:
                rounds.update((seat.committee.engine.agreement.round, None) for seat in node.between.seats)
            return bool(world.view(payer).transfer(name)["state"] == "credited")

        name = world.pay(payer, payee, 1)
        world.until(is_credited)
        assert lost
        assert list(rounds) == [0], "no round above level 1 has failed"
