"""Signed addresses: learned, passed on, written down now and then, and dialled in order."""

from __future__ import annotations

from leither_lite.codec import encode
from leither_lite.identity import Key
from leither_lite.ledger.committee import Willingness
from leither_lite.node import frames
from leither_lite.node.addresses import WRITE_MS_MIN
from leither_lite.store import keys
from tests.ledger.founding import key_of
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
