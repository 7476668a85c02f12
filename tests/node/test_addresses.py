"""Signed addresses: learned, passed on, written down now and then, and dialled in order."""

from __future__ import annotations

import pytest

from leither_lite.codec import encode
from leither_lite.identity import Key
from leither_lite.ledger.committee import Willing, Willingness
from leither_lite.node import frames
from leither_lite.node.addresses import WRITE_MS_MIN
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys
from tests.ledger.founding import key_of
from tests.node.groups import grown
from tests.node.net import Net


def address_frame(net: Net, key: Key, address: str, number: int) -> bytes:
    """A node says where it is."""
    record = Willingness.make(net.network, key, address, 1, number)
    return encode([frames.ADDRESS, record.content, record.signature])


def kept(net: Net, index: int) -> int:
    """How many addresses a node has on its disk."""
    return len(list(net.stores[index].scan(*keys.ADDRESSES)))


def test_an_address_goes_to_everybody_and_is_written_down() -> None:
    net = Net(3, 1).settled()
    net.part(0, 2)
    moved = net.keys[2]
    net.hear(1, 2, address_frame(net, moved, "there:1", 10**6))
    net.run(500)
    assert net.nodes[0].peers.addresses[moved.public].address == "there:1"
    assert "there:1" in net.nodes[0].addresses.wanted()
    assert kept(net, 0) >= 1


def test_older_words_strangers_and_forgeries_count_for_nothing() -> None:
    net = Net(2, 1).settled()
    key = net.keys[1]
    net.hear(0, 1, address_frame(net, key, "new:1", 10**6))
    net.hear(0, 1, address_frame(net, key, "old:1", 10**6 - 1))
    assert net.nodes[0].peers.addresses[key.public].address == "new:1"
    net.hear(0, 1, address_frame(net, key_of(99), "stranger:1", 10**6))
    assert key_of(99).public not in net.nodes[0].peers.addresses
    good = Willingness.make(net.network, key, "forged:1", 1, 10**7)
    net.hear(0, 1, encode([frames.ADDRESS, good.content, bytes(64)]))
    assert net.nodes[0].peers.addresses[key.public].address == "new:1"
    assert net.nodes[0].hall.refused["bad_signature"] == 1


def test_who_moves_all_the_time_wears_out_nobody_s_card() -> None:
    net = Net(2, 1).settled()
    writes = []
    for number in range(50):
        effects = net.hear(0, 1, address_frame(net, net.keys[1], f"here:{number}", 10**6 + number))
        writes += [key for key, _ in effects.writes if key[:1] == b"a"]
    assert len(writes) <= 1
    net.run(WRITE_MS_MIN)
    effects = net.hear(0, 1, address_frame(net, net.keys[1], "here:99", 10**7))
    assert [key[:1] for key, _ in effects.writes] == [b"a"]


@pytest.mark.parametrize("text", ["nowhere", ":1", "::1:80", "there:70000", "a b:1"])
def test_what_is_no_address_is_refused_and_where_it_was_sealed_dialled_by_nobody(text: str) -> None:
    net = Net(2, 1).settled()
    net.hear(0, 1, address_frame(net, net.keys[1], text, 10**6))
    assert net.nodes[0].hall.refused["bad_address"] == 1
    operation = Willingness.make(net.network, net.keys[1], text, 1, 10**6)
    net.hear(0, 1, frames.operation_frame(operation.encode()))
    net.run(3_000)
    assert [each.address for each in net.nodes[0].group.state.willing] == [text]
    assert text not in net.nodes[0].addresses.wanted()


def test_an_address_under_an_old_number_is_told_again_once_there_is_a_count() -> None:
    """After a start time goes on from the last header: others may know a higher number from the last run."""
    net = Net(3, 3).settled()
    net.run(60_000)
    heard = net.nodes[0].peers.addresses[net.keys[1].public].number
    net.hear(0, 1, address_frame(net, net.keys[1], "before:1", heard + 40))
    net.start(1)
    assert not net.nodes[1].clock.counts
    net.run(5_000)
    assert net.nodes[1].clock.counts
    assert net.nodes[0].peers.addresses[net.keys[1].public].address == "node1:1"


def test_who_is_on_a_committee_with_this_node_is_needed() -> None:
    with checked_once():
        world = grown()
    seated = [node for node in world.nodes if len(node.between.seats)]
    assert seated
    for node in seated:
        own = node.wallet.node_key.public
        sealers = {key for seat in node.between.seats if seat.books.is_on_roster for key in seat.books.sealers}
        for key in sealers - {own}:
            node.between.errands.know([Willing(key, f"{key.hex()}:1", 0, 0)])
        needed = node.addresses.needed()
        assert {f"{key.hex()}:1" for key in sealers - {own}} <= set(needed)
        assert node.addresses.wanted()[: len(needed)] == needed
