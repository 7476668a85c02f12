"""Passphrases of people: from a file, or from the terminal without an echo (docs/cli.md, `key`).

Decides only where a passphrase comes from and which bytes it is: UTF-8 in normal form C, so that two keyboards give the
same ones. Never keeps or prints it.
"""

from __future__ import annotations

import sys
import unicodedata
from getpass import getpass
from pathlib import Path

from leither_lite.edge.files import read_upto
from leither_lite.edge.keyfile import PASSPHRASE_BYTES_MAX
from leither_lite.errors import LocalError


def ask(file: Path | None) -> bytes:
    """The passphrase of something that is there. Raises LocalError: passphrase_missing, unreadable_file."""
    return _from_terminal("passphrase: ") if file is None else _from_file(file)


def choose(file: Path | None) -> bytes:
    """A passphrase for something new: the terminal asks twice. Raises as `ask`, or LocalError("passphrases_differ")."""
    if file is not None:
        return _from_file(file)
    chosen = _from_terminal("new passphrase: ")
    if _from_terminal("once more: ") != chosen:
        raise LocalError("passphrases_differ", "the two passphrases are not the same; nothing was written")
    return chosen


def _from_terminal(prompt: str) -> bytes:
    if not sys.stdin.isatty():
        raise LocalError("passphrase_missing", "there is no terminal to ask on: give --passphrase-file FILE")
    return _normal(getpass(f"leither-lite: {prompt}"))


def _from_file(file: Path) -> bytes:
    """Its first line, without the line's end."""
    try:
        content = read_upto(file, 4 * PASSPHRASE_BYTES_MAX)
    except OSError as error:
        raise LocalError("unreadable_file", f"{file} cannot be read: {error.strerror}") from None
    try:
        return _normal(content.split(b"\n", 1)[0].removesuffix(b"\r").decode())
    except UnicodeDecodeError:
        raise LocalError("bad_passphrase", f"{file} is not UTF-8") from None


def _normal(text: str) -> bytes:
    try:
        return unicodedata.normalize("NFC", text).encode()
    except UnicodeEncodeError:
        raise LocalError("bad_passphrase", "a passphrase is text in UTF-8") from None
