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
from leither_lite.ledger.signed import Status
from leither_lite.limits import GROUP_MEMBERS_MAX
from leither_lite.node.transfers import CREDITED, DEBITED, RECLAIMED, REFUNDED, Transfer
from leither_lite.node.turn import Node
from leither_lite.sim.agenda import Agenda
from leither_lite.sim.disk import Disk
from leither_lite.sim.faults import Faults
from leither_lite.sim.founding import GIVEN, Founded, found
from leither_lite.sim.groves import Groves
from leither_lite.sim.machine import Machine
from leither_lite.sim.network import Hub
from leither_lite.sim.payers import Payers
from leither_lite.sim.signatures import checked_once
from leither_lite.sim.standing import START, stand
from leither_lite.store import keys

NODES_MAX: Final = 4_096
GROUP_MAX_MIN: Final = 4
GROWN_MAX: Final = 60
"""Up to so many machines begin as one group, and grow; more stand in a whole tree of groups already."""
ROSTER: Final = 4
TERM_TICKS: Final = 10
TERM_TICKS_STANDING: Final = 40
SETTLED_MS: Final = 25_000
"""Where the organization grows, payments begin after so long: by then it has split for the first time."""
SETTLED_MS_STANDING: Final = 5_000
FAULTY_MS_PER_PULSE: Final = 8_000
"""The faults end after so long on average, however few root pulses were sealed."""
LOOK_MS: Final = 500
HEALED_MS: Final = 400_000


@dataclass(frozen=True, slots=True)
class ForestPlan:
    """What such a world is made of. `group_max` is the charter's; `pulses` of the root until all is healed. `small`: of
    so many members at most are the groups in which it begins, instead of full ones."""

    seed: int
    nodes: int = 14
    group_max: int = 8
    pulses: int = 40
    faults: tuple[str, ...] = ()
    small: int = 0

    @property
    def stands(self) -> bool:
        """True if it begins with a whole tree of groups."""
        return self.nodes > GROWN_MAX or self.small > 0

    def check(self) -> None:
        """Raises LocalError("usage")."""
        if not ROSTER <= self.nodes <= NODES_MAX:
            raise LocalError("usage", f"a world of several groups has {ROSTER} to {NODES_MAX} nodes")
        if not GROUP_MAX_MIN <= self.group_max <= GROUP_MEMBERS_MAX:
            raise LocalError("usage", f"a group has {GROUP_MAX_MIN} to {GROUP_MEMBERS_MAX} members at most")


def _found(plan: ForestPlan) -> Founded:
    if plan.small:
        return stand(plan.nodes, ROSTER, plan.group_max, TERM_TICKS, plan.small)
    if plan.stands:
        return stand(plan.nodes, ROSTER, plan.group_max, TERM_TICKS_STANDING)
    rules = {"group_max": plan.group_max, "term_ticks": TERM_TICKS, "roster_max": ROSTER}
    return found(plan.nodes, ROSTER, accounts=1, **rules)


def _under_way(node: Node) -> tuple[int, int, int]:
    """What a node waits for: its group's receipts, operations, its last header's way under the root.

    What was settled or resolved before it came does no harm, and may lie in the pool until the next seal.
    """
    over = (Status.NOTHING_PENDING, Status.RECEIPTS_SETTLED)
    waiting = sum(each.is_taken or each.refusal not in over for each in node.books.pool)
    return len(node.group.pending.items), waiting, int(not node.books.is_under_root)


class Forest:
    """One simulated world of several groups. `run` it once."""

    def __init__(self, plan: ForestPlan) -> None:
        self.plan = plan
        self.agenda = Agenda()
        self.founded = founded = _found(plan)
        self.faults = Faults(plan.faults, self._random("faults"))
        self.groves = Groves(founded.network, founded.supply)
        self._hash = hashlib.blake2b(digest_size=16)
        self.states: dict[tuple[bytes, int], str] = {}
        self.transfers: dict[tuple[int, str], str] = {}
        self.machines = [self._machine(index) for index in range(plan.nodes)]
        self.hub = Hub(self.agenda, self.faults, list(self.machines), self._random("network"), ())
        self.payers = Payers(self.agenda, self._random("load"), founded.network, self.machines)
        for machine in self.machines:
            machine.hub = self.hub
            machine.start()
            self.agenda.after(LOOK_MS + machine.index, partial(self._dial, machine))
        self.agenda.after(SETTLED_MS_STANDING if plan.stands else SETTLED_MS, self.payers.next)

    def _random(self, name: str) -> Random:
        return Random(f"{self.plan.seed} {name}")

    def _machine(self, index: int) -> Machine:
        founded = self.founded
        disk = Disk(founded.store(index))
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
        self.payers.told(reply)

    # -- the course of a world -------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """Let everything happen; what became of it."""
        with checked_once():
            pulses = self.plan.pulses
            self.until(lambda: self.pulses >= pulses, pulses * FAULTY_MS_PER_PULSE)
            faulty_ms, pulses = self.agenda.now_ms, self.pulses
            self.finish()
        return self._result(pulses, faulty_ms)

    @property
    def pulses(self) -> int:
        """How many root pulses have been sealed since the beginning."""
        return max(self.groves.pulse - (START if self.plan.stands else 1), 0)

    def finish(self) -> None:
        """Heal everything, pay no more, and look at what all of it comes to."""
        self.faults.healed = True
        self.hub.heal()
        for machine in self.machines:
            machine.start()
        self.payers.is_over = True
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
        if self.payers.unanswered:
            return False
        for machine in self.machines:
            node = machine.node
            if node is None or any(_under_way(node)):
                return False
        pulses = {machine.node.between.trunk.pulse for machine in self.machines if machine.node is not None}
        return len(pulses) == 1

    def _finish(self) -> None:
        """All is at rest: everybody has what the payments that were taken add up to."""
        if not self._is_well():
            self.groves.violate("no_progress", self._why())
            return
        self._look_at_transfers()
        expected = {key.account: GIVEN for key in self.founded.nodes}
        for payment in self.payers.payments:
            if payment.answer == "taken" and payment.payee is not None:
                if self.transfers.get((payment.payer, payment.name)) != RECLAIMED:
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
        if total != self.founded.supply:
            self.groves.violate("conservation", f"all accounts hold {total} of {self.founded.supply}")

    def _look_at_transfers(self) -> None:
        """What every machine's own store says of what it has paid."""
        for machine in self.machines:
            own = self.founded.nodes[machine.index].account
            for key, content in machine.disk.scan(*keys.TRANSFERS):
                transfer = Transfer.decode(content)
                if transfer.payer == own:
                    self.transfers[machine.index, transfer.name(keys.sequence_of(key))] = transfer.state

    def _why(self) -> str:
        told = []
        for machine in self.machines:
            node = machine.node
            if node is None:
                told.append(f"{machine.index} down")
                continue
            group, under_way = node.group, _under_way(node)
            if any(under_way):
                told.append(f"{machine.index} {group.bits}/{group.prefix[:1].hex()} {group.header.pulse} {under_way}")
        return f"{self.payers.unanswered} unanswered; " + ", ".join(told[:12])

    @property
    def levels(self) -> int:
        """How many levels the organization has come to."""
        return max((m.node.between.trunk.levels for m in self.machines if m.node is not None), default=1)

    def _result(self, pulses: int, faulty_ms: int) -> dict[str, Any]:
        summaries = [
            len(branch.floors[0].page())
            for machine in self.machines
            if machine.node is not None and (branch := machine.node.between.trunk.branch) is not None
        ]
        payments, states = self.payers.payments, list(self.transfers.values())
        refused: dict[str, int] = {}
        for payment in payments:
            if payment.answer not in ("", "taken"):
                refused[payment.answer] = refused.get(payment.answer, 0) + 1
        self._hash.update(repr((self.groves.violations, self.faults.counts)).encode())
        return {
            "seed": self.plan.seed,
            "digest": self._hash.hexdigest(),
            "violations": self.groves.violations,
            "pulses": pulses,
            "offered": len(payments),
            "taken": sum(payment.answer == "taken" for payment in payments),
            **{state: states.count(state) for state in (CREDITED, REFUNDED, RECLAIMED)},
            "refused": dict(sorted(refused.items())),
            "faults": dict(self.faults.counts),
            "nodes": self.plan.nodes,
            "group_max": self.plan.group_max,
            "levels": self.levels,
            "groups": self.groves.count,
            "summary_bytes": max(summaries, default=0),
            "virtual_ms": self.agenda.now_ms,
            "faulty_ms": faulty_ms,
        }


def simulate_forest(plan: ForestPlan) -> dict[str, Any]:
    """Run a world to its end. Raises LocalError("usage") for a plan that makes none."""
    plan.check()
    return Forest(plan).run()
