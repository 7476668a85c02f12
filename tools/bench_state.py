"""The state of one role in networks of 10^2, 10^4 and 2^32 accounts: anonymous memory, and bytes on disk.

A role is the same everywhere: its own group, what that retains, and how much is paid. Six real nodes run on generated
folders (`leither_lite.sim.generated_network`); the rest of the network is one peer, which seals and pays. At 2^32 there
are five levels, and each page above level 1 is full. Takes the names of cases, or prints the table of all.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from http import HTTPStatus
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from leither_lite.board import Board
from leither_lite.edge import keyfile, lmdb, machine
from leither_lite.edge.founding import write_ledger
from leither_lite.edge.lmdb import Store, schema_write
from leither_lite.edge.tcp import Wire
from leither_lite.edge.tcp_link import Limits
from leither_lite.limits import GROUP_MEMBERS_MAX
from leither_lite.sim.generated_group import KEYS, Past
from leither_lite.sim.generated_network import MEMBER, GeneratedNetwork, Plan
from leither_lite.sim.generated_rest import Rest
from leither_lite.sim.paper_generated import ROSTER, START
from leither_lite.store import keys
from leither_lite.tree.proof import Trust, verify
from leither_lite.tree.proof_json import decode_json
from tests.live.harness import Client, NodeProcess, running
from tests.live.network import HOST, free_port

PAST: Final = Past(pulses=1_000)
ROUNDS: Final = 30
"""Of payments, each in a pulse of its own at least."""
ROOTS: Final = 70
"""So many root headers while the nodes run: more than a seat keeps bodies of."""
PULSE_MS: Final = 500
PAYMENTS: Final = 2
"""Of each node in a round."""
RECEIPTS: Final = 2
"""Come from another group in a pulse, as many in all as there are rounds for; else so many payments more a round."""
ACTIVE: Final = 8
CALLS: Final = 100
CHIEF: Final = 0
WIDE: Final = Limits(peers_in_max=16, per_host_max=16, messages_s=10_000, bytes_s=64 * 2**20, work_s=10_000)
LARGE: Final = (GROUP_MEMBERS_MAX,) * 4
CASES: Final = {
    "10^2": Plan(),
    "10^4": Plan((100,)),
    "10^4/2": Plan((100,), 2),
    "2^32": Plan(LARGE),
    "2^32/2": Plan(LARGE, 2),
    "2^32/5": Plan(LARGE, 5),
}
"""After the stroke: up to which level the committee of the own group sits above too."""
ROLES: Final = {
    "member": (MEMBER, ("10^2", "10^4", "2^32")),
    "committee of level 1": (CHIEF, ("10^2", "10^4", "2^32")),
    "committee of levels 1 and 2": (CHIEF, ("10^2", "10^4/2", "2^32/2")),
    "committee of every level": (CHIEF, ("10^2", "10^4/2", "2^32/5")),
}


class State(NamedTuple):
    """What a node takes: anonymous memory after its start, and after the load; the size of its store; and how many
    pulses its group sealed meanwhile."""

    fresh_kb: int
    anonymous_kb: int
    disk_bytes: int
    pulses: int


class Other:
    """The rest of the network, as the seat of a wire: in a thread of its own."""

    def __init__(self, network: GeneratedNetwork, port: int) -> None:
        self.rest = Rest(network, ACTIVE, RECEIPTS, RECEIPTS * ROUNDS)
        self._network, self._port = network, port
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True)
        self._thread.start()

    async def _run(self) -> None:
        self._wire = Wire(self._network.network, self._network.rest_key, self, WIDE, os.urandom)
        await self._wire.open(HOST, self._port)
        await self._stopped.wait()
        await self._wire.close()

    def close(self) -> None:
        """Leave."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        self._loop.close()

    def peer_joined(self, peer: bytes, initiator: bool, address: str) -> None:
        """Nothing to do."""

    def peer_left(self, peer: bytes) -> None:
        """Nothing to do."""

    def frame(self, peer: bytes, content: bytes) -> bool:
        """A branch is answered."""
        if self.rest.take(content):
            for whom, frame in self.rest.answers():
                for key in whom:
                    self._wire.send(key, frame)
        return True


def prepare(folder: Path, network: GeneratedNetwork, index: int) -> None:
    """The folder of one of the six."""
    folder.mkdir(mode=0o700)
    keyfile.store(folder / keyfile.NODE_KEY, KEYS[index])
    keyfile.create_token(folder / keyfile.API_TOKEN)
    path = folder / lmdb.FILE
    map_bytes = Board().map_bytes
    write_ledger(path, map_bytes, [schema_write(), *network.writes(index)])
    store = Store.open(path, map_bytes)
    store.write([(keys.PLACE, b"\0" + machine.place(path))])
    store.close()


def anonymous_kb(node: NodeProcess) -> int:
    """Anonymous memory."""
    rows = Path(f"/proc/{node.process.pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("RssAnon:"))


def pay(network: GeneratedNetwork, nodes: Sequence[NodeProcess], pool: Executor, numbers: count[int]) -> list[str]:
    """Payments of every node, of all at once: the id of each one's last."""
    more = 0 if network.uppers else RECEIPTS
    orders = []
    for index in range(len(nodes)):
        payees = [KEYS[(index + 1 + next(numbers) % (len(KEYS) - 1)) % len(KEYS)] for _ in range(PAYMENTS)]
        payees += payees[: index < more]
        orders.append([network.own.invoice(payee, 1).encode() for payee in payees])
    return list(pool.map(_pay, nodes, orders))


def _pay(node: NodeProcess, orders: list[str]) -> str:
    client = Client(*node.address, (node.folder / keyfile.API_TOKEN).read_text(encoding="ascii").strip())
    names = [str(client.post("/v1/transfers", {"invoice": order})["id"]) for order in orders]
    client.close()
    return names[-1]


def load(network: GeneratedNetwork, nodes: Sequence[NodeProcess]) -> None:
    """All rounds, until everything is final and there were so many root headers."""
    numbers = count()
    with ThreadPoolExecutor(len(nodes)) as pool:
        for _ in range(ROUNDS):
            before = int(nodes[CHIEF].status()["pulse"])
            names = pay(network, nodes, pool, numbers)
            nodes[CHIEF].until(partial(_is_above, before), f"a pulse above {before}")
    for node, name in zip(nodes, names, strict=True):
        assert node.transfer(name)["state"] == "credited"
    if network.uppers:
        nodes[CHIEF].until(_has_roots, "the last root header", 60_000)


def _is_above(pulse: int, status: dict[str, Any]) -> bool:
    return int(status["pulse"]) > pulse


def _has_roots(status: dict[str, Any]) -> bool:
    return int(str(status["root"])[:16], 16) >= START + ROOTS


def prove(network: GeneratedNetwork, node: NodeProcess, index: int) -> None:
    """A node shows the whole way to the root, and proves its account by it, from the charter on."""
    floors = node.client.get("/v1/branch")["floors"]
    assert [each["children"] for each in floors] == [*reversed(network.plan.widths)], floors
    trust = Trust(network.organization.public, network.charter.charter.roster)
    for _ in node.polls():
        answer = node.client.ask("GET", f"/v1/accounts/{KEYS[index].account.hex()}/proof")
        if answer.status == HTTPStatus.OK:
            assert verify(decode_json(answer.content), trust).kind == "present"
            return
        assert answer.code == "no_branch_yet", answer  # its newest header is on its way


def measured(plan: Plan, top: Path) -> list[State]:
    """What each of the six nodes takes in a network."""
    addresses = [f"{HOST}:{free_port()}" for _ in range(len(KEYS) + 1)]
    network = GeneratedNetwork(plan._replace(past=PAST, pulse_ms=PULSE_MS), addresses, addresses[-1])
    folders = [top / f"node{index}" for index in range(len(KEYS))]
    for index, folder in enumerate(folders):
        prepare(folder, network, index)
    with ExitStack() as stack:
        other = Other(network, int(addresses[-1].rpartition(":")[2]))
        stack.callback(other.close)
        nodes = [
            stack.enter_context(running(folder, "--listen", address))
            for folder, address in zip(folders, addresses, strict=False)
        ]
        for node in nodes:
            node.until(lambda status: bool(status["healthy"]), "health")
        fresh = [anonymous_kb(node) for node in nodes]
        load(network, nodes)
        for node in nodes:
            for _ in range(CALLS):
                node.client.get("/v1/account")
        anonymous = [anonymous_kb(node) for node in nodes]
        for index, node in enumerate(nodes):
            prove(network, node, index)
        pulses = [int(node.status()["pulse"]) - START for node in nodes]
        for node in nodes:
            node.stop()
    sizes = [(folder / lmdb.FILE).stat().st_size for folder in folders]
    return [State(*each) for each in zip(fresh, anonymous, sizes, pulses, strict=True)]


def of_role(states: Sequence[State], index: int) -> State:
    """The member's state, or the medians of the committee's four."""
    if index == MEMBER:
        return states[MEMBER]
    return State(*(int(median(column)) for column in zip(*states[:ROSTER], strict=True)))


def table(found: dict[str, list[State]]) -> Iterator[str]:
    """A line for each role and measure."""
    for role, (index, cases) in ROLES.items():
        states = [of_role(found[case], index) for case in cases]
        for at, what in enumerate(("fresh, KB", "anonymous, KB", "disk, bytes", "pulses")):
            values = [state[at] for state in states]
            told = "".join(f"{value:>14,} {value / values[0]:5.3f}" for value in values)
            yield f"{role:30}{what:15}{told}"


if __name__ == "__main__":
    os.chdir(Path(__file__).parent.parent)
    found: dict[str, list[State]] = {}
    for name in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory(prefix="leither-bench-", dir=".") as place:
            found[name] = measured(CASES[name], Path(place).resolve())
        for index, state in enumerate(found[name]):
            print(f"{name:8} node {index}: {state}", flush=True)
    if len(found) == len(CASES):
        print(f"{'':45}" + "".join(f"{name:>20}" for name in ("10^2", "10^4", "2^32")))
        for line in table(found):
            print(line)
