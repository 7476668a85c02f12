"""A disk or a map that takes no more, and folders that are not what they were: what a user sees, and how it ends.

Nothing that was sealed or acknowledged is lost, and where the trouble passes, the node goes on by itself.
"""

from __future__ import annotations

import resource
import shutil
from pathlib import Path
from typing import Any, Final

from leither_lite.board import Board
from leither_lite.edge.lmdb import FILE, SCHEMA, Store, schema_write
from tests.live.harness import (
    SUPPLY,
    Answer,
    NodeProcess,
    balances,
    command,
    doctor,
    found,
    open_accounts,
    refused,
    running,
)

AMOUNT: Final = 1_000_000
ROOM_BYTES: Final = 96 * 1024
GIVEN_MAX: Final = 5_000
MAP_BYTES: Final = 1024 * 1024
# A small board: no reserve, so that the disk itself says no.
NO_RESERVE: Final = "disk_reserve_bytes = 0\n"


def codes(status: dict[str, Any]) -> list[str]:
    """Why a node is not healthy."""
    assert status["healthy"] == (not status["reasons"])
    return [reason["code"] for reason in status["reasons"]]


def give(node: NodeProcess, account: str) -> Answer:
    """Ask for a distribution of 1, with as long a reason as there may be."""
    return node.client.ask("POST", "/v1/distributions", {"account": account, "amount": 1, "reason": "r" * 256})


def given(node: NodeProcess, account: str) -> str:
    """The id of a distribution of 1 that was taken."""
    answer = give(node, account)
    assert answer.status == 202, answer
    return str(answer.value["id"])


def give_until_refused(node: NodeProcess, account: str) -> tuple[list[str], Answer]:
    """Distribute until the node cannot take it; the ids of what it took, and its answer to what it did not."""
    taken: list[str] = []
    for _ in range(GIVEN_MAX):
        answer = give(node, account)
        if answer.status != 202:
            return taken, answer
        taken.append(str(answer.value["id"]))
    raise AssertionError(f"{GIVEN_MAX} distributions found room")


def assert_kept(node: NodeProcess, account: str, names: list[str], count: int) -> None:
    """All these distributions are final, and `count` is the number of all that were ever made."""
    for name in names:
        assert node.transfer(name)["state"] == "credited"
    held = balances(node)
    assert held[account] == AMOUNT + count
    assert sum(held.values()) == SUPPLY


def test_disk_takes_no_more(tmp_path: Path) -> None:
    """Refused with the reason, not healthy, still readable; when there is room, the node goes on by itself."""
    folder = found(tmp_path / "node", settings=NO_RESERVE)
    with running(folder) as node:
        (account,) = open_accounts(node, 1, AMOUNT)
        pid = node.process.pid
        limit = (folder / FILE).stat().st_size + ROOM_BYTES
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        taken, answer = give_until_refused(node, account)
        assert (answer.status, answer.code) == (503, "disk_full"), answer
        assert "make room" in answer.value["error"]["message"]
        status = node.until(lambda status: not status["healthy"], "unhealthy")
        assert codes(status) == ["disk_full"]
        shown = node.client.get(f"/v1/transfers/{taken[0]}")
        assert shown["state"] in ("pending", "credited"), (
            "its seal may be what found no room; it can be read all the same"
        )
        node.ticks(3)
        assert codes(node.status()) == ["disk_full"]

        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        node.until(lambda status: status["healthy"], "healthy")
        assert_kept(node, account, taken, len(taken))
        given(node, account)
        ended = node.stop()
        assert (ended.code, ended.stderr) == (0, "")
    assert doctor(folder, "--full") == []


def test_killed_while_the_disk_takes_no_more(tmp_path: Path) -> None:
    """What was acknowledged before is there after."""
    folder = found(tmp_path / "node", settings=NO_RESERVE)
    with running(folder) as node:
        (account,) = open_accounts(node, 1, AMOUNT)
        limit = (folder / FILE).stat().st_size + ROOM_BYTES
        resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        taken, answer = give_until_refused(node, account)
        assert answer.code == "disk_full"
        node.kill()
    with running(folder) as node:
        assert_kept(node, account, taken, len(taken))
    assert doctor(folder, "--full") == []


def test_less_room_than_the_reserve(tmp_path: Path) -> None:
    """Nothing new is accepted while what is there can still be sealed."""
    folder = found(tmp_path / "node")
    with running(folder) as node:
        (account,) = open_accounts(node, 1, AMOUNT)
        name = given(node, account)
        node.stop()
    (folder / "settings.toml").write_text(f"disk_reserve_bytes = {2**40}\n")
    with running(folder) as node:
        assert_kept(node, account, [name], 1)
        assert codes(node.status()) == ["disk_low"]
        taken, answer = give_until_refused(node, account)
        assert (taken, answer.status, answer.code) == ([], 503, "disk_low")
        assert node.stop().code == 0
    assert [finding["code"] for finding in doctor(folder)] == ["disk_low"]


def test_map_full(tmp_path: Path) -> None:
    """Refused with the reason, a clean stop, and all that was taken is sealed once the setting is raised."""
    folder = found(tmp_path / "node", settings=f"{NO_RESERVE}map_bytes = {MAP_BYTES}\n")
    with running(folder) as node:
        (account,) = open_accounts(node, 1, AMOUNT)
        taken, answer = give_until_refused(node, account)
        assert (answer.status, answer.code) == (503, "store_full"), answer
        assert f"{folder}/settings.toml" in answer.value["error"]["message"]
        status = node.until(lambda status: not status["healthy"], "unhealthy")
        assert codes(status) == ["store_full"]
        assert node.client.get(f"/v1/transfers/{taken[0]}")["state"] in ("pending", "credited")
        ended = node.stop()
        assert (ended.code, ended.stderr) == (0, "")
    assert (folder / FILE).stat().st_size <= MAP_BYTES
    assert "store_filling" in [finding["code"] for finding in doctor(folder)]

    (folder / "settings.toml").write_text(f"map_bytes = {2 * MAP_BYTES}\n")
    with running(folder) as node:
        assert_kept(node, account, taken, len(taken))
        assert node.status()["healthy"]
        for _ in range(GIVEN_MAX):  # how much room a seal takes hangs on what the one before it has left
            if (folder / FILE).stat().st_size > MAP_BYTES:
                break
            assert node.transfer(str(give(node, account).value["id"]))["state"] == "credited"
        node.stop()
    assert doctor(folder, "--full") == []

    size = (folder / FILE).stat().st_size
    assert size > MAP_BYTES
    (folder / "settings.toml").write_text(f"map_bytes = {MAP_BYTES}\n")
    ended = refused(folder)
    assert ended.code == 4
    assert ended.stderr.startswith("leither-lite: store_too_large: "), ended
    assert str(size) in ended.stderr


def test_newer_schema(tmp_path: Path) -> None:
    """A store of a later program is left alone."""
    folder = found(tmp_path / "node")
    store = Store.open(folder / FILE, Board().map_bytes)
    store.write([schema_write(SCHEMA + 1)])
    store.close()
    before = (folder / FILE).read_bytes()
    ended = refused(folder)
    assert ended.code == 4
    assert ended.stderr.startswith("leither-lite: store_newer_schema: "), ended
    assert "install a newer leither-lite" in ended.stderr
    assert (folder / FILE).read_bytes() == before
    assert [finding["code"] for finding in doctor(folder)] == ["store_newer_schema"]


def test_second_process(tmp_path: Path) -> None:
    """The folder is the first one's, whatever the second wants of it, and the first goes on."""
    folder = found(tmp_path / "node")
    with running(folder) as node:
        address = (folder / "api-address").read_text()
        ended = refused(folder)
        assert ended.code == 1
        assert ended.stderr.startswith("leither-lite: folder_in_use: "), ended
        assert (folder / "api-address").read_text() == address
        assert doctor(folder) == []
        assert node.status()["healthy"]


def test_moved_folder(tmp_path: Path) -> None:
    """The same file under another name: nothing to be asked about."""
    folder = found(tmp_path / "node")
    with running(folder) as node:
        (account,) = open_accounts(node, 1, AMOUNT)
        waiting = given(node, account)
        node.stop()
    folder = folder.rename(tmp_path / "moved")
    with running(folder) as node:
        assert_kept(node, account, [waiting], 1)


def test_copied_folder(tmp_path: Path) -> None:
    """A copy does not run by itself; told so, it signs nothing before the organization's checkpoint, then goes on."""
    folder = found(tmp_path / "node")
    with running(folder) as node:
        (account,) = open_accounts(node, 1, AMOUNT)
        node.transfer(given(node, account))
        waiting = given(node, account)
        node.stop()
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    ended = refused(copy)
    assert ended.code == 4
    assert ended.stderr.startswith("leither-lite: store_restored: "), ended
    assert "--restored" in ended.stderr
    assert [finding["code"] for finding in doctor(copy)] == ["store_restored"]

    with running(copy, "--restored") as node:
        pulse = node.status()["pulse"]
        node.ticks(5)
        assert codes(node.status()) == ["awaiting_checkpoint"]
        _, answer = give_until_refused(node, account)
        assert (answer.status, answer.code) == (503, "awaiting_checkpoint"), answer
        assert node.client.get(f"/v1/transfers/{waiting}")["state"] == "pending"
        assert node.status()["pulse"] == pulse
        node.stop()
    with running(copy) as node:  # the word given once is enough to run, but not to sign
        node.ticks(2)
        assert (codes(node.status()), node.status()["pulse"]) == (["awaiting_checkpoint"], pulse)
        term = node.status()["term"]
        done = command("checkpoint", "--data", copy)
        assert done.returncode == 0, done
        node.until(lambda status: status["healthy"], "healthy")
        assert_kept(node, account, [waiting], 2)
        assert node.status()["term"] == term + 1
        node.stop()
    with running(copy) as node:
        assert codes(node.status()) == []
        node.transfer(given(node, account))
        assert_kept(node, account, [], 3)
        node.stop()
    assert doctor(copy, "--full") == []
