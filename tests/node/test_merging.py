"""Two small groups that their parent merges, in whole nodes: what each takes over from the other, and who may ask.

Fourteen machines stand in nine groups. Those of 100 and 101 are buddies, and small; so are two others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import pytest

from leither_lite.codec import decode, encode, items, octets_upto
from leither_lite.errors import RemoteError
from leither_lite.header import Header, encode_roster, header_digest
from leither_lite.ledger.judge_children import BUDDY_TICKS, CALLED_TICKS, KEPT_TICKS
from leither_lite.ledger.merged import Merged
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import MERGE
from leither_lite.node import frames
from leither_lite.node.books import MERGE_TERMS
from leither_lite.node.group_states import make_group_state, sealed_of
from leither_lite.node.states import STATE_BYTES_MAX
from leither_lite.node.turn import Node
from leither_lite.sim.founding import GIVEN, PULSE_MS
from leither_lite.sim.signatures import checked_once
from leither_lite.sim.standing import stand
from leither_lite.store import keys
from leither_lite.tree.proof import verify
from tests.node.groups import GROUP_MAX, ROSTER, TERM_TICKS, Groups

MACHINES: Final = 14
LOW: Final = (3, 12)
HIGH: Final = (11,)
BOTH: Final = (*LOW, *HIGH)
OTHERS: Final = (2, 4, 5, 6, 8, 9, 10)
"""Their groups stay as they are."""
MERGED_MS: Final = MERGE_TERMS * TERM_TICKS * PULSE_MS
ROUNDS_MAX: Final = 80


def standing() -> Groups:
    return Groups(0, MACHINES, founded=stand(MACHINES, ROSTER, GROUP_MAX, TERM_TICKS, 2))


@pytest.fixture(name="groups")
def _groups() -> Iterator[Groups]:
    with checked_once():
        yield standing()


def node(groups: Groups, index: int) -> Node:
    found = groups.machines[index].node
    assert found is not None
    return found


def bits(groups: Groups, index: int) -> int:
    """Of a node's group; 0 where it is down."""
    found = groups.machines[index].node
    return 0 if found is None else found.group.bits


def busy(groups: Groups, is_so: Callable[[], bool]) -> dict[int, int]:
    """Let payments go on until something is so: who has nothing to seal ends no terms. How many each has made."""
    made = dict.fromkeys((3, 11), 0)
    for _ in range(ROUNDS_MAX):
        if is_so():
            return made
        for payer in made:
            groups.pay(payer, 4, 1)
            made[payer] += 1
        groups.run(PULSE_MS)
    raise AssertionError("it did not come to be so")


def has_offered(groups: Groups, who: tuple[int, ...]) -> bool:
    return all(node(groups, index).group.state.offer.kind == MERGE for index in who)


def has_merged(groups: Groups, who: tuple[int, ...] = BOTH) -> bool:
    """True once these are in the merged group, and it has sealed something."""
    return all(bits(groups, index) == 2 and not node(groups, index).group.opened for index in who)


def sealed_first(groups: Groups, index: int) -> Header:
    """The first header of the merged group that a node has."""
    for key, content in node(groups, index).reader.scan(*keys.PULSES):
        if key == keys.sealed(keys.sequence_of(key)) and SealedPulse.decode(content).header.bits == 2:
            return SealedPulse.decode(content).header
    raise AssertionError("there is none")


def test_two_become_one(groups: Groups) -> None:
    before = {index: node(groups, index).group.prefix for index in OTHERS}
    made = busy(groups, lambda: has_offered(groups, BOTH))
    paid = [(3, groups.pay(3, 11, 3)), (11, groups.pay(11, 3, 4)), (12, groups.pay(12, 5, 5))]
    opened: set[int] = set()
    pulses = [node(groups, index).group.header.pulse for index in (LOW[0], HIGH[0])]
    assert pulses[0] != pulses[1]
    in_vain: list[bytes] = []

    def passes(source: int, peer: bytes, content: bytes) -> bool:
        """Whoever has what both were waits for what comes after that, and asks for nothing else."""
        kind = frames.kind_of(content)
        is_open = source in BOTH and node(groups, source).group.opened
        if kind == frames.WANT_STATE and content == encode([kind, b"", 0]):
            in_vain.append(content)
        if is_open and kind == frames.WANT_PULSE:
            before = node(groups, source).between.becoming.pulse
            in_vain.extend([content] if content <= encode([kind, before]) else [])
        return True

    def look() -> bool:
        for index in BOTH:
            here = node(groups, index)
            branch, place = here.between.trunk.branch, here.between.trunk.home()
            if here.group.opened and branch is not None and place is not None:
                opened.add(index)
                newest = int.from_bytes(branch.floors[-1].nodes[place][:8], "big")
                assert (here.between.shown_node() is None) == (newest == max(pulses)), "it misses what comes next"
        return has_merged(groups)

    groups.passes = passes
    groups.until(look, MERGED_MS)
    assert opened
    assert in_vain == []
    groups.until(groups.is_at_rest, MERGED_MS)
    chains = {node(groups, index).group.digest for index in BOTH}
    assert len(chains) == 1
    assert {index: node(groups, index).group.prefix for index in OTHERS} == before
    for index, name in paid:
        assert groups.view(index).transfer(name)["state"] == "credited"
    for index in BOTH:
        proof = groups.view(index).proof(groups.keys[index].account, None)
        assert verify(proof, groups.trust).record is not None
    held = [node(groups, 11).group.entries[groups.keys[index].account].record.balance for index in BOTH]
    assert held == [GIVEN - made[3] - 3 + 4, GIVEN - 5, GIVEN - made[11] + 3 - 4]


@pytest.mark.parametrize("late", BOTH)
def test_who_hears_late_of_a_merge(groups: Groups, late: int) -> None:
    """Those above have another header of the merged group by then: others of it tell what the two were at first, and
    what came since is executed. (Who was alone in its half gives that once it has heard to whom: so it hears that.)"""
    busy(groups, lambda: has_offered(groups, BOTH))
    name = groups.pay(late, 4, 2)
    rest = tuple(index for index in BOTH if index != late)
    silent = (frames.STATE, frames.PULSE, *([frames.UPPER] if late in LOW else []))
    groups.passes = lambda source, peer, content: (
        peer != groups.keys[late].public or frames.kind_of(content) not in silent
    )
    busy(
        groups,
        lambda: (
            has_merged(groups, rest)
            and node(groups, rest[0]).group.header.pulse >= sealed_first(groups, rest[0]).pulse + 3
        ),
    )
    assert bits(groups, late) == 3
    groups.passes = lambda source, peer, content: True
    groups.until(groups.is_at_rest, 2 * MERGED_MS)
    assert node(groups, late).group.digest == node(groups, rest[0]).group.digest
    assert groups.view(late).transfer(name)["state"] == "credited"
    assert sealed_first(groups, late) == sealed_first(groups, rest[0])


@pytest.mark.parametrize("away", LOW)
def test_a_member_that_was_away(groups: Groups, away: int) -> None:
    """Back when the others have merged and gone on, it takes the other half over, and executes what came since."""
    busy(groups, lambda: has_offered(groups, BOTH))
    name = groups.pay(away, 4, 2)
    groups.run(PULSE_MS)
    groups.machines[away].stop()
    rest = tuple(index for index in BOTH if index != away)
    payers = (11, 4)
    for _ in range(ROUNDS_MAX):
        for payer in payers:
            groups.pay(payer, 5, 1)
        groups.run(PULSE_MS)
        if has_merged(groups, rest) and node(groups, 11).group.header.pulse >= sealed_first(groups, 11).pulse + 3:
            break
    groups.machines[away].start()
    groups.until(groups.is_at_rest, 2 * MERGED_MS)
    assert node(groups, away).group.digest == node(groups, rest[0]).group.digest
    assert groups.view(away).transfer(name)["state"] == "credited"
    assert sealed_first(groups, away) == sealed_first(groups, rest[0])


def test_a_power_cut_in_the_middle(groups: Groups) -> None:
    """All of both go down as soon as one of them is in the merged group: they come to the same all the same."""
    busy(groups, lambda: has_offered(groups, BOTH))
    names = {index: groups.pay(index, 4, 2) for index in BOTH}
    groups.until(lambda: any(bits(groups, index) == 2 for index in BOTH), MERGED_MS)
    for index in BOTH:
        groups.machines[index].stop()
    groups.run(3 * PULSE_MS)
    for index in BOTH:
        groups.machines[index].start()
    groups.until(lambda: has_merged(groups), MERGED_MS)
    groups.until(groups.is_at_rest, 2 * MERGED_MS)
    assert {node(groups, index).group.digest for index in BOTH} == {node(groups, 3).group.digest}
    assert [groups.view(index).transfer(names[index])["state"] for index in BOTH] == ["credited"] * len(BOTH)


def test_a_buddy_that_is_not_small(groups: Groups) -> None:
    """It is called for, seals something else, and the one that has offered goes on: nothing waits there for long."""
    busy(groups, lambda: bits(groups, 0) == 4 and not node(groups, 0).group.opened)
    payers = (13, 0)
    for _ in range(ROUNDS_MAX):
        for payer in payers:
            groups.pay(payer, 4, 1)
        groups.run(PULSE_MS)
        if has_offered(groups, (13,)):
            break
    offered_ms = groups.agenda.now_ms
    groups.until(lambda: not has_offered(groups, (13,)), MERGED_MS)
    assert groups.agenda.now_ms - offered_ms < 2 * BUDDY_TICKS * PULSE_MS
    assert bits(groups, 13) == 4


def test_a_buddy_that_is_away(groups: Groups) -> None:
    """It is called for in vain; then its neighbor goes on as it is, though nobody else has anything to seal."""
    groups.machines[11].stop()
    for _ in range(ROUNDS_MAX):
        groups.pay(3, 4, 1)
        groups.run(PULSE_MS)
        if has_offered(groups, LOW):
            break
    offered_ms = groups.agenda.now_ms
    groups.until(lambda: not has_offered(groups, LOW), 2 * CALLED_TICKS * PULSE_MS)
    assert groups.agenda.now_ms - offered_ms < (KEPT_TICKS + BUDDY_TICKS) * PULSE_MS
    assert bits(groups, 3) == 3


def test_the_halves_are_kept_for_a_term(groups: Groups) -> None:
    busy(groups, lambda: has_merged(groups))
    assert all(node(groups, 3).reader.get(key) is not None for key in keys.HALVES)
    busy(groups, lambda: node(groups, 3).group.header.term > 0)
    assert [node(groups, 3).reader.get(key) for key in keys.HALVES] == [None, None]


def test_who_may_ask(groups: Groups) -> None:
    """A member of another group gets neither what those above know of the two, nor what either was."""
    busy(groups, lambda: has_merged(groups))
    heard: list[bytes] = []

    def listen(source: int, peer: bytes, content: bytes) -> bool:
        if peer == groups.keys[4].public and frames.kind_of(content) in (frames.UPPER, frames.STATE, frames.REFUSED):
            heard.append(content)
        return True

    groups.passes = listen
    state = node(groups, 3)
    halves = [state.reader.get(key) or b"" for key in keys.HALVES]
    digests = [header_digest(sealed_of(half).header_bytes) for half in halves]
    asker = groups.machines[4]
    assert asker.hub is not None
    floor = state.between.trunk.floor(2)
    assert floor is not None
    for target in range(MACHINES):
        asker.hub.send(
            4, groups.keys[target].public, encode([frames.WANT_UPPER, floor.level, floor.bits, floor.prefix])
        )
    for target in BOTH:
        for digest in digests:
            asker.hub.send(4, groups.keys[target].public, encode([frames.WANT_STATE, digest, 0]))
    groups.run(PULSE_MS)
    assert {content for content in heard if frames.kind_of(content) == frames.STATE} == set()
    assert [content for content in heard if frames.kind_of(content) == frames.REFUSED] == [
        frames.refused_frame(frames.WANT_STATE, "not_a_member")
    ] * (len(BOTH) * len(digests))
    assert not any(frames.kind_of(content) == frames.UPPER for content in heard)


def test_what_the_two_have_become_is_checked(groups: Groups) -> None:
    """Nothing of what others of the merged group show is believed but under a root header of the chain."""
    late = 3
    busy(groups, lambda: has_offered(groups, BOTH))
    shown: list[bytes] = []

    def passes(source: int, peer: bytes, content: bytes) -> bool:
        is_state = peer == groups.keys[late].public and frames.kind_of(content) == frames.STATE
        if is_state and source != HIGH[0]:
            shown.append(content)
        return not is_state

    groups.passes = passes
    busy(groups, lambda: bool(shown))
    _, _, part, parts, content = items(decode(shown[0]), 5, "bad_state_part")
    assert (part, parts) == (0, 1)
    half, proof = items(decode(octets_upto(content, STATE_BYTES_MAX, "bad_state")), 2, "bad_state")
    merged = Merged.decode(octets_upto(proof, STATE_BYTES_MAX, "bad_state"))
    becoming, place = node(groups, late).between.becoming, node(groups, late).between.trunk.home()
    assert place is not None
    root = Header.decode(merged.shown.root)
    later = replace(root, tick=root.tick + 1).encode()
    false = [
        merged._replace(willing=merged.willing[1:]),
        merged._replace(roster=encode_roster([merged.shown.root[-32:]])),
        merged._replace(shown=replace(merged.shown, root=later)),
        merged._replace(shown=replace(merged.shown, sent_out=merged.shown.sent_out + 1)),
        merged._replace(shown=replace(merged.shown, pulse=merged.shown.pulse + 1)),
        merged._replace(shown=replace(merged.shown, above=merged.shown.above[1:])),
    ]
    for each in false:
        with pytest.raises(RemoteError, match="bad_state|shown_mismatch|bad_signature"):
            becoming.join(encode([half, each.encode()]), place)
    other = make_group_state(node(groups, 4).reader, node(groups, 4).group)
    with pytest.raises(RemoteError, match="bad_state"):
        becoming.join(encode([other, proof]), place)
    assert bits(groups, late) == 3
    assert becoming.join(encode([half, proof]), place)


def test_a_half_that_is_not_the_buddys(groups: Groups) -> None:
    """Nothing is lost of what waits here, and whoever has sent it is not believed."""
    busy(groups, lambda: has_offered(groups, BOTH))
    stopped: list[bytes] = []

    def passes(source: int, peer: bytes, content: bytes) -> bool:
        is_half = peer == groups.keys[3].public and frames.kind_of(content) == frames.STATE
        if is_half:
            stopped.append(content)
        return not is_half

    groups.passes = passes
    groups.until(lambda: bool(stopped), MERGED_MS)
    groups.pay(3, 4, 2)
    books, becoming = node(groups, 3).books, node(groups, 3).between.becoming
    place = node(groups, 3).between.trunk.home()
    assert place is not None
    before = [operation for operation, _ in books.body.operations]
    assert before
    own = make_group_state(node(groups, 3).reader, node(groups, 3).group)
    with pytest.raises(RemoteError, match="bad_state"):
        becoming.join(own, place)
    assert [operation for operation, _ in books.body.operations] == before
    groups.passes = lambda source, peer, content: True
    groups.until(groups.is_at_rest, 2 * MERGED_MS)
    assert has_merged(groups)
    assert sealed_first(groups, 3) == sealed_first(groups, 11), "it has taken the right half then"
