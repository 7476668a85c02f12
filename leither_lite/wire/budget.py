"""What one peer may ask of us in a while: messages, bytes, work (docs/protocol.md, section 9).

Decides how long a peer waits before it is read again, and when it has gone too far. Whole numbers only; the time is
always handed in, and a clock that goes back is taken to stand still.
"""

from __future__ import annotations

_MS_PER_S = 1_000


class _Bucket:
    """Credit of one kind, in thousandths of a unit; below zero it is debt."""

    __slots__ = ("level", "most", "rate")

    def __init__(self, rate: int, burst_s: int) -> None:
        if rate < 1 or burst_s < 1:
            raise ValueError("rates and bursts are at least 1")
        self.rate = rate
        self.most = rate * burst_s * _MS_PER_S
        self.level = self.most

    def pay(self, passed_ms: int, units: int) -> int:
        """Add what time has brought, take `units` out; in how many milliseconds the debt, if any, will be paid."""
        self.level = min(self.most, self.level + passed_ms * self.rate) - units * _MS_PER_S
        return max(0, -(self.level // self.rate))


class Budget:
    """The budget of one peer, full at the start: `burst_s` seconds' worth of each kind.

    `messages_s`, `bytes_s`, `work_s`: what a second brings, at least 1 each. A unit of work is one signature check.
    """

    __slots__ = ("_buckets", "_now_ms")

    def __init__(self, messages_s: int, bytes_s: int, work_s: int, burst_s: int, now_ms: int) -> None:
        self._buckets = tuple(_Bucket(rate, burst_s) for rate in (messages_s, bytes_s, work_s))
        self._now_ms = now_ms

    def charge(self, now_ms: int, messages: int = 0, content_bytes: int = 0, work: int = 0) -> int:
        """Take from the budget; how many milliseconds the peer must wait before it is read again, 0 within budget."""
        passed_ms = max(0, now_ms - self._now_ms)
        self._now_ms = max(now_ms, self._now_ms)
        amounts = (messages, content_bytes, work)
        return max(bucket.pay(passed_ms, units) for bucket, units in zip(self._buckets, amounts, strict=True))

    def is_over(self, now_ms: int) -> bool:
        """True if the debt of a kind is more than another `burst_s` seconds bring: who does that is dropped."""
        self.charge(now_ms)
        return any(bucket.level < -bucket.most for bucket in self._buckets)
