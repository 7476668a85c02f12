"""The store on disk: what it keeps, what it refuses, and that a write that fails has changed nothing."""

from __future__ import annotations

import errno
import os
import random
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import lmdb
import pytest

from leither_lite.edge.lmdb import FILE, MIGRATIONS, SCHEMA, Store, checksum, probe, schema_write
from leither_lite.effects import Write
from leither_lite.errors import Halt
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore

MAP_BYTES: Final = 16 * 1024 * 1024
SEED: Final = 6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store of the present schema lies, with nothing else in it."""
    found = tmp_path / FILE
    store = Store(found, MAP_BYTES, create=True)
    store.write([schema_write()])
    store.close()
    return found


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """That store, open."""
    opened = Store.open(path, MAP_BYTES)
    yield opened
    opened.close()


def content(store: Store) -> list[tuple[bytes, bytes]]:
    """Everything in a store."""
    store.renew()
    return list(store.scan(b"", b"\xff" * 64))


def raw(path: Path, key: bytes, value: bytes) -> None:
    """Write past the checksums."""
    with (
        lmdb.open(str(path), map_size=MAP_BYTES, subdir=False, lock=False) as env,
        env.begin(write=True) as transaction,
    ):
        transaction.put(key, value)


def test_like_a_store_in_memory() -> None:
    """Both have every method of a reader, so a node cannot tell them apart."""
    for name in ("get", "scan"):
        assert callable(getattr(Store, name))
        assert callable(getattr(MemoryStore, name))


def test_holds_what_a_dictionary_holds(store: Store) -> None:
    """Random writes and deletions, of small and large values: the same rows in any range, both ways."""
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    memory = MemoryStore()
    memory.write([schema_write()])
    names = [bytes([draw.choice(b"apqz")]) + draw.randbytes(draw.choice([1, 8, 40])) for _ in range(120)]
    for _ in range(40):
        writes: list[Write] = [
            (name, draw.choice([None, b"", draw.randbytes(20), draw.randbytes(3_000), draw.randbytes(16_384)]))
            for name in draw.sample(names, draw.randrange(1, 30))
        ]
        store.write(writes)
        memory.write(writes)
        store.renew()
        first, end = sorted(draw.choice([*names, b"", b"a", b"p", b"q", b"\xff"]) for _ in range(2))
        for reverse in (False, True):
            assert list(store.scan(first, end, reverse=reverse)) == list(memory.scan(first, end, reverse=reverse))
        name = draw.choice(names)
        assert store.get(name) == memory.get(name)
    assert dict(content(store)) == memory.content()


def test_a_snapshot_stays_whole_during_a_commit(store: Store) -> None:
    """What is read while the next transaction is written is what was there before it, each page of it."""
    draw = random.Random(SEED)
    for _ in range(30):
        before = content(store)
        store.write([(b"t%03d" % draw.randrange(200), draw.randbytes(500)) for _ in range(50)])
        assert list(store.scan(b"", b"\xff" * 64)) == before
    assert content(store) != before


def test_written_is_there_after_a_new_start(path: Path) -> None:
    """Durable when `write` returns, and one transaction."""
    store = Store.open(path, MAP_BYTES)
    number = store.transaction_id
    store.write([(b"a", b"1"), (b"b", b"2")])
    assert store.transaction_id == number + 1
    store.close()
    again = Store.open(path, MAP_BYTES)
    assert (again.get(b"a"), again.get(b"b"), again.get(b"c")) == (b"1", b"2", None)
    assert again.size_bytes == path.stat().st_size
    again.close()


def test_full_map_changes_nothing(tmp_path: Path) -> None:
    """The whole write is refused, also the part that would have had room; a smaller one still works."""
    path = tmp_path / FILE
    store = Store(path, 128 * 1024, create=True)
    store.write([schema_write(), (b"a", b"1")])
    before = content(store)
    with pytest.raises(Halt, match=str(path.parent / "settings.toml")) as caught:
        store.write([(b"b", b"2"), (b"c", bytes(256 * 1024))])
    assert caught.value.code == "store_full"
    assert content(store) == before
    store.write([(b"b", b"2")])
    store.renew()
    assert store.get(b"b") == b"2"
    store.close()


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (b"value" + checksum(b"key", b"valuf"), "is damaged"),
        (b"value" + checksum(b"kez", b"value"), "is damaged"),
        (b"val", "is damaged"),
        (b"", "is damaged"),
    ],
)
def test_damaged_values(path: Path, kept: bytes, message: str) -> None:
    """A value that was changed, belongs elsewhere or has lost its end: never handed out."""
    raw(path, b"key", kept)
    store = Store.open(path, MAP_BYTES)
    with pytest.raises(Halt, match=message) as caught:
        store.get(b"key")
    assert caught.value.code == "store_corrupt"
    for reverse in (False, True):
        with pytest.raises(Halt, match=b"key".hex()):
            list(store.scan(b"k", b"l", reverse=reverse))
    store.close()


def test_rows_out_of_order(path: Path) -> None:
    """Two rows of a page have changed places: told, where LMDB would take one of them for absent."""
    store = Store.open(path, MAP_BYTES)
    store.write([(b"t%d" % number, b"") for number in range(5)])
    newest = b"t4"
    store.close()
    pages = bytearray(path.read_bytes())
    start = next(
        at for at in range(2 * 4096, len(pages), 4096) if pages[at + 10] & 2 and newest in pages[at : at + 4096]
    )
    offsets = struct.unpack_from("@6H", pages, start + 16)
    struct.pack_into("@6H", pages, start + 16, *offsets[:2], offsets[3], offsets[2], *offsets[4:])
    path.write_bytes(pages)
    store = Store.open(path, MAP_BYTES)
    for reverse in (False, True):
        with pytest.raises(Halt, match="not in order") as caught:
            list(store.scan(b"t", b"u", reverse=reverse))
        assert caught.value.code == "store_corrupt"
    store.close()


class Failing:
    """An environment of LMDB that can do nothing."""

    def __init__(self, error: lmdb.Error) -> None:
        self._error = error

    def begin(self, **_: Any) -> NoReturn:
        """Raises the error."""
        raise self._error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (lmdb.MapFullError("mdb_put: MDB_MAP_FULL"), "store_full"),
        (lmdb.DiskError(f"mdb_txn_commit: {os.strerror(errno.ENOSPC)}"), "disk_full"),
        (lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.EDQUOT)}"), "disk_full"),
        (lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.EFBIG)}"), "disk_full"),
        (lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.EROFS)}"), "disk_read_only"),
        (lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.EIO)}"), "disk_failing"),
        (lmdb.ReadonlyError(f"mdb_txn_commit: {os.strerror(errno.EACCES)}"), "store_unreadable"),
        (lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.ENOMEM)}"), "store_failed"),
        (lmdb.PanicError("mdb_txn_begin: MDB_PANIC"), "store_lost"),
        (lmdb.CorruptedError("mdb_put: MDB_CORRUPTED"), "store_corrupt"),
        (lmdb.PageNotFoundError("mdb_put: MDB_PAGE_NOTFOUND"), "store_corrupt"),
        (lmdb.BadTxnError("mdb_put: MDB_BAD_TXN"), "store_corrupt"),
    ],
)
def test_what_an_error_means(store: Store, monkeypatch: pytest.MonkeyPatch, error: lmdb.Error, code: str) -> None:
    """Whatever LMDB raises has a code and a message that says what to do."""
    size = store.size_bytes
    with monkeypatch.context() as patched:
        patched.setattr(store, "_env", Failing(error))
        with pytest.raises(Halt) as caught:
            store.write([(b"a", b"1")])
    assert caught.value.code == code
    assert str(store.path.parent) in caught.value.message
    assert store.size_bytes == size


def test_lost_store_cannot_be_renewed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """After LMDB has given up, reading ends with a code too."""
    with monkeypatch.context() as patched:
        patched.setattr(store, "_env", Failing(lmdb.PanicError("mdb_txn_begin: MDB_PANIC")))
        with pytest.raises(Halt, match="started again") as caught:
            store.renew()
    assert caught.value.code == "store_lost"
    store.renew()


# -- schemas -----------------------------------------------------------------------------------------------------


def rename(old: bytes, new: bytes) -> Callable[[Store], list[Write]]:
    """A migration that moves one row."""

    def migrate(store: Store) -> list[Write]:
        return [(old, None), (new, store.get(old))]

    return migrate


def fails(_: Store) -> list[Write]:
    """A migration that cannot be done."""
    raise Halt("store_corrupt", "what it needs is not there")


def schema(path: Path) -> int:
    """What a store says of itself."""
    store = Store(path, MAP_BYTES)
    found = int.from_bytes(store.get(keys.SCHEMA) or b"", "big")
    store.close()
    return found


def test_migrations(path: Path) -> None:
    """From an older schema through each that follows, once; each reads what the one before it has written."""
    store = Store.open(path, MAP_BYTES)
    store.write([(b"old", b"value")])
    number = store.transaction_id
    store.close()
    steps = {SCHEMA: rename(b"old", b"newer"), SCHEMA + 1: rename(b"newer", b"newest")}
    store = Store.open(path, MAP_BYTES, migrations=steps, schema=SCHEMA + 2)
    assert (store.get(b"old"), store.get(b"newer"), store.get(b"newest")) == (None, None, b"value")
    assert store.transaction_id == number + 2
    store.close()
    assert schema(path) == SCHEMA + 2
    store = Store.open(path, MAP_BYTES, migrations={}, schema=SCHEMA + 2)
    assert store.transaction_id == number + 2
    store.close()


def test_a_migration_that_fails(path: Path) -> None:
    """What was reached before it stays, and the next start goes on from there."""
    store = Store.open(path, MAP_BYTES)
    store.write([(b"old", b"value")])
    store.close()
    with pytest.raises(Halt, match="not there"):
        Store.open(path, MAP_BYTES, migrations={SCHEMA: rename(b"old", b"new"), SCHEMA + 1: fails}, schema=SCHEMA + 2)
    assert schema(path) == SCHEMA + 1
    steps = {SCHEMA: fails, SCHEMA + 1: rename(b"new", b"newest")}
    store = Store.open(path, MAP_BYTES, migrations=steps, schema=SCHEMA + 2)
    assert store.get(b"newest") == b"value"
    store.close()


def test_schemas_that_are_refused(path: Path) -> None:
    """Newer than the program, older without a way, older and only to be read, or none: left as it is."""
    before = path.read_bytes()
    founded = "founded by an older leither-lite.*cannot read it"
    for arguments, code, message in (
        ({"schema": SCHEMA - 1}, "store_newer_schema", "install a newer leither-lite"),
        ({"schema": SCHEMA + 1, "migrations": {}}, "store_older_schema", founded),
        ({"schema": SCHEMA + 2, "migrations": {SCHEMA: fails}}, "store_older_schema", founded),
        ({"schema": SCHEMA + 2, "migrations": {SCHEMA + 1: fails}}, "store_older_schema", founded),
        (
            {"schema": SCHEMA + 1, "migrations": {SCHEMA: fails}, "read_only": True},
            "store_older_schema",
            "run the node",
        ),
    ):
        with pytest.raises(Halt, match=message) as caught:
            Store.open(path, MAP_BYTES, **arguments)
        assert caught.value.code == code
    assert path.read_bytes() == before
    raw(path, keys.SCHEMA, b"")
    with pytest.raises(Halt) as caught:
        Store.open(path, MAP_BYTES)
    assert caught.value.code == "store_corrupt"


FOUNDED_ANEW: Final = 2
"""From the schemas before it no way leads on: another state was sealed then."""


def test_own_migrations_lead_to_the_own_schema() -> None:
    """There is a step from each earlier schema since the ledger was founded anew, and none from before."""
    assert sorted(MIGRATIONS) == list(range(FOUNDED_ANEW, SCHEMA))


@pytest.mark.parametrize("version", range(1, FOUNDED_ANEW))
def test_a_store_of_before(path: Path, version: int) -> None:
    """It is said of it that this program cannot read it, and not that it could be migrated."""
    store = Store.open(path, MAP_BYTES)
    store.write([schema_write(version)])
    store.close()
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(Halt, match=f"schema {version}: it was founded by an older leither-lite") as caught:
            Store.open(path, MAP_BYTES, read_only=read_only)
        assert caught.value.code == "store_older_schema"
        assert "migrate" not in caught.value.message
    assert path.read_bytes() == before


def test_larger_than_the_map(path: Path) -> None:
    """Refused with both sizes, before LMDB would map more than the board allows."""
    with pytest.raises(Halt, match=f"{path.stat().st_size} bytes.*8192") as caught:
        Store.open(path, 8192)
    assert caught.value.code == "store_too_large"


def test_create_never_overwrites(path: Path) -> None:
    """A store that is there stays."""
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        Store(path, MAP_BYTES, create=True)
    assert path.read_bytes() == before


# -- probes ------------------------------------------------------------------------------------------------------


def crash(_: Store) -> None:
    """As a read of a damaged page may end."""
    os.kill(os.getpid(), signal.SIGKILL)


def stumble(_: Store) -> None:
    """As a mistake of ours may end."""
    raise IndexError("a mistake")


def refuse(_: Store) -> None:
    """As a read of damage should end."""
    raise Halt("store_newer_schema", "says why: ä")


def test_probe(path: Path) -> None:
    """What a child process meets becomes an error here; the parent lives on."""
    probe(path, MAP_BYTES, lambda store: None)
    with pytest.raises(Halt, match="says why: ä") as caught:
        probe(path, MAP_BYTES, refuse)
    assert caught.value.code == "store_newer_schema"
    for read, code, message in ((crash, "store_corrupt", "crashed"), (stumble, "store_failed", "a mistake")):
        with pytest.raises(Halt, match=message) as caught:
            probe(path, MAP_BYTES, read)
        assert caught.value.code == code
