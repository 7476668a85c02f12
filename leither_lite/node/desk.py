"""What the node's owner asks for: invoices, payments, distributions, accounts, joins (docs/api.md).

Decides what this node signs for its owner, and refuses early, with a reason, what the ledger would refuse anyway.
Never changes the ledger but through an operation that the books accept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from leither_lite.board import Board
from leither_lite.effects import Effects
from leither_lite.errors import LocalError, RemoteError
from leither_lite.identity import Key, account_id
from leither_lite.ledger.committee import Appointment
from leither_lite.ledger.joins import Admission, Application, Invite, InvitedJoin, RoleChange
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.payments import Distribution, Invoice, Payment
from leither_lite.ledger.records import Role
from leither_lite.ledger.signed import Status
from leither_lite.ledger.texts import SecretInvite, SignedInvoice
from leither_lite.limits import (
    INVITE_TICKS_MAX,
    KEY_BYTES,
    MEMO_BYTES_MAX,
    QUORUM,
    REASON_BYTES_MAX,
    SEED_BYTES,
    SUPPLY_MAX,
)
from leither_lite.node import events as ev
from leither_lite.node.applications import Applications
from leither_lite.node.books import Books
from leither_lite.node.refusals import local_error
from leither_lite.node.wallet import Wallet, asked_digest, request_digest
from leither_lite.store.reader import Reader

INVOICE_TICKS_MAX: Final = 2**40
TRIES_AN_ACCOUNT: Final = 16
"""So many derived keys for each account that a board keeps: in one group of many, most belong into others."""


class Desk:
    """Serves one kind of event a method; `tick` is set by the node before each turn."""

    def __init__(
        self, reader: Reader, board: Board, books: Books, wallet: Wallet, entropy: Callable[[int], bytes]
    ) -> None:
        self._reader = reader
        self._board = board
        self._books = books
        self._wallet = wallet
        self._entropy = entropy
        self._network = books.group.network
        self.tick = 0
        self.awaits_checkpoint = False
        self.applications = Applications(reader, board, lambda account: account in books.group.entries)
        self.is_near: Callable[[bytes], bool] = lambda key: False
        self.known_keys: Callable[[], list[bytes]] = lambda: [wallet.node_key.public]
        self.tell_application: Callable[[Effects, Application], None] = lambda effects, application: None

    def _may_write(self) -> None:
        if self.awaits_checkpoint and self._books.seals_alone:
            raise LocalError("awaiting_checkpoint", "this restored node keeps no books before the next checkpoint")
        if not self._books.is_member:
            raise LocalError("not_a_member", "this node has no account in the organization yet")

    def _not_expired(self, operation: Operation) -> None:
        """Refuse by our own count what the ledger will let pass: its date is its predecessor's tick, which stands
        still while nothing is sealed. Raises LocalError("expired")."""
        until = 0
        if isinstance(operation, Payment):
            until = operation.invoice.valid_until
        elif isinstance(operation, InvitedJoin):
            until = operation.invite.valid_until
        if until and self.tick > until:
            raise LocalError(Status.EXPIRED.value, f"it was valid until tick {until}")

    def _accept(self, operation: Operation, asked: bytes = b"", request: bytes = b"") -> dict[str, Any]:
        self._may_write()
        self._not_expired(operation)
        return self._books.accept(operation, operation.encode(), asked, request)

    def _repeated(self, number: int) -> dict[str, Any] | None:
        transfer = self._wallet.transfer(number)
        if transfer is None:
            return None
        return {"id": transfer.name(number), "state": transfer.state, "repeated": True}

    def take_operation(self, event: ev.OperationReceived, _: Effects) -> dict[str, Any]:
        """Execute an operation with good signatures. Raises LocalError with the ledger's status as its code."""
        self._may_write()
        self._not_expired(event.operation)
        return self._books.accept(event.operation, event.content)

    # -- payments ------------------------------------------------------------------------------------------------

    def create_invoice(self, event: ev.CreateInvoice, _: Effects) -> dict[str, Any]:
        """An invoice of one of our accounts, as a text."""
        key = self._wallet.key(event.account)
        check_amount(event.amount, 0)
        check_text(event.memo, MEMO_BYTES_MAX, "bad_memo")
        check_number(event.ticks, 0, INVOICE_TICKS_MAX, "bad_ticks")
        number = int.from_bytes(self._entropy(7), "big") >> 3  # 53 bits: exact in any JSON
        valid_until = self.tick + event.ticks if event.ticks else 0
        invoice = Invoice(key.public, event.amount, number, valid_until, event.memo)
        text = SignedInvoice.sign(self._network, key, invoice).encode()
        return {"number": number, "invoice": text, "valid_until": valid_until, "account": key.account.hex()}

    def pay(self, event: ev.PayInvoice, effects: Effects) -> dict[str, Any]:
        """Pay an invoice from one of our accounts; asked again, answer with the first payment."""
        payer = self._wallet.key(event.account)
        signed = SignedInvoice.decode(event.invoice)
        if signed.network != self._network:
            raise LocalError(Status.OTHER_NETWORK.value, "the invoice is of another organization")
        invoice = signed.invoice
        amount = invoice.amount if event.amount is None else event.amount
        if event.amount is not None:
            check_amount(event.amount, 1)
        asked = asked_digest(payer.account, event.idempotency_key)
        request = request_digest(signed.digest, amount) if asked else b""
        before = self._wallet.asked_before(asked, request) if asked else None
        if before is None and invoice.amount:
            before = self._wallet.payment_of(payer.account, signed.digest)
        if before is not None:
            answer = self._repeated(before)
            if answer is not None:
                return answer
        if not amount:
            raise LocalError("amount_required", "the invoice leaves the amount to the payer: give one")
        if not signed.is_signed():
            raise LocalError(Status.BAD_SIGNATURE.value, "the payee has not signed this invoice")
        sent = self._sent(payer)
        payment = Payment.make(self._network, payer, signed.content, signed.signature, amount, sent)
        return self._accept(payment, asked, request)

    def distribute(self, event: ev.Distribute, effects: Effects) -> dict[str, Any]:
        """Pay from the organization's account."""
        key = self._wallet.organization_key
        if key is None:
            raise LocalError("organization_key_absent", "the organization's key is not on this node")
        check_amount(event.amount, 1)
        check_text(event.reason, REASON_BYTES_MAX, "bad_reason")
        if not event.reason:
            raise LocalError("bad_reason", "a distribution is announced with its reason: give one")
        asked = asked_digest(key.account, event.idempotency_key)
        request = request_digest(event.payee, event.amount, event.reason) if asked else b""
        before = self._wallet.asked_before(asked, request) if asked else None
        answer = None if before is None else self._repeated(before)
        if answer is not None:
            return answer
        distribution = Distribution.make(self._network, key, self._sent(key), event.payee, event.amount, event.reason)
        return self._accept(distribution, asked, request)

    def _sent(self, key: Key) -> int:
        entry = self._books.group.entries.get(key.account)
        return 0 if entry is None else entry.record.sent

    def _is_supervisor(self) -> bool:
        entry = self._books.group.entries.get(self._wallet.node_key.account)
        return entry is not None and entry.record.role == Role.SUPERVISOR

    def open_account(self, event: ev.OpenAccount, effects: Effects) -> dict[str, Any]:
        """Make a further account, and admit it as a supervisor: in the own group, whose books are here."""
        self._may_write()
        check_text(event.memo, MEMO_BYTES_MAX, "bad_memo")
        own, most = self._books.group, self._board.accounts_max
        found = self._wallet.next_key(own.holds, most * TRIES_AN_ACCOUNT)
        if found is None or sum(account in own.entries for account in self._wallet.keys) >= most:
            raise LocalError("accounts_full", f"this board keeps at most {most} accounts")
        if not self._is_supervisor():
            raise LocalError(Status.NOT_PERMITTED.value, "only a supervisor's node admits further accounts at once")
        number, key = found
        application = Application.make(self._network, key, event.memo)
        admission = Admission.make(self._network, self._wallet.node_key, application, Role.MEMBER)
        answer = self._accept(admission)
        effects.writes.append(self._wallet.add_account(number, key))
        return {"account": key.account.hex(), "public_key": key.public.hex(), **answer}

    def apply(self, event: ev.Apply, effects: Effects) -> dict[str, Any]:
        """Keep an application for a supervisor, or join at once by an invite."""
        self._may_write()
        try:
            application = Application.from_values(event.application, event.signature)
        except RemoteError as error:
            raise LocalError("bad_application", error.detail or "it cannot be read") from error
        if application.check_signature(self._network) is not Status.OK:
            raise LocalError(Status.BAD_SIGNATURE.value, "the applicant has not signed this application")
        account = application.account
        if event.invite is not None:
            invite = SecretInvite.decode(event.invite)
            if invite.network != self._network:
                raise LocalError(Status.OTHER_NETWORK.value, "the invite is of another organization")
            if invite.invite.check_signature(self._network) is not Status.OK:
                raise LocalError(Status.BAD_SIGNATURE.value, "no supervisor has signed this invite")
            join = InvitedJoin.make(self._network, application, invite.invite, invite.secret)
            answer = self._accept(join)
            self.applications.drop(effects, account)
            return {"account": account.hex(), **answer}
        if account in self._books.group.entries:
            raise local_error(Status.ACCOUNT_EXISTS)
        self.applications.keep(effects, application)
        self.tell_application(effects, application)
        return {"account": account.hex(), "state": "applied"}

    def keep_application(self, application: Application) -> bool:
        """An application that a peer has passed on: a supervisor's node keeps it. True if it is to be passed on."""
        return not self._is_supervisor() or self.applications.hear(application)

    def approve(self, event: ev.ApproveApplication, effects: Effects) -> dict[str, Any]:
        """Admit an applicant, as a supervisor."""
        if not Role.GUEST <= event.role <= Role.SUPERVISOR:
            raise LocalError("bad_role", "an applicant becomes a guest, a member or a supervisor")
        application = self.applications.get(event.applicant)
        if event.applicant in self._books.group.entries:
            self.applications.drop(effects, event.applicant)  # joined in another way
            raise local_error(Status.ACCOUNT_EXISTS)
        admission = Admission.make(self._network, self._wallet.node_key, application, event.role)
        answer = self._accept(admission)
        self.applications.drop(effects, event.applicant)
        return {"account": event.applicant.hex(), **answer}

    def refuse(self, event: ev.RefuseApplication, effects: Effects) -> dict[str, Any]:
        """Forget an application; repeated over the network, it is not heard while this node runs."""
        self.applications.refuse(effects, event.applicant)
        return {"account": event.applicant.hex(), "state": "refused"}

    def create_invite(self, event: ev.CreateInvite, _: Effects) -> dict[str, Any]:
        """A single-use invite, as a text that holds its secret."""
        check_number(event.ticks, 1, INVITE_TICKS_MAX, "bad_ticks")
        if not Role.GUEST <= event.role <= Role.MEMBER:
            raise LocalError("bad_role", "an invite makes a guest or a member")
        if not self._is_supervisor():
            raise LocalError(Status.NOT_PERMITTED.value, "only a supervisor invites")
        seed = self._entropy(SEED_BYTES)
        valid_until = self.tick + event.ticks
        supervisor = self._wallet.node_key
        invite = Invite.make(self._network, supervisor, Key.from_seed(seed).public, event.role, valid_until)
        return {"invite": SecretInvite(self._network, invite, seed).encode(), "valid_until": valid_until}

    def change_role(self, event: ev.ChangeRole, effects: Effects) -> dict[str, Any]:
        """Change an account's role, as a supervisor."""
        if not Role.GUEST <= event.role <= Role.SUPERVISOR:
            raise LocalError("bad_role", "roles to give are guest, member and supervisor")
        number = self._books.body.state.role_changes
        change = RoleChange.make(self._network, self._wallet.node_key, event.account, event.role, number)
        return {"account": event.account.hex(), **self._accept(change)}

    def change_roster(self, event: ev.ChangeRoster, effects: Effects) -> dict[str, Any]:
        """Name the group's next roster, as a supervisor."""
        roster = tuple(self._public_key(each) for each in event.roster)
        for key in self._wallet.keys.values():
            if key.public in roster and key is not self._wallet.node_key:
                told = f"{key.account.hex()} is a further account of this node: no node signs with its key"
                raise LocalError("bad_roster", told)
        if not event.force:
            self._check_near(roster)
        number = self._books.body.state.role_changes
        appointment = Appointment.make(self._network, self._wallet.node_key, roster, number)
        return {"roster": [key.hex() for key in roster], **self._accept(appointment)}

    def _check_near(self, roster: tuple[bytes, ...]) -> None:
        """Refuse a roster that may never seal. Raises LocalError("roster_unreachable")."""
        own, entries = self._wallet.node_key.public, self._books.group.entries
        if len(roster) not in QUORUM or any(account_id(key) not in entries for key in roster):
            return  # the ledger says what is wrong with it
        absent = [key for key in roster if key != own and not self.is_near(key)]
        quorum = QUORUM[len(roster)]
        if len(roster) - len(absent) >= quorum:
            return
        names = ", ".join(account_id(key).hex() for key in absent)
        raise LocalError(
            "roster_unreachable",
            f"{quorum} of these {len(roster)} must be connected here and at the newest pulse; {names} "
            f"{'is' if len(absent) == 1 else 'are'} not. With --force the roster is named all the same: then nothing "
            "may ever be sealed again, and only the organization's checkpoint with another roster (leither-lite "
            "checkpoint --roster) leads out",
        )

    def _public_key(self, named: bytes) -> bytes:
        """A public key, or that of an account whose node has been heard of. Raises LocalError("unknown_node")."""
        if len(named) == KEY_BYTES:
            return named
        for key in self.known_keys():
            if account_id(key) == named:
                return key
        raise LocalError("unknown_node", f"no node with account {named.hex()} has been heard of here: give its key")


def check_number(value: int, low: int, high: int, code: str) -> None:
    if not low <= value <= high:
        raise LocalError(code, f"a whole number from {low} to {high} is expected")


def check_amount(value: int, low: int) -> None:
    if value == 0 and low:
        raise local_error(Status.AMOUNT_ZERO)
    check_number(value, low, SUPPLY_MAX, "bad_amount")


def check_text(value: str, size: int, code: str) -> None:
    try:
        length = len(value.encode())
    except UnicodeEncodeError:
        raise LocalError(code, "text that has no UTF-8") from None
    if length > size:
        raise LocalError(code, f"text of at most {size} bytes is expected")
