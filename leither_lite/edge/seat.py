"""What the local API asks of the node it sits on: the shapes that the running service gives, and a test can play.

Decides nothing. `docs/api.md` says what the answers look like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from leither_lite.board import Board
from leither_lite.effects import Note
from leither_lite.errors import Halt
from leither_lite.node.events import Request
from leither_lite.node.turn import Node
from leither_lite.node.view import View


class Subscription(Protocol):
    """Notes for one watcher, in a bounded queue. A watcher that lets it run full is dropped: the iteration ends."""

    async def __anext__(self) -> Note:
        """The next note. Raises StopAsyncIteration once closed or dropped; a cancelled wait loses no note."""

    def close(self) -> None:
        """End the iteration, and give the place to another watcher. Doing it again changes nothing."""


class Seat(Protocol):
    """A running node, as the API sees it. `node` and `view` are others after a recovery: never keep them."""

    @property
    def node(self) -> Node:
        """The node itself; the API only reads it."""

    @property
    def view(self) -> View:
        """Its reads, as of the last performed turn."""

    @property
    def board(self) -> Board:
        """The budgets of this board."""

    @property
    def token(self) -> str:
        """The bearer token: 64 hex digits."""

    async def ask(self, make: Callable[[int], Request]) -> dict[str, Any]:
        """Put the event that `make` gives for a token into the next turn, and wait until that turn is durable.

        Raises LocalError: what the node refuses; busy (the queue is full); store_failed, store_full and their kind (the
        node cannot keep books).
        """

    def subscribe(self) -> Subscription:
        """Watch the notes from here on. Raises LocalError("too_many_streams")."""

    def report(self, halt: Halt) -> None:
        """Take note of what a read of `view` has raised."""

    def status(self) -> Mapping[str, Any]:
        """The body of `GET /v1/status`."""

    def metrics(self) -> Mapping[str, int]:
        """Counters (names that end in _total) and gauges, without the prefix that the API gives them."""
