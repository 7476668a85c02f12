"""Nodes together: payments, a chief that is down, halves cut off from each other, gossip, joining, rosters."""

from __future__ import annotations

import pytest

from leither_lite.codec import encode
from leither_lite.errors import LocalError
from leither_lite.ledger.joins import Application
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.records import Role
from leither_lite.ledger.state import MERGE, SPLIT
from leither_lite.ledger.structure import END, TermEnd
from leither_lite.node import events as ev
from leither_lite.node.frames import operation_frame
from leither_lite.node.pool import content_digest
from leither_lite.store import keys
from tests.ledger.founding import held
from tests.node.net import Net


@pytest.mark.parametrize("size", [1, 3, 4, 7])
def test_payments_from_any_to_any_are_sealed_and_all_agree(size: int) -> None:
    net = Net(size, size).settled(1_000)
    paid = []
    for payer in range(size):
        for payee in range(size):
            if payer != payee:
                paid.append((payer, net.pay(payer, payee, 10 + payee)))
    net.run(4_000)
    assert net.agree()
    assert {net.state(payer, name) for payer, name in paid} <= {"credited"}
    for index in range(size):
        others = sum(10 + payee for payee in range(size) if payee != index)
        assert net.balance(index) == 1_000 - others + (size - 1) * (10 + index)
        net.check(index)
    assert net.blamed == []


@pytest.mark.parametrize("size", [3, 4, 7])
def test_without_the_chief_the_next_round_seals(size: int) -> None:
    net = Net(size, size).settled()
    net.kill(0)
    name = net.pay(1, 2)
    net.run(6_000)
    assert net.state(1, name) == "credited"
    assert net.agree()
    net.start(0)
    net.run(5_000)
    assert net.agree()
    net.check(0)
    name = net.pay(1, 0)
    net.run(3_000)
    assert net.state(1, name) == "credited"
    assert net.agree()
    assert net.blamed == []


def test_halves_seal_nothing_and_go_on_together() -> None:
    net = Net(4, 4).settled()
    before = net.pulses
    net.split((0, 1), (2, 3))
    names = [net.pay(0, 1), net.pay(2, 3)]
    net.run(60_000)
    assert net.pulses == before, "no quorum on either side"
    assert [net.state(0, names[0]), net.state(2, names[1])] == ["pending", "pending"]
    net.heal()
    net.run(20_000)
    assert net.agree()
    assert [net.state(0, names[0]), net.state(2, names[1])] == ["credited", "credited"]
    assert net.blamed == []


def test_all_stop_at_once_and_go_on() -> None:
    net = Net(4, 4).settled()
    name = net.pay(1, 2)
    for ms in (0, 3, 5, 6, 11, 16, 21, 26, 31, 500, 990, 1_001, 1_006, 1_011, 1_016, 1_021):
        net.run(ms)
        net.stop()
        for index in range(4):
            net.start(index)
    net.run(15_000)
    assert net.agree()
    assert net.state(1, name) == "credited"


def test_a_member_linked_with_one_other_takes_part() -> None:
    """3 is linked with 1 only; with 2 down it is needed for every seal."""
    net = Net(4, 4)
    net.part(0, 3)
    net.part(2, 3)
    net.settled()
    net.kill(2)
    name = net.pay(3, 0)
    net.run(5_000)
    assert net.agree()
    assert net.state(3, name) == "credited"
    net.kill(0)
    name = net.pay(3, 1)
    net.start(2)
    net.run(15_000)
    assert net.state(3, name) == "credited"
    assert net.blamed == []


def test_a_newcomer_applies_over_a_peer_is_approved_and_catches_up() -> None:
    net = Net(3, 3).settled()
    index = net.newcomer()
    application = Application.make(net.network, net.keys[index], "let me in")
    net.stores[index].write([(keys.APPLYING, applying(application, ""))])
    net.start(index)
    net.link(index, 2)
    net.run(3_000)
    assert net.nodes[index].hall.applicant.frames
    with pytest.raises(LocalError, match="not_a_member"):
        net.ask(index, ev.OpenAccount(0, ""))
    net.ask(0, ev.ApproveApplication(0, net.keys[index].account, Role.MEMBER))
    net.run(30_000)
    assert net.agree()
    assert net.nodes[index].hall.applicant.frames == []
    assert net.stores[index].get(keys.APPLYING) is None
    net.ask(0, ev.Distribute(0, net.keys[index].account, 50, "welcome", None))
    net.run(3_000)
    name = net.pay(index, 1, 20)
    net.run(5_000)
    assert net.state(index, name) == "credited"
    net.check(index)
    assert net.blamed == []


def test_a_newcomer_joins_by_invite_over_one_who_is_not_in_the_genesis() -> None:
    net = Net(2, 1).settled()
    index = net.newcomer()
    invite = net.ask(0, ev.CreateInvite(0, Role.MEMBER, 10_000))["invite"]
    application = Application.make(net.network, net.keys[index], "")
    net.stores[index].write([(keys.APPLYING, applying(application, invite))])
    net.start(index)
    net.link(index, 1)
    net.run(40_000)
    assert net.agree()
    assert net.keys[index].account in net.nodes[0].group.entries
    net.check(index)
    assert net.blamed == []


def applying(application: Application, invite: str) -> bytes:
    """What a newcomer's store says of its application."""
    return encode([application.content, application.signature, invite])


def test_rosters_change_and_everybody_can_prove_it() -> None:
    net = Net(4, 1).settled()
    public = [key.public for key in net.keys]
    assert len(net.nodes[0].group.roster_keys) == 1
    net.ask(0, ev.ChangeRoster(0, tuple(public[:4])))
    net.run(5_000)
    assert net.agree()
    assert len(net.nodes[3].group.roster_keys) == 4
    name = net.pay(2, 3)
    net.run(4_000)
    assert net.state(2, name) == "credited"
    net.ask(0, ev.ChangeRoster(0, (public[2], public[0], public[3])))
    net.run(5_000)
    assert net.nodes[1].group.roster_keys == (public[2], public[0], public[3])
    name = net.pay(1, 3)
    net.run(5_000)
    assert net.state(1, name) == "credited"
    assert net.agree()
    for index in (0, 2, 3):
        net.check(index)
    terms = [net.nodes[0].group.header.term, net.nodes[0].term]
    assert terms == [2, 2]
    assert net.blamed == []


def test_who_joins_with_a_used_invite_is_told_and_applies() -> None:
    net = Net(3, 3).settled()
    text = net.ask(0, ev.CreateInvite(0, Role.MEMBER, 1_000))["invite"]
    for number in range(2):
        index = net.newcomer()
        application = Application.make(net.network, net.keys[index], f"number {number}")
        net.stores[index].write([(keys.APPLYING, applying(application, text))])
        net.start(index)
        net.link(index, 0)
        net.run(30_000)
    assert net.nodes[3].hall.applicant.frames == []
    late = net.nodes[4]
    assert late.hall.applicant.refusal == "invite_used"
    assert "invite_used" in dict(late.troubles(net.now_ms, 0))["not_a_member"]
    net.ask(0, ev.ApproveApplication(0, net.keys[4].account, Role.MEMBER))
    net.run(30_000)
    assert net.agree()
    assert late.hall.applicant.frames == [] or net.nodes[4].hall.applicant.frames == []


def test_what_only_a_proposer_says_is_taken_from_nobody() -> None:
    """Who holds, and that a term ends, stands in bodies; whoever sends it by itself misbehaves."""
    net = Net(3, 3).settled()
    ends = (TermEnd(kind) for kind in (END, SPLIT, MERGE))
    alone: list[Operation] = [held(net.nodes[0].group.digest, []), *ends]
    for operation in alone:
        assert net.hear(1, 2, operation_frame(operation.encode())).sends == []
        assert net.nodes[1].books.pool.get(content_digest(operation.encode())) is None
    assert net.blamed == [(1, 2)] * len(alone)
