"""Members that were away catch up, by pulses or by a jump; and what is not believed of a state that is offered."""

from __future__ import annotations

from typing import Any

import pytest

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.errors import Halt
from leither_lite.header import Checkpoint
from leither_lite.node import events as ev, frames
from leither_lite.node.catchup import ASK_MS, JUMP_PULSES_MIN, STATE_MS_MAX
from leither_lite.node.states import make_state
from leither_lite.store import keys
from tests.ledger.founding import key_of
from tests.node.net import Net


@pytest.mark.parametrize("away", [3, JUMP_PULSES_MIN + 36])
@pytest.mark.parametrize("roster", [1, 3])
def test_a_member_that_was_away_catches_up(away: int, roster: int) -> None:
    net = Net(4, roster).settled()
    net.kill(3)
    net.beat(away)
    net.start(3)
    net.run(8_000)
    assert net.agree()
    jumped = away > JUMP_PULSES_MIN
    assert [note.kind for note in net.notes[3]].count("caught_up") == jumped
    net.check(3)
    name = net.pay(3, 1, 5)
    net.run(3_000)
    assert net.state(3, name) == "credited"
    net.beat(2, 3)
    assert net.agree()
    net.check(3)
    assert net.blamed == []


def test_a_jump_over_a_change_of_roster_keeps_what_proofs_need() -> None:
    net = Net(4, 1).settled()
    net.kill(3)
    public = [key.public for key in net.keys]
    net.beat(2)
    net.ask(0, ev.ChangeRoster(0, (public[0], public[1], public[2])))
    net.run(3_000)
    net.beat(JUMP_PULSES_MIN + 10)
    net.start(3)
    net.run(6_000)
    assert net.agree()
    net.check(3)
    net.beat(2)
    net.check(3)
    assert net.blamed == []


def test_a_jump_onto_the_change_of_roster_itself() -> None:
    net = Net(4, 1).settled()
    net.kill(3)
    public = [key.public for key in net.keys]
    net.beat(JUMP_PULSES_MIN + 10)
    net.ask(0, ev.ChangeRoster(0, (public[0], public[1], public[2])))
    net.run(2_500)
    net.start(3)
    net.run(6_000)
    assert net.agree()
    net.check(3)
    net.beat(2)
    net.check(3)


def state_of(net: Net, index: int) -> list[Any]:
    """The parts of the state that a node gives."""
    blob = make_state(net.stores[index])[1]
    value = codec.decode(blob)
    assert isinstance(value, list)
    return value


def offer(net: Net, index: int, source: int, value: list[Any]) -> None:
    """A node has asked another for the state, and is given this."""
    blob = encode(value)
    node = net.nodes[index]
    node.catchup._asked = (net.keys[source].public, 0, net.now_ms + ASK_MS)
    parts = range(0, len(blob), 48 * 1024)
    for number, at in enumerate(parts):
        chunk = blob[at : at + 48 * 1024]
        net.hear(index, source, encode([frames.STATE, bytes(32), number, len(parts), chunk]))


def away(beats: int = 0) -> Net:
    """Node 2 is some pulses behind, and does not know."""
    net = Net(3, 1).settled()
    net.beat(beats)
    net.part(0, 2)
    net.part(1, 2)
    net.beat(5)
    net.tamper = lambda source, target, content: None
    net.heal()
    return net


def test_a_state_that_holds_is_taken() -> None:
    net = away()
    offer(net, 2, 1, state_of(net, 0))
    assert net.agree()
    net.check(2)


@pytest.mark.parametrize("at", range(5))
def test_a_state_with_any_byte_changed_is_refused(at: int) -> None:
    net = away()
    before = net.stores[2].content()
    whole = state_of(net, 0)
    for place in range(0, len(whole[at]), max(1, len(whole[at]) // 60)):
        part = whole[at]
        if not isinstance(part, bytes):
            break
        changed = [*whole]
        changed[at] = part[:place] + bytes([part[place] ^ 1]) + part[place + 1 :]
        offer(net, 2, 1, changed)
        assert net.stores[2].content() == before, place
    assert net.pulses[2] < net.pulses[0]


@pytest.mark.parametrize("pulse", [0, 1, 10**6])
def test_a_checkpoint_that_nobody_signed_is_not_kept(pulse: int) -> None:
    """One that is not used for the chain is not checked: to write it down would stop this node for good."""
    net = away()
    forged = Checkpoint.sign(key_of(99), net.network, pulse, bytes(32), net.nodes[0].group.roster)
    value = state_of(net, 0)
    offer(net, 2, 1, [*value[:4], forged.encode()])
    assert net.agree()
    assert net.stores[2].get(keys.CHECKPOINT) is None
    net.check(2)


@pytest.mark.parametrize(("beats", "agreed"), [(0, False), (3, True)])
def test_handovers_of_another_chain_are_not_kept(beats: int, agreed: bool) -> None:
    """Where one would be used, the state does not follow from it; where it would not, nobody has checked it."""
    other = Net(3, 1).settled()
    other.ask(0, ev.ChangeRoster(0, tuple(key.public for key in other.keys)))
    other.run(3_000)
    [(key, handover)] = list(other.stores[0].scan(*keys.HANDOVERS))
    net = away(beats)
    assert (key <= keys.handover(net.pulses[2])) == agreed
    value = state_of(net, 0)
    offer(net, 2, 1, [*value[:3], [handover], value[4]])
    assert net.agree() == agreed
    assert net.stores[2].get(key) is None
    net.check(2)


def test_a_node_with_a_member_asks_no_stranger() -> None:
    net = Net(3, 1)
    net.run(100)
    net.admit(1)
    net.run(2_500)
    asked: list[int] = []

    def tamper(source: int, target: int, content: bytes) -> bytes | None:
        if source == 1 and content[1] in (frames.WANT_STATE, frames.WANT_PULSE):
            asked.append(target)
        return content

    net.tamper = tamper
    net.hear(1, 2, frames.Status(10**6, bytes(32), 0, 0).encode())
    net.run(5_000)
    assert asked == []
    net.part(0, 1)
    net.hear(1, 2, frames.Status(10**6, bytes(32), 0, 0).encode())
    assert asked == [2], "who has nobody else asks anybody"


def test_who_answers_too_slowly_is_not_waited_for() -> None:
    net = away()
    node = net.nodes[2]
    net.hear(2, 1, frames.Status(10**6, bytes(32), 0, 0).encode())
    assert node.catchup.deadline_ms == net.now_ms + ASK_MS
    began_ms, peer = net.now_ms, node.peers.connected[net.keys[1].public]
    for number in range(170):
        if peer.failed_ms is not None:
            break
        net.now_ms += ASK_MS - 1
        net.hear(2, 1, encode([frames.STATE, bytes(32), number, 170, b"x"]))
        net.do(2)
    assert peer.failed_ms is not None
    assert net.now_ms - began_ms <= STATE_MS_MAX + ASK_MS


def test_parts_in_another_order_are_refused() -> None:
    net = away()
    node = net.nodes[2]
    for number, parts in ((1, 3), (0, 0), (3, 3), (0, 10**6)):
        node.catchup._asked = (net.keys[1].public, 0, net.now_ms + ASK_MS)
        net.blamed = []
        net.hear(2, 1, encode([frames.STATE, bytes(32), number, parts, b"x"]))
        assert net.blamed == [(2, 1)]
    assert node.hall.refused.keys() == {"bad_state_part"}


def test_what_nobody_asked_for_is_not_taken() -> None:
    net = away()
    before = net.stores[2].content()
    blob = encode(state_of(net, 0))
    net.hear(2, 1, encode([frames.STATE, bytes(32), 0, 1, blob]))
    sealed = net.stores[0].get(keys.sealed(net.pulses[2] + 1)) or b""
    net.hear(2, 1, encode([frames.PULSE, sealed, []]))
    assert net.stores[2].content() == before


def test_who_has_no_such_pulse_says_so_and_gives_the_state() -> None:
    net = away()
    net.tamper = lambda source, target, content: content
    for pulse in range(net.pulses[2] + 1, net.pulses[0] + 1):
        for index in (0, 1):
            net.stores[index].write([(key, None) for key, _ in list(net.stores[index].scan(*keys.segments(pulse)))])
    net.run(12_000)
    assert net.agree()
    assert [note.kind for note in net.notes[2]].count("caught_up") == 1
    net.check(2)


def test_a_damaged_checkpoint_in_the_own_store_halts() -> None:
    net = Net(1, 1)
    net.stores[0].write([(keys.CHECKPOINT, b"\x80")])
    with pytest.raises(Halt, match="store_corrupt"):
        net.start(0)
