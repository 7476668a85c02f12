"""The state S of a group, and W, who is willing: their bytes, what is refused, how long they get, how a body begins."""

from __future__ import annotations

from typing import Any, Final

import pytest

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import ROSTER_BYTES_MAX, encode_roster
from leither_lite.identity import h32
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.state import (
    GENESIS_STATE,
    MERGE,
    NOBODY,
    NOTHING,
    SPLIT,
    SUCCESSORS_MAX,
    WILLING_BYTES_MAX,
    Offer,
    State,
    Successor,
    decode_willing,
    encode_willing,
    willing_digest,
)
from leither_lite.limits import (
    GROUP_MEMBERS_MAX,
    RECEIPT_TICKS_MAX,
    SETTLED_TICKS_MIN,
    STATE_BYTES_MAX,
    WILLING_MAX,
)
from leither_lite.tree import node

MOST: Final = 2**64 - 1
NODES: Final = (Willing(b"\1" * 32, "a", 5, 1), Willing(b"\2" * 32, "", 2**64 - 1, 0))
PARTS: Final = (
    Successor(3, b"\x40" + bytes(19), b"\6" * 36, 5, MOST, encode_roster([b"\7" * 32]), b"\x08" * 32),
    Successor(2, b"\x80" + bytes(19), node.EMPTY, 0, 0, b"\x80", b"\xff" * 32),
)
STATE: Final = State(7, 3, b"\1" * 36, b"\2" * 36, b"\3" * 36, 9, (b"\4" * 20, b"\5" * 20), 3, 6, NODES)


def same(state: State) -> bool:
    """True if S and W lead to the same state, and S alone to it without the willing."""
    content, willing = state.encode(), state.encode_willing()
    alone = state._replace(willing=()), willing_digest(willing)
    return State.decode(content, willing) == state and State.decode_alone(content) == alone


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"appointed": 0, "since": 0},
        {"appointed": MOST, "since": MOST},
        {"frozen": ()},
        {"willing": ()},
        {"willing": NODES[:1]},
        {"offer": Offer(MERGE)},
        {"offer": Offer(SPLIT, PARTS)},
        {"offer": Offer(SPLIT, PARTS), "willing": ()},
    ],
    ids="-".join,
)
def test_state_round_trip(change: dict[str, Any]) -> None:
    assert same(STATE._replace(**change))
    assert same(GENESIS_STATE._replace(**change))


def test_the_one_form_of_the_state() -> None:
    """All fields are always there: those that were left out once, too."""
    digest = h32("willing", codec.encode([[b"\1" * 32, "a", 5, 1], [b"\2" * 32, "", MOST, 0]]))
    told = [7, 3, b"\1" * 36, b"\2" * 36, b"\3" * 36, 9, [b"\4" * 20, b"\5" * 20], 3, 6, digest, []]
    assert codec.decode(STATE.encode()) == told
    assert codec.decode(STATE.encode_willing()) == [[b"\1" * 32, "a", 5, 1], [b"\2" * 32, "", MOST, 0]]
    nobody = h32("willing", b"\x80")
    assert NOBODY == GENESIS_STATE.encode_willing() == b"\x80"
    assert codec.decode(GENESIS_STATE.encode()) == [0, 0, *[bytes(36)] * 3, 0, [], 0, 0, nobody, []]
    short = codec.decode(GENESIS_STATE.encode())
    assert type(short) is list
    for fields in (short[:7], [*short[:7], 0, []]):
        with pytest.raises(RemoteError, match="bad_state"):
            State.decode(codec.encode(fields), NOBODY)


def test_the_form_of_an_offer() -> None:
    parts = [
        [3, b"\x40" + bytes(19), b"\6" * 36, 5, MOST, b"\x81\x58\x20" + b"\7" * 32, b"\x08" * 32],
        [2, b"\x80" + bytes(19), bytes(36), 0, 0, b"\x80", b"\xff" * 32],
    ]
    for offer, value in ((NOTHING, []), (Offer(MERGE), [2]), (Offer(SPLIT, PARTS), [1, parts])):
        told = codec.decode(STATE._replace(offer=offer).encode())
        assert type(told) is list
        assert told[10] == value


@pytest.mark.parametrize(
    "change",
    [
        {"frozen": (b"\5" * 20, b"\4" * 20)},
        {"frozen": (b"\5" * 20, b"\5" * 20)},
        {"frozen": (b"\5" * 19,)},
        {"invites": bytes(35)},
        {"settled": bytes(37)},
        {"pending": b""},
        {"offer": Offer(SPLIT)},
        {"offer": Offer(SPLIT, PARTS[:1])},
        {"offer": Offer(SPLIT, PARTS[::-1])},
        {"offer": Offer(SPLIT, PARTS[:1] * 2)},
        {"offer": Offer(SPLIT, (*PARTS, PARTS[1]._replace(bits=161, prefix=b"\xff" * 20)))},
        {"offer": Offer(SPLIT, (*PARTS, PARTS[1]._replace(prefix=b"\xc0\1" + bytes(18))))},
        {"offer": Offer(SPLIT, (*PARTS, PARTS[1]._replace(prefix=b"\xc0" + bytes(18))))},
        {"offer": Offer(SPLIT, (PARTS[0], PARTS[1]._replace(inner=bytes(35))))},
        {"offer": Offer(SPLIT, (PARTS[0], PARTS[1]._replace(roster=bytes(ROSTER_BYTES_MAX + 1))))},
        {"offer": Offer(SPLIT, (PARTS[0], PARTS[1]._replace(state=bytes(33))))},
        {
            "offer": Offer(
                SPLIT, tuple(Successor(8, bytes([at, *[0] * 19]), *PARTS[0][2:]) for at in range(SUCCESSORS_MAX + 1))
            )
        },
    ],
    ids=lambda change: next(iter(change)),
)
def test_state_refused(change: dict[str, Any]) -> None:
    state = STATE._replace(**change)
    with pytest.raises(RemoteError, match="bad_state"):
        State.decode(state.encode(), state.encode_willing())
    with pytest.raises(RemoteError, match="bad_state"):
        State.decode_alone(state.encode())


@pytest.mark.parametrize(
    "roster", [b"", b"\x81\x40", codec.encode([b"\1" * 32] * 3), codec.encode([b"\1" * 32, b"\2" * 32])]
)
def test_a_successors_roster_is_one(roster: bytes) -> None:
    state = STATE._replace(offer=Offer(SPLIT, (PARTS[0], PARTS[1]._replace(roster=roster))))
    with pytest.raises(RemoteError, match="roster_|cbor_"):
        State.decode_alone(state.encode())


DIGEST: Final = willing_digest(STATE.encode_willing())


@pytest.mark.parametrize(
    "tail",
    [
        [],
        [3],
        [3, 6],
        [3, 6, DIGEST],
        [3, 6, DIGEST, [], 0],
        ["3", 6, DIGEST, []],
        [3, "6", DIGEST, []],
        [3, 6, DIGEST[1:], []],
        [3, 6, DIGEST + b"\0", []],
        [3, 6, "", []],
        [3, 6, DIGEST, 0],
        [3, 6, DIGEST, b""],
        [3, 6, DIGEST, [0]],
        [3, 6, DIGEST, [1]],
        [3, 6, DIGEST, [3]],
        [3, 6, DIGEST, ["2"]],
        [3, 6, DIGEST, [1, []]],
        [3, 6, DIGEST, [1, 0]],
        [3, 6, DIGEST, [2, []]],
        [3, 6, DIGEST, [0, [list(each) for each in PARTS]]],
        [3, 6, DIGEST, [1, [list(each) for each in PARTS], 0]],
        [3, 6, DIGEST, [1, [[*PARTS[0]], [*PARTS[1], 0]]]],
        [3, 6, DIGEST, [1, [[*PARTS[0]], [*PARTS[1][:6]]]]],
        [3, [[b"\1" * 32, "a", 5, 1]]],
    ],
    ids=len,
)
def test_tail_refused(tail: list[Any]) -> None:
    """What follows the frozen ids, in another form."""
    whole = codec.decode(STATE.encode())
    assert type(whole) is list
    assert State.decode(codec.encode([*whole[:7], 3, 6, DIGEST, []]), STATE.encode_willing()) == STATE
    with pytest.raises(RemoteError, match="bad_state"):
        State.decode(codec.encode([*whole[:7], *tail]), STATE.encode_willing())


@pytest.mark.parametrize(
    "nodes",
    [
        [[b"\2" * 32, "", 0, 0], [b"\1" * 32, "", 0, 0]],
        [[b"\1" * 32, "", 0, 0], [b"\1" * 32, "", 0, 0]],
        [[b"\1" * 31, "", 0, 0]],
        [[b"\1" * 32, "x" * 65, 0, 0]],
        [[b"\1" * 32, b"", 0, 0]],
        [[b"\1" * 32, "", "0", 0]],
        [[b"\1" * 32, "", 0, 2]],
        [[b"\1" * 32, "", 0]],
        [[b"\1" * 32, "", 0, 0, 0]],
        [[number.to_bytes(32, "big"), "", 0, 0] for number in range(WILLING_MAX + 1)],
        [0],
        0,
    ],
    ids=range(12),
)
def test_willing_refused(nodes: Any) -> None:
    """Where S commits to it, too."""
    content = codec.encode(nodes)
    with pytest.raises(RemoteError, match="bad_state"):
        decode_willing(content)
    fields = codec.decode(STATE.encode())
    assert type(fields) is list
    fields[9] = willing_digest(content)
    with pytest.raises(RemoteError, match="bad_state"):
        State.decode(codec.encode(fields), content)


def test_willing_round_trip() -> None:
    for nodes in ((), NODES[:1], NODES):
        assert decode_willing(encode_willing(nodes)) == nodes
    assert willing_digest(encode_willing(NODES)) == h32("willing", STATE.encode_willing())
    for wrong in (b"", b"\xa0", NOBODY + b"\0"):
        with pytest.raises(RemoteError, match="cbor_"):
            decode_willing(wrong)


@pytest.mark.parametrize("nodes", [(), NODES[:1], NODES[1:], (NODES[0]._replace(silent=0), NODES[1])], ids=len)
def test_others_are_willing_than_the_state_says(nodes: tuple[Willing, ...]) -> None:
    with pytest.raises(RemoteError, match="bad_state"):
        State.decode(STATE.encode(), encode_willing(nodes))


LONGEST: Final = State(MOST, MOST, b"\1" * 36, b"\2" * 36, b"\3" * 36, MOST, (), MOST, MOST)
SEVEN: Final = encode_roster([bytes([number]) * 32 for number in range(7)])
SPREAD: Final = tuple(
    Successor(160, bytes([number, *[0] * 19]), b"\1" * 36, MOST, MOST, SEVEN, b"\3" * 32)
    for number in range(SUCCESSORS_MAX)
)


def ids_of(count: int) -> tuple[bytes, ...]:
    """So many frozen ids."""
    return tuple(number.to_bytes(20, "big") for number in range(count))


def test_24_willing_nodes_take_no_room_in_the_state() -> None:
    """They lie beside it, in W."""
    nodes = tuple(Willing(number.to_bytes(32, "big"), "x" * 64, MOST, 1) for number in range(WILLING_MAX))
    state = LONGEST._replace(willing=nodes)
    assert len(state.encode()) == len(LONGEST.encode()) == 196
    assert len(state.encode_willing()) == 2_666 <= WILLING_BYTES_MAX
    assert same(state)


def test_room_for_frozen_ids() -> None:
    """With nothing offered, and with the longest offer of a split."""
    offering = LONGEST._replace(offer=Offer(SPLIT, SPREAD))
    assert len(offering.encode()) == 3_038
    for state, room in ((LONGEST, 185), (offering, 50)):
        assert same(state._replace(frozen=ids_of(room)))
        with pytest.raises(Halt, match="state_too_large"):
            state._replace(frozen=ids_of(room + 1)).encode()


def test_state_of_at_most_4096_bytes() -> None:
    ids = ids_of(GROUP_MEMBERS_MAX)
    with pytest.raises(Halt, match="state_too_large"):
        STATE._replace(frozen=ids).encode()
    with pytest.raises(RemoteError, match="bad_state"):
        State.decode(bytes(STATE_BYTES_MAX + 1), NOBODY)
    most = (STATE_BYTES_MAX - len(STATE._replace(frozen=()).encode()) - 2) // 21
    content = STATE._replace(frozen=ids[:most]).encode()
    assert State.decode(content, STATE.encode_willing()).frozen == ids[:most]


def test_date_and_floor() -> None:
    late = 2 * SETTLED_TICKS_MIN
    state = GENESIS_STATE.opened(late)
    assert (state.date, state.floor) == (late, 0)
    floors = []
    while state.floor < late + 1 - SETTLED_TICKS_MIN:
        state = state.opened(late + 1)
        assert state.date == late + 1
        floors.append(state.floor)
    steps = [RECEIPT_TICKS_MAX * step for step in range(1, SETTLED_TICKS_MIN // RECEIPT_TICKS_MAX + 1)]
    assert floors == [*steps, late + 1 - SETTLED_TICKS_MIN], "3,600 at a time, until it is a day behind"
    assert state.opened(late + 1) == state
    assert State(5, 4, *STATE[2:]).opened(6).floor == 4, "the floor never falls"


def test_the_floor_follows_the_date_before() -> None:
    for ahead, expected in ((-1, 3), (0, 3), (1, 4), (RECEIPT_TICKS_MAX, 3_603), (RECEIPT_TICKS_MAX + 1, 3_603)):
        state = STATE._replace(date=SETTLED_TICKS_MIN + 3 + ahead, floor=3)
        assert state.opened(10**9).floor == expected


def test_what_a_body_starts_with() -> None:
    """A date, perhaps a term's beginning, and no offer; nothing else."""
    state = STATE._replace(offer=Offer(SPLIT, PARTS))
    assert state.opened(9) == STATE._replace(date=9)
    assert state.opened(9, new_term=True) == STATE._replace(date=9, since=9)
