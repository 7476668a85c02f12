"""Node groups at up to three levels: nothing is lost, nothing comes twice, and everybody can show what he has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from leither_lite.errors import Halt, RemoteError
from leither_lite.ledger import judge_children, judge_receipts, structure, upper, upper_body
from leither_lite.ledger.children import Child, Place
from leither_lite.ledger.group import Group, Rules
from leither_lite.ledger.judge_children import Parent
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.settling import Reclaim
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import State
from leither_lite.ledger.structure import Part
from leither_lite.ledger.upper import UpperPart
from leither_lite.ledger.upper_operations import ChildSeal
from leither_lite.limits import RECEIPT_TICKS_MAX
from tests.ledger.founding import FOUNDER, NETWORK, SUPPLY
from tests.ledger.town import Town

PEOPLE: Final = 30
NEVER: Final = 10**6


def grown(seed: int, people: int = PEOPLE, steps: int = 160, payments: int = 2) -> Town:
    """A town of small groups."""
    town = Town.settled(seed, people, members_max=8, term_ticks=10)
    town.live(steps, payments=payments)
    return town


def calm(town: Town) -> None:
    """Nothing is under way: everybody has what the dict says, and can show it."""
    town.rest()
    assert town.balances() == town.owed
    assert sum(town.owed.values()) == SUPPLY
    assert town.verify_all() == len(town.owed)


@pytest.mark.parametrize("seed", range(3))
def test_a_town_grows_and_shrinks(seed: int) -> None:
    """Payments across groups, to strangers too, while groups are split, up to three levels, and merged again."""
    town = Town.settled(seed, PEOPLE, members_max=8, term_ticks=10)
    levels = set()
    for _ in range(10):
        town.live(16, payments=2)
        levels.add(town.forest.levels)
        assert town.verify_all() == len(town.balances())
    assert len(town.residents()) == PEOPLE + 1
    assert max(levels) >= 2 + (seed > 0)
    calm(town)
    count = len(town.forest.groups)
    town.forest.rule(Rules(members_max=40, term_ticks=10))
    merged = 0
    for _ in range(8):
        for _ in range(8):
            merged += town.merge()
            town.live(1, splits=False)
        assert town.verify_all() == len(town.owed)
    calm(town)
    assert merged >= 4
    assert len(town.forest.groups) == count - merged // 2
    kinds = {status for name, status in town.refused if name in ("Settle", "Resolve", "Reclaim")}
    assert kinds <= {
        Status.RECEIPTS_SETTLED,
        Status.NOTHING_PENDING,
        Status.TOO_EARLY,
        Status.GROUP_FULL,
        Status.BODY_FULL,
    }


@pytest.mark.parametrize("seed", range(3, 5))
def test_history_does_not_matter_to_a_copy(seed: int) -> None:
    """Whoever starts again from a store has the group as it is."""
    town = grown(seed, 20, 80)
    for place, group in town.forest.groups.items():
        copy = town.forest.load(place)
        assert (copy.entries, copy.pending.items) == (group.entries, group.pending.items)
        assert (copy.digest, copy.term, copy.roster, copy.state) == (
            group.digest,
            group.term,
            group.roster,
            group.state,
        )
        assert list(copy.settled.tree.leaves()) == list(group.settled.tree.leaves())
        assert (copy.bits, copy.prefix, copy.page_bytes) == (group.bits, group.prefix, group.page_bytes)


# -- groups asleep -------------------------------------------------------------------------------------------------


def sleeper(town: Town) -> Place:
    """A group, neither the organization's nor the founder's, in which people live."""
    forest = town.forest
    busy = {forest.place_of(NETWORK), forest.place_of(FOUNDER.account)}
    return next(place for place, group in forest.groups.items() if place not in busy and len(group.entries) > 1)


def pay_into(town: Town, place: Place, *, awake: bool) -> None:
    """Everybody who is awake, or asleep, pays somebody in the group that sleeps, or elsewhere."""
    inside = [key for key in town.residents() if town.forest.place_of(key.account) == place]
    outside = [key for key in town.residents() if key not in inside]
    payers, payees = (outside, inside) if awake else (inside, outside)
    for payer in payers:
        if town.forest.balance(payer.account):
            town.pay(payer, town.rng.choice(payees), 1)


@pytest.mark.parametrize("seed", range(5, 7))
def test_asleep_for_20_pulses(seed: int) -> None:
    """What was sent to it meanwhile is settled when it wakes."""
    town = grown(seed, 20, 100)
    town.rest()
    place = sleeper(town)
    town.forest.asleep.add(place)
    for _ in range(20):
        pay_into(town, place, awake=True)
        town.live(1, splits=False, admit_every=NEVER)
    assert any(town.forest.groups[place].holds(receipt.payee) for receipt in town.forest.open())
    town.forest.asleep.clear()
    calm(town)


@pytest.mark.parametrize("seed", range(7, 9))
def test_asleep_for_more_than_an_hour(seed: int) -> None:
    """What was sent to it comes back by a reclaim; what it has sent, and a refund for it, arrive all the same."""
    town = grown(seed, 20, 100)
    town.rest()
    forest, place = town.forest, sleeper(town)
    inside = [key for key in town.residents() if forest.place_of(key.account) == place]
    town.pay_stranger_of(max(inside, key=lambda key: forest.balance(key.account)))
    town.pulse()
    pay_into(town, place, awake=False)
    town.pulse()
    forest.asleep.add(place)
    for ticks in (1, 1, RECEIPT_TICKS_MAX + 9, 1, 1):
        pay_into(town, place, awake=True)
        town.distribute(FOUNDER.account, 1)
        town.pulse(ticks)
    late = [each for each in forest.open() if each.kind != ReceiptKind.REFUND and each.date < forest.tick - 3_605]
    assert late
    assert any(each.kind == ReceiptKind.REFUND for each in forest.open())
    forest.asleep.clear()
    for _ in range(4):
        town.wake()
    assert sorted(each.id for each in forest.open()) == sorted(each.id for each in late)
    asked = town.reclaim()
    assert sorted(each.id for each in asked) == sorted(each.id for each in late)
    town.reclaim()
    town.pulse()
    assert town.refused[-1][1] in (Status.NOTHING_PENDING, Status.RECEIPTS_SETTLED)
    town.undo(asked)
    calm(town)


# -- planted bugs --------------------------------------------------------------------------------------------------

_is_open = judge_receipts._is_open


def test_found_a_receipt_settled_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    town = grown(1, 14, 60)

    def forgetful(group: Group, state: State, receipt: Receipt) -> bool:
        return _is_open(group, state, receipt) or (receipt.id in group.settled and group.holds(receipt.payee))

    monkeypatch.setattr(judge_receipts, "_is_open", forgetful)
    with pytest.raises((ValueError, RemoteError), match=r"^not conserved|^child_sums"):
        town.live(20)


def test_found_a_refund_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    town = grown(1, 14, 60)

    def forgetful(group: Group, state: State, receipt: Receipt) -> bool:
        again = receipt.kind == ReceiptKind.REFUND and receipt.id in group.settled
        return _is_open(group, state, receipt) or (again and group.holds(receipt.payee))

    monkeypatch.setattr(judge_receipts, "_is_open", forgetful)
    with pytest.raises((ValueError, RemoteError), match=r"^not conserved|^child_sums"):
        town.live(20)


def test_found_what_was_sent_back_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The payee's group makes two refunds of one receipt."""
    town = grown(1, 14, 60)

    def forgetful(group: Group, state: State, receipt: Receipt) -> bool:
        again = receipt.id in group.settled and receipt.payee not in group.entries
        return _is_open(group, state, receipt) or (again and group.holds(receipt.payee))

    monkeypatch.setattr(judge_receipts, "_is_open", forgetful)
    with pytest.raises((ValueError, RemoteError), match=r"^not conserved|^child_sums|^child_outbox"):
        town.live(20)


def test_found_a_reclaim_of_a_settled_receipt(monkeypatch: pytest.MonkeyPatch) -> None:
    town = grown(1, 14, 60)
    town.rest()
    forest = town.forest
    forest.resolves = False
    pay_into(town, sleeper(town), awake=True)
    town.pulse()
    town.pulse()
    receipt = next(sent for group in forest.groups.values() for sent, _ in group.pending.items.values() if sent.amount)
    place = forest.place_of(receipt.payee)
    assert receipt.id in forest.groups[place].settled
    for ticks in (RECEIPT_TICKS_MAX + 9, 1, 1):
        forest.tick += ticks
        town.wake()
    wrong = Reclaim(forest.shown(place), forest.groups[place].sealed.state, ((receipt.id, None, ()),))
    forest.submit(receipt.payer, wrong)
    town.pulse()
    assert town.refused[-1] == ("Reclaim", Status.NOT_SHOWN)
    monkeypatch.setattr("leither_lite.ledger.settling._is_absent", lambda *claim: True)
    forest.submit(receipt.payer, wrong)
    with pytest.raises((ValueError, RemoteError), match=r"^not conserved|^child_sums"):
        town.pulse()


Split = Callable[[Group, State, int, int, bytes], list[Part]]


def test_found_counters_lost_in_a_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent sees that the parts are not the whole."""
    town = grown(1, 14, 60)
    right: Split = structure.split

    def lossy(group: Group, state: State, sent_out: int, settled_in: int, seed: bytes) -> list[Part]:
        return right(group, state, 0, 0, seed)

    for module in ("draft", "succession"):
        monkeypatch.setattr(f"leither_lite.ledger.{module}.split", lossy)
    town.outside = Town.settled(9, 20).outside
    known = {key.public: key for key in town.outside}
    before = town.forest.key_of
    town.forest.key_of = lambda public: known[public] if public in known else before(public)
    with pytest.raises(RemoteError, match=r"^child_offer"):
        town.live(80)


def test_found_counters_lost_in_a_split_of_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is above it to see that: the sums of the whole are others."""
    right = upper._part

    def lossy(*given: Any) -> UpperPart:
        part = right(*given)
        return part._replace(successor=part.successor._replace(sent_out=0, settled_in=0))

    monkeypatch.setattr(upper, "_part", lossy)
    with pytest.raises(ValueError, match=r"^a group is not what its parent takes it for|^not conserved"):
        grown(1)


def test_found_a_seal_that_was_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    town = grown(1, 14, 60)
    right = judge_children.take_child

    def lazy(parent: Parent, seal: ChildSeal, network: bytes) -> Child:
        child = right(parent, seal, network)
        return parent.children[child.place] if parent.group.header.pulse % 4 == 0 else child

    monkeypatch.setattr(upper_body, "take_child", lazy)
    with pytest.raises(ValueError, match=r"^not conserved|^a group is not what its parent takes it for"):
        town.live(8)


def test_found_a_settle_that_credits_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that says so of itself is not sealed."""
    town = grown(1, 14, 60)
    monkeypatch.setattr("leither_lite.ledger.draft.Draft._credit", lambda self, account, amount: None)
    with pytest.raises(Halt, match=r"not_conserved"):
        town.live(8)
