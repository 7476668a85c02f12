"""How long to wait before trying again: doubling with jitter (docs/protocol.md, section 9).

Decides from a seed alone, so that a run can be repeated. Never sleeps and knows no clock.
"""

from __future__ import annotations

from typing import Final

FIRST_MS: Final = 500
LAST_MS: Final = 60_000

_MASK: Final = 2**64 - 1
_ODD: Final = 0x9E3779B97F4A7C15


class Backoff:
    """Waits of one address: about 500 ms at first, doubling up to about 60,000 ms.

    Each is drawn evenly from the upper half of its step: 250 to 500, 500 to 1,000, ..., 30,000 to 60,000. Whoever was
    cut off at the same moment so comes back at different ones.
    """

    __slots__ = ("_state", "_step_ms")

    def __init__(self, seed: int) -> None:
        """`seed`: any integer; its lowest 64 bits count."""
        # Neighbouring seeds go apart, and none leads to zero, which xorshift never leaves.
        self._state = ((seed & _MASK) * _ODD + 1) & _MASK or _ODD
        self._step_ms = FIRST_MS

    def next_ms(self) -> int:
        """The wait before the next attempt, in milliseconds."""
        half = self._step_ms // 2
        wait_ms = self._step_ms - self._draw() % (half + 1)
        self._step_ms = min(LAST_MS, 2 * self._step_ms)
        return wait_ms

    def reset(self) -> None:
        """It has gone well: the next wait is a first one."""
        self._step_ms = FIRST_MS

    def _draw(self) -> int:
        """The next number of xorshift64* (Marsaglia 2003, Vigna 2016), its upper 32 bits."""
        state = self._state
        state ^= state >> 12
        state = (state ^ state << 25) & _MASK
        state ^= state >> 27
        self._state = state
        return (state * 0x2545F4914F6CDD1D & _MASK) >> 32
