"""A member that is away while its organization goes on, and what it takes to catch up.

The chain that it misses is made by the node's own turns over the founder's store, in virtual time; who serves it, and
who comes back, are processes. All that goes between them goes through a relay, which counts.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from leither_lite.board import Board
from leither_lite.edge import keyfile, lmdb, machine
from leither_lite.edge.lmdb import Store
from leither_lite.edge.service import lock_folder
from leither_lite.node import events as ev
from leither_lite.node.turn import Node
from leither_lite.node.wallet import Keyring
from tests.live.harness import NodeProcess, open_accounts
from tests.live.network import HOST, Network, founded

PULSE_MS: Final = 100
CHUNK_BYTES: Final = 64 * 1024
PAYMENTS: Final = 4
"""Of each pulse that is missed."""


class Relay:
    """Listens, passes everything on to a target, and counts the bytes that come back from there."""

    def __init__(self, port: int) -> None:
        self.target = (HOST, port)
        self.bytes = 0
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._server = socket.create_server((HOST, 0))
        self.address = "{}:{}".format(*self._server.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._server.accept()
                try:
                    far = socket.create_connection(self.target)
                except OSError:
                    near.close()
                    continue
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the nodes do themselves
                self._open += [near, far]
                threading.Thread(target=self._carry, args=(near, far, 0), daemon=True).start()
                threading.Thread(target=self._carry, args=(far, near, 1), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, counts: int) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                with self._lock:
                    self.bytes += counts * len(chunk)
                sink.sendall(chunk)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Listen no more, and end all connections."""
        for end in (self._server, *self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def go_on(folder: Path, pulses: int, payees: list[str]) -> int:
    """Seal so many pulses on the store of a roster of one whose node does not run, with payments in each. Returns the
    newest."""
    with lock_folder(folder):
        store = Store.open(folder / lmdb.FILE, Board().map_bytes)
        keyring = Keyring(keyfile.load(folder / keyfile.NODE_KEY), keyfile.load(folder / keyfile.ORGANIZATION_KEY))
        node = Node(store, keyring, Board(), os.urandom, 0, place=machine.place(store.path))
        newest = last = node.books.header.pulse
        asked, now_ms = -1, 0
        while newest < last + pulses:
            now_ms += node.pulse_ms
            events = []
            if asked != newest:  # a pulse that waits for who is to hold it takes no more than it has
                asked = newest
                start = newest * PAYMENTS
                events = [
                    ev.Distribute(token, bytes.fromhex(payees[(start + token) % len(payees)]), 1, "away", None)
                    for token in range(PAYMENTS)
                ]
            effects = node.turn(events, now_ms)
            refused = [reply.value for reply in effects.replies if isinstance(reply.value, Exception)]
            assert not refused, refused
            store.write(effects.writes)
            store.renew()
            node.performed()
            newest = node.books.header.pulse
        store.close()
    return newest


class Return(NamedTuple):
    """What it took a member to catch up: seconds since its process began, bytes that came in, and its anonymous memory
    at the highest."""

    pulses: int
    seconds: float
    wire_bytes: int
    memory_kb: int


class Absence:
    """An organization of a founder and one member, in a folder; `after` sends the member away and has it back."""

    def __init__(self, network: Network, accounts: int) -> None:
        """Let the member in, through the relay, and open some accounts."""
        self.network = network
        self.relay = Relay(network.ports[0])
        network.nodes[0].stop()
        network.restart(0, "--announce", self.relay.address)
        network.entry = self.relay.address
        network.join(invited=True)
        network.restart(1, listens=False)
        network.await_members(1)
        self.accounts = [network.accounts[1], *open_accounts(network.nodes[0], accounts, 1_000)]
        network.together()

    def after(self, pulses: int) -> Return:
        """Both stop, the chain goes on, and both come back, the founder first."""
        network = self.network
        for node in network.nodes:
            ended = node.stop()
            assert (ended.code, ended.stderr) == (0, ""), ended
        newest = go_on(network.folders[0], pulses, self.accounts)
        network.restart(0, "--announce", self.relay.address)
        assert network.nodes[0].status()["pulse"] == newest
        self.relay.bytes = 0
        begun_s = time.monotonic()
        node = network.restart(1, listens=False)
        memory_kb = self._caught_up(node, newest)
        seconds = time.monotonic() - begun_s
        assert network.together() >= newest
        return Return(pulses, seconds, self.relay.bytes, memory_kb)

    @staticmethod
    def _caught_up(node: NodeProcess, pulse: int) -> int:
        """Wait until the member has a pulse; its memory at the highest until then."""
        memory_kb = 0

        def is_there(status: dict[str, object]) -> bool:
            nonlocal memory_kb
            memory = status["memory_kb"]
            assert isinstance(memory, dict)
            memory_kb = max(memory_kb, int(memory["anonymous"]))
            return int(str(status["pulse"])) >= pulse

        node.until(is_there, f"pulse {pulse}")
        return memory_kb


@contextmanager
def absence(top: Path, accounts: int) -> Iterator[Absence]:
    """A new one, for the time of a block."""
    with founded(top, PULSE_MS) as network:
        absent = Absence(network, accounts)
        try:
            yield absent
        finally:
            absent.relay.close()
