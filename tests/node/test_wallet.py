"""The node's store, value by value: what is damaged is found at the start, or cannot do harm. Transfers and keys."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import pytest

from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.node import events as ev
from leither_lite.node.transfers import Transfer
from leither_lite.node.wallet import queued_content, read_queued
from leither_lite.store import keys
from tests.ledger.founding import FOUNDER, ORGANIZATION
from tests.node.seat import Seat, grown, refusal

# What no rule of the ledger stands over, so that a changed value may pass for another true one, or a missing one for
# one that never was: the store's checksums stand over the first, nothing over the second.
FLIPS_UNSEEN: Final = {b"c", b"f", b"k", b"n", b"q", b"t", b"mplace", b"mwallet"}
LOSSES_UNSEEN: Final = {b"c", b"f", b"k", b"n", b"q", b"t", b"mcheckpoint", b"mgenesis", b"mwallet"}


def kind(key: bytes) -> bytes:
    """The table of a key, or its name."""
    return key if key[:1] == b"m" else key[:1]


def outcome(seat: Seat) -> dict[bytes, bytes] | None:
    """What the store holds after the next seal; None if the node halts."""
    before, now_ms, state = seat.store.content(), seat.now_ms, seat.random.getstate()
    after = None
    with suppress(Halt):
        seat.start()
        seat.tick()
        after = seat.store.content()
    seat.store.write([(key, None) for key in seat.store.content()])
    seat.store.write(before.items())
    seat.now_ms = now_ms
    seat.random.setstate(state)
    return after


def read_at_start(seat: Seat, key: bytes) -> bool:
    """True for what the newest state hangs on; older pulses are looked at when they are shown."""
    newest = seat.node.group.header.pulse
    is_old = key in (keys.sealed(pulse) for pulse in range(newest)) or key[9:10] == b"\3"
    return not (key[:1] == b"p" and is_old)


def test_every_value_of_a_small_store(full: bool) -> None:
    seat = grown()
    expected = outcome(seat)
    assert expected is not None
    kinds = {kind(key) for key in seat.store.content()}
    singles = {b"mcharter", b"mcheckpoint", b"mgenesis", b"mplace", b"mwallet"}
    assert {b"c", b"f", b"i", b"k", b"n", b"p", b"q", b"t", *singles} == kinds
    flips, losses = set(), set()
    for key, value in seat.store.content().items():
        for at in range(0, len(value), 1 if full else 7):
            changed = bytearray(value)
            changed[at] ^= 1 << at % 8
            seat.store.write([(key, bytes(changed))])
            after = outcome(seat)
            if after is not None and {**after, key: b""} != {**expected, key: b""}:
                flips.add(kind(key))
            seat.store.write([(key, value)])
        seat.store.write([(key, None)])
        after = outcome(seat)
        if after is not None and {**after, key: b""} != {**expected, key: b""}:
            losses.add(kind(key))
        elif after is not None and read_at_start(seat, key):
            assert kind(key) in LOSSES_UNSEEN, key
        seat.store.write([(key, value)])
    print(f"other outcomes by flips: {sorted(flips)}, by losses: {sorted(losses)}")
    assert flips <= FLIPS_UNSEEN
    assert losses <= LOSSES_UNSEEN


def test_flips_in_what_was_accepted_are_never_sealed() -> None:
    """Of the operation itself every bit counts; the number of its transfer is this node's alone."""
    seat = grown()
    [(key, value)] = seat.store.scan(*keys.QUEUED)
    operation, number, asked, request = read_queued(value)
    for at in range(len(operation)):
        changed = bytearray(operation)
        changed[at] ^= 1
        seat.store.write([(key, queued_content(bytes(changed), number, asked, request))])
        with pytest.raises(Halt, match="store_corrupt"):
            seat.start()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (keys.WALLET, bytes([1] * 8)),
        (keys.WALLET, (65_537).to_bytes(8, "big")),
        (keys.PLACE, None),
        (keys.PLACE, b"\3here"),
        (keys.PLACE, b""),
        (keys.CHARTER, None),
        (keys.CHARTER, b"\x80"),
        (keys.CHECKPOINT, b"\x80"),
        (keys.queued(9), b"\x80"),
        (keys.queued(9), queued_content(b"\x80", 0, b"", b"")),
    ],
)
def test_halts(key: bytes, value: bytes | None) -> None:
    seat = grown()
    seat.store.write([(key, value)])
    with pytest.raises(Halt, match="store_corrupt"):
        seat.start()


def test_a_flipped_place_counts_as_a_copy() -> None:
    seat = grown()
    seat.store.write([(keys.PLACE, b"\0hero")])
    with pytest.raises(Halt, match="store_restored"):
        seat.start()


def test_an_operation_that_the_state_no_longer_allows_is_refused_once() -> None:
    """It cannot be while nothing else writes the store: then it is told, and is gone."""
    seat = Seat()
    account = seat.open(10)
    answer = seat.pay(account, seat.invoice(FOUNDER.account, 10))
    [(key, value)] = seat.store.scan(*keys.QUEUED)
    operation, _, asked, request = read_queued(value)
    again = keys.queued(keys.sequence_of(key) + 1)
    seat.store.write([(again, queued_content(operation, 3, asked, request))])
    seat.start()
    seat.tick()
    assert [(shown["state"], shown["reason"]) for shown in seat.view.transfers(None, 2)] == [
        ("refused", "wrong_sent"),
        ("credited", None),
    ]
    assert seat.view.transfer(answer["id"])["pulse"] == 2
    seat.start()
    assert seat.node.books.has_work is False


def test_a_refused_payment_does_not_hide_the_one_that_was_made() -> None:
    """Forgetting a transfer forgets the invoice only if it was that transfer that paid it."""
    seat = Seat()
    account = seat.open(100)
    invoice = seat.invoice(FOUNDER.account, 10)
    first = seat.pay(account, invoice)
    seat.tick()
    refused = seat.node.wallet.transfer(2)
    assert refused is not None
    assert seat.node.wallet.forget(1, refused) == [(keys.transfer(1), None)]
    writes = dict(seat.node.wallet.forget(2, refused))
    assert writes[keys.paid(account, refused.invoice)] is None
    assert seat.pay(account, invoice)["id"] == first["id"]


def test_transfer_round_trip() -> None:
    seat = grown()
    contents = [value for _, value in seat.store.scan(*keys.TRANSFERS)]
    assert len(contents) == 3
    for content in contents:
        assert Transfer.decode(content).encode() == content
        for wrong in (content[:-1], content + b"\0", b"\x80", b"\x8d" + bytes(13)):
            with pytest.raises(RemoteError):
                Transfer.decode(wrong)


def test_every_key_comes_back_from_the_nodes_own() -> None:
    seat = grown()
    assert [key.account for key in seat.node.wallet.keys.values()] == [
        FOUNDER.account,
        FOUNDER.derive(1).account,
        FOUNDER.derive(2).account,
    ]
    assert seat.node.wallet.key(None) == FOUNDER
    with pytest.raises(LocalError, match="not_own_account"):
        seat.node.wallet.key(ORGANIZATION.account)
    assert refusal(seat, ev.CreateInvoice(0, ORGANIZATION.account, 1, "", 0)) == "not_own_account"
