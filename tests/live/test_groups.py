"""Node groups as processes: a network splits under payments, level above level, and nothing fails because of it."""

from __future__ import annotations

import os
import random
import time
from functools import partial
from pathlib import Path
from typing import Final

from tests.live.groups import ENDS, FIRST, LATER, SHORT, Grove, grove
from tests.live.harness import SUPPLY, command, doctor
from tests.live.observer import Observer
from tests.live.pace import Payments, told
from tests.live.standing import AFTER, standing
from tests.live.test_payments import verified

SEED: Final = 24
AMOUNT: Final = 100_000
PAID_TICKS: Final = 180
IDLE_TICKS: Final = 20
MOST_KB_A_TICK: Final = 500
"""The mean of a node may send so much at most."""


def processor_s(network: Grove) -> list[float]:
    """The processor time that each node has taken."""
    found = []
    for node in network.nodes:
        fields = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
        found.append((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
    return found


def traffic_kb(network: Grove) -> list[tuple[float, float]]:
    """What each node has sent to others, and got from them, in KB."""
    found = []
    for node in network.nodes:
        lines = node.client.look("/metrics").content.decode().splitlines()
        values = dict(line.split() for line in lines if not line.startswith("#"))
        sent, received = (int(values[f"leither_peer_{way}_bytes_total"]) for way in ("sent", "received"))
        found.append((sent / 1_000, received / 1_000))
    return found


def report_costs(network: Grove, what: str, ticks: int) -> None:
    """Print what each node takes of the machine while so many pulse cycles pass."""
    before, told_before, begun_s = processor_s(network), traffic_kb(network), time.monotonic()
    network.nodes[0].ticks(ticks)
    told_after = traffic_kb(network)
    spent, passed_s = zip(before, processor_s(network), strict=True), time.monotonic() - begun_s
    print(f"{what}: {ticks} ticks in {passed_s:.0f} s")
    told("percent of a processor", [100 * (last - first) / passed_s for first, last in spent])
    ways = [
        [(last[at] - first[at]) / ticks for first, last in zip(told_before, told_after, strict=True)] for at in (0, 1)
    ]
    told("KB sent a tick", ways[0])
    told("KB received a tick", ways[1])
    assert 0 < sum(ways[0]) < len(network.nodes) * MOST_KB_A_TICK, "what a node sends is bounded"
    told("anonymous MB", [node.status()["memory_kb"]["anonymous"] / 1_024 for node in network.nodes])


def prove_all(network: Grove, expected: dict[str, int], folder: Path) -> None:
    """The proof of every account, from its own node, holds for a stranger at one root pulse, with the supply in all."""
    network.await_rest()
    proofs = []
    for number, account in enumerate([*network.accounts, network.organization]):
        node = network.nodes[number % len(network.accounts)]  # the organization's from the founder's
        answer = node.client.look(f"/v1/accounts/{account}/proof")
        assert answer.status == 200, (number, answer)
        proofs.append(answer.content)
    shown = verified(network.folders[0], proofs)
    assert len({one["pulse"] for one in shown}) == 1
    assert sum(one["amount"] for one in shown) == SUPPLY
    held = {one["account"]: one["amount"] for one in shown}
    assert {account: held[account] for account in expected} == expected
    proof = folder / "proof.json"
    proof.write_bytes(proofs[-2])
    done = command("verify", "--charter", network.charter, proof)
    assert done.returncode == 0, done
    print(f"{len(shown)} accounts proved under root pulse {shown[0]['pulse']}, the supply among them")


def see_out(network: Grove, payments: Payments, observer: Observer, pulse_ms: int, full: bool) -> None:
    """Some more payments in the groups as they are now; then all come to rest, and the supply was whole all along."""
    payments.part = "after that"
    report_costs(network, "under payments", PAID_TICKS if full else 8)
    payments.end()
    payments.settle()
    observer.end()
    payments.report(pulse_ms)
    observer.check(network.folders[0])


def stop_all(network: Grove) -> None:
    """Nobody has lied, and every node ends as it should."""
    assert [node.client.get("/v1/evidence")["evidence"] for node in network.nodes] == [[]] * len(network.nodes)
    ended = [node.stop() for node in network.nodes]
    assert [(one.code, one.stderr) for one in ended] == [(0, "")] * len(ended)


def test_groups_split_under_payments(tmp_path: Path, full: bool) -> None:
    """24 processes on three levels (8 on two in the short form): payments go on while groups split, all are credited on
    both sides, the supply is whole at every root pulse, and every account is proved to a stranger."""
    print(f"seed {SEED}")
    pulse_ms = 1_000 if full else 500
    draw = random.Random(SEED)
    with grove(tmp_path, pulse_ms, draw) as network:
        first = network.grow(FIRST[1:])
        network.admit(*first)
        network.name_roster(0, 1, 2, 3)
        network.give(AMOUNT, 0, *first)
        payments = Payments(network, f"{SEED}", 0.5)
        observer = Observer(network, pulse_ms)
        payments.join(0, *first)
        observer.begin()
        payments.begin("while groups split")
        for places in LATER if full else SHORT:
            ticks = [network.nodes[0].status()["tick"]]
            joined = network.grow(places)
            for step in (network.admit, partial(network.give, AMOUNT), payments.join):
                step(*joined)
                ticks.append(network.nodes[0].status()["tick"])
            print(f"{len(network.nodes)} nodes: ticks at which they began, were members, had money: {ticks[:3]}")
        network.await_groups(ENDS if full else ("0", "1"), 3 if full else 2)
        see_out(network, payments, observer, pulse_ms, full)
        print(f"{network.again} admissions asked for again")
        expected = payments.expected(AMOUNT)
        expected[network.accounts[0]] += 2  # `name_roster` gives the founder one, twice
        prove_all(network, expected, tmp_path)
        if full:
            report_costs(network, "idle", IDLE_TICKS)
        stop_all(network)
    assert [doctor(folder, "--full") for folder in network.folders] == [[]] * len(network.folders)


def test_groups_merge_and_split_under_payments(tmp_path: Path, full: bool) -> None:
    """24 processes on three levels: two pairs of small groups are merged and a large one is split while payments go on;
    all are credited on both sides, and the supply is whole at every root pulse."""
    print(f"seed {SEED}")
    pulse_ms = 1_000
    with standing(tmp_path, pulse_ms, random.Random(SEED)) as network:
        everybody = range(len(network.nodes))
        observer = Observer(network, pulse_ms)
        payments = Payments(network, f"{SEED}", 0.5)
        payments.join(*everybody)
        observer.begin()
        payments.begin("while groups merge and split")
        network.await_groups(AFTER, 3)
        see_out(network, payments, observer, pulse_ms, full)
        prove_all(network, payments.expected(AMOUNT), tmp_path)
        stop_all(network)
    found = [each for folder in network.folders for each in doctor(folder, "--full")]
    assert {each["code"] for each in found} <= {"not_on_roster"}, "nobody here has joined"
