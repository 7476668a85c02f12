"""Peers that mean harm: raw connections with good handshakes and nothing else that is good, each from an address of its
own, so that they take no honest node's place.

An attack runs in its threads until it is told to stop; who is cut off connects again.
"""

from __future__ import annotations

import os
import random
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count as count_from
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

from leither_lite.codec import encode
from leither_lite.errors import LocalError, RemoteError
from leither_lite.identity import Key
from leither_lite.ledger.committee import Willingness
from leither_lite.ledger.joins import Application
from leither_lite.node import frames
from leither_lite.wire.session import Session
from tests.live.harness import NodeProcess
from tests.live.network import HOST

READ_BYTES: Final = 256 * 1024
TIMEOUT_S: Final = 10


def source_of(number: int) -> str:
    """One of the machine's own addresses, of which there are many."""
    return f"127.{1 + number // 60_000}.{number // 250 % 240}.{1 + number % 250}"


def dial(port: int, source: str) -> socket.socket:
    """A plain connection from an address of this machine. Raises OSError."""
    return socket.create_connection((HOST, port), TIMEOUT_S, (source, 0))


def hung_up(sock: socket.socket, timeout_s: float = TIMEOUT_S) -> bool:
    """True if the other side ends a connection in time; what it says before is thrown away."""
    end_s = time.monotonic() + timeout_s
    while (left_s := end_s - time.monotonic()) > 0:
        sock.settimeout(left_s)
        try:
            if not sock.recv(READ_BYTES):
                return True
        except TimeoutError:
            return False
        except OSError:
            return True
    return False


class Raw:
    """A connection with a good handshake, that keeps its own pace."""

    def __init__(self, network: bytes, key: Key, port: int, source: str) -> None:
        """Connect, and greet. Raises OSError, RemoteError."""
        self.sock = dial(port, source)
        self.session = Session(network, key, True, os.urandom)
        self.frames: list[bytes] = []
        self._waiting = b""
        try:
            self.sock.sendall(self.session.start())
            while not self.session.is_ready:
                self._take(self.sock.recv(READ_BYTES))
                self.sock.sendall(self.session.outgoing())
        except BaseException:
            self.sock.close()
            raise

    def _take(self, chunk: bytes) -> None:
        if not chunk:
            raise ConnectionResetError("it has hung up")
        self.frames += self.session.receive(chunk)

    def push(self, content: bytes = b"", *, read: bool = True, wait_s: float = 0.2) -> bool:
        """Send a frame if the last one has gone; False if it still waits. Reads meanwhile, if it is to.

        Raises OSError when it is cut off.
        """
        if content and not self._waiting:
            self._waiting = self.session.send(content)
            content = b""
        readers = [self.sock] if read else []
        readable, writable, _ = select.select(readers, [self.sock] if self._waiting else [], [], wait_s)
        if readable:
            self._take(self.sock.recv(READ_BYTES))
        if writable:
            self.sock.setblocking(False)
            try:
                sent = self.sock.send(self._waiting)
            except BlockingIOError:
                sent = 0
            finally:
                self.sock.settimeout(TIMEOUT_S)
            self._waiting = self._waiting[sent:]
        return not content

    def send_bytes(self, content: bytes) -> None:
        """What is no frame."""
        self.sock.sendall(content)

    def listen(self, seconds: float) -> list[bytes]:
        """What comes in a while. Raises OSError when it is cut off."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.push(wait_s=0.05)
        frames, self.frames = self.frames, []
        return frames

    def close(self) -> None:
        """Hang up."""
        self.sock.close()


class Count:
    """What an attack has done."""

    def __init__(self) -> None:
        self.sent = 0
        self.connections = 0
        self.cut = 0

    def __str__(self) -> str:
        return f"{self.sent} sent over {self.connections} connections, {self.cut} times cut off"


class Memory:
    """The anonymous memory of a node at its highest, for the time of a block: looked at from outside, since a node that
    is busy does not answer."""

    def __init__(self, node: NodeProcess) -> None:
        self._status = Path(f"/proc/{node.process.pid}/status")
        self._stop = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self.highest_kb = 0

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            rows = dict(row.split(":", 1) for row in self._status.read_text().splitlines())
            self.highest_kb = max(self.highest_kb, int(rows["RssAnon"].split()[0]))

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


Attack = Callable[[Event, Count], None]


def flood(
    network: bytes, key: Key, port: int, source: str, contents: Callable[[], Iterator[bytes]], *, read: bool = True
) -> Attack:
    """Frames as fast as they are taken, over a connection that is made again whenever it is cut."""

    def attack(stop: Event, count: Count) -> None:
        while not stop.is_set():
            raw: Raw | None = None
            try:
                raw = Raw(network, key, port, source)
                count.connections += 1
                for content in contents():
                    while not stop.is_set() and not raw.push(content, read=read):
                        pass
                    count.sent += 1
                    raw.frames.clear()
                    if stop.is_set():
                        break
            except (OSError, LocalError, RemoteError):
                count.cut += 1
                stop.wait(0.05)
            finally:
                if raw is not None:
                    raw.close()

    return attack


class Liar:
    """Listens, greets whoever comes as a node of an organization, and answers everything with one frame."""

    def __init__(self, network: bytes, key: Key, answer: bytes) -> None:
        self._network = network
        self._key = key
        self._answer = answer
        self._server = socket.create_server((HOST, 0))
        self.address = "{}:{}".format(*self._server.getsockname())
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError, RemoteError):
            while True:
                sock, _ = self._server.accept()
                with sock:
                    session = Session(self._network, self._key, False, os.urandom)
                    while not session.receive(sock.recv(READ_BYTES)):
                        sock.sendall(session.outgoing())
                    sock.sendall(session.send(self._answer))

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


def garbage(port: int, source: str, seed: str) -> Attack:
    """Random bytes from the first one on."""

    def attack(stop: Event, count: Count) -> None:
        draw = random.Random(seed)
        while not stop.is_set():
            try:
                with dial(port, source) as sock:
                    count.connections += 1
                    sock.sendall(draw.randbytes(draw.choice((1, 34, 200, 100_000))))
                    count.sent += 1
                    sock.settimeout(0.05)
                    while sock.recv(READ_BYTES):
                        pass
                count.cut += 1
            except OSError:
                count.cut += 1

    return attack


def crawl(network: bytes, key: Key, port: int, sources: list[str]) -> Attack:
    """Many connections that send a good first message, one byte a second."""

    def attack(stop: Event, count: Count) -> None:
        open_: list[tuple[socket.socket, bytes]] = []
        try:
            while not stop.is_set():
                for source in sources[len(open_) :]:
                    try:
                        open_.append((dial(port, source), Session(network, key, True, os.urandom).start()))
                        count.connections += 1
                    except OSError:
                        count.cut += 1
                kept = []
                for sock, left in open_:
                    try:
                        sock.send(left[:1])
                        count.sent += 1
                        kept.append((sock, left[1:]))
                    except OSError:
                        count.cut += 1
                        sock.close()
                open_ = kept
                stop.wait(1)
        finally:
            for sock, _ in open_:
                sock.close()

    return attack


def crowd(network: bytes, port: int, size: int, first: int, keys: Callable[[int], Key]) -> Attack:
    """So many connections at once, each with another key and from another address, kept open as long as they last."""

    def attack(stop: Event, count: Count) -> None:
        open_: list[Raw] = []
        number = first
        try:
            while not stop.is_set():
                number += 1
                try:
                    open_.append(Raw(network, keys(number), port, source_of(number)))
                    count.connections += 1
                except (OSError, LocalError, RemoteError):
                    count.cut += 1
                if len(open_) >= size:
                    open_.pop(0).close()
        finally:
            for raw in open_:
                raw.close()

    return attack


def contents_of(network: bytes, kind: int, key: Key, overheard: list[bytes], seed: str) -> Iterator[bytes]:
    """Frames of a kind without end: overheard ones as they are and changed, and made-up ones, some of them signed."""
    draw = random.Random(f"{seed} {kind}")
    real = [content for content in overheard if frames.kind_of(content) == kind]
    for number in count_from(1):
        if real:
            yield draw.choice(real)
            changed = bytearray(draw.choice(real))
            changed[draw.randrange(2, len(changed))] ^= 1 << draw.randrange(8)
            yield bytes(changed)
        yield made_up(network, kind, key, number, draw)


def made_up(network: bytes, kind: int, key: Key, number: int, draw: random.Random) -> bytes:
    """A frame of a kind as somebody would write it who wants work done for nothing."""
    noise = draw.randbytes
    values: dict[int, Callable[[], list[Any]]] = {
        frames.STATUS: lambda: [10**9 + number, noise(32), draw.randrange(2**63), 1],
        frames.SEGMENT: lambda: [noise(16 * 1024)],
        frames.WANT_SEGMENTS: lambda: [[noise(32) for _ in range(32)]],
        frames.WANT_PULSE: lambda: [draw.randrange(1, 12)],
        frames.PULSE: lambda: [noise(30_000), [noise(16_000)]],
        frames.WANT_STATE: lambda: [b"", 0],
        frames.STATE: lambda: [noise(32), 0, 170, noise(48 * 1024)],
        frames.WANT_CHARTER: list,
        frames.CHARTER: lambda: [noise(300), noise(30_000)],
        frames.HELD: lambda: [noise(32), noise(32), noise(64)],
        frames.TICK: lambda: [number],
        frames.REFUSED: lambda: [frames.WANT_STATE, "not_a_member"],
        frames.NOT_HERE: lambda: [number],
        frames.SEALED: lambda: [noise(200), [[noise(32), noise(64)] for _ in range(3)]],
    }
    if kind == frames.APPLICATION:
        made = Application.make(network, Key.from_seed(noise(32)), "let me in")
        return encode([kind, made.content, made.signature])
    if kind in (frames.ADDRESS, frames.OPERATION):
        places = (f"{HOST}:{1 + number % 60_000}", "", "nowhere", ":1", "::1:80", f"{HOST}:70000")
        own = Willingness.make(network, key, places[number % len(places)], number // 2 % 2, number)
        if kind == frames.OPERATION:
            return frames.operation_frame(own.encode())
        return encode([kind, own.content, own.signature])
    return encode([kind, *(values[kind]() if kind in values else [[noise(60)]])])
