"""What a seal lets go of, and that what is kept is whole: old pulses, bodies, transfers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from leither_lite.board import Board
from leither_lite.effects import Write
from leither_lite.errors import LocalError
from leither_lite.ledger import group as ledger
from leither_lite.ledger.group import SNAPSHOT_PULSES
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.node import events as ev
from leither_lite.node.retention import old_bodies, old_pulses
from leither_lite.store import keys
from leither_lite.tree.proof import Trust, verify
from tests.ledger.founding import FOUNDER, ORGANIZATION, SUPPLY
from tests.node.seat import PULSE_MS, Seat, refusal

TRUST: Final = Trust(ORGANIZATION.public, (FOUNDER.public,))
RETENTION: Final = 100


def paying(seat: Seat, account: bytes, count: int) -> None:
    """That many pulses with one payment of 1 each."""
    invoice = seat.invoice(FOUNDER.account, 0)
    for _ in range(count):
        seat.turn(ev.PayInvoice(0, account, invoice, 1, None), after_ms=PULSE_MS)


def bodies(seat: Seat) -> list[int]:
    """The pulses whose bodies are here."""
    newest = seat.node.group.header.pulse
    return [pulse for pulse in range(newest + 1) if seat.store.get(keys.segment(pulse, 0)) is not None]


def test_a_small_board_over_1000_pulses() -> None:
    seat = Seat(board=Board(retention_pulses=RETENTION, transfers_max=100), publicity_ticks=60)
    account = seat.open(2_000)
    most = 0
    for _ in range(10):
        paying(seat, account, 100)
        most = max(most, len(seat.store.content()))
    newest = seat.node.group.header.pulse
    assert newest == 1_001
    oldest = ledger.first_pulse(seat.store)
    assert newest - RETENTION - SNAPSHOT_PULSES <= oldest <= newest - RETENTION
    # Two rows a pulse (header, accounts), one a body, one a transfer; and what there is once.
    assert len(seat.store.content()) <= most <= 2 * (RETENTION + SNAPSHOT_PULSES) + 76 + 101 + 8
    seat.start()
    for pulse in range(oldest, newest + 1):
        for shown in (account, FOUNDER.account, bytes(20)):
            proved = verify(seat.view.proof(shown, pulse), TRUST)
            assert proved.pulse == pulse
            if shown == account:
                assert proved.record == (2_001 - pulse, 0, pulse - 1, 1, 0)
                assert proved.leaf_pulse == pulse
            elif shown == bytes(20):
                assert proved.kind == "absent"
    for pulse in (oldest - 1, newest + 1, -1, 2**64):
        with pytest.raises(LocalError, match="unknown_pulse"):
            seat.view.proof(account, pulse)


def test_bodies_go_a_quarter_after_their_publicity() -> None:
    seat = Seat(publicity_ticks=60)
    account = seat.open(500)
    paying(seat, account, 70)
    assert bodies(seat) == list(range(72)), "75 ticks have not passed"
    paying(seat, account, 30)
    newest = seat.node.group.header.pulse
    assert bodies(seat) == list(range(newest - 75, newest + 1))
    seat.tick(1_000)
    assert len(bodies(seat)) == 76, "nothing is deleted while nothing is sealed"
    paying(seat, account, 30)
    assert len(bodies(seat)) == 30, "a few more at each seal"
    assert verify(seat.view.proof(account, 1), TRUST).record == (500, 0, 0, 1, 0), "balances are proved without bodies"


def until_none_goes(seat: Seat, writes: Callable[[], list[Write]]) -> None:
    """As seals come, one after the other."""
    for _ in range(100):
        gone = writes()
        if not gone:
            return
        seat.store.write(gone)
    raise AssertionError("it does not end")


def test_what_lies_before_a_split() -> None:
    """Bodies go as all others do; pulses once they are as old as the board says, with the last one of the whole."""
    seat = Seat()
    paying(seat, seat.open(500), 130)
    newest, base = seat.node.group.header.pulse, 100
    seat.store.write([(key, base.to_bytes(8, "big")) for key in (keys.BASE, keys.ORIGIN)])
    empty = replace(ledger_sealed(seat, 50), entries=())
    seat.store.write([(keys.sealed(50), empty.encode()), (keys.segment(50, 0), None)])
    until_none_goes(seat, lambda: old_bodies(seat.store, newest, 1_000, 60))
    assert bodies(seat) == [newest]
    until_none_goes(seat, lambda: old_pulses(seat.store, Board(), newest))
    assert ledger.sealed_at(seat.store, 0) is not None
    until_none_goes(seat, lambda: old_pulses(seat.store, Board(retention_pulses=1), newest))
    kept = {keys.sequence_of(key) for key, _ in seat.store.scan(*keys.PULSES)}
    assert kept == set(range(2 * SNAPSHOT_PULSES, newest + 1))


def ledger_sealed(seat: Seat, pulse: int) -> SealedPulse:
    """What is kept of a pulse."""
    sealed = ledger.sealed_at(seat.store, pulse)
    assert sealed is not None
    return sealed


def test_transfers_max() -> None:
    seat = Seat(board=Board(transfers_max=100))
    account = seat.open(1_000)
    fixed = [seat.invoice(FOUNDER.account, 1) for _ in range(2)]
    first = seat.pay(account, fixed[0], None, "a key")
    paying(seat, account, 50)
    later = seat.pay(account, fixed[1], None, "another")
    paying(seat, account, 60)
    counted = Counter(key[:1] for key in seat.store.content())
    assert (counted[b"t"], counted[b"f"], counted[b"k"]) == (100, 1, 1)
    with pytest.raises(LocalError, match="unknown_transfer"):
        seat.view.transfer(first["id"])
    seat.start()
    assert seat.pay(account, fixed[1])["id"] == later["id"]
    assert len(seat.view.transfers(None, 500)) == 100


def test_transfers_of_others_do_not_count() -> None:
    """A bookkeeper's own transfers are kept however many payments of others it seals."""
    seat = Seat(board=Board(transfers_max=100))
    account = seat.open(1)
    for _ in range(150):
        seat.turn(ev.ChangeRole(0, account, 0), after_ms=PULSE_MS)
    seat.start()
    assert [shown["amount"] for shown in seat.view.transfers(None, 10)] == [1]
    seat.ask(ev.Distribute(0, account, 2, "x", None))
    seat.tick()
    assert [shown["amount"] for shown in seat.view.transfers(None, 10)] == [2, 1]


def test_pages_of_transfers() -> None:
    seat = Seat()
    account = seat.open(100)
    paying(seat, account, 5)
    seat.ask(ev.Distribute(0, account, 77, "x", None))
    whole = seat.view.transfers(None, 500)
    assert [shown["amount"] for shown in whole] == [77, 1, 1, 1, 1, 1, 100]
    assert whole[0]["state"] == "pending"
    found = []
    before = None
    while page := seat.view.transfers(before, 3):
        found += page
        before = page[-1]["id"]
    assert found == whole
    for limit in (0, 501, -1):
        with pytest.raises(LocalError, match="bad_limit"):
            seat.view.transfers(None, limit)
    for name in ("", "0" * 32, "x" * 32, whole[0]["id"][:-1] + "x", "f" * 32):
        with pytest.raises(LocalError, match="unknown_transfer"):
            seat.view.transfers(name, 3)


def test_sums_are_the_supply_at_every_pulse() -> None:
    seat = Seat()
    account = seat.open(100)
    paying(seat, account, 5)
    assert (
        refusal(seat, ev.PayInvoice(0, account, seat.invoice(FOUNDER.account, 0), 96, None)) == "insufficient_balance"
    )
    for pulse in range(seat.node.group.header.pulse + 1):
        entries = ledger.entries_at(seat.store, pulse)
        assert sum(entry.record.balance for entry in entries.values()) == SUPPLY
