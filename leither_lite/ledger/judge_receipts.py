"""What the state allows of receipts: which are settled, resolved and reclaimed (docs/protocol.md, section 5.6).

An operation carries several; each counts for itself, and one that can do nothing is refused. Decides from a group's
entries, sets and the state S alone. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from leither_lite.errors import RemoteError
from leither_lite.header import Header
from leither_lite.ledger.group import Group
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.records import Record, counted_bytes
from leither_lite.ledger.sets import PENDING_MAX
from leither_lite.ledger.settling import Reclaim, Resolve, Settle
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import State
from leither_lite.limits import JOIN_SHARED_BITS_MAX, PAGE_BYTES_MAX, RECEIPT_TICKS_MAX
from leither_lite.tree.node import shared_bits
from leither_lite.tree.shown import Shown


def judge_receipts(group: Group, state: State, operation: Settle | Resolve | Reclaim) -> Status:
    """OK if an operation whose proofs hold does something."""
    status = _shown(group, state, operation.shown)
    if status is not Status.OK:
        return status
    if isinstance(operation, Settle):
        return Status.OK if settleable(group, state, operation) else _why_not(group, state, operation)
    able = resolvable(group, operation) if isinstance(operation, Resolve) else reclaimable(group, operation)
    return Status.OK if able else Status.NOTHING_PENDING


def _shown(group: Group, state: State, shown: Shown) -> Status:
    """OK if the root header that is shown is of the chain, and not above the one that is built on."""
    if Header.decode(shown.root).tick > state.date:
        return Status.TOO_EARLY
    return Status.OK if group.vouch(shown) else Status.NOT_SHOWN


def _is_open(group: Group, state: State, receipt: Receipt) -> bool:
    """True while a receipt may be settled here at all."""
    is_late = receipt.kind != ReceiptKind.REFUND and state.date > receipt.date + RECEIPT_TICKS_MAX
    return (
        group.holds(receipt.payee) and not is_late and receipt.date >= state.floor and receipt.id not in group.settled
    )


def settleable(group: Group, state: State, settle: Settle) -> list[tuple[Receipt, int]]:
    """The receipts of an operation that can be settled now, credited, sent back, or an account opened, each with the
    pulse of the header that sent it."""
    found: dict[bytes, tuple[Receipt, int]] = {}
    opened: dict[bytes, None] = {}
    size, under_way = group.page_bytes, len(group.pending.items)
    for receipt, pulse in settle.sent:
        if receipt.id in found or not _is_open(group, state, receipt):
            continue
        if receipt.kind == ReceiptKind.ADMISSION:
            if receipt.payee not in group.entries and receipt.payee not in opened:
                after = size + counted_bytes(Record(0, 0, 0, receipt.sent, 0))
                if not _has_room(group, opened, after, receipt.payee):
                    continue
                opened[receipt.payee], size = None, after
        elif not is_credited(group, state, receipt):
            if receipt.kind == ReceiptKind.REFUND or under_way >= PENDING_MAX:
                continue
            under_way += 1
        found[receipt.id] = receipt, pulse
    return list(found.values())


def is_credited(group: Group, state: State, receipt: Receipt) -> bool:
    """True if the payee of a receipt that is no admission gets its amount: else it is sent back, or waits. Nothing can
    keep a refund from an account that is here."""
    is_open = receipt.kind == ReceiptKind.REFUND or receipt.payee not in state.frozen
    return is_open and receipt.payee in group.entries


def _has_room(group: Group, opened: Collection[bytes], size: int, account: bytes) -> bool:
    """True if an account can be opened beside those that are `opened` already; `size` is that of the page then."""
    if len(group.entries) + len(opened) >= group.rules.members_max or size > PAGE_BYTES_MAX:
        return False
    closest = group.bits + JOIN_SHARED_BITS_MAX
    return all(shared_bits(account, other) < closest for other in (*group.entries, *opened))


def _why_not(group: Group, state: State, settle: Settle) -> Status:
    still_open = any(_is_open(group, state, receipt) for receipt, _ in settle.receipts)
    return Status.GROUP_FULL if still_open else Status.RECEIPTS_SETTLED


def resolvable(group: Group, resolve: Resolve) -> list[bytes]:
    """The ids of pending receipts that the operation shows to be settled."""
    pending, shown = group.pending.items, resolve.shown
    ids = dict.fromkeys(item for item, _, _ in resolve.settled)
    return [item for item in ids if item in pending and shown.holds(pending[item][0].payee)]


def reclaimable(group: Group, reclaim: Reclaim) -> list[bytes]:
    """The ids of pending receipts that the operation shows to be settled nowhere: not in their payee's group, by a
    header that was too late for it and still remembered their date. A refund is never taken back."""
    try:
        theirs = reclaim.its_state
    except RemoteError:
        return []
    found = []
    for item in dict.fromkeys(item for item, _, _ in reclaim.absent):
        receipt = group.pending.items[item][0] if item in group.pending.items else None
        if receipt is None or receipt.kind == ReceiptKind.REFUND or not reclaim.shown.holds(receipt.payee):
            continue
        if theirs.date > receipt.date + RECEIPT_TICKS_MAX and theirs.floor <= receipt.date:
            found.append(item)
    return found
