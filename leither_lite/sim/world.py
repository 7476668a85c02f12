"""A whole organization in one process: machines, network, users and faults, from one seed (docs/protocol.md, 4 and 9).

Runs the node as it is. First faults, for as many pulses as are asked for; then everything is healed, and all machines
must come to the same header with what was offered sealed. Decides when a world is over and what became of it. The same
plan leads to the same events, in any process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from leither_lite.effects import Effects, Reply
from leither_lite.errors import LocalError
from leither_lite.limits import QUORUM
from leither_lite.node.view import View
from leither_lite.sim.agenda import Agenda
from leither_lite.sim.checkers import Checkers
from leither_lite.sim.disk import Disk
from leither_lite.sim.faults import KINDS, Faults
from leither_lite.sim.founding import found
from leither_lite.sim.liar import Lies
from leither_lite.sim.load import Load
from leither_lite.sim.machine import Machine
from leither_lite.sim.network import Hub
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys

NODES_MAX: Final = 24
FAULTY_MS_PER_PULSE: Final = 8_000
"""The faults end after so long on average, however few pulses were sealed."""
HEALED_MS: Final = 180_000
"""Within so long after the faults, all must be well."""
LAST_OFFERS: Final = 5
SEALED_PERCENT: Final = 90
LOOK_MS: Final = 20
"""How often it is asked whether a phase is over."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a world is made of. `roster` 0: the largest that there are machines for. `liars`: machines that lie."""

    seed: int
    nodes: int = 7
    roster: int = 0
    pulses: int = 200
    faults: tuple[str, ...] = KINDS
    liars: tuple[int, ...] = ()
    lies: tuple[str, ...] = ("all",)

    @property
    def roster_size(self) -> int:
        """How many keys the roster has."""
        return self.roster or max(size for size in QUORUM if size <= self.nodes)

    def check(self) -> None:
        """Raises LocalError("usage")."""
        if not 1 <= self.nodes <= NODES_MAX:
            raise LocalError("usage", f"a world has 1 to {NODES_MAX} nodes")
        if self.roster and (self.roster not in QUORUM or self.roster > self.nodes):
            raise LocalError("usage", "a roster has 1, 3, 4 or 7 of the nodes")


class World:
    """One simulated world. `run` it once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.agenda = Agenda()
        self.founded = founded = found(plan.nodes, plan.roster_size)
        self.faults = Faults(plan.faults, self._random("faults"))
        self.checkers = Checkers(founded, [founded.nodes[index].public for index in plan.liars])
        self.machines = [self._machine(index) for index in range(plan.nodes)]
        self.hub = Hub(self.agenda, self.faults, list(self.machines), self._random("network"), plan.liars)
        self.load = Load(self.agenda, self._random("load"), founded, self.machines)
        deceived = [key.public for number, key in enumerate(founded.nodes) if number % 2]
        self.lies = Lies(founded.network, plan.lies, deceived)
        self._hash = hashlib.blake2b(digest_size=16)
        for machine in self.machines:
            machine.hub = self.hub
            machine.start()

    def _random(self, name: str) -> Random:
        return Random(f"{self.plan.seed} {name}")

    def _machine(self, index: int) -> Machine:
        founded = self.founded
        disk = Disk([*founded.writes, (keys.PLACE, b"\0%d" % index)])
        organization = None if index else founded.organization
        random = self._random(f"machine {index}")
        return Machine(index, founded.nodes[index], organization, disk, self.agenda, self.faults, random, self)

    # -- what machines tell ----------------------------------------------------------------------------------------

    def performed(self, machine: Machine, effects: Effects) -> None:
        """A turn of a machine is durable."""
        update = self._hash.update
        counts = (len(effects.writes), len(effects.sends), len(effects.replies), len(effects.notes))
        update(b"%d %d %d %d %d %d\n" % (self.agenda.now_ms, machine.index, *counts))
        for key, value in effects.writes:
            update(key)
            update(b"-" if value is None else value)
        for peer, content in effects.sends:
            update(peer)
            update(content)
        self.checkers.performed(machine, effects)

    def sends(self, machine: Machine, effects: Effects) -> list[tuple[bytes, bytes]]:
        """What leaves a machine: of a liar's, what it makes of it."""
        sends = effects.sends
        if machine.index in self.plan.liars:
            sends = self.lies.doctored(self.founded.nodes[machine.index], sends)
        for _, content in sends:
            self.checkers.sent(content)
        return sends

    def failed(self, machine: Machine, what: str) -> None:
        """A machine has stopped for a reason that no fault explains."""
        self.checkers.violate("failed", f"machine {machine.index} at {self.agenda.now_ms} ms: {what}")

    def told(self, machine: Machine, reply: Reply) -> None:
        """A user has an answer."""
        self.load.told(reply.token, reply.value)

    # -- the course of a world -------------------------------------------------------------------------------------

    @property
    def pulse(self) -> int:
        """The newest pulse that any machine has."""
        return len(self.checkers.digests) - 1

    def run(self) -> dict[str, Any]:
        """Let everything happen; what became of it."""
        with checked_once():
            self.load.start()
            first = self.pulse
            self._until(lambda: self.pulse - first >= self.plan.pulses, self.plan.pulses * FAULTY_MS_PER_PULSE)
            faulty_ms = self.agenda.now_ms
            pulses = self.pulse - first
            self._heal()
            self._until(self._is_well, HEALED_MS)
            self._finish()
            return self._result(pulses, faulty_ms)

    def _until(self, is_over: Callable[[], bool], bound_ms: int) -> None:
        end_ms = self.agenda.now_ms + bound_ms
        agenda, look_ms = self.agenda, 0
        while agenda.now_ms < end_ms:
            if agenda.now_ms >= look_ms:
                if is_over() or self.checkers.is_enough:
                    return
                look_ms = agenda.now_ms + LOOK_MS
            if not agenda.step():
                return

    def _heal(self) -> None:
        """Everything comes back and works; and a few more payments are made."""
        self.faults.healed = True
        self.hub.heal()
        for machine in self.machines:
            machine.start()
        self.load.is_over = True
        for _ in range(LAST_OFFERS):
            self.load.offer()

    def _sealed_offers(self) -> int:
        return len(self.checkers.replica.invoices)

    def _waiting(self) -> int:
        return sum(1 for offer in self.load.offers if offer.answer in ("", "taken")) - self._sealed_offers()

    def _is_well(self) -> bool:
        """True if all machines are where the newest header is, and nothing waits."""
        if self._waiting() > 0:
            return False
        newest = self.checkers.digests[-1]
        return all(machine.node is not None and machine.node.group.digest == newest for machine in self.machines)

    def _finish(self) -> None:
        checkers = self.checkers
        newest = checkers.digests[-1]
        behind = [machine for machine in self.machines if machine.node is None or machine.node.group.digest != newest]
        for machine in behind:
            at = "down" if machine.node is None else f"at pulse {machine.node.group.header.pulse}"
            checkers.violate("no_progress", f"machine {machine.index} is {at}, others at {self.pulse}")
        sealed, offered = self._sealed_offers(), len(self.load.offers)
        if sealed * 100 < offered * SEALED_PERCENT:
            checkers.violate("too_few_sealed", f"{sealed} of {offered} payments offered")
        elif self._waiting() > 0:
            checkers.violate("no_progress", f"{self._waiting()} accepted payments are not sealed")
        checkers.finish([machine for machine in self.machines if machine.node is not None])

    def evidence(self) -> list[dict[str, Any]]:
        """What the machines show of who has signed two things."""
        return [
            found
            for machine in self.machines
            if machine.node is not None and machine.index not in self.plan.liars
            for found in View(machine.node).evidence()
        ]

    def _result(self, pulses: int, faulty_ms: int) -> dict[str, Any]:
        plan, checkers = self.plan, self.checkers
        refused: dict[str, int] = {}
        for offer in self.load.offers:
            if offer.answer not in ("", "taken"):
                refused[offer.answer] = refused.get(offer.answer, 0) + 1
        self._hash.update(repr((checkers.violations, self.faults.counts)).encode())
        return {
            "seed": plan.seed,
            "digest": self._hash.hexdigest(),
            "violations": checkers.violations,
            "pulses": pulses,
            "transfers": self._sealed_offers(),
            "offered": len(self.load.offers),
            "faults": dict(self.faults.counts),
            "nodes": plan.nodes,
            "roster": plan.roster_size,
            "virtual_ms": self.agenda.now_ms,
            "faulty_ms": faulty_ms,
            "acknowledged": len(checkers.acknowledged),
            "appointments": self.load.appointments,
            "jumps": checkers.jumps,
            "refused": dict(sorted(refused.items())),
            "lies": self.lies.told,
            "evidence": len(self.evidence()),
        }


def simulate_world(plan: Plan) -> dict[str, Any]:
    """Run a world to its end. Raises LocalError("usage") for a plan that makes none."""
    plan.check()
    return World(plan).run()
