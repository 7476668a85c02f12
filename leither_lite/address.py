"""Where a node or its API is reached: `HOST:PORT`, an IPv6 host in brackets.

Decides which texts are addresses. Never resolves one.
"""

from __future__ import annotations


def split_address(text: str) -> tuple[str, int] | None:
    """Host, without brackets, and port, 0 to 65,535; None for what is no address."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    digits = port.isascii() and port.isdigit() and len(port) <= 5
    plain = host.isascii() and host.isprintable() and not any(sign in host for sign in " /@[]")
    if not colon or not host or not plain or (":" in host) != bracketed or not digits or int(port) > 65_535:
        return None
    return host, int(port)
