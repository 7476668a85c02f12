"""A load on a node that dies again and again, and what the node must hold after it.

`Book` remembers every payment that was asked for, what became of it, and so what each account holds. A client that gets
no answer asks again, with the same invoice: that must be the same transfer.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from tests.live.harness import SUPPLY, NodeProcess, Unanswered, balances, transfers

THREADS: Final = 6
AMOUNT_MAX: Final = 50
# What a client may be told while the node goes down; it asks again later.
LATER: Final = frozenset({"stopping", "busy", "body_full"})


@dataclass(slots=True, eq=False)
class Asked:
    """One invoice, paid until there is an answer; `name` is the transfer's id once there is one."""

    payer: str
    payee: str
    amount: int
    invoice: str
    name: str = ""


@dataclass(slots=True)
class Book:
    """What was asked and acknowledged, by a test that believes nothing else."""

    accounts: list[str]
    start: dict[str, int]
    transfers_before: int
    draw: random.Random
    open: list[Asked] = field(default_factory=list)
    paid: list[Asked] = field(default_factory=list)
    answers: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, node: NodeProcess, accounts: list[str], seed: int) -> Book:
        """The book of a node as it is now."""
        return cls(accounts, balances(node), len(transfers(node)), random.Random(seed))

    def begin(self, node: NodeProcess) -> list[Future[None]]:
        """Load the node from several threads until it goes; the answer's `result` waits for that."""
        pool = ThreadPoolExecutor(THREADS)
        waiting, self.open = self.open, []
        futures = [
            pool.submit(self._load, node, random.Random(self.draw.random()), waiting[number::THREADS])
            for number in range(THREADS)
        ]
        pool.shutdown(wait=False)
        return futures

    def _load(self, node: NodeProcess, draw: random.Random, waiting: list[Asked]) -> None:
        try:
            while waiting:
                self._pay(node, waiting[-1])
                waiting.pop()
            while True:
                waiting.append(self._ask(node, draw))
                self._pay(node, waiting[-1])
                waiting.pop()
        except Unanswered:
            with self._lock:
                self.open += waiting

    def _ask(self, node: NodeProcess, draw: random.Random) -> Asked:
        payer, payee = draw.sample(self.accounts, 2)
        amount = draw.randrange(1, AMOUNT_MAX)
        body = {"amount": amount, "memo": f"{draw.getrandbits(64):x}", "ticks": 0, "account": payee}
        answer = node.client.ask("POST", "/v1/invoices", body)
        if answer.code in LATER:
            raise Unanswered(answer.code)
        assert answer.status == 201, answer
        return Asked(payer, payee, amount, str(answer.value["invoice"]))

    def _pay(self, node: NodeProcess, asked: Asked) -> None:
        answer = node.client.ask("POST", "/v1/transfers", {"invoice": asked.invoice, "account": asked.payer})
        if answer.code in LATER:
            raise Unanswered(answer.code)
        assert answer.status in (200, 202), answer
        asked.name = str(answer.value["id"])
        with self._lock:
            self.paid.append(asked)
            self.answers += 1

    def settle(self, node: NodeProcess) -> None:
        """Ask again for what was not answered, until nothing is left."""
        while self.open:
            self._pay(node, self.open[-1])
            self.open.pop()

    def check(self, node: NodeProcess, since: int) -> int:
        """Every acknowledged payment from number `since` on is final, nothing was paid twice, balances are exact.

        Needs all that was asked to be settled. Returns the number of payments acknowledged so far.
        """
        assert not self.open
        for asked in self.paid[since:]:
            found = node.transfer(asked.name)
            assert (found["state"], found["payer"], found["payee"], found["amount"]) == (
                "credited",
                asked.payer,
                asked.payee,
                asked.amount,
            )
        assert len({asked.name for asked in self.paid}) == len(self.paid)
        held = balances(node)
        assert sum(held.values()) == SUPPLY
        assert held == self.expected()
        return len(self.paid)

    def check_all(self, node: NodeProcess) -> None:
        """The node's own list has what was acknowledged, each once, and nothing else."""
        listed = transfers(node)
        ours = listed[: len(listed) - self.transfers_before]
        assert Counter(one["id"] for one in ours) == Counter(asked.name for asked in self.paid)
        assert len({one["digest"] for one in listed}) == len(listed)

    def expected(self) -> dict[str, int]:
        """What each account must hold."""
        held = dict(self.start)
        for asked in self.paid:
            held[asked.payer] -= asked.amount
            held[asked.payee] += asked.amount
        return held
