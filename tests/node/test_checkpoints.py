"""Checkpoints in a network: another roster where the old one can never seal again, a starting point where it can."""

from __future__ import annotations

import pytest

from leither_lite.edge.walk import walk
from leither_lite.errors import LocalError
from leither_lite.header import Checkpoint, encode_roster
from leither_lite.node import events as ev
from leither_lite.node.view import View
from leither_lite.tree.proof import Trust, verify
from tests.ledger.founding import key_of
from tests.node.net import Net


def checkpoint(net: Net, index: int, *roster: int) -> Checkpoint:
    """The organization's word on a node's last header, naming these."""
    group = net.nodes[index].group
    named = encode_roster([net.keys[each].public for each in roster])
    return Checkpoint.sign(net.organization, net.network, group.header.pulse, group.digest, named)


def walked(net: Net, index: int) -> list[str]:
    """What is wrong with a node's store."""
    return [finding.message for finding in walk(net.stores[index], full=True, progress=lambda _: None)]


def test_a_roster_without_a_quorum_for_good_is_replaced() -> None:
    net = Net(6, 4).settled()
    net.kill(2)
    net.kill(3)
    stuck = net.pulses
    name = net.pay(1, 5)
    net.run(20_000)
    assert net.pulses == stuck, "two of four seal nothing"
    assert net.state(1, name) == "pending"
    term = net.nodes[0].term
    told = net.ask(0, ev.TakeCheckpoint(0, checkpoint(net, 0, 0, 1, 4)))
    assert told["term"] == term + 1
    net.run(8_000)
    assert net.state(1, name) == "credited"
    net.beat(70)
    alive = (0, 1, 4, 5)
    assert len({net.nodes[index].group.digest for index in alive}) == 1
    trust = Trust(net.organization.public, (key_of(99).public,))
    for index in alive:
        proof = View(net.nodes[index]).proof(net.keys[index].account, None)
        assert verify(proof, trust).pulse == net.nodes[index].group.header.pulse, "from the checkpoint alone"
        assert walked(net, index) == []
    for index in (2, 3):
        net.start(index)
    net.run(12_000)
    assert net.agree(), "who was away takes the checkpoint, and what came after it"
    assert walked(net, 2) == []
    for index in range(6):
        net.kill(index)
    for index in range(6):
        net.start(index)
    net.beat(2)
    assert net.agree()
    assert net.nodes[2].group.roster_keys == tuple(net.keys[index].public for index in (0, 1, 4))


def test_a_step_behind_the_checkpoint() -> None:
    """It waits for its header, and then counts."""
    net = Net(5, 3).settled()
    net.kill(4)
    net.beat(3)
    net.ask(0, ev.TakeCheckpoint(0, checkpoint(net, 0, 0, 1, 3)))
    net.start(4)
    net.run(5_000)
    net.beat(2)
    assert net.agree()
    assert net.nodes[4].group.roster_keys == tuple(net.keys[index].public for index in (0, 1, 3))


def test_the_same_roster_of_several_goes_on_in_its_term() -> None:
    """What its members have signed binds them: a starting point opens nothing."""
    net = Net(4, 4).settled()
    term = net.nodes[0].term
    assert net.ask(0, ev.TakeCheckpoint(0, checkpoint(net, 0, 0, 1, 2, 3)))["term"] == term
    net.beat(3)
    assert net.agree()
    assert {node.term for node in net.nodes} == {term}
    assert {node.checkpoints.newest for node in net.nodes} == {net.nodes[0].checkpoints.newest}
    net.start(1)
    net.beat(1)
    assert net.nodes[1].term == term


@pytest.mark.parametrize("roster", [(0, 1, 99), (0, 1, 2, 3, 4, 5, 6)])
def test_a_roster_of_strangers_or_too_many_is_refused(roster: tuple[int, ...]) -> None:
    net = Net(4, 4).settled()
    keys = [net.keys[each].public if each < 4 else key_of(1_000 + each).public for each in roster]
    group = net.nodes[0].group
    signed = Checkpoint.sign(net.organization, net.network, group.header.pulse, group.digest, encode_roster(keys))
    with pytest.raises(LocalError, match="bad_roster"):
        net.ask(0, ev.TakeCheckpoint(0, signed))
