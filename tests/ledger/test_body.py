"""What each operation is refused for, what bounds a group and a body, and that a refusal leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from leither_lite import codec
from leither_lite.errors import Halt
from leither_lite.header import encode_roster
from leither_lite.identity import Key
from leither_lite.ledger.body import Body
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.group import Group
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.payments import Payment
from leither_lite.ledger.records import Entry, Record, Role, encode_page
from leither_lite.ledger.signed import Status
from leither_lite.limits import (
    BODY_SEGMENTS_MAX,
    PAGE_BYTES_MAX,
    RECEIPT_TICKS_MAX,
    SEGMENT_BYTES_MAX,
    SEGMENT_SET_ITEMS_MAX,
    SUPPLY_MAX,
    WILLING_MAX,
)
from leither_lite.tree.node import node_sum
from tests.ledger.founding import (
    FOUNDER,
    NETWORK,
    ORGANIZATION,
    SUPPLY,
    admission,
    appointment,
    distribution,
    founded_group,
    held,
    invited,
    key_of,
    payment,
    pulse,
    role_change,
    seal,
    take,
    willingness,
)

ALICE: Final = key_of(10)
BOB: Final = key_of(11)
STRANGER: Final = key_of(12)


def village(tick: int = 0) -> Group:
    """Alice with 100, Bob with nothing, a used invite, a last header at `tick`."""
    group = founded_group()
    pulse(
        group,
        admission(ALICE),
        invited(BOB, 1_000),
        distribution(ALICE.account, 100, 0),
        tick=tick,
    )
    return group


def neighbour(account: bytes, bits: int) -> bytes:
    """An id that agrees with `account` in exactly `bits` bits."""
    return (int.from_bytes(account, "big") ^ 1 << (159 - bits)).to_bytes(20, "big")


def with_frozen(group: Group, account: bytes) -> Group:
    """The group with an account frozen by a dispute, of which there are none yet."""
    group.state = group.state._replace(frozen=(account,))
    return group


def with_entry(group: Group, account: bytes) -> Group:
    """The group with one more, empty account."""
    group.insert(account, Entry(0, Record(0, 0, 0, Role.MEMBER, 0)))
    return group


def full_page(group: Group) -> Group:
    """The group with as many accounts as its page takes, all with crafted ids."""
    number = 0
    while group.page_bytes + 44 <= PAGE_BYTES_MAX:
        with_entry(group, number.to_bytes(2, "big") + bytes(18))
        number += 1
    return group


WILLING: Final = tuple(key_of(number) for number in range(2_000, 2_000 + WILLING_MAX))


def with_willing(group: Group) -> Group:
    """The group with as many willing nodes as S takes, and Bob among them."""
    nodes = [Willing(key.public, "", 5, 0) for key in (BOB, *WILLING[1:])]
    group.state = group.state._replace(willing=tuple(sorted(nodes)))
    return group


def with_roster_max(group: Group, roster_max: int) -> Group:
    """The group of a charter that allows no larger roster."""
    group.rules = group.rules._replace(roster_max=roster_max)
    return group


def with_roster(group: Group, *roster: Key) -> Group:
    """The group as another roster seals it."""
    group.roster = encode_roster([key.public for key in roster])
    return group


def guests() -> Group:
    """The village, and Bob a guest."""
    group = village()
    entry = group.entries[BOB.account]
    group.insert(BOB.account, entry._replace(record=entry.record._replace(role=Role.GUEST)))
    return group


DIGEST: Final = village().digest
FOUR: Final = (ALICE, BOB, FOUNDER, ORGANIZATION)

REFUSED: Final[dict[Status, list[tuple[Callable[[], Group], Operation]]]] = {
    Status.ACCOUNT_EXISTS: [(village, admission(ALICE)), (village, invited(BOB, 1_001)), (village, admission(FOUNDER))],
    Status.ACCOUNT_FROZEN: [
        (lambda: with_frozen(village(), ALICE.account), payment(ALICE, BOB, 1, 0)),
        (lambda: with_frozen(village(), BOB.account), payment(ALICE, BOB, 1, 0)),
        (lambda: with_frozen(village(), NETWORK), distribution(ALICE.account, 1, 1)),
        (lambda: with_frozen(village(), ALICE.account), distribution(ALICE.account, 1, 1)),
    ],
    Status.AMOUNT_MISMATCH: [
        (village, payment(ALICE, BOB, 2, 0, asked=3)),
        (village, payment(ALICE, BOB, 4, 0, asked=3)),
    ],
    Status.AMOUNT_ZERO: [(village, payment(ALICE, BOB, 0, 0)), (village, distribution(ALICE.account, 0, 1))],
    Status.BAD_ROSTER: [
        (village, appointment()),
        (village, appointment(ALICE, BOB)),
        (village, appointment(ALICE, BOB, ALICE)),
        (village, appointment(ALICE, BOB, STRANGER)),
        (village, appointment(*FOUR)),
        (village, appointment(ORGANIZATION)),
        (lambda: with_roster_max(village(), 1), appointment(ALICE, BOB, FOUNDER)),
        (guests, appointment(BOB)),
        (village, appointment(STRANGER, number=7)),
    ],
    Status.EXPIRED: [
        (lambda: village(tick=RECEIPT_TICKS_MAX + 8), willingness(ALICE, 7)),
        (lambda: village(tick=51), payment(ALICE, BOB, 1, 0, valid_until=50)),
        (lambda: village(tick=51), invited(STRANGER, 1_001, valid_until=50)),
    ],
    Status.GROUP_FULL: [
        (lambda: full_page(village()), admission(STRANGER)),
        (lambda: full_page(village()), invited(STRANGER, 1_001)),
    ],
    Status.ID_TOO_CLOSE: [
        (lambda: with_entry(village(), neighbour(STRANGER.account, 64)), admission(STRANGER)),
        (lambda: with_entry(village(), neighbour(STRANGER.account, 159)), admission(STRANGER)),
        (lambda: with_entry(village(), neighbour(STRANGER.account, 64)), invited(STRANGER, 1_001)),
    ],
    Status.INSUFFICIENT_BALANCE: [
        (village, payment(ALICE, BOB, 101, 0)),
        (village, payment(BOB, ALICE, 1, 0)),
        (village, distribution(ALICE.account, SUPPLY - 100 + 1, 1)),
        (village, payment(ALICE, BOB, SUPPLY_MAX, 0)),
    ],
    Status.INVITE_USED: [(village, invited(STRANGER, 1_000)), (village, invited(BOB, 1_000))],
    Status.NOT_PERMITTED: [
        (village, admission(STRANGER, supervisor=ALICE)),
        (village, admission(STRANGER, supervisor=STRANGER)),
        (village, invited(STRANGER, 1_001, supervisor=ALICE)),
        (village, distribution(ALICE.account, 1, 0, organization=FOUNDER)),
        (village, role_change(ALICE.account, Role.GUEST, 0, supervisor=ALICE)),
        (village, role_change(ALICE.account, Role.GUEST, 0, supervisor=STRANGER)),
        (village, appointment(ALICE, supervisor=ALICE)),
        (village, appointment(ALICE, supervisor=STRANGER)),
        (village, appointment(STRANGER, supervisor=ALICE)),
        (village, willingness(STRANGER)),
        (village, willingness(ORGANIZATION)),
        (guests, willingness(BOB)),
        (lambda: village(tick=RECEIPT_TICKS_MAX + 8), willingness(STRANGER, 7)),
        (lambda: with_willing(village()), held(DIGEST, [ALICE])),
        (lambda: with_willing(village()), held(DIGEST, [BOB], [ALICE])),
        (lambda: with_willing(village()), held(DIGEST, [BOB], [BOB])),
        (lambda: with_willing(with_roster(village(), BOB)), held(DIGEST, [BOB])),
        (lambda: with_willing(with_roster(village(), BOB)), held(DIGEST, [], [BOB])),
    ],
    Status.WILLING_FULL: [(lambda: with_willing(village()), willingness(ALICE))],
    Status.WRONG_HEADER: [
        (lambda: with_willing(village()), held(bytes(32), [BOB])),
        (lambda: with_willing(village()), held(bytes(32), [ALICE])),
    ],
    Status.PAYER_IS_PAYEE: [(village, payment(ALICE, ALICE, 1, 0)), (village, distribution(NETWORK, 1, 1))],
    Status.ROLE_FIXED: [(village, role_change(NETWORK, Role.GUEST, 0))],
    Status.UNKNOWN_ACCOUNT: [(village, role_change(STRANGER.account, Role.GUEST, 0))],
    Status.UNKNOWN_PAYEE: [(village, payment(ALICE, STRANGER, 1, 0)), (village, distribution(STRANGER.account, 1, 1))],
    Status.UNKNOWN_PAYER: [
        (village, payment(STRANGER, BOB, 1, 0)),
        (village, distribution(ALICE.account, 1, 0, organization=STRANGER)),
    ],
    Status.WRONG_NUMBER: [
        (village, role_change(ALICE.account, Role.GUEST, 1)),
        (village, appointment(ALICE, number=1)),
        (village, willingness(ALICE, willing=0)),
        (lambda: with_willing(village()), willingness(ALICE, willing=0)),
        (lambda: with_willing(village()), willingness(BOB, 5)),
        (lambda: with_willing(village()), willingness(BOB, 5, willing=0)),
    ],
    Status.WRONG_SENT: [
        (village, payment(ALICE, BOB, 1, 1)),
        (village, distribution(ALICE.account, 1, 0)),
        (village, distribution(ALICE.account, 1, 2)),
    ],
}

# What `check_signatures` says: tests of payments, joins, committees. Body_full: below. Misplaced: tests of committees.
# What only a node says: tests of its desk. Of receipts and the ends of terms: tests/ledger/test_receipts.py.
ELSEWHERE: Final = {
    Status.OK,
    Status.BAD_SIGNATURE,
    Status.INVOICE_MISMATCH,
    Status.BODY_FULL,
    Status.MISPLACED,
    Status.NOT_SHOWN,
    Status.NOTHING_PENDING,
    Status.OTHER_NETWORK,
    Status.PENDING_FULL,
    Status.RECEIPTS_SETTLED,
    Status.TOO_EARLY,
}


def test_every_status_is_here_or_elsewhere() -> None:
    assert set(REFUSED) | ELSEWHERE == set(Status)


@pytest.mark.parametrize(
    ("status", "make", "operation"),
    [(status, make, operation) for status, cases in REFUSED.items() for make, operation in cases],
    ids=lambda value: value.value if isinstance(value, Status) else "",
)
def test_refused(status: Status, make: Callable[[], Group], operation: Operation) -> None:
    group = make()
    body = Body(group)
    before = dict(group.entries), group.tree.root(), body.state, body.roster, group.page_bytes
    assert body.take(operation, operation.encode()) is status
    assert body.is_empty
    assert (dict(group.entries), group.tree.root(), body.state, body.roster, group.page_bytes) == before
    assert group.ahead == 0


def test_limits_are_allowed() -> None:
    """The other side of each bound."""
    body = Body(with_entry(village(tick=50), neighbour(STRANGER.account, 63)))
    statuses = take(
        body,
        payment(ALICE, BOB, 40, 0, asked=40, valid_until=50),
        payment(ALICE, BOB, 60, 1),
        payment(BOB, ALICE, 100, 0),
        invited(STRANGER, 1_001, valid_until=50),
        role_change(STRANGER.account, Role.SUPERVISOR, 0),
        role_change(FOUNDER.account, Role.GUEST, 1, supervisor=STRANGER),
    )
    assert statuses == [Status.OK] * 6
    assert take(body, admission(key_of(13))) == [Status.NOT_PERMITTED]
    assert take(body, admission(key_of(13), supervisor=ORGANIZATION)) == [Status.OK]


def test_organization_pays_as_payer_too() -> None:
    assert take(Body(village()), payment(ORGANIZATION, ALICE, 5, 1)) == [Status.OK]


def test_expiry_goes_by_the_header_before() -> None:
    """S's date is the predecessor's tick: a header's own tick does not reach the operations under it."""
    group = village(tick=50)
    body = Body(group)
    assert take(body, payment(ALICE, BOB, 1, 0, valid_until=50)) == [Status.OK]
    seal(body, tick=90)
    assert take(Body(group), payment(ALICE, BOB, 1, 1, valid_until=89)) == [Status.EXPIRED]
    assert take(Body(group), payment(ALICE, BOB, 1, 1, valid_until=90)) == [Status.OK]


def test_joins_until_the_page_is_full_and_payments_on_it() -> None:
    group = founded_group(SUPPLY_MAX)
    people = [key_of(100 + number) for number in range(231)]
    body = Body(group)
    statuses = take(body, *(admission(key) for key in people))
    assert statuses == [Status.OK] * 230 + [Status.GROUP_FULL]
    seal(body)
    assert len(group.entries) == 232
    everything = [distribution(people[0].account, SUPPLY_MAX, 0)]
    chain = [payment(people[number], people[number + 1], SUPPLY_MAX, 0) for number in range(229)]
    body = Body(group)
    assert take(body, *everything, *chain) == [Status.OK] * 230
    seal(body)
    assert group.entries[people[229].account].record.balance == SUPPLY_MAX
    assert node_sum(group.header.node) == SUPPLY_MAX
    page = encode_page(
        [(account, entry.pulse, entry.record.encode()) for account, entry in sorted(group.entries.items())]
    )
    assert len(page) <= group.page_bytes <= PAGE_BYTES_MAX


def test_supply_edge() -> None:
    """2^53-1 in one account, moved whole and back, one unit short and one too many."""
    group = founded_group(SUPPLY_MAX)
    pulse(group, admission(ALICE))
    body = Body(group)
    assert take(body, distribution(ALICE.account, SUPPLY_MAX, 0)) == [Status.OK]
    assert take(body, distribution(ALICE.account, 1, 1)) == [Status.INSUFFICIENT_BALANCE]
    assert take(body, payment(ALICE, FOUNDER, SUPPLY_MAX - 1, 0)) == [Status.OK]
    assert take(body, payment(ALICE, FOUNDER, 2, 1)) == [Status.INSUFFICIENT_BALANCE]
    _, header = seal(body)
    assert node_sum(header.node) == SUPPLY_MAX


@pytest.mark.parametrize("balance", [0, 2])
def test_unbalanced_is_never_sealed(balance: int) -> None:
    """An invariant that no operation breaks: so it is broken by hand."""
    group = village()
    body = Body(group)
    take(body, payment(ALICE, BOB, 1, 0))
    entry = group.entries[BOB.account]
    group.insert(BOB.account, entry._replace(record=entry.record._replace(balance=balance)))
    with pytest.raises(Halt, match="not_conserved"):
        body.close(0)


def payments_between(payer: Key, payee: Key, first: int, count: int) -> list[Payment]:
    """Payments of 1 of the same size each."""
    return [payment(payer, payee, 1, sent, number=10**6 + sent) for sent in range(first, first + count)]


def test_segments_split_at_16_kib_and_body_full_at_32() -> None:
    group = founded_group()
    pulse(group, admission(ALICE), distribution(FOUNDER.account, 100_000, 0))
    size = len(payments_between(FOUNDER, ALICE, 1_000, 1)[0].encode())
    body = Body(group)
    taken = 0
    status = Status.OK
    while status is Status.OK:
        [operation] = payments_between(FOUNDER, ALICE, taken, 1)
        status = take(body, operation)[0]
        taken += status is Status.OK
    assert status is Status.BODY_FULL
    assert group.entries[FOUNDER.account].record.sent == taken
    assert take(body, payment(FOUNDER, ALICE, 0, taken)) == [Status.AMOUNT_ZERO]
    sealed, _ = seal(body)
    assert len(sealed.entries) == len(body.segments) == BODY_SEGMENTS_MAX
    for segment in body.segments:
        assert SEGMENT_BYTES_MAX - size - 3 <= len(segment) <= SEGMENT_BYTES_MAX
    counts = [len(codec.items(codec.decode(segment), 10_000, "segment")) for segment in body.segments]
    assert sum(counts) == taken
    assert take(Body(group), *payments_between(FOUNDER, ALICE, taken, 1)) == [Status.OK]


def test_segments_touch_at_most_16_items_of_sets() -> None:
    group = founded_group()
    body = Body(group)
    joins = [invited(key_of(100 + number), 1_000 + number) for number in range(2 * SEGMENT_SET_ITEMS_MAX + 1)]
    plain = [admission(key_of(200 + number)) for number in range(3)]
    assert set(take(body, *joins[:-1], *plain, joins[-1])) == {Status.OK}
    seal(body)
    counts = [len(codec.items(codec.decode(segment), 10_000, "segment")) for segment in body.segments]
    assert counts == [16, 16 + 3, 1]


def test_refused_operation_closes_no_segment() -> None:
    """Whoever sends what is refused cannot cut bodies into small segments."""
    group = village()
    pulse(group, distribution(ALICE.account, 1_000, 1))
    body = Body(group)
    payments = payments_between(ALICE, BOB, 0, 90)
    room = SEGMENT_BYTES_MAX - 3
    while room >= len(payments[0].encode()):
        operation = payments.pop(0)
        assert take(body, operation) == [Status.OK]
        room -= len(operation.encode())
    root = group.tree.root()
    assert take(body, payment(ALICE, BOB, 10**6, operation.sent + 1)) == [Status.INSUFFICIENT_BALANCE]
    assert body.segments == []
    assert group.tree.root() == root
    assert take(body, payments.pop(0)) == [Status.OK]
    assert len(body.segments) == 1


def test_header_follows_from_the_one_before() -> None:
    group = village(tick=7)
    before, digest = group.header, group.digest
    body = Body(group)
    assert body.close(3).tick == 7, "ticks never fall"
    header = Body(group, 1).close(9)
    assert header == replace(before, term=1, pulse=2, tick=9, previous=digest, node=header.node, body=header.body)
    assert body.state.date == 7
