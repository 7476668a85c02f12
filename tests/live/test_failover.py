"""SIGKILL to nodes of a network under load: the others go on, who comes back catches up, nothing is lost or twice."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.live.harness import doctor
from tests.live.network import Network, network_of, pay
from tests.live.traffic import Traffic

SEED: Final = 31
TICKS_MAX: Final = 3
LOAD_S_MAX: Final = 2.0
AWAY_S_MAX: Final = 2.0


def has_pulse(pulse: int, status: dict[str, Any]) -> bool:
    """True if a node is so far."""
    return int(status["pulse"]) >= pulse


def settled_in(network: Network, payer: int, payee: int) -> int:
    """A payment accepted now; the ticks until it is final, as the payer's node counts them."""
    node = network.nodes[payer]
    begun = node.status()["tick"]
    name = pay(network, payer, payee, 1, f"after {begun}")
    assert node.transfer(name)["state"] == "credited"
    return int(node.status()["tick"]) - int(begun)


def test_the_chief_is_killed(tmp_path: Path, full: bool) -> None:
    """Payments at the other nodes go on within 3 pulses' time; the chief comes back and catches up."""
    rounds = 10 if full else 1
    took = []
    with network_of(tmp_path, 4, 1_000) as network:
        traffic = Traffic(network, SEED)
        checked = 0
        for number in range(rounds):
            traffic.begin()
            network.nodes[1].ticks(2)
            assert network.roster(1)[0] == network.accounts[0]
            pulse = network.nodes[1].status()["pulse"]
            network.kill(0)
            begun = network.nodes[1].status()["tick"]
            sealed = network.nodes[1].until(partial(has_pulse, pulse + 2), "two pulses without the chief")
            took.append(int(sealed["tick"]) - int(begun))
            traffic.end(0)
            network.nodes[1].ticks(2)
            traffic.end()
            network.restart(0)
            checked = traffic.check(checked)
            print(f"kill {number}: two pulses within {took[-1]} ticks; {traffic.answers} payments")
        traffic.check_lists()
        # Who is asked after a kill, with nothing under way before, waits no longer.
        for payer in (1, 2, 3) if full else (2,):
            network.kill(0)
            took.append(settled_in(network, payer, 1 + payer % 3))
            network.restart(0)
            network.together()
            print(f"asked of node {payer} after a kill: {took[-1]} ticks")
        ended = [node.stop() for node in network.nodes]
        assert [(each.code, each.stderr) for each in ended] == [(0, "")] * 4
    assert max(took) <= TICKS_MAX, took
    assert [doctor(folder, "--full") for folder in network.folders] == [[]] * 4


def test_all_are_killed_at_once(tmp_path: Path, full: bool) -> None:
    """A blackout: every node is killed under load and started again, and the network goes on where it was."""
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    rounds = 20 if full else 3
    with network_of(tmp_path, 4, 200) as network:
        traffic = Traffic(network, SEED)
        checked = 0
        for _ in range(rounds):
            pulse = network.nodes[0].status()["pulse"]
            traffic.begin()
            network.nodes[0].lives_on(draw.uniform(0.2, LOAD_S_MAX))
            order = draw.sample(range(4), 4)
            network.kill(*order)
            traffic.end()
            for number in order:
                network.start(number)
            for node in network.nodes:
                node.await_address()
            checked = traffic.check(checked)
            assert network.nodes[0].status()["pulse"] > pulse
        traffic.check_lists()
        print(f"{rounds} blackouts, {traffic.answers} payments, {traffic.repeated} asked for again")
        ended = [node.stop() for node in network.nodes]
        assert [(each.code, each.stderr) for each in ended] == [(0, "")] * 4
    assert [doctor(folder, "--full") for folder in network.folders] == [[]] * 4


def test_one_after_another_is_killed(tmp_path: Path, full: bool) -> None:
    """Any one node at any moment, again and again, while the others go on."""
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    kills = 40 if full else 5
    with network_of(tmp_path, 4, 200) as network:
        traffic = Traffic(network, SEED)
        traffic.begin()
        for number in range(kills):
            victim = draw.randrange(4)
            witness = network.nodes[(victim + 1) % 4]
            witness.lives_on(draw.uniform(0, LOAD_S_MAX))
            network.kill(victim)
            traffic.end(victim)
            next_pulse = witness.status()["pulse"] + 1
            witness.until(partial(has_pulse, next_pulse), "a pulse without it")
            witness.lives_on(draw.uniform(0, AWAY_S_MAX))
            network.restart(victim)
            traffic.begin(victim)
            if number % 10 == 9:
                traffic.end()
                traffic.check()
                traffic.begin()
        traffic.end()
        traffic.check()
        traffic.check_lists()
        print(f"{kills} kills, {traffic.answers} payments, {traffic.repeated} asked for again")
        assert traffic.answers > kills
        assert not any(node.client.get("/v1/evidence")["evidence"] for node in network.nodes)
        ended = [node.stop() for node in network.nodes]
        assert [(each.code, each.stderr) for each in ended] == [(0, "")] * 4
    assert [doctor(folder, "--full") for folder in network.folders] == [[]] * 4
