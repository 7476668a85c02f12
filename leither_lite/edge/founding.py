"""Founding an organization in an empty folder: keys, token, charter, and the ledger's genesis (docs/cli.md, `found`).

Decides the order in which the files appear. The ledger comes last and whole: where it is, the folder is founded, and
is left alone for ever; where it is not, founding begins again with the keys that are there, and nothing is lost.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from leither_lite.board import Board
from leither_lite.edge import keyfile, lmdb
from leither_lite.edge.files import API_ADDRESS, LOCK, PUBLIC_MODE, replace, sync_folder, unfinished
from leither_lite.edge.lmdb import Store, schema_write
from leither_lite.edge.service import SETTINGS, lock_folder, read_board
from leither_lite.edge.verifying import CHARTER_JSON
from leither_lite.effects import Write
from leither_lite.errors import LocalError
from leither_lite.identity import Key
from leither_lite.limits import NAME_BYTES_MAX, SUPPLY_MAX
from leither_lite.organization import (
    PARAMETERS,
    PULSE_MS_MAX,
    PULSE_MS_MIN,
    Charter,
    SignedCharter,
    first_writes,
    usual_parameters,
)

_OURS: Final = (
    keyfile.NODE_KEY,
    keyfile.ORGANIZATION_KEY,
    keyfile.API_TOKEN,
    API_ADDRESS,
    CHARTER_JSON,
    LOCK,
    SETTINGS,
    lmdb.FILE,
)
_MAY_BE_THERE: Final = frozenset([*_OURS, *(unfinished(Path(name)).name for name in _OURS), "lost+found"])


def found(folder: Path, name: str, supply: int, pulse_ms: int, **parameters: int) -> SignedCharter:
    """Found an organization in `folder`, which is made if it is not there; its founder is this node.

    `supply` in the token's smallest unit; `parameters` of the charter by their names (`organization.PARAMETERS`), where
    they are not the usual: such as `roster_max`, how many may ever seal.

    Raises LocalError: bad_name, bad_supply, bad_pulse_ms, bad_parameter, not_a_folder, folder_not_empty,
    already_founded, folder_in_use, folder_unwritable, bad_setting, or as `keyfile.load`; or Halt.
    """
    all_parameters = usual_parameters(**parameters)
    _check(name, supply, pulse_ms, all_parameters)
    with new_folder(folder):
        return _found(folder, read_board(folder), name, supply, pulse_ms, all_parameters)


@contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """Hold a folder that has no ledger yet; it is made if it is not there.

    Raises LocalError: not_a_folder, folder_not_empty, already_founded, folder_in_use, folder_unwritable.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_foreign(folder)
        with lock_folder(folder):
            if (folder / lmdb.FILE).exists():
                raise LocalError("already_founded", f"{folder} holds a ledger already: it is left as it is")
            yield
    except FileExistsError:
        raise LocalError("not_a_folder", f"{folder} is not a folder") from None
    except OSError as error:
        raise LocalError("folder_unwritable", f"{folder} cannot be written: {error.strerror}") from error


def _check(name: str, supply: int, pulse_ms: int, parameters: tuple[int, ...]) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    if not 0 < size <= NAME_BYTES_MAX or not name.isprintable():
        raise LocalError("bad_name", f"a name is printable text of 1 to {NAME_BYTES_MAX} bytes")
    if not 0 < supply <= SUPPLY_MAX:
        raise LocalError("bad_supply", f"a supply is a whole number from 1 to {SUPPLY_MAX}")
    if not PULSE_MS_MIN <= pulse_ms <= PULSE_MS_MAX:
        raise LocalError("bad_pulse_ms", f"a pulse takes from {PULSE_MS_MIN} to {PULSE_MS_MAX} milliseconds")
    for (parameter, least, most, _), value in zip(PARAMETERS, parameters, strict=True):
        if not least <= value <= most:
            raise LocalError("bad_parameter", f"{parameter.replace('_', ' ')} is a whole number from {least} to {most}")


def _refuse_foreign(folder: Path) -> None:
    for name in sorted(os.listdir(folder)):
        if name not in _MAY_BE_THERE:
            raise LocalError(
                "folder_not_empty", f"{folder} holds {name!r}, which is no part of a node: give an empty folder"
            )


def _found(
    folder: Path, board: Board, name: str, supply: int, pulse_ms: int, parameters: tuple[int, ...]
) -> SignedCharter:
    organization = key_of(folder / keyfile.ORGANIZATION_KEY)
    founder = key_of(folder / keyfile.NODE_KEY)
    if organization == founder:
        raise LocalError("same_key", f"{keyfile.NODE_KEY} and {keyfile.ORGANIZATION_KEY} hold the same key: keep one")
    token_of(folder)
    charter = Charter(
        organization.public,
        name,
        supply,
        pulse_ms,
        (founder.public,),
        founder.public,
        parameters,
    )
    signed = SignedCharter.sign(organization, charter)
    content = json.dumps(signed.to_json(), indent=2).encode("ascii") + b"\n"
    replace(folder / CHARTER_JSON, content, PUBLIC_MODE)
    write_ledger(folder / lmdb.FILE, board.map_bytes, [schema_write(), *first_writes(signed, [founder])])
    return signed


def token_of(folder: Path) -> None:
    """Make the API's token, if there is none. Raises LocalError as `keyfile.load_token`."""
    token = folder / keyfile.API_TOKEN
    if token.exists():
        keyfile.load_token(token)
    else:
        keyfile.create_token(token)


def key_of(path: Path) -> Key:
    """The key in a file, which is made if it is not there. Raises LocalError as `keyfile.load`."""
    return keyfile.load_optional(path) or keyfile.create(path)


def write_ledger(path: Path, map_bytes: int, writes: list[Write]) -> None:
    """Make the ledger aside, and give it its name once the genesis is on the disk."""
    aside = unfinished(path)
    with suppress(FileNotFoundError):
        aside.unlink()  # of a founding that was interrupted: it has no genesis, or nobody has seen it
    store = Store(aside, map_bytes, create=True)
    try:
        store.write(writes)
    finally:
        store.close()
    aside.rename(path)  # in place of nothing: the folder is locked, and there was no ledger
    sync_folder(path.parent)
