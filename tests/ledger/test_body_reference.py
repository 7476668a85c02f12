"""Random operations, good and bad, on the ledger and on one of plain dictionaries: they never differ."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from leither_lite.identity import Key
from leither_lite.ledger.body import Body, execute_again
from leither_lite.ledger.group import Group, tree_of
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.records import PAGE_HEAD_BYTES, Role, counted_bytes
from leither_lite.tree.node import node_pulse, node_sum
from tests.ledger.founding import (
    FOUNDER,
    NETWORK,
    ORGANIZATION,
    SUPPLY,
    admission,
    distribution,
    founded_group,
    invite,
    invited,
    key_of,
    payment,
    role_change,
    seal,
)
from tests.reference.dict_ledger import DictLedger

PEOPLE = [key_of(number) for number in range(10, 40)]
ROLES = ("guest", "member", "supervisor", "organization", "contract")


class Pair:
    """The two ledgers, and who acts in them."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.reference = DictLedger(SUPPLY, NETWORK, FOUNDER.account)

    def _sent(self, key: Key) -> int:
        account = self.reference.accounts.get(key.account)
        due = 0 if account is None else int(account["sent"])
        return due if self.rng.random() < 0.9 else max(0, due + self.rng.choice((-1, 1)))

    def _amount(self, key: Key) -> int:
        account = self.reference.accounts.get(key.account)
        balance = 0 if account is None else int(account["balance"])
        return self.rng.choice((0, 1, balance, balance + 1, *(self.rng.randrange(balance + 1) for _ in range(4))))

    def _anyone(self) -> Key:
        return self.rng.choice([ORGANIZATION, FOUNDER, *PEOPLE])

    def next(self) -> tuple[Operation, str]:
        """An operation, and what the reference makes of it."""
        rng, reference = self.rng, self.reference
        kind = rng.choice(("pay",) * 8 + ("distribute",) * 5 + ("admit", "admit", "join", "join", "role"))
        one, other = self._anyone(), self._anyone()
        if kind == "pay":
            amount, sent = self._amount(one), self._sent(one)
            asked = rng.choice((0, 0, 0, amount, amount, amount, amount + 1))
            until = rng.choice((0, 0, max(0, reference.date + rng.randrange(-2, 3))))
            made: Operation = payment(one, other, amount, sent, asked, until)
            return made, reference.pay(one.account, other.account, asked, until, amount, sent)
        if kind == "distribute":
            one = rng.choice((ORGANIZATION, ORGANIZATION, ORGANIZATION, one))
            amount, sent = rng.choice((0, 1, 500, 500, 500, self._amount(one) // 50)), self._sent(one)
            made = distribution(other.account, amount, sent, one)
            return made, reference.distribute(one.account, other.account, amount, sent)
        one = rng.choice((FOUNDER, FOUNDER, ORGANIZATION, one))
        if kind == "admit":
            role = rng.randrange(3)
            return admission(other, role, one), reference.admit(one.account, other.account, ROLES[role])
        if kind == "join":
            number = 1_000 + rng.randrange(12)
            until = max(0, reference.date + rng.randrange(-1, 3))
            said = invite(number, until, supervisor=one).content
            made = invited(other, number, until, one)
            return made, reference.join(said, until, one.account, other.account, "member")
        role = rng.randrange(3)
        number = reference.role_changes + rng.choice((0, 0, 0, 1))
        made = role_change(other.account, role, number, one)
        return made, reference.change_role(one.account, other.account, ROLES[role], number)


def everything(body: Body) -> tuple[Any, ...]:
    """All that an operation may change."""
    group = body.group
    return (
        dict(group.entries),
        group.tree.root(),
        group.invites.root(),
        group.page_bytes,
        body.state.encode(),
        list(body.segments),
        list(body.entries),
        dict(body.before),
        list(body.used_invites),
        body.is_empty,
    )


def compare(group: Group, reference: DictLedger) -> None:
    """The same accounts with the same records, and what is committed to says so."""
    ours = {
        account: {
            "balance": entry.record.balance,
            "sent": entry.record.sent,
            "role": ROLES[entry.record.role],
            "pulse": entry.pulse,
        }
        for account, entry in group.entries.items()
    }
    assert ours == reference.accounts
    assert node_sum(group.header.node) == reference.total() == group.supply
    assert node_pulse(group.header.node) == group.header.pulse == reference.pulse
    assert group.tree.root() == group.sealed.inner == tree_of(group.entries).root()
    assert group.page_bytes == PAGE_HEAD_BYTES + sum(counted_bytes(entry.record) for entry in group.entries.values())
    assert len(group.invites) == len(reference.used)


@pytest.mark.parametrize("seed", range(6))
def test_same_as_reference(seed: int, full: bool) -> None:
    rng = Random(seed)
    print(f"seed {seed}")
    group, auditor, pair = founded_group(), founded_group(), Pair(rng)
    seen: Counter[str] = Counter()
    for _ in range(200 if full else 30):
        body = Body(group)
        pair.reference.begin()
        while body.is_empty or rng.random() < 0.9:
            before = everything(body)
            operation, expected = pair.next()
            status = body.take(operation, operation.encode())
            assert status.value == expected, operation
            seen[expected] += 1
            if expected == "ok":
                assert not body.is_empty
            else:
                assert everything(body) == before, expected
        tick = pair.reference.last_tick + rng.randrange(3)
        sealed, header = seal(body, tick)
        pair.reference.end(tick)
        compare(group, pair.reference)
        execute_again(auditor, sealed, body.segments)
        assert auditor.header == header
        assert auditor.entries == group.entries
    assert seen["ok"] > sum(seen.values()) // 10
    assert len(seen) >= 12, seen


def test_reference_roles_are_ours() -> None:
    assert tuple(role.name.lower() for role in Role) == ROLES
