"""Bugs to be planted one at a time in a network of several groups, each against one of its promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final
from unittest.mock import patch

from leither_lite.header import Header
from leither_lite.ledger import judge_children, judge_receipts
from leither_lite.ledger.draft import Draft
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.traffic import Traffic


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


PLANTS: Final[dict[str, tuple[Callable[[], AbstractContextManager[None]], frozenset[str]]]] = {
    "a receipt credited twice": (credited_twice, frozenset({"failed", "conservation", "balance"})),
    "a receipt settled twice": (settled_again, frozenset({"failed", "conservation", "balance", "no_progress"})),
    "a refund of what was credited": (refused_and_kept, frozenset({"failed", "conservation", "balance"})),
    "a child's skipped seal": (
        seal_skipped,
        frozenset({"failed", "two_seals", "conservation", "no_progress", "balance"}),
    ),
}
"""By name: the bug, and by which violations it must be found."""
