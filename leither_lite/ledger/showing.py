"""Operations on receipts, as a group that can show them makes them for another (docs/protocol.md, section 5.6).

Never decides whether the other group may take them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leither_lite.errors import Halt
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.sets import SettledSet
from leither_lite.ledger.settling import OtherReceipt, Reclaim, Resolve, Settle, Steps
from leither_lite.tree.shown import Shown
from leither_lite.tree.tree import SumTree


def outbox_of(receipts: Iterable[Receipt], pulse: int) -> SumTree:
    """The outbox of the header of `pulse` that has sent these receipts."""
    tree = SumTree()
    tree.put_many([(receipt.id, receipt.leaf(pulse)) for receipt in receipts])
    return tree


def settle_of(shown: Shown, outbox: SumTree, receipts: Sequence[Receipt]) -> Settle:
    """That `shown` has sent these receipts, at most 5. Raises Halt("not_here") for one that is not in its outbox."""
    return Settle(shown, tuple((receipt, _steps(outbox, receipt.id)) for receipt in receipts))


def resolve_of(shown: Shown, state: bytes, settled: SettledSet, items: Sequence[bytes]) -> Resolve:
    """That receipts with these ids, at most 16, are settled in the group `shown`, whose S is `state`.

    Raises Halt("not_here") for one that is not.
    """
    found = []
    for item in items:
        leaf = settled.tree.get(item)
        if leaf is None:
            raise Halt("not_here", "a receipt that is not settled here cannot be shown so")
        found.append((item, leaf, _steps(settled.tree, item)))
    return Resolve(shown, state, tuple(found))


def reclaim_of(shown: Shown, state: bytes, settled: SettledSet, items: Sequence[bytes]) -> Reclaim:
    """That no receipt with these ids, at most 16, is settled in the group `shown`, whose S is `state`.

    Raises Halt("not_here") for one that is.
    """
    found: list[tuple[bytes, OtherReceipt | None, Steps]] = []
    for item in items:
        path = settled.tree.path(item)
        if path is None:
            found.append((item, None, ()))
            continue
        other = settled.get(path.account)
        if other is None or path.account == item:
            raise Halt("not_here", "a receipt that is settled here cannot be shown absent")
        found.append((item, OtherReceipt(*other), path.steps))
    return Reclaim(shown, state, tuple(found))


def _steps(tree: SumTree, item: bytes) -> Steps:
    path = tree.path(item)
    if path is None or path.account != item:
        raise Halt("not_here", "a receipt is not in the set it should be in")
    return path.steps
