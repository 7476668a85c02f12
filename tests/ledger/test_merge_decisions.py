"""How long an offer to be merged waits for the buddy's."""

from __future__ import annotations

from typing import Any

import pytest

from leither_lite.ledger.judge_children import BUDDY_TICKS, KEPT_TICKS, judge_decision
from leither_lite.ledger.state import MERGE, Offer
from leither_lite.ledger.upper_operations import KEPT, Decision
from tests.ledger.forest import Forest
from tests.ledger.pair import LEFT, RIGHT, two_groups
from tests.ledger.test_upper_decisions import NOWHERE, parent_of, third


@pytest.fixture(name="forest")
def _forest() -> Forest:
    return two_groups()


@pytest.mark.parametrize(
    ("later", "ticks", "changes", "expected"),
    [
        (1, BUDDY_TICKS, {}, ""),
        (1, BUDDY_TICKS - 1, {}, "too_early"),
        (0, BUDDY_TICKS, {}, "too_early"),
        (1, BUDDY_TICKS, {"offer": Offer(MERGE)}, "too_early"),
        (1, BUDDY_TICKS, {"called": 5}, "too_early"),
        (0, KEPT_TICKS, {}, ""),
    ],
)
def test_a_buddy_that_goes_on(forest: Forest, later: int, ticks: int, changes: dict[str, Any], expected: str) -> None:
    """An offer to be merged waits for the buddy's while that has sealed nothing else, or was called for it."""
    parent = parent_of(forest, offer=Offer(MERGE), offered=1_000 - ticks)
    left, right = parent.children[LEFT], parent.children[RIGHT]
    buddy = right._replace(pulse=left.pulse + later, **changes)
    both = parent._replace(children={LEFT: left, RIGHT: buddy})
    assert judge_decision(third(both), Decision(LEFT, KEPT)) == expected
    assert judge_decision(both, Decision(LEFT, KEPT)) == "", "two children are never merged"
    elsewhere = {**third(both).children, NOWHERE: buddy._replace(prefix=NOWHERE[0], bits=NOWHERE[1])}
    del elsewhere[RIGHT]
    assert judge_decision(parent._replace(children=elsewhere), Decision(LEFT, KEPT)) == ""
