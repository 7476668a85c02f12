"""The look at LMDB's pages: every file that LMDB leaves is whole, however short; damage to its structure is told."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import lmdb
import pytest

from leither_lite.edge.pages import PageFile, check_file, check_pages
from leither_lite.errors import Halt

SEED: Final = 3
LIVED_SEED: Final = 12
PAGE: Final = 4096
MAP_BYTES: Final = 64 * 1024 * 1024
KIND_AT: Final = 10
KINDS: Final = 1 | 2 | 8  # branch, leaf, head


def quiet(_: str) -> None:
    """Nobody is told."""


def lives(path: Path, seed: int, commits: int) -> Iterator[lmdb.Environment]:
    """A store that grows and shrinks, after each of its commits."""
    draw = random.Random(seed)
    sizes = draw.choice([(10, 60, 300), (10, 300, 1_500, 9_000, 16_000)])
    live: list[bytes] = []
    with lmdb.open(str(path), map_size=MAP_BYTES, subdir=False, lock=False, sync=False) as env:
        for _ in range(commits):
            deleted = draw.choice([0.1, 0.5, 0.9])
            with env.begin(write=True) as transaction:
                for _ in range(draw.randrange(1, 60)):
                    if live and draw.random() < deleted:
                        transaction.delete(live.pop(draw.randrange(len(live))))
                    else:
                        live.append(draw.choice([b"q", b"t"]) + draw.randbytes(8))
                        transaction.put(live[-1], draw.randbytes(draw.choice(sizes)))
            yield env


def opened(path: Path) -> PageFile:
    """The pages of a file; what it has read stays good when the file is closed."""
    with path.open("rb", buffering=0) as file:
        return PageFile(file)


def look(path: Path) -> None:
    """The longer look."""
    check_pages(path, quiet)


def code(path: Path, check: Callable[[Path], None] = look) -> str:
    """What a look says, "" for nothing."""
    try:
        check(path)
    except Halt as halt:
        return halt.code
    return ""


def test_every_file_that_lmdb_leaves_is_whole(tmp_path: Path, full: bool) -> None:
    """Also where pages at the end were counted but never written, being free again: that is no damage."""
    print(f"seeds from {SEED}")
    short = 0
    for seed in range(SEED, SEED + (60 if full else 6)):
        path = tmp_path / f"{seed}.mdb"
        for env in lives(path, seed, 40):
            check_file(path)
            look(path)
            pages = opened(path)
            assert pages.newest.transaction_id == env.info()["last_txnid"]
            assert pages.newest.last_page == env.info()["last_pgno"]
            short += pages.pages_present < pages.pages_counted
    assert short


@pytest.fixture
def lived(tmp_path: Path) -> Path:
    """A file with branches, leaves, overflow pages and free pages, two of them at least."""
    path = tmp_path / "lived.mdb"
    for _ in lives(path, LIVED_SEED, 60):
        pass
    newest = opened(path).newest
    assert newest.main.depth > 1
    assert all(newest.main.pages)
    return path


def test_cut_anywhere(lived: Path) -> None:
    """Refused as soon as a page that is in use is missing, by the short look as well."""
    content = lived.read_bytes()
    with lived.open("rb", buffering=0) as file:
        pages = PageFile(file)
        free = set(pages.free_pages())
        last_used = max(set(range(pages.pages_counted)) - free)
    for count in reversed(range(len(content) // PAGE)):
        for more in (PAGE - 1, 1, 0):
            os.truncate(lived, count * PAGE + more)
            expected = "" if count > last_used else "store_corrupt"
            assert (code(lived, check_file), code(lived)) == (expected, expected)


def test_damage_never_surprises(lived: Path, full: bool) -> None:
    """Whatever bytes change: whole, or store_corrupt; no other error, no endless walk."""
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    content = lived.read_bytes()
    with lived.open("rb", buffering=0) as file:
        free = set(PageFile(file).free_pages())
    structure = [
        page * PAGE
        for page in range(len(content) // PAGE)
        if page not in free and content[page * PAGE + KIND_AT] & KINDS
    ]
    told = 0
    for _ in range(20_000 if full else 1_000):
        start = draw.choice(structure)
        damaged = bytearray(content[start : start + PAGE])
        for _ in range(draw.choice([1, 1, 4])):
            damaged[draw.randrange(64)] = draw.randrange(256)
        with lived.open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), damaged, start)
            found = code(lived)
            assert found in ("", "store_corrupt")
            told += found != ""
            assert code(lived, check_file) in ("", "store_corrupt")
            os.pwrite(file.fileno(), content[start : start + PAGE], start)
    assert code(lived) == ""
    assert told > 100


class Patch:
    """A file whose structures can be changed one at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = path.read_bytes()
        pages = opened(path)
        self.newest = pages.newest
        self.head = (pages.newest.transaction_id % 2) * PAGE

    def refused(self, offset: int, form: str, value: int) -> bool:
        """Whether the file is refused with another value at an offset; it must be another."""
        damaged = bytearray(self.content)
        assert struct.unpack_from(form, damaged, offset) != (value,)
        struct.pack_into(form, damaged, offset, value)
        self.path.write_bytes(damaged)
        return code(self.path) == "store_corrupt"

    def number(self, offset: int, form: str) -> int:
        """The value there."""
        found: int = struct.unpack_from(form, self.content, offset)[0]
        return found


def test_structures(lived: Path) -> None:
    """Each thing that LMDB relies on, changed alone."""
    patch = Patch(lived)
    branch = patch.newest.main.root * PAGE
    first = branch + patch.number(branch + 16, "@H")
    second = branch + patch.number(branch + 18, "@H")
    leaf = patch.number(first, "@I") * PAGE
    row = leaf + patch.number(leaf + 16, "@H")
    free = patch.newest.free.root * PAGE
    listed = free + patch.number(free + 16, "@H") + 16
    assert patch.newest.free.depth == 1
    assert patch.number(listed, "@N") > 1
    cases = {
        "magic": (patch.head + 16, "@I", 0xBEEFC0DF),
        "version": (patch.head + 20, "@I", 2),
        "size of a page": (patch.head + 40, "@I", 8192),
        "count of rows": (patch.head + 16 + 24 + 48 + 32, "@N", patch.newest.main.entries + 1),
        "root": (patch.head + 16 + 24 + 48 + 40, "@N", leaf // PAGE),
        "last page": (patch.head + 16 + 120, "@N", patch.newest.last_page + 1),
        "transaction": (patch.head + 16 + 128, "@N", patch.newest.transaction_id + 2),
        "number of a page": (leaf, "@N", leaf // PAGE + 1),
        "kind of a page": (leaf + 10, "@H", 1),
        "number of rows": (leaf + 12, "@H", patch.number(leaf + 12, "@H") - 2),
        "free space": (leaf + 14, "@H", patch.number(leaf + 14, "@H") + 2),
        "place of a row": (leaf + 16, "@H", patch.number(leaf + 18, "@H")),
        "length of a key": (row + 6, "@H", 5_000),
        "first letter of a key": (row + 8, "@B", 0xFF),
        "child": (first, "@I", patch.number(second, "@I")),
        "a key that parts children": (second + 8, "@B", patch.number(second + 8, "@B") - 1),
        "a free page that is in use": (listed + 8, "@N", leaf // PAGE),
        "a free page that is there twice": (listed + 8, "@N", patch.number(listed + 16, "@N")),
        "number of free pages": (listed, "@N", patch.number(listed, "@N") - 1),
        "number of free pages without end": (listed, "@N", 2**63),
    }
    assert {name for name, case in cases.items() if not patch.refused(*case)} == set()
    lived.write_bytes(patch.content)
    assert code(lived) == ""


def test_what_is_no_store(tmp_path: Path) -> None:
    """Absent, unreadable, empty, something else."""
    path = tmp_path / "store.mdb"
    for content, expected in ((None, "store_absent"), (b"", "store_corrupt"), (bytes(5 * PAGE), "store_corrupt")):
        if content is not None:
            path.write_bytes(content)
        for check in (check_file, look):
            with pytest.raises(Halt, match=str(path)) as caught:
                check(path)
            assert caught.value.code == expected
    with pytest.raises(Halt) as caught:
        check_file(tmp_path)
    assert caught.value.code == "store_unreadable"
