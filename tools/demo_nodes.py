"""What tools/demo shows: python tools/demo_nodes.py FOLDER, an empty one. Its nodes end with it, however it ends."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

HOST: Final = "127.0.0.1"
SUPPLY: Final = 1_000_000
NODES: Final = 4
AMOUNT: Final = 10_000
COMMAND: Final = (sys.executable, "-m", "leither_lite")
PATIENCE_S: Final = 60
_PAUSE_S: Final = 0.02
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


def say(text: str) -> None:
    """A line."""
    print(text, flush=True)


def command(*arguments: str | Path) -> None:
    """Carry out a command of the node's."""
    words = [*COMMAND, *map(str, arguments)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, preexec_fn=_die_with_parent)


def until(seen: Callable[[], bool], what: str) -> float:
    """Wait for something: the seconds that it took."""
    begin = time.monotonic()
    while not seen():
        if time.monotonic() > begin + PATIENCE_S:
            raise RuntimeError(f"{what}: not within {PATIENCE_S} s")
        time.sleep(_PAUSE_S)
    return time.monotonic() - begin


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_port() -> int:
    """A port that nobody listens on, below those that the system gives away: a node that comes back finds it free."""
    while True:
        with socket.socket() as probe:
            port = random.randrange(20_000, 30_000)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


class Node:
    """A node's process, and what its API says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.account = ""
        self.peers = f"{HOST}:{free_port()}"
        self.api = ("", 0)
        self.headers: dict[str, str] = {}
        self.pid = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Run, and wait until it answers."""
        arguments = ("run", "--data", str(self.folder), "--listen", self.peers, "--api", f"{HOST}:0")
        with self.folder.with_suffix(".log").open("ab") as log:
            self._process = subprocess.Popen(
                [*COMMAND, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=_die_with_parent,
            )
        api = ""
        for line in self._process.stdout or ():
            words = line.split()
            if words[1] == "API":
                api = words[2].split("/")[2]
            elif words[1] == "token":
                break
        if not api:
            raise RuntimeError(f"a node did not start: {self.folder.with_suffix('.log').read_text()}")
        host, _, port = api.partition(":")
        self.api = (host, int(port))
        self.pid = self._process.pid
        self._connection = http.client.HTTPConnection(*self.api, timeout=PATIENCE_S)
        token = (self.folder / "api-token").read_text().strip()
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.account = str(self.ask("GET", "/v1/status")["account"])

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request that must succeed."""
        self._connection.request(method, path, None if body is None else json.dumps(body), self.headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status >= 400:
            raise RuntimeError(f"{method} {path}: {response.status} {content.decode()}")
        value = json.loads(content)
        return value if isinstance(value, dict) else {}

    @property
    def status(self) -> dict[str, Any]:
        """What it says of itself."""
        return self.ask("GET", "/v1/status")

    @property
    def pulse(self) -> int:
        """The newest sealed pulse that it has."""
        return int(self.status["pulse"])

    def balance(self, account: str) -> int:
        """What an account holds."""
        return int(self.ask("GET", f"/v1/account?account={account}")["balance"])

    def kill(self) -> None:
        """SIGKILL: no chance to clean up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            if self._process.stdout is not None:
                self._process.stdout.close()


class Paid(NamedTuple):
    """Payments that were sealed: in which pulses, and how long each took from the order to the seal."""

    pulses: list[int]
    seconds: list[float]

    def __str__(self) -> str:
        times = sorted(self.seconds)
        first, last = min(self.pulses), max(self.pulses)
        return (
            f"pulse{'s' if first < last else ''} {first}{f' to {last}' if first < last else ''}, "
            f"{median(times):.1f} s from order to seal ({times[0]:.1f} to {times[-1]:.1f})"
        )


def pay(nodes: list[Node], rounds: int, draw: random.Random) -> Paid:
    """Some rounds in which each node pays one of the others, all at once, a moment after the last was sealed."""
    paid = Paid([], [])
    for _ in range(rounds):
        waiting: list[tuple[Node, str, float]] = []
        for payer in nodes:
            payee = draw.choice([node for node in nodes if node is not payer])
            invoice = payee.ask("POST", "/v1/invoices", {"amount": draw.randrange(1, 100), "memo": "demo", "ticks": 0})
            begin = time.monotonic()
            order = payer.ask("POST", "/v1/transfers", {"invoice": invoice["invoice"]})
            waiting.append((payer, str(order["id"]), begin))
        for payer, name, begin in waiting:
            until(partial(_is_sealed, payer, name), "a seal")
            paid.seconds.append(time.monotonic() - begin)
            paid.pulses.append(int(payer.ask("GET", f"/v1/transfers/{name}")["pulse"]))
    return paid


def _is_sealed(payer: Node, name: str) -> bool:
    return bool(payer.ask("GET", f"/v1/transfers/{name}")["state"] == "credited")


def found_with_all(nodes: list[Node], amount: int, tell: Callable[[str], None]) -> None:
    """An organization of four nodes that are not running yet: one founds, three join, all seal, each has money."""
    first = nodes[0]
    command("found", "--data", first.folder, "--name", "Demo", "--supply", str(SUPPLY))
    first.start()
    organization = str(first.status["organization"])
    tell(f"founded     organization {organization[:8]}…, supply {SUPPLY:,}, one pulse a second; node 0 seals alone")

    join = ("join", f"leither:{organization}@{first.peers}", "--data")
    invite = str(first.ask("POST", "/v1/invites", {})["invite"])
    asked = time.monotonic()
    command(*join, nodes[1].folder, "--invite", invite)
    nodes[1].start()
    until(lambda: nodes[1].status["group"]["members"] == 3, "an account by invite")
    tell(f"joined      node 1 by invite, {time.monotonic() - asked:.1f} s after it asked: pulse {nodes[1].pulse}")

    for node in nodes[2:]:
        command(*join, node.folder, "--memo", f"node {node.folder.name}")
        node.start()
    until(lambda: len(first.ask("GET", "/v1/applications")["applications"]) == 2, "two applications")
    for waiting in first.ask("GET", "/v1/applications")["applications"]:
        first.ask("POST", f"/v1/applications/{waiting['id']}/approve", {"role": "member"})
    took = until(lambda: all(node.status["group"]["members"] == 5 for node in nodes), "accounts of all")
    tell(f"approved    nodes 2 and 3, on every node after {took:.1f} s: pulse {first.pulse}")

    until(lambda: all(node.status["peers"] == 3 for node in nodes), "connections between all")
    accounts = [node.account for node in nodes]
    until(lambda: _is_named(first, accounts), "all of the roster at the newest pulse")
    took = until(lambda: all(_roster(node) == accounts for node in nodes), "a roster of four")
    tell(
        f"roster      all four, after {took:.1f} s: node 0 proposes, three signatures seal; term {first.status['term']}"
    )

    for account in accounts:
        first.ask("POST", "/v1/distributions", {"account": account, "amount": amount, "reason": "for the demo"})
    took = until(lambda: all(node.balance(node.account) == amount for node in nodes), "money for all")
    tell(f"distributed {amount:,} to each, on every node after {took:.1f} s: pulse {first.pulse}")


def _is_named(node: Node, accounts: list[str]) -> bool:
    """Name a roster; False while the node has not heard from enough of it that they have the newest pulse."""
    try:
        node.ask("POST", "/v1/roster", {"roster": accounts})
    except RuntimeError as error:
        if "roster_unreachable" in str(error):
            return False
        raise
    return True


def show(folder: Path, stack: ExitStack) -> None:
    """The demonstration."""
    begin = time.monotonic()
    draw = random.Random(1)
    nodes = [Node(folder / str(number)) for number in range(NODES)]
    first = nodes[0]
    for node in nodes:
        stack.callback(node.kill)
    found_with_all(nodes, AMOUNT, say)
    say(f"paid        12 payments between all: {pay(nodes, 3, draw)}")

    first.kill()
    say(f"killed      node 0, the chief, with SIGKILL at pulse {nodes[1].pulse}: three are left, all of them needed")
    say(f"paid         3 payments, the first without it: {pay(nodes[1:], 1, draw)}")
    say(f"paid         9 payments more: {pay(nodes[1:], 3, draw)}")

    started = time.monotonic()
    missed = nodes[1].pulse
    first.start()
    at = first.pulse
    until(lambda: first.pulse >= missed, "catching up")
    took = time.monotonic() - started
    say(f"back        node 0 started again at pulse {at}, and was at pulse {missed} {took:.1f} s after its start")
    until(lambda: first.status["peers"] == 3, "connections")
    say(f"paid        12 payments between all: {pay(nodes, 3, draw)}")

    until(lambda: len({(node.pulse, str(node.status["root"])) for node in nodes}) == 1, "the same state everywhere")
    root = str(first.status["root"])
    sums = {sum(node.balance(each.account) for each in nodes) for node in nodes}
    if sums != {NODES * AMOUNT} or any(node.status["evidence"] for node in nodes):
        raise RuntimeError(f"the books are wrong: {sums}")
    memory = max(int(node.status["memory_kb"]["anonymous"]) for node in nodes)
    say(f"the same    on all four: pulse {first.pulse}, root …{root[-16:]}; nothing lost, nothing twice")
    say(f"done        in {time.monotonic() - begin:.0f} s; the largest node took {memory / 1024:.1f} MB")


def _roster(node: Node) -> list[str]:
    return [str(each["account"]) for each in node.ask("GET", "/v1/roster")["roster"]]


def _stop(number: int, _: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _stop)
    os.umask(0o077)
    with ExitStack() as kept:
        show(Path(sys.argv[1]), kept)
