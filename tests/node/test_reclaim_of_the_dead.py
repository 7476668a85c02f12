"""A level-1 group that is away, all of it, for longer than receipts may be settled: what was on its way meanwhile.

Real nodes in virtual time: more than an hour of ticks, in which the others go on. Then it is back, and every payment
ends credited, refunded or reclaimed; none is lost, and none made twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Final

import pytest

from leither_lite.effects import Effects
from leither_lite.identity import Key
from leither_lite.ledger.operations import from_value
from leither_lite.ledger.payments import Invoice
from leither_lite.ledger.receipts import ReceiptKind
from leither_lite.ledger.sets import read_sent
from leither_lite.ledger.settling import Settle
from leither_lite.ledger.texts import SignedInvoice
from leither_lite.limits import RECEIPT_TICKS_MAX
from leither_lite.node import frames
from leither_lite.node.events import PayInvoice
from leither_lite.node.transfers import CREDITED, DEBITED, PENDING, RECLAIMED, REFUNDED, Transfer
from leither_lite.sim.founding import GIVEN, PULSE_MS
from leither_lite.sim.groves import Groves
from leither_lite.sim.machine import Machine
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys
from leither_lite.tree.node import is_prefix
from tests.node.groups import Groups
from tests.node.test_answers import SHOWN
from tests.node.test_silent_groups import assert_stores_are_whole, balances, node_of

SEED: Final = 2
SEEDS: Final = (1, 2, 4)
"""Those of the long form. In each a group suits, and the root does not draw two of four from it just as it leaves: by
that the root would stop, as the ledger cannot know yet."""
EVERY_TICKS: Final = 180
"""So often somebody pays somebody, both elsewhere, while the group is away."""
INTO_EVERY_TICKS: Final = 3 * EVERY_TICKS
"""And so often somebody pays somebody in that group: the first is too early for its return, the others are in time."""
AWAY_TICKS: Final = RECEIPT_TICKS_MAX + EVERY_TICKS
LATE_MS: Final = 60_000
BACK_MS: Final = 600_000


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment: by and to which machine (None: to an id without an account), its id at the payer, how it must end."""

    payer: int
    payee: int | None
    amount: int
    name: str
    ends: str


class World(Groups):
    """A network of several groups, one of which will be away: `away`, `others`. `paid`: all that was paid.

    `kept_back`: kinds and amounts of receipts that are not shown to anybody. `is_mute`: nothing comes out of the group.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.groves = Groves(self.nodes[0].network, self.nodes[0].charter.charter.supply)
        self.kept_back: set[tuple[int, int]] = set()
        self.is_mute = False
        self.grown()
        self.random = Random(f"{seed} payments")
        self.paid: list[Paid] = []
        self._amounts = count(101)
        self._numbers = count(1)
        self.places = [(node.group.prefix, node.group.bits) for node in self.nodes]
        self.away = self._whole_group()
        self.others = [index for index in range(len(self.machines)) if index not in self.away]
        self._gone = {self.keys[index].public for index in self.away}
        self.passes = self._passes

    def performed(self, machine: Machine, effects: Effects) -> None:
        """A turn is durable: what must hold of all seals does."""
        self.groves.performed(effects.writes, f"machine {machine.index}")

    def _passes(self, source: int, peer: bytes, content: bytes) -> bool:
        """Not what is kept back, nor while it is mute anything that the group tells others."""
        if self.is_mute and source in self.away and peer not in self._gone:
            return False
        if not self.kept_back or content[:4] not in SHOWN:
            return True
        operation = from_value(frames.values_of(content)[1])
        assert isinstance(operation, Settle)
        return not any((receipt.kind, receipt.amount) in self.kept_back for receipt, _ in operation.receipts)

    def _whole_group(self) -> list[int]:
        """All of a level-1 group with a committee of several, without which the root goes on."""
        root = next(seat for node in self.nodes for seat in node.between.seats if seat.books.is_on_roster)
        for first in self.nodes:
            found = [index for index, node in enumerate(self.nodes) if node.group.prefix == first.group.prefix]
            public = {self.keys[index].public for index in found}
            if len(first.books.sealers) > 1 and len(public.intersection(root.books.sealers)) < 2:
                return found
        raise AssertionError("no such group")

    @property
    def terms(self) -> int:
        """The highest term of the root group that anybody is in."""
        return max(seat.books.term for node in self.nodes for seat in node.between.seats)

    def pays(self, payer: int, payee: int, ends: str) -> Paid:
        """A payment, by an invoice that the payee has signed and handed over before."""
        return self._pays(payer, payee, self.keys[payee], ends)

    def pays_nobody(self, payer: int, near: int, ends: str) -> Paid:
        """A payment to a key that has no account, its id under the prefix of some machine's group."""
        prefix, bits = self.places[near]
        key = next(key for key in map(_key, self._numbers) if is_prefix(key.account, prefix, bits))
        return self._pays(payer, None, key, ends)

    def _pays(self, payer: int, payee: int | None, key: Key, ends: str) -> Paid:
        amount = next(self._amounts)
        invoice = Invoice(key.public, amount, 1, 0, "tea")
        text = SignedInvoice.sign(node_of(self, payer).network, key, invoice).encode()
        told = self.ask(payer, lambda token: PayInvoice(token, None, text, None, None))
        paid = Paid(payer, payee, amount, str(told["id"]), ends)
        self.paid.append(paid)
        return paid

    def state(self, paid: Paid) -> str:
        """Of a payment, at its payer."""
        return str(self.view(paid.payer).transfer(paid.name)["state"])

    def until_all(self, paid: list[Paid], state: str) -> None:
        """Let time pass until payments are in a state."""
        self.until(lambda: {self.state(each) for each in paid} == {state})

    def is_sent_back(self, paid: Paid) -> bool:
        """True once somebody has sealed that an amount goes back."""
        kept = (read_sent(content)[0] for machine in self.machines for _, content in machine.disk.scan(*keys.PENDING))
        return any((each.kind, each.amount) == (ReceiptKind.REFUND, paid.amount) for each in kept)

    def came(self, index: int) -> list[int]:
        """The amounts that have come for a machine's account, as its store has them."""
        account = self.keys[index].account
        kept = (Transfer.decode(content) for _, content in self.machines[index].disk.scan(*keys.TRANSFERS))
        return [each.amount for each in kept if each.payee == account and each.state == CREDITED]


def _key(number: int) -> Key:
    return Key.from_seed(number.to_bytes(32, "big"))


@pytest.fixture(name="world", params=SEEDS)
def _world(request: pytest.FixtureRequest, full: bool) -> Iterator[World]:
    seed: int = request.param
    if seed != SEED and not full:
        pytest.skip("in the long form")
    print(f"seed {seed}")
    with checked_once():
        yield World(seed)


def leave(world: World) -> None:
    """Payments of all kinds are under way to the group and from it; then all of it stops."""
    one, two, three = world.away[:3]
    near, far, third = world.random.sample(world.others, 3)
    lost = world.pays_nobody(two, far, REFUNDED)
    world.kept_back.add((ReceiptKind.REFUND, lost.amount))
    into = [world.pays(near, one, RECLAIMED), world.pays(far, two, RECLAIMED)]
    out = [world.pays(one, far, RECLAIMED), world.pays(three, third, RECLAIMED)]
    world.kept_back.update((ReceiptKind.PAYMENT, paid.amount) for paid in (*into, *out))
    world.until(lambda: world.is_sent_back(lost))
    world.until_all([*into, *out, lost], DEBITED)
    world.is_mute = True  # what it settles now it has sealed, and nobody else has heard of that
    late = world.pays(third, three, CREDITED)
    before = node_of(world, three).group.header.pulse
    world.until(lambda: late.amount in world.came(three))
    world.until(lambda: all(node_of(world, index).group.header.pulse > before for index in world.away))
    world.run(PULSE_MS // 4)  # it is on their disks
    waits = [
        world.pays(one, near, CREDITED),
        world.pays(two, three, CREDITED),
        world.pays_nobody(three, near, REFUNDED),
    ]
    assert {world.state(each) for each in waits} == {PENDING}
    for index in world.away:
        world.machines[index].stop()
    world.is_mute = False
    world.kept_back.clear()


def go_on(world: World) -> list[Paid]:
    """For more than an hour of ticks the others pay each other, and the group that is away. What was among them."""
    among = []
    for ticks in range(0, AWAY_TICKS, EVERY_TICKS):
        payer, payee = world.random.sample(world.others, 2)
        among.append(world.pays(payer, payee, CREDITED))
        if ticks % INTO_EVERY_TICKS == 0:
            world.pays(payee, world.random.choice(world.away), CREDITED if ticks else RECLAIMED)
            world.pays_nobody(payer, world.away[0], REFUNDED if ticks else RECLAIMED)
        world.run(EVERY_TICKS * PULSE_MS)
        assert world.state(among[-1]) == CREDITED
    return among


def come_back(world: World) -> None:
    """All of it starts. What is late only now, and asked for before it is shown, is not taken back."""
    late = world.pays(world.random.choice(world.others), world.away[0], CREDITED)
    world.kept_back.add((ReceiptKind.PAYMENT, late.amount))
    world.until_all([late], DEBITED)
    for index in world.away:
        world.machines[index].start()
    world.run(LATE_MS)
    assert world.state(late) == DEBITED
    world.kept_back.clear()


def test_a_group_that_is_away_for_more_than_an_hour(world: World) -> None:
    """What was too late for its return is taken back by whoever paid it, on either side; all else arrives, or is sent
    back. The others have gone on, through many terms."""
    leave(world)
    terms = world.terms
    among = go_on(world)
    assert world.terms >= terms + 3
    assert len(among) == AWAY_TICKS // EVERY_TICKS
    come_back(world)
    world.until(world.is_at_rest, BACK_MS)
    ended = Counter(paid.ends for paid in world.paid)
    print(f"{len(world.paid)} payments, {len(among)} of them among the others; {dict(ended)}")
    assert [(paid, world.state(paid)) for paid in world.paid if world.state(paid) != paid.ends] == []
    expected = dict.fromkeys(range(len(world.machines)), GIVEN)
    expected[0], expected[1] = GIVEN - 2, GIVEN + 2  # what made it grow
    for paid in world.paid:
        if paid.ends == CREDITED and paid.payee is not None:
            expected[paid.payer] -= paid.amount
            expected[paid.payee] += paid.amount
    assert balances(world) == {index: {balance} for index, balance in expected.items()}
    for index in expected:
        came = [paid.amount for paid in world.paid if (paid.payee, paid.ends) == (index, CREDITED)]
        assert sorted(world.came(index)) == sorted([*came, *([1, 1] if index == 1 else [])])
    assert world.groves.violations == []
    assert_stores_are_whole(world)
