"""What can go wrong with a node and its data folder, looked at one thing after another (docs/cli.md, `doctor`).

Decides what is worth a word and what is to be done about it. Repairs nothing and writes nothing but the folder's lock;
where the node is running, its store is left alone and the node itself is asked.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Final

from leither_lite.board import Board
from leither_lite.edge import keyfile, lmdb, machine
from leither_lite.edge.client import Client
from leither_lite.edge.findings import RESTORE, Finding
from leither_lite.edge.lmdb import Store
from leither_lite.edge.pages import check_file, check_pages
from leither_lite.edge.service import lock_folder, read_board
from leither_lite.edge.verifying import CHARTER_JSON, read_charter
from leither_lite.edge.walk import walk
from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.identity import Key
from leither_lite.organization import Charter, SignedCharter
from leither_lite.store import keys

CLOCK_S_MIN: Final = 1_704_067_200  # the start of 2024: no clock that was ever set is before it
CLOCK_BACK_S_MAX: Final = 300
MAP_USED_PERCENT_MAX: Final = 80

Progress = Callable[[str], None]

_ACTIONS: Final = {
    "key_exposed": "run the chmod named above; who could read the file may have the key",
    "key_missing": "put the file back from a copy, or leither-lite key import an export of it",
    "key_damaged": "put the file back from a copy, or leither-lite key import an export of it",
    "bad_setting": "correct settings.toml, or delete it: then the usual settings hold",
    "folder_read_only": "see the system's log, check the disk, mount it writable",
    "store_absent": "leither-lite found, or give the folder that holds ledger.mdb with --data",
    "store_newer_schema": "install the newer leither-lite",
    "store_older_schema": "use the leither-lite that founded it; with this one, found or join anew in another folder",
    "store_restored": "if the original is gone for good: leither-lite run --restored, then leither-lite checkpoint",
    "disk_low": "make room on the disk",
}


def examine(folder: Path, address: str | None, full: bool, progress: Progress) -> list[Finding]:
    """Everything, in the order in which one thing rests on another.

    `address` is where the API is if not where the folder says; with `full` retained bodies are executed again.
    """
    if not folder.is_dir():
        return [Finding("error", "no_folder", f"there is no folder {folder}", "name the right one with --data")]
    findings = [*_folder(folder), *_keys(folder), *_clock(folder)]
    board = Board()
    try:
        board = read_board(folder)
        findings.append(Finding("ok", "settings", "the settings are good"))
    except LocalError as error:
        findings.append(_error(error))
    findings += _disk(folder, board)
    with ExitStack() as held:
        try:
            held.enter_context(lock_folder(folder))
        except LocalError as error:
            if error.code == "folder_in_use":
                return [*findings, *_running(folder, address)]
            findings.append(_error(error))
        findings.append(Finding("ok", "not_running", f"no node is running on {folder}"))
        findings += _store(folder, board, full, progress)
    return findings


def _error(error: LocalError | Halt) -> Finding:
    action = RESTORE if error.code == "store_corrupt" else _ACTIONS.get(error.code, "")
    return Finding("error", error.code, error.message, action)


def _folder(folder: Path) -> Iterator[Finding]:
    status = folder.stat()
    mode = status.st_mode & 0o777
    if mode & 0o077:
        message = f"others can look into {folder} (mode {mode:03o}): the ledger names accounts and amounts"
        yield Finding("warning", "folder_open", message, f"chmod 700 {folder}")
    else:
        yield Finding("ok", "folder", f"{folder} is for its owner only")
    if status.st_uid != os.geteuid():
        message = f"{folder} belongs to user {status.st_uid}, this is user {os.geteuid()}"
        yield Finding("warning", "other_owner", message, "run as the user that the node runs as")
    for name in sorted(os.listdir(folder)):
        if name.startswith(".") and name.endswith(".new"):
            message = f"{name} is left of a start that was interrupted"
            yield Finding("warning", "unfinished_file", message, f"delete {folder / name} while no node is running")


def _keys(folder: Path) -> Iterator[Finding]:
    charter = None
    try:
        charter = read_charter(folder / CHARTER_JSON).charter
        yield Finding("ok", "charter", f"the charter is signed by organization {charter.network.hex()}")
    except (LocalError, RemoteError) as error:
        message = f"{folder / CHARTER_JSON} does not hold: {error}"
        yield Finding("warning", "charter_file", message, "ask the running node for it: GET /v1/charter")
    for name, is_needed in ((keyfile.NODE_KEY, True), (keyfile.ORGANIZATION_KEY, False)):
        try:
            key = keyfile.load_optional(folder / name)
        except LocalError as error:
            yield _error(error)
            continue
        if key is not None:
            yield _key(name, key, charter)
        elif is_needed:
            yield _error(LocalError("key_missing", f"there is no {folder / name}"))
        else:
            message = f"{name} is kept elsewhere: distributions and checkpoints need it"
            yield Finding("ok", "organization_key_away", message)
    try:
        keyfile.load_token(folder / keyfile.API_TOKEN)
        yield Finding("ok", "api_token", "the API's token can be read")
    except LocalError as error:
        yield _error(error)


def _key(name: str, key: Key, charter: Charter | None) -> Finding:
    if charter is not None and name == keyfile.ORGANIZATION_KEY and key.public != charter.organization_key:
        message = f"{name} is not the key that signed the charter"
        return Finding("error", "other_key", message, "leither-lite key import --organization the right one")
    return Finding("ok", name, f"{name} can be read, and by nobody else")


def _clock(folder: Path) -> Iterator[Finding]:
    now_s = int(time.time())
    newest_s = max((int(entry.stat().st_mtime) for entry in os.scandir(folder)), default=now_s)
    if now_s < CLOCK_S_MIN or now_s + CLOCK_BACK_S_MAX < newest_s:
        message = "the system's clock is behind: no rule of the ledger reads it, but logs and file dates are wrong"
        yield Finding("warning", "clock_behind", message, "set the clock, or let the system take it from the network")
    else:
        yield Finding("ok", "clock", "the system's clock is plausible")


def _disk(folder: Path, board: Board) -> Iterator[Finding]:
    disk = machine.disk(folder)
    if disk.read_only:
        message = f"{folder} lies on a disk that is mounted read-only"
        yield Finding("error", "disk_read_only", message, _ACTIONS["folder_read_only"])
    if disk.free_bytes < board.disk_reserve_bytes:
        message = f"{disk.free_bytes} bytes are free, the board keeps {board.disk_reserve_bytes} in reserve"
        yield Finding("error", "disk_low", message, _ACTIONS["disk_low"])
    if not disk.read_only and disk.free_bytes >= board.disk_reserve_bytes:
        yield Finding("ok", "disk", f"{disk.free_bytes >> 20} MiB are free")


def _running(folder: Path, address: str | None) -> Iterator[Finding]:
    yield Finding("ok", "running", f"a node is running on {folder}; its store is looked at only while it is stopped")
    try:
        status = Client.of(folder, address).get("/v1/status")
    except LocalError as error:
        message = f"the node does not answer: {error.message}"
        yield Finding("error", "node_silent", message, "see its log; stop and start it if it does not come back")
        return
    reasons = status.get("reasons")
    for reason in reasons if isinstance(reasons, list) else []:
        yield _error(LocalError(str(reason["code"]), str(reason["message"])))
    if status.get("healthy") is True:
        yield Finding("ok", "healthy", f"the node is healthy, at pulse {status.get('pulse')}")


def _store(folder: Path, board: Board, full: bool, progress: Progress) -> list[Finding]:
    path = folder / lmdb.FILE
    try:
        check_file(path)
        check_pages(path, progress)
    except Halt as halt:
        return [_error(halt)]
    size = path.stat().st_size
    findings = [Finding("ok", "store_file", f"{path} has {size} bytes, and all its pages")]
    if size * 100 > board.map_bytes * MAP_USED_PERCENT_MAX:
        message = f"{path} has {size} bytes of the board's map_bytes, which are {board.map_bytes}"
        findings.append(Finding("warning", "store_filling", message, "raise map_bytes in settings.toml"))
    walked = _walked(path, max(board.map_bytes, size), full, progress)
    if not any(finding.level == "error" for finding in walked):
        again = "bodies were executed again, as far back as the store knows what was under way then"
        depth = again if full else "bodies were not executed again (--full does)"
        walked.append(Finding("ok", "store", f"every value, header, seal and state follows from the last; {depth}"))
    return findings + walked


def _walked(path: Path, map_bytes: int, full: bool, progress: Progress) -> list[Finding]:
    """The findings of a walk in a child process: a damaged page may crash whoever reads it."""
    told = os.memfd_create("findings")
    try:

        def read(store: Store) -> None:
            findings = [*_place_and_schema(store, path), *_founder(store, path.parent)]
            if not any(finding.level == "error" for finding in findings):
                findings += walk(store, full, progress)
            os.write(told, json.dumps([asdict(finding) for finding in findings]).encode("ascii"))

        try:
            lmdb.probe(path, map_bytes, read)
        except Halt as halt:
            return [_error(halt)]
        content = os.pread(told, os.fstat(told).st_size, 0)
        return [Finding(**finding) for finding in json.loads(content)]
    finally:
        os.close(told)


def _founder(store: Store, folder: Path) -> Iterator[Finding]:
    """Whether a founder's folder has the founder's key; one that has joined has a store that knows whom to dial."""
    if store.get(keys.BOOTSTRAP) is not None:
        return
    try:
        key = keyfile.load_optional(folder / keyfile.NODE_KEY)
        charter = SignedCharter.decode(store.get(keys.CHARTER) or b"").charter
    except (LocalError, RemoteError):
        return  # that has been said, or the walk will say it
    if key is not None and key.public not in charter.roster:
        message = f"{keyfile.NODE_KEY} is not on the charter's roster: this node cannot seal by it"
        yield Finding("warning", "not_on_roster", message, "put the founder's own key back")


def _place_and_schema(store: Store, path: Path) -> list[Finding]:
    schema = int.from_bytes(store.get(keys.SCHEMA) or b"", "big")
    if schema > lmdb.SCHEMA:
        message = f"the store is of schema {schema}, this program's is {lmdb.SCHEMA}"
        return [_error(Halt("store_newer_schema", message))]
    if schema < lmdb.SCHEMA:
        told = lmdb.older(schema)
        if lmdb.leads_on(schema):
            return [Finding("error", told.code, told.message, "start the node once: it migrates its store")]
        return [_error(told)]
    place = store.get(keys.PLACE)
    if place is not None and place[1:] != machine.place(path):
        message = "the folder was copied or restored: the original may have signed what this copy does not know"
        return [_error(Halt("store_restored", message))]
    if place is not None and place[:1] == b"\1":
        message = "this restored node signs nothing before the next term"
        action = "while it runs: leither-lite checkpoint on a roster of one, else leither-lite roster by a supervisor"
        return [Finding("warning", "awaiting_checkpoint", message, action)]
    return []
