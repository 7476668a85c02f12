"""A member that was away: it catches up pulse by pulse where little is missing, in one jump where much is, in bounded
memory, and is a node like any other again."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Final

from leither_lite.edge import keyfile
from leither_lite.node import frames
from leither_lite.node.catchup import JUMP_PULSES_MIN
from leither_lite.node.frames import Status
from tests.live.away import PAYMENTS, absence, go_on
from tests.live.harness import SUPPLY, balances, command, doctor
from tests.live.hostile import Raw
from tests.live.network import HOST, Network, founded, network_of, pay
from tests.live.test_failover import has_pulse
from tests.live.test_payments import proof_of, verified
from tests.live.traffic import Traffic

SEED: Final = 5
ACCOUNTS: Final = 40
MEMORY_KB_MAX: Final = 48 * 1024
JUMP_BYTES_MAX: Final = 64 * 1024
"""What a jump brings, however long the way: a page of at most 10,240 bytes, and a state of at most 4,096 with it."""
TICKS_MAX: Final = 30
PULSE_BYTES_MAX: Final = 4 * 1024
"""What a pulse of a few payments brings on its way."""


def can_be_proved(network: Network, number: int, pulse: int) -> bool:
    """True if a node has a pulse that can be proved."""
    account = network.accounts[number]
    return network.nodes[number].client.ask("GET", f"/v1/accounts/{account}/proof?pulse={pulse}").status == 200


def test_away(tmp_path: Path, full: bool) -> None:
    """60 pulses are executed one by one, and can be proved; of 150 (10,000 in the long form) only the last comes."""
    away, page = 10_000 if full else 150, ACCOUNTS
    with absence(tmp_path, page) as absent:
        network = absent.network
        before = network.nodes[1].status()["pulse"]
        steps = absent.after(60)
        print(steps)
        assert [pulse for pulse in range(before, before + 60) if not can_be_proved(network, 1, pulse)] == []
        assert steps.wire_bytes <= 60 * PULSE_BYTES_MAX

        middle = network.nodes[1].status()["pulse"]
        jump = absent.after(away)
        print(jump)
        last = network.together()
        # What comes after the jump it follows at once.
        begun = network.nodes[1].status()["tick"]
        network.distribute(1, network.accounts[0])
        followed = network.nodes[1].until(partial(has_pulse, last + 1), "the pulse after the jump")
        assert followed["tick"] - begun <= TICKS_MAX
        last += 1
        assert not can_be_proved(network, 1, middle + away // 2)
        assert jump.wire_bytes <= JUMP_BYTES_MAX
        assert max(steps.memory_kb, jump.memory_kb) <= MEMORY_KB_MAX

        # It has what everybody has: the balance, and a proof of it that a stranger can check.
        own = network.accounts[1]
        shown = verified(network.folders[0], [proof_of(node, own, last) for node in network.nodes])
        assert [(one["account"], one["pulse"], one["sum"]) for one in shown] == [(own, last, SUPPLY)] * 2
        paid = network.nodes[1].client.get("/v1/account")["balance"]
        assert shown[1]["amount"] == shown[0]["amount"] == paid == balances(network.nodes[0])[own]
        assert paid >= (60 + away) * PAYMENTS // (ACCOUNTS + 1)
        # And it takes part: it pays, and is paid, and follows pulse by pulse.
        assert network.nodes[1].transfer(pay(network, 1, 0, 1, "back"))["state"] == "credited"
        network.distribute(7, own)
        network.together()
        assert network.nodes[1].client.get("/v1/account")["balance"] == paid - 1 + 7
        assert can_be_proved(network, 1, last + 1)
        proof = tmp_path / "proof.json"
        proof.write_bytes(proof_of(network.nodes[1], own, last))
        assert command("verify", "--charter", network.charter, proof).returncode == 0
        assert json.loads(proof.read_bytes())["handovers"] == []
        assert [node.stop().code for node in network.nodes] == [0, 0]
    assert [doctor(folder, "--full") for folder in network.folders] == [[], []]


def test_a_backup_is_away_under_load(tmp_path: Path, full: bool) -> None:
    """One of four that seal is killed with payments of its own under way, comes back after more pulses than it would
    execute, and what it paid is final at its own node too, once."""
    pulses = (1_000 if full else 1) + JUMP_PULSES_MIN
    with network_of(tmp_path, 4, 100) as network:
        traffic = Traffic(network, SEED)
        traffic.begin()
        network.nodes[0].ticks(5)
        network.kill(3)
        traffic.end(3)
        left = network.nodes[0].status()["pulse"]
        network.nodes[0].until(partial(has_pulse, left + pulses), f"{pulses} pulses without it", 100 * pulses)
        network.restart(3)
        network.nodes[3].until(partial(has_pulse, left + pulses), "where the others are")
        traffic.begin(3)
        network.nodes[3].ticks(10)
        traffic.end()
        traffic.check(passed=True)
        traffic.check_lists()
        assert not can_be_proved(network, 3, left + pulses // 2)
        print(f"{pulses} pulses away; {traffic.answers} payments, {traffic.repeated} asked for again")
        assert [node.client.get("/v1/evidence")["evidence"] for node in network.nodes] == [[]] * 4
        assert [node.stop().code for node in network.nodes] == [0] * 4
    assert [doctor(folder, "--full") for folder in network.folders] == [[]] * 4


def test_a_liar_is_asked_first(tmp_path: Path) -> None:
    """A member that comes back finds only another that says to be far ahead and gives nothing; once the founder is
    there, it catches up all the same, while the liar stays."""
    with founded(tmp_path, 100) as network:
        network.restart(network.join(invited=True))
        liar = network.join(invited=True)
        network.await_members(1)
        network.wait(lambda: network.accounts[liar] in balances(network.nodes[0]), "the liar's account")
        network.together()
        for node in network.nodes:
            node.stop()
        newest = go_on(network.folders[0], 2 * JUMP_PULSES_MIN, network.accounts[:2])
        node = network.restart(1)
        key = keyfile.load(network.folders[liar] / keyfile.NODE_KEY)
        raw = Raw(bytes.fromhex(network.organization), key, network.ports[1], HOST)
        raw.send_bytes(raw.session.send(Status(10**9, bytes(32), 1, 1).encode()))
        asked = [frames.kind_of(each) for each in raw.listen(1)]
        assert node.status()["pulse"] < newest
        network.restart(0)
        begun_s = time.monotonic()
        node.until(partial(has_pulse, newest), "the founder's pulse")
        took_s = time.monotonic() - begun_s
        asked += [frames.kind_of(each) for each in raw.listen(0.5)]
        raw.close()
        print(f"{took_s:.1f} s with the liar, who was asked for {asked.count(frames.WANT_STATE)} states")
        network.distribute(1, network.accounts[1])
        network.together()
