"""The event stream: what comes, in which form, and when a watcher is let go (docs/api.md)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from leither_lite.board import Board
from leither_lite.edge.api_connections import Pace
from leither_lite.effects import Note
from tests.edge.api_world import TOKEN, World, running


@contextmanager
def stream(world: World, version: str = "1.0") -> Iterator[IO[bytes]]:
    """A watcher's lines, behind the head of the answer; HTTP/1.0, so that no chunks lie between them."""
    with world.connect() as sock:
        sock.sendall(
            f"GET /v1/events HTTP/{version}\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
        )
        with sock.makefile("rb") as lines:
            assert b" 200 OK" in lines.readline()
            head = b"".join(iter(lines.readline, b"\r\n"))
            assert b"Content-Type: text/event-stream; charset=utf-8\r\n" in head
            yield lines


def event(lines: IO[bytes]) -> tuple[str, Any]:
    """The next event; its lines are in this order and no others."""
    kind, value, end = lines.readline(), lines.readline(), lines.readline()
    assert kind.startswith(b"event: ")
    assert value.startswith(b"data: ")
    assert end == b"\n"
    return kind[7:-1].decode(), json.loads(value[6:])


def test_pulses_and_transfers_as_they_happen() -> None:
    """Health first, then what happens; ticks are left out."""
    with running() as world:
        account = world.account()
        with stream(world) as lines:
            assert event(lines) == ("health", {"healthy": True, "reasons": []})
            given = world.post("/v1/distributions", {"account": account, "amount": 3, "reason": "grant"}).json
            world.advance(2)
            kind, pulse = event(lines)
            assert (kind, pulse["pulse"], pulse["operations"]) == ("pulse", 2, 1)
            kind, transfer = event(lines)
            assert (kind, transfer["id"], transfer["state"], transfer["pulse"]) == (
                "transfer",
                given["id"],
                "credited",
                2,
            )
            world.on_loop(lambda: world.seat.tell(Note("health", {"healthy": False, "reasons": []})))
            assert event(lines) == ("health", {"healthy": False, "reasons": []})


def test_a_sign_of_life() -> None:
    """A comment, when nothing happens."""
    with running(pace=Pace(heartbeat=0.01)) as world, stream(world) as lines:
        event(lines)
        assert lines.readline() == b": \n"
        assert lines.readline() == b"\n"


def test_as_many_watchers_as_the_board_has_places_for() -> None:
    """One more is refused; who has gone makes a place, without anything having to happen first."""
    with running(Board(api_events_max=1), Pace(heartbeat=3_600)) as world:
        with stream(world, "1.1") as lines:
            lines.readline()
            assert world.get("/v1/events").refusal == (429, "too_many_streams")
        world.until(lambda: not world.seat.watches)
        with stream(world) as lines:
            assert event(lines)[0] == "health"


def test_a_watcher_that_does_not_read_is_dropped() -> None:
    """Its queue runs full, what is being written times out, and the connection ends."""
    with running(pace=Pace(write=0.1)) as world, world.connect() as sock:
        head = f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        sock.sendall(head.encode())
        world.until(lambda: world.seat.watches)
        large = Note("pulse", {"filling": "x" * 1_000_000})

        def dropped() -> bool:
            world.seat.tell(large)
            return not world.seat.watches

        world.until(dropped)
        world.until(lambda: not world.connections)


def test_closing_ends_streams_at_once() -> None:
    """Waiting watchers get a proper end."""
    with running(pace=Pace(stop=30)) as world, stream(world) as lines:
        event(lines)
        world.close()
        assert lines.read() == b""
