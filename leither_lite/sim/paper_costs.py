"""What one operation costs: measured here, and on a Pi Zero as far as can be told without one (docs/paper.md).

Decides nothing. The Pi Zero's figures are lower bounds: instructions of Debian 12's armel libsodium 1.0.18, counted in
an emulated ARM1176, one cycle each, and two more for each long multiplication (ARM DDI 0301H, table 16-10), at 1 GHz.
Waits for memory come on top.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from statistics import median
from time import perf_counter_ns
from typing import Final, NamedTuple

from leither_lite.identity import person, verify
from leither_lite.sim.founding import key_of

ROUNDS: Final = 15
LOOPS: Final = 20


class Costs(NamedTuple):
    """Nanoseconds of one signature check, and of one block of BLAKE2b."""

    check_ns: int
    block_ns: int

    def follows_ms(self, checked: int, blocks: int) -> float:
        """The time that follows for so many."""
        return round((checked * self.check_ns + blocks * self.block_ns) / 1e6, 1)


PI_ZERO: Final = Costs(1_511_640 + 2 * (205_335 + 30_440), 7_170)


def _median_ns(does: Callable[[], object]) -> int:
    spent = []
    for _ in range(ROUNDS):
        start_ns = perf_counter_ns()
        for _ in range(LOOPS):
            does()
        spent.append((perf_counter_ns() - start_ns) // LOOPS)
    return int(median(spent))


def measured() -> Costs:
    """Of this machine, now."""
    key, message = key_of("costs"), bytes(32)
    signature = key.sign(message)
    prepared, pair = hashlib.blake2b(b"\0", digest_size=20, person=person("branch")), bytes(72)

    def block() -> bytes:
        hasher = prepared.copy()
        hasher.update(pair)
        return hasher.digest()

    return Costs(_median_ns(lambda: verify(key.public, signature, message)), _median_ns(block))
