"""The state of a group that is not the root, as one of its nodes gives it to a newcomer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leither_lite.codec import encode
from leither_lite.effects import Effects
from leither_lite.ledger.body import Body
from leither_lite.node import frames
from leither_lite.sim.signatures import checked_once
from tests.node.groups import grown


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Each signature is checked once."""
    with checked_once():
        yield


def test_a_header_that_is_not_on_the_disk_yet_is_not_given() -> None:
    """Who asks in the very turn in which the group seals hears that it is not here, and the node goes on."""
    world = grown()
    payer, payee = world.apart()
    node = world.nodes[payer]
    asker = next(key for key in node.peers.connected)
    sealed = node.books.on_body
    told: list[list[tuple[bytes, bytes]]] = []

    def ask(effects: Effects) -> list[tuple[bytes, bytes]]:
        node.catchup.giving.state(effects, [frames.WANT_STATE, b"", 0], asker)
        return effects.sends

    def on_body(effects: Effects, body: Body) -> None:
        told.append(ask(Effects()))
        sealed(effects, body)

    node.books.on_body = on_body
    world.pay(payer, payee, 1)
    world.until(lambda: bool(told))
    assert told == [[(asker, encode([frames.NOT_HERE, 0]))]]
    world.until(world.is_at_rest)
    assert [frames.kind_of(content) for _, content in ask(Effects())] == [frames.STATE]
