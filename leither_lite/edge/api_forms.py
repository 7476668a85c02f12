"""Bodies and queries of the API: read within bounds, and taken strictly (docs/api.md).

Decides form only: kinds of values, and that nothing is there twice or unasked. Ranges that are rules of the ledger are
the node's. What is refused names its code: bad_json for what is no JSON, bad_<field> for what a field cannot be.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from aiohttp import web

from leither_lite.errors import LocalError, RemoteError
from leither_lite.header import SIGNATURES_MAX
from leither_lite.identity import from_hex, parse_account
from leither_lite.ledger.records import Role
from leither_lite.limits import ID_BYTES, KEY_BYTES, SUM_MAX, UINT_MAX

NUMBER_DIGITS_MAX: Final = len(str(UINT_MAX))
_ROLES: Final = {role.name.lower(): int(role) for role in (Role.GUEST, Role.MEMBER, Role.SUPERVISOR)}

Take = Callable[[object], Any]
"""Takes a JSON value for what a field expects, or raises LocalError."""


async def read_body(request: web.BaseRequest, bytes_max: int, seconds: float) -> bytes:
    """The whole body, in memory never more than `bytes_max` of it and what one read brings.

    Raises LocalError: body_too_large, unsupported_encoding, body_timeout, bad_body (a broken transfer encoding);
    ConnectionResetError where the client has gone.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise LocalError("unsupported_encoding", "send the body as it is, without Content-Encoding")
    if not request.body_exists:
        return b""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer itself has not begun
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            while chunk := await request.content.readany():
                check_size(len(body) + len(chunk), bytes_max)
                body += chunk
    except TimeoutError:
        raise LocalError("body_timeout", "the body took too long") from None
    except web.RequestPayloadError:
        raise LocalError("bad_body", "the body is not in the transfer encoding that its head names") from None
    except OSError as error:
        raise ConnectionResetError("the client has gone") from error
    return bytes(body)


def check_size(size: int, bytes_max: int) -> None:
    """Raises LocalError("body_too_large")."""
    if size > bytes_max:
        raise LocalError("body_too_large", f"the body may have {bytes_max} bytes")


class _NotWhole:
    """Stands for a number that is none of ours, so that the field it was meant for refuses it by its own code."""


def _whole(digits: str) -> int | _NotWhole:
    return int(digits) if len(digits) <= NUMBER_DIGITS_MAX else _NotWhole()


def _inexact(_: str) -> _NotWhole:
    return _NotWhole()


def _no_json(text: str) -> NoReturn:
    raise LocalError("bad_json", f"{text} is not JSON")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise LocalError("doubled_field", "a field is there twice")
    return made


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_distinct, parse_int=_whole, parse_float=_inexact, parse_constant=_no_json
)


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; none at all counts as an empty one.

    Raises LocalError: bad_json, doubled_field, not_an_object.
    """
    if not body:
        return {}
    try:
        value = _DECODER.decode(body.decode())
    except ValueError:
        raise LocalError("bad_json", "the body is not JSON in UTF-8") from None
    except RecursionError:
        raise LocalError("bad_json", "the body is nested beyond reason") from None
    if not isinstance(value, dict):
        raise LocalError("not_an_object", "the body is a JSON object")
    return value


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a body: how each is taken; those of `optional` may be absent or null, and are None then."""

    required: Mapping[str, Take] = field(default_factory=dict)
    optional: Mapping[str, Take] = field(default_factory=dict)

    def take(self, body: bytes) -> dict[str, Any]:
        """Every field of the form, taken.

        Raises LocalError: those of `read_object`, unknown_field, missing_field, and those of the fields.
        """
        value = read_object(body)
        for name in value:
            if name not in self.required and name not in self.optional:
                raise LocalError("unknown_field", f"there is no field {name[:40]!a} here")
        taken: dict[str, Any] = {}
        for name, take in self.required.items():
            if name not in value:
                raise LocalError("missing_field", f"the field {name} is missing")
            taken[name] = take(value[name])
        for name, take in self.optional.items():
            given = value.get(name)
            taken[name] = None if given is None else take(given)
        return taken


def number(code: str) -> Take:
    """A whole number, as JSON has them: no fraction, no text, no boolean."""

    def take(value: object) -> int:
        if type(value) is not int:
            raise LocalError(code, "a whole number is expected")
        return value

    return take


def flag(code: str) -> Take:
    """A boolean, as JSON has them: true or false."""

    def take(value: object) -> bool:
        if not isinstance(value, bool):
            raise LocalError(code, "true or false is expected")
        return value

    return take


def text(code: str) -> Take:
    """Text that has a UTF-8 form."""

    def take(value: object) -> str:
        if not isinstance(value, str):
            raise LocalError(code, "text is expected")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise LocalError(code, "text that has no UTF-8") from None
        return value

    return take


def octets(code: str, size: int | None = None) -> Take:
    """Bytes in lower-case hex, `size` of them if it is given."""

    def take(value: object) -> bytes:
        try:
            return from_hex(value, size)
        except RemoteError as error:
            raise LocalError(code, error.detail) from None

    return take


def account(value: object) -> bytes:
    """An account's id. Raises LocalError("bad_account")."""
    try:
        return parse_account(value)
    except RemoteError:
        raise LocalError("bad_account", "an account's id has 40 lower-case hex digits") from None


def nodes(value: object) -> tuple[bytes, ...]:
    """Nodes of a roster, chief first: public keys or account ids in hex. Raises LocalError("bad_roster")."""
    if not isinstance(value, list) or not 0 < len(value) <= SIGNATURES_MAX:
        raise LocalError("bad_roster", f"a list of 1 to {SIGNATURES_MAX} nodes is expected")
    taken = tuple(octets("bad_roster")(each) for each in value)
    if any(len(each) not in (ID_BYTES, KEY_BYTES) for each in taken):
        raise LocalError("bad_roster", "a node is named by its public key or its account id, in hex")
    return taken


def role(value: object) -> int:
    """A role that an account can be given, by its name. Raises LocalError("bad_role")."""
    taken = _ROLES.get(value) if isinstance(value, str) else None
    if taken is None:
        raise LocalError("bad_role", f"a role is one of {', '.join(_ROLES)}")
    return taken


def take_query(request: web.BaseRequest, names: tuple[str, ...]) -> dict[str, str]:
    """The parameters of a query; one without a value counts as absent.

    Raises LocalError: unknown_parameter, doubled_parameter.
    """
    taken: dict[str, str] = {}
    for name, value in request.rel_url.query.items():
        if name not in names:
            raise LocalError("unknown_parameter", f"there is no parameter {name[:40]!a} here")
        if name in taken:
            raise LocalError("doubled_parameter", f"the parameter {name} is there twice")
        taken[name] = value
    return {name: value for name, value in taken.items() if value}


def query_number(query: Mapping[str, str], name: str) -> int | None:
    """A whole number from a query, None if it is absent. Raises LocalError("bad_<name>")."""
    told = query.get(name)
    if told is None:
        return None
    if not (told.isascii() and told.isdigit() and len(told) <= NUMBER_DIGITS_MAX) or int(told) > SUM_MAX:
        raise LocalError(f"bad_{name}", f"{name} is a whole number")
    return int(told)
