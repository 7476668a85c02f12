"""A disk that turns read-only under a running node, breaks, or is mounted so: what the node says, and what it keeps."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from leither_lite.edge.lmdb import FILE
from tests.live.harness import PATIENCE_S, NodeProcess, balances, doctor, found, open_accounts, refused, running
from tests.live.test_store_trouble import AMOUNT, assert_kept, codes, give, given
from tests.system.mounts import read_only

PAGES: Final = "pwrite64,pwritev,writev"
WRITES_MAX: Final = 40
SETTLE_S: Final = 0.3


@contextmanager
def failing(node: NodeProcess, calls: str, error: str) -> Iterator[None]:
    """Have system calls on the store fail, as they do after the kernel's emergency remount, until the block ends."""
    log = node.folder.with_name("strace.log")
    only = ["-P", str(node.folder / FILE), "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}"]
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(node.process.pid), "-o", str(log), *only],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert tracer.stderr is not None
    try:
        assert "attached" in tracer.stderr.readline()
        yield
    finally:
        tracer.terminate()
        tracer.wait(PATIENCE_S)
        tracer.stderr.close()


@pytest.mark.parametrize(
    ("calls", "error", "code"),
    [
        (f"{PAGES},fdatasync", "EROFS", "disk_read_only"),
        ("fdatasync", "EROFS", "disk_read_only"),
        (f"{PAGES},fdatasync", "EIO", "disk_failing"),
        ("fdatasync", "EIO", "disk_failing"),
        (PAGES, "ENOSPC", "disk_full"),
        (PAGES, "EDQUOT", "disk_full"),
    ],
)
def test_while_running(tmp_path: Path, calls: str, error: str, code: str) -> None:
    """Refused with the reason, not healthy, still readable; nothing is lost, and it goes on when the disk does."""
    folder = found(tmp_path / "node")
    with running(folder) as node:
        (account,) = open_accounts(node, 1, AMOUNT)
        taken = [given(node, account)]
        node.transfer(taken[0])
        with failing(node, calls, error):
            answer = give(node, account)
            assert (answer.status, answer.code) == (503, code), answer
            assert codes(node.status()) == [code]
            node.ticks(5)
            assert codes(node.status()) == [code]
            assert give(node, account).code == code
            assert_kept(node, account, taken, 1)
        node.until(lambda status: status["healthy"], "healthy")
        taken.append(given(node, account))
        assert_kept(node, account, taken, 2)
        ended = node.stop()
        assert (ended.code, ended.stderr) == (0, "")
    assert doctor(folder, "--full") == []


def test_in_the_last_step_of_a_commit(tmp_path: Path) -> None:
    """Whether it happened, only a new start can tell: the node ends, and says so."""
    folder = found(tmp_path / "node")
    with running(folder) as node:
        (account,) = open_accounts(node, 1, AMOUNT)
        taken: list[str] = []
        asked = 0
        for number in range(1, WRITES_MAX):  # until it is the head that cannot be written, and not a page
            asked += 1
            with failing(node, "pwrite64", f"EIO:when={number}"):
                answer = give(node, account)
                if not node.lives_on(SETTLE_S):
                    break
            if answer.status == 202:
                taken.append(str(answer.value["id"]))
            node.until(lambda status: status["healthy"], "healthy")
        ended = node.ended()
        assert ended.code == 4, ended
        assert ended.stderr.startswith("leither-lite: store_lost: "), ended
        assert "started again" in ended.stderr
        print(f"write {number}: {len(taken)} of {asked} taken")
    with running(folder) as node:
        node.ticks(2)
        assert_kept(node, account, taken, balances(node)[account] - AMOUNT)
        assert len(taken) <= balances(node)[account] - AMOUNT <= len(taken) + 1
        assert node.stop().code == 0
    assert doctor(folder, "--full") == []


def test_start_on_a_read_only_disk(tmp_path: Path) -> None:
    """Does not start, says why, changes nothing."""
    folder = found(tmp_path / "node")
    with running(folder) as node:
        (account,) = open_accounts(node, 1, AMOUNT)
        taken = [given(node, account)]
        node.stop()
    before = (folder / FILE).read_bytes()
    with read_only(folder):
        ended = refused(folder)
        assert ended.code == 1
        assert ended.stderr.startswith("leither-lite: folder_read_only: "), ended
        assert "Read-only file system" in ended.stderr
        assert "disk_read_only" in [finding["code"] for finding in doctor(folder)]
    assert (folder / FILE).read_bytes() == before
    with running(folder) as node:
        assert_kept(node, account, taken, 1)
