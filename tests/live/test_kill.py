"""SIGKILL at random moments under load: every acknowledged payment is there afterwards, and nothing twice."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

from tests.live.harness import NodeProcess, doctor, found, open_accounts, running
from tests.live.load import Book

SEED: Final = 9
ACCOUNTS: Final = 20
AMOUNT: Final = 1_000_000
STARTUP_S_MAX: Final = 0.6
LOAD_S_MAX: Final = 0.5


def test_nothing_acknowledged_is_lost(tmp_path: Path, full: bool) -> None:
    """200 kills (10 in the short form), a quarter of them while the node starts."""
    kills = 200 if full else 10
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    folder = found(tmp_path / "node", pulse_ms=50)
    with running(folder) as node:
        book = Book.of(node, open_accounts(node, ACCOUNTS, AMOUNT), SEED)
        node.stop()
    checked = starts_killed = 0
    for number in range(kills):
        if draw.random() < 0.25:
            node = NodeProcess(folder)
            node.lives_on(draw.uniform(0, STARTUP_S_MAX))
            assert node.kill().code == -9
            starts_killed += 1
            continue
        with running(folder) as node:
            book.settle(node)
            checked = book.check(node, checked)
            loads = book.begin(node)
            node.lives_on(draw.uniform(0, LOAD_S_MAX))
            node.kill()
            for load in loads:
                load.result()
        if number % 50 == 49:
            assert doctor(folder) == []
    with running(folder) as node:
        book.settle(node)
        book.check(node, checked)
        book.check_all(node)
        assert node.stop().code == 0
    assert doctor(folder, "--full") == []
    print(f"{kills} kills, {starts_killed} of them at the start; {book.answers} payments acknowledged")
    assert book.answers > kills
