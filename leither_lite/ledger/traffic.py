"""What a body does with receipts: sends, settles, resolves, takes back, forgets; and how all of it is undone.

Carries out docs/protocol.md, section 5.6, on the sets of a group. Decides nothing: `ledger.judge` has said what the
state allows.
"""

from __future__ import annotations

from leither_lite.effects import Write
from leither_lite.ledger.group import Group
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.sets import EXPIRED_MAX, sent_content
from leither_lite.limits import UINT_MAX
from leither_lite.store import keys
from leither_lite.tree.tree import SumTree

CYCLE = UINT_MAX + 1


class Traffic:
    """The receipts of one body. `sent_out` and `settled_in` are the group's counters as they are after it (u64)."""

    def __init__(self, group: Group, pulse: int, sent_out: int, settled_in: int) -> None:
        self._pending, self._settled = group.pending, group.settled
        self._pulse = pulse
        self.sent_out, self.settled_in = sent_out, settled_in
        self.outbox = SumTree()
        self.sent: list[Receipt] = []
        self.reclaimed: list[Receipt] = []
        self._added: list[tuple[Receipt, int]] = []  # to `settled`
        self._forgotten: list[tuple[Receipt, int]] = []  # from `settled`
        self._resolved: list[tuple[Receipt, int]] = []  # from `pending`
        self._moves: list[tuple[bytes, tuple[Receipt, int] | None]] = []  # of `pending`: what was there before

    def send(self, receipt: Receipt) -> None:
        """Put a receipt into the outbox; it is pending from now on."""
        self.outbox.put(receipt.id, receipt.leaf(self._pulse))
        self._moves.append((receipt.id, self._pending.items.get(receipt.id)))
        self._pending.put(receipt, self._pulse)
        self.sent.append(receipt)
        self.sent_out = (self.sent_out + receipt.amount) % CYCLE

    def settle(self, receipt: Receipt, pulse: int) -> None:
        """A receipt that another group's header of `pulse` has sent is settled here."""
        self._settled.put(receipt, pulse)
        self._added.append((receipt, pulse))
        self.settled_in = (self.settled_in + receipt.amount) % CYCLE

    def resolve(self, item: bytes) -> None:
        """A receipt was settled elsewhere."""
        self._take_out(item)

    def _take_out(self, item: bytes) -> Receipt:
        found = self._pending.remove(item)
        self._moves.append((item, found))
        self._resolved.append(found)
        return found[0]

    def reclaim(self, item: bytes) -> Receipt:
        """A receipt was settled nowhere: what it sent comes back."""
        receipt = self._take_out(item)
        self.reclaimed.append(receipt)
        self.settled_in = (self.settled_in + receipt.amount) % CYCLE
        return receipt

    def forget(self, floor: int) -> int:
        """Forget what was settled with a date below `floor`, as much of it as one header may; the floor reached: above
        the date of all that is forgotten."""
        older = self._settled.older(floor, EXPIRED_MAX + 1)
        for receipt, pulse in older[:EXPIRED_MAX]:
            self._settled.remove(receipt, pulse)
            self._forgotten.append((receipt, pulse))
        return floor if len(older) <= EXPIRED_MAX else max(receipt.date for receipt, _ in self._forgotten) + 1

    @property
    def gone(self) -> list[Receipt]:
        """The receipts that are not pending any more: settled elsewhere, or taken back."""
        return [receipt for receipt, _ in self._resolved]

    @property
    def came(self) -> list[Receipt]:
        """The receipts that are settled here."""
        return [receipt for receipt, _ in self._added]

    def undo(self) -> None:
        """Take all of it back."""
        for receipt, pulse in reversed(self._added):
            self._settled.remove(receipt, pulse)
        for receipt, pulse in self._forgotten:
            self._settled.put(receipt, pulse)
        for item, before in reversed(self._moves):
            if before is None:
                self._pending.remove(item)
            else:
                self._pending.put(*before)

    def writes(self) -> list[Write]:
        """What is to be kept of it with the seal. No body above this one has touched the sets."""
        writes: list[Write] = []
        for item in dict.fromkeys(item for item, _ in self._moves):
            now = self._pending.items.get(item)
            writes.append((keys.pending(item), None if now is None else sent_content(*now)))
        return writes + self._settled.writes()
