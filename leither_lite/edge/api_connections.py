"""The API's connections: how many there are, how long one may take, how far one may run ahead (docs/api.md).

aiohttp speaks HTTP; what it leaves open is bounded here: clients that are too many, that never finish a head, that do
not take their answer, or that send requests faster than they are served. Never looks at what is sent.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from aiohttp import web

from leither_lite.edge.api_errors import RETRY_SECONDS, error_body

# What a client may have sent of later requests. aiohttp stops reading a body that waits to be read at twice its buffer;
# the socket's own buffer bounds what comes in one piece before that.
AHEAD_BYTES_MAX: Final = 256 * 1024
READ_BUFFER_BYTES: Final = 32 * 1024
SOCKET_BUFFER_BYTES: Final = 64 * 1024

_FULL_BODY: Final = error_body("busy", "there are too many connections")
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Retry-After: %s\r\nContent-Length: %d\r\n\r\n%s" % (RETRY_SECONDS.encode(), len(_FULL_BODY), _FULL_BODY)
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things may take, in seconds.

    `head` from the start of a connection to its first whole head; `idle` from the end of one request, its answer
    included, to the next whole head; `body` to read a body; `write` until a watcher takes an event; `heartbeat` between
    signs of life to a watcher; `stop` for requests that are being served when the API ends.
    """

    head: float = 10.0
    idle: float = 60.0
    body: float = 30.0
    write: float = 15.0
    heartbeat: float = 15.0
    stop: float = 0.5


class Connection(asyncio.Protocol):
    """One client: aiohttp's protocol, behind bounds. Refuses itself where there are too many."""

    __slots__ = ("_ahead", "_door", "_inner", "_timer", "_transport", "on_lost")

    def __init__(self, door: Door) -> None:
        self._door = door
        self._inner: web.RequestHandler | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ahead = AHEAD_BYTES_MAX
        self.on_lost: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass the client on to aiohttp, or tell it that there is no place."""
        transport = cast(asyncio.Transport, transport)  # what TCP gives; uvloop's own is no subclass of it
        if len(self._door.connections) >= self._door.connections_max:
            transport.write(_FULL)
            transport.close()
            return
        self._transport = transport
        self._inner = self._door.server()
        self._door.connections[self._inner] = self
        self._wait(self._door.pace.head)
        self._inner.connection_made(transport)

    def data_received(self, chunk: bytes) -> None:
        """Pass bytes on, unless the client runs too far ahead of what it is answered."""
        if self._inner is None:
            return
        self._ahead -= len(chunk)
        if self._ahead < 0:
            self.abort()
        else:
            self._inner.data_received(chunk)

    def eof_received(self) -> None:
        """Pass the end on; the transport closes itself."""
        if self._inner is not None:
            self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass back pressure on."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that it is gone."""
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place to another client."""
        self._stop_waiting()
        self._transport = None
        if self._inner is not None:
            self._door.connections.pop(self._inner, None)
            self._inner.connection_lost(exc)
            self._inner = None
        if self.on_lost is not None:
            self.on_lost()

    def serve(self, body_bytes: int) -> None:
        """A head has come whole: it is served now; `body_bytes` are its body's."""
        self._stop_waiting()
        self._ahead = AHEAD_BYTES_MAX + body_bytes

    def allow(self, body_bytes: int) -> None:
        """Let the client send this much more before its request is served."""
        self._ahead += body_bytes

    def rest(self) -> None:
        """A request has been served, but for the writing of its answer."""
        if self._transport is not None:
            self._wait(self._door.pace.idle)

    def end(self) -> None:
        """End the connection once what is being served, if anything is, has been answered."""
        if self._transport is not None and self._timer is not None:
            self._transport.close()
        elif self._inner is not None:
            self._inner.close()

    def abort(self) -> None:
        """End the connection without waiting for the client to take anything."""
        if self._transport is not None:
            self._transport.abort()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Door:
    """Where clients come in: makes a `Connection` of each, and knows those that are open."""

    def __init__(self, server: web.Server, connections_max: int, pace: Pace) -> None:
        self.server = server
        self.connections_max = connections_max
        self.pace = pace
        self.connections: dict[web.RequestHandler, Connection] = {}
        self._listener: asyncio.Server | None = None

    def __call__(self) -> Connection:
        """The protocol of a client that has just been accepted."""
        return Connection(self)

    async def open(self, host: str, port: int) -> tuple[str, int]:
        """Listen; the address and port that are listened on (port 0: one that is free). Raises OSError."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self, host, port, start_serving=False)
        for sock in self._listener.sockets:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
        address = self._listener.sockets[0].getsockname()
        await self._listener.start_serving()
        return address[0], address[1]

    async def close(self) -> None:
        """Listen no more, let what is being served end, and leave no connection open."""
        if self._listener is not None:
            self._listener.close()
        for connection in list(self.connections.values()):
            connection.end()
        await self.server.shutdown(self.pace.stop)
        for connection in list(self.connections.values()):
            connection.abort()
