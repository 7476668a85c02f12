"""What the API refuses: every case names its status and its code, and changes nothing (docs/api.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from leither_lite.board import Board
from leither_lite.identity import Key
from leither_lite.ledger.joins import Application
from leither_lite.ledger.payments import Invoice
from leither_lite.ledger.texts import SignedInvoice
from tests.edge.api_world import FOUNDER, ORGANIZATION, TOKEN, World, running

OTHER = "ab" * 20


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One node for all refusals: none of them changes it."""
    with running() as world:
        yield world


@pytest.fixture(autouse=True)
def unchanged(world: World) -> Iterator[None]:
    """What is refused leaves the store as it was."""
    before = world.on_loop(world.seat.store.content)
    yield
    assert world.on_loop(world.seat.store.content) == before


BAD_JSON = [
    b"{",
    b"nonsense",
    b'{"amount": 1} x',
    b'{"amount": 01}',
    b'{"amount": NaN}',
    b'{"amount": Infinity}',
    b'{"amount": -Infinity}',
    b"{'amount': 1}",
    b"\xff\xfe",
    b'{"memo": "\xed\xa0\x80", "amount": 1}',
    b'\xef\xbb\xbf{"amount": 1}',
    b"[" * 60_000,
    b'{"amount":' * 6_000,
]


@pytest.mark.parametrize("body", BAD_JSON, ids=range(len(BAD_JSON)))
def test_malformed_json(world: World, body: bytes) -> None:
    """Cut short, not UTF-8, nested beyond reason, or with numbers that JSON has not."""
    assert world.post("/v1/invoices", body).refusal == (400, "bad_json")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"[]", "not_an_object"),
        (b"1", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"amount"', "not_an_object"),
        (b'{"amount": 1, "amount": 1}', "doubled_field"),
        (b'{"amount": 1, "memo": {"a": 1, "a": 1}}', "doubled_field"),
        (b'{"amount": 1, "amout": 1}', "unknown_field"),
        (b'{"amount": 1, "\\ud800": 1}', "unknown_field"),
        (b"{}", "missing_field"),
        (b"", "missing_field"),
    ],
)
def test_other_than_the_form(world: World, body: bytes, code: str) -> None:
    """An object with its own fields, each once."""
    assert world.post("/v1/invoices", body).refusal == (400, code)


AMOUNTS = [
    "-1",
    str(2**53),
    str(2**63),
    str(2**64),
    "1" * 5_000,
    "1.5",
    "1.0",
    "1e3",
    '"1"',
    "true",
    "[1]",
    "{}",
    "null",
]


@pytest.mark.parametrize("amount", AMOUNTS)
@pytest.mark.parametrize("path", ["/v1/invoices", "/v1/distributions"])
def test_amounts(world: World, path: str, amount: str) -> None:
    """Only whole numbers up to the largest supply."""
    rest = f', "account": "{FOUNDER.account.hex()}"' + (', "reason": "x"' if "distr" in path else "")
    assert world.post(path, f'{{"amount": {amount}{rest}}}'.encode()).refusal == (400, "bad_amount")


@pytest.mark.parametrize("amount", [*AMOUNTS[:-1], "0"])
def test_amounts_of_transfers(world: World, amount: str) -> None:
    """The same for what a payer chooses; 0 has its own code. (null there is an absent amount.)"""
    body = f'{{"invoice": "{open_invoice(world)}", "amount": {amount}}}'
    code = "amount_zero" if amount == "0" else "bad_amount"
    assert world.post("/v1/transfers", body.encode()).refusal == (400, code)


def test_zero_is_an_open_invoice_and_no_gift(world: World) -> None:
    """An invoice over 0 leaves the amount to the payer; a distribution of 0 is none."""
    assert world.post("/v1/invoices", {"amount": 0}).status == 201
    gift = {"account": FOUNDER.account.hex(), "amount": 0, "reason": "x"}
    assert world.post("/v1/distributions", gift).refusal == (400, "amount_zero")


def open_invoice(world: World, **changed: Any) -> str:
    """An invoice of a stranger's key for this organization, signed, its amount open."""
    stranger = Key.from_seed(b"s" * 32)
    fields = {"amount": 0, "valid_until": 0} | changed
    network = fields.pop("network", ORGANIZATION.account)
    invoice = Invoice(stranger.public, fields["amount"], 1, fields["valid_until"], "")
    return SignedInvoice.sign(network, stranger, invoice).encode()


def test_invoices_that_cannot_be_paid(world: World) -> None:
    """Of another organization, cut short, not of one form, unsigned, one's own, open without an amount, unknown."""
    good = open_invoice(world, amount=5)
    cases: list[tuple[str, dict[str, Any], tuple[int, str]]] = [
        (open_invoice(world, amount=5, network=b"n" * 20), {}, (422, "other_network")),
        (good[:-1], {}, (400, "bad_invoice")),
        (good[: len(good) // 2], {}, (400, "bad_invoice")),
        (good + "A", {}, (400, "bad_invoice")),
        (good.replace("leither:", "leyther:"), {}, (400, "bad_invoice")),
        ("", {}, (400, "bad_invoice")),
        ("\ud800", {}, (400, "bad_invoice")),
        (good, {"amount": 6}, (422, "amount_mismatch")),
        (good, {}, (422, "unknown_payee")),
        (open_invoice(world), {}, (400, "amount_required")),
        (world.invoice(amount=5), {}, (422, "payer_is_payee")),
        (good, {"account": OTHER}, (403, "not_own_account")),
        (good, {"account": OTHER[:-1]}, (400, "bad_account")),
    ]
    for text, fields, refusal in cases:
        assert world.post("/v1/transfers", {"invoice": text, **fields}).refusal == refusal, (text, fields)
    for value in (5, None, ["x"], True):
        assert world.post("/v1/transfers", {"invoice": value}).refusal == (400, "bad_invoice")
    forged = SignedInvoice.decode(good)
    unsigned = SignedInvoice(forged.network, forged.content, b"\1" * 64, forged.invoice).encode()
    assert world.post("/v1/transfers", {"invoice": unsigned}).refusal == (422, "bad_signature")


def test_expired_and_beyond_the_balance() -> None:
    """What the ledger refuses because of its state."""
    with running() as world:
        payer, payee = world.account(5), world.account()
        old = world.invoice(amount=1, ticks=1, account=payee)
        large = world.invoice(amount=6, account=payee)
        world.advance(3)
        assert world.post("/v1/transfers", {"invoice": old, "account": payer}).refusal == (422, "expired")
        refused = world.post("/v1/transfers", {"invoice": large, "account": payer})
        assert refused.refusal == (422, "insufficient_balance")
        assert world.get(f"/v1/account?account={payer}").json["balance"] == 5


GUEST = Application.make(ORGANIZATION.account, Key.from_seed(b"g" * 32), "")


@pytest.mark.parametrize(
    ("path", "value", "refusal"),
    [
        ("/v1/invoices", {"amount": 1, "memo": "x" * 65}, (400, "bad_memo")),
        ("/v1/invoices", {"amount": 1, "memo": "\ud800"}, (400, "bad_memo")),
        ("/v1/invoices", {"amount": 1, "memo": 5}, (400, "bad_memo")),
        ("/v1/invoices", {"amount": 1, "ticks": -1}, (400, "bad_ticks")),
        ("/v1/invoices", {"amount": 1, "ticks": 1.5}, (400, "bad_ticks")),
        ("/v1/invoices", {"amount": 1, "ticks": True}, (400, "bad_ticks")),
        ("/v1/invoices", {"amount": 1, "account": 5}, (400, "bad_account")),
        ("/v1/invoices", {"amount": 1, "account": OTHER.upper()}, (400, "bad_account")),
        ("/v1/invoices", {"amount": 1, "account": OTHER}, (403, "not_own_account")),
        ("/v1/accounts", {"memo": "\udfff"}, (400, "bad_memo")),
        ("/v1/distributions", {"account": OTHER, "amount": 1, "reason": "x"}, (422, "unknown_payee")),
        ("/v1/distributions", {"account": OTHER, "amount": 1, "reason": ""}, (400, "bad_reason")),
        ("/v1/distributions", {"account": OTHER, "amount": 1, "reason": "x" * 257}, (400, "bad_reason")),
        ("/v1/distributions", {"account": OTHER, "amount": 1, "reason": None}, (400, "bad_reason")),
        ("/v1/distributions", {"account": OTHER, "amount": 1}, (400, "missing_field")),
        ("/v1/invites", {"role": "supervisor"}, (400, "bad_role")),
        ("/v1/invites", {"role": "chief"}, (400, "bad_role")),
        ("/v1/invites", {"role": 1}, (400, "bad_role")),
        ("/v1/invites", {"ticks": 0}, (400, "bad_ticks")),
        ("/v1/invites", {"ticks": 10**9}, (400, "bad_ticks")),
        ("/v1/roles", {"account": OTHER, "role": "member"}, (404, "unknown_account")),
        ("/v1/roles", {"account": ORGANIZATION.account.hex(), "role": "guest"}, (422, "role_fixed")),
        (f"/v1/applications/{OTHER}/approve", {}, (404, "unknown_application")),
        ("/v1/applications/xyz/approve", {}, (400, "bad_account")),
        (f"/v1/applications/{OTHER}/refuse", {}, (404, "unknown_application")),
        ("/v1/applications/xyz/refuse", {}, (400, "bad_account")),
        (f"/v1/applications/{OTHER}/refuse", {"role": "guest"}, (400, "unknown_field")),
        ("/v1/roster", {"roster": []}, (422, "bad_roster")),
        ("/v1/roster", {"roster": [OTHER], "force": 0}, (400, "bad_force")),
        ("/v1/roster", {"roster": [OTHER], "force": 1}, (400, "bad_force")),
        ("/v1/roster", {"roster": [OTHER], "force": "true"}, (400, "bad_force")),
        ("/v1/roster", {"roster": [OTHER], "force": True}, (404, "unknown_node")),
        ("/v1/applications", {"application": "zz", "signature": "00" * 64}, (400, "bad_application")),
        ("/v1/applications", {"application": "00", "signature": "00" * 64}, (400, "bad_application")),
        ("/v1/applications", {"application": "00", "signature": "00"}, (400, "bad_application")),
        (
            "/v1/applications",
            {"application": GUEST.content.hex(), "signature": "00" * 64},
            (422, "bad_signature"),
        ),
        (
            "/v1/applications",
            {"application": GUEST.content.hex(), "signature": GUEST.signature.hex(), "invite": "leither:invite/AA"},
            (400, "bad_invite"),
        ),
        ("/v1/checkpoints", {"pulse": 0, "digest": "", "roster": "", "signature": ""}, (400, "bad_checkpoint")),
    ],
)
def test_fields(world: World, path: str, value: dict[str, Any], refusal: tuple[int, str]) -> None:
    """Each field by its own code."""
    assert world.post(path, value).refusal == refusal


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("/v1/transfers?limit=0", (400, "bad_limit")),
        ("/v1/transfers?limit=501", (400, "bad_limit")),
        ("/v1/transfers?limit=-1", (400, "bad_limit")),
        ("/v1/transfers?limit=1.5", (400, "bad_limit")),
        ("/v1/transfers?limit=%D9%A1", (400, "bad_limit")),
        (f"/v1/transfers?limit={'9' * 4000}", (400, "bad_limit")),
        ("/v1/transfers?limit=1&limit=2", (400, "doubled_parameter")),
        ("/v1/transfers?after=1", (400, "unknown_parameter")),
        ("/v1/transfers?before=xyz", (404, "unknown_transfer")),
        ("/v1/transfers/xyz", (404, "unknown_transfer")),
        (f"/v1/transfers/{'0' * 32}", (404, "unknown_transfer")),
        (f"/v1/transfers/{'f' * 32}", (404, "unknown_transfer")),
        ("/v1/transfers/", (404, "unknown_transfer")),
        ("/v1/account?account=xyz", (400, "bad_account")),
        (f"/v1/account?account={OTHER}", (404, "unknown_account")),
        ("/v1/accounts/xyz/proof", (400, "bad_account")),
        (f"/v1/accounts/{OTHER}/proof?pulse=-1", (400, "bad_pulse")),
        (f"/v1/accounts/{OTHER}/proof?pulse={2**64}", (400, "bad_pulse")),
        (f"/v1/accounts/{OTHER}/proof?pulse={2**62}", (404, "unknown_pulse")),
        ("/v1/status?x=1", (400, "unknown_parameter")),
    ],
)
def test_queries_and_ids(world: World, path: str, refusal: tuple[int, str]) -> None:
    """What stands in the path and behind it."""
    assert world.get(path).refusal == refusal


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/v1", "/v1/", "/v1/nothing", "/v2/status", "/v1/status/", "/V1/status", "/v1/%73tatus", "//v1/status"),
        *("/v1/transfers/{id}", "/v1/transfers/a/b", "/v1/transfers%2Fa", "/v1/accounts/a/b/c", "/metrics/x"),
    ],
)
def test_unknown_paths(world: World, path: str) -> None:
    """No path but those that are documented, in no other spelling."""
    assert world.get(path).refusal == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/status", "GET"),
        ("GET", "/v1/invoices", "POST"),
        ("DELETE", "/v1/transfers", "GET, POST"),
        ("OPTIONS", "/v1/transfers", "GET, POST"),
        ("PUT", "/v1/accounts", "GET, POST"),
        ("TRACE", "/v1/charter", "GET"),
        ("PATCH", "/metrics", "GET"),
    ],
)
def test_unknown_methods(world: World, method: str, path: str, allowed: str) -> None:
    """405, and what there is instead; OPTIONS too, for there is no CORS."""
    told = world.call(method, path)
    assert told.refusal == (405, "method_not_allowed")
    assert told.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/v1/status", "/v1/nothing", "/v1/transfers", "/"])
@pytest.mark.parametrize("token", ["", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), "f" * 64, "\xe9" * 64, f"{TOKEN} x"])
def test_tokens(world: World, path: str, token: str) -> None:
    """Wrong, empty, cut short, too long: 401 everywhere, for unknown paths too."""
    told = world.call("GET", path, token=token)
    assert told.refusal == (401, "unauthorized")
    assert told.headers["WWW-Authenticate"].startswith("Bearer ")


def test_other_schemes_and_none_at_all(world: World) -> None:
    """Only one header, and only Bearer; its spelling is HTTP's."""
    assert world.get("/v1/status", Authorization=f"bearer {TOKEN}").status == 200
    for value in (f"Basic {TOKEN}", TOKEN, "Bearer", f"Bearer{TOKEN}", ""):
        assert world.get("/v1/status", Authorization=value).refusal == (401, "unauthorized")
    with world.connect() as sock:
        sock.sendall(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert sock.makefile("rb").readline() == b"HTTP/1.1 401 Unauthorized\r\n"
    with world.connect() as sock:
        header = f"Authorization: Bearer {TOKEN}\r\n".encode()
        sock.sendall(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n" + 2 * header + b"\r\n")
        assert sock.makefile("rb").readline() == b"HTTP/1.1 401 Unauthorized\r\n"


def test_a_stranger_s_body_is_not_looked_at(world: World) -> None:
    """The token comes before the size, the path and the fields."""
    assert world.call("POST", "/v1/invoices", b"x" * 200_000, token="f" * 64).refusal == (401, "unauthorized")


@pytest.mark.parametrize("path", ["/v1/invoices", "/v1/transfers", "/v1/applications", "/v1/proofs/verify"])
def test_ten_megabytes(world: World, path: str) -> None:
    """Refused by the length it announces, and by what comes where it announces none."""
    body = b"[" * (10 * 1024 * 1024)
    assert world.post(path, body).refusal == (413, "body_too_large")


def test_a_chunked_body_has_the_same_bound(world: World) -> None:
    """Without a length the bytes are counted."""
    head = (
        f"POST /v1/invoices HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ).encode()
    with world.connect() as sock:
        sock.sendall(head + b"11\r\n" + b'{"amount": 2**53}' + b"\r\n0\r\n\r\n")
        assert b" 400 " in sock.makefile("rb").readline()
    with world.connect() as sock:
        sock.sendall(head + b"10001\r\n" + b" " * 0x10001 + b"\r\n")
        assert b" 413 " in sock.makefile("rb").readline()


def test_compressed_bodies(world: World) -> None:
    """A few bytes may be gigabytes: not taken."""
    told = world.post("/v1/invoices", b"x", Content_Encoding="gzip")
    assert told.refusal == (415, "unsupported_encoding")


def test_idempotency_keys(world: World) -> None:
    """One key, of 1 to 256 bytes."""
    body = {"account": FOUNDER.account.hex(), "amount": 1, "reason": "x"}
    for key in ("", "k" * 257):
        assert world.post("/v1/distributions", body, Idempotency_Key=key).refusal == (400, "bad_idempotency_key")
    text = b'{"account": "%s", "amount": 1, "reason": "x"}' % FOUNDER.account.hex().encode()
    with world.connect() as sock:
        sock.sendall(
            b"POST /v1/distributions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nIdempotency-Key: a\r\n"
            b"Idempotency-Key: b\r\nContent-Length: %d\r\n\r\n%s" % (TOKEN.encode(), len(text), text)
        )
        assert b" 400 " in sock.makefile("rb").readline()


def test_bounds_are_the_board_s() -> None:
    """A smaller board takes smaller bodies."""
    with running(Board(api_body_bytes_max=1_024)) as world:
        assert world.post("/v1/invoices", {"amount": 1, "memo": "x" * 1_100}).refusal == (413, "body_too_large")
