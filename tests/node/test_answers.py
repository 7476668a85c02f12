"""Answers go to whom they are for: what nodes in several groups ask each other, asked by others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.header import Header
from leither_lite.ledger.operations import from_value
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.settling import Reclaim, Settle
from leither_lite.ledger.signed import Status
from leither_lite.node import answers, frames
from leither_lite.node.frames import kind_of
from leither_lite.sim.signatures import checked_once
from tests.node.asking import asks_of, sealed_of, wrong
from tests.node.outside import BESIDE, STRANGERS, Outside, outside

SETTLE = b"\x82\x01\x83\x09"
SHOWN = (SETTLE, b"\x82\x01\x84\x0f")
"""What settles receipts begins so: in time, or late."""
"""How a frame begins that shows receipts to the payee's group."""


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
    """It is answered with the pages above that child to those under them, and with the root's at most to others."""
    target = asked.members[1]
    floors = dict.fromkeys(("of a sibling", "from afar", "stranger"), 0)
    for content in [each for each in asked.overheard if kind_of(each) == frames.CHILD]:
        for name in floors:
            for told in asked.ask(target, asked.askers[name], content):
                assert wrong(content, told, asked.askers[name]) == ""
                floors[name] = max(floors[name], len(codec.items(frames.values_of(told)[4], 32, "bad_branch")))
    assert floors["of a sibling"] == 2
    assert max(floors["from afar"], floors["stranger"]) <= 1


def test_what_became_of_a_receipt(asked: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who shows that a receipt waits in its group is answered, and is shown another that stands beside it in the set;
    who asks for what does not wait there, or only names it, is not."""
    monkeypatch.setattr(answers, "RECEIPT_TICKS_MAX", -1)  # as if all were too late to be settled
    groups, target = asked.groups, asked.members[0]
    kept = asked.node(target).group.settled
    [*settled] = [receipt for item, _ in kept.tree.leaves() if (found := kept.get(item)) for receipt in found[:1]]
    before = groups.passes
    groups.passes = lambda source, peer, content: content[:4] not in SHOWN and before(source, peer, content)
    payer = next(index for index, node in enumerate(groups.nodes) if not node.group.holds(groups.keys[target].account))
    heard = set(asked.overheard)
    groups.pay(payer, target, 3)
    both = groups.keys[payer].account, groups.keys[target].account
    new: list[bytes] = []

    def is_asked() -> bool:
        asks = [each for each in asked.overheard if each not in heard and kind_of(each) == frames.ASK_RECEIPTS]
        new[:] = [each for each in asks if all(account in each for account in both)]
        node = asked.node(target)
        is_able = node.books.proposed is None and node.between.courier.answers.shown() is not None
        return bool(new) and is_able and node.between.trunk.pulse >= groups.nodes[payer].between.trunk.pulse

    groups.until(is_asked)
    shown, state, [[waits, pulse, steps]] = next(asks_of(new))
    [told] = asked.ask(target, groups.keys[payer], new[0])
    operation = from_value(frames.values_of(told)[1])
    assert isinstance(operation, Reclaim)
    [(item, other, _)] = operation.absent
    assert item == Receipt.take(waits, "bad").id
    assert other is not None
    assert other.receipt in settled
    stranger = asked.askers["stranger"]
    ways: list[Any] = [steps, []]
    for receipt in settled:
        assert asked.ask(target, stranger, encode([frames.ASK_RECEIPTS, [receipt.id]])) == []
        for way in ways:
            assert asked.ask(target, stranger, encode([31, shown, state, [[receipt.value(), pulse, way]]])) == []
    for first in range(256):
        assert asked.ask(target, stranger, encode([frames.ASK_RECEIPTS, [bytes([first]) + bytes(19)]])) == []
    groups.passes = before
    groups.until(groups.is_at_rest)


def test_who_says_to_keep_the_books(asked: Outside) -> None:
    """Receipts go to whom those have named that were asked, and not to a stranger who says that it is for him."""
    groups, stranger = asked.groups, asked.askers["stranger"]
    target = next(index for index in asked.members if asked.node(index).books.is_on_roster)
    finder, before = asked.node(target).between.courier._finder, groups.passes

    def passes(source: int, peer: bytes, content: bytes) -> bool:
        return kind_of(content) != frames.FOUND and content[:4] not in SHOWN and before(source, peer, content)

    groups.passes = passes
    finder._found.clear()
    payee = asked.askers["from afar"].account
    groups.pay(target, [key.account for key in groups.keys].index(payee), 3)
    groups.until(lambda: payee in finder._searches)
    assert bytes([0x18, frames.FIND]) not in {content[1:3] for content in asked.unasked}
    for bits in (0, 1, 2, 3, 160):
        prefix = (int.from_bytes(payee, "big") >> 160 - bits << 160 - bits).to_bytes(20, "big")
        for level in (1, 2):
            question = encode([frames.FOUND, payee, level, bits, prefix, [[stranger.public, "here:1"]]])
            assert asked.ask(target, stranger, question) == []
    assert payee in finder._searches
    assert stranger.public not in {key for each in finder._found.values() for key in each.keys}
    groups.passes = before
    groups.until(groups.is_at_rest)


def test_what_is_shown_under_no_root_header(asked: Outside) -> None:
    """Anybody can make a root header: what strangers show under one that nobody has sealed waits nowhere."""
    target, made = asked.members[0], 0
    for content in [each for each in asked.overheard if each[:4] == SETTLE]:
        operation = from_value(frames.values_of(content)[1])
        assert isinstance(operation, Settle)
        root = replace(Header.decode(operation.shown.root), previous=bytes(32)).encode()
        forged = Settle(replace(operation.shown, root=root), operation.receipts)
        assert forged.check_signatures(asked.node(target).network) is Status.OK
        before = len(asked.node(target).books.pool)
        for name in STRANGERS:
            assert asked.ask(target, asked.askers[name], frames.operation_frame(forged.encode())) == []
        assert len(asked.node(target).books.pool) == before
        made += 1
    assert made
