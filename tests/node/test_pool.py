"""What waits: bounded in total and for each peer, with a share of its own; and what is dead."""

from __future__ import annotations

import pytest

from leither_lite.board import Board
from leither_lite.ledger.committee import Appointment, Willingness
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.signed import Status
from leither_lite.node import frames
from leither_lite.node.pool import FOR_NOW, OVERHEAD_BYTES, PEER_SHARE, WAIT_PULSES_MAX, Pool, Waiting, is_dead
from tests.ledger.founding import admission, distribution, invited, key_of, payment
from tests.node.net import Net

OPERATION: Operation = payment(key_of(2), key_of(3), 1, 5)


def waiting(peer: bytes, size: int = 76) -> Waiting:
    """An operation that counts `size` bytes and what it takes beside."""
    return Waiting(OPERATION, bytes(size), peer, 0)


def fill(pool: Pool, peer: bytes) -> int:
    """As many as there is room for, from one peer."""
    count = 0
    while pool.has_room(peer, waiting(peer).size):
        pool.add(peer + count.to_bytes(4, "big"), waiting(peer))
        count += 1
    return count


def test_no_peer_fills_more_than_its_share_and_one_share_is_our_own() -> None:
    size = 76 + OVERHEAD_BYTES
    pool = Pool(40 * size)
    assert [fill(pool, peer) for peer in (b"a", b"b", b"c", b"d")] == [10, 10, 10, 0]
    assert fill(pool, b"") == 40 // PEER_SHARE
    assert pool.size_bytes == 40 * size
    assert len(pool) == 40
    assert pool.remove(b"a" + bytes(4)) is not None
    assert pool.remove(b"a" + bytes(4)) is None
    assert not pool.has_room(b"b", size)
    assert pool.has_room(b"d", size)
    assert pool.get(b"a" + bytes(4)) is None
    assert len(pool.items()) == len(list(pool)) == 39
    for digest, _ in pool.items():
        pool.remove(digest)
    assert (pool.size_bytes, pool._bytes) == (0, {})


@pytest.mark.parametrize("status", Status)
def test_what_a_later_header_can_take_is_not_dead(status: Status) -> None:
    if status is not Status.WRONG_SENT:
        assert is_dead(waiting(b""), status, 0) == (status not in FOR_NOW)


def test_a_number_that_was_used_is_dead_one_to_come_is_not() -> None:
    assert [is_dead(waiting(b""), Status.WRONG_SENT, sent) for sent in (4, 5, 6, None)] == [False, False, True, False]


def test_strangers_fill_no_pool() -> None:
    """Anybody can sign an invite as a supervisor of nothing, and as many as he likes."""
    net = Net(3, 1).settled()
    stranger = net.newcomer()
    net.link(stranger, 0)
    for number in range(30):
        join = invited(key_of(500 + number), 600 + number, supervisor=key_of(700 + number))
        net.hear(0, stranger, frames.operation_frame(join.encode()))
    assert len(net.nodes[0].books.pool) == 0
    net.hear(0, stranger, frames.operation_frame(admission(key_of(500)).encode()))
    assert net.blamed == [(0, stranger)]
    assert net.nodes[0].hall.refused == {"not_a_member": 1}


def test_members_fill_no_more_than_their_share_and_the_owner_still_pays() -> None:
    net = Net(3, 1, board=Board(willing=0, pool_bytes=256 * 1024)).settled()
    for number in range(300):
        operation = payment(key_of(2_000 + number), key_of(3), 1, 0)
        net.hear(0, 1, frames.operation_frame(operation.encode()))
    pool = net.nodes[0].books.pool
    assert 0 < pool.size_bytes <= 64 * 1024
    name = net.pay(0, 1)
    net.run(2_000)
    assert net.state(0, name) == "credited"
    net.beat(WAIT_PULSES_MAX + 2)
    assert len(pool) == 0, "forgotten after a while"


def test_what_is_dead_is_not_kept_and_not_passed_on() -> None:
    net = Net(3, 1).settled()
    used = distribution(net.keys[1].account, 1, 0, net.organization)
    effects = net.hear(0, 1, frames.operation_frame(used.encode()))
    assert effects.sends == []
    assert len(net.nodes[0].books.pool) == 0
    forged = payment(net.keys[1], net.keys[2], 1, 0).encode()
    net.hear(0, 1, frames.operation_frame(forged[:-1] + bytes([forged[-1] ^ 1])))
    assert net.blamed == [(0, 1)]


def test_a_change_that_was_made_before_does_not_wait_for_another_turn() -> None:
    """It comes once more from who had not seen its seal: no later header can take it, and it must not lie around."""
    net = Net(3, 1).settled()
    keys = tuple(key.public for key in net.keys)
    number = net.nodes[0].group.state.role_changes
    appointed = Appointment.make(net.network, net.keys[0], keys, number)
    where = Willingness.make(net.network, net.keys[1], "there:1", 1, net.nodes[0].tick(net.now_ms) + 5)
    for operation in (appointed, where):
        net.hear(0, 1, frames.operation_frame(operation.encode()))
    net.run(3_000)
    assert net.nodes[0].group.state.role_changes == number + 1
    net.run(60_000)  # until nobody remembers having heard them
    for operation in (appointed, where):
        net.hear(0, 1, frames.operation_frame(operation.encode()))
    assert len(net.nodes[0].books.pool) == 0
    early = Appointment.make(net.network, net.keys[0], keys, number + 2)
    net.hear(0, 1, frames.operation_frame(early.encode()))
    assert len(net.nodes[0].books.pool) == 1, "the one before it may be on its way"


def test_one_that_comes_again_takes_the_place_of_the_one_before() -> None:
    pool = Pool(40 * (76 + OVERHEAD_BYTES))
    pool.add(b"a", waiting(b"peer"))
    pool.add(b"a", waiting(b""))
    assert pool._bytes == {b"": 76 + OVERHEAD_BYTES}
    pool.remove(b"a")
    assert (pool.size_bytes, pool._bytes) == (0, {})
