"""Who holds: a transfer is pending until enough have signed; the silent are marked; early words; lies of silence."""

from __future__ import annotations

import pytest

from leither_lite.codec import Value, decode
from leither_lite.effects import Effects
from leither_lite.errors import RemoteError
from leither_lite.ledger.body import Body
from leither_lite.ledger.committee import Held
from leither_lite.ledger.group import Group
from leither_lite.node import events as ev, frames
from leither_lite.node.holders import EARLY_MAX, ENOUGH_TICKS, Holders
from leither_lite.store import keys
from tests.ledger.founding import (
    FOUNDER,
    NETWORK,
    admission as admitted,
    founded_group,
    held,
    key_of,
    pulse,
    take,
    willingness,
)
from tests.node.net import PULSE_MS, Net

OTHERS = [key_of(number) for number in range(20, 24)]


def holders(own: int = 20, number: int = 2) -> Holders:
    """Four are willing, and have held before; the committee is the founder."""
    return Holders(NETWORK, key_of(own), number, PULSE_MS, willing_group(), 0)


def willing_group() -> Group:
    """Four hold for the founder."""
    group = founded_group()
    pulse(group, *(admitted(key) for key in OTHERS))
    pulse(group, *(willingness(key) for key in OTHERS))
    pulse(group, held(group.digest, OTHERS), admitted(key_of(60)))
    return group


def word(room: Holders, key: int, digest: bytes | None = None) -> list[Value]:
    """What a holder says."""
    digest = room._digest if digest is None else digest
    return [frames.HELD, digest, key_of(key).public, Held.sign(NETWORK, key_of(key), digest)]


def test_as_many_are_drawn_as_asked_for_and_more_with_time() -> None:
    room = holders()
    assert len(room.candidates) == 4
    assert [len(room.drawn(ticks * PULSE_MS)) for ticks in (0, 4, 5, 9, 10)] == [2, 2, 4, 4, 4]
    assert set(room.candidates) == {key.public for key in OTHERS}
    assert room.required == 2
    assert room.deadline_ms(0) == room.deadline_ms(4_999) == 5 * PULSE_MS
    assert holders(number=0).is_final(0)
    assert holders(number=9).required == 4


def test_final_once_enough_have_signed_or_time_is_up() -> None:
    room = holders()
    assert not room.is_final(0)
    assert room.take(word(room, 20))
    assert not room.take(word(room, 20)), "once each"
    assert not room.is_final(0)
    assert room.take(word(room, 23))
    assert room.is_final(0)
    assert room.deadline_ms(0) is None
    assert not holders().is_final((ENOUGH_TICKS - 1) * PULSE_MS)
    assert holders().is_final(ENOUGH_TICKS * PULSE_MS)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([19, bytes(32)], "bad_held"),
        ([19, bytes(31), bytes(32), bytes(64)], "bad_held"),
        ([19, bytes(32), bytes(31), bytes(64)], "bad_held"),
        ([19, bytes(32), bytes(32), bytes(63)], "bad_held"),
    ],
)
def test_refused(values: list[Value], reason: str) -> None:
    with pytest.raises(RemoteError, match=reason):
        holders().take(values)


def test_only_the_willing_count_and_only_with_a_signature() -> None:
    room = holders()
    assert not room.take(word(room, 30))
    assert not room.take([19, room._digest, FOUNDER.public, Held.sign(NETWORK, FOUNDER, room._digest)])
    with pytest.raises(RemoteError, match="bad_signature"):
        room.take([*word(room, 20)[:3], bytes(64)])


def test_a_word_that_comes_before_its_header_counts_when_that_comes() -> None:
    room = holders()
    later = willing_group()
    pulse(later, admitted(key_of(40)))
    assert room._group.digest != later.digest
    for key in (20, 21):
        assert not room.take(word(room, key, later.digest))
    assert not room.is_final(0)
    room.sealed(later, 0)
    assert room.is_final(0)
    for number in range(200):
        room.take([19, number.to_bytes(32, "big"), key_of(20).public, bytes(64)])
    assert len(room._early) <= EARLY_MAX


def test_who_is_drawn_signs_and_says_it_again_until_it_is_final() -> None:
    first = next(number for number in range(20, 24) if key_of(number).public == holders().candidates[0])
    last = next(number for number in range(20, 24) if key_of(number).public == holders().candidates[3])
    room = holders(first)
    frame = room.sign(0)
    assert frame is not None
    assert decode(frame) == word(room, first)
    assert room.sign(0) is None, "not at once"
    assert holders(last).sign(0) is None, "not drawn yet"
    assert holders(last).sign(5 * PULSE_MS) is not None
    effects = Effects()
    room.tell(effects, b"peer")
    assert effects.sends == [(b"peer", frame)]


def body_with(room: Holders, operation: Held | None) -> Body:
    """A proposed body that begins with `operation`."""
    body = Body(room._group)
    operations = [admitted(key_of(50))] if operation is None else [operation, admitted(key_of(50))]
    take(body, *operations)
    body.close(0)
    return body


def test_a_proposal_must_bring_the_signatures() -> None:
    room = holders()
    digest = room._digest
    assert not room.suffices(body_with(room, None), 0)
    room = holders()
    assert not room.suffices(body_with(room, held(digest, OTHERS[:1])), 0)
    room = holders()
    assert room.suffices(body_with(room, held(digest, OTHERS[1:3])), 0)
    room = holders()
    assert room.suffices(body_with(room, None), ENOUGH_TICKS * PULSE_MS)


def test_nobody_is_named_as_silent_too_early_or_wrongly() -> None:
    room = holders()
    liar = held(room._digest, OTHERS[:2], OTHERS[2:])
    body = body_with(room, liar)
    assert not room.suffices(body, 0)
    assert room.suffices(body, ENOUGH_TICKS * PULSE_MS)
    room.take(word(room, 22))
    assert not room.suffices(body, ENOUGH_TICKS * PULSE_MS), "22 has signed, as this node knows"


def held_net(size: int, roster: int) -> Net:
    """A network in which all who are outside the committee have held."""
    net = Net(size, roster, willing=1)
    net.run(50)
    net.admit(*range(1, size))
    net.run(12_000)
    net.ask(0, ev.Distribute(0, net.keys[0].account, 500, "to begin with", None))
    net.run(3_000)
    net.beat(4, 1)
    net.run(3_000)
    assert outside(net) == dict.fromkeys(range(roster, size), 0)
    assert net.agree()
    return net


def outside(net: Net) -> dict[int, int]:
    """Who holds for the committee, and whether it counts as silent."""
    group = net.nodes[0].group
    marks = {net._index(each.key): each.silent for each in group.state.willing if each.key not in group.roster_keys}
    return dict(sorted(marks.items()))


@pytest.mark.parametrize("roster", [1, 3])
def test_a_transfer_is_pending_until_enough_hold_it(roster: int) -> None:
    net = held_net(roster + 2, roster)
    lost = [frames.HELD]
    net.tamper = lambda source, target, content: None if content[1] in lost else content
    net.notes = [[] for _ in net.nodes]
    name = net.pay(0, 1)
    net.run(4_000)
    pulse_ = net.pulses[0]
    assert net.state(0, name) == "pending"
    assert not net.nodes[0].is_final
    assert not [note for note in net.notes[0] if note.kind == "transfer"]
    waiting = net.pay(0, 1)
    net.run(3_000)
    assert net.pulses[0] == pulse_, "the next agreement waits too"
    lost.clear()
    net.run(8_000)
    assert net.pulses[0] == pulse_ + 1
    assert [net.state(0, each) for each in (name, waiting)] == ["credited", "credited"]
    told = [note.value["id"] for note in net.notes[0] if note.kind == "transfer"]
    assert told == [name, waiting]
    [content] = [content for _, content in net.stores[0].scan(*keys.segments(pulse_ + 1))]
    operations = decode(content)
    assert isinstance(operations, list)
    first = operations[0]
    assert isinstance(first, list)
    assert first[:2] == [Held.CODE, net.nodes[0].group.header.previous]
    assert isinstance(first[2], list)
    assert len(first[2]) == 2
    assert net.blamed == []


def test_the_silent_are_marked_and_drawn_again_once_they_sign() -> None:
    net = held_net(4, 1)
    net.kill(2)
    net.kill(3)
    net.beat(1)
    net.run((ENOUGH_TICKS + 1) * PULSE_MS)
    net.beat(2)
    net.run(2_000)
    assert outside(net) == {1: 0, 2: 1, 3: 1}
    pulse_ = net.pulses[0]
    net.beat(3)
    assert net.pulses[0] == pulse_ + 3, "who is silent is not waited for"
    net.start(2)
    net.start(3)
    net.run(3_000)
    net.beat(4)
    net.run(3_000)
    assert outside(net) == {1: 0, 2: 0, 3: 0}
    assert net.agree()
