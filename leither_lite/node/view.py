"""What the node shows of itself: accounts, transfers, proofs, its page (docs/api.md). Reads only, changes nothing.

Decides who may see what: an account's record is for its owner and for the bookkeepers of its group.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.identity import account_id
from leither_lite.ledger.records import Role, encode_page
from leither_lite.node.transfers import PENDING, Transfer
from leither_lite.node.turn import Node
from leither_lite.node.way import Way
from leither_lite.pulse.votes import Evidence
from leither_lite.store import keys
from leither_lite.tree.node import record_digest
from leither_lite.tree.proof import Absence, BranchStep, OtherLeaf, Path, Proof

ROLE_NAMES: Final = {role: role.name.lower() for role in Role}
TRANSFERS_LIMIT_MAX: Final = 500


class Summary(NamedTuple):
    """The root group's page, and the root pulse that it belongs to."""

    pulse: int
    page: bytes


class View:
    """Reads of one node, as of its last performed turn. `way` leads to the root."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.way = Way(node)

    @property
    def is_bookkeeper(self) -> bool:
        """True if this node is on the roster of its group, or, where that is empty, on the parent's."""
        return self._node.books.is_on_roster

    @property
    def role(self) -> str:
        """What the node does in its group: chief, backup or member."""
        keys_ = self._node.books.sealers
        own = self._node.wallet.node_key.public
        if own not in keys_:
            return "member"
        return "chief" if keys_[0] == own else "backup"

    def _may_see(self, account: bytes) -> None:
        if account not in self._node.wallet.keys and account != self._node.network and not self.is_bookkeeper:
            raise LocalError("not_permitted", "an account is shown to its owner and its group's bookkeepers only")

    def account(self, account: bytes | None) -> dict[str, Any]:
        """An account as of the newest sealed pulse. Raises LocalError: not_permitted, unknown_account."""
        account = self._node.wallet.node_key.account if account is None else account
        self._may_see(account)
        entry = self._node.books.entry(account)
        if entry is None:
            return self._unsealed_account(account)
        record = entry.record
        return {
            "account": account.hex(),
            "balance": record.balance,
            "frozen": record.frozen,
            "sent": record.sent,
            "role": ROLE_NAMES[Role(record.role)],
            "pulse": entry.pulse,
        }

    def _unsealed_account(self, account: bytes) -> dict[str, Any]:
        """An account of ours whose admission waits for its seal: nothing in it is final yet."""
        if account not in self._node.wallet.keys or account not in self._node.group.entries:
            raise LocalError("unknown_account", "there is no such account in this group")
        return {"account": account.hex(), "balance": 0, "frozen": 0, "sent": 0, "role": "applied", "pulse": None}

    def accounts(self) -> list[dict[str, Any]]:
        """The accounts whose keys this node holds."""
        return [self.account(account) for account in self._node.wallet.keys if account in self._node.group.entries]

    def applications(self) -> list[dict[str, Any]]:
        """Applications that wait for a supervisor."""
        return [
            {"id": each.account.hex(), "public_key": each.applicant_key.hex(), "memo": each.memo}
            for each in self._node.desk.applications.waiting()
        ]

    def transfer(self, name: str) -> dict[str, Any]:
        """A transfer by its id. Raises LocalError("unknown_transfer")."""
        sequence, transfer = self._node.wallet.transfer_named(name)
        return self._shown(sequence, transfer)

    def _shown(self, sequence: int, transfer: Transfer) -> dict[str, Any]:
        """A transfer is pending until enough others hold the header that it is in; where the root is another group,
        until that header is under it."""
        is_new = transfer.pulse and transfer.pulse == self._node.group.header.pulse
        if is_new and not (self.way.is_under_root() if self.way.is_split else self._node.is_final):
            transfer = transfer.unsealed()
        shown = transfer.to_json(sequence)
        if transfer.state == PENDING:
            shown["reason"] = self._node.books.pool.waits_for(sequence)
        return shown

    def transfers(self, before: str | None, limit: int) -> list[dict[str, Any]]:
        """At most `limit` transfers older than the one with the id `before`, newest first."""
        if not 1 <= limit <= TRANSFERS_LIMIT_MAX:
            raise LocalError("bad_limit", f"limit is a whole number from 1 to {TRANSFERS_LIMIT_MAX}")
        number = None if before is None else self._node.wallet.transfer_named(before)[0]
        return [self._shown(sequence, transfer) for sequence, transfer in self._node.wallet.newest(number, limit)]

    def summary(self) -> Summary:
        """The root group's page: CBOR, at most 10,240 bytes. In a network of several groups it shows nobody's account.

        Raises LocalError: not_permitted (it is the page of accounts, and this node keeps no books), no_branch_yet.
        """
        if self.way.is_split:
            branch = self.way.branch
            return Summary(branch.header.pulse, branch.floors[0].page())
        if not self.is_bookkeeper:
            raise LocalError("not_permitted", "the page of a level-1 root group is for its bookkeepers")
        group = self.way.group(None)
        page = ((account, entry.pulse, entry.record.encode()) for account, entry in group.entries.items())
        return Summary(group.header.pulse, encode_page(page))

    def proof(self, account: bytes, pulse: int | None) -> Proof | Absence:
        """That an account has, or has not, been in the ledger at a pulse of the own group that the root shows.

        Raises LocalError: not_permitted, unknown_account (it belongs to another group), or as `Way.shown`.
        """
        self._may_see(account)
        if not self._node.group.holds(account):
            raise LocalError("unknown_account", "that account belongs to another group")
        group, steps, root = self.way.shown(pulse)
        found = group.tree.path(account)
        if found is None:
            raise Halt("store_corrupt", f"no account is in the ledger at pulse {group.header.pulse}")
        path: Path = (*(BranchStep(depth, sibling) for depth, sibling in found.steps), *steps)
        entry = group.entries[found.account]
        record = entry.record.encode()
        if found.account == account:
            return Proof(account, record, entry.pulse, path, root)
        if not self.is_bookkeeper:
            raise LocalError("not_permitted", "an absence shows sums of others; it is for the group's bookkeepers")
        amount = entry.record.balance + entry.record.frozen
        return Absence(account, OtherLeaf(found.account, entry.pulse, amount, record_digest(record)), path, root)

    def evidence(self) -> list[dict[str, Any]]:
        """Who has signed two things of which only one may be, newest first. Raises Halt("store_corrupt")."""
        try:
            kept = [Evidence.decode(content) for _, content in self._node.reader.scan(*keys.EVIDENCE, reverse=True)]
        except RemoteError as error:
            raise Halt("store_corrupt", f"evidence in the store cannot be read: {error}") from error
        return [{"account": account_id(each.key).hex(), **each.to_json()} for each in kept]

    def peers(self) -> list[dict[str, Any]]:
        """Who is connected."""
        roster = self._node.books.sealers
        return [
            {
                "account": peer.account.hex(),
                "key": peer.key.hex(),
                "member": self._node.peers.is_member(peer.key),
                "on_roster": peer.key in roster,
                "dialled": peer.dialled,
                "pulse": None if peer.status is None else peer.status.pulse,
            }
            for peer in self._node.peers.connected.values()
        ]

    def roster(self) -> dict[str, Any]:
        """Who may seal the next header, chief first, and who else holds pages and bodies."""
        group = self._node.group
        willing = [
            {"key": each.key.hex(), "address": each.address, "silent": bool(each.silent)}
            for each in group.state.willing
        ]
        return {
            "term": self._node.term,
            "roster": [{"key": key.hex(), "account": account_id(key).hex()} for key in self._node.books.sealers],
            "willing": willing,
        }
