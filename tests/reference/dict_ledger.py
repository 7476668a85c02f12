"""A ledger of plain dictionaries: slow, obvious, and written without the one it is compared with.

Accounts are dictionaries under their ids, roles are words, statuses are the words of docs/protocol.md. Everything is
looked for anew each time; nothing is hashed, signed or kept twice.
"""

from __future__ import annotations

from typing import Any

SUPERVISORS = ("supervisor", "organization")
PAGE_BYTES = 10_240
ENTRY_BYTES = 44
WILLING = 24
TICKS = 3_600


class DictLedger:
    """All accounts of a level-1 group; `date` is the tick of the pulse before the present one.

    `sealers` are the accounts of the roster that seals the present pulse, `roster` of the one after it.
    """

    def __init__(self, supply: int, organization: bytes, founder: bytes) -> None:
        self.sealers = [founder]
        self.roster = [founder]
        self.roster_max = 7
        self.term = 0
        self.appointed = 0
        self.willing: dict[bytes, dict[str, Any]] = {}
        self.done: list[str] = []
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
        self.term = max(self.term, self.appointed)
        self.done = []

    def end(self, tick: int) -> None:
        """The pulse is sealed at `tick`."""
        self.last_tick = tick
        self.sealers = list(self.roster)

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

    def appoint(self, supervisor: bytes, roster: list[bytes], number: int) -> str:
        """Name who seals after this pulse."""
        if not self._is_supervisor(supervisor):
            return "not_permitted"
        if len(roster) not in (1, 3, 4, 7) or len(roster) > self.roster_max:
            return "bad_roster"
        if any(roster.count(account) != 1 for account in roster):
            return "bad_roster"
        if not all(self._may_hold(account) for account in roster):
            return "bad_roster"
        if number != self.role_changes:
            return "wrong_number"
        if "appoint" in self.done:
            return "body_full"
        self.role_changes += 1
        self.roster = list(roster)
        self.appointed = self.term + 1
        self.done.append("appoint")
        return "ok"

    def _may_hold(self, account: bytes) -> bool:
        return account in self.accounts and self.accounts[account]["role"] in ("member", "supervisor")

    def register(self, account: bytes, address: str, willing: bool, number: int) -> str:
        """A node holds, or holds no more."""
        if not self._may_hold(account):
            return "not_permitted"
        if self.date - number > TICKS:
            return "expired"
        known = self.willing.get(account)
        if known is None and not willing:
            return "wrong_number"
        if known is not None and known["number"] >= number:
            return "wrong_number"
        if known is None and len(self.willing) == WILLING:
            return "willing_full"
        silent = True if known is None else known["silent"]
        self.willing.pop(account, None)
        if willing:
            self.willing[account] = {"address": address, "number": number, "silent": silent}
        return "ok"

    def hold(self, is_of_last: bool, signers: list[bytes], silent: list[bytes]) -> str:
        """Who holds the pulse before, and who does not say so."""
        if self.done:
            return "misplaced"
        if not is_of_last:
            return "wrong_header"
        for account in signers + silent:
            if account not in self.willing or account in self.sealers:
                return "not_permitted"
            if account in signers and account in silent:
                return "not_permitted"
        for account in signers:
            self.willing[account]["silent"] = False
        for account in silent:
            self.willing[account]["silent"] = True
        return "ok"
