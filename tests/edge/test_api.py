"""The API's routes, over real HTTP and a real node (docs/api.md)."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest

from leither_lite.edge.api import BODIES_BYTES_MAX
from leither_lite.header import Checkpoint
from leither_lite.identity import Key
from leither_lite.ledger.joins import Application
from leither_lite.ledger.records import decode_page
from leither_lite.limits import PROOF_BYTES_MAX
from leither_lite.organization import SignedCharter
from leither_lite.tree.proof import Absence, Proof, Trust, verify
from leither_lite.tree.proof_json import decode_json
from tests.edge.api_world import FOUNDER, ORGANIZATION, TOKEN, World, running

NETWORK = ORGANIZATION.account


@pytest.fixture
def world() -> Iterator[World]:
    """A founded organization, its node and its API."""
    with running() as world:
        yield world


def application_of(key: Key, memo: str = "let me in") -> dict[str, str]:
    """A signed application, as the route takes it."""
    application = Application.make(NETWORK, key, memo)
    return {"application": application.content.hex(), "signature": application.signature.hex()}


def test_status_is_the_seat_s(world: World) -> None:
    """What the service says, as JSON that nobody keeps."""
    told = world.get("/v1/status")
    assert (told.status, told.json) == (200, {"pulse": 0, "healthy": True, "reasons": []})
    assert told.headers["Content-Type"] == "application/json"
    assert told.headers["Cache-Control"] == "no-store"
    assert told.headers["Server"] == "leither-lite"
    assert [name for name in told.headers if name.lower().startswith("access-control")] == []


def test_charter_is_the_signed_one(world: World) -> None:
    """Whoever has only this answer has the whole charter."""
    told = world.get("/v1/charter").json
    assert SignedCharter.from_json(told).charter == world.seat.node.charter.charter
    assert (told["organization"], told["roster"]) == (NETWORK.hex(), [FOUNDER.public.hex()])


def test_a_payment_from_invoice_to_proof(world: World) -> None:
    """Two accounts, an invoice, its payment, its states, both sides after it, and what a stranger can check of it."""
    payer, payee = world.account(1_000), world.account()
    made = world.post("/v1/invoices", {"amount": 10, "memo": "tea", "ticks": 60, "account": payee})
    assert made.status == 201
    assert made.json["invoice"].startswith("leither:invoice/")
    assert type(made.json["number"]) is int
    paid = world.post("/v1/transfers", {"invoice": made.json["invoice"], "account": payer})
    assert (paid.status, paid.json["state"]) == (202, "pending")
    name = paid.json["id"]
    assert world.get(f"/v1/transfers/{name}").json["state"] == "pending"
    again = world.post("/v1/transfers", {"invoice": made.json["invoice"], "account": payer})
    assert (again.status, again.json["id"]) == (200, name)
    world.advance()
    sealed = world.get(f"/v1/transfers/{name}").json
    pulse = world.seat.node.group.header.pulse
    assert (sealed["state"], sealed["pulse"], sealed["reason"]) == ("credited", pulse, None)
    account = world.get(f"/v1/account?account={payer}").json
    assert account == {
        "account": payer,
        "balance": 990,
        "frozen": 0,
        "sent": 1,
        "role": "member",
        "pulse": pulse,
    }
    proof = decode_json(world.get(f"/v1/accounts/{payee}/proof").body)
    assert isinstance(proof, Proof)
    verified = verify(proof, Trust(ORGANIZATION.public, (FOUNDER.public,)))
    assert verified.record is not None
    assert (verified.pulse, verified.record[0]) == (pulse, 10)


def test_the_account_is_the_node_s_own_by_default(world: World) -> None:
    """Without `account`, and with one that has no value."""
    assert world.get("/v1/account").json["account"] == FOUNDER.account.hex()
    assert world.get("/v1/account?account=").json["role"] == "supervisor"
    assert world.get(f"/v1/account?account={NETWORK.hex()}").json["balance"] == 10**9


def test_accounts_of_this_node(world: World) -> None:
    """A new account is applied for, and a member once sealed."""
    opened = world.post("/v1/accounts", {"memo": "shop"})
    assert opened.status == 201
    assert list(opened.json) == ["account", "public_key", "state"]
    name = opened.json["account"]
    before = {account["account"]: account["role"] for account in world.get("/v1/accounts").json["accounts"]}
    assert before == {FOUNDER.account.hex(): "supervisor", name: "applied"}
    world.advance()
    assert world.get("/v1/accounts").json["accounts"][1]["role"] == "member"


def test_an_account_is_opened_without_a_body(world: World) -> None:
    """No body at all is an empty one."""
    assert world.call("POST", "/v1/accounts").status == 201


def test_transfers_newest_first_in_pages(world: World) -> None:
    """`before` goes on where a page ended; values that are empty count as absent."""
    account = world.account()
    names = []
    for amount in range(1, 6):
        body = {"account": account, "amount": amount, "reason": "grant"}
        names.append(world.post("/v1/distributions", body).json["id"])
    world.advance()
    first = world.get("/v1/transfers?before=&limit=2").json["transfers"]
    assert [transfer["amount"] for transfer in first] == [5, 4]
    rest = world.get(f"/v1/transfers?limit=500&before={first[-1]['id']}").json["transfers"]
    assert [transfer["id"] for transfer in rest] == names[2::-1]


def test_an_idempotency_key_pays_once(world: World) -> None:
    """An open invoice by a key: 200 and the first id; another amount under it is a conflict; another key pays again."""
    payer, payee = world.account(100), world.account()
    body = {"invoice": world.invoice(amount=0, account=payee), "amount": 7, "account": payer}
    first = world.post("/v1/transfers", body, Idempotency_Key="k1")
    again = world.post("/v1/transfers", body, Idempotency_Key="k1")
    assert (first.status, again.status, again.json["id"]) == (202, 200, first.json["id"])
    refused = world.post("/v1/transfers", {**body, "amount": 8}, Idempotency_Key="k1")
    assert refused.refusal == (409, "idempotency_conflict")
    assert world.post("/v1/transfers", body, Idempotency_Key="k2").status == 202
    world.advance()
    assert world.get(f"/v1/account?account={payee}").json["balance"] == 14


def test_a_distribution_by_its_key_once(world: World) -> None:
    """The same for what the organization pays."""
    body = {"account": world.account(), "amount": 5, "reason": "grant"}
    first = world.post("/v1/distributions", body, Idempotency_Key="d")
    again = world.post("/v1/distributions", body, Idempotency_Key="d")
    assert (first.status, again.status) == (202, 200)
    assert first.json["id"] == again.json["id"]


def test_an_application_is_approved(world: World) -> None:
    """Seen by the supervisor, approved with a role, and gone from the list."""
    guest = Key.from_seed(b"g" * 32)
    applied = world.post("/v1/applications", application_of(guest))
    assert (applied.status, applied.json) == (201, {"account": guest.account.hex(), "state": "applied"})
    waiting = {"id": guest.account.hex(), "public_key": guest.public.hex(), "memo": "let me in"}
    assert world.get("/v1/applications").json == {"applications": [waiting]}
    approved = world.post(f"/v1/applications/{guest.account.hex()}/approve", {"role": "guest"})
    assert (approved.status, approved.json["state"]) == (200, "pending")
    world.advance()
    assert world.get("/v1/applications").json == {"applications": []}
    assert world.get(f"/v1/account?account={guest.account.hex()}").json["role"] == "guest"


def test_an_application_is_refused(world: World) -> None:
    """Gone from the list; a second time there is nothing to refuse."""
    guest = Key.from_seed(b"r" * 32)
    assert world.post("/v1/applications", application_of(guest)).status == 201
    refused = world.post(f"/v1/applications/{guest.account.hex()}/refuse", {})
    assert (refused.status, refused.json) == (200, {"account": guest.account.hex(), "state": "refused"})
    assert world.get("/v1/applications").json == {"applications": []}
    again = world.post(f"/v1/applications/{guest.account.hex()}/refuse", {})
    assert again.refusal == (404, "unknown_application")


def test_a_roster_that_is_not_there_is_named_only_by_force(world: World) -> None:
    """Refused as long as nobody on it is connected."""
    guest = Key.from_seed(b"a" * 32)
    world.post("/v1/applications", application_of(guest))
    world.post(f"/v1/applications/{guest.account.hex()}/approve", {})
    world.advance()
    roster = {"roster": [guest.public.hex()]}
    for body in (roster, {**roster, "force": False}, {**roster, "force": None}):
        assert world.post("/v1/roster", body).refusal == (409, "roster_unreachable")
    own = world.account()
    key = world.seat.node.wallet.keys[bytes.fromhex(own)].public.hex()
    assert world.post("/v1/roster", {"roster": [key], "force": True}).refusal == (422, "bad_roster")
    forced = world.post("/v1/roster", {**roster, "force": True})
    assert (forced.status, forced.json) == (202, {**roster, "state": "pending"})


def test_an_invite_brings_one_guest_in(world: World) -> None:
    """It is used up by the first."""
    invite = world.post("/v1/invites", {"ticks": 10})
    assert invite.status == 201
    assert invite.json["valid_until"] == 10
    guests = [Key.from_seed(bytes([seed]) * 32) for seed in (1, 2)]
    joined = world.post("/v1/applications", {**application_of(guests[0]), "invite": invite.json["invite"]})
    assert (joined.status, joined.json["state"]) == (201, "pending")
    second = world.post("/v1/applications", {**application_of(guests[1]), "invite": invite.json["invite"]})
    assert second.refusal == (409, "invite_used")
    world.advance()
    assert world.get(f"/v1/account?account={guests[0].account.hex()}").json["role"] == "member"


def test_a_role_is_changed(world: World) -> None:
    """By a supervisor's node."""
    account = world.account()
    assert world.post("/v1/roles", {"account": account, "role": "supervisor"}).status == 200
    world.advance()
    assert world.get(f"/v1/account?account={account}").json["role"] == "supervisor"


def test_a_checkpoint_is_taken(world: World) -> None:
    """The organization's word on where the chain stands; proofs start from it then."""
    account = world.account(5)
    node = world.seat.node
    signed = Checkpoint.sign(ORGANIZATION, NETWORK, node.group.header.pulse, node.group.digest, node.group.roster)
    body = {
        "pulse": signed.pulse,
        "digest": signed.digest.hex(),
        "roster": signed.roster.hex(),
        "signature": signed.signature.hex(),
    }
    assert world.post("/v1/checkpoints", {**body, "pulse": 0}).refusal == (422, "checkpoint_signature")
    assert world.post("/v1/checkpoints", {**body, "pulse": -1}).refusal == (400, "bad_checkpoint")
    taken = world.post("/v1/checkpoints", body)
    assert (taken.status, taken.json["pulse"]) == (200, signed.pulse)
    assert "checkpoint" in world.get(f"/v1/accounts/{account}/proof").json
    world.account()
    assert world.post("/v1/checkpoints", body).refusal == (409, "checkpoint_not_newest")


def test_proofs_of_old_pulses_and_of_absence(world: World) -> None:
    """A pulse before the account was there shows its absence."""
    account = world.account(5)
    trust = Trust(ORGANIZATION.public, (FOUNDER.public,))
    absence = decode_json(world.get(f"/v1/accounts/{account}/proof?pulse=0").body)
    assert isinstance(absence, Absence)
    assert verify(absence, trust).pulse == 0
    assert world.get(f"/v1/accounts/{account}/proof?pulse=9").refusal == (404, "unknown_pulse")


def test_proofs_are_checked(world: World) -> None:
    """What holds, what does not and why, what is absent, and what is no JSON."""
    account = world.account(5)
    text = world.get(f"/v1/accounts/{account}/proof").body
    held = world.post("/v1/proofs/verify", text)
    assert held.status == 200
    assert held.json == {
        "holds": True,
        "reason": None,
        "kind": "present",
        "account": account,
        "record": {"balance": 5, "frozen": 0, "sent": 0, "role": "member", "votes": 0},
        "pulse": 1,
        "leaf_pulse": 1,
        "age": 1,
    }
    value = json.loads(text)
    value["pulse"] = 0
    wrong = world.post("/v1/proofs/verify", value).json
    assert (wrong["holds"], wrong["reason"], wrong["record"]) == (False, "path_not_header", None)
    assert world.post("/v1/proofs/verify", []).json["reason"] == "proof_fields"
    absent = world.post("/v1/proofs/verify", world.get(f"/v1/accounts/{'00' * 20}/proof").body).json
    assert (absent["holds"], absent["kind"], absent["record"], absent["leaf_pulse"]) == (True, "absent", None, None)
    assert world.post("/v1/proofs/verify", b"{").refusal == (400, "bad_json")
    assert world.post("/v1/proofs/verify", b"[" * 100_000).refusal == (400, "bad_json")


def test_a_large_proof_is_checked_beside_the_loop(world: World) -> None:
    """Up to the bound of proofs, and as often as one asks."""
    text = world.get(f"/v1/accounts/{world.account()}/proof").body
    padded = text.rstrip() + b" " * (PROOF_BYTES_MAX - len(text))
    for _ in range(1 + BODIES_BYTES_MAX // PROOF_BYTES_MAX):
        assert world.post("/v1/proofs/verify", padded).json["holds"] is True
    assert world.post("/v1/proofs/verify", padded + b"  ").refusal == (413, "body_too_large")


def test_summary_is_the_page(world: World) -> None:
    """CBOR of every account's entry."""
    account = world.account(5)
    told = world.get("/v1/summary")
    assert told.headers["Content-Type"] == "application/cbor"
    page = decode_page(told.body)
    assert account in {entry[0].hex() for entry in page}
    assert len(page) == 3


def test_metrics_in_prometheus_form(world: World) -> None:
    """Every metric with its help and its kind; from this machine no token is needed."""
    told = world.call("GET", "/metrics", token="")
    assert told.status == 200
    assert told.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = told.body.decode().splitlines()
    assert lines[:3] == [
        "# HELP leither_api_connections Open connections to the API.",
        "# TYPE leither_api_connections gauge",
        "leither_api_connections 1",
    ]
    assert "# TYPE leither_commits_total counter" in lines
    assert "leither_commits_total 3" in lines
    assert "# HELP leither_odd_thing Odd thing." in lines
    assert len(lines) % 3 == 0


def test_a_member_s_node_shows_its_own_only() -> None:
    """A node that is no bookkeeper shows neither others' accounts nor the page."""
    with running(node_key=Key.from_seed(b"m" * 32)) as world:
        founder = FOUNDER.account.hex()
        assert world.get(f"/v1/account?account={founder}").refusal == (403, "not_permitted")
        assert world.get(f"/v1/accounts/{founder}/proof").refusal == (403, "not_permitted")
        assert world.get("/v1/summary").refusal == (403, "not_permitted")
        assert world.get("/v1/account").refusal == (404, "unknown_account")
        assert world.post("/v1/accounts").refusal == (403, "not_a_member")
        assert world.post("/v1/invites").refusal == (403, "not_permitted")


def test_head_is_get_without_the_body(world: World) -> None:
    """The same head, nothing after it; a stream has no HEAD."""
    told = world.call("HEAD", "/v1/status")
    assert (told.status, told.body) == (200, b"")
    assert int(told.headers["Content-Length"]) == len(world.get("/v1/status").body)
    assert world.call("HEAD", "/v1/events").status == 405


def test_one_connection_serves_many_requests(world: World) -> None:
    """Refusals that say nothing against the connection leave it open."""
    connection = http.client.HTTPConnection("127.0.0.1", world.api.port, timeout=30)
    connection.connect()
    sock = connection.sock
    for path, status in [("/v1/status", 200), ("/v1/nothing", 404), ("/v1/status", 200)]:
        connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
        response = connection.getresponse()
        response.read()
        assert response.status == status
        assert connection.sock is sock
    connection.close()
