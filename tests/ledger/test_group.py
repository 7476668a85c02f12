"""The state of a group: its bytes, and that a store which does not hold what was sealed is found out."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import pytest

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.identity import h20
from leither_lite.ledger import group as ledger
from leither_lite.ledger.body import Body
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.group import GENESIS_STATE, SNAPSHOT_PULSES, Group, SealedPulse, State
from leither_lite.limits import GROUP_MEMBERS_MAX, SETTLED_TICKS_MIN, STATE_BYTES_MAX, WILLING_MAX
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore
from leither_lite.tree import node
from leither_lite.tree.tree import SumTree
from tests.ledger.founding import (
    FOUNDER,
    NETWORK,
    SUPPLY,
    admission,
    distribution,
    founded_group,
    founded_store,
    invite,
    invited,
    key_of,
    payment,
    pulse,
    seal,
    take,
)

ALICE: Final = key_of(10)
BOB: Final = key_of(11)


def kept(store: MemoryStore, group: Group, *operations: Any, tick: int = 0) -> None:
    """Seal operations, and keep the pulse as a node would."""
    body = Body(group)
    take(body, *operations)
    sealed, header = seal(body, tick)
    store.write([(keys.sealed(header.pulse), sealed.encode())])
    store.write(ledger.entry_writes(header.pulse, body.records, group.entries))
    store.write([(keys.invite(item), header.pulse.to_bytes(8, "big")) for item in body.used_invites])


@pytest.fixture(name="store", scope="module")
def _store() -> MemoryStore:
    store = founded_store()
    group = ledger.load(store, NETWORK, SUPPLY)
    kept(store, group, admission(ALICE), invited(BOB, 1_000), distribution(ALICE.account, 500, 0))
    for number in range(SNAPSHOT_PULSES + 3):
        kept(store, group, payment(ALICE, BOB, 1, number), tick=number)
    return store


def test_load_as_of_every_pulse(store: MemoryStore) -> None:
    newest = ledger.load(store, NETWORK, SUPPLY)
    assert newest.header.pulse == ledger.last_pulse(store) == SNAPSHOT_PULSES + 4
    for number in range(newest.header.pulse + 1):
        group = ledger.load(store, NETWORK, SUPPLY, number)
        assert group.header.pulse == number
        assert node.node_sum(group.tree.root()) == SUPPLY
        assert list(group.entries) == sorted(group.entries)
        if number:
            assert group.entries[BOB.account].record.balance == number - 1
            assert len(group.invites) == 1
        else:
            assert len(group.entries) == 2
            assert len(group.invites) == 0


def test_the_charters_limit_of_a_roster(store: MemoryStore) -> None:
    assert ledger.load(store, NETWORK, SUPPLY).roster_max == 7
    assert ledger.load(store, NETWORK, SUPPLY, 5, roster_max=3).roster_max == 3


def test_going_on_from_an_older_pulse_gives_the_same(store: MemoryStore) -> None:
    group = ledger.load(store, NETWORK, SUPPLY, 5)
    pulse(group, payment(ALICE, BOB, 1, 4), tick=4)
    expected = ledger.sealed_at(store, 6)
    assert expected is not None
    assert group.sealed == expected


def test_load_of_what_is_not_there() -> None:
    with pytest.raises(Halt, match="store_corrupt"):
        ledger.load(MemoryStore(), NETWORK, SUPPLY)
    with pytest.raises(Halt, match="store_corrupt"):
        ledger.load(founded_store(), NETWORK, SUPPLY, 1)
    with pytest.raises(Halt, match="store_corrupt"):
        ledger.load(founded_store(), bytes(20), SUPPLY)


def test_any_flipped_or_missing_value_of_the_state_is_found(store: MemoryStore) -> None:
    """Every bit of every value that the newest state is read from."""
    newest = ledger.last_pulse(store)
    start = newest - newest % SNAPSHOT_PULSES
    values = [
        (key, value)
        for key, value in store.content().items()
        if key[:1] == b"i" or (key[:1] == b"p" and keys.sequence_of(key) >= start and key != keys.sealed(start))
    ]
    pulses = {keys.sequence_of(key) for key, _ in values if key[:1] == b"p"}
    assert pulses == set(range(start, newest + 1))
    for key, value in values:
        is_read = key[:1] == b"i" or key[9:10] != b"\0" or keys.sequence_of(key) >= newest - 1
        for at in range(len(value) if is_read else 0):
            copy = bytearray(value)
            copy[at] ^= 1 << at % 8
            check_found(store, key, bytes(copy), value)
        if is_read and key != keys.sealed(newest - 1):
            check_found(store, key, None, value)


def check_found(store: MemoryStore, key: bytes, changed: bytes | None, value: bytes) -> None:
    """A changed value ends the loading, or made no difference to what was loaded."""
    expected = ledger.load(store, NETWORK, SUPPLY)
    store.write([(key, changed)])
    group: Group | None = None
    with suppress(Halt):
        group = ledger.load(store, NETWORK, SUPPLY)
    store.write([(key, value)])
    if group is not None:
        overlaid = key[:1] == b"p" and keys.sequence_of(key) < expected.header.pulse
        assert overlaid, "only what later pulses have changed again may be another"
        assert (group.sealed, group.entries, group.state) == (expected.sealed, expected.entries, expected.state)


def test_invites_are_a_set_of_the_protocol() -> None:
    group = founded_group()
    pulse(group, invited(ALICE, 1_000), invited(BOB, 1_001))
    expected = SumTree()
    for number in (1_000, 1_001):
        item = h20("invite", codec.encode(invite(number).content))
        expected.put(item, (1).to_bytes(8, "big") + bytes(8) + item)
    assert group.state.invites == expected.root()


STATE: Final = State(7, 3, b"\1" * 36, b"\2" * 36, b"\3" * 36, 9, (b"\4" * 20, b"\5" * 20))


def test_state_round_trip() -> None:
    for state in (STATE, GENESIS_STATE):
        assert State.decode(state.encode()) == state
    assert codec.decode(STATE.encode()) == [7, 3, b"\1" * 36, b"\2" * 36, b"\3" * 36, 9, [b"\4" * 20, b"\5" * 20]]


@pytest.mark.parametrize(
    "change",
    [
        {"frozen": (b"\5" * 20, b"\4" * 20)},
        {"frozen": (b"\5" * 20, b"\5" * 20)},
        {"frozen": (b"\5" * 19,)},
        {"invites": bytes(35)},
        {"settled": bytes(37)},
        {"pending": b""},
    ],
    ids=str,
)
def test_state_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RemoteError, match="bad_state"):
        State.decode(STATE._replace(**change).encode())


NODES: Final = (Willing(b"\1" * 32, "a", 5, 1), Willing(b"\2" * 32, "", 2**64 - 1, 0))


def test_the_long_form_of_the_state() -> None:
    for state in (
        STATE._replace(appointed=3),
        STATE._replace(willing=NODES),
        GENESIS_STATE._replace(appointed=2**64 - 1, willing=NODES[:1]),
    ):
        assert State.decode(state.encode()) == state
    told = codec.decode(STATE._replace(appointed=3, willing=NODES).encode())
    assert type(told) is list
    assert told[:7] == codec.decode(STATE.encode())
    assert told[7:] == [3, [[b"\1" * 32, "a", 5, 1], [b"\2" * 32, "", 2**64 - 1, 0]]]


@pytest.mark.parametrize(
    "tail",
    [
        [0, []],
        [0],
        [1],
        [1, [], 0],
        [1, [[b"\2" * 32, "", 0, 0], [b"\1" * 32, "", 0, 0]]],
        [1, [[b"\1" * 32, "", 0, 0], [b"\1" * 32, "", 0, 0]]],
        [1, [[b"\1" * 31, "", 0, 0]]],
        [1, [[b"\1" * 32, "x" * 65, 0, 0]]],
        [1, [[b"\1" * 32, "", 0, 2]]],
        [1, [[b"\1" * 32, "", 0]]],
        [1, [[number.to_bytes(32, "big"), "", 0, 0] for number in range(WILLING_MAX + 1)]],
        ["1", []],
    ],
    ids=str,
)
def test_long_form_refused(tail: list[Any]) -> None:
    short = codec.decode(STATE.encode())
    assert type(short) is list
    with pytest.raises(RemoteError, match="bad_state"):
        State.decode(codec.encode([*short, *tail]))


def test_24_willing_nodes_leave_room() -> None:
    most = 2**64 - 1
    nodes = tuple(Willing(number.to_bytes(32, "big"), "x" * 64, most, 1) for number in range(WILLING_MAX))
    state = State(most, most, b"\1" * 36, b"\2" * 36, b"\3" * 36, most, (), most, nodes)
    assert len(state.encode()) == 2_818
    ids = tuple(number.to_bytes(20, "big") for number in range(60))
    assert State.decode(state._replace(frozen=ids).encode()).frozen == ids


def test_state_of_at_most_4096_bytes() -> None:
    ids = tuple(number.to_bytes(20, "big") for number in range(GROUP_MEMBERS_MAX))
    with pytest.raises(Halt, match="state_too_large"):
        STATE._replace(frozen=ids).encode()
    with pytest.raises(RemoteError, match="bad_state"):
        State.decode(bytes(STATE_BYTES_MAX + 1))
    most = (STATE_BYTES_MAX - len(STATE._replace(frozen=()).encode()) - 2) // 21
    content = STATE._replace(frozen=ids[:most]).encode()
    assert State.decode(content).frozen == ids[:most]


def test_date_and_floor() -> None:
    late = 2 * SETTLED_TICKS_MIN
    state = GENESIS_STATE.opened(late)
    assert (state.date, state.floor) == (late, 0)
    state = state.opened(late + 1)
    assert (state.date, state.floor) == (late + 1, late - SETTLED_TICKS_MIN)
    assert state.opened(late + 1).floor == late + 1 - SETTLED_TICKS_MIN
    assert State(5, 4, *STATE[2:]).opened(6).floor == 4, "the floor never falls"


def test_sealed_pulse_round_trip(store: MemoryStore) -> None:
    sealed = ledger.sealed_at(store, 3)
    assert sealed is not None
    assert SealedPulse.decode(sealed.encode()) == sealed
    assert sealed.signatures[0][0] == FOUNDER.public
    fields = codec.decode(sealed.encode())
    assert type(fields) is list
    cut, longer, entries = fields[:-1], [*fields, 0], list(fields)
    entries[-1] = [[b"", b"", b""]]
    for wrong in (cut, longer, entries):
        with pytest.raises(RemoteError, match="bad_sealed_pulse"):
            SealedPulse.decode(codec.encode(wrong))
