"""What it takes a member that was away to catch up: time, bytes on the wire, memory; step by step, and in one jump.

The founder's chain goes on in virtual time while both are stopped; then both start, on this machine, and all that goes
between them goes through a relay, which counts. Each pulse that is missed has 4 payments; the page has 200 accounts.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from tests.live.away import Return, absence
from tests.live.harness import running

ACCOUNTS = 200
PULSES = (60, 150, 1_000, 10_000)


def rows() -> tuple[float, int, list[Return]]:
    """Seconds until a member's node answers that has missed nothing, its memory then, and each return."""
    with (
        tempfile.TemporaryDirectory(prefix="leither-bench-", dir=".") as folder,
        absence(Path(folder), ACCOUNTS) as absent,
    ):
        absent.network.nodes[1].stop()
        begun_s = time.monotonic()
        with running(absent.network.folders[1]) as node:
            alone_s = time.monotonic() - begun_s
            memory_kb = int(node.status()["memory_kb"]["anonymous"])
        absent.network.restart(1, listens=False)
        return alone_s, memory_kb, [absent.after(pulses) for pulses in PULSES]


if __name__ == "__main__":
    os.chdir(Path(__file__).parent.parent)
    alone, memory, returns = rows()
    print(f"a start to the first answer, with nothing missed: {alone:.2f} s, {memory} KB anonymous")
    print(f"{'pulses away':>12} {'start to caught up':>19} {'bytes received':>15} {'anonymous memory':>17}")
    for each in returns:
        print(f"{each.pulses:>12,} {each.seconds:>17.2f} s {each.wire_bytes:>15,} {each.memory_kb:>14,} KB")
