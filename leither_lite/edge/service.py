"""Starting and stopping a node: lock, settings, keys, store, loop, API, signals (docs/cli.md, `run`).

Decides in which order things come up, and with which exit code the process ends. Says on the first lines where the
API and its token are.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from leither_lite.board import Board
from leither_lite.edge import keyfile, lean, lmdb, machine
from leither_lite.edge.client import format_address, parse_address
from leither_lite.edge.files import API_ADDRESS, LOCK, PUBLIC_MODE, replace
from leither_lite.edge.lmdb import Store
from leither_lite.edge.loop import Service
from leither_lite.edge.pages import check_file, check_pages
from leither_lite.errors import LocalError
from leither_lite.node.turn import read_start
from leither_lite.node.wallet import Keyring

SETTINGS: Final = "settings.toml"
SETTINGS_BYTES_MAX: Final = 64 * 1024
ANY_HOST: Final = frozenset({"0.0.0.0", "::"})


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a data folder for this process alone. Raises LocalError: folder_in_use, folder_read_only, no_folder."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        raise LocalError("no_folder", f"there is no folder {folder}") from None
    except OSError as error:
        raise LocalError("folder_read_only", f"{folder} cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise LocalError("folder_in_use", f"another process uses {folder}: stop it first") from None
        yield
    finally:
        os.close(descriptor)


def read_board(folder: Path, profile: Path | None = None) -> Board:
    """The board's settings: those of a profile, if one is given, and over them those of the folder's settings.toml.

    Raises LocalError("bad_setting").
    """
    settings = {} if profile is None else _settings(profile, required=True)
    return Board.from_settings({**settings, **_settings(folder / SETTINGS, required=False)})


def _settings(path: Path, *, required: bool) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(SETTINGS_BYTES_MAX + 1)
        if len(content) > SETTINGS_BYTES_MAX:
            raise LocalError("bad_setting", f"{path} is too large")
        return tomllib.loads(content.decode())
    except FileNotFoundError:
        if required:
            raise LocalError("bad_setting", f"there is no file {path}") from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise LocalError("bad_setting", f"{path}: {error}") from error


def open_store(folder: Path, board: Board) -> Store:
    """The folder's store, after a child process has read its newest state without harm. Raises Halt.

    Where the last run did not take its address away, it was killed, lost its power, or died of a damaged page: then
    the pages are looked through first.
    """
    path = folder / lmdb.FILE
    if (folder / API_ADDRESS).exists():
        check_pages(path, _say)
    check_file(path)
    lmdb.probe(path, board.map_bytes, _read_start)
    return Store.open(path, board.map_bytes)


def _read_start(store: Store) -> None:
    """What a store of another schema holds is not looked at: to this program it would seem damaged."""
    store.version()
    read_start(store)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a node is reached: `listen` by other nodes (None: it only dials out), under the address `announce` where
    that is another; `api` by programs on this machine."""

    listen: tuple[str, int] | None
    announce: str | None
    api: tuple[str, int]


def run(folder: Path, places: Places, restored: bool, profile: Path | None) -> int:
    """Run the node in a data folder until SIGTERM or SIGINT. Returns the exit code.

    `profile`: a board's settings, under those of the folder. Raises LocalError or Halt for what is wrong before the
    node is up.
    """
    with lock_folder(folder):
        board = read_board(folder, profile)
        keyring = Keyring(
            keyfile.load(folder / keyfile.NODE_KEY), keyfile.load_optional(folder / keyfile.ORGANIZATION_KEY)
        )
        token = keyfile.load_token(folder / keyfile.API_TOKEN)
        store = open_store(folder, board)
        try:
            place = machine.place(store.path)
            import uvloop

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_serve(folder, store, keyring, board, token, restored, place, places))
        finally:
            store.close()


async def _serve(
    folder: Path,
    store: Store,
    keyring: Keyring,
    board: Board,
    token: str,
    restored: bool,
    place: bytes,
    places: Places,
) -> int:
    lean.import_server()
    from leither_lite.edge.api import serve

    service = Service(folder, store, keyring, board, token, restored, place)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, service.stop)
    listening = await _reach_out(service, places)
    running = loop.create_task(service.run())
    api = places.api
    try:
        site = await serve(service, *api)
    except OSError as error:
        service.stop()
        await running
        raise LocalError("api_address", f"the API cannot listen on {api[0]}:{api[1]}: {error.strerror}") from error
    address = format_address(api[0], site.port)
    try:
        _tell_address(folder, address)
        status = service.status()
        _say(f"organization {status['organization']} ({status['name']}), pulse {status['pulse']}")
        _say(f"account      {status['account']} ({status['role']})")
        if listening is not None:
            _say(f"peers        {listening}")
            reached = service.node.addresses.own or f"THIS-MACHINE:{parse_address(listening)[1]}"
            _say(f"join with    leither:{status['organization']}@{reached}")
        _say(f"API          http://{address}/v1/status")
        _say(f"token        {(folder / keyfile.API_TOKEN).resolve()}")
        await running
    finally:
        with suppress(OSError):
            (folder / API_ADDRESS).unlink()
        await site.close()
    if service.fatal is not None:
        raise service.fatal
    _say("stopped")
    return 0


async def _reach_out(service: Service, places: Places) -> str | None:
    """Be on the network, where there is one: the address that is listened on. Raises LocalError("listen_address")."""
    if places.listen is None:
        if service.node.addresses.has_others:
            service.dial_out()
        return None
    host, port = places.listen
    try:
        own = places.announce
        if own is None and host in ANY_HOST:
            own = ""  # nobody can dial that; who is to be dialled says under what address
        listening = format_address(*await service.listen(host, port, own))
        if own == "" and (outward := machine.outward_host(host)) is not None:
            port = parse_address(listening)[1]
            service.announce(format_address(outward, port))
    except OSError as error:
        raise LocalError(
            "listen_address", f"peers cannot be listened for on {host}:{port}: {error.strerror}"
        ) from error
    return listening


def _tell_address(folder: Path, address: str) -> None:
    """Write where the API is. On a full disk a node runs all the same: it can be read, and says what is wrong."""
    try:
        replace(folder / API_ADDRESS, f"{address}\n".encode(), PUBLIC_MODE)
    except OSError as error:
        _say(f"{folder / API_ADDRESS} cannot be written ({error.strerror}): commands need --api {address}")


def _say(line: str) -> None:
    with suppress(OSError):  # whoever reads stdout may have gone: a node runs on
        print(f"leither-lite: {line}", flush=True)
