"""Nodes of the wire in one loop, seats that remember, and strangers who speak only as far as a test lets them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

import uvloop

from leither_lite.edge.tcp import Limits, Wire
from leither_lite.edge.tcp_link import Link
from leither_lite.identity import Key
from leither_lite.wire.session import Session

NETWORK: Final = bytes(range(20))
# By their public keys, the smaller first.
KEYS: Final = sorted((Key.from_seed(bytes([number]) * 32) for number in range(6)), key=lambda key: key.public)
# No test waits for so long unless it fails.
PATIENCE_S: Final = 20
LOOPS: Final = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
PLENTY: Final = Limits(per_host_max=1_000, messages_s=100_000, bytes_s=2**30, work_s=100_000, burst_s=2)


def play(loop: str, scene: Coroutine[Any, Any, None]) -> None:
    """Run a scene in a loop of its own; whatever the loop would have logged is a failure."""
    faults: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: faults.append(context))
        runner.run(patient(scene))
    assert faults == []


async def patient(scene: Coroutine[Any, Any, None]) -> None:
    """A scene that ends."""
    async with asyncio.timeout(PATIENCE_S):
        await scene


@dataclass(slots=True)
class PlayedSeat:
    """Remembers what it is told. `takes` decides about each frame, `greet` is called with who has joined.

    `faults` is what the wire must never do.
    """

    log: list[tuple[str, bytes]] = field(default_factory=list)
    frames: list[tuple[bytes, bytes]] = field(default_factory=list)
    addresses: dict[bytes, tuple[str, bool]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    takes: Callable[[bytes, bytes], bool] = lambda peer, content: True
    greet: Callable[[bytes], object] = lambda peer: None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def peer_joined(self, peer: bytes, initiator: bool, address: str) -> None:
        """Once until it leaves."""
        if peer in self.addresses:
            self.faults.append("joined twice")
        self.addresses[peer] = address, initiator
        self.log.append(("joined", peer))
        self.greet(peer)
        self.changed.set()

    def peer_left(self, peer: bytes) -> None:
        """Once after it has joined."""
        if self.addresses.pop(peer, None) is None:
            self.faults.append("left without having joined")
        self.log.append(("left", peer))
        self.changed.set()

    def frame(self, peer: bytes, content: bytes) -> bool:
        """Of peers that are there."""
        if peer not in self.addresses:
            self.faults.append("a frame of nobody")
        taken = self.takes(peer, content)
        if taken:
            self.frames.append((peer, content))
        self.changed.set()
        return taken

    def contents(self) -> list[bytes]:
        """What came, whoever sent it."""
        return [content for _, content in self.frames]


class WatchedWire(Wire):
    """Lets a test wait for what no seat is told."""

    def lost(self, link: Link) -> None:
        """A connection is gone."""
        super().lost(link)
        self._changed()

    def count(self, reason: str) -> None:
        """A connection is being ended."""
        super().count(reason)
        self._changed()

    def known(self, link: Link) -> bool:
        """A handshake is done."""
        known = super().known(link)
        self._changed()
        return known

    def _changed(self) -> None:
        if isinstance(self.seat, PlayedSeat):
            self.seat.changed.set()

    @property
    def links(self) -> list[Link]:
        """Every connection, pending or known."""
        return list(self._links)

    @property
    def pending(self) -> int:
        """Accepted ones that are not known."""
        return len(self._pending)

    @property
    def dialler_busy(self) -> int:
        """Addresses that are dialled or connected."""
        return len(self._dialler._busy)


@dataclass(slots=True)
class Node:
    """A wire with its seat."""

    key: Key
    wire: WatchedWire
    seat: PlayedSeat
    host: str = ""
    port: int = 0

    @property
    def public(self) -> bytes:
        """By what its peers know it."""
        return self.key.public

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{self.host}:{self.port}"

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for something to hold, looking again at whatever happens to this node."""
        while not holds():
            self.seat.changed.clear()
            await self.seat.changed.wait()

    async def until_peers(self, count: int) -> None:
        """Wait until so many are there, and nothing else is under way."""
        await self.until(lambda: len(self.wire.peers()) == count == len(self.wire.links))


@asynccontextmanager
async def node(number: int, limits: Limits = PLENTY, port: int = 0, **changed: Any) -> AsyncIterator[Node]:
    """A node that listens; at the end everybody has left its seat."""
    seat = PlayedSeat()
    made = Node(KEYS[number], WatchedWire(NETWORK, KEYS[number], seat, replace(limits, **changed), os.urandom), seat)
    made.host, made.port = await made.wire.open("127.0.0.1", port)
    try:
        yield made
    finally:
        await made.wire.close()
    assert seat.faults == []
    assert seat.addresses == {}
    assert made.wire.links == []


@dataclass(slots=True)
class Stranger:
    """A connection of somebody who reads and writes when a test says so."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    session: Session
    contents: list[bytes] = field(default_factory=list)

    @classmethod
    async def dial(cls, to: Node, number: int = 5, *, network: bytes = NETWORK) -> Stranger:
        """Connected, and nothing said."""
        reader, writer = await asyncio.open_connection(to.host, to.port)
        return cls(reader, writer, Session(network, KEYS[number], True, os.urandom))

    @classmethod
    async def join(cls, to: Node, number: int = 5) -> Stranger:
        """Connected and known on both sides."""
        made = await cls.dial(to, number)
        made.writer.write(made.session.start())
        while not made.session.is_ready:
            await made.hear()
        return made

    async def hear(self) -> bytes:
        """Read once; what came, empty at the end."""
        try:
            data = await self.reader.read(65_536)
        except ConnectionError:
            return b""
        self.contents += self.session.receive(data)
        self.writer.write(self.session.outgoing())
        return data

    async def hear_until_the_end(self) -> None:
        """Read until the other side has ended the connection, however it does that."""
        while await self.hear():
            pass

    def say(self, *contents: bytes) -> None:
        """Send frames."""
        self.writer.write(b"".join(map(self.session.send, contents)))

    def close(self) -> None:
        """Go without a word."""
        self.writer.transport.abort()
