"""What goes wrong in a simulated world: which kinds, how often, and a count of each.

Decides nothing by itself: who lets something happen asks here whether it does. Faults end when the world is healed,
but for clocks that drift: they go on as they are.
"""

from __future__ import annotations

from random import Random
from typing import Final

from leither_lite.errors import LocalError

KINDS: Final = ("loss", "delay", "duplicate", "partition", "crash", "torn", "drift")

LOSS_PER_10_000: Final = 500
DUPLICATE_PER_10_000: Final = 500
TORN_PER_10_000: Final = 40
DELAY_MS: Final = (5, 40)
DELAY_MS_FAULTY: Final = (5, 400)
CRASH_EVERY_MS: Final = (2_000, 240_000)
"""Of each machine."""
DOWN_MS: Final = (500, 20_000)
DOWN_MS_LONG: Final = (100_000, 500_000)
"""Once in a while: long enough to be far behind."""
LONG_PER_10_000: Final = 250
PARTITION_EVERY_MS: Final = (5_000, 100_000)
PARTITION_MS: Final = (1_000, 15_000)
DRIFT_PER_10_000: Final = 30
DRIFT_PER_10_000_MAX: Final = 300


def kinds_of(text: str) -> tuple[str, ...]:
    """The kinds in a list with commas, "all" or "none", in their own order. Raises LocalError("usage")."""
    if text in ("all", "none"):
        return KINDS if text == "all" else ()
    named = text.split(",")
    for name in named:
        if name not in KINDS:
            raise LocalError("usage", f"no kind of fault: {name[:40]!a}; there are {', '.join(KINDS)}, all, none")
    return tuple(kind for kind in KINDS if kind in named)


class Faults:
    """The faults of one world."""

    def __init__(self, kinds: tuple[str, ...], random: Random) -> None:
        self._kinds = kinds
        self.random = random
        self.counts = dict.fromkeys(kinds, 0)
        self.healed = False

    def may(self, kind: str) -> bool:
        """True while faults of this kind happen."""
        return kind in self._kinds and not self.healed

    def happens(self, kind: str, per_10_000: int) -> bool:
        """True if a fault happens now; then it is counted."""
        if not self.may(kind) or self.random.randrange(10_000) >= per_10_000:
            return False
        self.counts[kind] += 1
        return True

    def between(self, bounds: tuple[int, int]) -> int:
        """A number from the first to the second."""
        return self.random.randint(*bounds)

    def delay_ms(self) -> int:
        """How long a frame is on its way."""
        if not self.may("delay"):
            return self.between(DELAY_MS)
        self.counts["delay"] += 1
        # Most are quick, and some are not: so that they overtake each other.
        return self.between(DELAY_MS if self.random.randrange(3) else DELAY_MS_FAULTY)

    def down_ms(self) -> int:
        """How long a machine stays down."""
        return self.between(DOWN_MS_LONG if self.random.randrange(10_000) < LONG_PER_10_000 else DOWN_MS)

    def drift(self) -> int:
        """By how many parts in 10,000 a machine's clock is fast."""
        if not self.may("drift"):
            return 0
        self.counts["drift"] += 1
        if not self.random.randrange(12):
            return self.random.choice((-DRIFT_PER_10_000_MAX, DRIFT_PER_10_000_MAX))
        return self.random.randint(-DRIFT_PER_10_000, DRIFT_PER_10_000)
