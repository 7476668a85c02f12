"""Receipts between two groups: sent, settled once, sent back, resolved, reclaimed, forgotten; and all of it undone."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.identity import h20
from leither_lite.ledger.body import Body
from leither_lite.ledger.group import Rules
from leither_lite.ledger.judge_receipts import reclaimable
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.records import Role
from leither_lite.ledger.sets import read_sent, sent_content
from leither_lite.ledger.settling import Settle
from leither_lite.ledger.showing import outbox_of, reclaim_of, settle_of
from leither_lite.ledger.signed import Status
from leither_lite.limits import RECEIPT_TICKS_MAX, SUPPLY_MAX
from leither_lite.tree.node import EMPTY
from tests.ledger.forest import Forest
from tests.ledger.founding import NETWORK, admission, distribution, invited, payment
from tests.ledger.pair import (
    ANNA,
    HAVE,
    LARS,
    LEFT,
    LOU,
    RIGHT,
    RITA,
    ROLF,
    RUTH,
    STRANGERS,
    body_on,
    outcome,
    run,
    sent,
    shown_to,
    two_groups,
    wake,
)

RECEIPT: Final = Receipt(b"\1" * 20, 3, b"\2" * 20, 5, 0, b"\3" * 32, 7)


@pytest.fixture(name="forest")
def _forest() -> Forest:
    return two_groups()


# -- bytes ---------------------------------------------------------------------------------------------------------


def test_bytes_and_id() -> None:
    value: codec.Value = [b"\1" * 20, 3, b"\2" * 20, 5, 0, b"\3" * 32, 7]
    assert RECEIPT.value() == value
    assert RECEIPT.id == h20("receipt", codec.encode(value))
    assert RECEIPT.leaf(9) == (9).to_bytes(8, "big") + (5).to_bytes(8, "big") + RECEIPT.id
    assert Receipt.take(codec.decode(codec.encode(value)), "bad") == RECEIPT
    assert len({RECEIPT._replace(**{name: getattr(RECEIPT, name) * 2}).id for name in ("sent", "amount", "date")}) == 3


def test_a_refund_goes_the_other_way() -> None:
    refund = RECEIPT.refund(11)
    assert refund == (RECEIPT.payee, 3, RECEIPT.payer, 5, ReceiptKind.REFUND, RECEIPT.id + bytes(12), 11)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [*RECEIPT[:6]],
        [*RECEIPT, 0],
        [b"\1" * 19, *RECEIPT[1:]],
        [*RECEIPT[:2], b"\2" * 21, *RECEIPT[3:]],
        [*RECEIPT[:3], SUPPLY_MAX + 1, *RECEIPT[4:]],
        [*RECEIPT[:4], 4, *RECEIPT[5:]],
        [*RECEIPT[:5], b"", 7],
        [*RECEIPT[:6], "7"],
        [*RECEIPT[:3], 1, 3, *RECEIPT[5:]],
        [RECEIPT[0], 3, RECEIPT[2], 0, 3, *RECEIPT[5:]],
    ],
    ids=range(11),
)
def test_receipt_refused(wrong: codec.Value) -> None:
    """The last two: an admission that brings money, and one that opens the organization's account."""
    with pytest.raises(RemoteError, match="bad_receipt"):
        Receipt.take(wrong, "bad_receipt")
    with pytest.raises(Halt, match="store_corrupt"):
        read_sent(codec.encode([wrong, 1]))


def test_what_is_kept_of_one() -> None:
    assert read_sent(sent_content(RECEIPT, 2**64 - 1)) == (RECEIPT, 2**64 - 1)


# -- sending -------------------------------------------------------------------------------------------------------


def test_a_payment_is_sent(forest: Forest) -> None:
    left = forest.groups[LEFT]
    settle = sent(forest, ANNA, RITA, 10)
    ref, receipt = payment(ANNA, RITA, 10, 0).invoice_digest, settle.receipts[0][0]
    assert receipt == Receipt(ANNA.account, 0, RITA.account, 10, ReceiptKind.PAYMENT, ref, left.state.date)
    assert left.pending.items == {receipt.id: (receipt, left.header.pulse)}
    assert left.state.pending == left.pending.tree.root() == left.sealed.outbox == receipt.leaf(left.header.pulse)
    assert (left.sent_out, left.settled_in) == (10, 0)
    assert forest.balance(ANNA.account) == HAVE - 10
    assert forest.load(LEFT).pending.items == left.pending.items, "after a restart too"
    wake(forest)
    assert left.sealed.outbox == EMPTY, "an outbox is of one header"


def test_a_distribution_an_admission_and_a_join_by_invite_are_sent(forest: Forest) -> None:
    gift = distribution(LARS.account, 30, 5)
    given = shown_to(forest, NETWORK, LARS.account, gift).receipts[0][0]
    assert given[:6] == (NETWORK, 5, LARS.account, 30, ReceiptKind.DISTRIBUTION, gift.digest(NETWORK))
    let_in = admission(RUTH, Role.GUEST, ANNA)
    opened = shown_to(forest, ANNA.account, RUTH.account, let_in).receipts[0][0]
    ref = let_in.application.digest(NETWORK)
    assert opened[:6] == (ANNA.account, Role.GUEST, RUTH.account, 0, ReceiptKind.ADMISSION, ref)
    other = STRANGERS[1][0]
    join = invited(other, 7, supervisor=ANNA)
    by_invite = shown_to(forest, ANNA.account, other.account, join).receipts[0][0]
    assert by_invite[:5] == (ANNA.account, Role.MEMBER, other.account, 0, ReceiptKind.ADMISSION)
    assert len(forest.groups[LEFT].invites) == 1
    assert run(forest, ANNA.account, join) == [Status.INVITE_USED]
    assert forest.groups[LEFT].sent_out == 0


def test_an_account_is_let_in_once_at_a_time(forest: Forest) -> None:
    shown_to(forest, ANNA.account, RUTH.account, admission(RUTH, supervisor=ANNA))
    assert outcome(body_on(forest, LEFT), admission(RUTH, supervisor=ANNA)) is Status.ACCOUNT_EXISTS


def test_so_many_are_under_way_at_most(forest: Forest, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("judge", "judge_receipts"):
        monkeypatch.setattr(f"leither_lite.ledger.{module}.PENDING_MAX", 1)
    body = body_on(forest, LEFT)
    assert outcome(body, payment(ANNA, RITA, 1, 0)) is Status.OK
    assert outcome(body, payment(ANNA, RITA, 1, 1)) is Status.PENDING_FULL
    assert outcome(body, admission(RUTH, supervisor=ANNA)) is Status.PENDING_FULL
    assert outcome(body, payment(ANNA, LARS, 1, 1)) is Status.OK


def test_no_segment_touches_more_than_16_items(forest: Forest) -> None:
    body = body_on(forest, LEFT)
    for number in range(20):
        assert outcome(body, payment(ANNA, RITA, 1, number, number=number)) is Status.OK
    body.close(forest.tick)
    assert [len(codec.items(codec.decode(each), 99, "")) for each in body.segments] == [8, 8, 4]
    joined = codec.encode_array([content for _, content in body.operations[:9]])
    body.undo()
    with pytest.raises(RemoteError, match="body_set_items"):
        body_on(forest, LEFT).replay([joined], (body.entries[0],))


# -- settling ------------------------------------------------------------------------------------------------------


def test_settled_once(forest: Forest) -> None:
    settle = sent(forest, ANNA, RITA, 10)
    body = body_on(forest, RIGHT)
    assert [outcome(body, settle), outcome(body, settle)] == [Status.OK, Status.RECEIPTS_SETTLED]
    body.undo()
    assert run(forest, RITA.account, settle) == [Status.OK]
    right = forest.groups[RIGHT]
    assert forest.balance(RITA.account) == HAVE + 10
    assert right.settled_in == 10
    assert right.settled.get(settle.receipts[0][0].id) == (settle.receipts[0][0], settle.shown.pulse)
    assert outcome(body_on(forest, RIGHT), settle) is Status.RECEIPTS_SETTLED
    assert outcome(Body(forest.load(RIGHT), anchor=forest.roots.newest), settle) is Status.RECEIPTS_SETTLED
    forest.check()


def test_settled_once_where_it_is_told_twice(forest: Forest) -> None:
    """In one operation, and beside another receipt that is new."""
    settle = sent(forest, ANNA, RITA, 10)
    twice = replace(settle, receipts=settle.receipts * 5)
    assert run(forest, RITA.account, twice) == [Status.OK]
    assert forest.balance(RITA.account) == HAVE + 10
    forest.submit(ANNA.account, payment(ANNA, RITA, 1, 1), payment(ANNA, ROLF, 2, 2))
    forest.pulse()
    left = forest.groups[LEFT]
    receipts = [receipt for receipt, pulse in left.pending.items.values() if pulse == left.header.pulse]
    both = settle_of(forest.shown(LEFT), outbox_of(receipts, left.header.pulse), receipts)
    forest.queues.clear()
    assert run(forest, RITA.account, replace(both, receipts=both.receipts[:1]), both) == [Status.OK, Status.OK]
    assert forest.groups[RIGHT].settled_in == 13
    forest.check()


def test_settled_in_time(forest: Forest) -> None:
    settle = sent(forest, ANNA, RITA, 10)
    date = settle.receipts[0][0].date
    wake(forest, date + RECEIPT_TICKS_MAX - forest.tick)
    right = forest.groups[RIGHT]
    for tick, expected in ((date + RECEIPT_TICKS_MAX, Status.OK), (date + 3_601, Status.RECEIPTS_SETTLED)):
        newest = forest.roots.newest
        assert newest is not None
        body = Body(right, anchor=newest._replace(tick=tick))
        assert outcome(body, settle) is expected
        body.undo()


def test_shown_under_a_later_header_than_the_one_built_on(forest: Forest) -> None:
    before = forest.roots.newest
    settle = sent(forest, ANNA, RITA, 10)
    assert outcome(Body(forest.groups[RIGHT], anchor=before), settle) is Status.TOO_EARLY


def test_sent_back_where_nobody_is(forest: Forest) -> None:
    settle = sent(forest, ANNA, RUTH, 10)
    back = shown_to(forest, RUTH.account, ANNA.account, settle)
    refund, right = back.receipts[0][0], forest.groups[RIGHT]
    assert refund == settle.receipts[0][0].refund(right.state.date)
    assert (right.sent_out, right.settled_in, list(right.pending.items)) == (10, 10, [refund.id])
    wake(forest, 2 * RECEIPT_TICKS_MAX)
    assert run(forest, ANNA.account, back, back) == [Status.OK, Status.RECEIPTS_SETTLED], "it is never too late for one"
    assert forest.balance(ANNA.account) == HAVE
    assert forest.groups[LEFT].settled_in == 10
    forest.check()


def test_a_frozen_payee_gets_refunds_only(forest: Forest) -> None:
    settle = sent(forest, ANNA, RITA, 10)
    right = forest.groups[RIGHT]
    right.state = right.state._replace(frozen=(RITA.account,))
    body = body_on(forest, RIGHT)
    assert outcome(body, settle) is Status.OK
    assert [each.kind for each in body.traffic.sent] == [ReceiptKind.REFUND]
    body.undo()
    right.state = right.state._replace(frozen=())
    back = shown_to(forest, LOU.account, RITA.account, *_to_lou(forest))
    right.state = right.state._replace(frozen=(RITA.account,))
    body = body_on(forest, RIGHT)
    assert outcome(body, back) is Status.OK
    assert right.entries[RITA.account].record.balance == HAVE
    assert body.traffic.sent == []


def _to_lou(forest: Forest) -> list[Settle]:
    """A payment of Rita's to somebody who is not there."""
    return [sent(forest, RITA, LOU, 10)]


def test_an_admission_opens_an_account_once(forest: Forest) -> None:
    settle = shown_to(forest, ANNA.account, RUTH.account, admission(RUTH, Role.SUPERVISOR, ANNA))
    assert run(forest, RUTH.account, settle) == [Status.OK]
    right = forest.groups[RIGHT]
    assert right.entries[RUTH.account].record == (0, 0, 0, Role.SUPERVISOR, 0)
    assert right.page_bytes == forest.load(RIGHT).page_bytes
    forest.check()


def test_an_admission_leaves_an_account_that_is_there_alone(forest: Forest) -> None:
    """It is settled, and does nothing: neither balance nor number of payments begins anew."""
    assert run(forest, ROLF.account, payment(RITA, ROLF, 10, 0)) == [Status.OK]
    before = forest.groups[RIGHT].entries[RITA.account].record
    settle = shown_to(forest, ANNA.account, RITA.account, admission(RITA, Role.SUPERVISOR, ANNA))
    assert run(forest, RITA.account, settle, settle) == [Status.OK, Status.RECEIPTS_SETTLED]
    assert forest.groups[RIGHT].entries[RITA.account].record == before
    forest.check()


def test_a_full_group_opens_no_account() -> None:
    forest = two_groups(Rules(members_max=3))
    settle = shown_to(forest, ANNA.account, RUTH.account, admission(RUTH, supervisor=ANNA))
    assert outcome(body_on(forest, RIGHT), settle) is Status.GROUP_FULL
    forest.rule(Rules(members_max=4))
    assert outcome(body_on(forest, RIGHT), settle) is Status.OK


def test_an_account_too_close_to_another_is_not_opened(forest: Forest, monkeypatch: pytest.MonkeyPatch) -> None:
    settle = shown_to(forest, ANNA.account, RUTH.account, admission(RUTH, supervisor=ANNA))
    monkeypatch.setattr("leither_lite.ledger.judge_receipts.JOIN_SHARED_BITS_MAX", 0)
    assert outcome(body_on(forest, RIGHT), settle) is Status.GROUP_FULL


def test_each_receipt_of_an_operation_counts_for_itself() -> None:
    """One that has to wait keeps none from being settled."""
    forest = two_groups(Rules(members_max=3))
    forest.submit(ANNA.account, admission(RUTH, supervisor=ANNA), payment(ANNA, RITA, 10, 0))
    forest.pulse()
    forest.queues.clear()
    left, right = forest.groups[LEFT], forest.groups[RIGHT]
    receipts = sorted((receipt for receipt, _ in left.pending.items.values()), key=lambda each: -each.kind)
    settle = settle_of(forest.shown(LEFT), outbox_of(receipts, left.header.pulse), receipts)
    assert run(forest, RITA.account, settle) == [Status.OK]
    assert [each in right.settled for each in (receipts[0].id, receipts[1].id)] == [False, True]


def test_what_cannot_be_sent_back_waits(forest: Forest, monkeypatch: pytest.MonkeyPatch) -> None:
    settle = sent(forest, ANNA, RUTH, 10)
    monkeypatch.setattr("leither_lite.ledger.judge_receipts.PENDING_MAX", 0)
    assert outcome(body_on(forest, RIGHT), settle) is Status.GROUP_FULL


# -- resolving and taking back --------------------------------------------------------------------------------------


def test_resolved(forest: Forest) -> None:
    settle = sent(forest, ANNA, RITA, 10)
    receipt = settle.receipts[0][0]
    with pytest.raises(Halt, match="not_here"):
        forest.resolve(receipt)
    run(forest, RITA.account, settle)
    resolve = forest.resolve(receipt)
    assert run(forest, ANNA.account, resolve, resolve) == [Status.OK, Status.NOTHING_PENDING]
    left = forest.groups[LEFT]
    assert (left.pending.items, left.state.pending, left.sent_out) == ({}, EMPTY, 10)
    assert forest.load(LEFT).pending.items == {}
    assert outcome(body_on(forest, RIGHT), resolve) is Status.NOTHING_PENDING
    with pytest.raises(Halt, match="not_here"):
        forest.reclaim(receipt)


def test_reclaimed_once_it_is_too_late(forest: Forest) -> None:
    """By a header of the payee's group that is more than 3,600 ticks younger, and remembers so far back."""
    settle = sent(forest, ANNA, RITA, 10)
    receipt = settle.receipts[0][0]
    wake(forest, RECEIPT_TICKS_MAX - 3)
    while forest.groups[RIGHT].state.date < receipt.date + RECEIPT_TICKS_MAX:
        assert outcome(body_on(forest, LEFT), forest.reclaim(receipt)) is Status.NOTHING_PENDING
        wake(forest)
    assert outcome(body_on(forest, LEFT), forest.reclaim(receipt)) is Status.NOTHING_PENDING, "3,600 ticks are in time"
    wake(forest)
    reclaim = forest.reclaim(receipt)
    assert run(forest, ANNA.account, reclaim, reclaim) == [Status.OK, Status.NOTHING_PENDING]
    assert (forest.balance(ANNA.account), forest.groups[LEFT].settled_in) == (HAVE, 10)
    assert run(forest, RITA.account, settle) == [Status.RECEIPTS_SETTLED]
    forest.check()


def test_not_reclaimed_where_its_date_is_forgotten(forest: Forest) -> None:
    receipt = sent(forest, ANNA, RITA, 10).receipts[0][0]
    wake(forest, RECEIPT_TICKS_MAX + 9)
    right, able = forest.groups[RIGHT], []
    for floor in (receipt.date + 1, receipt.date):
        state = right.state._replace(floor=floor)
        reclaim = reclaim_of(forest.shown(RIGHT), state.encode(), right.settled, [receipt.id])
        able.append(reclaimable(forest.groups[LEFT], reclaim))
    assert able == [[], [receipt.id]]


def test_a_refund_is_never_reclaimed(forest: Forest) -> None:
    settle = sent(forest, ANNA, RUTH, 10)
    refund = shown_to(forest, RUTH.account, ANNA.account, settle).receipts[0][0]
    wake(forest, RECEIPT_TICKS_MAX + 9)
    assert outcome(body_on(forest, RIGHT), forest.reclaim(refund)) is Status.NOTHING_PENDING


def test_not_reclaimed_by_another_group_than_the_payees(forest: Forest) -> None:
    receipt = sent(forest, ANNA, RITA, 10).receipts[0][0]
    wake(forest, RECEIPT_TICKS_MAX + 9)
    left = forest.groups[LEFT]
    shown = forest.shown(LEFT)
    reclaim = reclaim_of(shown, left.sealed.state, left.settled, [receipt.id])
    assert outcome(body_on(forest, LEFT), reclaim) is Status.NOTHING_PENDING


def test_an_admission_that_nobody_took_is_forgotten(forest: Forest) -> None:
    receipt = shown_to(forest, ANNA.account, RUTH.account, admission(RUTH, supervisor=ANNA)).receipts[0][0]
    wake(forest, RECEIPT_TICKS_MAX + 9)
    assert run(forest, ANNA.account, forest.reclaim(receipt)) == [Status.OK]
    assert forest.groups[LEFT].pending.items == {}
    assert outcome(body_on(forest, LEFT), admission(RUTH, supervisor=ANNA)) is Status.OK


def test_a_store_that_lacks_a_receipt(forest: Forest) -> None:
    run(forest, RITA.account, sent(forest, ANNA, RITA, 10))
    assert forest.balance(RITA.account) == HAVE + 10
    for place, table in ((LEFT, b"o"), (RIGHT, b"S")):
        store = forest.stores[place]
        store.write([(key, None) for key in store.content() if key[:1] == table])
        with pytest.raises(Halt, match="store_corrupt"):
            forest.load(place)
