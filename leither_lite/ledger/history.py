"""What a group had under way at an older pulse: told by what it has now, and by the bodies in between.

The store keeps the sets of receipts as they are now (docs/store.md). Decides what they were, and from which pulse on
that can be told: what was forgotten or resolved meanwhile is known only where its body is still here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import Header
from leither_lite.identity import account_id
from leither_lite.ledger.group import sealed_at
from leither_lite.ledger.joins import Admission, InvitedJoin
from leither_lite.ledger.operations import Operation, from_value
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.sets import PendingSet, read_sent
from leither_lite.ledger.settling import Reclaim, Resolve, Settle
from leither_lite.ledger.state import State
from leither_lite.ledger.structure import started_tip
from leither_lite.ledger.tip import Tip
from leither_lite.limits import SEGMENT_BYTES_MAX, UINT_MAX
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree.node import EMPTY, is_prefix
from leither_lite.tree.tree import SumTree


class History:
    """The sets of receipts at the retained `pulses`, the bodies of all of which are here but that of the first."""

    def __init__(self, reader: Reader, pulses: Sequence[int]) -> None:
        """Raises RemoteError for a body that cannot be read, Halt("store_corrupt")."""
        self._reader = reader
        self._pulses = pulses
        self._sent: dict[bytes, tuple[Receipt, int]] = {}  # with the pulse that sent it
        self._gone: dict[bytes, int] = {}  # the pulse that resolved it
        self._came: dict[bytes, tuple[Receipt, int, int]] = {}  # with its sender's pulse, and the one that settled it
        if len(pulses) > 1 and self._sealed(len(pulses) - 1).header.bits:
            for key, _ in reader.scan(*keys.pulses(0, pulses[-1] + 1)):  # also from before a split
                pulse = keys.sequence_of(key)
                if key == keys.sealed(pulse):
                    self._read(pulse)
            self._keep()

    def _sealed(self, index: int) -> SealedPulse:
        sealed = sealed_at(self._reader, self._pulses[index])
        if sealed is None:
            raise Halt("store_corrupt", f"pulse {self._pulses[index]} is missing")
        return sealed

    # -- reading ---------------------------------------------------------------------------------------------------

    def _read(self, pulse: int) -> None:
        sealed = sealed_at(self._reader, pulse)
        if sealed is None or not pulse:
            return  # the genesis has no operations
        header, date = sealed.header, State.decode(sealed.state, sealed.willing).date
        for _, segment in self._reader.scan(*keys.segments(pulse)):
            for value in codec.items(codec.decode(segment), SEGMENT_BYTES_MAX, "bad_segment"):
                self._take(from_value(value), header, date)

    def _take(self, operation: Operation, header: Header, date: int) -> None:
        pulse = header.pulse
        sent = _sent_by(operation, header, date)
        if sent is not None:
            self._sent.setdefault(sent.id, (sent, pulse))
        elif isinstance(operation, Settle):
            for receipt, sent_pulse in operation.sent:
                self._came.setdefault(receipt.id, (receipt, sent_pulse, pulse))
                if receipt.kind == ReceiptKind.REFUND:
                    self._gone.setdefault(receipt.refunds, pulse)
                elif receipt.kind != ReceiptKind.ADMISSION:  # perhaps it was sent back
                    refund = receipt.refund(date)
                    self._sent.setdefault(refund.id, (refund, pulse))
        elif isinstance(operation, Resolve):
            for item, _, _ in operation.settled:
                self._gone.setdefault(item, pulse)
        elif isinstance(operation, Reclaim):
            for item, _, _ in operation.absent:
                self._gone.setdefault(item, pulse)

    def _keep(self) -> None:
        """Of what was sent, only what is pending still or was resolved was surely sent; of what came, what is settled
        still or may have been forgotten."""
        pending: dict[bytes, tuple[Receipt, int]] = {}
        for _, content in self._reader.scan(*keys.PENDING):
            receipt, pulse = read_sent(content)
            pending[receipt.id] = receipt, pulse
        self._gone = {item: pulse for item, pulse in self._gone.items() if item not in pending}
        self._sent = {item: sent for item, sent in self._sent.items() if item in self._gone} | pending
        settled: dict[bytes, tuple[Receipt, int, int]] = {}
        for _, content in self._reader.scan(*keys.SETTLED):
            receipt, pulse = read_sent(content)
            settled[receipt.id] = receipt, pulse, self._came[receipt.id][2] if receipt.id in self._came else -1
        floor = self.state(len(self._pulses) - 1).floor
        self._came = {item: came for item, came in self._came.items() if came[0].date < floor} | settled

    # -- what was --------------------------------------------------------------------------------------------------

    def state(self, index: int) -> State:
        """S of a pulse, as it was sealed."""
        sealed = self._sealed(index)
        return State.decode(sealed.state, sealed.willing)

    def pending(self, index: int) -> PendingSet:
        """What was under way after a pulse."""
        found, pulse = PendingSet(), self._pulses[index]
        for item, (receipt, sent) in self._sent.items() if self.state(index).pending != EMPTY else ():
            if sent <= pulse < self._gone.get(item, UINT_MAX):
                found.put(receipt, sent)
        return found

    def settled(self, index: int) -> Iterator[tuple[Receipt, int]]:
        """What was settled after a pulse, with the pulse of the header that sent it."""
        pulse, state = self._pulses[index], self.state(index)
        for receipt, sent, settled in self._came.values() if state.settled != EMPTY else ():
            if settled <= pulse and receipt.date >= state.floor:
                yield receipt, sent

    def tip(self, index: int) -> Tip | None:
        """Where a part of a split started after a pulse; None where the chain went on as its header says.

        Raises RemoteError("no_part") where that cannot be told.
        """
        sealed, after = self._sealed(index), self._sealed(index + 1).header
        if (sealed.header.bits, sealed.header.prefix) == (after.bits, after.prefix):
            return None
        return started_tip(sealed, after.bits, after.prefix, self.pending(index).tree.root())

    def _is_known(self, index: int) -> bool:
        try:
            tip = self.tip(index)
        except RemoteError:
            return False
        state = self.state(index) if tip is None else tip.state
        settled = SumTree(modular=True)
        settled.put_many([(receipt.id, receipt.leaf(sent)) for receipt, sent in self.settled(index)])
        return (self.pending(index).tree.root(), settled.root()) == (state.pending, state.settled)

    @property
    def first(self) -> int | None:
        """The index of the first pulse whose sets can be told, and on which another builds; None if there is none.

        The later a pulse, the more of it can be told.
        """
        low, high = 0, len(self._pulses) - 1
        if high > 0 and self._is_known(0):
            return 0
        while low < high:
            middle = (low + high) // 2
            if self._is_known(middle):
                high = middle
            else:
                low = middle + 1
        return low if low < len(self._pulses) - 1 else None


def _sent_by(operation: Operation, header: Header, date: int) -> Receipt | None:
    """The receipt that an operation in a body has sent, if its payee is in another group."""
    network = header.network
    if isinstance(operation, Payment):
        payer, payee = account_id(operation.payer_key), account_id(operation.invoice.payee_key)
        ref, kind, sent, amount = operation.invoice_digest, ReceiptKind.PAYMENT, operation.sent, operation.amount
    elif isinstance(operation, Distribution):
        payer, payee = account_id(operation.organization_key), operation.payee
        ref, kind, sent = operation.digest(network), ReceiptKind.DISTRIBUTION, operation.sent
        amount = operation.amount
    elif isinstance(operation, Admission | InvitedJoin):
        application = operation.application
        granted = operation if isinstance(operation, Admission) else operation.invite
        payer, payee, ref = account_id(granted.supervisor_key), application.account, application.digest(network)
        kind, sent, amount = ReceiptKind.ADMISSION, int(granted.role), 0
    else:
        return None
    if is_prefix(payee, header.prefix, header.bits):
        return None
    return Receipt(payer, sent, payee, amount, kind, ref, date)
