"""Four nodes as processes on this machine that agree over the wire: payments a second, what each costs, memory.

A payment is what a phone asks for: an invoice of the payee's node, and its order at the payer's, each a request over
HTTP. It counts once all four nodes have it under a seal. Clients run on the same cores.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from nacl import bindings

from leither_lite.edge.tcp import Wire
from leither_lite.edge.tcp_link import Limits
from leither_lite.identity import Key
from tools.bench_process import HELLO_FIVE, Server
from tools.demo_nodes import NODES, Node, found_with_all, until

CLIENTS: Final = (1, 8, 32)
"""Clients of each node; each has one request under way."""
LOAD_S: Final = 6.0
PEERS: Final = 100
WARM_PEERS: Final = 30
AMOUNT: Final = 100_000
SETTINGS: Final = "peers_in_max = 256\npeers_per_host_max = 256\n"
CHECKS: Final = 2_000
HELLO_REQUESTS: Final = 50
INVOICE_BYTES: Final = 200
_BUSY_S: Final = 0.05
_TICKS_S: Final = os.sysconf("SC_CLK_TCK")


class Load(NamedTuple):
    """What a load has come to, of `payments` all sealed on all nodes, `seconds` after the first request."""

    payments: int
    seconds: float
    cpu_s: float
    client_cpu_s: float
    written_bytes: int
    pulses: int


def cpu_s(nodes: list[Node]) -> float:
    """Processor time that the nodes have used, in user and kernel mode."""
    used = 0
    for node in nodes:
        fields = Path(f"/proc/{node.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        used += int(fields[11]) + int(fields[12])
    return used / _TICKS_S


def anonymous_kb(node: Node) -> int:
    """Anonymous memory of a node."""
    rows = Path(f"/proc/{node.pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("RssAnon:"))


class Phone:
    """A client: a connection to its node, where it pays, and one to the node that it pays to."""

    def __init__(self, payer: Node, payee: Node) -> None:
        self._connections = [(http.client.HTTPConnection(*node.api), node.headers) for node in (payer, payee)]

    def _post(self, side: int, path: str, body: dict[str, object]) -> tuple[int, dict[str, str]]:
        connection, headers = self._connections[side]
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def pay(self) -> None:
        """One payment of 1."""
        _, invoice = self._post(1, "/v1/invoices", {"amount": 1, "memo": "", "ticks": 0})
        while (told := self._post(0, "/v1/transfers", {"invoice": invoice["invoice"]}))[0] != 202:
            if told[0] != 503:
                raise RuntimeError(f"not paid: {told}")
            time.sleep(_BUSY_S)  # as the answer asks for: too much waits for a seal

    def pay_until(self, end: float) -> int:
        """One payment after the other, until a moment: how many."""
        count = 0
        while time.perf_counter() < end:
            self.pay()
            count += 1
        for connection, _ in self._connections:
            connection.close()
        return count


def all_sealed(nodes: list[Node], accounts: list[str], sent: int) -> bool:
    """True if every node has so many payments of the four accounts under a seal."""
    return all(
        sum(int(node.ask("GET", f"/v1/account?account={account}")["sent"]) for account in accounts) == sent
        for node in nodes
    )


def load(nodes: list[Node], clients: int, sent: int) -> Load:
    """So many clients of each node pay for some seconds; `sent` payments were made before."""
    accounts = [node.account for node in nodes]
    phones = [
        Phone(payer, nodes[(number + 1 + turn % (NODES - 1)) % NODES])
        for number, payer in enumerate(nodes)
        for turn in range(clients)
    ]
    cpu, written, pulse = cpu_s(nodes), sum(node.status["written_bytes"] for node in nodes), nodes[0].pulse
    begin, own = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(len(phones)) as pool:
        count = sum(pool.map(lambda phone: phone.pay_until(begin + LOAD_S), phones))
    until(partial(all_sealed, nodes, accounts, sent + count), "the last seal")
    seconds = time.perf_counter() - begin
    written = sum(node.status["written_bytes"] for node in nodes) - written
    own = time.process_time() - own
    return Load(count, seconds, cpu_s(nodes) - cpu, own, written, nodes[0].pulse - pulse)


class Silent:
    """The seat of a peer that only listens."""

    def peer_joined(self, peer: bytes, initiator: bool, address: str) -> None:
        """Nothing to do."""

    def peer_left(self, peer: bytes) -> None:
        """Nothing to do."""

    def frame(self, peer: bytes, content: bytes) -> bool:
        """Taken."""
        return True


async def crowd(network: bytes, address: str, count: int) -> None:
    """Connect peers that say nothing, until stdin ends."""
    wires = [Wire(network, Key.from_seed(os.urandom(32)), Silent(), Limits(), os.urandom) for _ in range(count)]
    for wire in wires:
        wire.want([address])
    await asyncio.to_thread(sys.stdin.read)


def peer_kb(node: Node, stack: ExitStack) -> float:
    """Anonymous memory of a node for each of some more peers, who stay as long as the stack."""
    seen = []
    for count in (WARM_PEERS, PEERS):
        peers = node.status["peers"] + count
        arguments = [sys.executable, __file__, str(node.status["organization"]), node.peers, str(count)]
        others = stack.enter_context(subprocess.Popen(arguments, stdin=subprocess.PIPE))
        stack.callback(others.kill)
        until(partial(_has_peers, node, peers), "more peers")
        seen.append(anonymous_kb(node))
    return (seen[1] - seen[0]) / PEERS


def _has_peers(node: Node, count: int) -> bool:
    return bool(node.status["peers"] == count)


def hello_kb() -> tuple[int, int]:
    """Anonymous memory of hello-world: after 100 requests, and after as many clients as a node has at the most."""
    hello = Server([sys.executable, "-c", HELLO_FIVE], "/")
    for _ in range(100):
        hello.call("GET", "/")
    quiet = hello.memory_kb()["anonymous"]
    order = json.dumps({"invoice": "i" * INVOICE_BYTES})

    def ask(connection: http.client.HTTPConnection) -> None:
        for _ in range(HELLO_REQUESTS):
            connection.request("POST", "/", order)
            connection.getresponse().read()

    # A node serves those who pay from it, and those who are paid to it.
    connections = [http.client.HTTPConnection(hello.host, hello.connection.port) for _ in range(2 * max(CLIENTS))]
    with ThreadPoolExecutor(len(connections)) as pool:
        list(pool.map(ask, connections))
    for connection in connections:
        connection.close()
    loaded = hello.memory_kb()["anonymous"]
    hello.stop()
    return quiet, loaded


def checks_ms() -> float:
    """Processor time of libsodium alone for what a payment needs at least: two signatures checked on each of four."""
    public, secret = bindings.crypto_sign_seed_keypair(bytes(32))
    signed = bindings.crypto_sign(bytes(32), secret)
    begin = time.process_time()
    for _ in range(CHECKS):
        bindings.crypto_sign_open(signed, public)
    return 2 * NODES * 1000 * (time.process_time() - begin) / CHECKS


def _memory(what: str, nodes: list[Node], base: int) -> tuple[str, str]:
    largest = max(anonymous_kb(node) for node in nodes)
    return what, f"{largest} KB; {base} KB; {largest / base:.2f} x"


def rows(folder: Path) -> list[tuple[str, str]]:
    """Each measured thing and what was seen."""
    table: list[tuple[str, str]] = []
    with ExitStack() as stack:
        nodes = [Node(folder / str(number)) for number in range(NODES)]
        for node in nodes:
            stack.callback(node.kill)
            node.folder.mkdir(mode=0o700)
            (node.folder / "settings.toml").write_text(SETTINGS, encoding="ascii")
        found_with_all(nodes, AMOUNT, lambda line: None)
        for node in nodes:
            for _ in range(100):
                node.ask("GET", "/v1/account")
        base, loaded = hello_kb()
        table.append(_memory("anonymous memory after 100 calls, the largest of four; hello-world", nodes, base))
        with ExitStack() as others:
            each = peer_kb(nodes[0], others)
        until(partial(_has_peers, nodes[0], NODES - 1), "the end of those peers")
        table.append((f"anonymous memory for each of {PEERS} more peers", f"{each:.1f} KB"))
        sent = 0
        for clients in CLIENTS:
            done = load(nodes, clients, sent)
            sent += done.payments
            table.append(
                (
                    f"{NODES * clients} clients: payments/s; processor time of the four; written on each node",
                    f"{done.payments / done.seconds:.0f}/s; {1000 * done.cpu_s / done.payments:.2f} ms; "
                    f"{done.written_bytes / done.payments / NODES:.0f} bytes ({done.payments} in {done.pulses} pulses; "
                    f"cores: nodes {done.cpu_s / done.seconds:.2f}, clients {done.client_cpu_s / done.seconds:.2f})",
                )
            )
        table.append(("processor time of libsodium for two signatures on each of four", f"{checks_ms():.2f} ms"))
        table.append(_memory("anonymous memory after that; hello-world after as many clients", nodes, loaded))
    return table


if __name__ == "__main__":
    if len(sys.argv) == 4:
        asyncio.run(crowd(bytes.fromhex(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
    else:
        with tempfile.TemporaryDirectory(prefix="leither-bench-", dir=".") as place:
            for name, value in rows(Path(place).resolve()):
                print(f"{name:80}  {value}")
