"""The paper's quantitative analysis beside what this node needs, role by role (docs/paper.md).

Walks one path of a network of 2^24 level-1 groups at 1,000,000 transfers a second, and counts. Decides which pulses are
looked at, and how the figures are told. All but the measured times are the same in every run.
"""

from __future__ import annotations

from math import exp
from typing import Any, Final

from leither_lite.node.spreading import WIDE
from leither_lite.sim.paper_claims import claims
from leither_lite.sim.paper_committee import BACKUP, CHIEF
from leither_lite.sim.paper_costs import PI_ZERO, Costs, measured
from leither_lite.sim.paper_generated import ROSTER
from leither_lite.sim.paper_path import LEVELS, Path, Scale
from leither_lite.sim.tally import Work, tallied

TRANSFERS_S: Final = 1_000_000
OPERATIONS: Final = 3
"""A transfer between groups is a payment in one, settled in the other, and resolved in the first."""
BRANCH_SIDES: Final = 30
"""What the paper counts for a branch: here half of them are paid, half received, and as many resolved."""
PULSES: Final = 3
"""After so many there is something of each kind in a level-1 body."""
NAMES: Final = {4: "root", 3: "level 3", 2: "level 2", 1: "level 1"}


def groups_of(level: int, scale: Scale) -> int:
    """How many groups a level has."""
    return 1 << scale.bits * (LEVELS - level)


def active_of(level: int, scale: Scale) -> int:
    """How many children of a group seal in a pulse of a second: what comes falls evenly on all of them."""
    events = OPERATIONS * TRANSFERS_S / groups_of(level, scale)
    return max(2, round(scale.width * (1 - exp(-events / scale.width))))


def _role(path: Path, level: int, scale: Scale) -> dict[str, Any]:
    chief, backup = path.works[level][CHIEF], path.works[level][BACKUP]
    frame = path.bytes["branch difference"] if level == 1 else path.bytes[f"branch {level}"]
    hearers = WIDE if level == 1 else ROSTER - 1 + min(WIDE, scale.width)
    sides = 2 * TRANSFERS_S / groups_of(level, scale)
    return {
        "level": level,
        "sides_per_s": round(sides, 2),
        "active": active_of(level, scale) if level > 1 else sum(path.leaf.operations.values()),
        "checked": backup.checked,
        "checked_for": dict(sorted(backup.what.items())),
        "signed": chief.signed,
        "hashes": backup.hashes,
        "hash_blocks": backup.blocks,
        "page_bytes": path.pages[level],
        "body_bytes": path.bytes[f"body {level}"],
        "sent_bytes": backup.sent,
        "sent_bytes_chief": chief.sent,
        "received_bytes": backup.received,
        "stored_bytes": backup.stored,
        "branch_bytes": frame,
        "branch_sent_bytes": frame * hearers,
        "pi_zero_ms": PI_ZERO.follows_ms(backup.checked, backup.blocks),
    }


def _times(work: Work, here: Costs) -> dict[str, float]:
    return {"follows_ms": here.follows_ms(work.checked, work.blocks), "spent_ms": round(work.spent_ns / 1e6, 1)}


def walk(scale: Scale) -> dict[str, Any]:
    """What each role does for a pulse, as one object; `measured` has what differs from run to run."""
    active = {level: active_of(level, scale) for level in range(2, LEVELS + 1)}
    here = measured()
    with tallied() as tally:
        path = Path(tally, scale)
        paid = 0
        for pulse in range(1, PULSES + 1):
            path.pulse(1, active)
            if not paid and path.leaf.arrived:
                paid = pulse
        roles = {NAMES[level]: _role(path, level, scale) for level in range(LEVELS, 0, -1)}
        times = {NAMES[level]: _times(path.works[level][BACKUP], here) for level in range(LEVELS, 0, -1)}
        for _ in range(PULSES):
            path.pulse(BRANCH_SIDES // 2, active)
        roles["branch"] = {**_role(path, 1, scale), "sides_per_s": BRANCH_SIDES}
        times["branch"] = _times(path.works[1][BACKUP], here)
    return {
        "levels": LEVELS,
        "summary_bytes": path.pages[LEVELS],
        "page_bytes_counted": path.leaf.group.page_bytes,
        "groups": {NAMES[level]: groups_of(level, scale) for level in range(LEVELS, 0, -1)},
        "accounts": scale.accounts * groups_of(1, scale),
        "supply": path.supply,
        "transfers_per_s": TRANSFERS_S,
        "pulses_until_settled": paid,
        "frame_bytes": dict(sorted(path.bytes.items())),
        "pi_zero": PI_ZERO._asdict(),
        "roles": roles,
        "measured": {**here._asdict(), "roles": times},
    }


def report(scale: Scale | None = None) -> tuple[dict[str, Any], list[str], int]:
    """The object, lines for people, and the exit code, which is 0: what does not hold stops the walk."""
    value = walk(scale or Scale())
    value["claims"] = claims(value)
    lines = [
        f"{value['levels']} levels, {value['groups']['level 1']:,} level-1 groups, {value['accounts']:,} accounts, "
        f"{value['transfers_per_s']:,} transfers a second; a member of a roster of {ROSTER}, one pulse of a second",
        "",
        f"{'':10}{'sides/s':>12}{'active':>8}{'checked':>9}{'hashes':>8}{'blocks':>8}{'sent':>11}{'stored':>9}"
        f"{'branch, told':>17}{'here ms':>10}{'Pi Zero ms':>12}",
    ]
    for name, role in value["roles"].items():
        here = value["measured"]["roles"][name]["follows_ms"]
        lines.append(
            f"{name:10}{role['sides_per_s']:>12,}{role['active']:>8}{role['checked']:>9,}{role['hashes']:>8,}"
            f"{role['hash_blocks']:>8,}{role['sent_bytes_chief']:>11,}{role['stored_bytes']:>9,}"
            f"{role['branch_sent_bytes']:>17,}{here:>10,}{role['pi_zero_ms']:>12,}"
        )
    lines += [
        "",
        "here: follows from a check and a block measured now; Pi Zero: at least, and estimated (docs/paper.md)",
        "",
    ]
    for each in value["claims"]:
        lines.append(f"{each['role']}: {each['paper']} -> {each['here']}")
    return value, lines, 0
