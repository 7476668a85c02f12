"""A ledger of plain dictionaries: slow, obvious, and written without the one it is compared with.

Accounts are dictionaries under their ids, roles are words, statuses are the words of docs/protocol.md. Everything is
looked for anew each time; nothing is hashed, signed or kept twice.
"""

from __future__ import annotations

from typing import Any

SUPERVISORS = ("supervisor", "organization")
PAGE_BYTES = 10_240
ENTRY_BYTES = 44


class DictLedger:
    """All accounts of a level-1 group; `date` is the tick of the pulse before the present one."""

    def __init__(self, supply: int, organization: bytes, founder: bytes) -> None:
        self.accounts: dict[bytes, dict[str, Any]] = {}
        self.used: list[bytes] = []
        self.role_changes = 0
        self.pulse = 0
        self.date = 0
        self.last_tick = 0
        self._open(organization, "organization")
        self._open(founder, "supervisor")
        self.accounts[organization]["balance"] = supply

    def begin(self) -> None:
        """The next pulse."""
        self.pulse += 1
        self.date = self.last_tick

    def end(self, tick: int) -> None:
        """The pulse is sealed at `tick`."""
        self.last_tick = tick

    def total(self) -> int:
        """What all accounts hold."""
        return sum(account["balance"] for account in self.accounts.values())

    def _open(self, account: bytes, role: str) -> None:
        self.accounts[account] = {"balance": 0, "sent": 0, "role": role, "pulse": self.pulse}

    def pay(self, payer: bytes, payee: bytes, asked: int, valid_until: int, amount: int, sent: int) -> str:
        """Pay an invoice for `asked` (0: any amount) that holds until a tick (0: for ever)."""
        if asked != 0 and amount != asked:
            return "amount_mismatch"
        if valid_until != 0 and self.date > valid_until:
            return "expired"
        return self._move(payer, payee, amount, sent)

    def distribute(self, organization: bytes, payee: bytes, amount: int, sent: int) -> str:
        """Pay from the organization's account."""
        if organization in self.accounts and self.accounts[organization]["role"] != "organization":
            return "not_permitted"
        return self._move(organization, payee, amount, sent)

    def _move(self, payer: bytes, payee: bytes, amount: int, sent: int) -> str:
        if payer == payee:
            return "payer_is_payee"
        if amount == 0:
            return "amount_zero"
        if payer not in self.accounts:
            return "unknown_payer"
        if payee not in self.accounts:
            return "unknown_payee"
        if self.accounts[payer]["sent"] != sent:
            return "wrong_sent"
        if self.accounts[payer]["balance"] < amount:
            return "insufficient_balance"
        self.accounts[payer]["balance"] -= amount
        self.accounts[payer]["sent"] += 1
        self.accounts[payee]["balance"] += amount
        self.accounts[payer]["pulse"] = self.accounts[payee]["pulse"] = self.pulse
        return "ok"

    def _is_supervisor(self, account: bytes) -> bool:
        return account in self.accounts and self.accounts[account]["role"] in SUPERVISORS

    def admit(self, supervisor: bytes, applicant: bytes, role: str) -> str:
        """Open an account."""
        if not self._is_supervisor(supervisor):
            return "not_permitted"
        if applicant in self.accounts:
            return "account_exists"
        if any(applicant[:8] == other[:8] for other in self.accounts):
            return "id_too_close"
        if 2 + ENTRY_BYTES * (len(self.accounts) + 1) > PAGE_BYTES:
            return "group_full"
        self._open(applicant, role)
        return "ok"

    def join(self, invite: bytes, valid_until: int, supervisor: bytes, applicant: bytes, role: str) -> str:
        """Open an account by an invite."""
        if self.date > valid_until:
            return "expired"
        if invite in self.used:
            return "invite_used"
        status = self.admit(supervisor, applicant, role)
        if status == "ok":
            self.used.append(invite)
        return status

    def change_role(self, supervisor: bytes, account: bytes, role: str, number: int) -> str:
        """Give an account another role."""
        if not self._is_supervisor(supervisor):
            return "not_permitted"
        if account not in self.accounts:
            return "unknown_account"
        if self.accounts[account]["role"] not in ("guest", "member", "supervisor"):
            return "role_fixed"
        if number != self.role_changes:
            return "wrong_number"
        self.role_changes += 1
        self.accounts[account]["role"] = role
        self.accounts[account]["pulse"] = self.pulse
        return "ok"
