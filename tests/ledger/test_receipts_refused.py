"""Receipts: what is shown wrongly is refused, what is old is forgotten, and what is undone leaves nothing behind."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest

from leither_lite import codec
from leither_lite.errors import RemoteError
from leither_lite.ledger.body import Body
from leither_lite.ledger.group import Group
from leither_lite.ledger.operations import Operation, from_value
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.sets import EXPIRED_MAX, SettledSet
from leither_lite.ledger.settling import OtherReceipt, Reclaim, Resolve, Settle, Steps
from leither_lite.ledger.showing import outbox_of, reclaim_of, resolve_of, settle_of
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import GENESIS_STATE
from leither_lite.ledger.tip import Anchor
from leither_lite.limits import RECEIPT_TICKS_MAX, SETTLED_TICKS_MIN
from leither_lite.store.reader import MemoryStore
from leither_lite.tree.node import EMPTY
from leither_lite.tree.proof import BranchStep
from tests.ledger.forest import Forest
from tests.ledger.founding import NETWORK, ORGANIZATION, admission, invited, payment
from tests.ledger.pair import (
    ANNA,
    LARS,
    LEFT,
    RIGHT,
    RITA,
    ROLF,
    RUTH,
    STRANGERS,
    body_on,
    facts,
    forged,
    outcome,
    run,
    sent,
    two_groups,
    wake,
)

REFUSED: Final = (Status.NOT_SHOWN, Status.TOO_EARLY)


def receipt_of(number: int, payer: bytes = ANNA.account, date: int = 0) -> Receipt:
    """A receipt for Rita."""
    return Receipt(payer, number, RITA.account, 1, ReceiptKind.PAYMENT, bytes(32), date)


@pytest.fixture(name="forest")
def _forest() -> Forest:
    return two_groups()


def three(forest: Forest) -> tuple[Settle, Resolve, Reclaim]:
    """Each of the operations on receipts as it should be: of three receipts the second is settled."""
    forest.submit(ANNA.account, *(payment(ANNA, RITA, 1, number, number=number) for number in range(3)))
    forest.pulse()
    left, right = forest.groups[LEFT], forest.groups[RIGHT]
    forest.queues.clear()
    receipts = [receipt for receipt, _ in left.pending.items.values()]
    settle = settle_of(forest.shown(LEFT), outbox_of(receipts, left.header.pulse), receipts)
    assert run(forest, RITA.account, replace(settle, receipts=settle.receipts[1:])) == [Status.OK]
    wake(forest, RECEIPT_TICKS_MAX + 9)
    told = forest.shown(RIGHT), right.sealed.state, right.settled
    resolve, reclaim = resolve_of(*told, [receipts[1].id]), reclaim_of(*told, [receipts[0].id])
    assert [each.check_signatures(NETWORK) for each in (settle, resolve, reclaim)] == [Status.OK] * 3
    for operation in (resolve, reclaim):
        assert from_value(codec.decode(operation.encode())) == operation
    return settle, resolve, reclaim


def flips(value: Any, rng: random.Random) -> Iterator[Any]:
    """Copies of a CBOR value, each with one bit of it another: of every integer, and of every byte string where it
    hurts."""
    if isinstance(value, int):
        yield value ^ 1 << rng.randrange(8)
    elif isinstance(value, bytes):
        for at in {0, len(value) // 2, len(value) - 1, *(rng.randrange(len(value)) for _ in range(9))} if value else ():
            yield value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :]
    else:
        for index, each in enumerate(value):
            for other in flips(each, rng):
                yield [*value[:index], other, *value[index + 1 :]]


def verdict(group: Group, anchor: Anchor | None, value: Any) -> Status | str:
    """What becomes of an operation as somebody sent it: a status, or why it is none."""
    try:
        operation = from_value(codec.decode(codec.encode(value)))
    except RemoteError as error:
        return error.reason
    body = Body(group, anchor=anchor)
    status = outcome(body, operation)
    body.undo()
    return status


@pytest.mark.parametrize("index", range(3), ids=["settle", "resolve", "reclaim"])
def test_one_bit_flipped_anywhere(forest: Forest, index: int) -> None:
    """But for signatures of a root header that is known already: nobody looks at them again."""
    operation = three(forest)[index]
    value: Any = codec.decode(operation.encode())
    place = RIGHT if index == 0 else LEFT
    group, seen = forest.groups[place], set()
    before = facts(group)
    for other in flips(value[1:], random.Random(index)):
        if [*other[0][:1], *other[0][2:]] == [*value[1][:1], *value[1][2:]] and other[1:] == value[2:]:
            continue
        found = verdict(group, forest.roots.newest, [value[0], *other])
        assert found in (*REFUSED, Status.NOTHING_PENDING) or isinstance(found, str), found
        assert found is not Status.NOTHING_PENDING or other[-1] != value[-1]
        seen.add(found)
    assert Status.NOT_SHOWN in seen
    assert facts(group) == before


def test_an_unknown_root(forest: Forest) -> None:
    """One that opens as it should, but that nobody vouches for."""
    receipt = receipt_of(1)
    shown = forged(LEFT, 5, [receipt])
    settle = settle_of(shown, outbox_of([receipt], 5), [receipt])
    assert settle.check_signatures(NETWORK) is Status.OK
    assert outcome(body_on(forest, RIGHT), settle) is Status.NOT_SHOWN
    good = sent(forest, ANNA, RITA, 1)
    forest.groups[RIGHT].vouch = lambda shown: False
    assert outcome(body_on(forest, RIGHT), good) is Status.NOT_SHOWN


def test_another_root_than_the_one_it_leads_to(forest: Forest) -> None:
    settle = sent(forest, ANNA, RITA, 1)
    wake(forest)
    for other in (forest.root.sealed.header_bytes, forest.groups[LEFT].sealed.header_bytes, b""):
        wrong = replace(settle, shown=replace(settle.shown, root=other))
        assert outcome(body_on(forest, RIGHT), wrong) is Status.NOT_SHOWN


def test_the_outbox_of_another_group_or_pulse(forest: Forest) -> None:
    receipts = [receipt_of(1), receipt_of(2, ROLF.account)]
    outbox = outbox_of(receipts, 5)
    for place, index, expected in ((LEFT, 0, Status.OK), (LEFT, 1, Status.NOT_SHOWN), (RIGHT, 0, Status.NOT_SHOWN)):
        settle = settle_of(forged(place, 5, receipts), outbox, [receipts[index]])
        assert settle.check_signatures(NETWORK) is expected
    assert settle_of(forged(LEFT, 6, receipts), outbox, receipts[:1]).check_signatures(NETWORK) is Status.NOT_SHOWN
    assert settle_of(forged(LEFT, 5, receipts[1:]), outbox, receipts[:1]).check_signatures(NETWORK) is Status.NOT_SHOWN


def test_another_network(forest: Forest) -> None:
    for operation in three(forest):
        assert operation.check_signatures(ORGANIZATION.account[::-1]) is Status.NOT_SHOWN


def test_the_last_step_is_the_roots(forest: Forest) -> None:
    shown = forged(LEFT, 5, [])
    assert shown.check(NETWORK).level == 2
    with pytest.raises(RemoteError, match="shown_mismatch"):
        replace(shown, above=()).check(NETWORK)
    sibling = b"\1" * 36
    with pytest.raises(RemoteError):
        replace(shown, above=(*shown.above, BranchStep(0, sibling))).check(NETWORK)
    with pytest.raises(RemoteError, match="shown_root"):
        replace(shown, root=forest.groups[LEFT].sealed.header_bytes).check(NETWORK)


# -- absence -------------------------------------------------------------------------------------------------------


def absence(items: list[Receipt], wanted: bytes, other: OtherReceipt | None, steps: Steps) -> Status:
    """The status of the claim that a receipt is not among `items`, which are settled."""
    tree = outbox_of(items, 5)
    state = GENESIS_STATE._replace(settled=tree.root())
    return Reclaim(forged(RIGHT, 6, [], state), state.encode(), ((wanted, other, steps),)).check_signatures(NETWORK)


def test_absence() -> None:
    """Only the leaf in whose place it would be shows that a receipt is not there."""
    items = [receipt_of(number) for number in range(20)]
    known = {each.id: OtherReceipt(each, 5) for each in items}
    tree, wanted = outbox_of(items, 5), receipt_of(99).id
    path = tree.path(wanted)
    assert path is not None
    assert absence(items, wanted, known[path.account], path.steps) is Status.OK
    assert absence([], wanted, None, ()) is Status.OK
    assert absence(items, wanted, None, ()) is Status.NOT_SHOWN
    assert absence([], wanted, None, ((3, b"\1" * 36),)) is Status.NOT_SHOWN
    assert absence([], wanted, known[path.account], ()) is Status.NOT_SHOWN
    assert absence(items, wanted, OtherReceipt(known[path.account].receipt, 6), path.steps) is Status.NOT_SHOWN
    for item in known:
        if item != path.account:
            elsewhere = tree.path(item)
            assert elsewhere is not None
            assert absence(items, wanted, known[item], elsewhere.steps) is Status.NOT_SHOWN
        own = tree.path(item)
        assert own is not None
        assert absence(items, item, known[item], own.steps) is Status.NOT_SHOWN
        for cut in range(len(own.steps)):
            assert absence(items, item, known[item], own.steps[cut + 1 :]) is Status.NOT_SHOWN


def test_the_leaf_of_another() -> None:
    """That one receipt is settled says nothing of another whose way would lead there."""
    settled, other = receipt_of(1), receipt_of(2)
    state = GENESIS_STATE._replace(settled=settled.leaf(5))
    shown = forged(RIGHT, 6, [], state)
    for item, expected in ((settled.id, Status.OK), (other.id, Status.NOT_SHOWN)):
        resolve = Resolve(shown, state.encode(), ((item, settled.leaf(5), ()),))
        assert resolve.check_signatures(NETWORK) is expected


def test_a_branch_is_no_leaf(forest: Forest) -> None:
    """Its hash looks like an id: in an absence a whole receipt is asked for; and nobody waits for such an id."""
    items = [receipt_of(number) for number in range(20)]
    tree = outbox_of(items, 5)
    state = GENESIS_STATE._replace(settled=tree.root())
    shown = forged(RIGHT, 6, [], state)
    path = tree.path(items[0].id)
    assert path is not None
    branch = path.steps[0][1]
    root = tree.root()
    claim: list[Any] = [11, shown.value(), state.encode(), [[items[0].id, [branch[16:], 5], []]]]
    with pytest.raises(RemoteError, match="bad_operation"):
        from_value(claim)
    resolve = Resolve(shown, state.encode(), ((root[16:], root, ()),))
    assert resolve.check_signatures(NETWORK) is Status.OK, "it is the root's own node, under its own hash"
    left = forest.groups[LEFT]
    left.vouch = lambda shown: True
    assert outcome(body_on(forest, LEFT), resolve) is Status.NOTHING_PENDING


@pytest.mark.parametrize("code", [9, 10, 11])
def test_none_or_too_many(forest: Forest, code: int) -> None:
    operation: Operation = three(forest)[code - 9]
    value: Any = codec.decode(operation.encode())
    for count in (0, 6 if code == 9 else 17):
        with pytest.raises(RemoteError, match="bad_operation"):
            from_value([*value[:-1], value[-1][:1] * count])


# -- forgetting ----------------------------------------------------------------------------------------------------


def long_settled(forest: Forest, dates: list[int]) -> Group:
    """The right group, which has settled a receipt of each of these dates a day ago and more."""
    group, store = forest.groups[RIGHT], MemoryStore()
    group.settled = SettledSet(store)
    for number, date in enumerate(dates):
        group.settled.put(receipt_of(number, date=date), date)
    store.write(group.settled.writes())
    group.settled.performed()
    group.state = group.state._replace(date=SETTLED_TICKS_MIN + 10**6, settled=group.settled.tree.root())
    return group


def next_body(group: Group) -> Body:
    """The next body on a group."""
    return Body(group, anchor=Anchor(b"\7" * 32, group.header.pulse + 9, group.state.date + 1))


def test_forgotten_an_hour_at_a_time(forest: Forest) -> None:
    group = long_settled(forest, [0, 3_599, 3_600, 7_199, 7_200])
    left = []
    for _ in range(4):
        body = next_body(group)
        left.append((body.state.floor, len(group.settled.tree)))
        assert body.state.settled == group.settled.tree.root()
        group.state, group.ahead = body.state, 0
    assert left == [(3_600, 3), (7_200, 1), (10_800, 0), (14_400, 0)]


def test_forgotten_1024_at_a_time(forest: Forest) -> None:
    group = long_settled(forest, [number // 2 for number in range(3 * EXPIRED_MAX)])
    body = next_body(group)
    assert (body.state.floor, len(group.settled.tree)) == (EXPIRED_MAX // 2, 2 * EXPIRED_MAX)
    before = facts(group)
    body.undo()
    assert len(group.settled.tree) == 3 * EXPIRED_MAX
    again = next_body(group)
    assert (again.state, facts(group)) == (body.state, before)


def test_no_date_is_forgotten_by_halves(forest: Forest) -> None:
    """The floor is above all that is forgotten: else such a receipt could be settled, or reclaimed, once more."""
    for dates in ([5] * (EXPIRED_MAX + 3), [number // 3 for number in range(2 * EXPIRED_MAX)]):
        group = long_settled(two_groups(), dates)
        body = next_body(group)
        kept = {receipt.date for receipt, _ in group.settled.older(10**9, 10**9)}
        assert len(group.settled.tree) == len(dates) - EXPIRED_MAX
        gone = {date for date in dates if dates.count(date) > [each for each in dates if each in kept].count(date)}
        assert all(date < body.state.floor for date in gone)
        forgotten = dates[EXPIRED_MAX - 1]
        assert body.state.floor == forgotten + 1
        body.undo()


def test_forgotten_though_its_date_is_wrong(forest: Forest) -> None:
    """Of a group that lies about dates: the floor is above every date that is forgotten, and never falls."""
    group = long_settled(forest, [9] * (EXPIRED_MAX - 1) + [0] + [9] * 5)
    body = next_body(group)
    assert body.state.floor == 10
    body.undo()
    group = long_settled(two_groups(), list(range(2 * EXPIRED_MAX)))
    group.state = group.state._replace(floor=5_000)
    body = next_body(group)
    assert (body.state.floor, len(group.settled.tree)) == (5_000, EXPIRED_MAX), "as after a merge"


# -- undoing, replaying and restarting -------------------------------------------------------------------------------


def busy(forest: Forest) -> tuple[list[Operation], list[Operation]]:
    """Operations of every kind for the left group, and for the right."""
    forest.resolves = False
    there = [sent(forest, ANNA, RITA, 1), sent(forest, ANNA, RUTH, 2), sent(forest, LARS, ROLF, 3)]
    here = [sent(forest, RITA, LARS, 4), sent(forest, ROLF, STRANGERS[0][0], 5)]
    assert run(forest, RITA.account, there[2]) == [Status.OK]
    wake(forest)
    resolve = forest.resolve(there[2].receipts[0][0])
    late = forest.reclaim(there[0].receipts[0][0])
    join = invited(STRANGERS[1][1], 5, supervisor=ANNA)
    left: list[Operation] = [*here, resolve, payment(ANNA, RITA, 6, 2), admission(RUTH, supervisor=ANNA), join]
    return [*left, late], [*there[:2], payment(ROLF, LARS, 7, 1)]


@pytest.mark.parametrize("place", [LEFT, RIGHT], ids=["left", "right"])
def test_undone_and_done_again(forest: Forest, place: tuple[bytes, int]) -> None:
    """Sets and group are as they were; done again, the header is the same, by a copy from the store too."""
    operations = busy(forest)[0 if place == LEFT else 1]
    group, copy = forest.groups[place], forest.load(place)
    before, stored = facts(group), forest.stores[place].content()
    assert before == facts(copy)
    body = body_on(forest, place)
    statuses = [outcome(body, each) for each in operations]
    late = [Status.NOTHING_PENDING] if place == LEFT else []
    assert statuses == [Status.OK] * (len(operations) - len(late)) + late
    header = body.close(forest.tick)
    assert facts(group) != before
    body.undo()
    assert facts(group) == before
    assert forest.stores[place].content() == stored
    again = Body(copy, anchor=forest.roots.newest)
    again.replay(body.segments, tuple(body.entries))
    assert again.close(forest.tick) == header
    once_more = body_on(forest, place)
    assert [outcome(once_more, each) for each in operations] == statuses
    assert once_more.close(forest.tick) == header


def test_what_is_undone_is_not_written(forest: Forest) -> None:
    """A settled receipt that was undone leaves no row, and one that was forgotten and undone keeps its own."""
    settle = sent(forest, ANNA, RITA, 1)
    right, store = forest.groups[RIGHT], forest.stores[RIGHT]
    body = body_on(forest, RIGHT)
    assert outcome(body, settle) is Status.OK
    body.undo()
    before = store.content()
    store.write(right.settled.writes())
    right.settled.performed()
    assert store.content() == before
    group = long_settled(forest, list(range(40)))
    body = next_body(group)
    assert len(group.settled.tree) == 0
    body.undo()
    assert len(group.settled.older(10**9, 99)) == len(group.settled.tree) == 40


def test_sent_once_more_in_the_header_that_resolves_it(forest: Forest) -> None:
    """An admission that nobody could take, under the same date: what is pending stays so in the store."""
    body = body_on(forest, LEFT)
    receipt = Receipt(ANNA.account, 0, RUTH.account, 0, ReceiptKind.ADMISSION, bytes(32), body.state.date)
    left, store = forest.groups[LEFT], forest.stores[LEFT]
    left.pending.put(receipt, 1)
    body.traffic.resolve(receipt.id)
    body.traffic.send(receipt)
    store.write(body.traffic.writes())
    assert list(store.scan(b"o", b"p")) == [(b"o" + receipt.id, codec.encode([receipt.value(), body.pulse]))]


def test_another_state_than_was_sealed(forest: Forest) -> None:
    body = body_on(forest, LEFT)
    assert outcome(body, payment(ANNA, RITA, 6, 0)) is Status.OK
    body.close(forest.tick)
    digest, inner, meta = body.entries[0]
    body.undo()
    for entry in ((digest, EMPTY, meta), (digest, inner, bytes(32)), (bytes(32), inner, meta)):
        with pytest.raises(RemoteError, match="body_state"):
            Body(forest.load(LEFT), anchor=forest.roots.newest).replay(body.segments, (entry,))
