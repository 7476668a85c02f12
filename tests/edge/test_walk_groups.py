"""The walk through stores of a network of several groups: whole ones have no findings, damage to what only they have is
seen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leither_lite.edge.walk import walk
from leither_lite.ledger import group as ledger
from leither_lite.ledger.records import encode_page
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore
from tests.node.groups import Groups, grown


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Each signature is checked once."""
    with checked_once():
        yield


@pytest.fixture(scope="module")
def stores() -> list[dict[bytes, bytes]]:
    """What the nodes keep, with a payment between two groups under way."""
    with checked_once():
        world = grown()
        for turn in range(6):
            world.pay(turn, turn + 6, 1)
            world.run(2_000)
        payer, payee = world.apart()
        world.pay(payer, payee, 1)
        world.until(lambda: any(True for each in world.nodes for _ in each.reader.scan(*keys.SHOWN)))
        return [content_of(world, index) for index in range(len(world.machines))]


def content_of(world: Groups, index: int) -> dict[bytes, bytes]:
    """All that a machine's store holds."""
    return dict(world.nodes[index].reader.scan(b"", b"\xff" * 30))


def found(content: dict[bytes, bytes]) -> list[str]:
    """Codes of what is wrong."""
    store = MemoryStore()
    store.write(list(content.items()))
    return [finding.code for finding in walk(store, full=True, progress=lambda _: None)]


def test_whole_stores_have_no_findings(stores: list[dict[bytes, bytes]]) -> None:
    kinds = {key[:1] for content in stores for key in content}
    assert kinds >= {b"O", b"d", b"g", b"o", b"r", b"s"}, "what is looked at is there"
    assert [found(content) for content in stores] == [[]] * len(stores)


def test_a_store_that_begins_with_what_others_gave(stores: list[dict[bytes, bytes]]) -> None:
    """Who had the say over the header that it begins with is not in it."""
    content = dict(next(each for each in stores if keys.TIP not in each))
    store = MemoryStore()
    store.write(list(content.items()))
    pulse = ledger.last_pulse(store)
    page = ((account, each.pulse, each.record.encode()) for account, each in ledger.entries_at(store, pulse).items())
    kept = {key: value for key, value in content.items() if key[:1] != b"p" and key not in (keys.ORIGIN, keys.KIN)}
    kept[keys.sealed(pulse)] = content[keys.sealed(pulse)]
    kept[keys.snapshot(pulse)] = encode_page(page)
    kept[keys.BASE] = pulse.to_bytes(8, "big")
    assert found(kept) == []


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        (keys.root(1), b"1", "damaged"),
        (keys.shown(bytes(20)), b"\x80", "damaged"),
        (keys.debited(bytes(20), 1), (2**40).to_bytes(8, "big"), "damaged"),
        (b"g1", b"1", "seat"),
        (keys.group(2, 0, bytes(20)) + keys.UPPER, b"\x80", "store_corrupt"),
        (b"moriginal", b"1", "unknown_key"),
    ],
)
def test_what_nobody_can_have_written(stores: list[dict[bytes, bytes]], key: bytes, value: bytes, code: str) -> None:
    assert code in found(stores[0] | {key: value})


def test_who_had_the_say_must_be_there(stores: list[dict[bytes, bytes]]) -> None:
    content = next(each for each in stores if keys.TIP not in each)
    store = MemoryStore()
    store.write(list(content.items()))
    assert "chain" in found({key: content[key] for key in content if key != keys.sealers(ledger.last_pulse(store))})
