"""The ledger once more, as plain lists of numbers: what all sealed bodies, each executed once, lead to.

Knows the operations' fields, and none of the rules by which `ledger` executes them. Decides whether a sealed body may
be, and what the page after it is. Never asks a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from leither_lite import codec
from leither_lite.identity import account_id
from leither_lite.ledger.committee import Appointment
from leither_lite.ledger.joins import Admission, InvitedJoin, RoleChange
from leither_lite.ledger.operations import Operation, from_value
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.records import Role
from leither_lite.node.transfers import Transfer

_BALANCE, _FROZEN, _SENT, _ROLE, _VOTES, _PULSE = range(6)
_OPERATIONS_MAX: Final = 4_096
Row = list[int]


class Replica:
    """Accounts by id: [balance, frozen, sent, role, votes, pulse]."""

    def __init__(self, network: bytes, founder: bytes, supply: int) -> None:
        self._network = network
        self.rows: dict[bytes, Row] = {
            network: [supply, 0, 0, Role.ORGANIZATION, 0, 0],
            founder: [0, 0, 0, Role.SUPERVISOR, 0, 0],
        }
        self.pulse = 0
        self.transfers: dict[bytes, int] = {}
        """The pulse of each sealed transfer, by its digest."""
        self.invoices: dict[bytes, int] = {}
        """How often each invoice for a fixed amount was paid."""

    @property
    def total(self) -> int:
        """What all accounts hold."""
        return sum(row[_BALANCE] + row[_FROZEN] for row in self.rows.values())

    def execute(self, pulse: int, segments: Sequence[bytes]) -> list[str]:
        """Execute the body of a pulse; what is wrong with it."""
        self.pulse = pulse
        wrong = []
        for segment in segments:
            for value in codec.items(codec.decode(segment), _OPERATIONS_MAX, "bad_segment"):
                found = self._execute(from_value(value))
                if found:
                    wrong.append(found)
        return wrong

    def _execute(self, operation: Operation) -> str:
        if isinstance(operation, Payment | Distribution):
            transfer = Transfer.of(self._network, operation, b"")
            if transfer.digest in self.transfers:
                return "a transfer is sealed twice"
            self.transfers[transfer.digest] = self.pulse
            if transfer.fixed:
                self.invoices[transfer.invoice] = self.invoices.get(transfer.invoice, 0) + 1
            return self._move(transfer)
        if isinstance(operation, Admission | InvitedJoin):
            account = operation.application.account
            if account in self.rows:
                return "an account is opened twice"
            role = operation.role if isinstance(operation, Admission) else operation.invite.role
            self.rows[account] = [0, 0, 0, role, 0, self.pulse]
        elif isinstance(operation, RoleChange):
            self.rows[operation.account][_ROLE] = operation.role
            self.rows[operation.account][_PULSE] = self.pulse
        elif isinstance(operation, Appointment) and account_id(operation.supervisor_key) not in self.rows:
            return "an appointment by nobody"
        return ""

    def _move(self, transfer: Transfer) -> str:
        payer, payee = self.rows.get(transfer.payer), self.rows.get(transfer.payee)
        if payer is None or payee is None or payer is payee:
            return "a transfer from or to nobody"
        if payer[_SENT] != transfer.sent or payer[_BALANCE] < transfer.amount:
            return "a transfer that the payer could not make"
        payer[_BALANCE] -= transfer.amount
        payer[_SENT] += 1
        payee[_BALANCE] += transfer.amount
        payer[_PULSE] = payee[_PULSE] = self.pulse
        return ""

    def page(self) -> bytes:
        """The whole page, as a store keeps it."""
        return codec.encode([self._line(account) for account in sorted(self.rows)])

    def changes(self) -> bytes:
        """The lines of the page that the last pulse has set."""
        changed = [account for account in sorted(self.rows) if self.rows[account][_PULSE] == self.pulse]
        return codec.encode([self._line(account) for account in changed])

    def _line(self, account: bytes) -> list[codec.Value]:
        row = self.rows[account]
        return [account, row[_PULSE], *map(int, row[:_PULSE])]
