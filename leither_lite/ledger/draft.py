"""A group's state as a body's operations change it, and how all of it is taken back (docs/protocol.md, section 5).

Decides what each operation does, once `ledger.judge` has said that the state allows it. Never decides what is allowed,
and knows neither segments nor headers.
"""

from __future__ import annotations

from leither_lite.errors import Halt
from leither_lite.header import encode_roster, roster_digest, state_digest
from leither_lite.identity import account_id
from leither_lite.ledger.committee import Appointment, Held, Willingness
from leither_lite.ledger.group import Group
from leither_lite.ledger.joins import Admission, Application, InvitedJoin, RoleChange, invite_item, invite_leaf
from leither_lite.ledger.judge_receipts import is_credited, reclaimable, resolvable, settleable
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.records import Entry, Record
from leither_lite.ledger.settling import Reclaim, Resolve, Settle
from leither_lite.ledger.state import MERGE, SPLIT, Offer, State
from leither_lite.ledger.structure import TermEnd, draw, split
from leither_lite.ledger.traffic import Traffic
from leither_lite.tree.node import leaf, meta, record_digest


class Draft:
    """What the operations of one body do to their group, which runs ahead with them.

    `state`, `roster`, `inner` and the counters are those after the operations so far. `seed` (32 bytes) is what a last
    header draws by.
    """

    def __init__(
        self, group: Group, term: int, pulse: int, state: State, roster: bytes, inner: bytes, seed: bytes
    ) -> None:
        self.group = group
        self.term = term
        self.pulse = pulse
        self.state = state
        self.roster = roster
        self.before: dict[bytes, Entry | None] = {}
        self.records: dict[bytes, bytes] = {}
        self.used_invites: list[bytes] = []
        self.traffic = Traffic(group, pulse, group.sent_out, group.settled_in)
        self._inner = inner
        self._seed = seed
        self._appoints = False
        self._ends = False
        self._touched: dict[bytes, None] = {}

    @property
    def counters(self) -> tuple[int, int]:
        """The group's out and in as they are after it."""
        return self.traffic.sent_out, self.traffic.settled_in

    def _meta_now(self) -> bytes:
        traffic = self.traffic
        return meta(
            roster_digest(self.roster),
            traffic.outbox.root(),
            traffic.sent_out,
            traffic.settled_in,
            state_digest(self.state.encode()),
        )

    def _execute(self, operation: Operation) -> None:
        """Do what an operation says that the state allows."""
        if type(operation) is Payment:
            payer, payee = account_id(operation.payer_key), account_id(operation.invoice.payee_key)
            self._move(payer, payee, operation.amount, ReceiptKind.PAYMENT, operation.invoice_digest)
        elif type(operation) is Distribution:
            payer, ref = account_id(operation.organization_key), operation.digest(self.group.network)
            self._move(payer, operation.payee, operation.amount, ReceiptKind.DISTRIBUTION, ref)
        elif type(operation) is Admission:
            self._admit(operation.supervisor_key, operation.application, operation.role)
        elif type(operation) is InvitedJoin:
            self._use_invite(operation)
        elif type(operation) is RoleChange:
            record = self.group.entries[operation.account].record
            self.state = self.state._replace(role_changes=self.state.role_changes + 1)
            self._set(operation.account, record._replace(role=operation.role))
        elif type(operation) is Appointment:
            self.roster = encode_roster(operation.roster)
            self.state = self.state._replace(role_changes=self.state.role_changes + 1, appointed=self.term + 1)
            self._appoints = True
        elif type(operation) is Willingness:
            self.state = self.state._replace(willing=operation.registered(self.state.willing))
        elif type(operation) is Held:
            self.state = self.state._replace(willing=operation.marked(self.state.willing))
        elif type(operation) is TermEnd:
            self._end(operation)
        else:
            self._apply_receipts(operation)

    def _items_of(self, operation: Operation) -> int:
        """How many items of sets an operation touches at most."""
        if isinstance(operation, Settle):
            return 3 * len(operation.receipts)
        if type(operation) is Resolve:
            return len(operation.settled)
        if type(operation) is Reclaim:
            return len(operation.absent)
        if type(operation) is InvitedJoin:
            return 1 if self.group.holds(operation.application.account) else 3
        if type(operation) is Payment:
            return 0 if self.group.holds(account_id(operation.invoice.payee_key)) else 2
        if type(operation) is Distribution:
            return 0 if self.group.holds(operation.payee) else 2
        if type(operation) is Admission:
            return 0 if self.group.holds(operation.account) else 2
        return 0

    def _set(self, account: bytes, record: Record) -> None:
        group = self.group
        if account not in self.before:
            self.before[account] = group.entries.get(account)
        group.insert(account, Entry(self.pulse, record))
        self._touched[account] = None

    def _move(self, payer: bytes, payee: bytes, amount: int, kind: int, ref: bytes) -> None:
        entries = self.group.entries
        balance, frozen, sent, role, votes = entries[payer].record
        self._set(payer, Record(balance - amount, frozen, sent + 1, role, votes))
        if self.group.holds(payee):
            self._credit(payee, amount)
        else:
            self._send(Receipt(payer, sent, payee, amount, kind, ref, self.state.date))

    def _credit(self, account: bytes, amount: int) -> None:
        record = self.group.entries[account].record
        self._set(account, record._replace(balance=record.balance + amount))

    def _send(self, receipt: Receipt) -> None:
        self.traffic.send(receipt)
        self.state = self.state._replace(pending=self.group.pending.tree.root())

    def _admit(self, supervisor_key: bytes, application: Application, role: int) -> None:
        """Open an account here, or send word to the group where it belongs."""
        account = application.account
        if self.group.holds(account):
            self._set(account, Record(0, 0, 0, role, 0))
        else:
            digest = application.digest(self.group.network)
            supervisor = account_id(supervisor_key)
            self._send(Receipt(supervisor, int(role), account, 0, ReceiptKind.ADMISSION, digest, self.state.date))

    def _use_invite(self, join: InvitedJoin) -> None:
        item = invite_item(join.invite.content)
        self._admit(join.invite.supervisor_key, join.application, join.invite.role)
        self.group.invites.put(item, invite_leaf(self.pulse, item))
        self.used_invites.append(item)
        self.state = self.state._replace(invites=self.group.invites.root())

    def _apply_receipts(self, operation: Operation) -> None:
        group, traffic = self.group, self.traffic
        if isinstance(operation, Settle):
            for receipt, pulse in settleable(group, self.state, operation):
                traffic.settle(receipt, pulse)
                is_here = receipt.payee in group.entries
                if receipt.kind == ReceiptKind.ADMISSION:
                    if not is_here:
                        self._set(receipt.payee, Record(0, 0, 0, receipt.sent, 0))
                elif is_credited(group, self.state, receipt):
                    self._credit(receipt.payee, receipt.amount)
                    if receipt.kind == ReceiptKind.REFUND and receipt.refunds in group.pending.items:
                        traffic.resolve(receipt.refunds)
                elif receipt.kind == ReceiptKind.REFUND:
                    raise Halt("not_conserved", "a refund for an account that is not here")
                else:
                    traffic.send(receipt.refund(self.state.date))
        elif type(operation) is Resolve:
            for item in resolvable(group, operation):
                traffic.resolve(item)
        elif type(operation) is Reclaim:
            for item in reclaimable(group, operation):
                receipt = traffic.reclaim(item)
                if receipt.amount:
                    self._credit(receipt.payer, receipt.amount)
        roots = group.pending.tree.root(), group.settled.tree.root()
        self.state = self.state._replace(pending=roots[0], settled=roots[1])

    def _end(self, end: TermEnd) -> None:
        """Draw the next roster, and say what the group is to be split into."""
        group, state = self.group, self.state
        drawn = draw(state.willing, self._seed, group.rules.roster_max)
        self._ends = True
        if drawn:
            self.roster = encode_roster(drawn)
        self.state = state._replace(appointed=self.term + 1)
        if end.kind == MERGE:
            self.state = self.state._replace(offer=Offer(MERGE))
        elif end.kind == SPLIT:
            self._settle_tree()
            parts = split(group, self.state, self.traffic.sent_out, self.traffic.settled_in, self._seed)
            self.state = self.state._replace(offer=Offer(SPLIT, tuple(part.successor for part in parts)))

    def _settle_tree(self) -> None:
        group = self.group
        entries, leaves = group.entries, []
        for account in self._touched:
            record = entries[account].record
            content = self.records[account] = record.encode()
            leaves.append((account, leaf(account, self.pulse, record.balance + record.frozen, record_digest(content))))
        group.tree.put_many(leaves)
        self._inner = group.tree.root()
        self._touched = {}
