"""An idle node writes nothing, however much it is read."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, NamedTuple

from leither_lite.edge.pages import PageFile
from tests.live.harness import NodeProcess, found, open_accounts, pay, running

IDLE_S: Final = 600
READ_PATHS: Final = (
    "/v1/account",
    "/v1/accounts",
    "/v1/charter",
    "/v1/summary",
    "/v1/transfers?limit=10",
    "/v1/applications",
    "/metrics",
)


class FileState(NamedTuple):
    """What a write to a file would change."""

    size: int
    digest: str
    mtime_ns: int
    ctime_ns: int


def folder_state(folder: Path) -> dict[str, FileState]:
    """Every file of a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[path.name] = FileState(status.st_size, digest, status.st_mtime_ns, status.st_ctime_ns)
    return found


def last_transaction(folder: Path) -> int:
    """The store's last transaction id, from its own pages."""
    with (folder / "ledger.mdb").open("rb", buffering=0) as file:
        return PageFile(file).newest.transaction_id


def read_all(node: NodeProcess, accounts: list[str], status: dict[str, Any]) -> int:
    """Every read there is; how many."""
    paths = [*READ_PATHS, f"/v1/accounts/{accounts[0]}/proof", f"/v1/accounts/{accounts[1]}/proof?pulse=1"]
    for path in paths:
        answer = node.client.ask("GET", path)
        assert answer.status == 200, (path, answer, status)
    return len(paths)


def test_idle_writes_nothing(tmp_path: Path, full: bool) -> None:
    """For 10 minutes of 1-second pulses (20 pulses in the short form), with reads all the time."""
    pulse_ms, ticks = (1_000, IDLE_S) if full else (100, 20)
    folder = found(tmp_path / "node", pulse_ms)
    with running(folder) as node:
        accounts = open_accounts(node, 2, 1_000)
        assert node.transfer(pay(node, accounts[0], accounts[1], 1))["state"] == "credited"
        status = node.ticks(1)
        before, transaction, written = folder_state(folder), last_transaction(folder), status["written_bytes"]
        assert {"api-address", "ledger.mdb", "lock", "node.key"} <= before.keys()
        end, reads = status["tick"] + ticks, 0
        for status in node.polls(pulse_ms / 5_000):
            reads += read_all(node, accounts, status)
            assert status["healthy"], status
            if status["tick"] >= end:
                break
        print(f"{ticks} pulse cycles of {pulse_ms} ms, {reads} reads, transaction {transaction}")
        assert reads > ticks
        assert node.status()["written_bytes"] == written
        assert last_transaction(folder) == transaction
        assert folder_state(folder) == before

        # Both measures can move at all:
        assert node.transfer(pay(node, accounts[0], accounts[1], 1))["state"] == "credited"
        assert last_transaction(folder) > transaction
        assert folder_state(folder)["ledger.mdb"] != before["ledger.mdb"]
