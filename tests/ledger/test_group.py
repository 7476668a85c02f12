"""A group from its store: as of every pulse, and a store which does not hold what was sealed is found out."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import pytest

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.identity import h20
from leither_lite.ledger import group as ledger
from leither_lite.ledger.body import Body
from leither_lite.ledger.group import SNAPSHOT_PULSES, Group, Rules
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import WILLING_BYTES_MAX
from leither_lite.limits import GROUP_MEMBERS_MAX
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
    store.write(ledger.entry_writes(header.pulse, header.pulse - 1, body.records, group.entries))
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


def test_the_charters_limits_of_a_group(store: MemoryStore) -> None:
    assert ledger.load(store, NETWORK, SUPPLY).rules == (7, GROUP_MEMBERS_MAX, 1_800)
    assert ledger.load(store, NETWORK, SUPPLY, 5, rules=Rules(roster_max=3)).rules.roster_max == 3


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


def test_sealed_pulse_round_trip(store: MemoryStore) -> None:
    sealed = ledger.sealed_at(store, 3)
    assert sealed is not None
    assert SealedPulse.decode(sealed.encode()) == sealed
    assert sealed.signatures[0][0] == FOUNDER.public
    fields = codec.decode(sealed.encode())
    assert type(fields) is list
    assert len(fields) == 10
    assert fields[4:9] == [sealed.outbox, 0, 0, sealed.state, sealed.willing]
    cut, longer, entries, outbox, willing = fields[:-1], [*fields, 0], list(fields), list(fields), list(fields)
    entries[-1] = [[b"", b"", b""]]
    outbox[4] = bytes(35)
    willing[8] = bytes(WILLING_BYTES_MAX + 1)
    for wrong in (cut, longer, entries, outbox, willing):
        with pytest.raises(RemoteError, match="bad_sealed_pulse"):
            SealedPulse.decode(codec.encode(wrong))
