"""Nodes in network namespaces of their own, on one bridge: real hosts, as far as the kernel is concerned. Needs root.

A thread enters a namespace for a moment, and whatever socket or process it makes there stays in it; so a node's API is
reached on its own loopback. The namespaces have names that no other process gives, and go with the test.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.live.harness import Answer, Client, NodeProcess, command, found

PORT: Final = 7370
AMOUNT: Final = 100_000
_CLONE_NEWNET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_NUMBERS: Final = itertools.count()


def run(*arguments: str, text: str | None = None) -> None:
    """Carry out a command that must succeed."""
    done = subprocess.run(arguments, input=text, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, (arguments, text, done.stderr)


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace with one interface on the bridge."""

    name: str
    address: str

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What this thread does in the block, it does on that host."""
        home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            there = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
            try:
                _enter(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _enter(home)
        finally:
            os.close(home)

    def filter(self, *rules: str) -> None:
        """Have packets that come in judged by these rules (nftables), and by no others."""
        chain = "type filter hook input priority 0; policy accept;\n" + "\n".join(rules)
        text = f"add table inet house\ndelete table inet house\ntable inet house {{\nchain come {{\n{chain}\n}}\n}}\n"
        run("ip", "netns", "exec", self.name, "nft", "-f", "-", text=text)


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """So many hosts on a bridge, which lies in a namespace of its own; all are deleted at the end."""
    stem = f"leither-{os.getpid()}-{next(_NUMBERS)}"
    hub = f"{stem}-hub"
    made: list[str] = []
    try:
        for name in (hub, *(f"{stem}-{number}" for number in range(count))):
            run("ip", "netns", "add", name)
            made.append(name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", hub, "link", "add", "bridge", "type", "bridge", "forward_delay", "0")
        run("ip", "-n", hub, "link", "set", "bridge", "up")
        found_hosts = [Host(name, f"10.77.0.{number}") for number, name in enumerate(made[1:], 1)]
        for number, host in enumerate(found_hosts):
            port = f"port{number}"
            run("ip", "-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            run("ip", "-n", hub, "link", "set", port, "master", "bridge", "up")
            run("ip", "-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
            run("ip", "-n", host.name, "link", "set", "eth0", "up")
        yield found_hosts
    finally:
        for name in reversed(made):
            run("ip", "netns", "delete", name)


def cut(one: list[Host], other: list[Host]) -> None:
    """Nothing comes through between two sides any more."""
    for side, far in ((one, other), (other, one)):
        for host in side:
            host.filter(*(f"ip saddr {each.address} drop" for each in far))


def heal(all_hosts: list[Host]) -> None:
    """Everything comes through again."""
    for host in all_hosts:
        host.filter()


class _InsideClient(Client):
    """A client that connects from within the node's host."""

    def __init__(self, host: Host, address: tuple[str, int], token: str) -> None:
        super().__init__(*address, token)
        self._host = host

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request."""
        with self._host.inside():
            return super().ask(method, path, body, headers)


class HostedNode(NodeProcess):
    """A node on a host."""

    def __init__(self, host: Host, folder: Path, *arguments: str) -> None:
        self.host = host
        self._inside = threading.local()
        with host.inside():
            super().__init__(folder, "--listen", f"{host.address}:{PORT}", *arguments)

    @property
    def client(self) -> Client:
        """This thread's connection."""
        client = getattr(self._inside, "client", None)
        if not isinstance(client, Client):
            token = (self.folder / "api-token").read_text().strip()
            client = self._inside.client = _InsideClient(self.host, self.address, token)
        return client

    @property
    def account(self) -> str:
        """The account of the node's own key."""
        return str(self.status()["account"])


@contextmanager
def committee(
    folder: Path, places: list[Host], pulse_ms: int, announced: Callable[[int], str] | None = None
) -> Iterator[list[HostedNode]]:
    """An organization whose roster is one node on each host, each with money: founded, joined by invite and by
    approval. `announced`: under which address, by the host's number, others reach a node."""
    with ExitStack() as stack:

        def start(number: int, path: Path) -> HostedNode:
            more = () if announced is None else ("--announce", announced(number))
            node = HostedNode(places[number], path, *more)
            stack.callback(lambda: node.kill() if node.process.poll() is None else None)
            node.await_address()
            return node

        nodes = [start(0, found(folder / "0", pulse_ms))]
        first = nodes[0]
        address = f"{places[0].address}:{PORT}" if announced is None else announced(0)
        link = f"leither:{first.status()['organization']}@{address}"
        invite = str(first.client.post("/v1/invites", {"role": "member"})["invite"])
        for number in range(1, len(places)):
            path = folder / str(number)
            how = ("--invite", invite) if number == 1 else ("--memo", f"node {number}")
            with places[number].inside():
                done = command("join", link, "--data", path, *how)
            assert done.returncode == 0, done.stderr
            nodes.append(start(number, path))
        applicants = {each.account for each in nodes[2:]}
        first.until(lambda _: applicants <= _waiting(first), "the applications of all")
        for account in sorted(applicants):
            first.client.post(f"/v1/applications/{account}/approve", {"role": "member"})
        members = len(nodes)
        for node in nodes:
            node.until(lambda status: status["group"]["members"] == members + 1, "accounts for all")
            node.until(lambda status: status["peers"] == members - 1, "connections to all")
        accounts = [node.account for node in nodes]
        first.client.post("/v1/roster", {"roster": accounts})
        for node in nodes:
            node.until(partial(_seals, node, accounts), "a roster of all")
        for account in accounts:
            body = {"account": account, "amount": AMOUNT, "reason": "for the test"}
            assert first.transfer(first.client.post("/v1/distributions", body)["id"])["state"] == "credited"
        yield nodes


def _seals(node: NodeProcess, accounts: list[str], _: dict[str, Any]) -> bool:
    return [str(each["account"]) for each in node.client.get("/v1/roster")["roster"]] == accounts


def _waiting(node: NodeProcess) -> set[str]:
    return {str(each["id"]) for each in node.client.get("/v1/applications")["applications"]}
