"""Who looks on while a network of groups works: is the supply whole at every root pulse, do proofs hold for a stranger.

Asks a few nodes in turn, several times in a pulse cycle, what they show of the root, and one node for its own proof.
"""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any, Final

from leither_lite.codec import decode
from leither_lite.header import Header
from leither_lite.ledger.records import decode_page
from leither_lite.limits import NODE_BYTES
from leither_lite.tree.node import node_sum
from tests.live.groups import Grove
from tests.live.harness import SUPPLY, NodeProcess, Unanswered
from tests.live.test_payments import verified

LOOKS: Final = 4
"""So many in a pulse cycle."""


class Observer:
    """Looks on from `begin` to `end`."""

    def __init__(self, network: Grove, pulse_ms: int) -> None:
        self._network = network
        self._pause_s = pulse_ms / 1_000 / LOOKS
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failed: list[BaseException] = []
        self._turn = 0
        self.headers: dict[int, str] = {}
        """The root header at each pulse at which the supply was seen whole."""
        self.groups: dict[tuple[str, ...], int] = {}
        """The prefixes below each lowest page that was shown, and the root pulse of the first time."""
        self.levels: dict[int, int] = {}
        """The root pulse at which so many levels were seen first."""
        self.proofs: list[bytes] = []
        self.without: Counter[str] = Counter()
        """Why there was no branch or proof just then."""

    def begin(self) -> None:
        """Start."""
        self._thread.start()

    def end(self) -> None:
        """Stop; what was wrong is raised."""
        self._enough.set()
        self._thread.join()
        if self._failed:
            raise self._failed[0]

    def _run(self) -> None:
        try:
            while not self._enough.wait(self._pause_s):
                self._turn += 1
                nodes = list(self._network.nodes)
                nodes = [node for node in nodes if node.address[1]]
                try:
                    self._look(nodes[self._turn * 7 % len(nodes)])
                    if self._turn % LOOKS == 0:
                        self._prove(self._turn // LOOKS % len(nodes))
                except Unanswered as error:
                    self.without[str(error)] += 1
        except BaseException as error:
            self._failed.append(error)
            raise

    def _look(self, node: NodeProcess) -> None:
        answer = node.client.look("/v1/branch")
        if answer.status != 200:
            self.without[f"branch: {answer.code}"] += 1
            return
        root, floors = answer.value["root"], answer.value["floors"]
        header = Header.decode(bytes.fromhex(root["header"]))
        total = node_sum(header.node)
        if floors:
            total += floors[0]["sent_out"] - floors[0]["settled_in"]
        assert total == SUPPLY, answer
        assert self.headers.setdefault(header.pulse, root["header"]) == root["header"], "two headers of one pulse"
        self.levels.setdefault(header.level, header.pulse)
        self._sum_up(node, header)

    def _sum_up(self, node: NodeProcess, header: Header) -> None:
        answer = node.client.look("/v1/summary")
        if answer.status != 200:
            self.without[f"summary: {answer.code}"] += 1
            return
        if header.level == 1:
            held = sum(entry.record.balance + entry.record.frozen for _, entry in decode_page(answer.content))
            assert held == SUPPLY, answer
            return
        page: Any = decode(answer.content)
        nodes = page[1]
        total = sum(node_sum(nodes[at : at + NODE_BYTES]) for at in range(0, len(nodes), NODE_BYTES))
        if answer.pulse == header.pulse:
            assert total == node_sum(header.node), answer

    def _prove(self, number: int) -> None:
        answer = self._network.nodes[number].client.look(f"/v1/accounts/{self._network.accounts[number]}/proof")
        if answer.status == 200:
            self.proofs.append(answer.content)
        else:
            self.without[f"proof: {answer.code}"] += 1

    def check(self, folder: Path) -> None:
        """Every proof holds for a stranger, and every root pulse was seen with the whole supply."""
        shown = verified(folder, self.proofs)
        seen = range(min(self.headers), max(self.headers) + 1)
        print(f"{len(self.headers)} of {len(seen)} root pulses seen, the supply whole at each")
        print(f"{len(shown)} proofs taken on the way hold; without: {dict(self.without)}")
        print(f"the root pulses at which levels were first seen: {self.levels}")
