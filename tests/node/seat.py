"""A node on a store in memory, with a clock and randomness that are given: what a test asks of it in one line."""

from __future__ import annotations

from random import Random
from typing import Any

from leither_lite.board import Board
from leither_lite.effects import Effects
from leither_lite.errors import LocalError
from leither_lite.header import Checkpoint
from leither_lite.identity import Key
from leither_lite.ledger.joins import Application
from leither_lite.ledger.operations import Operation
from leither_lite.node import events as ev
from leither_lite.node.turn import Node
from leither_lite.node.view import View
from leither_lite.node.wallet import Keyring
from leither_lite.store.reader import MemoryStore
from tests.ledger.founding import FOUNDER, NETWORK, ORGANIZATION, founded_store, key_of

PULSE_MS = 1_000


class Seat:
    """The world of one node. `ask` is one event in a turn of its own; `tick` ends pulse cycles."""

    def __init__(
        self, *, board: Board | None = None, node_key: Key = FOUNDER, seed: int = 0, **parameters: int
    ) -> None:
        self.store: MemoryStore = founded_store(**parameters)
        self.board = Board() if board is None else board
        self.keyring = Keyring(node_key, ORGANIZATION)
        self.random = Random(seed)
        self.now_ms = 0
        self.place = b"here"
        self.effects = Effects()
        self.start()

    def start(self, *, restored: bool = False) -> None:
        """A new node on the store."""
        self.node = Node(
            self.store,
            self.keyring,
            self.board,
            self.random.randbytes,
            self.now_ms,
            place=self.place,
            restored=restored,
        )
        self.view = View(self.node)

    def turn(self, *events: ev.Event, after_ms: int = 0) -> Effects:
        """One turn, performed."""
        self.now_ms += after_ms
        self.effects = self.node.turn(events, self.now_ms)
        self.store.write(self.effects.writes)
        self.node.performed()
        return self.effects

    def ask(self, event: ev.Event) -> dict[str, Any]:
        """The answer to an event. Raises its LocalError."""
        [reply] = self.turn(event).replies
        if isinstance(reply.value, LocalError):
            raise reply.value
        return reply.value

    def tick(self, count: int = 1) -> None:
        """That many pulse cycles, a turn at the end of each."""
        for _ in range(count):
            self.turn(after_ms=PULSE_MS)

    # -- what tests ask most ---------------------------------------------------------------------------------------

    def open(self, amount: int = 0) -> bytes:
        """A further account with some money in it, sealed."""
        account = bytes.fromhex(self.ask(ev.OpenAccount(0, ""))["account"])
        if amount:
            self.ask(ev.Distribute(0, account, amount, "for a test", None))
        self.tick()
        return account

    def invoice(self, account: bytes, amount: int, ticks: int = 0) -> str:
        """The text of an invoice."""
        text = self.ask(ev.CreateInvoice(0, account, amount, "tea", ticks))["invoice"]
        if type(text) is not str:
            raise TypeError("an invoice is a text")
        return text

    def pay(self, account: bytes, invoice: str, amount: int | None = None, key: str | None = None) -> dict[str, Any]:
        """Pay an invoice."""
        return self.ask(ev.PayInvoice(0, account, invoice, amount, key))

    def receive(self, operation: Operation) -> dict[str, Any]:
        """An operation from a peer."""
        return self.ask(ev.OperationReceived(0, operation, operation.encode()))

    def apply(self, applicant: Key, invite: str | None = None) -> dict[str, Any]:
        """An application."""
        application = Application.make(NETWORK, applicant, "please")
        return self.ask(ev.Apply(0, application.content, application.signature, invite))

    def balance(self, account: bytes) -> int:
        """The balance of an account as of the newest sealed pulse."""
        balance = self.view.account(account)["balance"]
        if type(balance) is not int:
            raise TypeError("a balance is a number")
        return balance

    def checkpoint(self) -> Checkpoint:
        """The organization's word on where the chain stands."""
        group = self.node.group
        return Checkpoint.sign(ORGANIZATION, NETWORK, group.header.pulse, group.digest, group.roster)


def refusal(seat: Seat, event: ev.Event) -> str:
    """The code with which an event is refused; nothing may have been written for it."""
    [reply] = seat.turn(event).replies
    if not isinstance(reply.value, LocalError):
        return "ok"
    return reply.value.code


def grown() -> Seat:
    """A small store with a value of every kind."""
    seat = Seat()
    account = seat.open(500)
    seat.open()
    seat.apply(key_of(50))
    seat.apply(key_of(51), seat.ask(ev.CreateInvite(0, 1, 50))["invite"])
    invoice = seat.invoice(FOUNDER.account, 5)
    seat.pay(account, invoice)
    seat.pay(account, seat.invoice(FOUNDER.account, 0), 6, "a key")
    seat.tick()
    seat.ask(ev.TakeCheckpoint(0, seat.checkpoint()))
    seat.pay(account, seat.invoice(FOUNDER.account, 7))
    return seat
