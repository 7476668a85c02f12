"""Bugs to be planted one at a time in a network of several groups, each against one of its promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from leither_lite.header import Header
from leither_lite.ledger import draft, judge_children, judge_receipts, settling, structure, succession
from leither_lite.ledger.draft import Draft
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.sets import SettledSet
from leither_lite.ledger.settling import Reclaim
from leither_lite.ledger.traffic import Traffic
from leither_lite.node import answers, courier
from leither_lite.sim import forest
from leither_lite.sim.forest import ForestPlan

LATE_TICKS: Final = 8


@contextmanager
def credited_twice() -> Iterator[None]:
    """What a receipt brings is credited twice, and counted once."""
    credit = Draft._credit

    def twice(self: Draft, account: bytes, amount: int) -> None:
        credit(self, account, amount)
        if self.traffic.came:
            credit(self, account, amount)

    with patch.object(Draft, "_credit", twice):
        yield


@contextmanager
def settled_again() -> Iterator[None]:
    """A receipt that is settled may be settled again."""
    is_open = judge_receipts._is_open

    def always(group: Any, state: Any, receipt: Receipt) -> bool:
        return is_open(group, state, receipt) or receipt.id in group.settled

    with patch.object(judge_receipts, "_is_open", always):
        yield


@contextmanager
def seal_skipped() -> Iterator[None]:
    """A parent takes a child's seal whatever it follows, and a group goes on before its last is under the root."""
    take_child = judge_children.take_child

    def careless(parent: Any, seal: Any, network: bytes) -> Any:
        header = Header.decode(seal.header_bytes)
        child = parent.children.get((header.prefix, header.bits))
        if child is not None and header.pulse > child.pulse:
            children = {**parent.children, child.place: child._replace(head=header.previous)}
            parent = parent._replace(children=children)
        return take_child(parent, seal, network)

    from leither_lite.ledger import upper_body
    from leither_lite.node import upper_books
    from leither_lite.node.books import Books

    always = property(lambda self: True, lambda self, value: None)
    with (
        patch.object(upper_body, "take_child", careless),
        patch.object(upper_books, "take_child", careless),
        patch.object(Books, "is_under_root", always, create=True),
    ):
        yield


@contextmanager
def refused_and_kept() -> Iterator[None]:
    """What comes for somebody is sent back, and credited all the same."""
    settle = Traffic.settle

    def settle_and_refund(self: Traffic, receipt: Receipt, pulse: int) -> None:
        settle(self, receipt, pulse)
        if receipt.kind == 0 and receipt.amount % 7 == 0:
            self.send(receipt.refund(receipt.date))

    with patch.object(Traffic, "settle", settle_and_refund):
        yield


@contextmanager
def refund_settled_again() -> Iterator[None]:
    """A refund that is settled may be settled again."""
    is_open = judge_receipts._is_open

    def always(group: Any, state: Any, receipt: Receipt) -> bool:
        return is_open(group, state, receipt) or (receipt.kind == ReceiptKind.REFUND and group.holds(receipt.payee))

    with patch.object(judge_receipts, "_is_open", always):
        yield


@contextmanager
def soon_too_late() -> Iterator[None]:
    """No bug: what is not settled after some ticks is too late, and who has settled it only answers."""
    with (
        patch.object(judge_receipts, "RECEIPT_TICKS_MAX", LATE_TICKS),
        patch.object(answers, "RECEIPT_TICKS_MAX", LATE_TICKS),
        patch.object(courier.Courier, "_show_settled", lambda *_: None),
    ):
        yield


@contextmanager
def settled_reclaimed() -> Iterator[None]:
    """Soon it is too late; and what was settled is said to be absent, and believed."""

    def nothing_settled(self: Any, item: bytes) -> bool:
        return False

    def absent(shown: Any, state: bytes, settled: Any, items: Any) -> Reclaim:
        return Reclaim(shown, state, tuple((item, None, ()) for item in items))

    answer = answers.Answers.answer

    def denying(self: Any, *args: Any) -> None:
        with patch.object(SettledSet, "__contains__", nothing_settled):
            answer(self, *args)

    with (
        soon_too_late(),
        patch.object(answers, "reclaim_of", absent),
        patch.object(answers.Answers, "_was_credited", lambda self, item: False),
        patch.object(answers.Answers, "answer", denying),
        patch.object(settling, "_is_absent", lambda *_: True),
    ):
        yield


@contextmanager
def paid_early() -> Iterator[None]:
    """No bug: payments begin before the first split, so that later ones find counters."""
    with patch.object(forest, "SETTLED_MS", 3_000):
        yield


@contextmanager
def counters_lost() -> Iterator[None]:
    """A group that is split forgets what it has sent and settled, and its parent does not look."""
    split = structure.split

    def forgetful(*args: Any) -> list[structure.Part]:
        parts = split(*args)
        return [part._replace(successor=part.successor._replace(sent_out=0, settled_in=0)) for part in parts]

    with (
        paid_early(),
        patch.object(draft, "split", forgetful),
        patch.object(succession, "split", forgetful),
        patch.object(judge_children, "_check_offer", lambda *_: None),
    ):
        yield


class Plant(NamedTuple):
    """A bug, by which violations it must be found, in which world; `without`: what that world has besides the bug."""

    bug: Callable[[], AbstractContextManager[None]]
    found_by: frozenset[str]
    plan: ForestPlan = ForestPlan(0)
    without: Callable[[], AbstractContextManager[None]] = nullcontext


MONEY: Final = frozenset({"failed", "conservation", "balance"})
PLANTS: Final = {
    "a receipt credited twice": Plant(credited_twice, MONEY),
    "a receipt settled twice": Plant(settled_again, MONEY | {"no_progress"}),
    "a refund of what was credited": Plant(refused_and_kept, MONEY),
    "a refund twice": Plant(refund_settled_again, MONEY | {"no_progress"}),
    "a reclaim of a settled receipt": Plant(settled_reclaimed, MONEY | {"no_progress"}, without=soon_too_late),
    "counters lost in a split": Plant(
        counters_lost, MONEY | {"no_progress"}, ForestPlan(0, nodes=40, pulses=50), paid_early
    ),
    "a child's skipped seal": Plant(seal_skipped, MONEY | {"two_seals", "no_progress"}),
}
