"""Two of four cut off from the other two: nobody seals, both sides say so, and all goes on when they meet again."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

from leither_lite.node.watch import STALLED_TICKS_MAX
from tests.live.harness import SUPPLY, Unanswered, balances, transfers
from tests.system.namespaces import HostedNode, committee, cut, heal, hosts

PULSE_MS: Final = 300
SEED: Final = 4
CUT_TICKS: Final = 10
CUT_TICKS_LONG: Final = 300
"""As long as it takes until connections are given up for dead on both sides."""
AMOUNT: Final = 3


class Payments:
    """Payments between nodes, one by one, and what each node's account must hold after them."""

    def __init__(self, nodes: list[HostedNode]) -> None:
        print(f"seed {SEED}")
        self._draw = random.Random(SEED)
        self._accounts = {node.folder: node.account for node in nodes}
        self.held = balances(nodes[0])
        self.made: list[tuple[HostedNode, str]] = []

    def one(self, payer: HostedNode, payees: list[HostedNode]) -> str:
        """A node pays one of the others, and has said that it will: the transfer's id."""
        payee = self._draw.choice([node for node in payees if node is not payer])
        body = {"amount": AMOUNT, "memo": f"{self._draw.getrandbits(64):x}", "ticks": 0}
        invoice = payee.client.post("/v1/invoices", body)["invoice"]
        answer = payer.client.ask("POST", "/v1/transfers", {"invoice": invoice})
        assert answer.status == 202, answer
        self.made.append((payer, str(answer.value["id"])))
        self.held[self._accounts[payer.folder]] -= AMOUNT
        self.held[self._accounts[payee.folder]] += AMOUNT
        return str(answer.value["id"])


def pulses(nodes: list[HostedNode]) -> list[int]:
    """The newest sealed pulse of each."""
    return [int(node.status()["pulse"]) for node in nodes]


def codes(node: HostedNode) -> list[str]:
    """Why a node says that it does not do its work."""
    return [str(reason["code"]) for reason in node.status()["reasons"]]


def settled(nodes: list[HostedNode]) -> int:
    """Wait until all have the same newest pulse, and have it after a tick too: that pulse."""
    for status in nodes[0].polls():
        before = pulses(nodes)
        if len(set(before)) == 1:
            nodes[0].ticks(2)
            if pulses(nodes) == before:
                return before[0]
        assert status["tick"] < 2_000, before
    raise Unanswered("the first node has ended")


def test_two_against_two(tmp_path: Path, full: bool) -> None:
    """A quorum is three."""
    cut_ticks = CUT_TICKS_LONG if full else CUT_TICKS
    with hosts(4) as places, committee(tmp_path, places, PULSE_MS) as nodes:
        near, far = nodes[:2], nodes[2:]
        payments = Payments(nodes)
        for node in nodes:
            assert node.transfer(payments.one(node, nodes))["state"] == "credited"
        settled(nodes)

        cut(places[:2], places[2:])
        before = pulses(nodes)
        start = [node.status()["tick"] for node in nodes]
        pending = []
        while min(node.status()["tick"] - tick for node, tick in zip(nodes, start, strict=True)) < cut_ticks:
            for side in (near, far):
                for node in side:
                    pending.append((node, payments.one(node, side)))
            for node in nodes:
                node.ticks(1)
            assert pulses(nodes) == before
        for node, tick in zip(nodes, start, strict=True):
            status = node.until(lambda status: not status["healthy"], "a word of the stall")
            assert "agreement_stalled" in codes(node), status
            print(f"says so after {status['tick'] - tick} ticks")
            assert full or status["tick"] - tick <= STALLED_TICKS_MAX + 5, (status["tick"], tick)
        assert pulses(nodes) == before
        for node, name in pending:
            assert node.client.get(f"/v1/transfers/{name}")["state"] == "pending"

        heal(places)
        for node in nodes:
            healed = node.status()["tick"]
            status = node.until(lambda status: status["healthy"], "health")
            print(f"healthy after {status['tick'] - healed} more ticks, pulse {status['pulse']}")
        for node, name in payments.made:
            assert node.transfer(name)["state"] == "credited"
        for node in nodes:
            assert node.transfer(payments.one(node, nodes))["state"] == "credited"

        settled(nodes)
        assert len({node.status()["root"] for node in nodes}) == 1
        for node in nodes:
            held = balances(node)
            assert held == payments.held
            assert sum(held.values()) == SUPPLY
            own = [name for payer, name in payments.made if payer is node]
            paid = [each["id"] for each in transfers(node) if each["payer"] == node.account]
            assert sorted(name for name in paid if name in own) == sorted(own)
            assert len({each["digest"] for each in transfers(node)}) == len(transfers(node))
            assert codes(node) == []
            assert node.status()["evidence"] == 0
            ended = node.stop()
            assert (ended.code, ended.stderr) == (0, "")
        print(f"{len(payments.made)} payments, {len(pending)} of them while cut off")
