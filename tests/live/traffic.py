"""A load on a network whose nodes die, and what all of them must hold after it.

`Traffic` remembers every payment that was asked for, of which node, and what became of it. A payer that gets no answer
asks again when its node is back, with the same invoice: that must be the same transfer.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from tests.live.harness import SUPPLY, NodeProcess, Unanswered, balances, transfers
from tests.live.network import Network, invoice

AMOUNT_MAX: Final = 50
AT_ONCE: Final = 8
"""A payer waits for the seal of every so many payments, so that the load is what the network takes."""
# What a client may be told while a node goes down, comes up or catches up; it asks again later.
LATER: Final = frozenset({"stopping", "busy", "body_full", "awaiting_checkpoint"})


@dataclass(slots=True, eq=False)
class Asked:
    """One invoice, paid until there is an answer; `name` is the transfer's id at the payer's once there is one."""

    payer: int
    payee: int
    amount: int
    invoice: str
    name: str = ""
    again: bool = False
    """True if the first answer never came."""


class Traffic:
    """What was asked of every node and acknowledged, by a test that believes nothing else."""

    def __init__(self, network: Network, seed: int) -> None:
        self._network = network
        self._start = balances(network.nodes[0])
        self._before = [len(transfers(node)) for node in network.nodes]
        self._draws = [random.Random(f"{seed} {number}") for number in range(len(network.nodes))]
        self._open: list[list[Asked]] = [[] for _ in network.nodes]
        self._lock = threading.Lock()
        self._enough = threading.Event()
        self._threads: dict[int, threading.Thread] = {}
        self._failed: list[BaseException] = []
        self.paid: list[Asked] = []

    @property
    def answers(self) -> int:
        """How many payments were acknowledged."""
        return len(self.paid)

    @property
    def repeated(self) -> int:
        """How many of them had to be asked for again."""
        return sum(asked.again for asked in self.paid)

    def begin(self, *payers: int) -> None:
        """Have nodes (all that run, by default) pay one another, each until it goes or `end` is called."""
        self._enough.clear()
        for payer in payers or self._network.alive():
            thread = self._threads[payer] = threading.Thread(target=self._run, args=(payer,), daemon=True)
            thread.start()

    def end(self, *payers: int) -> None:
        """Wait for the threads of payers whose nodes have gone; without names, stop all."""
        if not payers:
            self._enough.set()
        for payer in payers or list(self._threads):
            self._threads.pop(payer).join()
        if self._failed:
            raise self._failed[0]

    def _run(self, payer: int) -> None:
        try:
            self._pay_on(payer)
        except Unanswered:
            return
        except BaseException as error:
            self._failed.append(error)
            raise

    def _pay_on(self, payer: int) -> None:
        node = self._network.nodes[payer]
        self._settle(payer)
        number = 0
        while not self._enough.is_set():
            asked = self._ask(payer)
            if asked is None:
                if not node.lives_on(0.02):
                    return
                continue
            self._open[payer].append(asked)
            self._settle(payer)
            number += 1
            if number % AT_ONCE == 0:
                node.transfer(asked.name)

    def _ask(self, payer: int) -> Asked | None:
        """An invoice of another node that runs; None if there is none just now."""
        draw = self._draws[payer]
        others = [number for number in self._network.alive() if number != payer]
        if not others:
            return None
        payee, amount = draw.choice(others), draw.randrange(1, AMOUNT_MAX)
        try:
            answer = invoice(self._network, payee, amount, f"{draw.getrandbits(64):x}")
        except Unanswered:
            return None
        if answer.code in LATER:
            return None
        assert answer.status == 201, answer
        return Asked(payer, payee, amount, str(answer.value["invoice"]))

    def _settle(self, payer: int) -> None:
        """Ask for what this payer has not been answered yet. Raises Unanswered."""
        waiting = self._open[payer]
        node = self._network.nodes[payer]
        while waiting:
            asked = waiting[-1]
            try:
                answer = node.client.ask("POST", "/v1/transfers", {"invoice": asked.invoice})
            except Unanswered:
                asked.again = True
                raise
            if answer.code in LATER:
                if not node.lives_on(0.05):
                    raise Unanswered(answer.code)
                continue
            assert answer.status in (200, 202), (answer, asked)
            asked.name = str(answer.value["id"])
            with self._lock:
                self.paid.append(asked)
            waiting.pop()

    def settle(self) -> None:
        """Ask all nodes, which must run, for what was not answered."""
        for payer in range(len(self._open)):
            self._settle(payer)

    def check(self, since: int = 0, *, passed: bool = False) -> int:
        """Every acknowledged payment from number `since` on is final, none was made twice, and balances are exact, at
        every node. Needs all nodes. Returns the number of payments acknowledged so far.

        `passed`: a payer may have been away for so long that it has not the pulse that sealed its payment.
        """
        self.settle()
        states = ("credited", "passed") if passed else ("credited",)
        for asked in self.paid[since:]:
            self._check_one(asked, states)
        names = Counter((asked.payer, asked.name) for asked in self.paid)
        assert not [name for name, number in names.items() if number > 1]
        self._network.together()
        expected = self._expected()
        for node in self._network.nodes:
            held = balances(node)
            assert sum(held.values()) == SUPPLY
            assert held == expected, node.folder.name
        return len(self.paid)

    def _check_one(self, asked: Asked, states: tuple[str, ...]) -> None:
        found = self._network.nodes[asked.payer].transfer(asked.name)
        accounts = self._network.accounts
        expected = (accounts[asked.payer], accounts[asked.payee], asked.amount)
        assert (found["payer"], found["payee"], found["amount"]) == expected, found
        assert found["state"] in states, found

    def check_lists(self) -> None:
        """Each node's own list has what it paid, each once, and nothing else of its own; what it was paid, at most
        once."""
        digests: Counter[str] = Counter()
        for number, node in enumerate(self._network.nodes):
            listed = self._new(node, self._before[number])
            paid = [one for one in listed if one["payer"] == self._network.accounts[number]]
            assert Counter(one["id"] for one in paid) == Counter(
                asked.name for asked in self.paid if asked.payer == number
            ), node.folder.name
            assert len({one["digest"] for one in listed}) == len(listed)
            digests.update(one["digest"] for one in paid)
        assert max(digests.values(), default=1) == 1
        assert len(digests) == len(self.paid)

    @staticmethod
    def _new(node: NodeProcess, before: int) -> list[dict[str, Any]]:
        listed = transfers(node)
        return listed[: len(listed) - before]

    def _expected(self) -> dict[str, int]:
        """What each account must hold."""
        held = dict(self._start)
        accounts = self._network.accounts
        for asked in self.paid:
            held[accounts[asked.payer]] -= asked.amount
            held[accounts[asked.payee]] += asked.amount
        return held
