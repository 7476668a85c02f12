"""The archive of sub-databases on disk: one SQLite file, a row for each group (docs/store.md, The archive).

Decides when the archive changes: all groups of one pulse in one transaction, and only if they lead to the node that the
caller has from a seal. What the rows hold is `ledger.archive`'s. SQLite and not LMDB, since it spends a few hundredths
on a value of 9 KB where LMDB rounds up to whole pages, needs no address space for a map, and takes a transaction of any
size in bounded memory. Never asks the network for anything.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from leither_lite.edge.files import sync_folder
from leither_lite.edge.lmdb import checksum
from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.ledger.archive import (
    ACCOUNTS_LEVEL,
    REMOVE,
    SUB_DATABASE_LEVEL,
    TOP_LEVEL_MAX,
    Elsewhere,
    Found,
    GroupPage,
    PageView,
    Place,
    Row,
    corrupt,
    elsewhere_row,
    page_row,
    place_of,
    upper_row,
    upper_steps,
)
from leither_lite.ledger.records import Entry
from leither_lite.limits import GROUP_MEMBERS_MAX, ID_BYTES, NODE_BYTES
from leither_lite.tree.node import node_pulse
from leither_lite.tree.proof import GroupStep, Step, fold_path

FILE: Final = "archive.sqlite"
SCHEMA: Final = 1
_CHECKSUM_BYTES: Final = 4
_HEAD_BYTES: Final = 1 + NODE_BYTES + _CHECKSUM_BYTES

Change: TypeAlias = GroupPage | GroupStep | Elsewhere
"""A level-1 group; the opening of a group above it; a level-2 group that is not kept here."""

# `head` is bits[1] node[36] checksum[4], so that a group's children are listed without their values.
_TABLE: Final = """
CREATE TABLE kept (
    number INTEGER PRIMARY KEY, level INTEGER NOT NULL, prefix BLOB NOT NULL, head BLOB NOT NULL, value BLOB NOT NULL,
    UNIQUE (level, prefix)
)"""
_PUT: Final = """
INSERT INTO kept (level, prefix, head, value) VALUES (?, ?, ?, ?)
ON CONFLICT (level, prefix) DO UPDATE SET head = excluded.head, value = excluded.value"""


class Archive:
    """An open archive. What it holds is of one pulse: the newest that it was told of. For one thread."""

    def __init__(self, path: Path, sub_databases_max: int, cache_bytes: int) -> None:
        """Open the file at `path`, or create it. `cache_bytes`: what pages of it may take of the memory.

        Raises Halt: archive_corrupt, archive_in_use, archive_newer_schema, archive_unreadable, and as `replace`.
        """
        self._file = path
        self._sub_databases_max = sub_databases_max
        self._top: Row | None = None
        try:
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
                sync_folder(path.parent)
            # psow=0: a power cut may tear what lies beside a page that is written, as in sectors of 4,096 bytes.
            place = f"{path.absolute().as_uri()}?psow=0"
            self._connection = sqlite3.connect(place, timeout=0, isolation_level=None, uri=True)
        except (OSError, sqlite3.Error) as error:
            raise Halt("archive_unreadable", f"{path} cannot be opened: {error}") from error
        try:
            self._connection.text_factory = bytes
            self._open(cache_bytes)
        except BaseException:
            self._connection.close()
            raise

    def _open(self, cache_bytes: int) -> None:
        for setting in (
            "page_size = 1024",  # at most half of one is lost to a group
            "locking_mode = EXCLUSIVE",
            "journal_mode = TRUNCATE",
            "synchronous = FULL",
            "cell_size_check = ON",
            "secure_delete = OFF",
            f"cache_size = {-(cache_bytes // 1024)}",
        ):
            self._run(f"PRAGMA {setting}")
        self._run("BEGIN EXCLUSIVE")
        ((version,),) = self._run("PRAGMA user_version")
        if version > SCHEMA:
            raise Halt(
                "archive_newer_schema",
                f"the archive is of schema {version}, this program knows up to {SCHEMA}: install a newer leither-lite",
            )
        if version == 0:
            self._run(_TABLE)
            self._run(f"PRAGMA user_version = {SCHEMA}")
        self._run("COMMIT")
        self._top = self._read_top()

    @property
    def node(self) -> bytes | None:
        """The 36-byte node of the top group, under which all else is; None while the archive is empty."""
        return None if self._top is None else self._top.node

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        return self._file.stat().st_size

    def look_up(self, account: bytes) -> Entry | None:
        """The entry of an id of 20 bytes, or None if it has no account.

        Raises LocalError: archive_empty, archive_elsewhere (the id's sub-database is not kept here); Halt.
        """
        return self._view(account).look_up(account)

    def page(self, account: bytes) -> GroupPage:
        """The level-1 group that an id belongs to, with its page. Raises as `look_up`."""
        view = self._view(account)
        return GroupPage(view.group, view.content())

    def path(self, account: bytes) -> Found:
        """What there is of an id, with the path from its leaf, or from the one in its place, to the node of the top.

        The path has been folded, and leads there. Raises as `look_up`.
        """
        top, way = self._way(account)
        place, value = way.pop()
        view = PageView(place, value)
        try:
            found = view.find(account)
            steps: list[Step] = list(found.path)
            for upper, content in reversed(way):
                steps += upper_steps(upper, content, account)[1]
            is_true = fold_path(found.start(), account, steps) == top.node
        except RemoteError:
            is_true = False
        if not is_true:
            raise corrupt(place)
        return Found(account, found.entry, found.other, tuple(steps))

    def replace(self, changes: Iterable[Change], node: bytes) -> None:
        """Take all that changed up to one pulse: in one transaction, on disk when this returns; or nothing of it.

        `changes`: each group after those under it; of the groups above level 1 the opening of each that changed, the
        top group's last; the first time all. They are taken one by one, so they may come from a generator. Groups that
        new ones take the place of, by a split or a merge, go. `node`: the top group's, 36 bytes, of its seal.

        Raises RemoteError: archive_node (they lead to another node), archive_old (a pulse before the present one),
        archive_order, and as `page_row` and `upper_row`; LocalError("archive_full") for more sub-databases than it was
        opened for; Halt: archive_corrupt, disk_full, disk_read_only, disk_failing, archive_failed.
        """
        self._run("BEGIN IMMEDIATE")
        try:
            top = self._take(changes)
            if top.node != node:
                raise RemoteError("archive_node", "what has changed does not lead to the node that was sealed")
            if self._top is not None and node_pulse(node) < node_pulse(self._top.node):
                raise RemoteError("archive_old", f"of pulse {node_pulse(node)}")
            self._run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._run("ROLLBACK")
            raise
        self._top = top

    def close(self) -> None:
        """Close the file. Nothing is left to be written."""
        self._connection.close()

    def _take(self, changes: Iterable[Change]) -> Row:
        """Write changes, and the top group that they end with."""
        top: Row | None = None
        due: dict[int, tuple[int, int]] = {}  # of each level, the ids of groups whose parent is still to come
        for change in changes:
            top = self._row_of(change)
            place = top.place
            first, end = int.from_bytes(place.prefix, "big"), place.end
            below = due.pop(place.level - 1, (first, end))
            if below[0] < first or below[1] > end or any(level < place.level for level in due):
                raise RemoteError("archive_order", f"{place.prefix.hex()}, level {place.level}, is not over all before")
            beside = due.get(place.level, (first, end))
            due[place.level] = min(first, beside[0]), max(end, beside[1])
            self._put(top)
        if top is None or top.place.level == ACCOUNTS_LEVEL or not top.value:
            raise RemoteError("archive_order", "the top group is to come last")
        if due != {top.place.level: (int.from_bytes(top.place.prefix, "big"), top.place.end)}:
            raise RemoteError("archive_order", "the last group is not over all before")
        self._run("DELETE FROM kept WHERE level > ?", top.place.level)
        for level in range(ACCOUNTS_LEVEL, top.place.level + 1):
            self._run("DELETE FROM kept WHERE level = ? AND prefix < ?", level, top.place.prefix)
            self._run("DELETE FROM kept WHERE level = ? AND prefix > ?", level, _last(top.place))
        ((count,),) = self._run(
            "SELECT count(*) FROM kept WHERE level = ? AND length(value) > ?", SUB_DATABASE_LEVEL, _CHECKSUM_BYTES
        )
        if count > self._sub_databases_max:
            raise LocalError("archive_full", f"{count} sub-databases, and the board keeps {self._sub_databases_max}")
        return top

    def _row_of(self, change: Change) -> Row:
        if isinstance(change, GroupPage):
            return page_row(change)
        if isinstance(change, Elsewhere):
            return elsewhere_row(change)
        place = place_of(change)
        rows = self._run(
            "SELECT prefix, head FROM kept WHERE level = ? AND prefix BETWEEN ? AND ? ORDER BY prefix LIMIT ?",
            place.level - 1,
            place.prefix,
            _last(place),
            GROUP_MEMBERS_MAX + 1,
        )
        return upper_row(change, [self._checked_head(place.level - 1, *row) for row in rows])

    def _put(self, row: Row) -> None:
        """Write a row, in place of all that begin in it: what its parent has then is a partition, or refused."""
        level, bits, prefix = row.place
        last = _last(row.place)
        self._run("DELETE FROM kept WHERE level = ? AND prefix > ? AND prefix <= ?", level, prefix, last)
        if not row.value:
            self._run("DELETE FROM kept WHERE level = ? AND prefix BETWEEN ? AND ?", ACCOUNTS_LEVEL, prefix, last)
        key = _key(level, prefix)
        head = bytes([bits]) + row.node
        value = row.value + checksum(key + head, row.value)
        self._run(_PUT, level, prefix, head + checksum(key, head), value)

    def _view(self, account: bytes) -> PageView:
        """The page of the level-1 group that an id belongs to."""
        if len(account) != ID_BYTES:
            raise ValueError("an id has 20 bytes")
        for prefix, head, value in self._run(
            "SELECT prefix, head, value FROM kept WHERE level = ? AND prefix <= ? ORDER BY prefix DESC LIMIT 1",
            ACCOUNTS_LEVEL,
            account,
        ):
            place, _ = self._checked_head(ACCOUNTS_LEVEL, prefix, head)
            if place.holds(account):
                return PageView(place, self._checked_value(place, head, value))
        # It is not here, or the file does not show it: the way from the top tells which.
        _, way = self._way(account)
        raise corrupt(way[-1][0])

    def _way(self, account: bytes) -> tuple[Row, list[tuple[Place, bytes]]]:
        """The top group, and the groups over an id from there down to level 1, each with its value."""
        if len(account) != ID_BYTES:
            raise ValueError("an id has 20 bytes")
        top = self._top
        if top is None:
            raise LocalError("archive_empty", "the archive has not been filled yet")
        place = top.place
        if not place.holds(account):
            raise LocalError("archive_elsewhere", f"{account.hex()} is not under the archive's top group")
        way = [(place, top.value)]
        while place.level > ACCOUNTS_LEVEL:
            place, _ = upper_steps(place, way[-1][1], account)
            way.append((place, self._value(place)))
            if not way[-1][1]:
                raise LocalError("archive_elsewhere", f"the sub-database of {account.hex()} is not kept here")
        return top, way

    def _value(self, place: Place) -> bytes:
        """The value of a group that must be there."""
        for head, value in self._run(
            "SELECT head, value FROM kept WHERE level = ? AND prefix = ?", place.level, place.prefix
        ):
            if self._checked_head(place.level, place.prefix, head)[0] == place:
                return self._checked_value(place, head, value)
        raise corrupt(place)

    def _read_top(self) -> Row | None:
        for level, prefix, head in self._run("SELECT level, prefix, head FROM kept ORDER BY level DESC LIMIT 1"):
            if level not in range(SUB_DATABASE_LEVEL, TOP_LEVEL_MAX + 1):
                raise _damaged(self._file, f"level {level}")
            place, node = self._checked_head(level, prefix, head)
            return Row(place, node, self._value(place))
        return None

    def _checked_head(self, level: int, prefix: bytes, head: bytes) -> tuple[Place, bytes]:
        """Place and node of a row. Raises Halt("archive_corrupt")."""
        if type(prefix) is not bytes or type(head) is not bytes or (len(prefix), len(head)) != (ID_BYTES, _HEAD_BYTES):
            raise _damaged(self._file, "a row of another form")
        content = head[:-_CHECKSUM_BYTES]
        place = Place(level, content[0], prefix)
        if checksum(_key(level, prefix), content) != head[-_CHECKSUM_BYTES:]:
            raise corrupt(place)
        return place, content[1:]

    def _checked_value(self, place: Place, head: bytes, value: bytes) -> bytes:
        if type(value) is not bytes:
            raise corrupt(place)
        content = value[:-_CHECKSUM_BYTES]
        key = _key(place.level, place.prefix) + head[:-_CHECKSUM_BYTES]
        if checksum(key, content) != value[-_CHECKSUM_BYTES:]:
            raise corrupt(place)
        return content

    def _run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows that a statement gives. Raises Halt."""
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise _halt(error, self._file) from error
        except UnicodeDecodeError as error:  # SQLite tells of damage in the words that are damaged
            raise _damaged(self._file, "its schema") from error


def _key(level: int, prefix: bytes) -> bytes:
    return bytes([level]) + prefix


def _last(place: Place) -> bytes:
    """The last id of a group."""
    return (place.end - 1).to_bytes(ID_BYTES, "big")


# What SQLite says, by its primary codes, and what to do.
_CODES: Final = {
    sqlite3.SQLITE_FULL: ("disk_full", "the disk under {} takes no more: make room; nothing has been changed"),
    sqlite3.SQLITE_READONLY: ("disk_read_only", "{} cannot be written: see the system's log"),
    sqlite3.SQLITE_IOERR: ("disk_failing", "the disk under {} reports errors: see the system's log, replace it"),
    sqlite3.SQLITE_CANTOPEN: ("archive_unreadable", "{} or its journal cannot be opened"),
    sqlite3.SQLITE_BUSY: ("archive_in_use", "another process has {} open"),
}
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _halt(error: sqlite3.Error, path: Path) -> Halt:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _DAMAGE:
        return _damaged(path, str(error))
    name, text = _CODES.get(code, ("archive_failed", "{} cannot be used: " + str(error)))
    return Halt(name, text.format(path))


def _damaged(path: Path, text: str) -> Halt:
    return Halt("archive_corrupt", f"{path} is damaged ({text}). {REMOVE}")
