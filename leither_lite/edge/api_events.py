"""The event stream of the API: notes as server-sent events (docs/api.md).

A watcher gets what happens from now on, and nothing twice; what it missed it reads from the other routes. Never queues
for a watcher that does not read: it is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from leither_lite.edge.api_connections import Connection, Pace
from leither_lite.edge.api_errors import json_bytes, stream_headers
from leither_lite.edge.seat import Seat, Subscription

STREAMED: Final = frozenset({"pulse", "transfer", "health", "checkpoint", "evidence", "caught_up"})
_HEARTBEAT: Final = b": \n\n"


def event(kind: str, value: Mapping[str, Any]) -> bytes:
    """One event: its kind, and its value as JSON on one line."""
    return b"event: %s\ndata: %s\n" % (kind.encode("ascii"), json_bytes(value))


class Streams:
    """The open event streams."""

    def __init__(self, seat: Seat, pace: Pace) -> None:
        self._seat = seat
        self._pace = pace
        self._open: dict[Connection, Subscription] = {}
        self._writing: set[Connection] = set()

    async def serve(self, request: web.BaseRequest, connection: Connection) -> web.StreamResponse:
        """Stream until the client, the node or a full queue ends it. Raises LocalError("too_many_streams")."""
        subscription = self._seat.subscribe()
        connection.on_lost = subscription.close
        self._open[connection] = subscription
        response = web.StreamResponse(headers=stream_headers("text/event-stream; charset=utf-8"))
        # Where it ends early, its client must not take what follows on the connection for part of it.
        response.force_close()
        try:
            await response.prepare(request)
            status = self._seat.status()
            chunk = event("health", {"healthy": status["healthy"], "reasons": status["reasons"]})
            while True:
                await self._write(response, connection, chunk)
                chunk = await self._next(subscription)
        except StopAsyncIteration:
            return response
        finally:
            connection.on_lost = None
            del self._open[connection]
            subscription.close()

    async def _next(self, subscription: Subscription) -> bytes:
        try:
            async with asyncio.timeout(self._pace.heartbeat):
                while True:
                    note = await anext(subscription)
                    if note.kind in STREAMED:
                        return event(note.kind, note.value)
        except TimeoutError:
            return _HEARTBEAT

    async def _write(self, response: web.StreamResponse, connection: Connection, chunk: bytes) -> None:
        self._writing.add(connection)
        try:
            async with asyncio.timeout(self._pace.write):
                await response.write(chunk)
        except TimeoutError:
            connection.abort()
            raise ConnectionResetError("the watcher does not read") from None
        finally:
            self._writing.discard(connection)

    def close(self) -> None:
        """End every stream now."""
        for connection, subscription in list(self._open.items()):
            subscription.close()
            if connection in self._writing:
                connection.abort()
