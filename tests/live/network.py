"""Networks for tests: several nodes of one organization as processes, made as people make them, with the commands.

Node 0 founds; the others join, the first by invite, and are approved. A node that is started again has the port that it
had. Nothing here sleeps: who waits for a network waits for what its nodes answer.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from tests.live.harness import Answer, Ended, NodeProcess, Unanswered, command, found

HOST: Final = "127.0.0.1"
# Below the ports that the system gives away by itself, so that a node that comes back finds its own free.
_PORTS: Final = count(20_000 + os.getpid() * 1_009 % 11_000)
_STEPS_MAX: Final = 3_000


def free_port() -> int:
    """A port that nobody listens on."""
    for port in _PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    raise AssertionError("unreachable")


def ran(*arguments: str | Path) -> dict[str, Any]:
    """What a command answers that must succeed."""
    done = command(*arguments, "--json")
    assert done.returncode == 0, done
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


class Network:
    """The folders, ports and processes of the nodes, by number; a process that has ended stays in its place."""

    def __init__(self, top: Path, pulse_ms: int, settings: str = "", parameters: Sequence[str] = ()) -> None:
        """`settings`: what stands in every node's settings.toml; `parameters`: what else `found` is told."""
        self._top = top
        self._settings = settings
        self.folders = [found(top / "node0", pulse_ms, settings, parameters)]
        self.ports = [free_port()]
        self.entry = f"{HOST}:{self.ports[0]}"
        self.nodes: list[NodeProcess] = []
        self.accounts: list[str] = []
        self.restart(0)
        self.organization = str(self.nodes[0].status()["organization"])
        self.accounts.append(str(self.nodes[0].status()["account"]))

    @property
    def link(self) -> str:
        """What `join` takes; `entry` is where it leads."""
        return f"leither:{self.organization}@{self.entry}"

    @property
    def charter(self) -> Path:
        """The charter that the founder has, as a file."""
        return self.folders[0] / "charter.json"

    def start(self, number: int, *arguments: str, listens: bool = True) -> NodeProcess:
        """Start a node, and do not wait for it. One that does not listen only dials out."""
        listen = ("--listen", f"{HOST}:{self.ports[number]}") if listens else ()
        node = NodeProcess(self.folders[number], *listen, *arguments)
        self.nodes[number : number + 1] = [node]
        return node

    def restart(self, number: int, *arguments: str, listens: bool = True) -> NodeProcess:
        """Start a node that is not running, and wait until it answers."""
        return self.start(number, *arguments, listens=listens).await_address()

    def join(self, *, invited: bool = False, memo: str = "") -> int:
        """A further folder that has applied, with the command; its number. It does not run yet."""
        number = len(self.folders)
        folder = self._top / f"node{number}"
        folder.mkdir(mode=0o700, exist_ok=True)  # its key may be there
        if self._settings:
            (folder / "settings.toml").write_text(self._settings)
        invite = ["--invite", ran("invite", "--data", self.folders[0])["invite"]] if invited else []
        told = ran("join", self.link, "--data", folder, "--memo", memo, *invite)
        assert told["answered"] == self.entry
        self.folders.append(folder)
        self.ports.append(free_port())
        self.accounts.append(str(told["account"]))
        return number

    def approve(self, number: int) -> None:
        """Let the applicant with this number in, once its application is there."""
        account = self.accounts[number]
        self.wait(lambda: account in self._applicants(), f"{account} among those who wait")
        ran("approve", account, "--data", self.folders[0])

    def _applicants(self) -> list[str]:
        return [str(each["id"]) for each in self.nodes[0].client.get("/v1/applications")["applications"]]

    def await_members(self, *numbers: int) -> None:
        """Wait until nodes know themselves to be members."""
        for number in numbers:
            node = self.nodes[number]
            self.wait(partial(self._is_member, node), f"{node.folder.name} a member", number)

    @staticmethod
    def _is_member(node: NodeProcess) -> bool:
        answer = node.client.look("/v1/account")
        return answer.status == 200 and answer.value["role"] in ("member", "supervisor")

    def wait(self, seen: Callable[[], bool], what: str, number: int = 0) -> None:
        """Ask until it is so; a node's polls set the pace."""
        for step, _ in enumerate(self.nodes[number].polls()):
            if seen():
                return
            assert step < _STEPS_MAX, f"never came: {what}; {self.told()}"

    def told(self) -> list[Any]:
        """What all nodes say of themselves, for a message."""
        names = ("pulse", "tick", "term", "role", "peers", "behind", "reasons")
        found: list[Any] = []
        for node in self.nodes:
            try:
                status = node.status()
            except Unanswered as error:
                found.append(str(error))
            else:
                found.append({name: status[name] for name in names})
        return found

    def alive(self) -> list[int]:
        """Who runs and has said where its API is."""
        return [number for number, node in enumerate(self.nodes) if node.address[1] and node.process.poll() is None]

    def distribute(self, amount: int, *accounts: str) -> None:
        """From the organization's account to others, until it is final."""
        node = self.nodes[0]
        bodies = [{"account": account, "amount": amount, "reason": "for the test"} for account in accounts]
        for name in [str(node.client.post("/v1/distributions", body)["id"]) for body in bodies]:
            assert node.transfer(name)["state"] == "credited"

    def name_roster(self, *numbers: int) -> None:
        """Have these nodes seal from now on, chief first; two headers are sealed by it."""
        accounts = [self.accounts[number] for number in numbers]
        self.wait(lambda: set(accounts) <= self._registered(), f"the registration of {accounts}")
        ran("roster", *accounts, "--data", self.folders[0])
        self.distribute(1, self.accounts[0])
        for number in numbers:
            self.wait(partial(self._has_roster, number, accounts), f"the roster {accounts}", number)
        self.distribute(1, self.accounts[0])

    def _registered(self) -> set[str]:
        told = self.nodes[0].client.get("/v1/roster")
        registered = {str(each["key"]) for each in told["willing"]}
        known = self.nodes[0].client.get("/v1/peers")["peers"]
        here = {str(each["account"]) for each in known if each["key"] in registered}
        return here | {self.accounts[0]}

    def roster(self, number: int) -> list[str]:
        """Who may seal the next header, as a node knows it."""
        return [str(each["account"]) for each in self.nodes[number].client.get("/v1/roster")["roster"]]

    def _has_roster(self, number: int, accounts: list[str]) -> bool:
        return self.roster(number) == accounts

    def together(self, *numbers: int) -> int:
        """Wait until nodes (all by default) are at one pulse and root, and nothing waits; that pulse."""
        names = numbers or tuple(range(len(self.nodes)))

        def same() -> bool:
            seen = [self.nodes[number].status() for number in names]
            return len({(one["pulse"], one["root"]) for one in seen}) == 1 and not any(one["behind"] for one in seen)

        self.wait(same, "one pulse everywhere", names[0])
        return int(self.nodes[names[0]].status()["pulse"])

    def kill(self, *numbers: int) -> list[Ended]:
        """SIGKILL, one at once after the other."""
        for number in numbers:
            self.nodes[number].process.kill()
        return [self.nodes[number].ended() for number in numbers]

    def close(self) -> None:
        """Kill whoever still runs."""
        self.kill(*(number for number, node in enumerate(self.nodes) if node.process.poll() is None))


@contextmanager
def founded(top: Path, pulse_ms: int, settings: str = "", parameters: Sequence[str] = ()) -> Iterator[Network]:
    """A network of one, for the time of a block."""
    network = Network(top, pulse_ms, settings, parameters)
    try:
        yield network
    finally:
        network.close()


@contextmanager
def network_of(
    top: Path, size: int, pulse_ms: int, amount: int = 1_000_000, settings: str = "", roster: Sequence[int] = ()
) -> Iterator[Network]:
    """A network of `size` nodes with an amount each; `roster` seals, by default all of them (1, 3, 4 or 7)."""
    with founded(top, pulse_ms, settings) as network:
        joined = [network.join(invited=number == 1, memo=f"node {number}") for number in range(1, size)]
        for number in joined:
            network.restart(number)
        for number in joined[1:]:
            network.approve(number)
        network.await_members(*joined)
        network.name_roster(*(roster or range(size)))
        network.distribute(amount, *network.accounts)
        network.together()
        yield network


def invoice(network: Network, payee: int, amount: int, memo: str) -> Answer:
    """An invoice of a node's own account."""
    body = {"amount": amount, "memo": memo, "ticks": 0}
    return network.nodes[payee].client.ask("POST", "/v1/invoices", body)


def pay(network: Network, payer: int, payee: int, amount: int, memo: str) -> str:
    """Invoice at one node, payment at another; the transfer's id at the payer's once it has answered for it."""
    told = invoice(network, payee, amount, memo)
    assert told.status == 201, told
    return str(network.nodes[payer].client.post("/v1/transfers", {"invoice": told.value["invoice"]})["id"])
