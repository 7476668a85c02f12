"""The store on disk: one LMDB file, one transaction a turn, every value with a checksum of its own (docs/store.md).

Decides what becomes of a store that cannot be opened, read or written: a `Halt` that says what to do, and nothing that
was sealed is touched. LMDB's own lock file is not used (reading would write to it): the folder's lock keeps a second
process out, all reads happen on one thread, and a read transaction is renewed before the commit after next begins.
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import lmdb

from leither_lite.edge.pages import RESTORE, check_file
from leither_lite.effects import Write
from leither_lite.errors import Halt
from leither_lite.store import keys

SCHEMA: Final = 2
FILE: Final = "ledger.mdb"

Migration = Callable[["Store"], list[Write]]
"""The writes that lead from one schema to the next, given the store as it is."""

MIGRATIONS: Final[Mapping[int, Migration]] = {}
"""From schema n to n + 1. All that a store needs run in one transaction each, oldest first, when it is opened.

None leads on from schema 1: another state was sealed then."""

_CHECKSUM_BYTES: Final = 4


def leads_on(version: int, schema: int = SCHEMA, migrations: Mapping[int, Migration] = MIGRATIONS) -> bool:
    """True if there is a migration from each schema from `version` up to `schema`."""
    return all(step in migrations for step in range(version, schema))


def older(version: int, schema: int = SCHEMA, migrations: Mapping[int, Migration] = MIGRATIONS) -> Halt:
    """What there is to say of a store of an older schema."""
    if leads_on(version, schema, migrations):
        return Halt("store_older_schema", f"the store is of schema {version}: run the node once to migrate it")
    return Halt(
        "store_older_schema",
        f"the store is of schema {version}: it was founded by an older leither-lite, and this one, which reads schema "
        f"{schema}, cannot read it",
    )


def checksum(key: bytes, value: bytes) -> bytes:
    """CRC-32 over key and value: finds flipped bits and misplaced values."""
    return zlib.crc32(value, zlib.crc32(key)).to_bytes(_CHECKSUM_BYTES, "big")


class Store:
    """An open store. Writes are durable when `write` returns."""

    def __init__(self, path: Path, map_bytes: int, *, create: bool = False, read_only: bool = False) -> None:
        """Open, or create, the file at `path`. Raises Halt: store_corrupt, store_unreadable, store_failed, …"""
        self.path = path
        if create:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            os.close(descriptor)
        else:
            check_file(path)
        try:
            self._env = lmdb.open(
                str(path),
                map_size=map_bytes,
                subdir=False,
                readonly=read_only,
                lock=False,
                readahead=False,
                meminit=False,
                max_dbs=0,
            )
        except lmdb.Error as error:
            raise _halt(error, path) from error
        self._snapshot = self._env.begin()

    @classmethod
    def open(
        cls,
        path: Path,
        map_bytes: int,
        *,
        read_only: bool = False,
        migrations: Mapping[int, Migration] = MIGRATIONS,
        schema: int = SCHEMA,
    ) -> Store:
        """Open a store of this schema, or of an older one that `migrations` lead on from.

        Raises Halt: store_absent, store_corrupt, store_unreadable, store_newer_schema, store_older_schema,
        store_too_large (for the map), store_failed.
        """
        check_file(path)
        size = path.stat().st_size
        if size > map_bytes:
            raise Halt("store_too_large", f"the store has {size} bytes, the board's map_bytes is {map_bytes}: raise it")
        store = cls(path, map_bytes, read_only=read_only)
        try:
            store._reach(schema, migrations, read_only)
        except BaseException:
            store.close()
            raise
        return store

    def version(self, schema: int = SCHEMA, migrations: Mapping[int, Migration] = MIGRATIONS) -> int:
        """The schema that the store is of: `schema`, or an older one that `migrations` lead on from.

        Raises Halt: store_corrupt (it says of none), store_newer_schema, store_older_schema.
        """
        found = self.get(keys.SCHEMA)
        if found is None:
            raise Halt("store_corrupt", f"{self.path} does not say of which schema it is. {RESTORE}")
        version = int.from_bytes(found, "big")
        if version > schema:
            raise Halt(
                "store_newer_schema",
                f"the store is of schema {version}, this program knows up to {schema}: install a newer leither-lite",
            )
        if not leads_on(version, schema, migrations):
            raise older(version, schema, migrations)
        return version

    def _reach(self, schema: int, migrations: Mapping[int, Migration], read_only: bool) -> None:
        version = self.version(schema, migrations)
        while version < schema:
            if read_only:
                raise older(version, schema, migrations)
            migration = migrations[version]
            version += 1
            self.write([*migration(self), schema_write(version)])
            self.renew()

    def renew(self) -> None:
        """See what has been written since: after each `write`, on the thread that reads. Raises Halt("store_lost")."""
        self._snapshot.abort()
        try:
            self._snapshot = self._env.begin()
        except lmdb.Error as error:
            raise _halt(error, self.path) from error

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None. Raises Halt("store_corrupt")."""
        try:
            found = self._snapshot.get(key)
        except lmdb.Error as error:
            raise _halt(error, self.path) from error
        return None if found is None else self._checked(key, found)

    def scan(self, first: bytes, end: bytes, *, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with first <= key < end, in order or against it. Raises Halt("store_corrupt")."""
        before = None
        try:
            with self._snapshot.cursor() as cursor:
                if not reverse:
                    there, step = cursor.set_range(first), cursor.next
                else:
                    there, step = cursor.prev() if cursor.set_range(end) else cursor.last(), cursor.prev
                while there:
                    key = cursor.key()
                    if before is not None and not (key < before if reverse else key > before):
                        raise Halt("store_corrupt", f"the rows of {self.path} are not in order. {RESTORE}")
                    if not first <= key < end:
                        return
                    yield key, self._checked(key, cursor.value())
                    before, there = key, step()
        except lmdb.Error as error:
            raise _halt(error, self.path) from error

    def _checked(self, key: bytes, found: bytes) -> bytes:
        value = found[:-_CHECKSUM_BYTES]
        if checksum(key, value) != found[-_CHECKSUM_BYTES:]:
            raise Halt("store_corrupt", f"the value of {key.hex()} in {self.path} is damaged. {RESTORE}")
        return value

    def write(self, writes: Sequence[Write]) -> None:
        """Perform writes in one transaction; they are on disk when this returns. May run on another thread.

        Raises Halt: store_full, disk_full, disk_read_only, disk_failing, store_failed: then nothing has been written,
        unless `renew` raises too; store_lost, store_corrupt.
        """
        try:
            with self._env.begin(write=True) as transaction:
                for key, value in writes:
                    if value is None:
                        transaction.delete(key)
                    else:
                        transaction.put(key, value + checksum(key, value))
        except lmdb.Error as error:
            raise _halt(error, self.path) from error

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        return self.path.stat().st_size

    @property
    def transaction_id(self) -> int:
        """LMDB's last transaction id: it does not move while nothing is written."""
        number: int = self._env.info()["last_txnid"]
        return number

    def close(self) -> None:
        """Close the file. Nothing is left to be written."""
        self._snapshot.abort()
        self._env.close()


def schema_write(version: int = SCHEMA) -> Write:
    """What names the schema in a store."""
    return keys.SCHEMA, version.to_bytes(4, "big")


# What the system says of a disk, what that means, and what to do.
_DISK: Final = {
    getattr(errno, name): (code, text)
    for code, text, names in (
        ("disk_full", "takes no more: make room; nothing that was sealed is lost", "ENOSPC EDQUOT EFBIG"),
        ("disk_read_only", "is mounted read-only: see the system's log", "EROFS"),
        ("disk_failing", "reports errors: see the system's log, save the keys, replace it", "EIO"),
        ("store_unreadable", "does not let this user read and write that file", "EACCES EPERM"),
    )
    for name in names.split()
}
# LMDB's binding keeps the system's words only.
_NUMBER_OF: Final = {os.strerror(number): number for number in _DISK}
# Errors of LMDB that only a damaged page leads to, given that all our keys are short and never empty.
_DAMAGE: Final = (
    lmdb.BadTxnError,
    lmdb.CorruptedError,
    lmdb.CursorFullError,
    lmdb.InvalidError,
    lmdb.PageFullError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
)


def _halt(error: lmdb.Error, path: Path) -> Halt:
    text = str(error)
    if isinstance(error, lmdb.MapFullError):
        return Halt(
            "store_full", f"the store has reached the board's map_bytes: raise it in {path.parent}/settings.toml"
        )
    if isinstance(error, lmdb.PanicError):
        return Halt("store_lost", f"a commit of {path} failed in its last step: the node must be started again")
    if isinstance(error, _DAMAGE):
        return Halt("store_corrupt", f"{path} is damaged ({text}). {RESTORE}")
    number = _NUMBER_OF.get(text.rpartition(": ")[2])
    if number == errno.EIO:
        # LMDB says the same when the disk took a part of a write only: there is no room for the rest.
        number = _growth_error(path) or number
    if number is not None:
        code, meaning = _DISK[number]
        return Halt(code, f"the disk under {path} {meaning}")
    return Halt("store_failed", f"{path} cannot be used: {text}")


def _growth_error(path: Path) -> int | None:
    """Why a file cannot grow by a page, if the system says one of the things known here. It stays as long as it was."""
    missing = 4096
    try:
        with path.open("r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                while missing > 0:
                    missing -= file.write(bytes(missing))
            finally:
                file.truncate(size)
    except OSError as error:
        return error.errno if error.errno in _DISK else None
    return None


def probe(path: Path, map_bytes: int, read: Callable[[Store], None]) -> None:
    """Run `read` on the store in a child process first: a damaged page may crash whoever reads it.

    Raises Halt: what `read` raised in the child, or store_corrupt if the child died of it.
    """
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(source)
            store = Store(path, map_bytes, read_only=True)
            read(store)
            status = 0
        except Halt as halt:
            os.write(sink, f"{halt.code}\n{halt.message}".encode())
        except BaseException as error:  # not the store's fault: said as it is, and never passed on into a second parent
            os.write(sink, f"store_failed\nreading {path} failed: {error!r}".encode())
        finally:
            os._exit(status)
    os.close(sink)
    with os.fdopen(source, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    if told:
        code, _, message = told.decode().partition("\n")
        raise Halt(code, message)
    if status:
        raise Halt("store_corrupt", f"reading {path} crashed: the file is damaged. {RESTORE}")
