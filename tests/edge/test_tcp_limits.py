"""The wire over TCP: whoever is too many, too slow, too greedy or silent (docs/protocol.md, section 9)."""

from __future__ import annotations

import pytest

from leither_lite.edge.tcp_link import KEEP_ALIVE
from leither_lite.limits import FRAME_BYTES_MAX
from tests.edge.wire_world import KEYS, LOOPS, Stranger, node, play

pytestmark = pytest.mark.parametrize("loop", list(LOOPS))


@pytest.mark.parametrize(("pending_max", "per_host_max", "reason"), [(8, 1_000, "pending"), (1_000, 9, "of_host")])
def test_a_flood(loop: str, pending_max: int, per_host_max: int, reason: str) -> None:
    """200 connections: a few at once have a place, peers stay, and a friend still gets in."""

    async def scene() -> None:
        async with node(0, pending_max=pending_max, per_host_max=per_host_max) as one:
            friend = await Stranger.join(one)
            flood = [await Stranger.dial(one) for _ in range(200)]
            await one.until(lambda: one.wire.counters["connections"] == 201)
            await one.until(lambda: len(one.wire.links) == 9)
            assert one.wire.pending == 8
            assert one.wire.counters["refused"] == 192
            assert one.wire.dropped == {f"too_many_{reason}": 192}
            friend.say(b"still here")
            await one.until(lambda: one.seat.contents() == [b"still here"])
            if reason == "of_host":
                for stranger in flood:
                    stranger.close()
                await one.until(lambda: len(one.wire.links) == 1)
            other = await Stranger.join(one, 4)
            await one.until(lambda: len(one.wire.peers()) == 2)
            for stranger in [*flood, friend, other]:
                stranger.close()
            await one.until_peers(0)

    play(loop, scene())


def test_a_member_goes_before_strangers(loop: str) -> None:
    """Where all places are taken, it has that of the stranger who came first; the next stranger is turned away, and so
    is a member once there are members only."""

    async def scene() -> None:
        async with node(0, peers_in_max=2) as one:
            one.wire.goes_first = lambda peer: peer in (KEYS[1].public, KEYS[4].public, KEYS[5].public)
            strangers = [await Stranger.join(one, number) for number in (2, 3)]
            await one.until_peers(2)
            members = [await Stranger.join(one, 4)]
            await strangers[0].hear_until_the_end()
            assert [peer for peer, _, _ in one.wire.peers()] == [KEYS[3].public, KEYS[4].public]
            refused = await Stranger.join(one, 2)
            await refused.hear_until_the_end()
            members.append(await Stranger.join(one, 5))
            await strangers[1].hear_until_the_end()
            refused = await Stranger.join(one, 1)
            await refused.hear_until_the_end()
            assert [peer for peer, _, _ in one.wire.peers()] == [KEYS[4].public, KEYS[5].public]
            assert one.wire.dropped == {"too_many_peers": 4}
            for member in members:
                member.close()
            await one.until_peers(0)

    play(loop, scene())


def test_as_many_peers_as_there_are_places_for(loop: str) -> None:
    """The next is turned away, and gets in when somebody has left; one that comes again is not one more."""

    async def scene() -> None:
        async with node(0, peers_in_max=2) as one:
            held = [await Stranger.join(one, number) for number in (2, 3)]
            await one.until_peers(2)
            refused = await Stranger.join(one, 4)
            await refused.hear_until_the_end()
            assert one.wire.dropped == {"too_many_peers": 1}
            held.append(await Stranger.join(one, 3))
            await one.until(lambda: one.wire.dropped.get("duplicate") == 1)
            await one.until_peers(2)
            held[0].close()
            await one.until_peers(1)
            held.append(await Stranger.join(one, 4))
            await one.until_peers(2)
            for stranger in held:
                stranger.close()

    play(loop, scene())


def test_a_peer_that_takes_nothing(loop: str) -> None:
    """It is dropped once more waits for it than there is room for; sending to it never blocks."""

    async def scene() -> None:
        async with node(0, send_queue_bytes=256 * 1024) as one:
            slow = await Stranger.join(one)
            await one.until_peers(1)
            content, sent = bytes(FRAME_BYTES_MAX), 0
            while one.wire.send(KEYS[5].public, content):
                sent += 1
            assert 4 <= sent < 64
            assert one.wire.peers() == []
            await one.until_peers(0)
            assert one.wire.dropped == {"slow_peer": 1}
            assert one.seat.log[-1] == ("left", KEYS[5].public)
            slow.close()

    play(loop, scene())


def test_peers_that_take_nothing(loop: str) -> None:
    """Where more waits for all together than there is room for, a stranger goes first, then whoever has most; and what
    they had taken up is free for others again."""

    async def scene() -> None:
        async with node(0, send_queue_bytes=2**20, send_bytes=2**20) as one:
            member, stranger, other = (KEYS[number].public for number in (1, 2, 3))
            one.wire.goes_first = lambda peer: peer == member
            slow = [await Stranger.join(one, number) for number in (1, 2, 3)]
            await one.until_peers(3)
            content = bytes(FRAME_BYTES_MAX)
            waits = {link.peer: link for link in one.wire.links}
            while waits[member].waiting_bytes < 2**19:
                assert one.wire.send(member, content)
            while waits[stranger].waiting_bytes < 2**18:
                assert one.wire.send(stranger, content)
            while one.wire.is_connected(stranger):
                assert one.wire.send(other, content)
            assert waits[other].waiting_bytes < waits[member].waiting_bytes
            assert one.wire.is_connected(member), "strangers go first"
            while one.wire.is_connected(other):
                assert one.wire.send(member, content)
            assert one.wire.is_connected(member)
            sent = one.wire.counters["sent_bytes"]
            while one.wire.send(member, content):
                pass
            await one.until_peers(0)
            assert one.wire.dropped == {"slow_peer": 3}
            assert one.wire.counters["sent_bytes"] > sent > 2**20
            assert 0 < one.wire.counters["received_bytes"] < 2**12, "handshakes"
            for each in slow:
                each.close()

    play(loop, scene())


def test_a_budget_makes_wait(loop: str) -> None:
    """Who sends faster than its budget is read more slowly, and loses nothing."""

    async def scene() -> None:
        async with node(0, messages_s=500, burst_s=1) as one:
            stranger = await Stranger.join(one)
            await one.until_peers(1)
            waited: list[bool] = []

            def takes(peer: bytes, content: bytes) -> bool:
                waited.append(one.wire.links[0].is_resting)
                return True

            one.seat.takes = takes
            contents = [str(number).encode() for number in range(700)]
            stranger.say(*contents)
            await one.until(lambda: len(one.seat.frames) == 700)
            assert one.seat.contents() == contents
            assert True in waited
            assert one.wire.dropped == {}
            stranger.close()

    play(loop, scene())


def test_a_budget_ends_it(loop: str) -> None:
    """Far more in one go than a peer is good for."""

    async def scene() -> None:
        async with node(0, messages_s=10, burst_s=1) as one:
            stranger = await Stranger.join(one)
            await one.until_peers(1)
            stranger.say(*[b"x"] * 1_000)
            await stranger.hear_until_the_end()
            await one.until_peers(0)
            assert one.wire.dropped == {"over_budget": 1}

    play(loop, scene())


def test_work_is_charged(loop: str) -> None:
    """What the seat checks for a peer is on its budget: first it waits, then it goes."""

    async def scene() -> None:
        async with node(0, work_s=100, burst_s=1) as one:
            stranger = await Stranger.join(one)
            await one.until_peers(1)
            one.wire.charge(KEYS[5].public, 120)
            assert one.wire.links[0].is_resting
            stranger.say(b"late")
            await one.until(lambda: one.seat.contents() == [b"late"])
            assert not one.wire.links[0].is_resting
            one.wire.charge(KEYS[5].public, 300)
            assert one.wire.peers() == []
            await stranger.hear_until_the_end()
            await one.until_peers(0)
            assert one.wire.dropped == {"over_budget": 1}
            one.wire.charge(KEYS[5].public, 1)

    play(loop, scene())


def test_a_seat_that_is_full(loop: str) -> None:
    """Nothing is read on, nothing lost, nothing changes places; other peers are not held up."""

    async def scene() -> None:
        async with node(0) as one:
            first, second = await Stranger.join(one, 4), await Stranger.join(one, 5)
            await one.until_peers(2)
            room = [3]

            def takes(peer: bytes, content: bytes) -> bool:
                if peer == KEYS[4].public:
                    room[0] -= 1
                    return room[0] >= 0
                return True

            one.seat.takes = takes
            contents = [number.to_bytes(2, "big") for number in range(500)]
            first.say(*contents)
            await one.until(lambda: room[0] == -1)
            second.say(b"not held up")
            await one.until(lambda: one.seat.contents()[3:] == [b"not held up"])
            assert room[0] == -1
            while len(one.seat.frames) < 501:
                room[0] = 100
                one.wire.resume(KEYS[4].public)
                await one.until(lambda: room[0] == -1 or len(one.seat.frames) == 501)
            assert [content for peer, content in one.seat.frames if peer == KEYS[4].public] == contents
            for stranger in (first, second):
                stranger.close()

    play(loop, scene())


def test_keep_alives(loop: str) -> None:
    """Are sent into a silence, and never reach the seat."""

    async def scene() -> None:
        async with node(0, ping_s=0.05) as one:
            stranger = await Stranger.join(one)
            stranger.say(KEEP_ALIVE, b"x", KEEP_ALIVE, b"\x82\x01\x00")
            await one.until(lambda: len(one.seat.frames) == 2)
            assert one.seat.contents() == [b"x", b"\x82\x01\x00"]
            while len(stranger.contents) < 2:
                await stranger.hear()
            assert set(stranger.contents) == {KEEP_ALIVE}
            stranger.close()

    play(loop, scene())


def test_a_silent_peer(loop: str) -> None:
    """Is dropped; whoever reads us but says nothing too."""

    async def scene() -> None:
        async with node(0, idle_s=0.2, ping_s=0.05) as one:
            stranger = await Stranger.join(one)
            await stranger.hear_until_the_end()
            await one.until_peers(0)
            assert one.wire.dropped == {"idle": 1}

    play(loop, scene())
