"""Counting ticks without a wall clock (docs/protocol.md, section 1).

Decides what this node takes for the present tick, and which ticks of others it believes. A node that has run since the
term began has a count of its own; one that has started again takes the median of its committee; where nobody has a
count, time goes on from the last header's tick. Never reads a clock: `now_ms` is an argument.
"""

from __future__ import annotations

from typing import Final

from leither_lite.header import Header

TICKS_APART_MAX: Final = 5
NEAR_TICKS: Final = 3
"""What agreement takes at most, as a rule: a header is so much older than its seal."""
PERCENT: Final = 100
ROUNDS_DOUBLED_MAX: Final = 40
UNCOUNTED_ROUNDS: Final = 16
"""Without a count a node takes ticks within 18 hours; only where it was away for longer, rounds must go by."""
ALONE_TICKS: Final = 30


class Clock:
    """Ticks of `pulse_ms` each, from a base that was true at some moment of the machine's own clock."""

    def __init__(
        self, pulse_ms: int, header: Header, now_ms: int, tick: int | None, counts: bool, since_ms: int | None = None
    ) -> None:
        """`header`: the last one. `tick`: the count that this process has kept, if it has one, and `since_ms` when that
        tick began. `counts`: whether the node may rely on itself without asking others."""
        self.pulse_ms = pulse_ms
        self._counts = counts or tick is not None
        self._started_ms = now_ms
        self._base_tick = max(header.tick, tick or 0)
        self._base_ms = now_ms if since_ms is None else since_ms
        self._floor = header.tick
        self._term = header.term
        self._told: dict[bytes, tuple[int, int, int]] = {}  # by key: tick, whether it was a count, when

    @property
    def counts(self) -> bool:
        """True if the count is this node's own: kept since the term began, or taken from its committee."""
        return self._counts

    def settle(self, now_ms: int) -> None:
        """Where too few have told theirs for so long: go on from those that count, if any do, else from the last
        header."""
        if not self._counts and (now_ms - self._started_ms) // self.pulse_ms >= ALONE_TICKS:
            self._take([each for each in self._told.values() if each[1]], now_ms)

    def since_ms(self, now_ms: int) -> int:
        """When the present tick began."""
        return self._base_ms + (self.tick(now_ms) - self._base_tick) * self.pulse_ms

    def tick(self, now_ms: int) -> int:
        """The present tick; never below the last header's."""
        return max(self._base_tick + (now_ms - self._base_ms) // self.pulse_ms, self._floor)

    def accepts(self, tick: int, now_ms: int, round_: int = 0) -> bool:
        """True if a header proposed now may have this tick: within 5 ticks and 1 % of the own count, not falling.

        Each round that has gone by without a decision doubles what is allowed beyond that: members whose counts have
        come apart would never agree again.
        """
        rounds = round_ if self._counts else round_ + UNCOUNTED_ROUNDS
        more = (1 << min(rounds, ROUNDS_DOUBLED_MAX)) - 1
        return tick >= self._floor and self._apart(tick, now_ms) <= self._allowed(now_ms) + more

    def _apart(self, tick: int, now_ms: int) -> int:
        return abs(tick - self.tick(now_ms))

    def _allowed(self, now_ms: int) -> int:
        return TICKS_APART_MAX + (now_ms - self._base_ms) // self.pulse_ms // PERCENT

    def follow(self, header: Header, now_ms: int) -> None:
        """A header has been sealed: no tick is below its own. With a new term of the own level-1 group the count begins
        anew: from itself, where the header's tick was just now, else from that. And so it does where a quorum has
        taken what is beyond the bound here: then this count is the one that is wrong."""
        own = self.tick(now_ms)
        if self._counts and self._apart(header.tick, now_ms) > self._allowed(now_ms):
            self._base_tick, self._base_ms = header.tick, now_ms
        elif header.level == 1 and header.term != self._term:
            is_near = self._counts and 0 <= own - header.tick <= NEAR_TICKS
            self._base_ms = self.since_ms(now_ms) if is_near else now_ms
            self._base_tick = own if is_near else header.tick
        if header.level == 1:
            self._term = header.term
        self._floor = max(self._floor, header.tick)

    def told(self, key: bytes, tick: int, is_count: bool, now_ms: int, roster: tuple[bytes, ...], liars: int) -> None:
        """A member of the roster has told its count. Once so many have that liars alone cannot set it, a node without
        one takes the median: of those that count themselves where one more than can lie does, else of all."""
        if self._counts:
            return
        self._told[key] = (tick, int(is_count), now_ms)
        told = [self._told[each] for each in roster if each in self._told]
        if len(told) < 2 * liars + 1:
            return
        counted = [each for each in told if each[1]]
        self._take(counted if len(counted) > liars else told, now_ms)

    def _take(self, voices: list[tuple[int, int, int]], now_ms: int) -> None:
        """Count from the median of what was told, from now on."""
        ticks = sorted(each[0] + (now_ms - each[2]) // self.pulse_ms for each in voices)
        if ticks:
            self._base_tick, self._base_ms = ticks[(len(ticks) - 1) // 2], now_ms
        self._counts = True
        self._told = {}
