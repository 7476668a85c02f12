"""A world of many node groups: machines, links that are dialled as they are wanted, users, faults; and what must hold.

Runs the node as it is, in an organization whose groups are small, so that it splits by itself while payments go on.
First faults, then everything is healed, and all that was paid must have arrived, once. The same plan leads to the same
events, in any process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Final

from leither_lite.address import split_address
from leither_lite.effects import Effects, Reply
from leither_lite.errors import LocalError
from leither_lite.node.events import CreateInvoice, PayInvoice
from leither_lite.node.transfers import CREDITED, DEBITED, RECLAIMED, REFUNDED
from leither_lite.sim.agenda import Agenda
from leither_lite.sim.disk import Disk
from leither_lite.sim.faults import Faults
from leither_lite.sim.founding import GIVEN, SUPPLY, found
from leither_lite.sim.groves import Groves
from leither_lite.sim.machine import Machine
from leither_lite.sim.network import Hub
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys

NODES_MAX: Final = 200
ROSTER: Final = 4
TERM_TICKS: Final = 10
SETTLED_MS: Final = 25_000
"""Payments begin after so long: by then the organization has split for the first time."""
OFFER_EVERY_MS: Final = (200, 600)
AMOUNT: Final = (1, 200)
RETRY_MS: Final = (3_000, 6_000)
LOOK_MS: Final = 500
HEALED_MS: Final = 400_000
PASSING: Final = frozenset({"busy", "body_full", "pending_full", "too_early", "not_a_member"})


@dataclass(frozen=True, slots=True)
class ForestPlan:
    """What such a world is made of. `group_max` is the charter's; `seconds` of virtual time until all is healed."""

    seed: int
    nodes: int = 14
    group_max: int = 8
    seconds: int = 90
    faults: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises LocalError("usage")."""
        if not ROSTER <= self.nodes <= NODES_MAX:
            raise LocalError("usage", f"a world of several groups has {ROSTER} to {NODES_MAX} nodes")


@dataclass(slots=True, eq=False)
class Payment:
    """A payment that somebody wants to make: from the payee's invoice to what became of it."""

    payer: int
    payee: int
    amount: int
    invoice: str = ""
    answer: str = ""


class Forest:
    """One simulated world of several groups. `run` it once."""

    def __init__(self, plan: ForestPlan) -> None:
        self.plan = plan
        self.agenda = Agenda()
        self.founded = founded = found(
            plan.nodes, ROSTER, accounts=1, group_max=plan.group_max, term_ticks=TERM_TICKS, roster_max=ROSTER
        )
        self.faults = Faults(plan.faults, self._random("faults"))
        self.groves = Groves(founded.network, SUPPLY)
        self._load = self._random("load")
        self.payments: list[Payment] = []
        self.is_over = False
        self._waiting: dict[int, Callable[[dict[str, Any] | LocalError], None]] = {}
        self._token = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self.states: dict[tuple[bytes, int], str] = {}
        self.arrived: dict[tuple[bytes, int], int] = {}
        self.machines = [self._machine(index) for index in range(plan.nodes)]
        self.hub = Hub(self.agenda, self.faults, list(self.machines), self._random("network"), ())
        for machine in self.machines:
            machine.hub = self.hub
            machine.start()
            self.agenda.after(LOOK_MS + machine.index, partial(self._dial, machine))
        self.agenda.after(SETTLED_MS, self._next)

    def _random(self, name: str) -> Random:
        return Random(f"{self.plan.seed} {name}")

    def _machine(self, index: int) -> Machine:
        founded = self.founded
        disk = Disk([*founded.writes, (keys.PLACE, b"\0%d" % index)])
        organization = None if index else founded.organization
        random = self._random(f"machine {index}")
        return Machine(index, founded.nodes[index], organization, disk, self.agenda, self.faults, random, self)

    def _dial(self, machine: Machine) -> None:
        """A machine dials whom its node wants."""
        self.agenda.after(LOOK_MS, partial(self._dial, machine))
        for address in machine.node.addresses.more() if machine.node is not None else ():
            parts = split_address(address)
            if parts is not None:
                self.hub.dial(machine.index, int(parts[0].rpartition("-")[2]))

    # -- what machines tell ----------------------------------------------------------------------------------------

    def performed(self, machine: Machine, effects: Effects) -> None:
        """A turn of a machine is durable."""
        update = self._hash.update
        update(b"%d %d %d %d\n" % (self.agenda.now_ms, machine.index, len(effects.writes), len(effects.sends)))
        for key, value in effects.writes:
            update(key)
            update(b"-" if value is None else value)
        self.groves.performed(effects.writes, f"machine {machine.index}")
        own = self.founded.nodes[machine.index].account.hex()
        for note in effects.notes:
            if note.kind == "transfer":
                self._note(own, note.value)

    def _note(self, own: str, told: dict[str, Any]) -> None:
        """What a node tells its owner: a transfer that has come to rest stays as it is."""
        key = bytes.fromhex(str(told["payer"])), int(told["sent"])
        state = str(told["state"])
        if own == told["payer"]:
            before = self.states.get(key, "")
            if before in (CREDITED, REFUNDED, RECLAIMED) and state not in (before, DEBITED):
                self.groves.violate("changed", f"payment {key[1]} of {key[0][:4].hex()} was {before}, is {state}")
            self.states[key] = before if before in (CREDITED, REFUNDED, RECLAIMED) else state

    def sends(self, machine: Machine, effects: Effects) -> list[tuple[bytes, bytes]]:
        """What leaves a machine."""
        return effects.sends

    def failed(self, machine: Machine, what: str) -> None:
        """A machine has stopped for a reason that no fault explains."""
        self.groves.violate("failed", f"machine {machine.index} at {self.agenda.now_ms} ms: {what}")

    def told(self, machine: Machine, reply: Reply) -> None:
        """A user has an answer."""
        answered = self._waiting.pop(reply.token, None)
        if answered is not None:
            answered(reply.value)

    # -- users -----------------------------------------------------------------------------------------------------

    def _ask(self, answered: Callable[[dict[str, Any] | LocalError], None]) -> int:
        self._token += 1
        self._waiting[self._token] = answered
        return self._token

    def _next(self) -> None:
        if self.is_over:
            return
        self.agenda.after(self._load.randint(*OFFER_EVERY_MS), self._next)
        payee, payer = self._load.sample(range(self.plan.nodes), 2)
        payment = Payment(payer, payee, self._load.randint(*AMOUNT))
        machine = self.machines[payee]
        if machine.is_up:
            token = self._ask(partial(self._invoiced, payment))
            machine.put(CreateInvoice(token, None, payment.amount, "", 0))

    def _invoiced(self, payment: Payment, value: dict[str, Any] | LocalError) -> None:
        if isinstance(value, dict):
            payment.invoice = str(value["invoice"])
            self.payments.append(payment)
            self._pay(payment)

    def _pay(self, payment: Payment) -> None:
        if payment.answer:
            return
        machine = self.machines[payment.payer]
        if machine.is_up:
            token = self._ask(partial(self._paid, payment))
            machine.put(PayInvoice(token, None, payment.invoice, None, None))
        self.agenda.after(self._load.randint(*RETRY_MS), partial(self._pay, payment))

    def _paid(self, payment: Payment, value: dict[str, Any] | LocalError) -> None:
        if isinstance(value, LocalError):
            payment.answer = "" if value.code in PASSING else value.code
        else:
            payment.answer = "taken"

    # -- the course of a world -------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Let everything happen; what became of it."""
        with checked_once():
            self.until(lambda: False, self.plan.seconds * 1_000)
            healed_ms = self.agenda.now_ms
            self.finish()
        return self._result(healed_ms)

    def finish(self) -> None:
        """Heal everything, pay no more, and look at what all of it comes to."""
        self.faults.healed = True
        self.hub.heal()
        for machine in self.machines:
            machine.start()
        self.is_over = True
        self.until(self._is_well, HEALED_MS)
        self._finish()

    def until(self, is_over: Callable[[], bool], bound_ms: int) -> None:
        """Let things happen until it is over, or for so long."""
        end_ms, look_ms = self.agenda.now_ms + bound_ms, 0
        while self.agenda.now_ms < end_ms:
            if self.agenda.now_ms >= look_ms:
                if is_over() or self.groves.is_enough:
                    return
                look_ms = self.agenda.now_ms + LOOK_MS
            if not self.agenda.step():
                return

    def _is_well(self) -> bool:
        """True if nothing is under way anywhere."""
        if any(not payment.answer for payment in self.payments):
            return False
        for machine in self.machines:
            node = machine.node
            if node is None or node.group.pending.items or len(node.books.pool) or not node.books.is_under_root:
                return False
        pulses = {machine.node.between.trunk.pulse for machine in self.machines if machine.node is not None}
        return len(pulses) == 1

    def _finish(self) -> None:
        """All is at rest: everybody has what the payments that were taken add up to."""
        if not self._is_well():
            self.groves.violate("no_progress", self._why())
            return
        expected = {key.account: GIVEN for key in self.founded.nodes}
        for payment in self.payments:
            if payment.answer == "taken":
                expected[self.founded.nodes[payment.payer].account] -= payment.amount
                expected[self.founded.nodes[payment.payee].account] += payment.amount
        found_at: dict[bytes, int] = {}
        for machine in self.machines:
            if machine.node is not None:
                for account, entry in machine.node.group.entries.items():
                    before = found_at.setdefault(account, entry.record.balance)
                    if before != entry.record.balance:
                        self.groves.violate("states_differ", f"of {account[:4].hex()}")
        for account, balance in expected.items():
            if found_at.get(account) != balance:
                self.groves.violate("balance", f"{account[:4].hex()} has {found_at.get(account)} and not {balance}")
        total = sum(found_at.values())
        if total != SUPPLY:
            self.groves.violate("conservation", f"all accounts hold {total} of {SUPPLY}")

    def _why(self) -> str:
        told = []
        for machine in self.machines:
            node = machine.node
            if node is None:
                told.append(f"{machine.index} down")
                continue
            group = node.group
            under_way = len(group.pending.items), len(node.books.pool), node.books.is_under_root
            if under_way != (0, 0, True):
                told.append(f"{machine.index} {group.bits}/{group.prefix[:1].hex()} {group.header.pulse} {under_way}")
        unanswered = sum(not payment.answer for payment in self.payments)
        return f"{unanswered} unanswered; " + ", ".join(told[:12])

    @property
    def levels(self) -> int:
        """How many levels the organization has come to."""
        return max((m.node.between.trunk.levels for m in self.machines if m.node is not None), default=1)

    def _result(self, healed_ms: int) -> dict[str, Any]:
        summaries = [
            len(branch.floors[0].page())
            for machine in self.machines
            if machine.node is not None and (branch := machine.node.between.trunk.branch) is not None
        ]
        self._hash.update(repr(self.groves.violations).encode())
        return {
            "seed": self.plan.seed,
            "digest": self._hash.hexdigest(),
            "violations": self.groves.violations,
            "nodes": self.plan.nodes,
            "group_max": self.plan.group_max,
            "levels": self.levels,
            "groups": self.groves.count,
            "pulses": self.groves.pulse,
            "summary_bytes": max(summaries, default=0),
            "offered": len(self.payments),
            "taken": sum(payment.answer == "taken" for payment in self.payments),
            "refused": sorted({each.answer for each in self.payments} - {"", "taken"}),
            "faults": dict(self.faults.counts),
            "virtual_ms": self.agenda.now_ms,
            "faulty_ms": healed_ms,
        }


def simulate_forest(plan: ForestPlan) -> dict[str, Any]:
    """Run a world to its end. Raises LocalError("usage") for a plan that makes none."""
    plan.check()
    return Forest(plan).run()
