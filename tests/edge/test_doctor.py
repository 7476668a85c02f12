"""The doctor: a sound folder has nothing wrong, and each thing that goes wrong is named, with what to do about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from leither_lite.board import Board
from leither_lite.edge import doctor, keyfile, lmdb, machine
from leither_lite.edge.doctor import examine
from leither_lite.edge.findings import Finding
from leither_lite.edge.machine import Disk
from leither_lite.edge.service import lock_folder
from leither_lite.identity import Key
from leither_lite.store import keys
from tests.edge.folders import founded, lived_in, overwrite
from tests.stand_in import StandIn

PULSES: Final = 8
STRANGER: Final = Key.from_seed(bytes(32))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some pulses."""
    return lived_in(tmp_path_factory.mktemp("doctor") / "data", PULSES)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of it that says it is none, to be broken."""
    copy = tmp_path / "data"
    shutil.copytree(original, copy)
    overwrite(copy, (keys.PLACE, b"\0" + machine.place(copy / lmdb.FILE)))
    return copy


def wrong(folder: Path, full: bool = False) -> dict[str, Finding]:
    """What is not in order, by its code."""
    return {finding.code: finding for finding in findings(folder, full) if finding.level != "ok"}


def findings(folder: Path, full: bool = False, address: str | None = None) -> list[Finding]:
    """All that the doctor says."""
    return examine(folder, address, full, lambda _: None)


@pytest.mark.parametrize("full", [False, True])
def test_a_sound_folder(original: Path, full: bool) -> None:
    """Nothing is wrong, everything was looked at, and nothing in the folder has changed."""
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in original.iterdir()}
    said = findings(original, full)
    assert [finding for finding in said if finding.level != "ok"] == []
    assert {finding.code for finding in said} == {
        *["folder", "charter", "node.key", "organization.key", "api_token", "clock", "settings", "disk"],
        *["not_running", "store_file", "store"],
    }
    assert ("again (--full does)" in said[-1].message) is not full
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in original.iterdir()} == before


def test_no_folder(tmp_path: Path) -> None:
    """Nothing else can be said."""
    assert [finding.code for finding in findings(tmp_path / "none")] == ["no_folder"]


def remove(name: str) -> Callable[[Path], object]:
    """Takes a file away."""
    return lambda folder: (folder / name).unlink()


def expose(name: str, mode: int) -> Callable[[Path], object]:
    """Opens a file or folder to others."""
    return lambda folder: (folder / name).chmod(mode)


def put(name: str, content: bytes) -> Callable[[Path], object]:
    """Puts other content into a file, for its owner only."""

    def does(folder: Path) -> None:
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)

    return does


def truncate(folder: Path) -> None:
    """Cuts the store in half."""
    os.truncate(folder / lmdb.FILE, (folder / lmdb.FILE).stat().st_size // 2)


def flip(folder: Path) -> None:
    """Turns a bit of a sealed value, wherever the file has it: pages that are free keep what was in them."""
    path = folder / lmdb.FILE
    content = path.read_bytes()
    assert b"for the test" in content
    path.write_bytes(content.replace(b"for the test", b"gor the test"))


def scramble(folder: Path) -> None:
    """Fills all but the store's heads with nonsense: whoever follows its pages leaves the map."""
    path = folder / lmdb.FILE
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))


def kept(*writes: tuple[bytes, bytes | None]) -> Callable[[Path], object]:
    """Writes into the store past the node."""
    return lambda folder: overwrite(folder, *writes)


@pytest.mark.parametrize(
    ("breaks", "level", "code", "action"),
    [
        (expose(".", 0o755), "warning", "folder_open", "chmod 700"),
        (put(".node.key.new", b""), "warning", "unfinished_file", "delete"),
        (remove("charter.json"), "warning", "charter_file", "GET /v1/charter"),
        (put("charter.json", b"{"), "warning", "charter_file", "GET /v1/charter"),
        (remove("node.key"), "error", "key_missing", "key import"),
        (expose("node.key", 0o640), "error", "key_exposed", "chmod"),
        (put("organization.key", b"x"), "error", "key_damaged", "key import"),
        (put("organization.key", keyfile.encode_key(STRANGER)), "error", "other_key", "import"),
        (put("node.key", keyfile.encode_key(STRANGER)), "warning", "not_on_roster", "key"),
        (remove("api-token"), "error", "key_missing", "file back"),
        (put("settings.toml", b"map_bytes = 'much'"), "error", "bad_setting", "settings.toml"),
        (put("settings.toml", b"map_bytes = 1048576"), "warning", None, ""),
        (put("settings.toml", b"disk_reserve_bytes = 1099511627776"), "error", "disk_low", "make room"),
        (remove("ledger.mdb"), "error", "store_absent", "found"),
        (truncate, "error", "store_corrupt", "put back a copy"),
        (flip, "error", "store_corrupt", "put back a copy"),
        (scramble, "error", "store_corrupt", "put back a copy"),
        (kept((keys.SCHEMA, (99).to_bytes(4, "big"))), "error", "store_newer_schema", "newer leither-lite"),
        (kept((keys.SCHEMA, (1).to_bytes(4, "big"))), "error", "store_older_schema", "that founded it"),
        (kept((keys.SCHEMA, (0).to_bytes(4, "big"))), "error", "store_older_schema", "that founded it"),
        (kept((keys.PLACE, b"\0" + bytes(16))), "error", "store_restored", "run --restored"),
        (kept((keys.changes(3), None)), "error", "chain", "put back a copy"),
        (kept((keys.CHARTER, None)), "error", "charter", "put back a copy"),
    ],
)
def test_what_goes_wrong(
    folder: Path, breaks: Callable[[Path], object], level: str, code: str | None, action: str
) -> None:
    """One thing at a time: it is named, and so is what to do; the rest of the folder is in order."""
    breaks(folder)
    found = wrong(folder)
    if code is None:
        assert found == {}
        return
    assert found[code].level == level
    assert action in found[code].action
    assert found[code].message
    assert set(found) <= {code, "store_corrupt", "newest_state"}


def test_an_older_store_that_can_be_migrated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a way leads on from it, the node goes it when it starts; the doctor changes nothing."""
    monkeypatch.setattr(lmdb, "leads_on", lambda *_: True)
    overwrite(folder, (keys.SCHEMA, (lmdb.SCHEMA - 1).to_bytes(4, "big")))
    [found] = wrong(folder).values()
    assert (found.code, found.action) == ("store_older_schema", "start the node once: it migrates its store")
    assert "to migrate it" in found.message


def test_an_organizations_key_that_is_away_is_in_order(folder: Path) -> None:
    """It is meant to be taken away."""
    remove("organization.key")(folder)
    assert wrong(folder) == {}
    assert "organization_key_away" in [finding.code for finding in findings(folder)]


def test_a_copy_is_told_from_its_original(original: Path, tmp_path: Path) -> None:
    """By the file that the ledger lies in."""
    shutil.copytree(original, tmp_path / "copy")
    assert wrong(tmp_path / "copy")["store_restored"].level == "error"


def test_a_restored_node_that_waits_for_its_checkpoint(folder: Path) -> None:
    """Is a warning, and the walk is taken all the same."""
    overwrite(folder, (keys.PLACE, b"\1" + machine.place(folder / lmdb.FILE)))
    assert set(wrong(folder)) == {"awaiting_checkpoint"}
    assert findings(folder)[-1].code == "store"


def test_a_full_store_is_seen_coming(folder: Path) -> None:
    """Before a commit fails."""
    size = (folder / lmdb.FILE).stat().st_size
    board = Board(map_bytes=size + 4096)
    said = doctor._store(folder, board, False, lambda _: None)
    assert [finding.code for finding in said if finding.level == "warning"] == ["store_filling"]


def test_a_read_only_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the lock nor anything else can be written, and the store is read all the same."""
    monkeypatch.setattr(machine, "disk", lambda _: Disk(2**40, True))
    real_open = os.open

    def refuse(path: object, flags: int, *mode: int, **named: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR) and str(path).startswith(str(folder)):
            raise OSError(30, "Read-only file system")
        return real_open(path, flags, *mode, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    said = findings(folder)
    assert [finding.code for finding in said if finding.level == "error"] == ["disk_read_only", "folder_read_only"]
    assert said[-1].code == "store"


def test_a_clock_that_is_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never set, or set back behind the folder's own files."""
    for now_s in (0.0, doctor.CLOCK_S_MIN + 1.0):
        monkeypatch.setattr("time.time", lambda now_s=now_s: now_s)
        assert wrong(folder)["clock_behind"].level == "warning"


def test_a_running_node_is_asked(folder: Path) -> None:
    """And its store is left alone, even where it is damaged."""
    flip(folder)
    with StandIn() as node, lock_folder(folder):
        node.answers["/v1/status"] = 200, {"healthy": True, "reasons": [], "pulse": 7}
        said = findings(folder, address=node.address)
        assert [finding.level for finding in said if finding.level != "ok"] == []
        assert (said[-2].code, said[-1].code) == ("running", "healthy")
        reasons = [{"code": "disk_low", "message": "there is little room"}]
        node.answers["/v1/status"] = 200, {"healthy": False, "reasons": reasons, "pulse": 7}
        said = findings(folder, address=node.address)
    assert said[-1] == Finding("error", "disk_low", "there is little room", "make room on the disk")


def test_a_node_that_does_not_answer(folder: Path) -> None:
    """Its folder is in use, but its API is not there."""
    with lock_folder(folder):
        assert set(wrong(folder)) == {"node_silent"}


def test_a_fresh_folder(tmp_path: Path) -> None:
    """Nothing but the genesis, and no node has ever run on it."""
    assert wrong(founded(tmp_path / "data"), full=True) == {}
