"""Payments between random nodes at a steady pace, and how long each took on both sides, as their nodes tell it.

A client that is told to come back later, or is not answered, asks again with the same invoice; that is counted.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from tests.live.groups import BUSY, Grove
from tests.live.harness import Answer, NodeProcess, Unanswered, transfers

AMOUNT_MAX: Final = 50
THREADS: Final = 6
AGAIN_S: Final = 0.2
AGAIN_MAX: Final = 600

Mark = tuple[str, int]
"""A payer's account and its count of payments: what names a transfer on both sides."""


class Listener:
    """Hears a node's events: when each transfer was first told of in each state, by the test's own clock."""

    def __init__(self, node: NodeProcess) -> None:
        self.seen_s: dict[tuple[Mark, str], float] = {}
        self.ended = False
        self._connection = http.client.HTTPConnection(*node.address)
        token = (node.folder / "api-token").read_text().strip()
        self._connection.request("GET", "/v1/events", headers={"Authorization": f"Bearer {token}"})
        self._response = self._connection.getresponse()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        kind = ""
        try:
            for line in self._response:
                name, _, told = line.decode().strip().partition(": ")
                if name == "event":
                    kind = told
                elif name == "data" and kind == "transfer":
                    one = json.loads(told)
                    mark = (str(one["payer"]), int(one["sent"]))
                    self.seen_s.setdefault((mark, str(one["state"])), time.monotonic())
        except (OSError, http.client.HTTPException):
            pass
        self.ended = True


@dataclass(slots=True, eq=False)
class Paid:
    """One payment: what it is counted under, why it was asked for again and how often, its id at the payer's node and
    when that was told, and the transfer as both nodes show it in the end."""

    payer: int
    payee: int
    amount: int
    part: str
    again: Counter[str] = field(default_factory=Counter)
    name: str = ""
    accepted_s: float = 0.0
    paid: dict[str, Any] = field(default_factory=dict)
    got: dict[str, Any] = field(default_factory=dict)

    @property
    def mark(self) -> Mark:
        """What names it on both sides."""
        return self.paid["payer"], self.paid["sent"]

    @property
    def goes_far(self) -> bool:
        """True if it went from one group to another."""
        return bool(self.got) and self.paid["digest"] != self.got["digest"]


class Payments:
    """A stream of payments among the nodes that have joined it."""

    def __init__(self, network: Grove, seed: str, every_s: float) -> None:
        self._network = network
        self._draw = random.Random(seed)
        self._every_s = every_s
        self._members: list[int] = []
        self._listeners: dict[int, Listener] = {}
        self._pool = ThreadPoolExecutor(THREADS)
        self._futures: list[Future[None]] = []
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.part = ""
        """What the payments from now on are counted under."""
        self.all: list[Paid] = []

    def join(self, *numbers: int) -> None:
        """Nodes that pay and are paid from now on."""
        for number in numbers:
            self._listeners[number] = Listener(self._network.nodes[number])
        self._members = [*self._members, *numbers]

    def begin(self, part: str) -> None:
        """Start."""
        self.part = part
        self._thread.start()

    def end(self) -> None:
        """Ask for no more; whatever a client has failed with is raised."""
        self._enough.set()
        self._thread.join()
        self._pool.shutdown()
        for future in self._futures:
            future.result()

    def _run(self) -> None:
        while not self._enough.wait(self._every_s):
            payer, payee = self._draw.sample(self._members, 2)
            one = Paid(payer, payee, self._draw.randrange(1, AMOUNT_MAX), self.part)
            self.all.append(one)
            self._futures.append(self._pool.submit(self._pay, one, f"{len(self.all)}"))

    def _pay(self, one: Paid, memo: str) -> None:
        nodes = self._network.nodes
        body = {"amount": one.amount, "memo": memo, "ticks": 0}
        invoice = self._ask(one, nodes[one.payee], "/v1/invoices", body).value["invoice"]
        answer = self._ask(one, nodes[one.payer], "/v1/transfers", {"invoice": invoice})
        one.accepted_s = time.monotonic()
        one.name = str(answer.value["id"])

    @staticmethod
    def _ask(one: Paid, node: NodeProcess, path: str, body: dict[str, Any]) -> Answer:
        for _ in range(AGAIN_MAX):
            try:
                answer = node.client.ask("POST", path, body)
            except Unanswered:
                one.again["unanswered"] += 1  # such as by a connection that was idle for a minute
            else:
                if answer.status in (200, 201, 202):
                    return answer
                assert answer.code in BUSY, (path, answer)
                one.again[answer.code] += 1
            assert node.lives_on(AGAIN_S)
        raise AssertionError(f"{path} at {node.folder.name} stays {dict(one.again)}")

    # -- what became of them ---------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Wait until every payment is credited on both sides, as both nodes tell it."""
        for one in self.all:
            self._network.wait(partial(self._is_known, one), f"the end of {one}")
        listed = {number: self._listed(number) for number in self._members}
        for one in self.all:
            assert one.paid["state"] == "credited", (one, self._network.told())
            one.got = listed[one.payee][one.mark]
            assert one.got["state"] == "credited", one
            assert one.got["amount"] == one.paid["amount"] == one.amount, one

    def _is_known(self, one: Paid) -> bool:
        one.paid = self._network.nodes[one.payer].client.get(f"/v1/transfers/{one.name}")
        return one.paid["state"] not in ("pending", "debited")

    def _listed(self, number: int) -> dict[Mark, dict[str, Any]]:
        account = self._network.accounts[number]
        listed = [one for one in transfers(self._network.nodes[number]) if one["payee"] == account]
        found = {(str(one["payer"]), int(one["sent"])): one for one in listed}
        assert len(found) == len(listed), "one is listed twice"
        return found

    def expected(self, start: int) -> dict[str, int]:
        """What each node's account must hold, if it had `start` at first."""
        accounts = self._network.accounts
        held = {accounts[number]: start for number in self._members}
        for one in self.all:
            held[accounts[one.payer]] -= one.amount
            held[accounts[one.payee]] += one.amount
        return held

    def report(self, pulse_ms: int) -> None:
        """Print the figures."""
        for part in dict.fromkeys(one.part for one in self.all):
            ours = [one for one in self.all if one.part == part]
            again = sum((one.again for one in ours), Counter[str]())
            print(f"{part}: {len(ours)} payments, {sum(bool(one.again) for one in ours)} asked for again {dict(again)}")
            for far in (False, True):
                self._report([one for one in ours if one.goes_far == far], far, pulse_ms)
        ended = [number for number, listener in self._listeners.items() if listener.ended]
        print(f"event streams that ended: {ended}")

    def _report(self, ours: Sequence[Paid], far: bool, pulse_ms: int) -> None:
        if not ours:
            return
        print(f"  {len(ours)} {'between groups' if far else 'in a group'}")
        ticks = pulse_ms / 1_000
        debited = [self._seen(one.payer, one, "debited", "credited") for one in ours]
        credited = [self._seen(one.payee, one, "credited") for one in ours]
        known = [self._seen(one.payer, one, "credited") for one in ours]
        accepted = [one.accepted_s for one in ours]
        told("ticks from acceptance to the payer's side final", between(accepted, debited, ticks))
        told("ticks from acceptance to the payee's side final", between(accepted, credited, ticks))
        told("ticks from acceptance to both known at the payer", between(accepted, known, ticks))
        told("ticks from the debit to the credit", between(debited, credited, ticks))
        told("pulses from the debit to the credit", [one.got["pulse"] - one.paid["pulse"] for one in ours])

    def _seen(self, number: int, one: Paid, *states: str) -> float | None:
        seen_s = self._listeners[number].seen_s
        return min((seen_s[one.mark, state] for state in states if (one.mark, state) in seen_s), default=None)


def between(first: Iterable[float | None], last: Iterable[float | None], unit_s: float) -> list[float]:
    """Differences, without those of which no event has told."""
    pairs = zip(first, last, strict=True)
    return [(end - begin) / unit_s for begin, end in pairs if begin is not None and end is not None]


def told(what: str, figures: Sequence[float]) -> None:
    """Print how figures are spread."""
    if figures:
        found = sorted(figures)
        median, most = found[len(found) // 2], found[-(-len(found) * 99 // 100) - 1]
        print(f"    {what}: median {median:.2f}, 99 % {most:.2f}, longest {found[-1]:.2f} ({len(found)})")
