"""Whom a node passes a page on to: those whom the page's committee names, once, and what it has found true itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leither_lite.codec import Value, decode, encode, items
from leither_lite.effects import Effects
from leither_lite.errors import RemoteError
from leither_lite.ledger.branch import LEVELS_MAX, Branch
from leither_lite.ledger.committee import Willing
from leither_lite.node import frames
from leither_lite.node.errands import FELLOWS, KNOWN_MAX, STRANGERS
from leither_lite.node.events import FrameReceived
from leither_lite.node.trunk import PAGES_MAX, RELAYED_MAX, RELAYED_PULSES
from leither_lite.sim.founding import PULSE_MS
from leither_lite.sim.signatures import checked_once
from tests.node.groups import Groups, grown


@pytest.fixture(name="world")
def _world() -> Iterator[Groups]:
    with checked_once():
        yield grown(1, 20)


def told(world: Groups) -> tuple[int, tuple[bytes, ...], list[Value]]:
    """A node without seats that has not heard of the newest root header; who keeps its page, and what each of these
    tells of it."""
    at = next(index for index, node in enumerate(world.nodes) if not len(node.between.seats))
    node, own = world.nodes[at], world.keys[at].public
    world.passes = lambda source, peer, content: peer != own or frames.kind_of(content) != frames.BRANCH
    before = node.between.trunk.pulse
    payer = next(index for index, other in enumerate(world.nodes) if other.group.prefix != node.group.prefix)
    world.pay(payer, at, 1)
    world.run(2 * PULSE_MS)
    trunk = world.nodes[payer].between.trunk
    assert node.between.trunk.pulse == before < trunk.pulse
    assert trunk.branch is not None
    return at, trunk.sealers_of(2), items(decode(trunk._frame(None, trunk.branch)), 7, "bad_branch")


def named(world: Groups, values: list[Value], whom: list[int]) -> bytes:
    """The same frame with these as relays."""
    return encode([*values[:6], [[world.keys[index].public, f"machine-{index}:1"] for index in whom]])


def passed(world: Groups, at: int, source: bytes, frame: bytes) -> dict[bytes, list[Value]]:
    """To whom the node sends a whole branch, when this comes from there."""
    effects = world.nodes[at].turn([FrameReceived(source, frame)], world.machines[at].now_ms)
    world.nodes[at].performed()
    found = {}
    for peer, content in effects.sends:
        if frames.kind_of(content) == frames.BRANCH:
            assert peer not in found, "told twice"
            found[peer] = items(decode(content), 7, "bad_branch")
    return found


def outside(world: Groups, at: int) -> list[int]:
    """Machines of other groups."""
    place = world.nodes[at].group.prefix
    return [index for index, node in enumerate(world.nodes) if node.group.prefix != place]


def test_those_who_are_named_are_told(world: Groups) -> None:
    """What the node has itself, without names; each once, and each of the committee may name some, once a pulse."""
    at, keepers, values = told(world)
    source = keepers[0]
    whom = [index for index in outside(world, at) if world.keys[index].public != source]
    found = passed(world, at, source, named(world, values, whom[:2]))
    first = [world.keys[index].public for index in whom[:2]]
    assert set(first) <= set(found)
    for key in first:
        assert found[key][1] == values[1]
        assert found[key][6] == []
        assert len(items(found[key][4], LEVELS_MAX, "bad_branch")) >= 1
    assert set(first) <= set(world.nodes[at].between.trunk.relays())
    others = named(world, values, whom[:5])
    assert passed(world, at, source, others) == {}, "once a pulse"
    other = next(key for key in keepers if key != source)
    rest = {world.keys[index].public for index in whom[2:5]} - {other}
    assert set(passed(world, at, other, others)) == rest, "not those who were told already"
    assert passed(world, at, other, others) == {}


def test_a_stranger_names_nobody(world: Groups) -> None:
    """Who is not of the page's committee has it told to nobody, whether the page is new or not."""
    at, keepers, values = told(world)
    whom = [index for index in outside(world, at) if world.keys[index].public not in keepers]
    stranger, rest = world.keys[whom[0]].public, whom[1:]
    for _ in range(2):
        found = passed(world, at, stranger, named(world, values, rest))
        assert not {world.keys[index].public for index in rest} & set(found)
    assert list(world.nodes[at].between.trunk.relays()) == []


def test_names_are_bounded_and_forgotten(world: Groups) -> None:
    """Too many are refused; what was named long ago is not kept connected."""
    at, keepers, values = told(world)
    source = keepers[0]
    node = world.nodes[at]
    long = encode([*values[:6], [[bytes([number]) * 32, "host:1"] for number in range(31)]])
    assert passed(world, at, source, long) == {}
    assert node.hall.refused["bad_branch"] == 1
    passed(world, at, source, named(world, values, outside(world, at)[:1]))
    trunk = node.between.trunk
    assert len(list(trunk.relays())) == 1
    trunk._newest = trunk.pulse + RELAYED_PULSES + 1
    root = trunk.roots.newest
    assert root is not None
    trunk.roots.newest = root._replace(pulse=root.pulse + RELAYED_PULSES + 1)
    assert list(trunk.relays()) == []
    spread = trunk._spreads[next(iter(trunk._spreads))]
    spread.keepers = tuple(bytes([number]) * 32 for number in range(RELAYED_MAX + 9))
    for keeper in spread.keepers:
        trunk._pass_on(Effects(), next(iter(trunk._spreads)), spread.pulse, [Willing(keeper, "host:1", 0, 0)], keeper)
    assert len(trunk._relays) == RELAYED_MAX


def test_pages_are_bounded(world: Groups) -> None:
    """Of groups that have long been split nothing is left."""
    at, _, _ = told(world)
    trunk = world.nodes[at].between.trunk
    branch = trunk.branch
    assert branch is not None
    for bits in range(PAGES_MAX + 9):
        trunk.arrive(Effects(), Branch(branch.seal, (branch.floors[0]._replace(level=9, bits=bits),)), 0)
    assert len(trunk._arrived) == len(trunk._branches) == len(trunk._spreads) == PAGES_MAX
    assert (9, PAGES_MAX + 8, branch.floors[0].prefix) in trunk._branches


def test_what_is_told_on_has_signatures_that_were_checked(world: Groups) -> None:
    """Also where the root header is known: those to whom the node tells the page may not know it."""
    at, keepers, values = told(world)
    trunk = world.nodes[at].between.trunk
    trunk.take(Effects(), values, keepers[0], 0)
    branch = trunk.branch
    assert branch is not None
    assert branch.seal.header == values[1]
    bare: list[Value] = [*values[:2], [], *values[3:6], []]
    lowest = branch.floors[-1]
    page = lowest.level, lowest.bits, lowest.prefix
    trunk.roots._checked = None
    del trunk._arrived[page]
    with pytest.raises(RemoteError, match="no_quorum"):
        trunk.take(Effects(), bare, keepers[0], 0)
    assert page not in trunk._arrived
    trunk.roots.checked(branch.seal)
    trunk.take(Effects(), bare, keepers[0], 0)
    assert page in trunk._arrived
    assert trunk._branches[page].seal == branch.seal


def test_who_is_believed_of_addresses(world: Groups) -> None:
    """The ledger goes before a committee, and that before a stranger; nobody pushes out what others have said."""
    at, keepers, values = told(world)
    node, errands = world.nodes[at], world.nodes[at].between.errands
    stranger = next(key.public for key in world.keys if not node.between.has_to_do_with(key.public))
    sealed = next(each.key for each in node.group.state.willing if each.key != world.keys[at].public)
    source = next(key for key in keepers if key != sealed)
    told_of, new = bytes([1]) * 32, bytes([2]) * 32
    before = errands.address(sealed)
    assert before

    def say(who: bytes, address: str, *whom: bytes) -> None:
        hints: Value = [[key, address] for key in whom]
        passed(world, at, who, encode([*values[:5], hints, []]))

    say(source, "host:1", sealed, told_of)
    say(stranger, "host:2", sealed, told_of, new)
    assert [errands.address(key) for key in (sealed, told_of, new)] == [before, "host:1", "host:2"]
    for start in range(0, 2 * KNOWN_MAX[STRANGERS], 100):
        say(stranger, "host:3", *((start + number).to_bytes(32, "big") for number in range(100)))
    assert [errands.address(key) for key in (sealed, told_of, new)] == [before, "host:1", ""]
    for start in range(0, 2 * KNOWN_MAX[FELLOWS], 100):
        say(source, "host:4", *((start + number).to_bytes(32, "big") for number in range(100)))
    assert [errands.address(key) for key in (sealed, told_of)] == [before, ""]


def test_who_seals_for_a_child_is_found_in_its_w(world: Groups) -> None:
    """However many others have been heard of since."""
    node = next(node for node in world.nodes if len(node.between.seats))
    group = next(iter(node.between.seats)).books.group
    sealers = [key for child in group.children.values() for key in child.sealers]
    for known in node.between.errands._known:
        known.clear()
    node.peers.addresses.clear()
    numbers = {key.public: number for number, key in enumerate(world.keys)}
    found = {key: node.between.trunk.address_of(key) for key in sealers}
    assert found == {key: f"machine-{numbers[key]}:1" for key in sealers}
