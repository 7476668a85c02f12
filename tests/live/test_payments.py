"""Payments between many accounts of one node over HTTP, and a proof of every balance that a stranger can check."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from tests.live.harness import (
    PATIENCE_S,
    ROOT,
    SUPPLY,
    NodeProcess,
    balances,
    command,
    doctor,
    found,
    open_accounts,
    pay,
    running,
    transfers,
)

SEED: Final = 20
AMOUNT: Final = 100_000
OLDER_PULSES: Final = 20
THREADS: Final = 8


def verified(folder: Path, proofs: list[bytes]) -> list[dict[str, Any]]:
    """What proofs show to a process that has them and the charter only. Fails unless all of them hold."""
    checker = [sys.executable, "-m", "tests.live.verifier", str(folder / "charter.json")]
    content = b"".join(proof.strip() + b"\n" for proof in proofs)
    done = subprocess.run(checker, cwd=ROOT, input=content, capture_output=True, timeout=10 * PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def proof_of(node: NodeProcess, account: str, pulse: int) -> bytes:
    """A proof as it goes over the wire."""
    answer = node.client.ask("GET", f"/v1/accounts/{account}/proof?pulse={pulse}")
    assert answer.status == 200, answer
    return answer.content


def pay_much(node: NodeProcess, accounts: list[str], count: int, draw: random.Random) -> Counter[str]:
    """So many payments from several threads at once; what each account gains."""
    gains: Counter[str] = Counter()
    asked = []
    for _ in range(count):
        payer, payee = draw.sample(accounts, 2)
        amount = draw.randrange(1, 100)
        gains.update({payee: amount})
        gains.subtract({payer: amount})
        asked.append((payer, payee, amount))
    with ThreadPoolExecutor(THREADS) as pool:
        names = list(pool.map(lambda one: pay(node, *one), asked))
    assert len(set(names)) == count
    for name in names:
        assert node.transfer(name)["state"] == "credited"
    return gains


@pytest.fixture(scope="module")
def draw() -> random.Random:
    """The test's choices."""
    print(f"seed {SEED}")
    return random.Random(SEED)


def test_every_balance_can_be_proved(tmp_path: Path, full: bool, draw: random.Random) -> None:
    """The proof of each account holds at the newest and at 20 older pulses; sums are the supply at every pulse."""
    accounts_count, payments_count = (200, 1_000) if full else (40, 200)
    folder = found(tmp_path / "node")
    with running(folder) as node:
        accounts = open_accounts(node, accounts_count, AMOUNT)
        first = node.status()["pulse"]
        gains: Counter[str] = Counter()
        bursts = 25  # each of which takes another pulse at least
        for _ in range(bursts):
            for account, gain in pay_much(node, accounts, payments_count // bursts, draw).items():
                gains[account] += gain
        held = balances(node)
        assert sum(held.values()) == SUPPLY
        assert {account: held[account] for account in accounts} == {
            account: AMOUNT + gains[account] for account in accounts
        }
        assert len(transfers(node)) == accounts_count + payments_count

        newest = node.status()["pulse"]
        older = draw.sample(range(first, newest), OLDER_PULSES)
        everybody = sorted(held)
        for pulse in (newest, *older):
            shown = verified(folder, [proof_of(node, account, pulse) for account in everybody])
            assert [(one["account"], one["pulse"]) for one in shown] == [(account, pulse) for account in everybody]
            assert sum(one["amount"] for one in shown) == SUPPLY
            if pulse == newest:
                assert {one["account"]: one["amount"] for one in shown} == held

        founder = node.status()["account"]
        shown = verified(folder, [proof_of(node, founder, pulse) for pulse in range(newest + 1)])
        assert [(one["pulse"], one["sum"]) for one in shown] == [(pulse, SUPPLY) for pulse in range(newest + 1)]

        for account in draw.sample(accounts, accounts_count if full else 6):
            proof = tmp_path / "proof.json"
            proof.write_bytes(proof_of(node, account, draw.choice([newest, *older])))
            done = command("verify", "--charter", folder / "charter.json", proof)
            assert done.returncode == 0, (done, proof.read_text())
            assert account in done.stdout
        print(f"{newest} pulses, {payments_count} payments")
        assert node.stop().code == 0
    assert doctor(folder, "--full") == []


def test_a_changed_proof_is_refused(tmp_path: Path) -> None:
    """The same command says no, with a reason, to a proof with another balance in it."""
    folder = found(tmp_path / "node")
    with running(folder) as node:
        payer, payee = open_accounts(node, 2, AMOUNT)
        node.transfer(pay(node, payer, payee, 1))
        proof = json.loads(proof_of(node, payer, node.status()["pulse"]))
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(proof))
    assert command("verify", "--charter", folder / "charter.json", path).returncode == 0
    spent, whole = (f"1a{amount:08x}" for amount in (AMOUNT - 1, AMOUNT))  # as CBOR has a number of this size
    assert spent in proof["record"]
    proof["record"] = proof["record"].replace(spent, whole)
    path.write_text(json.dumps(proof))
    done = command("verify", "--charter", folder / "charter.json", path)
    assert done.returncode == 1
    assert "path_not_header" in done.stderr
