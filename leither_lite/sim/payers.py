"""Users of a world of several groups: they ask each other for money and pay, and ask again when nobody answers.

Now and then somebody pays an account that is not there: that must come back. Decides who pays whom, how much and when;
never counts a payment as done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from leither_lite.effects import Reply
from leither_lite.errors import LocalError
from leither_lite.ledger.payments import Invoice
from leither_lite.ledger.texts import SignedInvoice
from leither_lite.node.events import CreateInvoice, PayInvoice
from leither_lite.sim.agenda import Agenda
from leither_lite.sim.founding import key_of
from leither_lite.sim.machine import Machine

OFFER_EVERY_MS: Final = (200, 600)
NODES_PER_OFFER: Final = 500
"""For each so many machines, payments are offered once more as often."""
AMOUNT: Final = (1, 200)
RETRY_MS: Final = (3_000, 6_000)
STRANGERS_PER_10_000: Final = 600
PASSING: Final = frozenset({"busy", "body_full", "pending_full", "too_early", "not_a_member"})
"""Refusals after which a user tries again."""


@dataclass(slots=True, eq=False)
class Payment:
    """A payment that somebody wants to make: from the payee's invoice to the payer's answer, and the id that its
    transfer has there. `payee` is a machine's number, or none: nobody has that account."""

    payer: int
    payee: int | None
    amount: int
    invoice: str = ""
    answer: str = ""
    name: str = ""


class Payers:
    """All users. `payments` are those whose payer was asked."""

    def __init__(self, agenda: Agenda, random: Random, network: bytes, machines: Sequence[Machine]) -> None:
        self._agenda = agenda
        self._random = random
        self._network = network
        self._machines = machines
        self._waiting: dict[int, Callable[[dict[str, Any] | LocalError], None]] = {}
        self._token = 0
        self.payments: list[Payment] = []
        self.is_over = False

    @property
    def unanswered(self) -> int:
        """How many payments have neither been taken nor refused."""
        return sum(not payment.answer for payment in self.payments)

    def told(self, reply: Reply) -> None:
        """A machine answers."""
        answered = self._waiting.pop(reply.token, None)
        if answered is not None:
            answered(reply.value)

    def _ask(self, answered: Callable[[dict[str, Any] | LocalError], None]) -> int:
        self._token += 1
        self._waiting[self._token] = answered
        return self._token

    def next(self) -> None:
        """Somebody asks somebody for money, and so it goes on until it is over."""
        if self.is_over:
            return
        random, count = self._random, len(self._machines)
        self._agenda.after(random.randint(*OFFER_EVERY_MS) // (1 + count // NODES_PER_OFFER), self.next)
        payee, payer = random.sample(range(count), 2)
        payment = Payment(payer, payee, random.randint(*AMOUNT))
        if random.randrange(10_000) < STRANGERS_PER_10_000:
            payment.payee = None
            self._invoiced(payment, {"invoice": self._strange_invoice(payment.amount)})
        elif self._machines[payee].is_up:
            token = self._ask(partial(self._invoiced, payment))
            self._machines[payee].put(CreateInvoice(token, None, payment.amount, "", 0))

    def _strange_invoice(self, amount: int) -> str:
        number = len(self.payments)
        key = key_of(f"stranger {number}")
        return SignedInvoice.sign(self._network, key, Invoice(key.public, amount, number, 0, "")).encode()

    def _invoiced(self, payment: Payment, value: dict[str, Any] | LocalError) -> None:
        if isinstance(value, dict):
            payment.invoice = str(value["invoice"])
            self.payments.append(payment)
            self._pay(payment)

    def _pay(self, payment: Payment) -> None:
        if payment.answer:
            return
        machine = self._machines[payment.payer]
        if machine.is_up:
            token = self._ask(partial(self._paid, payment))
            machine.put(PayInvoice(token, None, payment.invoice, None, None))
        self._agenda.after(self._random.randint(*RETRY_MS), partial(self._pay, payment))

    def _paid(self, payment: Payment, value: dict[str, Any] | LocalError) -> None:
        if isinstance(value, LocalError):
            payment.answer = "" if value.code in PASSING else value.code
        else:
            payment.answer, payment.name = "taken", str(value["id"])
