"""The wire over TCP: who joins, who stays, who is not one of us, and who is dialled."""

from __future__ import annotations

import asyncio
import socket

import pytest

from leither_lite.edge.tcp import REASONS_MAX, Limits, Wire
from leither_lite.edge.tcp_link import Link, host_of
from leither_lite.errors import LocalError
from leither_lite.limits import FRAME_BYTES_MAX
from tests.edge.wire_world import KEYS, LOOPS, NETWORK, Node, PlayedSeat, Stranger, node, play

pytestmark = pytest.mark.parametrize("loop", list(LOOPS))


async def dials_ended(dialling: Node) -> None:
    """Nothing is being dialled any more."""
    async with asyncio.timeout(10):
        while dialling.wire.dialler_busy:
            await asyncio.sleep(0)


def test_join_and_frames_both_ways(loop: str) -> None:
    """Each side is told who the other is, and whose idea it was; frames arrive whole and in order."""

    async def scene() -> None:
        async with node(0) as one, node(1) as two:
            one.wire.want([two.address])
            await one.until_peers(1)
            await two.until_peers(1)
            assert one.wire.peers() == [(two.public, two.address, True)]
            [(key, address, initiator)] = two.wire.peers()
            assert (key, initiator) == (one.public, False)
            assert address.startswith("127.0.0.1:")
            contents = [b"x", b"y" * 70, bytes(FRAME_BYTES_MAX), b"z"]
            for content in contents:
                assert one.wire.send(two.public, content)
                assert two.wire.send(one.public, content)
            await one.until(lambda: len(one.seat.frames) == 4)
            await two.until(lambda: len(two.seat.frames) == 4)
            assert one.seat.frames == [(two.public, content) for content in contents]
            assert two.seat.frames == [(one.public, content) for content in contents]
            counted = dict(one.wire.counters)
            sent, received = counted.pop("sent_bytes"), counted.pop("received_bytes")
            assert counted == {"connections": 1, "handshakes": 1, "refused": 0, "dropped": 0}
            assert (sent, received) == (two.wire.counters["received_bytes"], two.wire.counters["sent_bytes"])
            assert sent > sum(map(len, contents)) < received
            with pytest.raises(LocalError, match="frame_size"):
                one.wire.send(two.public, b"")
            assert not one.wire.send(KEYS[3].public, b"x")
        assert [what for what, _ in one.seat.log] == ["joined", "left"] == [what for what, _ in two.seat.log]

    play(loop, scene())


@pytest.mark.parametrize("again", range(3))
def test_a_cross_dial_keeps_one(loop: str, again: int) -> None:
    """The one that the smaller key has dialled, on both sides, and frames pass."""

    async def scene() -> None:
        async with node(0) as one, node(1) as two:
            for first, second in ((one, two), (two, one))[:: 1 if again % 2 else -1]:
                first.wire.want([second.address])
            await one.until(lambda: one.wire.counters["connections"] == 2 and settled(one, two))
            await two.until(lambda: settled(two, one))
            assert one.wire.peers()[0][2] is True
            assert two.wire.peers()[0][2] is False
            assert one.wire.send(two.public, b"to two")
            assert two.wire.send(one.public, b"to one")
            await one.until(lambda: one.seat.contents() == [b"to one"])
            await two.until(lambda: two.seat.contents() == [b"to two"])

    def settled(one: Node, two: Node) -> bool:
        return [key for key, _, _ in one.wire.peers()] == [two.public] and len(one.wire.links) == 1

    play(loop, scene())


def test_two_addresses_of_one_node(loop: str) -> None:
    """It is dialled at each, and then not again while it is there; one connection stays, and serves.

    Where the two sides take the hellos in different orders, both connections end, and one is dialled again.
    """

    async def scene() -> None:
        async with node(0) as one, node(1) as two:
            other = await two.wire.open("127.0.0.2", 0)
            one.seat.greet = lambda peer: one.wire.send(peer, b"now")
            one.wire.want([two.address, f"{other[0]}:{other[1]}"])
            await one.until(lambda: one.wire.counters["handshakes"] >= 2)
            await one.until_peers(1)
            await two.until_peers(1)
            assert one.wire.dialler_busy <= 1
            await two.until(lambda: two.seat.log[-1][0] == "joined" and two.seat.contents()[-1:] == [b"now"])
            assert one.wire.counters["connections"] <= 4

    play(loop, scene())


def test_the_newer_of_two_from_one_side(loop: str) -> None:
    """Somebody who lost a connection without our noticing comes back: the old one ends, and the seat hears of it."""

    async def scene() -> None:
        async with node(0) as one:
            old = await Stranger.join(one)
            await one.until_peers(1)
            new = await Stranger.join(one)
            await old.hear_until_the_end()
            await one.until_peers(1)
            assert [what for what, _ in one.seat.log] == ["joined", "left", "joined"]
            new.say(b"here")
            await one.until(lambda: one.seat.contents() == [b"here"])
            assert one.wire.dropped == {"duplicate": 1}
            new.close()
            await one.until_peers(0)

    play(loop, scene())


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0\0", b"\xff" * 70_000, b"\0\x20" + bytes(400)]
)
def test_garbage(loop: str, junk: bytes) -> None:
    """The connection ends; those who are there stay."""

    async def scene() -> None:
        async with node(0) as one:
            friend = await Stranger.join(one)
            stranger = await Stranger.dial(one)
            stranger.writer.write(junk)
            while True:
                try:
                    if not await stranger.reader.read(65_536):
                        break
                except ConnectionError:
                    break
            stranger.close()
            await one.until_peers(1)
            assert sum(one.wire.dropped.values()) == 1
            assert set(one.wire.dropped) <= {"noise_length", "noise_decrypt", "noise_key"}
            friend.say(b"still here")
            await one.until(lambda: one.seat.contents() == [b"still here"])

    play(loop, scene())


def test_another_network_and_ourselves(loop: str) -> None:
    """Neither joins."""

    async def scene() -> None:
        async with node(0) as one:
            stranger = await Stranger.dial(one, network=bytes(20))
            stranger.writer.write(stranger.session.start())
            with pytest.raises(Exception, match="noise_decrypt"):
                await stranger.hear()
            stranger.close()
            one.wire.want([one.address])
            await one.until(lambda: one.wire.dropped.get("own_key", 0) >= 1)
            assert one.seat.log == []

    play(loop, scene())


@pytest.mark.parametrize("said", [0, 1, 20, 34])
def test_a_handshake_that_does_not_come_to_an_end(loop: str, said: int) -> None:
    """Whatever it has begun with, its time is up."""

    async def scene() -> None:
        async with node(0, handshake_s=0.05) as one:
            stranger = await Stranger.dial(one)
            stranger.writer.write(stranger.session.start()[:said])
            while await stranger.reader.read(65_536):
                pass
            await one.until_peers(0)
            assert one.wire.dropped == {"handshake_timeout": 1}

    play(loop, scene())


def test_dialling_goes_on_until_somebody_is_there(loop: str) -> None:
    """And begins again when a peer has gone; what is not wanted any more is not dialled."""

    async def scene() -> None:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
        async with node(0) as one:
            one.wire.want([f"127.0.0.1:{port}"])
            assert one.wire.dialler_busy == 1
            await dials_ended(one)
            for _ in range(2):
                async with node(1, port=port) as two:
                    await one.until_peers(1)
                    await two.until_peers(1)
                await one.until_peers(0)
            one.wire.want([])
            assert one.seat.log == [("joined", KEYS[1].public), ("left", KEYS[1].public)] * 2

    play(loop, scene())


def test_what_is_wanted(loop: str) -> None:
    """Addresses that are none change nothing; a dial that is not wanted any more ends; no more than there may be."""

    async def scene() -> None:
        async with node(0, peers_out_max=2) as one, node(1) as two, node(2) as three, node(3) as four:
            for bad in ("nowhere", "127.0.0.1", "127.0.0.1:70000", ":1", "::1:80"):
                with pytest.raises(LocalError, match="bad_address"):
                    one.wire.want([two.address, bad])
            assert one.wire.dialler_busy == 0
            one.wire.want([two.address])
            one.wire.want([])
            await dials_ended(one)
            assert one.wire.peers() == []
            one.wire.want([two.address, two.address, three.address, four.address])
            await one.until_peers(2)
            assert one.wire.dialler_busy == 2
            gone = one.wire.peers()[0][0]
            one.wire.want([four.address])
            one.wire.drop(gone, "not_wanted")
            assert gone not in [key for key, _, _ in one.wire.peers()]
            await one.until(lambda: four.public in one.seat.addresses)
            assert one.wire.dropped == {"not_wanted": 1}

    play(loop, scene())


def test_who_is_needed_takes_the_place_of_others(loop: str) -> None:
    """Where this node has dialled as many as it may, one who is needed is not left out for one who is not."""

    async def scene() -> None:
        async with node(0, peers_out_max=2) as one, node(1) as two, node(2) as three, node(3) as four:
            one.wire.want([two.address, three.address])
            await one.until_peers(2)
            one.wire.want([four.address, two.address, three.address], 2)
            await one.until(lambda: four.public in one.seat.addresses)
            assert sorted(key for key, _, _ in one.wire.peers()) == sorted([two.public, four.public])
            assert one.wire.dropped == {"needed_less": 1}
            one.wire.want([four.address, two.address, three.address], 3)
            assert one.wire.dialler_busy == 2
            assert one.wire.dropped == {"needed_less": 1}, "no place is taken from who is needed too"

    play(loop, scene())


def test_reasons_are_counted_up_to_a_bound(loop: str) -> None:
    """A seat that makes up reasons fills no memory."""

    async def scene() -> None:
        wire = Wire(NETWORK, KEYS[0], PlayedSeat(), Limits(), lambda size: bytes(size))
        for number in range(2 * REASONS_MAX):
            wire.count(f"reason_{number}")
        assert len(wire.dropped) == REASONS_MAX + 1
        assert wire.dropped["other"] == REASONS_MAX
        await wire.close()

    play(loop, scene())


def test_what_counts_as_one_host(loop: str) -> None:
    """An IPv4 address, however written; the half of an IPv6 address that a subscriber has."""
    assert host_of("192.0.2.1") == host_of("::ffff:192.0.2.1") == bytes([192, 0, 2, 1])
    assert host_of("2001:db8::1") == host_of("2001:db8::ffff:1%eth0") != host_of("2001:db8:0:1::1")
    assert host_of("") == b""


def test_a_dial_that_is_called_off_as_it_connects(loop: str) -> None:
    """The connection is gone like any other: it is not counted for ever, and nothing waits for its end."""

    async def scene() -> None:
        async with node(0) as one, node(1) as two:
            admitted, admit = [], one.wire.admit

            def call_off(link: Link) -> bool:
                admitted.append(link)
                one.wire.want([])
                return admit(link)

            one.wire.admit = call_off  # type: ignore[method-assign]
            one.wire.want([two.address])
            await one.until(lambda: bool(admitted) and not one.wire.links)
            assert (one.wire.peers(), one.wire.dialler_busy) == ([], 0)
            one.wire.admit = admit  # type: ignore[method-assign]
            one.wire.want([two.address])
            await one.until_peers(1)
            assert len(one.wire.links) == 1

    play(loop, scene())
