"""Error codes of the local API and the HTTP status of each (docs/api.md), and the answer that carries one.

Decides statuses only: a code says what went wrong, and where it is raised, why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

# What is not in here is 400: the request itself is wrong, and sent again it will be refused again.
STATUS_OF_CODE: Final = {
    "unauthorized": 401,
    "host_refused": 403,
    "not_a_member": 403,
    "not_own_account": 403,
    "not_permitted": 403,
    "organization_key_absent": 403,
    "origin_refused": 403,
    "not_found": 404,
    "unknown_account": 404,
    "unknown_application": 404,
    "unknown_node": 404,
    "unknown_pulse": 404,
    "unknown_transfer": 404,
    "method_not_allowed": 405,
    "body_timeout": 408,
    "account_exists": 409,
    "accounts_full": 409,
    "applications_full": 409,
    "checkpoint_not_newest": 409,
    "group_full": 409,
    "idempotency_conflict": 409,
    "invite_used": 409,
    "receipts_settled": 409,
    "roster_unreachable": 409,
    "willing_full": 409,
    "wrong_number": 409,
    "wrong_sent": 409,
    "body_too_large": 413,
    "unsupported_encoding": 415,
    # The request is well formed, but the ledger refuses what it asks for.
    "account_frozen": 422,
    "amount_mismatch": 422,
    "bad_roster": 422,
    "bad_signature": 422,
    "checkpoint_signature": 422,
    "expired": 422,
    "id_too_close": 422,
    "insufficient_balance": 422,
    "invoice_mismatch": 422,
    "misplaced": 422,
    "not_shown": 422,
    "nothing_pending": 422,
    "other_network": 422,
    "payer_is_payee": 422,
    "role_fixed": 422,
    "too_early": 422,
    "unknown_payee": 422,
    "unknown_payer": 422,
    "wrong_header": 422,
    "too_many_streams": 429,
    "internal": 500,
    # The node stops: an invariant is broken.
    "not_conserved": 500,
    "body_layers": 500,
    "no_proposal": 500,
    "not_the_roster": 500,
    "state_too_large": 500,
    # Nothing is wrong with the request: it may be sent again as it is, later.
    "awaiting_checkpoint": 503,
    "body_full": 503,
    "busy": 503,
    "no_branch_yet": 503,
    "pending_full": 503,
    "stopping": 503,
}
_NO_BOOKS: Final = ("store_", "disk_")  # what keeps the node from keeping books, whatever it is called in full
# Who is refused for these has nothing to say on this connection, or has left a body unread.
_ENDS: Final = frozenset(
    {
        "bad_body",
        "body_timeout",
        "body_too_large",
        "host_refused",
        "origin_refused",
        "unauthorized",
        "unsupported_encoding",
    }
)

RETRY_SECONDS: Final = "1"
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "leither-lite"}


def status_of(code: str) -> int:
    """The HTTP status of an error code."""
    return STATUS_OF_CODE.get(code, 503 if code.startswith(_NO_BOOKS) else 400)


def error_body(code: str, message: str) -> bytes:
    """The JSON of every error: {"error": {"code", "message"}}."""
    return json_bytes({"error": {"code": code, "message": message}})


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """JSON on one line, ASCII, with a line's end for people's terminals."""
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def answer(body: bytes, status: int = 200, content_type: str = "application/json") -> web.Response:
    """An answer that no cache keeps and no browser takes for something else."""
    return web.Response(body=body, status=status, headers={**_HEADERS, "Content-Type": content_type})


def stream_headers(content_type: str) -> dict[str, str]:
    """The same headers for an answer that is not made of one piece."""
    return {**_HEADERS, "Content-Type": content_type}


def error_answer(code: str, message: str) -> web.Response:
    """The answer for an error code. Some end the connection."""
    status = status_of(code)
    response = answer(error_body(code, message), status)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="leither-lite"'
    if status in (429, 503):
        response.headers["Retry-After"] = RETRY_SECONDS
    if code in _ENDS:
        response.force_close()
    return response
