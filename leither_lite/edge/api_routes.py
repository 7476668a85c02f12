"""The routes of the API: what each takes, asks the node, and answers (docs/api.md).

Decides how calls become events and reads of the node, and nothing about the ledger. Amounts are whole numbers of the
token's smallest unit; ids, keys and signatures are lower-case hex.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from leither_lite.edge import api_forms as forms
from leither_lite.edge.api_connections import Connection
from leither_lite.edge.api_errors import answer, json_bytes
from leither_lite.edge.api_events import Streams
from leither_lite.edge.api_forms import Form
from leither_lite.edge.api_metrics import metrics_text
from leither_lite.edge.seat import Seat
from leither_lite.errors import LocalError, RemoteError
from leither_lite.header import ROSTER_BYTES_MAX, Checkpoint
from leither_lite.ledger.records import Role
from leither_lite.limits import DIGEST_BYTES, PROOF_BYTES_MAX, SIGNATURE_BYTES, UINT_MAX
from leither_lite.node import events as ev
from leither_lite.tree.proof import Record, Trust, Verified, verify
from leither_lite.tree.proof_json import decode_json, encode_json

TRANSFERS_LIMIT: Final = 50
INVITE_TICKS: Final = 7 * 86_400
PULSE_HEADER: Final = "Leither-Pulse"
_RECORD_FIELDS: Final = ("balance", "frozen", "sent", "role", "votes")
# A larger proof may take so many signature checks that the pulse would wait for them: it is checked beside the loop.
_PROOF_BYTES_AT_ONCE: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has passed the guard, with what its route takes of it, checked.

    `named` is the id in the path; `query` has only parameters with a value; `form` the body's fields, `body` its bytes.
    """

    request: web.BaseRequest
    connection: Connection
    named: str
    query: Mapping[str, str]
    form: Mapping[str, Any]
    body: bytes

    @property
    def account(self) -> bytes:
        """The account that the path names. Raises LocalError("bad_account")."""
        taken: bytes = forms.account(self.named)
        return taken

    @property
    def idempotency_key(self) -> str | None:
        """The header `Idempotency-Key`. Raises LocalError("bad_idempotency_key") where it is there twice."""
        told = self.request.headers.getall("Idempotency-Key", [])
        if len(told) > 1:
            raise LocalError("bad_idempotency_key", "the header Idempotency-Key is there twice")
        return told[0] if told else None


Answer = Mapping[str, Any] | web.StreamResponse


@dataclass(frozen=True, slots=True)
class Route:
    """What a method of a path does. `body_max` is for bodies that are no form; None: the board's bound."""

    serve: Callable[[Call], Awaitable[Answer]]
    query: tuple[str, ...] = ()
    status: int = 200
    form: Form | None = None
    body_max: int | None = None


@dataclass(slots=True)
class Traffic:
    """What the API counts of itself."""

    requests: int = 0
    errors: int = 0
    connections: Callable[[], int] = field(default=lambda: 0)


class Routes:
    """The table of routes over a seat."""

    def __init__(self, seat: Seat, streams: Streams, traffic: Traffic) -> None:
        self._seat = seat
        self._streams = streams
        self._traffic = traffic
        self._checking = False
        account = {"account": forms.account}
        amount = {"amount": forms.number("bad_amount")}
        memo, ticks = {"memo": forms.text("bad_memo")}, {"ticks": forms.number("bad_ticks")}
        role = {"role": forms.role}
        invoice = Form(amount, {**memo, **ticks, **account})
        transfer = Form({"invoice": forms.text("bad_invoice")}, {**amount, **account})
        distribution = Form({**account, **amount, "reason": forms.text("bad_reason")})
        application = Form(
            {
                "application": forms.octets("bad_application"),
                "signature": forms.octets("bad_application", SIGNATURE_BYTES),
            },
            {"invite": forms.text("bad_invite")},
        )
        roster = Form({"roster": forms.nodes}, {"force": forms.flag("bad_force")})
        checkpoint = Form(
            {
                "pulse": forms.number("bad_checkpoint"),
                "digest": forms.octets("bad_checkpoint", DIGEST_BYTES),
                "roster": forms.octets("bad_checkpoint"),
                "signature": forms.octets("bad_checkpoint", SIGNATURE_BYTES),
            }
        )
        self.table: Final[dict[str, dict[str, Route]]] = {
            "/metrics": {"GET": Route(self.metrics)},
            "/v1/status": {"GET": Route(self.status)},
            "/v1/charter": {"GET": Route(self.charter)},
            "/v1/summary": {"GET": Route(self.summary)},
            "/v1/branch": {"GET": Route(self.branch)},
            "/v1/events": {"GET": Route(self.events)},
            "/v1/account": {"GET": Route(self.account, ("account",))},
            "/v1/accounts": {
                "GET": Route(self.accounts),
                "POST": Route(self.open_account, status=201, form=Form({}, memo)),
            },
            "/v1/accounts/{id}/proof": {"GET": Route(self.proof, ("pulse",))},
            "/v1/proofs/verify": {"POST": Route(self.check_proof, body_max=PROOF_BYTES_MAX)},
            "/v1/invoices": {"POST": Route(self.create_invoice, status=201, form=invoice)},
            "/v1/transfers": {
                "GET": Route(self.transfers, ("before", "limit")),
                "POST": Route(self.pay, status=202, form=transfer),
            },
            "/v1/transfers/{id}": {"GET": Route(self.transfer)},
            "/v1/distributions": {"POST": Route(self.distribute, status=202, form=distribution)},
            "/v1/applications": {
                "GET": Route(self.applications),
                "POST": Route(self.apply, status=201, form=application),
            },
            "/v1/applications/{id}/approve": {"POST": Route(self.approve, form=Form({}, role))},
            "/v1/applications/{id}/refuse": {"POST": Route(self.refuse, form=Form())},
            "/v1/invites": {"POST": Route(self.create_invite, status=201, form=Form({}, {**role, **ticks}))},
            "/v1/peers": {"GET": Route(self.peers)},
            "/v1/evidence": {"GET": Route(self.evidence)},
            "/v1/roster": {
                "GET": Route(self.roster),
                "POST": Route(self.change_roster, status=202, form=roster),
            },
            "/v1/roles": {"POST": Route(self.change_role, form=Form({**account, **role}))},
            "/v1/checkpoints": {"POST": Route(self.take_checkpoint, form=checkpoint)},
        }

    def find(self, path: str) -> tuple[dict[str, Route], str]:
        """The methods of a path, and the id in it ("" without one). Raises LocalError("not_found")."""
        methods, named = self.table.get(path), ""
        parts = path.split("/")
        if methods is None and len(parts) > 3:
            named, parts[3] = parts[3], "{id}"
            methods = self.table.get("/".join(parts))
        if methods is None or "{" in path:
            raise LocalError("not_found", "there is no such path")
        return methods, named

    # -- the node ------------------------------------------------------------------------------------------------

    async def status(self, _: Call) -> Answer:
        """GET /v1/status"""
        return self._seat.status()

    async def charter(self, _: Call) -> Answer:
        """GET /v1/charter"""
        return self._seat.node.charter.to_json()

    async def summary(self, _: Call) -> Answer:
        """GET /v1/summary"""
        pulse, page = self._seat.view.summary()
        told = answer(page, content_type="application/cbor")
        told.headers[PULSE_HEADER] = str(pulse)
        return told

    async def branch(self, _: Call) -> Answer:
        """GET /v1/branch"""
        return self._seat.view.way.to_json()

    async def events(self, call: Call) -> Answer:
        """GET /v1/events"""
        return await self._streams.serve(call.request, call.connection)

    async def peers(self, _: Call) -> Answer:
        """GET /v1/peers"""
        return {"peers": self._seat.view.peers()}

    async def evidence(self, _: Call) -> Answer:
        """GET /v1/evidence"""
        return {"evidence": self._seat.view.evidence()}

    async def roster(self, _: Call) -> Answer:
        """GET /v1/roster"""
        return self._seat.view.roster()

    async def change_roster(self, call: Call) -> Answer:
        """POST /v1/roster"""
        return await self._seat.ask(lambda token: ev.ChangeRoster(token, call.form["roster"], bool(call.form["force"])))

    async def metrics(self, _: Call) -> Answer:
        """GET /metrics, in Prometheus' text form."""
        own = {
            "api_connections": self._traffic.connections(),
            "api_errors_total": self._traffic.errors,
            "api_requests_total": self._traffic.requests,
        }
        text = metrics_text({**self._seat.metrics(), **own})
        return answer(text.encode("ascii"), content_type="text/plain; version=0.0.4; charset=utf-8")

    async def take_checkpoint(self, call: Call) -> Answer:
        """POST /v1/checkpoints"""
        form = call.form
        if not 0 <= form["pulse"] <= UINT_MAX or len(form["roster"]) > ROSTER_BYTES_MAX:
            raise LocalError("bad_checkpoint", "a pulse or a roster that no checkpoint has")
        checkpoint = Checkpoint(form["pulse"], form["digest"], form["roster"], form["signature"])
        return await self._seat.ask(lambda token: ev.TakeCheckpoint(token, checkpoint))

    # -- accounts and proofs -------------------------------------------------------------------------------------

    async def account(self, call: Call) -> Answer:
        """GET /v1/account"""
        named = call.query.get("account")
        return self._seat.view.account(None if named is None else forms.account(named))

    async def accounts(self, _: Call) -> Answer:
        """GET /v1/accounts"""
        return {"accounts": self._seat.view.accounts()}

    async def open_account(self, call: Call) -> Answer:
        """POST /v1/accounts"""
        return await self._seat.ask(lambda token: ev.OpenAccount(token, call.form["memo"] or ""))

    async def proof(self, call: Call) -> Answer:
        """GET /v1/accounts/{id}/proof"""
        proof = self._seat.view.proof(call.account, forms.query_number(call.query, "pulse"))
        return answer(encode_json(proof) + b"\n")

    async def check_proof(self, call: Call) -> Answer:
        """POST /v1/proofs/verify"""
        charter = self._seat.node.charter.charter
        trust = Trust(charter.organization_key, charter.roster)
        if len(call.body) <= _PROOF_BYTES_AT_ONCE:
            return checked_proof(call.body, trust)
        if self._checking:
            raise LocalError("busy", "another large proof is being checked")
        self._checking = True
        try:
            return await asyncio.to_thread(checked_proof, call.body, trust)
        finally:
            self._checking = False

    # -- payments ------------------------------------------------------------------------------------------------

    async def create_invoice(self, call: Call) -> Answer:
        """POST /v1/invoices"""
        form = call.form
        return await self._seat.ask(
            lambda token: ev.CreateInvoice(
                token, form["account"], form["amount"], form["memo"] or "", form["ticks"] or 0
            )
        )

    async def pay(self, call: Call) -> Answer:
        """POST /v1/transfers"""
        form, key = call.form, call.idempotency_key
        return _accepted(
            await self._seat.ask(
                lambda token: ev.PayInvoice(token, form["account"], form["invoice"], form["amount"], key)
            )
        )

    async def distribute(self, call: Call) -> Answer:
        """POST /v1/distributions"""
        form, key = call.form, call.idempotency_key
        return _accepted(
            await self._seat.ask(
                lambda token: ev.Distribute(token, form["account"], form["amount"], form["reason"], key)
            )
        )

    async def transfer(self, call: Call) -> Answer:
        """GET /v1/transfers/{id}"""
        return self._seat.view.transfer(call.named)

    async def transfers(self, call: Call) -> Answer:
        """GET /v1/transfers"""
        limit = forms.query_number(call.query, "limit")
        found = self._seat.view.transfers(call.query.get("before"), TRANSFERS_LIMIT if limit is None else limit)
        return {"transfers": found}

    # -- joins ---------------------------------------------------------------------------------------------------

    async def applications(self, _: Call) -> Answer:
        """GET /v1/applications"""
        return {"applications": self._seat.view.applications()}

    async def apply(self, call: Call) -> Answer:
        """POST /v1/applications"""
        form = call.form
        return await self._seat.ask(
            lambda token: ev.Apply(token, form["application"], form["signature"], form["invite"])
        )

    async def approve(self, call: Call) -> Answer:
        """POST /v1/applications/{id}/approve"""
        applicant, role = call.account, _role_or_member(call.form["role"])
        return await self._seat.ask(lambda token: ev.ApproveApplication(token, applicant, role))

    async def refuse(self, call: Call) -> Answer:
        """POST /v1/applications/{id}/refuse"""
        applicant = call.account
        return await self._seat.ask(lambda token: ev.RefuseApplication(token, applicant))

    async def create_invite(self, call: Call) -> Answer:
        """POST /v1/invites"""
        role, ticks = _role_or_member(call.form["role"]), call.form["ticks"]
        return await self._seat.ask(
            lambda token: ev.CreateInvite(token, role, INVITE_TICKS if ticks is None else ticks)
        )

    async def change_role(self, call: Call) -> Answer:
        """POST /v1/roles"""
        form = call.form
        return await self._seat.ask(lambda token: ev.ChangeRole(token, form["account"], form["role"]))


def _role_or_member(role: int | None) -> int:
    return int(Role.MEMBER) if role is None else role


def _accepted(told: Mapping[str, Any]) -> Answer:
    """202 for what is new; what had been asked before is there already: 200."""
    return answer(json_bytes(told)) if told["repeated"] else told


def checked_proof(body: bytes, trust: Trust) -> dict[str, Any]:
    """The answer of `POST /v1/proofs/verify`. Raises LocalError("bad_json") for what is no JSON at all."""
    try:
        verified = verify(decode_json(body), trust)
    except RemoteError as error:
        if error.reason in ("json_syntax", "json_deep"):
            raise LocalError("bad_json", f"the body is not JSON: {error.detail}") from None
        return {"holds": False, "reason": error.reason, **_shown(None)}
    return {"holds": True, "reason": None, **_shown(verified)}


def _shown(verified: Verified | None) -> dict[str, Any]:
    if verified is None:
        return dict.fromkeys(("kind", "account", "record", "pulse", "leaf_pulse", "age"))
    return {
        "kind": verified.kind,
        "account": verified.account.hex(),
        "record": None if verified.record is None else _record(verified.record),
        "pulse": verified.pulse,
        "leaf_pulse": verified.leaf_pulse,
        "age": verified.age,
    }


def _record(record: Record) -> dict[str, Any]:
    """A record as `GET /v1/account` shows it: the role by its name, where it has one."""
    shown: dict[str, Any] = dict(zip(_RECORD_FIELDS, record, strict=True))
    role = shown["role"]
    if role in list(Role):
        shown["role"] = Role(role).name.lower()
    return shown
