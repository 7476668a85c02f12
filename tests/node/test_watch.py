"""What keeps a node of a network of several groups from its work, and what does not: that the root is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leither_lite.node import frames
from leither_lite.sim.founding import PULSE_MS
from leither_lite.sim.signatures import checked_once
from tests.node.asking import level_of
from tests.node.groups import Groups, grown


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Each signature is checked once."""
    with checked_once():
        yield


@pytest.fixture
def world() -> Groups:
    """A network that has just come to rest."""
    return grown()


def all_troubles(world: Groups) -> set[str]:
    """What any node says."""
    return {code for index in range(len(world.nodes)) for code in world.troubles(index)}


def test_a_quiet_network_is_well(world: Groups) -> None:
    """Nobody misses root headers where nothing is to be sealed; nor is anything wrong while payments go on."""
    assert any(not node.between.seats for node in world.nodes)
    world.run(90 * PULSE_MS)
    assert all_troubles(world) == set()
    payer, payee = world.apart()
    for _ in range(5):
        world.pay(payer, payee, 1)
        world.run(2 * PULSE_MS)
        assert all_troubles(world) == set()


def test_a_chief_is_that_of_the_own_group(world: Groups) -> None:
    """Each member of a group with a committee of several hears its own group's chief."""
    world.run(12 * PULSE_MS)
    for node in world.nodes:
        assert (node.hall.heartbeat.tick is not None) == (len(node.group.roster_keys) > 1)


def test_who_hears_no_root_header_is_not_well(world: Groups) -> None:
    """Its group's header may be sealed and under the root: it cannot know."""
    payer = next(index for index, node in enumerate(world.nodes) if not node.between.seats)
    payee = next(
        index for index, node in enumerate(world.nodes) if node.group.prefix != world.nodes[payer].group.prefix
    )
    world.passes = lambda source, peer, content: frames.kind_of(content) != frames.BRANCH
    name = world.pay(payer, payee, 5)
    world.run(25 * PULSE_MS)
    assert "not_under_root" not in world.troubles(payer)
    world.run(15 * PULSE_MS)
    assert "not_under_root" in world.troubles(payer)
    assert world.view(payer).transfer(name)["state"] == "pending"
    world.passes = lambda source, peer, content: True
    world.until(lambda: world.view(payer).transfer(name)["state"] == "credited")
    world.run(2 * PULSE_MS)
    assert world.troubles(payer) == []


def test_who_finds_nobody_after_a_start_is_not_well(world: Groups) -> None:
    """It has no branch, unless it keeps the root; and later, nobody. Who seals alone needs the others, too."""
    index = next(index for index, node in enumerate(world.nodes) if not len(node.between.seats))
    for machine in world.machines:
        machine.stop()
    world.machines[index].start()
    world.run(10 * PULSE_MS)
    assert world.troubles(index) == []
    world.run(10 * PULSE_MS)
    assert "no_branch_yet" in world.troubles(index)
    world.run(45 * PULSE_MS)
    assert world.troubles(index)[:2] == ["no_peers", "no_branch_yet"]


def test_who_misses_what_its_group_seals_is_not_well(world: Groups) -> None:
    """The root shows a header of its group that it does not have: the others wait for its holding before that."""
    payer, payee = world.apart()
    group = world.nodes[payer].group
    members = [index for index, node in enumerate(world.nodes) if node.group.prefix == group.prefix]
    late = next(index for index in members if index != payer and not world.view(index).is_bookkeeper)
    key = world.keys[late].public
    world.passes = lambda source, peer, content: peer != key or frames.kind_of(content) == frames.BRANCH
    world.pay(payer, payee, 5)
    world.run(45 * PULSE_MS)
    assert world.troubles(late) == ["catching_up"]
    world.passes = lambda source, peer, content: True
    world.until(lambda: world.nodes[late].between.shown_node() is None)
    for _ in range(4):
        world.run(10 * PULSE_MS)
        assert world.troubles(late) == [], "that it came late, says nothing"


def test_an_agreement_above_that_stands_still(world: Groups) -> None:
    """Told by who has a seat in it, and not as one of the own group."""
    world.passes = lambda source, peer, content: level_of(content) < 2
    payer, payee = world.apart()
    world.pay(payer, payee, 5)
    world.run(35 * PULSE_MS)
    for index, node in enumerate(world.nodes):
        has_seat = any(seat.books.is_on_roster for seat in node.between.seats)
        assert ("agreement_stalled" in world.troubles(index)) == has_seat
    world.passes = lambda source, peer, content: True
    world.run(40 * PULSE_MS)
    assert all_troubles(world) == set()


def test_a_silent_member_of_a_roster_of_one(world: Groups) -> None:
    """No checkpoint is awaited where the parent can name another roster."""
    index = next(index for index, node in enumerate(world.nodes) if node.books.seals_alone)
    node = world.nodes[index]
    node.comeback.mark = 1
    assert world.troubles(index) == ["silent_member"]
    assert not node.awaits_checkpoint
