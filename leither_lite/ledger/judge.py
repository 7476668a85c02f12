"""What the state allows: the status of each operation, its checks in their order (docs/protocol.md, section 5.5).

Decides from a group's entries and the state S alone. Changes nothing; never checks a signature, never reads a clock.
"""

from __future__ import annotations

from leither_lite.identity import account_id
from leither_lite.ledger.committee import Appointment, Held, Willingness
from leither_lite.ledger.group import Group
from leither_lite.ledger.joins import Admission, Application, InvitedJoin, RoleChange, invite_item
from leither_lite.ledger.judge_receipts import judge_receipts
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.receipts import ReceiptKind
from leither_lite.ledger.records import Record, Role, counted_bytes
from leither_lite.ledger.sets import PENDING_MAX
from leither_lite.ledger.settling import Reclaim, Resolve, Settle
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import MERGE, SPLIT, State
from leither_lite.ledger.structure import TermEnd, is_large, is_small
from leither_lite.limits import (
    JOIN_SHARED_BITS_MAX,
    PAGE_BYTES_MAX,
    QUORUM,
    RECEIPT_TICKS_MAX,
    WILLING_MAX,
)
from leither_lite.tree.node import shared_bits


def judge(group: Group, state: State, operation: Operation) -> Status:
    """OK if the group's entries and `state` allow an operation whose signatures are good. `Held` has its own judge."""
    if type(operation) is Payment:
        return _payment(group, state, operation)
    if type(operation) is Distribution:
        return _distribution(group, state, operation)
    if type(operation) is Admission:
        return _admission(group, operation.supervisor_key, operation.application, operation.role)
    if type(operation) is InvitedJoin:
        return _invited(group, state, operation)
    if type(operation) is RoleChange:
        return _role(group, state, operation)
    if type(operation) is Appointment:
        return _appointment(group, state, operation)
    if type(operation) is Willingness:
        return _willingness(group, state, operation)
    if isinstance(operation, Settle | Resolve | Reclaim):
        return judge_receipts(group, state, operation)
    raise TypeError(f"{type(operation).__name__} is not judged here")


def judge_held(state: State, sealers: tuple[bytes, ...], previous: bytes, held: Held) -> Status:
    """OK if `held` is about the header with the digest `previous`, and about nodes that are willing and no `sealers`.

    `sealers` are the keys of the roster of the header that is being made. Misplaced is for the body to say.
    """
    if held.header_digest != previous:
        return Status.WRONG_HEADER
    willing = frozenset(node.key for node in state.willing)
    signers = held.signers
    for key in (*signers, *held.silent):
        if key not in willing or key in sealers:
            return Status.NOT_PERMITTED
    return Status.NOT_PERMITTED if any(key in signers for key in held.silent) else Status.OK


def judge_term_end(group: Group, state: State, end: TermEnd) -> Status:
    """OK if the term may end so: it is long enough, and the group is as large, or as small, as that takes. A root group
    at level 1 ends its terms only to be split: else its roster is the supervisors' to appoint."""
    if state.date < state.since + group.rules.term_ticks:
        return Status.TOO_EARLY
    count, size, most = len(group.entries), group.page_bytes, group.rules.members_max
    if end.kind == SPLIT:
        return Status.OK if is_large(count, size, most) else Status.NOT_PERMITTED
    if group.is_root or (end.kind == MERGE and not is_small(count, size, most)):
        return Status.NOT_PERMITTED
    return Status.OK


def _transfer(group: Group, state: State, payer: bytes, payee: bytes, amount: int, sent: int) -> Status:
    """OK if `payer`, whose next payment is number `sent`, can pay `amount` to `payee`."""
    if payer == payee:
        return Status.PAYER_IS_PAYEE
    if not amount:
        return Status.AMOUNT_ZERO
    entry = group.entries.get(payer)
    if entry is None:
        return Status.UNKNOWN_PAYER
    if payee not in group.entries and group.holds(payee):
        return Status.UNKNOWN_PAYEE
    if payer in state.frozen or payee in state.frozen:
        return Status.ACCOUNT_FROZEN
    if sent != entry.record.sent:
        return Status.WRONG_SENT
    if amount > entry.record.balance:
        return Status.INSUFFICIENT_BALANCE
    if not group.holds(payee) and len(group.pending.items) >= PENDING_MAX:
        return Status.PENDING_FULL
    return Status.OK


def _payment(group: Group, state: State, payment: Payment) -> Status:
    invoice = payment.invoice
    if invoice.amount and invoice.amount != payment.amount:
        return Status.AMOUNT_MISMATCH
    if invoice.valid_until and state.date > invoice.valid_until:
        return Status.EXPIRED
    payer, payee = account_id(payment.payer_key), account_id(invoice.payee_key)
    return _transfer(group, state, payer, payee, payment.amount, payment.sent)


def _distribution(group: Group, state: State, distribution: Distribution) -> Status:
    payer = account_id(distribution.organization_key)
    entry = group.entries.get(payer)
    if entry is not None and entry.record.role != Role.ORGANIZATION:
        return Status.NOT_PERMITTED
    return _transfer(group, state, payer, distribution.payee, distribution.amount, distribution.sent)


def _has_role(group: Group, key: bytes, *roles: Role) -> bool:
    """True if the key's account is here and has one of the roles."""
    entry = group.entries.get(account_id(key))
    return entry is not None and entry.record.role in roles


def _may_admit(group: Group, key: bytes) -> bool:
    return _has_role(group, key, Role.SUPERVISOR, Role.ORGANIZATION)


def _admission(group: Group, supervisor_key: bytes, application: Application, role: int) -> Status:
    account = application.account
    if not _may_admit(group, supervisor_key):
        return Status.NOT_PERMITTED
    if account in group.entries:
        return Status.ACCOUNT_EXISTS
    if not group.holds(account):
        sent = [receipt for receipt, _ in group.pending.items.values() if receipt.kind == ReceiptKind.ADMISSION]
        if any(receipt.payee == account for receipt in sent):
            return Status.ACCOUNT_EXISTS
        return Status.OK if len(group.pending.items) < PENDING_MAX else Status.PENDING_FULL
    if any(shared_bits(account, other) >= group.bits + JOIN_SHARED_BITS_MAX for other in group.entries):
        return Status.ID_TOO_CLOSE
    counted = counted_bytes(Record(0, 0, 0, role, 0))
    if len(group.entries) >= group.rules.members_max or group.page_bytes + counted > PAGE_BYTES_MAX:
        return Status.GROUP_FULL
    return Status.OK


def _invited(group: Group, state: State, join: InvitedJoin) -> Status:
    invite = join.invite
    if state.date > invite.valid_until:
        return Status.EXPIRED
    if invite_item(invite.content) in group.invites:
        return Status.INVITE_USED
    return _admission(group, invite.supervisor_key, join.application, invite.role)


def _role(group: Group, state: State, change: RoleChange) -> Status:
    if not _may_admit(group, change.supervisor_key):
        return Status.NOT_PERMITTED
    entry = group.entries.get(change.account)
    if entry is None:
        return Status.UNKNOWN_ACCOUNT
    if entry.record.role > Role.SUPERVISOR:
        return Status.ROLE_FIXED
    if change.number != state.role_changes:
        return Status.WRONG_NUMBER
    return Status.OK


def _appointment(group: Group, state: State, appointment: Appointment) -> Status:
    if not _may_admit(group, appointment.supervisor_key):
        return Status.NOT_PERMITTED
    roster = appointment.roster
    if len(roster) not in QUORUM or len(roster) > group.rules.roster_max or len(frozenset(roster)) != len(roster):
        return Status.BAD_ROSTER
    if not all(_has_role(group, key, Role.MEMBER, Role.SUPERVISOR) for key in roster):
        return Status.BAD_ROSTER
    if appointment.number != state.role_changes:
        return Status.WRONG_NUMBER
    return Status.OK


def _willingness(group: Group, state: State, willingness: Willingness) -> Status:
    if not _has_role(group, willingness.key, Role.MEMBER, Role.SUPERVISOR):
        return Status.NOT_PERMITTED
    if state.date > willingness.number + RECEIPT_TICKS_MAX:
        return Status.EXPIRED
    registered = next((node for node in state.willing if node.key == willingness.key), None)
    if registered is None and not willingness.willing:
        return Status.WRONG_NUMBER
    if registered is not None and willingness.number <= registered.number:
        return Status.WRONG_NUMBER
    if registered is None and len(state.willing) >= WILLING_MAX:
        return Status.WILLING_FULL
    return Status.OK
