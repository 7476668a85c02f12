"""Everything that the API offers, asked without its token, by another node's owner, and for accounts of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from leither_lite.identity import Key
from leither_lite.limits import ID_BYTES
from leither_lite.node.view import View
from leither_lite.sim.signatures import checked_once
from tests.edge.api_world import Answer, World, running
from tests.node.asking import Secrets
from tests.node.groups import Groups, grown

PEOPLE: Final = ("/v1/peers", "/v1/charter", "/v1/branch")
"""These have keys and ids of other groups' accounts: of who is connected, who has founded all, and who seals above."""
STREAM: Final = "/v1/events"
WRONG_TOKENS: Final = ("", "f" * 64, "0123456789abcdef" * 3, "0123456789abcdef" * 4 + "0")

# For each route: what is asked for in it that is of others, `{}` being one of their accounts. None: nothing can be.
FOREIGN: Final[dict[tuple[str, str], tuple[Any, ...] | None]] = {
    ("GET", "/metrics"): None,
    ("GET", "/v1/status"): None,
    ("GET", "/v1/charter"): None,
    ("GET", "/v1/summary"): None,
    ("GET", "/v1/branch"): None,
    ("GET", STREAM): None,
    ("GET", "/v1/account"): ("?account={}",),
    ("GET", "/v1/accounts"): None,
    ("POST", "/v1/accounts"): None,
    ("GET", "/v1/accounts/{id}/proof"): ("", "?pulse=0", "?pulse=1", "?pulse=5", "?pulse=7", "?pulse=9"),
    ("POST", "/v1/proofs/verify"): None,
    ("POST", "/v1/invoices"): ({"amount": 1, "account": "{}"},),
    ("GET", "/v1/transfers"): ("?before={}",),
    ("POST", "/v1/transfers"): ({"invoice": "invoice", "account": "{}"},),
    ("GET", "/v1/transfers/{id}"): ("",),
    ("POST", "/v1/distributions"): ({"account": "{}", "amount": 1, "reason": "mine"},),
    ("GET", "/v1/applications"): None,
    ("POST", "/v1/applications"): None,
    ("POST", "/v1/applications/{id}/approve"): ({}, {"role": "supervisor"}),
    ("POST", "/v1/applications/{id}/refuse"): ({},),
    ("POST", "/v1/invites"): None,
    ("GET", "/v1/peers"): None,
    ("GET", "/v1/evidence"): None,
    ("GET", "/v1/roster"): None,
    ("POST", "/v1/roster"): ({"roster": ["{}"]}, {"roster": ["{}"], "force": True}),
    ("POST", "/v1/roles"): ({"account": "{}", "role": "supervisor"}, {"account": "{}", "role": "guest"}),
    ("POST", "/v1/checkpoints"): None,
}
REFUSALS: Final = {
    "not_permitted",
    "not_own_account",
    "organization_key_absent",
    "roster_unreachable",
    "unknown_account",
    "unknown_application",
    "unknown_node",
    "unknown_pulse",
    "unknown_transfer",
}


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Each signature is checked once."""
    with checked_once():
        yield


@pytest.fixture(scope="module")
def groups() -> Groups:
    """A network of several groups, in which payments have gone within one and from one to another."""
    with checked_once():
        made = grown()
        own = [index for index, node in enumerate(made.nodes) if node.group.prefix == made.nodes[0].group.prefix]
        made.pay(own[0], own[1], 5)
        made.pay(*made.apart(), 77)
        made.run(3_000)
        made.until(made.is_at_rest)
    return made


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A running API."""
    with running() as made:
        yield made


def sit(world: World, groups: Groups, index: int) -> None:
    """Put the API over a node of the network."""
    machine = groups.machines[index]
    assert machine.node is not None
    seat = world.seat
    seat.node, seat.view, seat.store, seat.now_ms = machine.node, View(machine.node), machine.disk, machine.now_ms


def test_every_route_is_asked(world: World) -> None:
    """A new route has to be thought of here."""
    table = world.api._routes.table
    assert {(method, path) for path, methods in table.items() for method in methods} == FOREIGN.keys()


def test_nobody_without_the_token(world: World, groups: Groups) -> None:
    """None, another node's, a shorter or a longer one: whatever is asked for, by whatever method."""
    account, tried = groups.keys[1].account.hex(), 0
    sit(world, groups, 1)
    for index in groups.apart():
        for (_, path), asked in FOREIGN.items():
            for query in {"", *(each.format(account) for each in asked or () if isinstance(each, str))}:
                for token in WRONG_TOKENS:
                    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
                        if path == "/metrics":
                            continue
                        told = world.call(method, path.format(id=account) + query, token=token)
                        assert told.status == 401, (method, path)
                        assert account not in told.body.decode()
                        tried += 1
        sit(world, groups, index)
    print(f"{tried} requests")


def asked_of(world: World, account: str, groups: Groups) -> Iterator[tuple[str, str, Answer]]:
    """Each route's answers to whoever has the token, asked for an account."""
    invoice = world.invoice(amount=1)
    for (method, path), asked in FOREIGN.items():
        if path == STREAM or (method == "POST" and asked is None):
            continue
        for each in asked or ("",):
            named = path.format(id=account)
            if isinstance(each, str):
                yield method, path, world.call(method, named + each.format(account))
            else:
                body = {name: put(value, account, invoice) for name, value in each.items()}
                yield method, path, world.post(named, body)


def put(value: Any, account: str, invoice: str) -> Any:
    """A value of a body, with what it is about."""
    if isinstance(value, list):
        return [put(each, account, invoice) for each in value]
    return {"{}": account, "invoice": invoice}.get(value, value) if isinstance(value, str) else value


def of_group(groups: Groups, index: int) -> list[Key]:
    """The keys of the members of a node's group."""
    return [key for key in groups.keys if groups.nodes[index].group.holds(key.account)]


def told_of(secrets: Secrets, path: str, account: str, answer: Answer) -> list[str]:
    """What an answer tells of a group that was not in the question."""
    of_people = {each for each in secrets.books if len(each) == ID_BYTES} | {*secrets.people}
    kept = {*secrets.books, *secrets.items, *secrets.people} - (of_people if path in PEOPLE else set())
    text = answer.body.decode(errors="replace")
    return [each.hex() for each in kept if each.hex() != account and (each.hex() in text or each in answer.body)]


def test_another_group_s_node_tells_nothing(world: World, groups: Groups) -> None:
    """The owner of each node of one group asks it for every account of another."""
    tried, first = 0, groups.apart()[0]
    secrets = Secrets(groups.nodes[first])
    names = [key.account.hex() for key in of_group(groups, first)]
    names += [each["id"] for each in groups.view(first).transfers(None, 9)]
    for index, node in enumerate(groups.nodes):
        if node.group.prefix == groups.nodes[first].group.prefix or index in groups.apart():
            continue
        sit(world, groups, index)
        for account in names:
            for method, path, answer in asked_of(world, account, groups):
                tried += 1
                assert told_of(secrets, path, account, answer) == [], (method, path)
                if FOREIGN[method, path] is not None:
                    assert answer.status >= 400, (method, path, answer.body)
    print(f"{tried} requests")
    assert tried > 100


def test_a_member_sees_its_own(world: World, groups: Groups) -> None:
    """Who keeps no books is shown no other account of its group, no proof of one, and of no absence."""
    tried = 0
    for index, node in enumerate(groups.nodes):
        if groups.view(index).is_bookkeeper or index == 0:
            continue
        sit(world, groups, index)
        absent = bytearray(groups.keys[index].account)
        absent[-1] ^= 1
        own = groups.keys[index].account
        for account in [bytes(absent), *(key.account for key in of_group(groups, index) if key.account != own)]:
            for method, path, answer in asked_of(world, account.hex(), groups):
                tried += 1
                if FOREIGN[method, path] is not None:
                    assert answer.refusal[1] in REFUSALS, (method, path, answer.body)
        assert node.group.holds(bytes(absent))
    print(f"{tried} requests")
    assert tried > 100
