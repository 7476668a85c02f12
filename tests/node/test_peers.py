"""Who is connected, what was heard, and whose address is known: each table has a bound."""

from __future__ import annotations

from leither_lite.effects import Effects
from leither_lite.limits import GROUP_MEMBERS_MAX
from leither_lite.node.peers import HEARD_MAX, HEARD_MS, MISBEHAVIOUR_WORK, Peers
from tests.ledger.founding import key_of, willingness

MEMBERS = [key_of(number).public for number in range(5)]


def peers() -> Peers:
    """Four members, two of them connected, and a stranger."""
    room = Peers(lambda key: key in MEMBERS)
    for key in (MEMBERS[0], MEMBERS[1], key_of(50).public):
        room.join(key, True, 0)
    return room


def test_what_was_heard_is_forgotten_after_a_while_even_if_it_is_repeated() -> None:
    room = peers()
    assert room.hear(b"a", 0)
    heard = [now_ms for now_ms in range(1_000, 200_000, 1_000) if room.hear(b"a", now_ms)]
    assert heard
    assert heard[0] <= 2 * HEARD_MS + 2_000
    assert heard[0] >= HEARD_MS


def test_what_was_heard_is_bounded() -> None:
    room = peers()
    for number in range(3 * HEARD_MAX):
        room.hear(number.to_bytes(4, "big"), 0)
    assert len(room._heard) <= HEARD_MAX
    assert len(room._heard_before) <= HEARD_MAX
    assert not room.hear((3 * HEARD_MAX - 1).to_bytes(4, "big"), 0)


def test_members_are_told_strangers_are_not() -> None:
    room, effects = peers(), Effects()
    room.tell(effects, b"x")
    room.tell(effects, b"y", MEMBERS[0])
    room.tell(effects, b"z", keys=[MEMBERS[1], MEMBERS[2]])
    assert effects.sends == [(MEMBERS[0], b"x"), (MEMBERS[1], b"x"), (MEMBERS[1], b"y"), (MEMBERS[1], b"z")]
    room.leave(MEMBERS[1])
    room.leave(MEMBERS[1])
    assert [peer.key for peer in room.members()] == [MEMBERS[0]]


def test_who_is_gone_is_not_blamed() -> None:
    room, effects = peers(), Effects()
    room.blame(effects, MEMBERS[0])
    room.blame(effects, MEMBERS[3])
    assert effects.work == [(MEMBERS[0], MISBEHAVIOUR_WORK)]


def test_addresses_the_newest_of_each_and_a_bound() -> None:
    room = peers()
    assert room.learn(willingness(key_of(0), 5, address="a:1"))
    assert not room.learn(willingness(key_of(0), 5, address="b:1"))
    assert not room.learn(willingness(key_of(0), 4, address="b:1"))
    assert room.learn(willingness(key_of(0), 6, address="b:1"))
    assert room.addresses[MEMBERS[0]].address == "b:1"
    for number in range(1_000, 1_000 + GROUP_MEMBERS_MAX + 5):
        room.learn(willingness(key_of(number), 1))
    assert len(room.addresses) == GROUP_MEMBERS_MAX
    assert MEMBERS[0] in room.addresses, "strangers go first"
    full = Peers(lambda key: True)
    for number in range(1_000, 1_000 + GROUP_MEMBERS_MAX + 5):
        full.learn(willingness(key_of(number), 1))
    assert len(full.addresses) == GROUP_MEMBERS_MAX
