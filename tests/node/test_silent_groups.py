"""A group whose committee is gone: its parent calls it, then names who seals; nothing is lost or paid twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leither_lite.codec import encode
from leither_lite.edge.walk import walk
from leither_lite.node import frames
from leither_lite.node.events import FrameReceived
from leither_lite.node.turn import Node
from leither_lite.sim.founding import GIVEN, PULSE_MS
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys
from tests.node.groups import Groups, grown

TAKEN_OVER_MS = 400_000
"""30 ticks until the call, 120 until the appointment, and what waits meanwhile is shown again."""


@pytest.fixture(name="world")
def _world() -> Iterator[Groups]:
    with checked_once():
        yield grown(1, 20)


def silent_group(world: Groups) -> tuple[list[int], list[int], int]:
    """A level-1 group without which the root goes on: its committee, its other members, and somebody elsewhere."""
    roots = next(seat for node in world.nodes for seat in node.between.seats if seat.books.is_on_roster)
    root = set(roots.books.sealers)
    for first in world.nodes:
        sealers = set(first.books.sealers)
        members = [index for index, node in enumerate(world.nodes) if node.group.prefix == first.group.prefix]
        others = [index for index in members if world.keys[index].public not in sealers]
        if others and len(root & sealers) <= len(root) - 3:
            elsewhere = next(
                index
                for index, node in enumerate(world.nodes)
                if index not in members and world.keys[index].public not in root
            )
            return [index for index in members if index not in others], others, elsewhere
    raise AssertionError("no such group")


def node_of(world: Groups, index: int) -> Node:
    """The node that runs on a machine."""
    node = world.machines[index].node
    assert node is not None
    return node


def state(world: Groups, index: int, name: str) -> str:
    """Of a transfer at its payer."""
    return str(world.view(index).transfer(name)["state"])


def assert_stores_are_whole(world: Groups) -> None:
    """Also where the bodies of every store are executed again."""
    for machine in world.machines:
        assert walk(machine.disk, True, lambda text: None) == [], f"machine {machine.index}"


def balances(world: Groups) -> dict[int, set[int]]:
    """Of each machine's account, as all who have it say."""
    return {
        index: {
            node.group.entries[key.account].record.balance for node in world.nodes if key.account in node.group.entries
        }
        for index, key in enumerate(world.keys)
    }


def test_who_is_named_goes_on_with_the_books(world: Groups) -> None:
    """Payments into the group and out of it wait, and are made, while its whole committee is dead; that follows
    when it is back."""
    committee, others, elsewhere = silent_group(world)
    for index in committee:
        world.machines[index].stop()
    term = node_of(world, others[0]).group.term
    out = world.pay(others[0], elsewhere, 7)
    into = world.pay(elsewhere, others[0], 11)
    world.run(40 * PULSE_MS)
    assert (state(world, others[0], out), state(world, elsewhere, into)) == ("pending", "debited")
    world.until(lambda: world.machines[others[0]].disk.get(keys.APPOINTED) is not None, TAKEN_OVER_MS)
    assert_stores_are_whole(world)
    world.until(lambda: {state(world, others[0], out), state(world, elsewhere, into)} == {"credited"}, TAKEN_OVER_MS)
    group = node_of(world, others[0]).group
    assert group.header.term > term
    silent = {each.key for each in group.state.willing if each.silent}
    assert {world.keys[index].public for index in committee} <= silent
    for index in committee:
        world.machines[index].start()
    world.until(world.is_at_rest, TAKEN_OVER_MS)
    expected = {index: {GIVEN} for index in range(len(world.keys))}
    expected[0], expected[1] = {GIVEN - 2}, {GIVEN + 2}  # what made it grow
    expected[others[0]] = {min(expected[others[0]]) + 4}
    expected[elsewhere] = {min(expected[elsewhere]) - 4}
    assert balances(world) == expected
    assert_stores_are_whole(world)


def test_what_the_old_committee_sealed_alone_waits_again(world: Groups) -> None:
    """It has sealed its own member's payment, and nobody else has heard of that: once it is back, that is paid."""
    committee, others, elsewhere = silent_group(world)
    sealers = {world.keys[index].public for index in committee}

    def is_let_through(source: int, peer: bytes, content: bytes) -> bool:
        return source not in committee or peer in sealers

    payer = committee[0]
    pulse = node_of(world, payer).group.header.pulse
    world.passes = is_let_through
    name = world.pay(payer, elsewhere, 5)
    world.until(lambda: all(node_of(world, index).group.header.pulse > pulse for index in committee))
    world.run(PULSE_MS // 4)  # it is on their disks
    for index in committee:
        world.machines[index].stop()
    world.passes = lambda source, peer, content: True
    out = world.pay(others[0], elsewhere, 3)
    world.until(lambda: state(world, others[0], out) == "credited", TAKEN_OVER_MS)
    for index in committee:
        world.machines[index].start()
    world.until(lambda: state(world, payer, name) == "credited", TAKEN_OVER_MS)
    world.until(world.is_at_rest, TAKEN_OVER_MS)
    assert balances(world)[payer] == {GIVEN - 5 + {0: -2, 1: 2}.get(payer, 0)}
    assert_stores_are_whole(world)


def test_the_first_to_come_counts(world: Groups) -> None:
    """Those who were cut off have sealed, and so have those who were named in their place: the seal of the former comes
    first, and both go on from it."""
    committee, others, elsewhere = silent_group(world)
    sealers = {world.keys[index].public for index in committee}
    payer = committee[0]
    pulse = node_of(world, payer).group.header.pulse
    world.passes = lambda source, peer, content: source not in committee or peer in sealers
    name = world.pay(payer, elsewhere, 5)
    out = world.pay(others[0], elsewhere, 3)
    world.until(lambda: world.machines[others[0]].disk.get(keys.APPOINTED) is not None, TAKEN_OVER_MS)
    assert node_of(world, payer).group.header.pulse > pulse
    assert node_of(world, others[0]).group.header.pulse == pulse
    world.passes = lambda source, peer, content: source not in others or frames.kind_of(content) != frames.CHILD
    world.until(lambda: node_of(world, payer).books.is_under_root, TAKEN_OVER_MS)
    world.passes = lambda source, peer, content: True
    world.until(lambda: (state(world, payer, name), state(world, others[0], out)) == ("credited",) * 2, TAKEN_OVER_MS)
    world.until(world.is_at_rest, TAKEN_OVER_MS)
    assert_stores_are_whole(world)


def test_a_group_that_is_called_seals_an_empty_header(world: Groups) -> None:
    """It was idle: whoever asks for it learns that it lives, and nobody is named."""
    committee, others, elsewhere = silent_group(world)
    before = node_of(world, others[0]).group
    pulse, term = before.header.pulse, before.term
    asked = encode([frames.FIND, world.keys[others[0]].account, 1])
    for _ in range(2):  # the first is remembered; for the second the group has been silent for long
        for machine in world.machines:
            machine.put(FrameReceived(world.keys[elsewhere].public, asked))
        world.run(31 * PULSE_MS)
    after = node_of(world, others[0]).group
    assert after.header.pulse > pulse
    assert after.term <= term + 1, "it has ended its own term at most"
    assert not after.sealed.entries or after.header.term == term
    assert {key for key, _ in after.sealed.signatures} <= {world.keys[index].public for index in committee}
