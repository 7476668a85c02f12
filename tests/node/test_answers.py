"""Answers go to whom they are for: what nodes in several groups ask each other, asked by others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leither_lite.codec import encode
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.node import frames
from leither_lite.node.frames import kind_of
from leither_lite.sim.signatures import checked_once
from tests.node.asking import sealed_of
from tests.node.outside import BESIDE, Outside, outside


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Each signature is checked once."""
    with checked_once():
        yield


@pytest.fixture(scope="module")
def asked() -> Outside:
    """A network of three levels."""
    return outside()


@pytest.mark.parametrize("name", BESIDE)
def test_what_came_after_a_split(asked: Outside, name: str) -> None:
    """Who was of the group before it was split may have what was sealed until then, and nothing later."""
    target = asked.members[0]
    bits = asked.node(target).group.bits
    seen = {pulse: sealed.header.bits for pulse, sealed in sealed_of(asked.node(target).reader).items() if pulse}
    assert {bits} < set(seen.values())
    for pulse, of in seen.items():
        [told] = asked.ask(target, asked.askers[name], encode([frames.WANT_PULSE, pulse]))
        if of == bits:
            assert kind_of(told) == frames.NOT_HERE
        else:
            content = frames.values_of(told)[1]
            assert isinstance(content, bytes)
            assert SealedPulse.decode(content).header.bits == of
    first = min(pulse for pulse, of in seen.items() if of == bits)
    last = max(pulse for pulse, of in seen.items() if of < bits)
    for pulse in range(last + 1, first):
        [told] = asked.ask(target, asked.askers[name], encode([frames.WANT_PULSE, pulse]))
        assert kind_of(told) == frames.NOT_HERE


def test_who_tells_of_a_child_that_is_in(asked: Outside) -> None:
    """It is answered with the pages above that child to those under them, and with nothing to others."""
    target = asked.members[1]
    told = {name: set[int]() for name in ("of a sibling", "from afar", "stranger")}
    for content in asked.overheard:
        if kind_of(content) == frames.CHILD:
            for name, kinds in told.items():
                kinds.update(map(kind_of, asked.ask(target, asked.askers[name], content)))
    assert told == {"of a sibling": {frames.BRANCH}, "from afar": set(), "stranger": set()}
