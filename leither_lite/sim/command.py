"""The command `simulate`: a world from its arguments, told as one object and as lines (docs/cli.md).

Decides the exit code: 0 only if nothing was violated.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Final

from leither_lite.errors import LocalError
from leither_lite.sim.faults import kinds_of
from leither_lite.sim.forest import ForestPlan, simulate_forest
from leither_lite.sim.paper import report
from leither_lite.sim.world import Plan, simulate_world

HELD: Final = 0
VIOLATED: Final = 1
NODES_USUAL: Final = 7
PULSES_USUAL: Final = 200
FOREST_NODES_USUAL: Final = 14
FOREST_PULSES_USUAL: Final = 40


def simulate(args: Namespace) -> tuple[dict[str, Any], list[str], int]:
    """`seed`, `nodes`, `roster`, `pulses` (None or 0: as usual), `faults`: the object, lines, and the exit code.

    With `group_max` it is a world of several groups, with `paper` the paper's path in place of a world. Raises
    LocalError("usage").
    """
    if getattr(args, "paper", False):
        _refuse(args, "--paper", ("group_max", "roster"))
        return report()
    if getattr(args, "group_max", None):
        _refuse(args, "--group-max", ("roster",))
        value, lines = _forest(args)
    else:
        value, lines = _world(args)
    faults = ", ".join(f"{kind} {count}" for kind, count in value["faults"].items())
    lines += [f"faults: {faults or 'none'}", f"digest {value['digest']}", *value["violations"]]
    return value, lines, VIOLATED if value["violations"] else HELD


def _refuse(args: Namespace, option: str, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(args, name, None):
            raise LocalError("usage", f"{option} goes without --{name.replace('_', '-')}")


def _world(args: Namespace) -> tuple[dict[str, Any], list[str]]:
    nodes = NODES_USUAL if args.nodes is None else args.nodes
    pulses = PULSES_USUAL if args.pulses is None else args.pulses
    value = simulate_world(Plan(args.seed, nodes, args.roster or 0, pulses, kinds_of(args.faults)))
    return value, [
        f"seed {value['seed']}: {value['pulses']} pulses, {value['nodes']} nodes, a roster of {value['roster']}",
        f"{value['transfers']} of {value['offered']} payments offered are sealed",
    ]


def _forest(args: Namespace) -> tuple[dict[str, Any], list[str]]:
    nodes = FOREST_NODES_USUAL if args.nodes is None else args.nodes
    pulses = FOREST_PULSES_USUAL if args.pulses is None else args.pulses
    value = simulate_forest(ForestPlan(args.seed, nodes, args.group_max, pulses, kinds_of(args.faults)))
    came = f"{value['credited']} credited, {value['refunded']} sent back, {value['reclaimed']} reclaimed"
    return value, [
        f"seed {value['seed']}: {value['pulses']} root pulses, {value['nodes']} nodes, {value['levels']} levels, "
        f"{value['groups']} groups of at most {value['group_max']}, a summary of {value['summary_bytes']} bytes",
        f"{value['taken']} of {value['offered']} payments offered were taken: {came}",
    ]
