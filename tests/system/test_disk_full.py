"""A disk without room: what the node says, and that it goes on by itself when there is room again."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.live.harness import command, doctor, found, open_accounts, running
from tests.live.test_store_trouble import (
    AMOUNT,
    NO_RESERVE,
    assert_kept,
    codes,
    give_until_refused,
    given,
)
from tests.system.mounts import fill, small_disk

DISK_BYTES: Final = 2 * 1024 * 1024


@pytest.mark.parametrize("way", ["slowly", "at once"])
def test_disk_full(tmp_path: Path, way: str) -> None:
    """By the node itself, and by somebody else's file; nothing that was acknowledged is lost."""
    with small_disk(tmp_path / "disk", DISK_BYTES) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(DISK_BYTES * 3 // 4))
        folder = found(disk / "node", settings=NO_RESERVE)
        with running(folder) as node:
            (account,) = open_accounts(node, 1, AMOUNT)
            taken = [given(node, account)]
            if way == "at once":
                fill(disk / "more")
            more, answer = give_until_refused(node, account)
            taken += more
            assert (answer.status, answer.code) == (503, "disk_full"), answer
            assert "make room" in answer.value["error"]["message"]
            assert codes(node.until(lambda status: not status["healthy"], "unhealthy")) == ["disk_full"]
            node.ticks(3)
            assert codes(node.status()) == ["disk_full"]

            ballast.unlink()
            node.until(lambda status: status["healthy"], "healthy")
            taken.append(given(node, account))
            assert_kept(node, account, taken, len(taken))
            ended = node.stop()
            assert (ended.code, ended.stderr) == (0, "")
        assert doctor(folder, "--full") == []


def test_start_on_a_full_disk(tmp_path: Path) -> None:
    """It can be read, and takes up its work when there is room."""
    with small_disk(tmp_path / "disk", DISK_BYTES) as disk:
        folder = found(disk / "node", settings=NO_RESERVE)
        with running(folder) as node:
            (account,) = open_accounts(node, 1, AMOUNT)
            taken = [given(node, account)]
            node.kill()
        (folder / "api-address").unlink()
        fill(disk / "ballast")
        with running(folder) as node:
            assert not (folder / "api-address").exists()
            assert node.client.get(f"/v1/account?account={account}")["balance"] >= AMOUNT
            more, answer = give_until_refused(node, account)  # free pages of the store may take some
            taken += more
            assert answer.code == "disk_full"
            assert codes(node.status()) == ["disk_full"]
            (disk / "ballast").unlink()
            node.until(lambda status: status["healthy"], "healthy")
            taken.append(given(node, account))
            assert_kept(node, account, taken, len(taken))
            assert node.stop().code == 0
        assert doctor(folder, "--full") == []


def test_found_on_a_full_disk(tmp_path: Path) -> None:
    """Says so, and can be done again when there is room."""
    with small_disk(tmp_path / "disk", DISK_BYTES) as disk:
        fill(disk / "ballast")
        done = command("found", "--data", disk / "node")
        assert done.returncode != 0
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        (disk / "ballast").unlink()
        with running(found(disk / "node")) as node:
            assert codes(node.status()) == ["disk_low"]  # smaller than the usual reserve
