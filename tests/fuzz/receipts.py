"""Operations on receipts and ends of terms that hold, as seeds of the fuzzer: a root group at level 1 shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from leither_lite.header import roster_digest, sign_seal, state_digest
from leither_lite.ledger.asked import Ask, LateSettle
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.records import Role
from leither_lite.ledger.settling import OtherReceipt, Reclaim, Resolve, Settle, Steps
from leither_lite.ledger.state import MERGE, SPLIT, State
from leither_lite.ledger.structure import END, TermEnd
from leither_lite.tree import node
from leither_lite.tree.proof import GroupStep, Path
from leither_lite.tree.shown import Shown
from leither_lite.tree.tree import SumTree
from tests.ledger.founding import FOUNDER, founded_group

PULSE: Final = 5
DATE: Final = 4_000
RECEIPTS: Final = tuple(
    Receipt(FOUNDER.account, sent, bytes([sent]) * 20, amount, kind, bytes([kind]) * 32, 7)
    for sent, amount, kind in (
        (5, 9, ReceiptKind.PAYMENT),
        (6, 8, ReceiptKind.DISTRIBUTION),
        (7, 7, ReceiptKind.REFUND),
        (int(Role.MEMBER), 0, ReceiptKind.ADMISSION),
        (8, 2**53 - 1, ReceiptKind.PAYMENT),
    )
)
"""One of each kind, and another payment."""
LAST: Final = RECEIPTS[-1]


def tree_of(receipts: Sequence[Receipt]) -> SumTree:
    """The set of receipts that one header has sent."""
    tree = SumTree(modular=True)
    tree.put_many([(receipt.id, receipt.leaf(PULSE)) for receipt in receipts])
    return tree


def steps_of(tree: SumTree, item: bytes) -> Steps:
    """The way up from the leaf of an item, or from the one in whose place it would be."""
    path = tree.path(item)
    return () if path is None else path.steps


def shown(outbox: SumTree, state: State, *, upper: bool = False) -> Shown:
    """A group with that outbox and that state under a root header: its own, or one of level 2 with another child."""
    group = founded_group()
    bits = 1 if upper else 0
    opened = node.meta(roster_digest(group.roster), outbox.root(), 9, 8, state_digest(state.encode()))
    top = node.group(1, bits, bytes(20), PULSE, group.inner, opened)
    above: Path = ()
    if upper:
        above = (GroupStep(2, 0, bytes(20), PULSE, bytes(32)),)
        top = node.group(2, 0, bytes(20), PULSE, top, bytes(32))
    header = replace(group.header, level=2 if upper else 1, pulse=PULSE, tick=DATE, node=top).encode()
    signatures = ((FOUNDER.public, sign_seal(FOUNDER, header)),)
    parts = (group.inner, roster_digest(group.roster), outbox.root(), 9, 8, state_digest(state.encode()))
    return Shown(header, signatures, bits, bytes(20), PULSE, *parts, above)


def settles() -> list[Settle]:
    """All of them at once, and one in a group of its own."""
    outbox, state = tree_of(RECEIPTS), founded_group().state
    receipts = tuple((receipt, steps_of(outbox, receipt.id)) for receipt in RECEIPTS)
    alone = tree_of([LAST])
    return [Settle(shown(outbox, state), receipts), Settle(shown(alone, state, upper=True), ((LAST, ()),))]


def late() -> list[LateSettle]:
    """What still waits."""
    waiting = tree_of(RECEIPTS)
    state = founded_group().state._replace(date=DATE, pending=waiting.root())
    receipts = tuple((receipt, PULSE, steps_of(waiting, receipt.id)) for receipt in RECEIPTS)
    found = [shown(SumTree(), state, upper=upper) for upper in (False, True)]
    return [LateSettle.of(Ask(each, state.encode(), receipts)) for each in found]


def resolves() -> list[Resolve]:
    """What is settled."""
    settled = tree_of(RECEIPTS)
    state = founded_group().state._replace(date=DATE, settled=settled.root())
    found = tuple((each.id, each.leaf(PULSE), steps_of(settled, each.id)) for each in RECEIPTS)
    return [Resolve(shown(SumTree(), state, upper=upper), state.encode(), found) for upper in (False, True)]


def reclaims() -> list[Reclaim]:
    """What is not settled, where nothing is and where something else is."""
    nothing = founded_group().state._replace(date=DATE)
    settled = tree_of(RECEIPTS[:-1])
    other = next(each for each in RECEIPTS if (path := settled.path(LAST.id)) and path.account == each.id)
    some = nothing._replace(settled=settled.root())
    absent = ((LAST.id, OtherReceipt(other, PULSE), steps_of(settled, LAST.id)),)
    return [
        Reclaim(shown(SumTree(), nothing), nothing.encode(), tuple((each.id, None, ()) for each in RECEIPTS)),
        Reclaim(shown(SumTree(), some, upper=True), some.encode(), absent),
    ]


def examples() -> list[Operation]:
    """Some of each."""
    return [*settles(), *late(), *resolves(), *reclaims(), *(TermEnd(kind) for kind in (END, SPLIT, MERGE))]
