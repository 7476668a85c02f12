"""Frames: their kinds, and that nothing a peer sends gets out of a turn as anything but a count against it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.errors import RemoteError
from leither_lite.node import frames
from leither_lite.node.frames import KINDS, STRANGERS, Status, kind_of
from leither_lite.pulse.votes import PREVOTE, Place, Vote
from tests.node.net import Net

LENGTHS = st.sampled_from([0, 1, 16, 20, 31, 32, 33, 36, 64, 65])
LEAVES = (
    st.integers(0, 2**64 - 1)
    | st.integers(0, 30)
    | LENGTHS.flatmap(lambda size: st.binary(min_size=size, max_size=size))
    | st.text(max_size=70)
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=8), max_leaves=24)


class Talk:
    """A committee of three that works; node 0 hears frames of member 1, and of 4, who is a stranger."""

    def __init__(self) -> None:
        self.net = Net(4, 3, willing=1)
        self.net.run(50)
        self.net.admit(1, 2)
        self.net.run(8_000)
        self.spoken: list[bytes] = []
        self.net.tamper = self._note
        self.net.pay(0, 1) if self.net.balance(0) else self.net.beat(1, 1)
        self.net.beat(2, 1)
        self.net.tamper = lambda source, target, content: content

    def _note(self, source: int, target: int, content: bytes) -> bytes:
        if content not in self.spoken:
            self.spoken.append(content)
        return content


TALK: list[Talk] = []


def talk() -> Talk:
    """One for all examples: what breaks it breaks it for good, and shows at the end."""
    if not TALK:
        TALK.append(Talk())
    return TALK[0]


def say(content: bytes) -> None:
    """A member and a stranger say something to a node in the middle of an agreement, and time goes on."""
    net = talk().net
    for source in (1, 3):
        net.blamed = []
        net.hear(0, source, content)
        assert {peer for _, peer in net.blamed} <= {source}


@given(kind=st.sampled_from(list(KINDS)), values=st.lists(VALUES, max_size=6))
def test_any_values_of_any_kind(kind: int, values: list[Any]) -> None:
    say(encode([kind, *values]))


@given(kind=st.sampled_from(list(KINDS)), rest=st.binary(max_size=200), count=st.integers(0, 7))
def test_any_bytes_after_any_kind(kind: int, rest: bytes, count: int) -> None:
    say(bytes([0x81 + count, kind]) + rest)


@given(content=st.binary(max_size=60))
def test_any_bytes(content: bytes) -> None:
    say(content)


@given(data=st.data())
def test_true_frames_with_something_changed(data: st.DataObject) -> None:
    spoken = talk().spoken
    content = bytearray(spoken[data.draw(st.integers(0, len(spoken) - 1))])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    say(bytes(content))


def grafted(value: Any, data: st.DataObject) -> Any:
    """A value with one of its parts another."""
    if isinstance(value, list) and value and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], grafted(value[at], data), *value[at + 1 :]]
    if isinstance(value, bytes) and data.draw(st.booleans()):
        try:
            return encode(grafted(codec.decode(value), data))
        except RemoteError:
            pass
    return data.draw(VALUES)


@given(data=st.data())
def test_true_frames_with_a_part_exchanged(data: st.DataObject) -> None:
    spoken = talk().spoken
    value = codec.decode(spoken[data.draw(st.integers(0, len(spoken) - 1))])
    assert isinstance(value, list)
    at = data.draw(st.integers(1, len(value) - 1))
    say(encode([*value[:at], grafted(value[at], data), *value[at + 1 :]]))


def test_after_all_that_the_committee_goes_on() -> None:
    net = talk().net
    net.beat(2, 1)
    net.run(10_000)
    assert net.agree() or net.pulses[0] == net.pulses[1] == net.pulses[2]
    name = net.pay(1, 0)
    net.run(6_000)
    assert net.state(1, name) == "credited"


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_counts_against_a_member(kind: int) -> None:
    net = Net(2, 1).settled()
    net.blamed = []
    net.hear(0, 1, bytes([0x82, kind, 0xFF]))
    assert net.blamed == [(0, 1)]
    assert net.nodes[0].hall.refused


def test_every_kind_is_spoken() -> None:
    """The changed frames above are of these kinds."""
    kinds = {kind_of(content) for content in talk().spoken}
    assert kinds >= {
        frames.OPERATION,
        frames.STATUS,
        frames.VOTE,
        frames.PROPOSAL,
        frames.SEAL_VOTE,
        frames.SEGMENT,
        frames.SEALED,
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x81",
        b"\x80\x01",
        b"\x98\x18\x01",
        b"\xa1\x01\x01",
        b"\x82\x18\x01",
        b"\x82\x00\x00",
        b"\x82\x17\x00",
        b"\x82\x01" + bytes(65_536),
    ],
)
def test_what_is_no_frame(content: bytes) -> None:
    with pytest.raises(RemoteError, match="bad_frame"):
        kind_of(content)


def test_a_status_there_and_back() -> None:
    status = Status(5, bytes(32), 9, 1)
    assert Status.take(frames.values_of(status.encode())) == status
    wrong: list[list[codec.Value]] = [
        [3, 5, bytes(32), 9],
        [3, 5, bytes(31), 9, 1],
        [3, 5, bytes(32), 9, 2],
        [3, b"", bytes(32), 9, 1],
    ]
    for values in wrong:
        with pytest.raises(RemoteError, match="bad_status"):
            Status.take(values)


def test_frames_say_what_they_are() -> None:
    net = Net(1, 1)
    vote = Vote.make(net.network, net.keys[0], Place(1, 0, bytes(20), 0, bytes(32)), 0, PREVOTE, b"")
    assert kind_of(frames.message_frame(vote)) == frames.VOTE
    assert kind_of(frames.segment_frame(b"\x80")) == frames.SEGMENT
    assert kind_of(frames.sealed_frame(b"", ())) == frames.SEALED
    assert codec.decode(frames.refused_frame(4, "not_a_member")) == [frames.REFUSED, 4, "not_a_member"]
    assert codec.decode(frames.operation_frame(b"\x81\x01")) == [frames.OPERATION, [1]]


@pytest.mark.parametrize("kind", sorted(set(KINDS) - STRANGERS - frames.BETWEEN_GROUPS))
def test_a_stranger_is_refused_and_learns_nothing(kind: int) -> None:
    net = Net(3, 1)
    net.run(50)
    net.admit(1)
    net.run(2_500)
    told: list[bytes] = []

    def tamper(source: int, target: int, content: bytes) -> bytes:
        if target == 2:
            told.append(content)
        return content

    net.tamper = tamper
    header = net.nodes[0].group.header.pulse
    for values in ([header], [bytes(32), 0], [b"", 0], [[bytes(32)]], [bytes(32), bytes(32), bytes(64)]):
        told.clear()
        net.hear(0, 2, encode([kind, *values]))
        assert told == [frames.refused_frame(kind, "not_a_member")]
    net.beat(2, 1)
    net.run(15_000)
    assert {kind_of(content) for content in told} <= {frames.STATUS, frames.REFUSED}, "no body, no page, no pulse"


@pytest.mark.parametrize("kind", sorted(frames.BETWEEN_GROUPS))
def test_a_stranger_learns_nothing_of_what_is_between_groups(kind: int) -> None:
    """In a network of one group there is nothing between groups, and nobody is told anything."""
    net = Net(3, 1)
    net.run(50)
    net.admit(1)
    net.run(2_500)
    told: list[bytes] = []

    def tamper(source: int, target: int, content: bytes) -> bytes:
        if target == 2:
            told.append(content)
        return content

    net.tamper = tamper
    account = net.nodes[1].wallet.node_key.account
    for values in ([0], [account], [[account]], [1, 0, bytes(20)], [b"", [], [], []], [[13]], [b"", b"", []]):
        told.clear()
        net.hear(0, 2, encode([kind, *values]))
        assert told == []
