"""What a node shows, to whom, and that nothing shows before its commit."""

from __future__ import annotations

from typing import Final

import pytest

from leither_lite.errors import Halt, LocalError
from leither_lite.ledger.records import decode_page
from leither_lite.limits import PAGE_BYTES_MAX
from leither_lite.node import events as ev
from leither_lite.node.view import View
from leither_lite.store import keys
from leither_lite.tree.proof import Trust, verify
from tests.ledger.founding import FOUNDER, NETWORK, ORGANIZATION, SUPPLY, key_of
from tests.node.seat import PULSE_MS, Seat

TRUST: Final = Trust(ORGANIZATION.public, (FOUNDER.public,))


def test_account_summary_and_proof_agree() -> None:
    seat = Seat()
    account = seat.open(30)
    shown = seat.view.account(account)
    assert shown == {
        "account": account.hex(),
        "balance": 30,
        "frozen": 0,
        "sent": 0,
        "role": "member",
        "pulse": 1,
    }
    assert verify(seat.view.proof(account, None), TRUST).record == (30, 0, 0, 1, 0)
    page = seat.view.summary().page
    assert len(page) <= PAGE_BYTES_MAX
    entries = dict(decode_page(page))
    assert list(entries) == sorted([NETWORK, FOUNDER.account, account])
    assert entries[account].record.balance == 30
    assert entries[NETWORK].record.balance == SUPPLY - 30
    assert seat.view.account(None)["account"] == FOUNDER.account.hex()
    with pytest.raises(LocalError, match="unknown_account"):
        seat.view.account(bytes(20))
    assert verify(seat.view.proof(bytes(20), None), TRUST).kind == "absent"


def test_nothing_shows_before_its_commit() -> None:
    """Reads go on while a commit is on its way to the disk: they see what is there."""
    seat = Seat()
    account = seat.open(30)
    name = seat.ask(ev.Distribute(0, account, 5, "x", None))["id"]
    effects = seat.node.turn((), seat.now_ms + PULSE_MS)
    assert seat.node.group.header.pulse == 2

    assert seat.balance(account) == 30
    assert seat.view.transfer(name)["state"] == "pending"
    assert [shown["state"] for shown in seat.view.transfers(None, 10)] == ["pending", "credited"]
    assert verify(seat.view.proof(account, None), TRUST).pulse == 1
    assert dict(decode_page(seat.view.summary().page))[account].record.balance == 30
    assert seat.node.books.header.pulse == 1
    with pytest.raises(LocalError, match="pulses 0 to 1"):
        seat.view.proof(account, 2)

    seat.store.write(effects.writes)
    seat.node.performed()
    assert seat.balance(account) == 35
    assert seat.view.transfer(name)["state"] == "credited"
    assert [shown["state"] for shown in seat.view.transfers(None, 10)] == ["credited", "credited"]
    assert verify(seat.view.proof(account, None), TRUST).pulse == 2
    assert seat.node.books.header.pulse == 2


def test_who_may_see_what() -> None:
    """A node that is not on the roster sees its own account, the organization's, and nobody else's."""
    seat = Seat()
    account = seat.open(30)
    other = key_of(50)
    seat.apply(other)
    seat.ask(ev.ApproveApplication(0, other.account, 1))
    seat.tick()
    assert (seat.view.role, seat.view.is_bookkeeper) == ("chief", True)
    seat.keyring = type(seat.keyring)(other, None)
    seat.start()
    assert (seat.view.role, seat.view.is_bookkeeper) == ("member", False)
    assert seat.view.account(None)["account"] == other.account.hex()
    assert seat.view.account(NETWORK)["role"] == "organization"
    assert verify(seat.view.proof(other.account, None), TRUST).record == (0, 0, 0, 1, 0)
    for refused in (account, bytes(20)):
        with pytest.raises(LocalError, match="not_permitted"):
            seat.view.account(refused)
        with pytest.raises(LocalError, match="not_permitted"):
            seat.view.proof(refused, None)
    with pytest.raises(LocalError, match="not_permitted"):
        seat.view.proof(other.account, 1)
    with pytest.raises(LocalError, match="not_permitted"):
        seat.view.summary()


def test_damage_behind_an_old_pulse_is_found_when_it_is_read() -> None:
    seat = Seat()
    account = seat.open(30)
    seat.open(5)
    seat.open(5)
    seat.open(5)
    kept = seat.store.content()
    expected = seat.view.proof(account, 2)
    for key in (keys.sealed(2), keys.changes(2), keys.changes(1), keys.snapshot(0)):
        value = kept[key]
        found = 0
        for at in range(len(value)):
            changed = bytearray(value)
            changed[at] ^= 4
            seat.store.write([(key, bytes(changed))])
            try:
                assert View(seat.node).proof(account, 2) == expected, "what later pulses have changed again is not read"
            except Halt:
                found += 1
        assert found > len(value) // 4
        assert found == len(value) or key in (keys.changes(1), keys.snapshot(0))
        seat.store.write([(key, None)])
        with pytest.raises(Halt, match="store_corrupt"):
            View(seat.node).proof(account, 2)
        seat.store.write([(key, value)])
    assert verify(View(seat.node).proof(account, 2), TRUST).pulse == 2
