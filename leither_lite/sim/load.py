"""Users of simulated machines: they ask each other for money and pay, and ask again when nobody answers.

Decides who pays whom, how much and when. Never counts a payment as done: the checkers do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from leither_lite.errors import LocalError
from leither_lite.node.events import ChangeRoster, CreateInvoice, PayInvoice
from leither_lite.sim.agenda import Agenda
from leither_lite.sim.founding import Founded
from leither_lite.sim.machine import Machine

OFFER_EVERY_MS: Final = (150, 900)
AMOUNT: Final = (1, 200)
APPOINT_EVERY_MS: Final = (20_000, 120_000)
RETRY_MS: Final = (3_000, 6_000)
PASSING: Final = frozenset({"busy", "body_full"})
"""Refusals after which a user tries again."""


@dataclass(slots=True, eq=False)
class Offer:
    """A payment that somebody wants to make: from the payee's invoice to the payer's answer."""

    payee: tuple[int, bytes]
    payer: tuple[int, bytes]
    amount: int
    invoice: str = ""
    is_offered: bool = False
    answer: str = ""


class Load:
    """All users of a world. `offers` are those whose payer's machine was asked."""

    def __init__(self, agenda: Agenda, random: Random, founded: Founded, machines: list[Machine]) -> None:
        self._agenda = agenda
        self._random = random
        self._machines = machines
        self._accounts = [
            (index, key.account) for index in range(len(founded.nodes)) for key in founded.accounts(index)
        ]
        self._waiting: dict[int, Callable[[dict[str, Any] | LocalError], None]] = {}
        self._token = 0
        self.offers: list[Offer] = []
        self.appointments = 0
        self.is_over = False
        self._nodes = [key.public for key in founded.nodes]
        self._roster_size = len(founded.roster)

    def start(self) -> None:
        """Begin to offer payments."""
        self._agenda.after(self._random.randint(*OFFER_EVERY_MS), self._next)
        self._agenda.after(self._random.randint(*APPOINT_EVERY_MS), self._appoint)

    def _appoint(self) -> None:
        """The supervisor names another roster, of as many: the machines take turns, also as chief."""
        if self.is_over:
            return
        self._agenda.after(self._random.randint(*APPOINT_EVERY_MS), self._appoint)
        machine = self._machines[0]
        if machine.is_up:
            roster = tuple(self._random.sample(self._nodes, self._roster_size))
            machine.put(ChangeRoster(self._ask(self._appointed), roster, force=True))

    def _appointed(self, value: dict[str, Any] | LocalError) -> None:
        if isinstance(value, dict):
            self.appointments += 1

    def _next(self) -> None:
        if not self.is_over:
            self.offer()
            self._agenda.after(self._random.randint(*OFFER_EVERY_MS), self._next)

    def offer(self) -> None:
        """Somebody asks somebody for money."""
        payee, payer = self._random.sample(self._accounts, 2)
        offer = Offer(payee, payer, self._random.randint(*AMOUNT))
        machine = self._machines[payee[0]]
        if machine.is_up:
            token = self._ask(partial(self._invoiced, offer))
            machine.put(CreateInvoice(token, payee[1], offer.amount, "", 0))

    def told(self, token: int, value: dict[str, Any] | LocalError) -> None:
        """A machine answers."""
        answered = self._waiting.pop(token, None)
        if answered is not None:
            answered(value)

    def _ask(self, answered: Callable[[dict[str, Any] | LocalError], None]) -> int:
        self._token += 1
        self._waiting[self._token] = answered
        return self._token

    def _invoiced(self, offer: Offer, value: dict[str, Any] | LocalError) -> None:
        if isinstance(value, dict):
            offer.invoice = str(value["invoice"])
            self._pay(offer)

    def _pay(self, offer: Offer) -> None:
        if offer.answer:
            return
        machine = self._machines[offer.payer[0]]
        if machine.is_up:
            if not offer.is_offered:
                offer.is_offered = True
                self.offers.append(offer)
            token = self._ask(partial(self._paid, offer))
            machine.put(PayInvoice(token, offer.payer[1], offer.invoice, None, None))
        self._agenda.after(self._random.randint(*RETRY_MS), partial(self._pay, offer))

    def _paid(self, offer: Offer, value: dict[str, Any] | LocalError) -> None:
        if isinstance(value, LocalError):
            offer.answer = "" if value.code in PASSING else value.code
        else:
            offer.answer = "taken"
