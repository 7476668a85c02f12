"""Virtual time: what happens next, in whole milliseconds, and in the order in which it was planned.

Never reads a clock: time passes only from one planned thing to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush


class Agenda:
    """What is planned."""

    def __init__(self) -> None:
        self.now_ms = 0
        self._planned: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Plan an action so many milliseconds from now; of two at the same moment the earlier planned comes first."""
        self._count += 1
        heappush(self._planned, (self.now_ms + delay_ms, self._count, action))

    def step(self) -> bool:
        """Do what comes next; False if nothing is planned."""
        if not self._planned:
            return False
        self.now_ms, _, action = heappop(self._planned)
        action()
        return True
