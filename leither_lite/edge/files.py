"""Files that appear whole or not at all: what a key, a token or a charter needs of a file system.

Decides only how bytes reach the disk. A file that is there is never replaced by `write_new`, and no reader ever sees
part of one. Never looks into what it writes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from leither_lite.errors import LocalError

LOCK: Final = "lock"
API_ADDRESS: Final = "api-address"
SECRET_MODE: Final = 0o600
PUBLIC_MODE: Final = 0o644


def unfinished(path: Path) -> Path:
    """Where the content of `path` lies until it is complete."""
    return path.with_name(f".{path.name}.new")


def write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that does not exist yet, with exactly `mode`, and have it on the disk, entry in its folder and all.

    Raises FileExistsError, leaving that file as it is, or another OSError.
    """
    _write(unfinished(path), content, mode)
    try:
        os.link(unfinished(path), path)  # unlike a rename, it never puts one file in place of another
    finally:
        unfinished(path).unlink()
    sync_folder(path.parent)


def replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file, in place of the one that is there if there is one. Raises OSError."""
    _write(unfinished(path), content, mode)
    unfinished(path).replace(path)
    sync_folder(path.parent)


def read_upto(path: Path, size: int) -> bytes:
    """The content of a file, at most `size` bytes of it and one more, which says that there are too many.

    Raises OSError.
    """
    with path.open("rb") as file:
        return file.read(size + 1)


def refuse_exposed(path: Path) -> None:
    """Raises LocalError("key_exposed") if others than the owner can read or write the file `path`; or OSError."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise LocalError(
            "key_exposed", f"{path} can be read or written by others (mode {mode:03o}): run chmod 600 {path}"
        )


def sync_folder(folder: Path) -> None:
    """Have the entries of a folder on the disk. Raises OSError."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _write(path: Path, content: bytes, mode: int) -> None:
    with suppress(FileNotFoundError):
        path.unlink()  # what an interrupted start has left was never in use
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with open(opened, "wb") as file:
            os.fchmod(opened, mode)  # whatever the umask
            file.write(content)
            file.flush()
            os.fsync(opened)
    except OSError:
        path.unlink()
        raise
