"""The command `simulate`: one world from its arguments, told as one object and as lines (docs/cli.md).

Decides the exit code: 0 only if nothing was violated.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from leither_lite.sim.faults import kinds_of
from leither_lite.sim.paper import report
from leither_lite.sim.world import Plan, simulate_world

HELD: int = 0
VIOLATED: int = 1


def simulate(args: Namespace) -> tuple[dict[str, Any], list[str], int]:
    """`seed`, `nodes`, `roster` (0: as large as can be), `pulses`, `faults`: the object, lines, and the exit code.

    With `paper` it is the paper's path in place of a world. Raises LocalError("usage").
    """
    if getattr(args, "paper", False):
        return report()
    value = simulate_world(Plan(args.seed, args.nodes, args.roster, args.pulses, kinds_of(args.faults)))
    faults = ", ".join(f"{kind} {count}" for kind, count in value["faults"].items())
    lines = [
        f"seed {value['seed']}: {value['pulses']} pulses, {value['nodes']} nodes, a roster of {value['roster']}",
        f"{value['transfers']} of {value['offered']} payments offered are sealed",
        f"faults: {faults or 'none'}",
        f"digest {value['digest']}",
        *value["violations"],
    ]
    return value, lines, VIOLATED if value["violations"] else HELD
