"""A network of several groups, grown: simulated machines of one organization whose group was so small that it split.

Made of the simulator's own parts, without faults, every machine linked with every other. Decides when such a network is
at rest: when each node is in the group that the newest root header shows, and nothing is under way.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

from leither_lite.effects import Effects, Reply
from leither_lite.errors import LocalError
from leither_lite.node.events import CreateInvoice, Event, PayInvoice
from leither_lite.node.turn import Node
from leither_lite.node.view import View
from leither_lite.sim.agenda import Agenda
from leither_lite.sim.disk import Disk
from leither_lite.sim.faults import Faults
from leither_lite.sim.founding import PULSE_MS, Founded, found
from leither_lite.sim.machine import Machine
from leither_lite.sim.network import End, Hub
from leither_lite.sim.signatures import checked_once
from leither_lite.tree.proof import Trust

MACHINES: Final = 14
GROUP_MAX: Final = 8
TERM_TICKS: Final = 10
ROSTER: Final = 4
GROWN_MS_MAX: Final = 120_000
"""Until then a network must have split and settled."""


class Groups:
    """`nodes[i]` is the node on machine i; all have an account with some money, node 0 has the organization's key."""

    def __init__(
        self, seed: int = 0, machines: int = MACHINES, group_max: int = GROUP_MAX, founded: Founded | None = None
    ) -> None:
        """`founded`: what stands already; by default one group."""
        roster = ROSTER if machines >= ROSTER else 3
        if founded is None:
            founded = found(machines, roster, accounts=1, group_max=group_max, term_ticks=TERM_TICKS, roster_max=roster)
        self.keys = founded.nodes
        self.trust = Trust(founded.organization.public, tuple(key.public for key in founded.roster))
        self.agenda = Agenda()
        self.failures: list[tuple[int, str]] = []
        self.passes: Callable[[int, bytes, bytes], bool] = lambda source, peer, content: True
        self._answers: dict[int, Any] = {}
        self._token = 0
        faults = Faults((), Random(f"{seed} faults"))
        self.machines = [
            Machine(
                index,
                key,
                None if index else founded.organization,
                Disk(founded.store(index)),
                self.agenda,
                faults,
                Random(f"{seed} machine {index}"),
                self,
            )
            for index, key in enumerate(self.keys)
        ]
        ends: list[End] = list(self.machines)
        hub = Hub(self.agenda, faults, ends, Random(f"{seed} network"), tuple(range(machines)))
        for machine in self.machines:
            machine.hub = hub
            machine.start()

    # -- what machines tell ----------------------------------------------------------------------------------------

    def performed(self, machine: Machine, effects: Effects) -> None:
        """A turn is durable."""

    def sends(self, machine: Machine, effects: Effects) -> list[tuple[bytes, bytes]]:
        """What a machine sends, but for what a test lets get lost."""
        return [(peer, content) for peer, content in effects.sends if self.passes(machine.index, peer, content)]

    def failed(self, machine: Machine, what: str) -> None:
        """Kept for the test: no machine may fail."""
        self.failures.append((machine.index, what))

    def told(self, machine: Machine, reply: Reply) -> None:
        """Somebody has an answer."""
        self._answers[reply.token] = reply.value

    # -- time ------------------------------------------------------------------------------------------------------

    def until(self, is_so: Callable[[], bool], ms: int = 60_000) -> None:
        """Let time pass until something is so."""
        end_ms = self.agenda.now_ms + ms
        while not is_so():
            assert not self.failures, self.failures
            assert self.agenda.now_ms < end_ms, "it did not come to be so"
            assert self.agenda.step()

    def run(self, ms: int) -> None:
        """Let so much time pass."""
        end_ms = self.agenda.now_ms + ms
        self.agenda.after(ms, lambda: None)
        self.until(lambda: self.agenda.now_ms >= end_ms, ms + 1)

    def grown(self) -> Groups:
        """The same, once it has come to rest in several groups: it takes a payment to end the first term."""
        self.run((TERM_TICKS + 2) * PULSE_MS)
        for _ in range(2):
            self.pay(0, 1, 1)
            self.run(3 * PULSE_MS)
        self.until(self.is_at_rest, GROWN_MS_MAX)
        return self

    def is_at_rest(self) -> bool:
        """True once each node is in the group that the same root header shows, where it stands itself, with nothing
        under way, and has what is shown of the groups above that it keeps."""
        pulses = set()
        for node in self.nodes:
            group, branch = node.group, node.between.trunk.branch
            if branch is None or group.is_root or not node.books.is_under_root or node.between.shown_node():
                return False
            if node.books.has_work or group.pending.items:
                return False
            for seat in node.between.seats:
                floor = node.between.trunk.floor(seat.books.group.level)
                if floor is None or seat.books.group.header.pulse < floor.pulse:
                    return False
            pulses.add(branch.header.pulse)
        return len(pulses) == 1

    # -- what tests ask most ---------------------------------------------------------------------------------------

    @property
    def nodes(self) -> list[Node]:
        """The node of each machine, as it is now."""
        return [machine.node for machine in self.machines if machine.node is not None]

    def view(self, index: int) -> View:
        """What a node shows."""
        node = self.machines[index].node
        assert node is not None
        return View(node)

    def ask(self, index: int, make: Callable[[int], Event]) -> dict[str, Any]:
        """The answer to an event, as soon as it is there. Raises its LocalError."""
        self._token += 1
        token = self._token
        self.machines[index].put(make(token))
        self.until(lambda: token in self._answers)
        value = self._answers.pop(token)
        if isinstance(value, LocalError):
            raise value
        found: dict[str, Any] = value
        return found

    def pay(self, payer: int, payee: int, amount: int) -> str:
        """A payment from one node to another; the transfer's id at the payer."""
        made = self.ask(payee, lambda token: CreateInvoice(token, None, amount, "tea", 0))
        paid = self.ask(payer, lambda token: PayInvoice(token, None, made["invoice"], None, None))
        return str(paid["id"])

    def troubles(self, index: int) -> list[str]:
        """Codes of what keeps a node from its work, as it says."""
        machine = self.machines[index]
        assert machine.node is not None
        return [code for code, _ in machine.node.troubles(machine.now_ms, 0)]

    def apart(self) -> tuple[int, int]:
        """Two nodes of different groups."""
        first = self.nodes[0].group
        for index, node in enumerate(self.nodes):
            if node.group.prefix != first.prefix:
                return 0, index
        raise AssertionError("they are all in one group")


def grown(seed: int = 0, machines: int = MACHINES, group_max: int = GROUP_MAX) -> Groups:
    """A network of several groups."""
    with checked_once():
        return Groups(seed, machines, group_max).grown()
