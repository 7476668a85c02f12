"""Clients that are too many, too slow, too far ahead, or gone (docs/api.md)."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from leither_lite.board import Board
from leither_lite.edge.api import BODIES_BYTES_MAX, serve
from leither_lite.edge.api_connections import AHEAD_BYTES_MAX, Pace
from leither_lite.limits import PROOF_BYTES_MAX
from tests.edge.api_world import TOKEN, PlayedSeat, running

HEAD = f"Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
# Long enough for an answer on a busy machine, short enough to wait for.
HASTE = Pace(head=0.2, idle=0.2, body=0.2, write=0.2, heartbeat=0.05, stop=0.2)


def all_of(sock: socket.socket) -> bytes:
    """Everything until the other side ends the connection, however it does that."""
    taken = b""
    try:
        while chunk := sock.recv(65_536):
            taken += chunk
    except ConnectionResetError:
        pass
    return taken


def pour(sock: socket.socket, piece: bytes) -> None:
    """Send a piece again and again, far more than anybody may run ahead."""
    for _ in range(64 * AHEAD_BYTES_MAX // len(piece)):
        sock.sendall(piece)


def test_as_many_as_the_board_has_places_for() -> None:
    """The next one is told so at once, and finds a place when another has gone."""
    with running(Board(api_connections_max=4)) as world:
        held = [world.connect() for _ in range(4)]
        world.until(lambda: world.connections == 4)
        with world.connect() as sock:
            told = all_of(sock)
        assert told.startswith(b"HTTP/1.1 503 ")
        assert b'{"error":{"code":"busy",' in told
        held.pop().close()
        world.until(lambda: world.connections < 4)
        assert world.get("/v1/status").status == 200
        for sock in held:
            sock.close()


@pytest.mark.parametrize("start", [b"", b"GET /v1/st", b"GET /v1/status HTTP/1.1\r\nHost: loc"])
def test_a_head_that_does_not_come(start: bytes) -> None:
    """The connection ends, whatever it has begun to say."""
    with running(pace=HASTE) as world, world.connect() as sock:
        sock.sendall(start)
        assert all_of(sock) == b""


@pytest.mark.parametrize("start", [b"", b"GET /v1/st"])
def test_a_second_head_that_does_not_come(start: bytes) -> None:
    """The same after an answer."""
    with running(pace=HASTE) as world, world.connect() as sock:
        sock.sendall(b"GET /v1/status HTTP/1.1\r\n" + HEAD + b"\r\n" + start)
        assert all_of(sock).count(b"HTTP/1.1 200 OK") == 1


def test_a_body_that_does_not_come() -> None:
    """408, and the end."""
    with running(pace=HASTE) as world, world.connect() as sock:
        sock.sendall(b"POST /v1/invoices HTTP/1.1\r\n" + HEAD + b"Content-Length: 99\r\n\r\n{")
        told = all_of(sock)
    assert told.startswith(b"HTTP/1.1 408 ")
    assert b'"body_timeout"' in told


def test_a_client_that_waits_to_be_asked_for_its_body() -> None:
    """Expect: 100-continue is answered when the body is wanted, and not when it is too large."""
    with running() as world:
        with world.connect() as sock:
            lines = sock.makefile("rb")
            sock.sendall(
                b"POST /v1/accounts HTTP/1.1\r\n" + HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
            )
            assert lines.readline() == b"HTTP/1.1 100 Continue\r\n"
            assert lines.readline() == b"\r\n"
            sock.sendall(b"{}")
            assert lines.readline() == b"HTTP/1.1 201 Created\r\n"
        with world.connect() as sock:
            length = b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n"
            sock.sendall(b"POST /v1/accounts HTTP/1.1\r\n" + HEAD + length)
            assert sock.makefile("rb").readline().startswith(b"HTTP/1.1 413 ")


def test_a_client_that_runs_ahead() -> None:
    """Requests that come faster than they are served end the connection before they fill the memory."""
    with running() as world:
        begun, go = asyncio.Event(), asyncio.Event()

        async def wait(_: object) -> dict[str, object]:
            begun.set()
            await go.wait()
            return {}

        def flood() -> None:
            [connection] = world.api._door.connections.values()
            for _ in range(1 + AHEAD_BYTES_MAX // 1_800):
                connection.data_received(b"GET / HTTP/1.1\r\n\r\n" * 100)

        world.seat.ask = wait  # type: ignore[assignment, method-assign]
        with world.connect() as sock:
            sock.sendall(b"POST /v1/accounts HTTP/1.1\r\n" + HEAD + b"\r\n")
            world.until(begun.is_set)
            # As if the socket had brought it: newer releases of aiohttp stop reading before that.
            world.on_loop(flood)
            assert all_of(sock) == b""
        world.on_loop(go.set)


def test_bodies_of_all_requests_together() -> None:
    """Places are given by announced lengths, and given back."""
    with running() as world:
        length = f"Content-Length: {PROOF_BYTES_MAX}\r\n\r\n".encode()
        held = [world.connect() for _ in range(BODIES_BYTES_MAX // PROOF_BYTES_MAX)]
        for sock in held:
            sock.sendall(b"POST /v1/proofs/verify HTTP/1.1\r\n" + HEAD + length)
        world.until(lambda: world.api._bodies_bytes == BODIES_BYTES_MAX)
        assert world.post("/v1/accounts", {"memo": ""}).refusal == (503, "busy")
        assert world.get("/v1/status").status == 200
        for sock in held:
            sock.close()
        world.until(lambda: not world.connections)
        assert world.post("/v1/accounts", {"memo": ""}).status == 201


def test_a_head_without_end() -> None:
    """Lines are bounded by aiohttp, their number by what a client may send before it is served."""
    with running() as world, world.connect() as sock:
        sock.sendall(b"GET /v1/status HTTP/1.1\r\n" + HEAD)
        with pytest.raises(ConnectionError):
            pour(sock, b"X: " + b"x" * 4_000 + b"\r\n")


def test_strangers_leave_nothing_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """What is not HTTP at all is aiohttp's to answer, and nobody's to read."""
    with running() as world:
        for sent in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n"):
            with world.connect() as sock:
                sock.sendall(sent)
                sock.shutdown(socket.SHUT_WR)
                assert b" 200 " not in all_of(sock)
        with world.connect() as sock:
            sock.sendall(b"POST /v1/accounts HTTP/1.1\r\n" + HEAD + b"Content-Length: 99\r\n\r\n{")
        assert world.get("/v1/status").status == 200
    assert caplog.records == []


def test_a_broken_transfer_encoding() -> None:
    """It is not waited for longer than for any body."""
    with running(pace=HASTE) as world, world.connect() as sock:
        sock.sendall(b"POST /v1/accounts HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n")
        told = all_of(sock)
    assert told.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 408 ", b"HTTP/1.0 400 "))


def test_what_is_being_served_is_served_to_its_end() -> None:
    """Closing waits for a request that the node has taken; idle connections end at once."""
    with running() as world:
        idle = world.connect()
        begun = asyncio.Event()

        async def slow(_: object) -> dict[str, object]:
            begun.set()
            while world.api._door._listener.is_serving():  # type: ignore[union-attr]
                await asyncio.sleep(0)
            return {"account": "", "public_key": "", "state": "pending"}

        world.seat.ask = slow  # type: ignore[assignment, method-assign]
        with world.connect() as sock:
            sock.sendall(b"POST /v1/accounts HTTP/1.1\r\n" + HEAD + b"\r\n")
            world.until(begun.is_set)
            world.close()
            assert all_of(sock).startswith(b"HTTP/1.1 201 ")
        assert all_of(idle) == b""
        idle.close()
        with pytest.raises(ConnectionRefusedError):
            world.connect()


def test_on_the_node_s_own_loop() -> None:
    """uvloop's transports and servers do all that the API asks of them."""

    async def live() -> bytes:
        api = await serve(PlayedSeat(Board()), "localhost", 0)
        reader, writer = await asyncio.open_connection(api.host, api.port)
        writer.write(b"GET /v1/status HTTP/1.1\r\n" + HEAD + b"Connection: close\r\n\r\n")
        told = await reader.read()
        writer.close()
        watcher, leaver = await asyncio.open_connection(api.host, api.port)
        leaver.write(b"GET /v1/events HTTP/1.1\r\n" + HEAD + b"\r\n")
        await watcher.readuntil(b"event: health")
        await api.close()
        await watcher.read()
        leaver.close()
        return told

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(live()).startswith(b"HTTP/1.1 200 OK")
