"""A real node behind its real API: a store in memory, a clock that tests turn by hand, HTTP over a loopback socket."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from leither_lite.board import Board
from leither_lite.edge.api import Api, serve
from leither_lite.edge.api_connections import Pace
from leither_lite.effects import Note
from leither_lite.errors import Halt, LocalError
from leither_lite.identity import Key
from leither_lite.node.events import Event
from leither_lite.node.turn import Node
from leither_lite.node.view import View
from leither_lite.node.wallet import Keyring
from leither_lite.organization import Charter, SignedCharter, first_writes, usual_parameters
from leither_lite.store.reader import MemoryStore

TOKEN: Final = "0123456789abcdef" * 4
ORGANIZATION: Final = Key.from_seed(b"o" * 32)
FOUNDER: Final = Key.from_seed(b"f" * 32)
PULSE_MS: Final = 1_000
WAIT_S: Final = 30  # for what must happen; what fails, fails after it
NOTES_MAX: Final = 8


def founded(supply: int = 10**9) -> SignedCharter:
    """The charter of an organization whose founder seals alone."""
    charter = Charter(
        ORGANIZATION.public, "Test", supply, PULSE_MS, (FOUNDER.public,), FOUNDER.public, usual_parameters()
    )
    return SignedCharter.sign(ORGANIZATION, charter)


class Watch:
    """A watcher's queue: eight notes, then it is dropped."""

    def __init__(self, seat: PlayedSeat) -> None:
        self._seat = seat
        self._notes: deque[Note] = deque()
        self._wake = asyncio.Event()
        self._ended = False

    def put(self, note: Note) -> None:
        """Queue a note, or drop the watcher."""
        if len(self._notes) >= NOTES_MAX:
            self.close()
        self._notes.append(note)
        self._wake.set()

    async def __anext__(self) -> Note:
        while not self._ended and not self._notes:
            self._wake.clear()
            await self._wake.wait()
        if self._ended:
            raise StopAsyncIteration
        return self._notes.popleft()

    def close(self) -> None:
        """End it."""
        self._ended = True
        self._wake.set()
        if self in self._seat.watches:
            self._seat.watches.remove(self)


class PlayedSeat:
    """A node whose turns come at once when asked, and whose pulses come when a test says so."""

    def __init__(self, board: Board, node_key: Key = FOUNDER) -> None:
        self.board = board
        self.token = TOKEN
        self.store = MemoryStore()
        self.store.write(first_writes(founded(), [FOUNDER]))
        self.now_ms = 0
        self.watches: list[Watch] = []
        self.refuses: Exception | None = None
        self.reported: Halt | None = None
        random = Random(2)
        self.node = Node(self.store, Keyring(node_key, ORGANIZATION), board, random.randbytes, 0)
        self.view = View(self.node)
        self.turn([])  # the first one notes where the store lies

    def turn(self, events: Iterable[Event]) -> list[dict[str, Any] | LocalError]:
        """A turn, performed in its order; the answers."""
        effects = self.node.turn(list(events), self.now_ms)
        self.store.write(effects.writes)
        self.node.performed()
        for note in effects.notes:
            self.tell(note)
        return [reply.value for reply in effects.replies]

    def tell(self, note: Note) -> None:
        """Give a note to every watcher."""
        for watch in list(self.watches):
            watch.put(note)

    def advance(self, pulses: int = 1) -> None:
        """Let pulse cycles pass."""
        for _ in range(pulses):
            self.now_ms += PULSE_MS
            self.turn([])

    async def ask(self, make: Callable[[int], Event]) -> dict[str, Any]:
        """The answer to an event, in a turn of its own."""
        if self.refuses is not None:
            raise self.refuses
        [value] = self.turn([make(0)])
        if isinstance(value, LocalError):
            raise value
        return value

    def subscribe(self) -> Watch:
        """As the service does it."""
        if len(self.watches) >= self.board.api_events_max:
            raise LocalError("too_many_streams", "enough of them")
        watch = Watch(self)
        self.watches.append(watch)
        return watch

    def report(self, halt: Halt) -> None:
        """Kept for the test."""
        self.reported = halt

    def status(self) -> dict[str, Any]:
        """Part of what the service says."""
        return {"pulse": self.node.group.header.pulse, "healthy": True, "reasons": []}

    def metrics(self) -> dict[str, int]:
        """One of each kind, and one that nobody has described."""
        return {"pulse": self.node.group.header.pulse, "commits_total": 3, "odd_thing": 4}


class Answer:
    """What came back: status, headers, body."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def refusal(self) -> tuple[int, str]:
        """Status and code of an error, in the one form that errors have."""
        value = self.json
        assert list(value) == ["error"]
        assert list(value["error"]) == ["code", "message"]
        assert value["error"]["message"]
        return self.status, value["error"]["code"]


class World:
    """A running API, and how a test speaks to it."""

    def __init__(self, seat: PlayedSeat, api: Api, loop: asyncio.AbstractEventLoop) -> None:
        self.seat = seat
        self.api = api
        self._loop = loop

    def on_loop(self, call: Callable[[], Any]) -> Any:
        """Run something on the API's own thread; its value."""

        async def run() -> Any:
            return call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(WAIT_S)

    def until(self, condition: Callable[[], Any]) -> None:
        """Let the API go on until a condition holds; asked on its own thread. Raises TimeoutError."""

        async def run() -> None:
            async with asyncio.timeout(WAIT_S):
                while not condition():
                    await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(2 * WAIT_S)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.api._door.connections)

    def advance(self, pulses: int = 1) -> None:
        """Let pulse cycles pass."""
        self.on_loop(lambda: self.seat.advance(pulses))

    def close(self) -> None:
        """Close the API."""
        asyncio.run_coroutine_threadsafe(self.api.close(), self._loop).result(WAIT_S)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        token: str = TOKEN,
    ) -> Answer:
        """A request, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.api.port, timeout=WAIT_S)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {token}"} | (headers or {}))
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """GET, with the token."""
        return self.call("GET", path, headers=headers)

    def post(self, path: str, value: Any = None, **headers: str) -> Answer:
        """POST of a value as JSON, with the token; bytes go as they are."""
        body = value if isinstance(value, bytes) else json.dumps({} if value is None else value).encode()
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return self.call("POST", path, body, {"Content-Type": "application/json"} | named)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.api.port), timeout=WAIT_S)

    def account(self, amount: int = 0) -> str:
        """A further account, with an amount from the organization; sealed."""
        opened = self.post("/v1/accounts")
        assert opened.status == 201
        name: str = opened.json["account"]
        if amount:
            granted = self.post("/v1/distributions", {"account": name, "amount": amount, "reason": "grant"})
            assert granted.status == 202
        self.advance()
        return name

    def invoice(self, **fields: Any) -> str:
        """The text of an invoice."""
        made = self.post("/v1/invoices", fields)
        assert made.status == 201
        text: str = made.json["invoice"]
        return text


@contextmanager
def running(
    board: Board | None = None, pace: Pace | None = None, names: tuple[str, ...] = (), node_key: Key = FOUNDER
) -> Iterator[World]:
    """An API on a free port of this machine, on a thread of its own."""
    ready: Future[World] = Future()
    end: list[Callable[[], Any]] = []

    async def live() -> None:
        seat = PlayedSeat(Board() if board is None else board, node_key)
        api = await serve(seat, "127.0.0.1", 0, names, pace)
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        end.append(lambda: loop.call_soon_threadsafe(ended.set))
        ready.set_result(World(seat, api, loop))
        await ended.wait()
        await api.close()

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ready.result(WAIT_S)
    finally:
        for call in end:
            call()
        thread.join(WAIT_S)
