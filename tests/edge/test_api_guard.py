"""Hosts and origins: what a page in a browser on this machine could try (docs/api.md)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from aiohttp import web

from leither_lite.edge.api_guard import is_from_here
from tests.edge.api_world import TOKEN, World, running


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """An API that may also be called by a name."""
    with running(names=("Node.Example",)) as world:
        yield world


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LocalHost:8080", "127.0.0.1", "127.0.0.1:1", "192.168.1.7:8080", "[::1]", "[::1]:8080"),
        *("[fe80::1]", "node.example", "NODE.example:443"),
    ],
)
def test_own_hosts(world: World, host: str) -> None:
    """Addresses, localhost, and the names that it was given, with a port or without."""
    assert world.get("/v1/status", Host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost:"),
        *("127.0.0.1:x", "::1", "[127.0.0.1]", "[localhost]", "[::1", "localhost/", "a@localhost", "127.1", "0x7f.1"),
        *("", " ", "node", "localhost:123456", "localhost,evil.example", "\xb9\xb2\xb7.0.0.1"),
    ],
)
def test_other_hosts(world: World, host: str) -> None:
    """Before the token is looked at, and whatever the path: by DNS rebinding any name can lead here."""
    assert world.get("/v1/status", Host=host).refusal == (403, "host_refused")
    assert world.call("GET", "/nothing", headers={"Host": host}, token="").refusal == (403, "host_refused")
    assert world.call("GET", "/metrics", headers={"Host": host}, token="").refusal == (403, "host_refused")


@pytest.mark.parametrize("hosts", ["", "Host: localhost\r\nHost: localhost\r\n"])
def test_one_host(world: World, hosts: str) -> None:
    """None, or two."""
    with world.connect() as sock:
        sock.sendall(f"GET /v1/status HTTP/1.0\r\n{hosts}Authorization: Bearer {TOKEN}\r\n\r\n".encode())
        line = sock.makefile("rb").readline()
    assert b" 403 " in line or b" 400 " in line


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://localhost:8080", "http://localhost", "http://localhost:8081", ""]
)
def test_other_origins(world: World, origin: str) -> None:
    """Another site, another port, no site."""
    told = world.get("/v1/status", Host="localhost:8080", Origin=origin)
    assert told.refusal == (403, "origin_refused")
    assert [name for name in told.headers if name.lower().startswith("access-control")] == []


def test_own_origin(world: World) -> None:
    """A page that this host serves itself."""
    assert world.get("/v1/status", Host="Localhost:8080", Origin="http://localhost:8080").status == 200


def test_metrics_without_a_token_only_from_here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client elsewhere needs the token for them too."""
    monkeypatch.setattr(web.BaseRequest, "remote", "192.168.1.7")
    assert world.call("GET", "/metrics", token="").refusal == (401, "unauthorized")
    assert world.call("GET", "/metrics").status == 200


@pytest.mark.parametrize(
    ("remote", "here"),
    [
        *[("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("::ffff:127.0.0.1", True)],
        *[("::ffff:10.0.0.1", False), ("10.0.0.1", False), ("", False), (None, False), ("localhost", False)],
    ],
)
def test_addresses_of_this_machine(remote: str | None, here: bool) -> None:
    """Loopback in all its forms."""

    class Asked:
        pass

    asked = Asked()
    asked.remote = remote  # type: ignore[attr-defined]
    assert is_from_here(asked) is here  # type: ignore[arg-type]
