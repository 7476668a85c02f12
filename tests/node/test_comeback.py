"""Who may have signed what it does not know signs nothing: copies, and nodes that join with a key that was in use."""

from __future__ import annotations

import pytest

from leither_lite.codec import encode
from leither_lite.errors import LocalError
from leither_lite.header import Checkpoint
from leither_lite.node import events as ev
from leither_lite.node.comeback import FREE, JOINED, RESTORED
from leither_lite.organization import joined_writes
from leither_lite.store import keys
from tests.node.net import Net


def lose(net: Net, index: int) -> None:
    """A node's card has died: it joins again with the key that was exported."""
    net.kill(index)
    store = net.stores[index]
    store.write([(key, None) for key in store.content()])
    writes = joined_writes(net.charter, net.stores[0].get(keys.GENESIS) or b"")
    store.write([*writes, (keys.BOOTSTRAP, encode(["node0:1"]))])
    net.start(index)


def troubles(net: Net, index: int) -> list[str]:
    """Codes of what keeps a node from its work."""
    return [code for code, _ in net.nodes[index].troubles(net.now_ms, 0)]


@pytest.mark.parametrize("pulses", [3, 90])
def test_a_member_with_a_new_store_is_silent_until_it_is_named_again(pulses: int) -> None:
    """It has signed for what it does not know, be it a step or a jump behind."""
    net = Net(4, 4).settled()
    net.beat(pulses)
    lose(net, 3)
    net.run(30_000)
    assert net.agree()
    assert net.nodes[3].comeback.mark == JOINED
    assert not net.nodes[3].committee.engine.is_member
    assert "silent_member" in troubles(net, 3)
    net.start(3)
    net.beat(2)
    assert net.nodes[3].comeback.silent, "a restart is no way around"
    net.ask(0, ev.ChangeRoster(0, tuple(key.public for key in net.keys), True))
    net.run(4_000)
    assert net.nodes[3].comeback.mark == FREE
    net.kill(2)
    name = net.pay(1, 0)
    net.run(6_000)
    assert net.state(1, name) == "credited", "without it there is no quorum"
    assert "silent_member" not in troubles(net, 3)


def test_a_roster_of_three_has_no_second_seal_from_a_card_that_died() -> None:
    """Two have sealed a payment; one of them loses its card while the other is away: the third alone seals nothing."""
    net = Net(3, 3).settled()
    net.kill(1)
    name = net.pay(0, 2)
    net.run(4_000)
    assert net.state(0, name) == "credited"
    net.kill(0)
    net.start(1)
    lose(net, 2)
    net.run(5_000)
    pulse = net.pulses[1]
    net.pay(1, 2)
    net.run(30_000)
    assert net.pulses[1] == pulse
    net.start(0)
    net.run(20_000)
    assert net.state(0, name) == "credited"
    assert net.agree()


def test_a_newcomer_is_free_once_it_sees_that_it_is_not_on_the_roster() -> None:
    net = Net(4, 3).settled()
    net.beat(2)
    lose(net, 3)
    assert net.nodes[3].comeback.mark == JOINED
    net.run(15_000)
    assert net.nodes[3].comeback.mark == FREE
    assert net.stores[3].get(keys.PLACE) == b"\0here"
    net.kill(3)
    net.ask(0, ev.ChangeRoster(0, tuple(key.public for key in net.keys), True))
    net.run(4_000)
    net.start(3)
    net.run(12_000)
    assert net.nodes[3].committee.engine.is_member, "it was named while it was away"


def test_a_restored_copy_is_told_from_a_joined_one() -> None:
    net = Net(3, 3).settled()
    net.start(2, restored=True)
    net.run(3_000)
    assert net.nodes[2].comeback.mark == RESTORED
    net.run(60_000)
    assert net.nodes[2].comeback.mark == RESTORED


def test_who_is_alone_is_not_well() -> None:
    net = Net(3, 3).settled()
    net.run(61_000)
    assert troubles(net, 2) == []
    net.kill(0)
    net.kill(1)
    net.run(62_000)
    assert troubles(net, 2) == ["no_peers"]
    name = net.pay(2, 1)
    net.run(20_000)
    assert "operation_waits" in troubles(net, 2)
    net.start(0)
    net.start(1)
    net.run(10_000)
    assert net.state(2, name) == "credited"
    assert troubles(net, 2) == []


def test_a_roster_of_one_that_lost_its_card_promises_nothing_before_a_checkpoint() -> None:
    """The others have the chain; whoever sealed alone cannot know what else it has signed."""
    net = Net(3, 1).settled()
    net.beat(3)
    genesis = net.stores[1].get(keys.GENESIS) or b""
    net.kill(0)
    store = net.stores[0]
    store.write([(key, None) for key in store.content()])
    store.write([*joined_writes(net.charter, genesis), (keys.BOOTSTRAP, encode(["node1:1"]))])
    net.start(0)
    net.run(15_000)
    assert net.agree(), "it has the state again"
    with pytest.raises(LocalError, match="awaiting_checkpoint"):
        net.ask(0, ev.Distribute(0, net.keys[1].account, 1, "too early", None))
    assert net.nodes[0].awaits_checkpoint
    group = net.nodes[0].group
    signed = Checkpoint.sign(net.organization, net.network, group.header.pulse, group.digest, group.roster)
    net.ask(0, ev.TakeCheckpoint(0, signed))
    net.beat(2)
    assert net.agree()
    assert net.nodes[0].comeback.mark == FREE
