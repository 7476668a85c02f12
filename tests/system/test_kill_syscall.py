"""SIGKILL at any system call of a commit or around it: every acknowledged payment is there, and nothing twice.

The node runs under strace, which kills it as it enters the call, so before the call does anything. `-D` makes strace
the child of the node's own process, not the other way round.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

from tests.live.harness import NodeProcess, Unanswered, doctor, found, open_accounts, running
from tests.live.load import Book

SEED: Final = 31
ACCOUNTS: Final = 20
AMOUNT: Final = 1_000_000
LOAD_S_MAX: Final = 4.0
# How often each is called within a second or two of load; the first ones of some come while the node starts.
CALLS: Final = {
    "fdatasync": 60,
    "pwrite64": 120,
    "writev": 40,
    "write": 40,
    "accept4": 7,
    "fsync": 4,
    "rename,renameat,renameat2": 2,
    "openat": 60,
    "flock": 1,
    "unlink,unlinkat": 2,
}


def traced(call: str, number: int) -> list[str]:
    """The command line that kills what follows at a system call."""
    inject = f"inject={call}:signal=SIGKILL:when={number}"
    return ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]


def test_nothing_acknowledged_is_lost(tmp_path: Path, full: bool) -> None:
    """100 kills (5 in the short form), each at another call."""
    kills = 100 if full else 5
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    folder = found(tmp_path / "node", pulse_ms=50)
    with running(folder) as node:
        book = Book.of(node, open_accounts(node, ACCOUNTS, AMOUNT), SEED)
        node.stop()
    names = list(CALLS)
    checked, killed = 0, dict.fromkeys(names, 0)
    for number in range(kills):
        call = names[number % len(names)] if full else draw.choice(names[:3])
        node = NodeProcess(folder, before=traced(call, 1 + draw.randrange(CALLS[call])))
        try:
            node.await_address()
            loads = book.begin(node)
            node.lives_on(LOAD_S_MAX)  # where the call does not come that often, it is killed as ever
            by_call = node.process.poll() is not None
            assert node.kill().code == -9
            for load in loads:
                load.result()
        except Unanswered:
            by_call = True
            assert node.ended().code == -9
        finally:
            if node.process.poll() is None:
                node.kill()
        killed[call] += by_call
        with running(folder) as node:
            book.settle(node)
            checked = book.check(node, checked)
            node.kill()
        if number % 20 == 19:
            assert doctor(folder) == []
    with running(folder) as node:
        book.check_all(node)
        assert node.stop().code == 0
    assert doctor(folder, "--full") == []
    print(f"{kills} kills, {killed} at a call; {book.answers} payments acknowledged")
    assert sum(killed.values()) >= kills // 2
    assert book.answers
