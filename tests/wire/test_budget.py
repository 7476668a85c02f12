"""Budgets: what a peer may ask in a while, to the millisecond."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from leither_lite.wire.budget import Budget


def test_a_burst_is_free() -> None:
    """The first seconds' worth at once, then no more."""
    budget = Budget(10, 1_000, 5, 2, now_ms=7)
    assert budget.charge(7, messages=20, content_bytes=2_000, work=10) == 0
    assert budget.charge(7, messages=1) == 100
    assert not budget.is_over(7)


@pytest.mark.parametrize(
    ("kind", "amount", "wait_ms"),
    [("messages", 21, 100), ("content_bytes", 2_001, 1), ("content_bytes", 3_000, 1_000), ("work", 11, 200)],
)
def test_the_wait_is_what_the_debt_takes(kind: str, amount: int, wait_ms: int) -> None:
    """And after just that it is paid."""
    budget = Budget(10, 1_000, 5, 2, now_ms=0)
    assert budget.charge(0, **{kind: amount}) == wait_ms
    assert budget.charge(wait_ms - 1) == 1
    assert budget.charge(wait_ms) == 0


def test_the_longest_wait_counts() -> None:
    """Of the three kinds."""
    budget = Budget(10, 1_000, 5, 1, now_ms=0)
    assert budget.charge(0, messages=11, content_bytes=1_500, work=6) == 500


@pytest.mark.parametrize("kind", ["messages", "content_bytes", "work"])
def test_too_much_debt(kind: str) -> None:
    """More than another burst: over; time brings it back."""
    budget = Budget(10, 10, 10, 3, now_ms=0)
    budget.charge(0, **{kind: 60})
    assert not budget.is_over(0)
    budget.charge(0, **{kind: 1})
    assert budget.is_over(0)
    assert not budget.is_over(100)


def test_credit_does_not_pile_up() -> None:
    """A year of silence is worth one burst."""
    budget = Budget(10, 1_000, 5, 2, now_ms=0)
    assert budget.charge(365 * 86_400_000, messages=20) == 0
    assert budget.charge(365 * 86_400_000, messages=1) == 100


def test_a_clock_that_goes_back_stands_still() -> None:
    """No credit for it, and none twice when it comes forward again."""
    budget = Budget(10, 10, 10, 1, now_ms=1_000)
    assert budget.charge(1_000, messages=20) == 1_000
    assert budget.charge(0) == 1_000
    assert budget.charge(1_000) == 1_000
    assert budget.charge(1_500) == 500


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 30)), max_size=30))
def test_who_waits_never_goes_over_and_gets_the_rate(steps: list[tuple[int, int]]) -> None:
    """A peer that waits as told passes the rate and the burst at most, and is never far in debt with small steps."""
    budget = Budget(20, 1, 1, 3, now_ms=0)
    now_ms = passed = 0
    for pause_ms, messages in steps:
        now_ms += pause_ms
        wait_ms = budget.charge(now_ms, messages=messages)
        assert not budget.is_over(now_ms)
        now_ms += wait_ms
        passed += messages
        assert passed * 1_000 <= 20 * (now_ms + 3_000)


@pytest.mark.parametrize("rates", [(0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 0, 1), (1, 1, 1, 0)])
def test_budgets_that_would_never_be_paid(rates: tuple[int, int, int, int]) -> None:
    """Are our own fault."""
    with pytest.raises(ValueError, match="at least 1"):
        Budget(*rates, 0)
