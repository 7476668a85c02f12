"""Counting ticks without a wall clock (docs/protocol.md, section 1).

Decides what this node takes for the present tick, and which ticks of others it believes. A node that has run since the
term began has a count of its own; one that has started again takes the median of its committee; where nobody has a
count, time goes on from the last header's tick. Never reads a clock: `now_ms` is an argument.
"""

from __future__ import annotations

from typing import Final

from leither_lite.header import Header

TICKS_APART_MAX: Final = 5
PERCENT: Final = 100


class Clock:
    """Ticks of `pulse_ms` each, from a base that was true at some moment of the machine's own clock."""

    def __init__(self, pulse_ms: int, header: Header, now_ms: int, tick: int | None, counts: bool) -> None:
        """`header`: the last one. `tick`: the count that this process has kept, if it has one. `counts`: whether the
        node may rely on itself without asking others."""
        self.pulse_ms = pulse_ms
        self.counts = counts or tick is not None
        self._base_tick = max(header.tick, tick or 0)
        self._base_ms = now_ms
        self._floor = header.tick
        self._term = header.term
        self._told: dict[bytes, tuple[int, int, int]] = {}  # by key: tick, whether it was a count, when

    def tick(self, now_ms: int) -> int:
        """The present tick; never below the last header's."""
        return max(self._base_tick + (now_ms - self._base_ms) // self.pulse_ms, self._floor)

    def accepts(self, tick: int, now_ms: int, round_: int = 0) -> bool:
        """True if a header proposed now may have this tick: within 5 ticks and 1 % of the own count, not falling.

        Each round that has gone by without a decision allows a tick more: members whose counts have come apart, half
        and half, would never agree again.
        """
        passed = (now_ms - self._base_ms) // self.pulse_ms
        apart = abs(tick - self.tick(now_ms))
        return tick >= self._floor and (not self.counts or apart <= TICKS_APART_MAX + passed // PERCENT + round_)

    def follow(self, header: Header, now_ms: int) -> None:
        """A header has been sealed: no tick is below its own; with a new term the count begins anew from it."""
        self._floor = max(self._floor, header.tick)
        if header.term != self._term:
            self._term = header.term
            self._base_tick, self._base_ms = header.tick, now_ms

    def told(self, key: bytes, tick: int, is_count: bool, now_ms: int, roster: tuple[bytes, ...], needed: int) -> None:
        """A member of the roster has told its count. Once `needed` have, a node without one takes their median."""
        if self.counts:
            return
        self._told[key] = (tick, int(is_count), now_ms)
        told = [self._told[each] for each in roster if each in self._told]
        counted = [each for each in told if each[1]]
        for voices in (counted, told):
            if len(voices) >= needed:
                ticks = sorted(each[0] + (now_ms - each[2]) // self.pulse_ms for each in voices)
                self._base_tick, self._base_ms = ticks[(len(ticks) - 1) // 2], now_ms
                self.counts = True
                self._told = {}
                return
