"""Two buddies that their parent has merged: one group, which owes and remembers what both did."""

from __future__ import annotations

from typing import Final

import pytest

from leither_lite.errors import Halt
from leither_lite.header import state_digest
from leither_lite.identity import h32
from leither_lite.ledger.children import Child, Place
from leither_lite.ledger.group import Group, Rules
from leither_lite.ledger.settling import Settle
from leither_lite.ledger.showing import reclaim_of, resolve_of
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import MERGE, NOTHING, SPLIT, willing_digest
from leither_lite.ledger.structure import TermEnd, draw, willing_of_both
from leither_lite.ledger.succession import merged_tip, merged_writes
from leither_lite.limits import RECEIPT_TICKS_MAX
from leither_lite.store.reader import MemoryStore
from leither_lite.tree.node import EMPTY, branch, is_prefix
from leither_lite.tree.proof import verify
from tests.ledger.forest import Forest, drawn_of_both
from tests.ledger.founding import FOUNDER, NETWORK, invited, payment, willingness
from tests.ledger.pair import (
    ANNA,
    HAVE,
    LARS,
    LEFT,
    LENA,
    RIGHT,
    RITA,
    ROLF,
    STRANGERS,
    body_on,
    outcome,
    run,
    sent,
    shown_to,
    two_groups,
    wake,
)
from tests.ledger.town import TRUST

LOW: Final[Place] = (bytes(20), 2)
HIGH: Final[Place] = (b"\x40" + bytes(19), 2)
SPLITS: Final = Rules(members_max=4, term_ticks=3)
MERGES: Final = Rules(members_max=40, term_ticks=3)
IN_HIGH: Final = next(key for key in (LARS, LENA) if is_prefix(key.account, *HIGH))
"""Somebody with money in the high part; Anna is in the low one, the founder in the high one."""


def say(forest: Forest, ticks: int = 1) -> None:
    """Every group seals something."""
    for later in (ticks, 1):
        for key in (ANNA, FOUNDER, ROLF):
            forest.submit(key.account, willingness(key, forest.tick + later, address="d:4"))
        forest.pulse(later)
    forest.statuses.clear()


@pytest.fixture(name="forest")
def _forest() -> Forest:
    """Three groups: the left one was split."""
    forest = two_groups(SPLITS)
    for _ in range(2):
        wake(forest)
    forest.submit(LEFT[0], TermEnd(SPLIT))
    forest.pulse()
    forest.pulse()
    forest.rule(MERGES)
    say(forest)
    assert sorted(forest.groups) == [LOW, HIGH, RIGHT]
    return forest


def end(forest: Forest) -> tuple[Group, Group, Child, Child]:
    """Both offer to be merged; the groups, and what their parent has of them."""
    say(forest)
    say(forest)
    forest.submit(LOW[0], TermEnd(MERGE))
    forest.submit(HIGH[0], TermEnd(MERGE))
    forest.pulse()
    assert [status for _, status in forest.statuses] == [Status.OK] * len(forest.statuses)
    forest.statuses.clear()
    children = forest.uppers[2][bytes(20), 0].children
    return forest.groups[LOW], forest.groups[HIGH], children[LOW], children[HIGH]


def test_one_offer_is_not_enough(forest: Forest) -> None:
    say(forest)
    say(forest)
    forest.submit(HIGH[0], TermEnd(MERGE))
    forest.pulse()
    say(forest)
    assert sorted(forest.groups) == [LOW, HIGH, RIGHT]
    assert forest.groups[HIGH].state.offer.kind == MERGE


def test_the_merged_group_is_what_the_parent_says(forest: Forest) -> None:
    run(forest, ANNA.account, payment(ANNA, RITA, 3, 0))
    run(forest, IN_HIGH.account, payment(IN_HIGH, RITA, 4, 0))
    low, high, lower, upper = end(forest)
    kept = low.inner, high.inner, low.digest, high.digest
    counters = low.sent_out + high.sent_out, low.settled_in + high.settled_in
    states = low.state, high.state
    seed = forest.root.header.previous
    forest.submit(ROLF.account, willingness(ROLF, forest.tick, address="e:5"))
    root = forest.root.digest
    forest.pulse()
    merged, child = forest.groups[LEFT], forest.child_of(LEFT)
    assert child is not None
    assert sorted(forest.groups) == [LEFT, RIGHT]
    assert merged.digest == child.head == h32("merge", kept[2] + kept[3])
    assert merged.inner == child.inner == branch(1, kept[0], kept[1]) == merged.tree.root()
    assert (merged.sent_out, merged.settled_in) == (child.sent_out, child.settled_in) == counters
    assert child.state == h32("merge", kept[2] + kept[3] + child.willing)
    assert (lower.state, upper.state) == tuple(state_digest(state.encode()) for state in states)
    assert (child.outbox, child.offer, child.term, child.pulse) == (EMPTY, NOTHING, 0, max(lower.pulse, upper.pulse))
    willing = willing_of_both(states[0].willing, states[1].willing, root)
    assert merged.state.willing == willing
    assert child.willing == willing_digest(merged.state.encode_willing())
    assert merged.roster_keys == child.sealers == draw(willing, root, 7)
    assert root != seed
    assert (merged.term, merged.bits, merged.prefix) == (0, *LEFT[::-1])
    assert merged.state.date == max(state.date for state in states)
    assert len(merged.pending.items) == 2
    assert verify(forest.proof(ANNA.account), TRUST).record is not None
    forest.check()
    forest.submit(ANNA.account, willingness(ANNA, forest.tick, address="f:6"))
    forest.pulse()
    assert (merged.header.term, merged.header.previous) == (0, h32("merge", kept[2] + kept[3]))
    assert state_digest(merged.state.encode()) == forest.uppers[2][bytes(20), 0].children[LEFT].state
    forest.check()


def test_either_buddy_comes_to_the_same(forest: Forest) -> None:
    """A member of the higher one takes over what the lower one has, and the other way."""
    run(forest, ANNA.account, payment(ANNA, RITA, 3, 0))
    settle = sent(forest, RITA, IN_HIGH, 2)
    assert run(forest, IN_HIGH.account, settle, payment(IN_HIGH, RITA, 4, 0)) == [Status.OK] * 2
    low, high, _, _ = end(forest)
    tip, pending = merged_tip(low, high, *drawn_of_both(low, high, b"\1" * 32, 7))
    tables = []
    for place, other in ((LOW, high), (HIGH, low)):
        store = MemoryStore()
        store.write(list(forest.stores[place].content().items()))
        group = forest.load(place)
        store.write(merged_writes(group, other, tip, pending))
        forest.stores[place] = store
        copy = forest.load(place)
        tables.append((copy.entries, copy.pending.items, list(copy.settled.tree.leaves()), list(copy.invites.leaves())))
        assert (copy.digest, copy.inner, copy.state, copy.roster) == (tip.digest, tip.inner, tip.state, tip.roster)
    assert tables[0] == tables[1]


@pytest.mark.parametrize("ahead", [LOW, HIGH], ids=["low", "high"])
def test_the_later_date_and_the_higher_floor(forest: Forest, ahead: Place) -> None:
    """What either has forgotten stays so: else it could be settled once more."""
    later = forest.groups[ahead]
    later.state = later.state._replace(date=5_000, floor=400, role_changes=3)
    groups = forest.groups[LOW], forest.groups[HIGH]
    state = merged_tip(*groups, *drawn_of_both(*groups, bytes(32), 7))[0].state
    assert (state.date, state.floor, state.role_changes) == (5_000, 400, 3)


def test_invites_used_on_both_sides(forest: Forest) -> None:
    """In the last header of the one that was sealed later, too."""
    mine = [key for key in STRANGERS[0] if is_prefix(key.account, *LOW)], STRANGERS[1]
    joins = [invited(mine[0][0], 1, supervisor=ANNA), invited(mine[1][0], 2, supervisor=FOUNDER)]
    assert run(forest, ANNA.account, joins[0]) == [Status.OK]
    say(forest)
    say(forest)
    forest.submit(LOW[0], TermEnd(MERGE))
    forest.pulse()
    forest.submit(HIGH[0], joins[1], TermEnd(MERGE))
    forest.pulse()
    forest.pulse()
    merged = forest.groups[LEFT]
    assert len(merged.invites) == 2
    forest.check()
    forest.statuses.clear()
    forest.queues.clear()
    assert [outcome(body_on(forest, LEFT), each) for each in joins] == [Status.INVITE_USED] * 2


def merge(forest: Forest) -> Group:
    """The merged group."""
    end(forest)
    forest.pulse()
    forest.statuses.clear()
    return forest.groups[LEFT]


def test_settled_before_and_not_again(forest: Forest) -> None:
    settles = [sent(forest, RITA, ANNA, 2), sent(forest, ROLF, IN_HIGH, 3), sent(forest, RITA, ANNA, 4)]
    for key, settle in ((ANNA, settles[0]), (IN_HIGH, settles[1])):
        assert run(forest, key.account, settle) == [Status.OK]
    merge(forest)
    found = run(forest, ANNA.account, *settles, *settles)
    again = Status.RECEIPTS_SETTLED
    assert found == [again, again, Status.OK, again, again, again]
    assert (forest.balance(ANNA.account), forest.balance(IN_HIGH.account)) == (HAVE + 6, HAVE + 3)
    forest.check()
    right = forest.groups[RIGHT]
    forest.resolves = False
    say(forest)
    ids = list(right.pending.items.values())
    done = [run(forest, NETWORK, forest.resolve(receipt)) for receipt, _ in ids]
    assert done == [[Status.OK]] * len(ids)
    assert right.pending.items == {}


def test_sent_before_and_resolved_or_reclaimed_after(forest: Forest) -> None:
    forest.resolves = False
    settle, lost = sent(forest, ANNA, RITA, 2), sent(forest, IN_HIGH, ROLF, 3)
    assert run(forest, RITA.account, settle) == [Status.OK]
    merged = merge(forest)
    assert len(merged.pending.items) == 2
    say(forest)
    resolve = forest.resolve(settle.receipts[0][0])
    assert run(forest, ANNA.account, resolve, resolve) == [Status.OK, Status.NOTHING_PENDING]
    say(forest, RECEIPT_TICKS_MAX + 9)
    say(forest)
    reclaim = forest.reclaim(lost.receipts[0][0])
    assert run(forest, ANNA.account, reclaim, reclaim) == [Status.OK, Status.NOTHING_PENDING]
    assert run(forest, ROLF.account, lost) == [Status.RECEIPTS_SETTLED]
    assert (forest.balance(ANNA.account), forest.balance(IN_HIGH.account)) == (HAVE - 2, HAVE)
    assert merged.pending.items == {}
    forest.check()


def test_a_refund_from_before(forest: Forest) -> None:
    nobody = next(key for key in STRANGERS[0] if is_prefix(key.account, *HIGH))
    back = shown_to(forest, HIGH[0], RITA.account, sent(forest, RITA, nobody, 5))
    merge(forest)
    found: list[Status] = run(forest, RITA.account, back, back)
    assert found == [Status.OK, Status.RECEIPTS_SETTLED]
    assert isinstance(back, Settle)
    assert forest.balance(RITA.account) == HAVE
    forest.check()


def test_sent_before_its_payees_group_was_split() -> None:
    """Whoever holds the id then settles it, and nobody else; or shows that it has not."""
    forest = two_groups(SPLITS)
    for _ in range(2):
        wake(forest)
    forest.resolves = False
    settle, lost = sent(forest, RITA, ANNA, 2), sent(forest, RITA, IN_HIGH, 3)
    early = sent(forest, RITA, ANNA, 4)
    assert run(forest, ANNA.account, early) == [Status.OK]
    forest.submit(LEFT[0], TermEnd(SPLIT))
    forest.pulse()
    forest.pulse()
    forest.statuses.clear()
    assert outcome(body_on(forest, HIGH), settle) is Status.RECEIPTS_SETTLED, "it is not for this part"
    forest.rule(MERGES)
    found = run(forest, ANNA.account, early, settle)
    assert found == [Status.RECEIPTS_SETTLED, Status.OK]
    say(forest)
    resolve = [forest.resolve(each.receipts[0][0]) for each in (early, settle)]
    high = forest.groups[HIGH]
    copied = resolve_of(forest.shown(HIGH), high.sealed.state, high.settled, [early.receipts[0][0].id])
    assert run(forest, RITA.account, copied, *resolve) == [Status.NOTHING_PENDING, Status.OK, Status.OK]
    say(forest, RECEIPT_TICKS_MAX + 9)
    say(forest)
    receipt, low = lost.receipts[0][0], forest.groups[LOW]
    wrong = reclaim_of(forest.shown(LOW), low.sealed.state, low.settled, [receipt.id])
    assert run(forest, RITA.account, wrong) == [Status.NOTHING_PENDING]
    assert run(forest, RITA.account, forest.reclaim(receipt)) == [Status.OK]
    assert run(forest, IN_HIGH.account, lost) == [Status.RECEIPTS_SETTLED]
    assert (forest.balance(RITA.account), forest.balance(ANNA.account)) == (HAVE - 6, HAVE + 6)
    forest.check()


def test_a_receipt_that_the_buddy_lacks(forest: Forest) -> None:
    assert run(forest, IN_HIGH.account, sent(forest, RITA, IN_HIGH, 2)) == [Status.OK]
    low, high, _, _ = end(forest)
    store = forest.stores[HIGH]
    store.write([(key, None) for key in store.content() if key[:1] == b"s"])
    with pytest.raises(Halt, match="store_corrupt"):
        merged_writes(low, high, *merged_tip(low, high, *drawn_of_both(low, high, bytes(32), 7)))
