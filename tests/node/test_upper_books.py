"""When a group above level 1 has something to seal though nothing has come: for what its children are to hear."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from leither_lite.effects import Effects
from leither_lite.header import encode_roster
from leither_lite.ledger.children import Child
from leither_lite.ledger.judge_children import BUDDY_TICKS, CALLED_TICKS, KEPT_TICKS
from leither_lite.ledger.state import MERGE, Offer
from leither_lite.ledger.upper import UpperGroup, part_group, upper_split
from leither_lite.node import frames
from leither_lite.node.events import FrameReceived
from leither_lite.node.frames import Status
from leither_lite.node.scope import Scope
from leither_lite.node.upper_books import UpperBooks
from leither_lite.node.upper_frames import upper_frames
from leither_lite.sim.founding import PULSE_MS
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys
from tests.node.groups import Groups, grown


@pytest.fixture(name="world")
def _world() -> Iterator[Groups]:
    with checked_once():
        yield grown(1, 20)


def root_of(world: Groups) -> tuple[int, UpperGroup]:
    """The root, and a machine that keeps its books."""
    at, node = next((at, node) for at, node in enumerate(world.nodes) if len(node.between.seats))
    return at, next(iter(node.between.seats)).books.group


def books_of(world: Groups, at: int, group: UpperGroup, child: Child) -> UpperBooks:
    """The books of a group, with a child as it is given."""
    node = world.nodes[at]
    group.children = {**group.children, child.place: child}
    scope = Scope.of(node.reader, group.level, group.bits, group.prefix)
    books = UpperBooks(scope, world.keys[at], group, node.between.trunk.roots, 0)
    books.tick = node.tick(world.machines[at].now_ms)
    return books


def part(group: UpperGroup) -> UpperGroup:
    """The lower half of a group that is split, before it has sealed anything."""
    parts = upper_split(group, group.children, group.willing, group.state.date, group.digest)
    return part_group(group, parts[0])


@pytest.mark.parametrize("decided", ["called", "appointed"])
def test_a_part_begins_with_what_its_children_are_to_hear(world: Groups, decided: str) -> None:
    """An empty header: nobody believes that he is called, or who seals, before it stands under the part's own."""
    at, root = root_of(world)
    half = part(root)
    child = next(iter(half.children.values()))
    named = child._replace(called=half.header.tick) if decided == "called" else child._replace(appointed=child.roster)
    if decided == "appointed":
        assert named.appointed == encode_roster(child.sealers)
    assert not books_of(world, at, part(root), child).has_work
    books = books_of(world, at, half, named)
    assert books.has_work
    body = books.propose(books.tick, None)
    assert body is not None
    assert body.is_empty
    header = body.close(books.tick)
    books.proposed = None
    again = books.adopt(body.header_bytes, tuple(body.entries), list(body.segments), header.term)
    assert again.header_bytes == body.header_bytes
    whole = books_of(world, at, root, named._replace(called=0, appointed=child.roster))
    assert not whole.has_work, "it has been told under its own header"


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({"called": 1}, [CALLED_TICKS]),
        ({"offer": Offer(MERGE), "offered": 1}, [BUDDY_TICKS, KEPT_TICKS]),
    ],
    ids=["called", "offered"],
)
def test_a_header_for_the_dates_sake(world: Groups, changes: dict[str, Any], due: list[int]) -> None:
    """What is due by this node's count, but not by the date of what is sealed; an offer to be merged has two dates."""
    at, root = root_of(world)
    date = root.header.tick
    child = next(iter(root.children.values()))
    for wait in due:
        begun = date + 1 - wait  # due in the tick after the last header's
        moved: dict[str, Any] = {name: begun if value == 1 else value for name, value in changes.items()}
        books = books_of(world, at, root, child._replace(**moved))
        books.tick = date
        assert not books._waits_for_date
        books.tick = date + 1
        assert books._waits_for_date


def test_a_group_that_comes_before_its_root_header(world: Groups) -> None:
    """Who has missed the root header that shows it asks for that, if the teller is one who has the newest state."""
    at = next(index for index, node in enumerate(world.nodes) if not len(node.between.seats))
    node, own = world.nodes[at], world.keys[at].public
    world.passes = lambda source, peer, content: peer != own or frames.kind_of(content) != frames.BRANCH
    keeper, _ = root_of(world)
    world.pay(keeper, at, 1)
    world.run(2 * PULSE_MS)
    _, group = root_of(world)
    assert group.header.pulse > node.between.trunk.pulse
    source = world.keys[keeper].public
    asks = []
    for is_near in (False, True):
        peer = node.peers.connected[source]
        peer.status = Status(group.header.pulse, group.digest, 0, 0) if is_near else None
        node.between.trunk._asked_ms = None
        events = [FrameReceived(source, frame) for frame in upper_frames(group)]
        node.between.seats._read = b"", 0
        effects = node.turn(events, world.machines[at].now_ms)
        node.performed()
        asks.append([peer for peer, content in effects.sends if frames.kind_of(content) == frames.WANT_BRANCH])
    assert asks == [[], [source]]


def test_the_root_header_is_kept_with_the_group_that_it_shows(world: Groups) -> None:
    """A group that was told and taken is nothing without it after a restart."""
    at, group = root_of(world)
    node = world.nodes[at]
    world.run(PULSE_MS)
    newest = node.between.trunk.roots.seal
    assert newest is not None
    node.between.trunk._unkept.append((group.header.pulse, group.digest, group.header.tick))
    effects = Effects()
    node.between.seats.found(effects, group, world.machines[at].now_ms)
    assert keys.ROOT in dict(effects.writes)
    assert keys.root(group.header.pulse) in dict(effects.writes)
