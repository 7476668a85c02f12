"""What became of receipts that other groups have sent here, for those who ask (docs/protocol.md, sections 5.6 and 9.3).

Decides who is answered: a group in which they wait, which it shows. Shows the own group as the root has it.
"""

from __future__ import annotations

from typing import Final

from leither_lite.codec import Value
from leither_lite.effects import Effects
from leither_lite.header import roster_digest, state_digest
from leither_lite.ledger.asked import Ask
from leither_lite.ledger.receipts import ReceiptKind
from leither_lite.ledger.showing import reclaim_of, resolve_of
from leither_lite.limits import RECEIPT_TICKS_MAX
from leither_lite.node import frames
from leither_lite.node.books import Books
from leither_lite.node.trunk import Trunk
from leither_lite.tree.node import EMPTY, meta
from leither_lite.tree.shown import Shown

EXECUTED_A_CHECK: Final = 4
"""Who asks has what waits here executed again: so many operations take as long as one signature check."""


class Answers:
    """What this node's group shows of itself to others."""

    def __init__(self, books: Books, trunk: Trunk) -> None:
        self._books = books
        self._trunk = trunk

    def shown(self) -> tuple[Shown, bytes] | None:
        """The own group as the branch shows it, and its S; None where that is not what is here."""
        branch, group = self._trunk.branch, self._books.group
        if branch is None or not branch.floors:
            return None
        node = branch.floors[-1].nodes.get((group.prefix, group.bits))
        header = group.header
        if (header.bits, header.prefix) == (group.bits, group.prefix):
            shown, state = branch.shown(group.sealed), group.sealed.state
        else:  # a part that has sealed nothing of its own yet
            state = group.state.encode()
            shown = Shown(
                branch.seal.header,
                branch.seal.signatures,
                group.bits,
                group.prefix,
                header.pulse,
                group.inner,
                roster_digest(group.roster),
                EMPTY,
                group.sent_out,
                group.settled_in,
                state_digest(state),
                branch.above(group.prefix),
            )
        opened = meta(shown.roster, shown.outbox, shown.sent_out, shown.settled_in, shown.state)
        is_here = group.node_of(shown.pulse, shown.inner, opened) == node
        return (shown, state) if is_here else None

    def answer(self, effects: Effects, values: list[Value], source: bytes) -> None:
        """[31, shown, S, [[receipt, pulse, steps], …]]: whether these receipts were settled here, to a group in which
        they wait; or, once it is too late for it, that they were not. Raises RemoteError as `Ask.take` and `Ask.check`.
        """
        ask = Ask.take(values[1:])
        ask.check(self._books.group.network)
        group, opened = self._books.group, self.shown()
        if opened is None or not self._books.is_member or self._books.proposed is not None:
            return  # asked again, it can be answered
        effects.work.append((source, len(ask.shown.signatures) + len(self._books.pool) // EXECUTED_A_CHECK))
        if not self._books.roots.vouch(ask.shown):
            return
        asked = dict.fromkeys(receipt.id for receipt, _, _ in ask.receipts if group.holds(receipt.payee))
        self._books.rewind()  # what is shown is what was sealed
        shown, state = opened
        settled = [item for item in asked if self._was_credited(item)]
        absent = [item for item in asked if item not in group.settled]
        if settled:
            operation = resolve_of(shown, state, group.settled, settled)
            effects.sends.append((source, frames.operation_frame(operation.encode())))
        if absent and group.state.date > RECEIPT_TICKS_MAX:
            reclaim = reclaim_of(shown, state, group.settled, absent)
            effects.sends.append((source, frames.operation_frame(reclaim.encode())))
        self._books.refresh()

    def _was_credited(self, item: bytes) -> bool:
        """True for a receipt that was settled here, and not sent back."""
        sent = self._books.group.settled.get(item)
        if sent is None:
            return False
        receipt = sent[0]
        return receipt.kind in (ReceiptKind.ADMISSION, ReceiptKind.REFUND) or receipt.payee in self._books.group.entries
