"""People in a forest: who joins, pays and holds, by a seed; and a plain dict of what they should have."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from leither_lite.identity import Key, account_id
from leither_lite.ledger.children import Place
from leither_lite.ledger.judge_children import buddy_of
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import MERGE, SPLIT
from leither_lite.ledger.structure import TermEnd, is_large, is_small
from leither_lite.tree.proof import Trust, verify
from tests.ledger.forest import Forest, planted
from tests.ledger.founding import (
    FOUNDER,
    NETWORK,
    ORGANIZATION,
    SUPPLY,
    admission,
    distribution,
    key_of,
    payment,
    willingness,
)

STRANGERS: Final = [key_of(500 + number) for number in range(32)]
TRUST: Final = Trust(ORGANIZATION.public, (FOUNDER.public,))


@dataclass
class Town:
    """A forest with people. `owed` is what everybody has once nothing is under way; `outside` are not admitted yet."""

    forest: Forest
    rng: random.Random
    outside: list[Key]
    inside: list[Key] = field(default_factory=lambda: [FOUNDER])
    owed: dict[bytes, int] = field(default_factory=lambda: {NETWORK: SUPPLY, FOUNDER.account: 0})
    refused: list[tuple[str, Status]] = field(default_factory=list)
    numbers: int = 0

    @classmethod
    def settled(cls, seed: int, people: int, **rules: int) -> Town:
        """A town in which nobody lives yet but the founder."""
        keys = [key_of(1_000 * (seed + 1) + number) for number in range(people)]
        known = {key.public: key for key in (ORGANIZATION, FOUNDER, *keys)}
        forest = planted(**rules)
        forest.key_of = known.__getitem__
        forest.copies = 2
        return cls(forest, random.Random(seed), keys)

    # -- what people do --------------------------------------------------------------------------------------------

    def lives(self, key: Key) -> bool:
        """True once an account is open."""
        return key.account in self.forest.group_of(key.account).entries

    def residents(self) -> list[Key]:
        """Those whose accounts are open."""
        return [key for key in self.inside if self.lives(key)]

    def admit(self) -> None:
        """The founder lets somebody in."""
        if self.outside:
            key = self.outside.pop()
            self.inside.append(key)
            self.owed[key.account] = 0
            self.forest.submit(FOUNDER.account, admission(key, supervisor=FOUNDER))

    def hold(self) -> None:
        """Whoever is not willing yet becomes so."""
        for key in self.residents():
            if all(each.key != key.public for each in self.forest.group_of(key.account).state.willing):
                number = max(self.forest.tick, 1)
                self.forest.submit(key.account, willingness(key, number=number, address="a:1"))

    def distribute(self, payee: bytes, amount: int) -> None:
        """The organization gives."""
        entries = self.forest.group_of(NETWORK).entries
        self.forest.submit(NETWORK, distribution(payee, amount, entries[NETWORK].record.sent))

    def pay(self, payer: Key, payee: Key, amount: int) -> None:
        """One pays another."""
        sent = self.forest.group_of(payer.account).entries[payer.account].record.sent
        self.numbers += 1
        self.forest.submit(payer.account, payment(payer, payee, amount, sent, number=self.numbers))

    def pay_somebody(self) -> None:
        """Somebody who has something pays somebody else."""
        payer, payee = self.rng.sample(self.residents(), 2)
        balance = self.forest.balance(payer.account)
        if balance:
            self.pay(payer, payee, self.rng.randint(1, balance))

    def pay_stranger(self) -> None:
        """Somebody pays somebody who has no account."""
        self.pay_stranger_of(self.rng.choice(self.residents()))

    def pay_stranger_of(self, payer: Key) -> None:
        """One who has something pays somebody who has no account, and belongs elsewhere."""
        strangers = [key for key in STRANGERS if not self.forest.group_of(payer.account).holds(key.account)]
        if strangers and self.forest.balance(payer.account):
            self.pay(payer, self.rng.choice(strangers), 1)

    def is_due(self, place: Place) -> bool:
        """True if a level-1 group's term may end with its next body."""
        forest, group = self.forest, self.forest.groups[place]
        root = group.header.tick if forest.roots.newest is None or group.is_root else forest.roots.newest.tick
        return root >= group.state.since + group.rules.term_ticks and not forest.offers(1, place)

    def split(self) -> None:
        """Every large level-1 group whose term is over offers to be split."""
        for place, group in self.forest.groups.items():
            if self.is_due(place) and is_large(len(group.entries), group.page_bytes, group.rules.members_max):
                self.forest.submit(place[0], TermEnd(SPLIT))

    def merge(self) -> int:
        """Two small buddies whose terms are over offer to be merged, those that come first; 0 if there are none."""
        groups = self.forest.groups
        for place in groups:
            other, parent = buddy_of(place), self.forest.parent_of(1, place)
            if other not in groups or parent is None or len(parent.children) < 3 or other not in parent.children:
                continue
            both = groups[place], groups[other]
            most = self.forest.rules.members_max
            if (
                self.is_due(place)
                and self.is_due(other)
                and all(is_small(len(each.entries), each.page_bytes, most) for each in both)
            ):
                for each in (place, other):
                    self.forest.submit(each[0], TermEnd(MERGE))
                return 2
        return 0

    # -- steps -----------------------------------------------------------------------------------------------------

    def pulse(self, ticks: int = 1) -> None:
        """A pulse; what must hold, holds after it."""
        self.forest.pulse(ticks)
        self.forest.check()
        for operation, status in self.forest.statuses:
            if status is not Status.OK:
                self.refused.append((type(operation).__name__, status))
            elif isinstance(operation, Payment):
                self._move(account_id(operation.payer_key), account_id(operation.invoice.payee_key), operation.amount)
            elif isinstance(operation, Distribution):
                self._move(NETWORK, operation.payee, operation.amount)
        self.forest.statuses.clear()

    def _move(self, payer: bytes, payee: bytes, amount: int) -> None:
        """Money goes to who has an account, or will have; from others it comes back."""
        if payee in self.owed:
            self.owed[payer] -= amount
            self.owed[payee] += amount

    def live(self, steps: int, *, payments: int = 1, admit_every: int = 4, splits: bool = True) -> None:
        """So many steps of everyday life."""
        for step in range(steps):
            if not step % admit_every:
                self.admit()
            self.hold()
            self.distribute(self.rng.choice(self.residents()).account, self.rng.randint(1, 100))
            for _ in range(payments if len(self.residents()) > 1 else 0):
                self.pay_somebody()
            if not step % 5:
                self.pay_stranger()
            if splits:
                self.split()
            self.pulse()

    def rest(self, most: int = 40) -> None:
        """Until nothing waits and nothing is under way. Raises ValueError if that takes too long."""
        forest = self.forest
        for _ in range(most):
            pending = any(group.pending.items for group in forest.groups.values())
            if not pending and not forest.queues and not forest.outboxes and forest.is_whole:
                return
            self.pulse()
        raise ValueError("something is under way for ever")

    def wake(self) -> None:
        """Every group seals something: it says where the root stands."""
        for place in list(self.forest.groups):
            key = next((each for each in self.residents() if self.forest.place_of(each.account) == place), None)
            if key is not None:
                self.forest.submit(key.account, willingness(key, number=self.forest.tick, address="b:2"))
        self.pulse()

    def reclaim(self) -> list[Receipt]:
        """Whoever has sent something that has not arrived asks for it back; what is asked for."""
        asked = []
        for receipt in list(self.forest.open()):
            if receipt.kind != ReceiptKind.REFUND:
                asked.append(receipt)
                self.forest.submit(receipt.payer, self.forest.reclaim(receipt))
        return asked

    def undo(self, receipts: list[Receipt]) -> None:
        """What these receipts were to move stays where it was."""
        for receipt in receipts:
            if receipt.payee in self.owed:
                self.owed[receipt.payer] += receipt.amount
                self.owed[receipt.payee] -= receipt.amount

    # -- what is looked at -----------------------------------------------------------------------------------------

    def balances(self) -> dict[bytes, int]:
        """What everybody has."""
        groups = self.forest.groups.values()
        return {account: entry.record.balance for group in groups for account, entry in group.entries.items()}

    def verify_all(self) -> int:
        """Check every account's proof from the charter's roster; how many there are."""
        found = self.balances()
        for account, balance in found.items():
            record = verify(self.forest.proof(account), TRUST).record
            if record is None or record[0] != balance:
                raise ValueError("a proof of another balance")
        return len(found)
