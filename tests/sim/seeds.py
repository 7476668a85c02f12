"""Plans of worlds that once failed, each with what was wrong then: take its mend out, and the plan fails again."""

from __future__ import annotations

from typing import Final

from leither_lite.sim.world import Plan

FAILED_ONCE: Final = (
    # The time to ask somebody else for a pulse had come, but nobody looked before the end of the cycle: a node spun.
    Plan(0, nodes=3, pulses=60),
    # Of a liar's two votes only the first counted, so some never saw the quorum that others had.
    Plan(0, nodes=4, pulses=30, faults=(), liars=(0,), lies=("precommit",)),
    Plan(1, nodes=7, pulses=30, liars=(1, 2), lies=("prevote",)),
    # A chief's second proposal was dropped, so whoever had heard the first could not judge what others had decided.
    Plan(1, nodes=4, pulses=30, faults=(), liars=(0,)),
    Plan(0, nodes=7, pulses=30, faults=(), liars=(0, 3)),
    # Where one seals alone, a peer's payments that came out of order were taken for dead.
    Plan(1, nodes=6, roster=1, pulses=60),
    # A payment lost on its last hop was repeated by its owner only, and those in between pass on nothing they know.
    Plan(12, nodes=9, roster=1, pulses=60, faults=("loss", "crash")),
)
