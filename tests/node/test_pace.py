"""The root's seal makes the pulse, also for those who seal it: when they do, and what they keep of it."""

from __future__ import annotations

from itertools import pairwise

from leither_lite import codec
from leither_lite.header import Header
from leither_lite.node import frames
from leither_lite.sim.founding import PULSE_MS
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys
from tests.node.groups import Groups, grown

CYCLES = 12
ROSTER = 4


def root_pulse(content: bytes) -> int:
    """The pulse of the root header that a branch, or a row of the store, begins with."""
    values = codec.items(codec.decode(content), 7, "bad_root")
    header = next(each for each in values if isinstance(each, bytes))
    return Header.decode(header).pulse


def arrivals(world: Groups) -> list[int]:
    """When each root header was first told of, while payments go on all the time, in virtual ms."""
    told_ms: dict[int, int] = {}

    def passes(source: int, peer: bytes, content: bytes) -> bool:
        if frames.kind_of(content) == frames.BRANCH:
            told_ms.setdefault(root_pulse(content), world.agenda.now_ms)
        return True

    first, begun_ms = world.nodes[0].between.trunk.pulse, world.agenda.now_ms
    world.passes = passes
    turn = 0
    while world.agenda.now_ms < begun_ms + CYCLES * PULSE_MS:
        world.pay(turn % len(world.nodes), (turn * 5 + 3) % len(world.nodes), 1)
        turn += 1
        world.run(PULSE_MS // 8)
    return [at_ms for pulse, at_ms in sorted(told_ms.items()) if pulse > first]


def test_a_busy_root_keeps_the_pace() -> None:
    """A root at level k proposes k/(k + 1) of a cycle after its last header, whatever waits; its committee keeps the
    root chain as all others do."""
    with checked_once():
        world = grown()
        told_ms = arrivals(world)
        assert len(told_ms) >= CYCLES // 4
        assert min(later - earlier for earlier, later in pairwise(told_ms)) >= PULSE_MS // 2
        world.until(world.is_at_rest)
        world.run(PULSE_MS)  # what a turn writes is on the disk
    seated = [machine for machine in world.machines if machine.node is not None and len(machine.node.between.seats)]
    assert len(seated) == ROSTER
    for machine in seated:
        assert machine.node is not None
        trunk, kept = machine.node.between.trunk, machine.disk.get(keys.ROOT)
        assert [seat.books.group.header.pulse for seat in machine.node.between.seats] == [trunk.pulse]
        assert kept is not None
        assert trunk.pulse - root_pulse(kept) <= 1
        assert trunk.roots.seal is not None
        assert Header.decode(trunk.roots.seal.header).pulse == trunk.pulse
