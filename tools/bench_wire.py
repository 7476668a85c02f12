"""The wire: handshakes and frames a second, against noiseprotocol on the same machine, and memory for each peer.

Both sides of each handshake run in this one process. The peers whose memory is measured are in a process of their own.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, Final

import uvloop
from nacl import bindings

from leither_lite.edge.tcp import Limits, Wire
from leither_lite.identity import Key
from leither_lite.wire.noise import NAME, Handshake
from leither_lite.wire.session import Session

NETWORK: Final = bytes(20)
ROUNDS: Final = 9
WARM_PEERS: Final = 20
PEERS: Final = 200
LIMITS: Final = Limits(peers_in_max=10_000, peers_out_max=10_000, pending_max=10_000, per_host_max=10_000)
LOOPS: Final = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


def pair() -> tuple[Session, Session]:
    """Two sides that know each other."""
    initiator = Session(NETWORK, Key.from_seed(bytes(32)), True, os.urandom)
    responder = Session(NETWORK, Key.from_seed(b"\1" * 32), False, os.urandom)
    flight = initiator.start()
    for receiver in (responder, initiator, responder, initiator):
        receiver.receive(flight)
        flight = receiver.outgoing()
    if not (initiator.is_ready and responder.is_ready):
        raise RuntimeError("no session came about")
    return initiator, responder


def bare_pair() -> None:
    """Our Noise without hellos."""
    initiator, responder = (Handshake(first, b"", os.urandom(32), os.urandom(32)) for first in (True, False))
    responder.read(initiator.write())
    initiator.read(responder.write())
    responder.read(initiator.write())
    initiator.split()
    responder.split()


def stranger_pair() -> tuple[Any, Any]:
    """noiseprotocol's, without hellos, for it has none."""
    connection = importlib.import_module("noise.connection")
    sides = [connection.NoiseConnection.from_name(NAME) for _ in range(2)]
    sides[0].set_as_initiator()
    sides[1].set_as_responder()
    for side in sides:
        side.set_prologue(b"")
        side.set_keypair_from_private_bytes(connection.Keypair.STATIC, os.urandom(32))
        side.start_handshake()
    for turn in range(3):
        sides[1 - turn % 2].read_message(sides[turn % 2].write_message())
    return sides[0], sides[1]


def seconds(act: Callable[[], object], count: int) -> float:
    """How long one takes, over `count` of them."""
    begin = time.perf_counter()
    for _ in range(count):
        act()
    return (time.perf_counter() - begin) / count


def frame_of_ours(size: int) -> Callable[[], object]:
    """One frame from content to content."""
    initiator, responder = pair()
    content = bytes(size)
    return lambda: responder.receive(initiator.send(content))


def bare_cipher(size: int) -> Callable[[], object]:
    """What is left of it if there is nothing but PyNaCl."""
    content, nonce, key = bytes(size), bytes(12), bytes(32)

    def both() -> None:
        sealed = bindings.crypto_aead_chacha20poly1305_ietf_encrypt(content, None, nonce, key)
        bindings.crypto_aead_chacha20poly1305_ietf_decrypt(sealed, None, nonce, key)

    return both


def message_of_theirs(size: int) -> Callable[[], object]:
    """One message of noiseprotocol's, of at most the size that it can have."""
    first, second = stranger_pair()
    content = bytes(min(size, 65_519))
    return lambda: second.decrypt(bytes(first.encrypt(content)))


def compared(ours: Callable[[], object], theirs: Callable[[], object], count: int) -> tuple[float, float, float]:
    """Medians of both in seconds, and the median of the rounds' ratios (theirs / ours: above 1 we are faster)."""
    ours()
    theirs()
    rounds = [(seconds(ours, count), seconds(theirs, count)) for _ in range(ROUNDS)]
    ratio = median(other / own for own, other in rounds)
    return median(own for own, _ in rounds), median(other for _, other in rounds), ratio


class Quiet:
    """A seat that does nothing but count."""

    def __init__(self) -> None:
        self.count = 0
        self.changed = asyncio.Event()

    def peer_joined(self, peer: bytes, initiator: bool, address: str) -> None:
        """One more."""
        self.count += 1
        self.changed.set()

    def peer_left(self, peer: bytes) -> None:
        """One less."""
        self.count -= 1
        self.changed.set()

    def frame(self, peer: bytes, content: bytes) -> bool:
        """Not looked at."""
        return True

    async def until(self, count: int) -> None:
        """Wait until so many are there."""
        while self.count != count:
            self.changed.clear()
            await self.changed.wait()


def memory_kb() -> tuple[int, int]:
    """This process's anonymous and whole resident memory."""
    rows = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return int(rows["RssAnon"].split()[0]), int(rows["VmRSS"].split()[0])


class Idle(asyncio.Protocol):
    """A bare connection, to compare with."""

    def __init__(self, seat: Quiet) -> None:
        self.seat = seat

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Counted as a peer."""
        self.transport = transport
        self.seat.peer_joined(b"", False, "")


async def serve(kind: str) -> None:
    """The process that is measured: KB for each of its last 200 connections, anonymous and resident."""
    seat = Quiet()
    if kind == "wire":
        host, port = await Wire(NETWORK, Key.from_seed(bytes(32)), seat, LIMITS, os.urandom).open("127.0.0.1", 0)
    else:
        server = await asyncio.get_running_loop().create_server(lambda: Idle(seat), "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
    other = await asyncio.create_subprocess_exec(
        sys.executable, __file__, kind, host, str(port), stdin=asyncio.subprocess.PIPE
    )
    await seat.until(WARM_PEERS)
    before = memory_kb()
    if other.stdin is not None:
        other.stdin.write(b"\n")
    await seat.until(WARM_PEERS + PEERS)
    after = memory_kb()
    print(*((new - old) / PEERS for new, old in zip(after, before, strict=True)))
    other.kill()
    await other.wait()


async def crowd(kind: str, host: str, port: int) -> None:
    """The process that connects, first a few, then the rest once it is told to."""
    kept: list[object] = []
    for number in range(WARM_PEERS + PEERS):
        if number == WARM_PEERS:
            await asyncio.to_thread(sys.stdin.readline)
        if kind == "wire":
            seat = Quiet()
            key = Key.from_seed(number.to_bytes(31, "big") + b"\1")
            wire = Wire(NETWORK, key, seat, LIMITS, os.urandom)
            wire.want([f"{host}:{port}"])
            kept.append(wire)
            await seat.until(1)
        else:
            kept.append(await asyncio.open_connection(host, port))
    await asyncio.to_thread(sys.stdin.readline)  # until the other process ends


def memory_of(kind: str, loop: str) -> tuple[float, float]:
    """KB a connection in a fresh process, anonymous and resident."""
    done = subprocess.run(
        [sys.executable, __file__, kind, loop], check=True, stdout=subprocess.PIPE, text=True, timeout=120
    )
    anonymous, resident = done.stdout.split()
    return float(anonymous), float(resident)


def rows() -> list[tuple[str, str]]:
    """Each measured thing and what was seen."""
    table: list[tuple[str, str]] = []
    for name, act in (("handshakes of Noise alone", bare_pair), ("handshakes with both hellos", pair)):
        own, other, ratio = compared(act, stranger_pair, 60)
        table.append(
            (f"{name}, both sides; noiseprotocol without hellos", f"{1 / own:.0f}/s; {1 / other:.0f}/s; {ratio:.2f} x")
        )
    for size, count in ((100, 3_000), (1_000, 3_000), (65_536, 100)):
        for name, bound in (("PyNaCl alone", bare_cipher), ("noiseprotocol over OpenSSL", message_of_theirs)):
            own, other, ratio = compared(frame_of_ours(size), bound(size), count)
            table.append(
                (
                    f"frames of {size:,} bytes, sent and received; {name}",
                    f"{1 / own:.0f}/s, {size / own / 1e6:.1f} MB/s; {1 / other:.0f}/s; {ratio:.2f} x",
                )
            )
    for loop in LOOPS:
        wire, bare = memory_of("wire", loop), memory_of("bare", loop)
        table.append(
            (
                f"memory a peer ({PEERS} of them, {loop}), anonymous; resident; bare connection",
                f"{wire[0]:.1f} KB; {wire[1]:.1f} KB; {bare[0]:.1f} KB",
            )
        )
    return table


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            for name, value in rows():
                print(f"{name:82}  {value}")
        case [kind, loop]:
            with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
                runner.run(serve(kind))
        case [kind, host, port]:
            with suppress(KeyboardInterrupt):
                asyncio.run(crowd(kind, host, int(port)))
