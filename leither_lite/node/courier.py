"""Receipts between groups: shown to the payee's group until they are settled, and to the payer's that they are.

Carries out docs/protocol.md, section 5.6. Decides what this node shows to whom and when again, finds who keeps the
books of an id by asking down the tree, and asks what became of a receipt that nobody has told of. Tables are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.effects import Effects
from leither_lite.errors import Halt, RemoteError
from leither_lite.ledger.asked import Ask, LateSettle
from leither_lite.ledger.body import Body
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.sets import read_sent
from leither_lite.ledger.settling import RESOLVED_MAX
from leither_lite.ledger.showing import outbox_of, resolve_of, settle_of
from leither_lite.node import frames
from leither_lite.node.answers import Answers
from leither_lite.node.books import Books
from leither_lite.node.finding import Finder
from leither_lite.node.trunk import Trunk
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree.shown import Shown

AGAIN_MS: Final = (2_000, 20_000)
"""What is not resolved is shown again after so long, each time after twice as long."""
LATE_MS: Final = 8_000
"""What others should have shown, and nobody has resolved when it waits for longer than this, the third time that it is
asked for, may be shown by none: its group went on, split or merged before anybody was there to do so."""
CALL_MS: Final = 16_000
"""Who has waited so long for a group has those above look after it."""
PATIENCE_MS: Final = 30_000
ASKED_MAX: Final = RESOLVED_MAX
RESOLVED_MAX_WAITING: Final = 1_024


@dataclass(slots=True)
class Sent:
    """A receipt of ours under way: the operation that shows it, empty where only others have it, and when to show it
    again, or ask for it."""

    receipt: Receipt
    content: bytes
    due_ms: int
    wait_ms: int = AGAIN_MS[0]


class Courier:
    """What goes between this node's group and others."""

    def __init__(
        self,
        reader: Reader,
        books: Books,
        trunk: Trunk,
        finder: Finder,
        own: bytes,
    ) -> None:
        """`own`: this node's public key. Goes on from the store. Raises Halt("store_corrupt")."""
        self._reader = reader
        self._books = books
        self.answers = Answers(books, trunk)
        self._trunk = trunk
        self._finder = finder
        self._own = own
        self._sent: dict[bytes, Sent] = {}
        self._outbox: list[Receipt] = []
        self._settled: list[Receipt] = []
        for _, content in reader.scan(*keys.SHOWN):
            self._keep_shown(content, 0)
        # Of the store, not of the group: the open body has sent others already, perhaps under the same pulse.
        for _, content in reader.scan(*keys.PENDING):
            receipt, pulse = read_sent(content)
            if receipt.id in self._sent:
                continue
            if pulse == books.group.header.pulse:
                self._outbox.append(receipt)
            else:
                self._sent[receipt.id] = Sent(receipt, b"", 0)

    def _keep_shown(self, content: bytes, now_ms: int) -> None:
        try:
            receipt = Receipt.take(codec.fields(codec.decode(content), 2, "bad_shown")[0], "bad_shown")
        except RemoteError as error:
            raise Halt("store_corrupt", f"a receipt in the store cannot be read: {error}") from error
        self._sent[receipt.id] = Sent(receipt, content, now_ms)

    # -- what the own group has sealed -------------------------------------------------------------------------------

    def sealed(self, effects: Effects, body: Body) -> None:
        """The own group has sealed a body: what it has resolved is shown no more."""
        for receipt in body.traffic.gone:
            if self._sent.pop(receipt.id, None) is not None:
                effects.writes.append((keys.shown(receipt.id), None))
        for receipt in self._outbox:  # it was under the root while this node was away: others show it
            self._sent.setdefault(receipt.id, Sent(receipt, b"", 0))
        self._outbox = list(body.traffic.sent)
        # What was sent back is told by its refund, which resolves it too.
        back = {receipt.refunds for receipt in body.traffic.sent if receipt.kind == ReceiptKind.REFUND}
        came = [receipt for receipt in body.traffic.came if receipt.id not in back]
        self._settled = (self._settled + came)[-RESOLVED_MAX_WAITING:]

    def included(self, effects: Effects, now_ms: int) -> None:
        """The own group's last header is under the root: what it has sent and settled can be shown."""
        group, opened = self._books.group, self.answers.shown()
        if opened is None:
            return
        shown, state = opened
        is_chief = self._books.sealers[:1] == (self._own,)
        if self._outbox:
            outbox = outbox_of(self._outbox, group.header.pulse)
            for receipt in self._outbox:
                operation = settle_of(shown, outbox, [receipt])
                content = encode([receipt.value(), operation.encode()])
                effects.writes.append((keys.shown(receipt.id), content))
                self._keep_shown(content, now_ms if is_chief else now_ms + AGAIN_MS[0])
            self._outbox = []
        settled, self._settled = self._settled, []
        if is_chief:
            self._show_settled(effects, settled, shown, state, now_ms)
        self.pass_time(effects, now_ms)

    def _show_settled(
        self, effects: Effects, settled: Iterable[Receipt], shown: Shown, state: bytes, now_ms: int
    ) -> None:
        """Tell those whose receipts were settled here."""
        group = self._books.group
        by_payer: dict[bytes, list[bytes]] = {}
        for receipt in settled:
            if receipt.id in group.settled:
                by_payer.setdefault(receipt.payer, []).append(receipt.id)
        for payer, items in by_payer.items():
            for at in range(0, len(items), RESOLVED_MAX):
                operation = resolve_of(shown, state, group.settled, items[at : at + RESOLVED_MAX])
                self._finder.carry(effects, payer, frames.operation_frame(operation.encode()), now_ms)

    # -- time ------------------------------------------------------------------------------------------------------

    def pass_time(self, effects: Effects, now_ms: int) -> None:
        """Show again what is due, and go on looking."""
        patience_ms = self._patience_ms
        asked = []
        for sent in self._under_way():
            if sent.due_ms + patience_ms <= now_ms:
                sent.due_ms = now_ms + sent.wait_ms
                if sent.wait_ms > AGAIN_MS[0] or not sent.content:
                    asked.append(sent)
                sent.wait_ms = min(2 * sent.wait_ms, AGAIN_MS[1])
                self._show(effects, sent, now_ms)
        if asked:
            self._ask(effects, asked, now_ms)
        self._finder.pass_time(effects, now_ms)

    def _under_way(self) -> Iterable[Sent]:
        """What is shown and asked for; nothing before it is known who keeps the pages above."""
        return () if self._trunk.branch is None else self._sent.values()

    @property
    def _patience_ms(self) -> int:
        """Who is not on the roster leaves it to those who are, for so long."""
        return 0 if self._books.is_on_roster else PATIENCE_MS

    @property
    def deadline_ms(self) -> int | None:
        """When `pass_time` wants to be called next."""
        due = [sent.due_ms + self._patience_ms for sent in self._under_way()]
        looks_ms = self._finder.deadline_ms
        if looks_ms is not None:
            due.append(looks_ms)
        return min(due, default=None)

    def _show(self, effects: Effects, sent: Sent, now_ms: int) -> None:
        if sent.wait_ms > 2 * AGAIN_MS[0]:
            self._finder.forget(sent.receipt.payee)
        if sent.content:
            _, operation = codec.fields(codec.decode(sent.content), 2, "bad_shown")
            content = codec.octets_upto(operation, len(sent.content), "bad_shown")
            self._finder.carry(effects, sent.receipt.payee, frames.operation_frame(content), now_ms)
        if sent.wait_ms > CALL_MS:
            self._finder.call(effects, sent.receipt.payee, now_ms)

    def _ask(self, effects: Effects, asked: Iterable[Sent], now_ms: int) -> None:
        """Ask what became of receipts, showing that they wait here; soon again where that cannot be shown now."""
        opened = self.answers.shown() if self._books.proposed is None else None
        if opened is None:
            for sent in asked:
                sent.due_ms = min(sent.due_ms, now_ms + AGAIN_MS[0])
            return
        self._books.rewind()  # what is shown is what was sealed
        pending = self._books.group.pending
        for sent in asked:
            item = sent.receipt.id
            if item in pending.items:
                ask = Ask.of(*opened, pending, [item])
                frame = encode([frames.ASK_RECEIPTS, *ask.values()])
                self._finder.carry(effects, sent.receipt.payee, frame, now_ms)
                if not sent.content and sent.wait_ms > LATE_MS:
                    late = frames.operation_frame(LateSettle.of(ask).encode())
                    self._finder.carry(effects, sent.receipt.payee, late, now_ms)
        self._books.refresh()
