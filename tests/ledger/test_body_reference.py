"""Random operations, good and bad, on the ledger and on one of plain dictionaries: they never differ."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from leither_lite.identity import Key, account_id
from leither_lite.ledger.body import Body
from leither_lite.ledger.committee import Held
from leither_lite.ledger.group import Group, Rules, tree_of
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.records import PAGE_HEAD_BYTES, Role, counted_bytes
from leither_lite.ledger.replay import execute_again
from leither_lite.tree.node import node_pulse, node_sum
from tests.ledger.founding import (
    FOUNDER,
    NETWORK,
    ORGANIZATION,
    SUPPLY,
    admission,
    appointment,
    distribution,
    founded_group,
    held,
    invite,
    invited,
    key_of,
    payment,
    role_change,
    seal,
    willingness,
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
        kind = rng.choice(
            ("pay",) * 8 + ("distribute",) * 5 + ("admit",) * 2 + ("join",) * 2 + ("role", "appoint", "will")
        )
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
        if kind == "will":
            return self._will(rng.choice([one, *self._members()]))
        one = rng.choice((FOUNDER, FOUNDER, ORGANIZATION, one))
        if kind == "appoint":
            people = self._members() if rng.random() < 0.8 else [FOUNDER, *PEOPLE]
            roster = rng.sample(people, min(len(people), rng.choice((1, 1, 2, 3, 3, 4, 7))))
            roster += roster[:1] * (rng.random() < 0.05)
            number = reference.role_changes + rng.choice((0, 0, 0, 1))
            named = appointment(*roster, number=number, supervisor=one)
            return named, reference.appoint(one.account, [key.account for key in roster], number)
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

    def _members(self) -> list[Key]:
        """Who may be on a roster."""
        accounts = self.reference.accounts
        return [
            key
            for key in (FOUNDER, *PEOPLE)
            if key.account in accounts and accounts[key.account]["role"] in ("member", "supervisor")
        ]

    def _will(self, one: Key) -> tuple[Operation, str]:
        rng, reference = self.rng, self.reference
        number = max(0, reference.date + rng.choice((-3_605, -3_600, -3_595, -2, -1, 0, 1, 2)))
        willing, address = rng.randrange(4) > 0, rng.choice(("", "a", "b"))
        made = willingness(one, number, int(willing), address)
        return made, reference.register(one.account, address, willing, number)

    def hold(self, previous: bytes) -> tuple[Operation, str]:
        """That some hold the header of that digest, and some do not say so."""
        rng, reference = self.rng, self.reference
        some = [key for key in (FOUNDER, *PEOPLE) if key.account in reference.willing]
        others = rng.sample(some, rng.randrange(len(some) + 1))
        signers = [key for key in some if key not in others or rng.random() < 0.1][:16]
        signers += [rng.choice(PEOPLE)] * (rng.random() < 0.1)
        signers = list({key.public: key for key in signers}.values())[:16]
        is_of_last = rng.random() < 0.9
        made = held(previous if is_of_last else bytes(32), signers, others)
        accounts = [key.account for key in signers], [key.account for key in others]
        return made, reference.hold(is_of_last, *accounts)


def everything(body: Body) -> tuple[Any, ...]:
    """All that an operation may change."""
    group = body.group
    return (
        dict(group.entries),
        group.tree.root(),
        group.invites.root(),
        group.page_bytes,
        body.state.encode(),
        body.roster,
        list(body.operations),
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
    assert [account_id(key) for key in group.roster_keys] == reference.roster
    assert (group.header.term, group.state.appointed) == (reference.term, reference.appointed)
    willing = {
        account_id(node.key): {"address": node.address, "number": node.number, "silent": bool(node.silent)}
        for node in group.state.willing
    }
    assert willing == reference.willing


@pytest.mark.parametrize("seed", range(6))
def test_same_as_reference(seed: int, full: bool) -> None:
    rng = Random(seed)
    print(f"seed {seed}")
    group, auditor, pair = founded_group(), founded_group(), Pair(rng)
    seen: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    pair.reference.roster_max = rng.choice((1, 3, 4, 7))
    group.rules = auditor.rules = Rules(roster_max=pair.reference.roster_max)
    for _ in range(200 if full else 30):
        body = Body(group)
        pair.reference.begin()
        while body.is_empty or rng.random() < 0.9:
            before = everything(body)
            if rng.random() < (0.3 if not body.operations else 0.02):
                operation, expected = pair.hold(group.digest)
            else:
                operation, expected = pair.next()
            status = body.take(operation, operation.encode())
            assert status.value == expected, operation
            seen[expected] += 1
            kinds[type(operation).__name__] += expected == "ok"
            if expected == "ok":
                assert body.is_empty == (
                    body.operations == [(operation, operation.encode())] and type(operation) is Held
                )
                pair.reference.done.append("")
            else:
                assert everything(body) == before, expected
        tick = pair.reference.last_tick + rng.choice((0, 1, 2, 2_000))
        sealed, header = seal(body, tick)
        pair.reference.end(tick)
        compare(group, pair.reference)
        execute_again(auditor, sealed, body.segments)
        assert auditor.header == header
        assert auditor.entries == group.entries
    assert seen["ok"] > sum(seen.values()) // 10
    assert len(seen) >= 12, seen
    assert not full or min(kinds[kind] for kind in ("Appointment", "Willingness", "Held")), kinds


def test_reference_roles_are_ours() -> None:
    assert tuple(role.name.lower() for role in Role) == ROLES
