"""A stand-in for a node's API: answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple

Reply = tuple[int, Any]
"""HTTP's status, and a value that is sent as JSON, or bytes that are sent as they are."""


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]


class StandIn:
    """Listens on a free port of this machine while it is entered. `answers`: what it replies, by path."""

    def __init__(self) -> None:
        self.answers: dict[str, Reply | Callable[[Asked], Reply]] = {}
        self.asked: list[Asked] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            """Takes one request after another."""

            def do_GET(self) -> None:
                """Reads."""
                self._answer(None)

            def do_POST(self) -> None:
                """Writes."""
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: Any) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, body, headers)
                stand_in.asked.append(asked)
                missing = (404, {"error": {"code": "not_found", "message": f"there is no {self.path}"}})
                found = stand_in.answers.get(self.path.partition("?")[0], missing)
                status, value = found(asked) if callable(found) else found
                content = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Keeps quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> StandIn:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
