"""What the paper claims of each role, beside the figures of a walk (docs/paper.md).

Decides only how the two are put side by side.
"""

from __future__ import annotations

from typing import Any, Final

QUIET_BYTES: Final = {"sub-database": 2_392_064, "database": 577_870_848}
"""Measured by tools/bench (docs/bench.md, the archive): 65,536 and 16,777,216 quiet accounts."""
PAPER_SYNOPSIS_BYTES: Final = 28
NEIGHBORS_BYTES: Final = 30 * 16 * 2 * PAPER_SYNOPSIS_BYTES
"""30*16*2*28: the paper writes 7.5KB."""
COMMITTEE_WAYS: Final = 4
"""Proposal, prevotes, precommits, seals."""


def claims(value: dict[str, Any]) -> list[dict[str, str]]:
    """Each claim with its role, what the paper says, and what was found."""
    roles, levels = value["roles"], value["levels"]
    root, third, second, branch = roles["root"], roles["level 3"], roles["level 2"], roles["branch"]
    edges = levels - 1
    told = [
        (
            "all",
            f"2^32 = {2**32:,} accounts",
            f"at most {value['accounts']:,} in {levels} levels: a page has room for "
            f"{value['accounts'] // value['groups']['level 1']}, and splits before",
        ),
        (
            "all",
            "a node group takes 10 KB",
            f"at most {max(value['summary_bytes'], value['page_bytes_counted']):,} bytes",
        ),
        ("all", "the top-level summary is less than 10 KB", f"{value['summary_bytes']:,} bytes"),
        (
            "root",
            "512 synopses, about 10 KB of data",
            f"{root['hashes']:,} hashes, {root['checked']:,} signatures, a body of {root['body_bytes']:,} bytes",
        ),
        (
            "level 3",
            "as the root's",
            f"{third['hashes']:,} hashes, {third['checked']:,} signatures, a body of {third['body_bytes']:,} bytes",
        ),
        (
            "level 2",
            "a branch sees 30 transactions a second",
            f"{second['sides_per_s']:,} sides a second; {second['active']} of its children seal in a pulse, "
            f"{second['checked']:,} signatures, {second['hashes']:,} hashes",
        ),
        (
            "branch",
            "30 transactions: 96 synopses, 7 KB of data",
            f"{branch['hashes']:,} hashes, {branch['checked']:,} signatures, a body of {branch['body_bytes']:,} bytes",
        ),
        ("branch", "30*16*2*28 byte = 7.5KB read for neighbors", f"the product is {NEIGHBORS_BYTES:,} bytes"),
        (
            "root",
            "10 KB to each of 256 miners: 2.5 MB/s",
            f"{root['branch_bytes']:,} bytes to 256: {256 * root['branch_bytes']:,}; nobody tells so many",
        ),
        (
            "root",
            "16 wide: 160 KB/s",
            f"{root['branch_sent_bytes']:,} bytes a pulse, to 16 and the others of the committee",
        ),
        (
            "root",
            "3 broadcasts from top to bottom, 5 where 16 wide",
            f"{edges + 1} from the root to all members, {2 * (edges + 1)} where 16 wide",
        ),
        (
            "all",
            "most operations take less than 10 hops",
            f"{1 + 2 * edges} between groups until a payment is final, {1 + 2 * edges} more until it is settled "
            f"elsewhere; within committees {COMMITTEE_WAYS} ways at each of {levels} levels a pulse",
        ),
        (
            "all",
            "less than 2 pulse cycles",
            f"{value['pulses_until_settled']} until a payment to another group is settled",
        ),
        ("branch", "a sub-database takes 2.5 MB", f"{QUIET_BYTES['sub-database']:,} bytes (docs/bench.md)"),
        ("branch", "a database takes 640 MB", f"{QUIET_BYTES['database']:,} bytes (docs/bench.md)"),
    ]
    return [{"role": role, "paper": paper, "here": here} for role, paper, here in told]
