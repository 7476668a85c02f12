"""Waits between attempts: they double, differ, and can be repeated."""

from __future__ import annotations

from hypothesis import given, strategies as st

from leither_lite.wire.backoff import Backoff

STEPS_MS = (500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000)


@given(st.integers())
def test_each_wait_is_within_its_step(seed: int) -> None:
    """From half of it to all of it."""
    backoff = Backoff(seed)
    for step_ms in STEPS_MS:
        assert step_ms // 2 <= backoff.next_ms() <= step_ms


def test_a_seed_is_a_run() -> None:
    """The same again; neighbours differ."""
    runs = [[Backoff(seed).next_ms() for _ in range(3)] for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]
    backoff = Backoff(1)
    assert len({backoff.next_ms() for _ in range(40)}) > 30


def test_many_seeds_spread_over_the_step() -> None:
    """Nodes cut off at one moment do not come back at one moment."""
    waits = [Backoff(seed).next_ms() for seed in range(1_000)]
    for low in range(250, 500, 50):
        assert 120 < sum(low <= wait < low + 50 for wait in waits) < 280


def test_reset() -> None:
    """Back to the first step."""
    backoff = Backoff(3)
    for _ in range(9):
        backoff.next_ms()
    backoff.reset()
    assert 250 <= backoff.next_ms() <= 500
    assert 500 <= backoff.next_ms() <= 1_000
