"""A payment sealed while its node was away for too long to see how: it is not told as refused, nor paid twice."""

from __future__ import annotations

from leither_lite.ledger import group as ledger
from leither_lite.ledger.handovers import jump_writes
from leither_lite.node import events as ev
from leither_lite.store import keys
from tests.ledger.founding import FOUNDER
from tests.node.seat import Seat


def test_a_payment_sealed_unseen_is_passed() -> None:
    """The others have sealed it; this node takes their newest state, with its own operation still waiting."""
    seat, others = Seat(), Seat()
    for each in (seat, others):
        account = each.open(100)
    invoice = seat.invoice(FOUNDER.account, 7)
    answer = seat.pay(account, invoice)
    [(_, queued)] = seat.store.scan(*keys.QUEUED)
    others.store.write([(keys.queued(1), queued)])
    others.start()
    for _ in range(3):
        others.tick()
        others.ask(ev.Distribute(0, account, 1, "more", None))
    others.tick()
    sealed = others.node.group.sealed
    entries = ledger.entries_at(others.store, sealed.header.pulse)
    seat.store.write(jump_writes(sealed, entries, {}))
    seat.start()
    assert seat.view.transfer(answer["id"])["state"] == "pending"
    seat.ask(ev.Distribute(0, account, 1, "again", None))
    seat.tick()
    found = seat.view.transfer(answer["id"])
    assert (found["state"], found["reason"]) == ("passed", None)
    assert seat.pay(account, invoice) == {"id": answer["id"], "state": "passed", "repeated": True}
    assert seat.balance(FOUNDER.account) == 7
