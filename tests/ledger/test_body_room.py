"""When a body is full, as the one who decides on leaving out must know it: open, closed and executed again."""

from __future__ import annotations

from typing import Final, get_args

from leither_lite import codec
from leither_lite.ledger.body import OPERATION_BYTES_MAX, Body
from leither_lite.ledger.committee import Held
from leither_lite.ledger.group import Group
from leither_lite.ledger.joins import Admission, Application, InvitedJoin
from leither_lite.ledger.operations import Operation, Shown
from leither_lite.ledger.payments import Distribution, Invoice, Payment
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import MERGE
from leither_lite.ledger.structure import TermEnd
from leither_lite.ledger.texts import SignedInvoice
from leither_lite.limits import BODY_SEGMENTS_MAX, SEGMENT_BYTES_MAX, SEGMENT_SET_ITEMS_MAX
from tests.ledger.founding import (
    FOUNDER,
    NETWORK,
    ORGANIZATION,
    admission,
    appointment,
    distribution,
    founded_group,
    invite,
    invited,
    key_of,
    payment,
    pulse,
    role_change,
    take,
    willingness,
)

ALICE: Final = key_of(10)
BOB: Final = key_of(11)
PEOPLE: Final = tuple(key_of(number) for number in range(10, 16))


def village() -> Group:
    """The founder with 100,000, Alice with 100, and Bob."""
    group = founded_group()
    to_both = distribution(ALICE.account, 100, 0), distribution(FOUNDER.account, 10**5, 1)
    pulse(group, admission(ALICE), admission(BOB), *to_both)
    return group


def test_full() -> None:
    body = Body(village())
    sent = 0
    while not body.full:
        operation = payment(FOUNDER, ALICE, 1, sent)
        assert take(body, operation) == [Status.OK]
        sent += 1
    assert len(body.segments) == BODY_SEGMENTS_MAX - 1
    assert SEGMENT_BYTES_MAX - 3 - OPERATION_BYTES_MAX < body._content_bytes <= SEGMENT_BYTES_MAX - 3
    while take(body, payment(FOUNDER, ALICE, 1, sent)) == [Status.OK]:
        sent += 1
    assert take(body, payment(FOUNDER, ALICE, 1, sent)) == [Status.BODY_FULL]
    body.close(0)
    assert body.full
    replayed = Body(village())
    replayed.replay(body.segments, tuple(body.entries), lambda content: True)
    assert replayed.full


def test_full_of_joins() -> None:
    """Where the last segment has no room for an invite, whoever left one out had no choice."""
    body = Body(village())
    body.segments = [b""] * (BODY_SEGMENTS_MAX - 1)
    joins = [invited(key_of(100 + number), 1_000 + number) for number in range(SEGMENT_SET_ITEMS_MAX + 1)]
    for join in joins[:-1]:
        assert not body.full
        assert take(body, join) == [Status.OK]
    assert body.full
    assert take(body, joins[-1], payment(ALICE, BOB, 1, 0)) == [Status.BODY_FULL, Status.OK]


def test_32_small_segments_are_not_full() -> None:
    """A proposer who cuts segments short has room all the same."""
    body = Body(village())
    for sent in range(BODY_SEGMENTS_MAX):
        take(body, payment(ALICE, BOB, 1, sent))
        body._close(codec.encode_array(body._contents))
    assert not body.full
    assert take(body, payment(ALICE, BOB, 1, BODY_SEGMENTS_MAX)) == [Status.OK]


def test_the_largest_operation() -> None:
    amount, number, words = 2**53 - 1, 2**64 - 1, "x" * 64
    longest = Distribution.make(NETWORK, ORGANIZATION, number, ALICE.account, amount, "x" * 256)
    invoice = SignedInvoice.sign(NETWORK, BOB, Invoice(BOB.public, amount, number, number, words))
    application = Application.make(NETWORK, ALICE, words)
    others: list[Operation] = [
        Payment.make(NETWORK, ALICE, invoice.content, invoice.signature, amount, number),
        Admission.make(NETWORK, FOUNDER, application, 2),
        InvitedJoin.make(NETWORK, application, invite(20, number), key_of(20)),
        role_change(ALICE.account, 2, number),
        appointment(*PEOPLE, FOUNDER, number=number),
        willingness(ALICE, number, address=words),
        TermEnd(MERGE),
    ]
    assert len(longest.encode()) == OPERATION_BYTES_MAX
    assert max(len(operation.encode()) for operation in others) <= OPERATION_BYTES_MAX
    kinds = {type(operation) for operation in (longest, *others)} | {Held, *get_args(Shown)}
    assert kinds == set(get_args(Operation)), "Held follows no other operation; what shows receipts may be longer"
