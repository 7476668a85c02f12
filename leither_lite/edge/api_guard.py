"""Who may speak to the API at all: the `Host` it was called by, the page it was called from, the token (docs/api.md).

A web page that a browser on this machine shows can send requests here, and by DNS rebinding even read the answers;
what it cannot do is name this host by an address, or send another `Origin` than its own. Never looks at bodies.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Set
from ipaddress import IPv6Address, ip_address
from typing import Final

from aiohttp import web

from leither_lite.errors import LocalError

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\s]+)(?::[0-9]{1,5})?")


def check_host(request: web.BaseRequest, names: Set[str]) -> None:
    """Refuse a request that was meant for another host: only addresses, localhost and `names` are ours.

    Raises LocalError("host_refused").
    """
    told = request.headers.getall("Host", [])
    found = _HOST.fullmatch(told[0]) if len(told) == 1 else None
    if found is None or not (found[1].lower() in names or _is_address(found[1])):
        raise LocalError("host_refused", "call this API by an IP address, by localhost, or by a name it was given")


def check_origin(request: web.BaseRequest) -> None:
    """Refuse a request from another site's page. Raises LocalError("origin_refused")."""
    told = request.headers.getall("Origin", [])
    host = request.headers.get("Host", "").lower()
    if told and [origin.lower() for origin in told] != [f"http://{host}"]:
        raise LocalError("origin_refused", "pages of other sites have no business here")


def check_token(request: web.BaseRequest, token: str) -> None:
    """Refuse a request without the bearer token, in a time that does not tell how much of it was right.

    Raises LocalError("unauthorized").
    """
    told = request.headers.getall("Authorization", [])
    scheme, _, given = told[0].partition(" ") if len(told) == 1 else ("", "", "")
    same = hmac.compare_digest(given.strip(" ").encode("utf-8", "surrogateescape"), token.encode())
    if not same or scheme.lower() != "bearer":
        raise LocalError("unauthorized", "send the header Authorization: Bearer TOKEN; the file api-token has it")


def is_from_here(request: web.BaseRequest) -> bool:
    """True if the client is on this machine."""
    try:
        address = ip_address(request.remote or "")
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _is_address(host: str) -> bool:
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return False
    return isinstance(address, IPv6Address) == host.startswith("[")
