"""The local API: an HTTP server on the node's own machine (docs/api.md).

Decides in which order a request is judged: host, origin, token, path, method, query, body; then its route serves it.
Every error leaves as JSON with a stable code; what nobody foresaw leaves as `internal`, and is logged here, once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from leither_lite.board import Board
from leither_lite.edge import api_guard as guard
from leither_lite.edge.api_connections import READ_BUFFER_BYTES, Connection, Door, Pace
from leither_lite.edge.api_errors import answer, error_answer, json_bytes
from leither_lite.edge.api_events import Streams
from leither_lite.edge.api_forms import check_size, read_body, take_query
from leither_lite.edge.api_routes import Answer, Call, Route, Routes, Traffic
from leither_lite.edge.seat import Seat
from leither_lite.errors import Halt, LocalError
from leither_lite.limits import PROOF_BYTES_MAX

LINGER_SECONDS: Final = 2.0
BODIES_BYTES_MAX: Final = 16 * 1024 * 1024  # of all requests together, on a board that has the memory
_BODIES_SHARE: Final = 16  # of the board's memory, but always one proof
_NO_CLOSE_SECONDS: Final = 3_600.0  # `Pace` closes idle connections long before aiohttp would

_log: Final = logging.getLogger(__name__)
# What aiohttp logs is what strangers send: broken heads, ends in the middle. They get its answer; the log gets nothing.
_strangers: Final = logging.getLogger(f"{__name__}.strangers")
_strangers.setLevel(logging.CRITICAL)


class Api:
    """The API of one node, as it runs: `host` and `port` say where."""

    def __init__(self, seat: Seat, names: Iterable[str], pace: Pace) -> None:
        self.host = ""
        self.port = 0
        self._seat = seat
        self._names = frozenset(name.lower() for name in (*names, "localhost"))
        self._pace = pace
        self._bodies_bytes = 0
        self._bodies_bytes_max = bodies_bytes_max(seat.board)
        self._streams = Streams(seat, pace)
        self._traffic = Traffic(connections=lambda: len(self._door.connections))
        self._routes = Routes(seat, self._streams, self._traffic)
        server = web.Server(
            self._serve,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=_NO_CLOSE_SECONDS,
            lingering_time=LINGER_SECONDS,
            logger=_strangers,
            read_bufsize=READ_BUFFER_BYTES,
        )
        self._door = Door(server, seat.board.api_connections_max, pace)

    async def open(self, host: str, port: int) -> None:
        """Listen. Raises OSError."""
        self.host, self.port = await self._door.open(host, port)

    async def close(self) -> None:
        """End event streams at once, let other requests end, and close every connection."""
        self._streams.close()
        await self._door.close()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = self._door.connections.get(request.protocol)
        if connection is None:
            raise ConnectionResetError("the client has gone")
        connection.serve(request.content_length or 0)
        self._traffic.requests += 1
        try:
            response = await self._answer(request, connection)
        except LocalError as error:
            response = _refusal(request, connection, error.code, error.message)
        except Halt as halt:
            self._seat.report(halt)
            response = _refusal(request, connection, halt.code, halt.message)
        except ConnectionError:
            raise
        except Exception:
            _log.exception("%s %s failed", request.method, request.path)
            response = _refusal(request, connection, "internal", "the node has failed to answer; its log says how")
        finally:
            connection.rest()
        if response.status >= 400:
            self._traffic.errors += 1
        return response

    async def _answer(self, request: web.BaseRequest, connection: Connection) -> web.StreamResponse:
        path = request.rel_url.raw_path
        guard.check_host(request, self._names)
        guard.check_origin(request)
        if path != "/metrics" or not guard.is_from_here(request):
            guard.check_token(request, self._seat.token)
        methods, named = self._routes.find(path)
        # HEAD is GET without what follows the head; a stream has nothing but that.
        method = "GET" if request.method == "HEAD" and path != "/v1/events" else request.method
        route = methods.get(method)
        if route is None:
            response = error_answer("method_not_allowed", f"{request.method} is not for this path")
            response.headers["Allow"] = ", ".join(methods)
            return response
        query = take_query(request, route.query)
        if method != "POST":
            return _answer_of(route, await route.serve(Call(request, connection, named, query, {}, b"")))
        bytes_max = self._seat.board.api_body_bytes_max if route.body_max is None else route.body_max
        announced = request.content_length
        check_size(announced or 0, bytes_max)
        size = announced if announced is not None else bytes_max if request.body_exists else 0
        if self._bodies_bytes + size > self._bodies_bytes_max:
            raise LocalError("busy", "there are too many bodies in memory")
        connection.allow(size)
        self._bodies_bytes += size
        try:
            body = await read_body(request, bytes_max, self._pace.body)
            form = {} if route.form is None else route.form.take(body)
            return _answer_of(route, await route.serve(Call(request, connection, named, query, form, body)))
        finally:
            self._bodies_bytes -= size


def bodies_bytes_max(board: Board) -> int:
    """How many bytes of requests' bodies may be in memory at the same time."""
    return max(PROOF_BYTES_MAX, min(BODIES_BYTES_MAX, board.memory_anonymous_bytes // _BODIES_SHARE))


def _refusal(request: web.BaseRequest, connection: Connection, code: str, message: str) -> web.Response:
    if request.writer.output_size:
        # The answer has begun: all that is left to tell the client is that it ends too early.
        connection.abort()
        raise ConnectionResetError("the answer broke off")
    return error_answer(code, message)


def _answer_of(route: Route, told: Answer) -> web.StreamResponse:
    return told if isinstance(told, web.StreamResponse) else answer(json_bytes(told), route.status)


async def serve(seat: Seat, host: str, port: int, names: Iterable[str] = (), pace: Pace | None = None) -> Api:
    """Serve a seat's API on `host` and `port` (0: one that is free) until `close()`.

    `names` are host names that it may be called by besides localhost, `host` and IP addresses. Raises OSError where it
    cannot listen there.
    """
    api = Api(seat, (*names, host), Pace() if pace is None else pace)
    await api.open(host, port)
    return api
