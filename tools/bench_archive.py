"""The archive on disk: bytes an account, how fast it is filled, look-ups, proofs, and what memory that takes.

Look-ups stand beside SQLite alone giving a row, proofs beside the bare hashes that a page of that size needs; both in
turn with ours (see `bench_tree`). Ids are drawn from all groups, with a page cache of 256 KiB: the file is in the
system's cache, and next to nothing of it in ours. Cold: the system was told to let go of the file before.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from leither_lite.edge.archive import FILE, Archive, Change
from leither_lite.edge.machine import memory_kb
from tests.edge.archives import Workload, top_node
from tools.bench_tree import ROUNDS, Row, bare_hashes, compare, timed

CACHE_BYTES = 256 * 1024
ASKED = 40  # in a round
COLD = 200
ONE = (Workload(1, 256, 256), Workload(1, 256, 256, True), Workload(2, 256, 128), Workload(2, 256, 128, True))
DATABASES = (Workload(256, 256, 256), Workload(256, 256, 256, True))
FREE_BYTES = 2 * 10**9


class Measured(NamedTuple):
    """Bytes on disk, accounts filled in a second, look-ups and proofs, cold ones a second, anonymous memory in KB:
    before the archive was opened, and after all."""

    size_bytes: int
    filled: float
    look_ups: Row
    proofs: Row
    cold_look_ups: float
    cold_proofs: float
    memory_kb: tuple[int, int]


class Timed:
    """Changes, and the seconds that it takes to make them."""

    def __init__(self, changes: Iterator[Change]) -> None:
        self.changes = changes
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Change]:
        while True:
            begin = time.perf_counter()
            change = next(self.changes, None)
            self.seconds += time.perf_counter() - begin
            if change is None:
                return
            yield change


def let_go(path: Path) -> None:
    """Tell the system to drop what it has of a file in memory."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(opened)


def measure(workload: Workload, path: Path) -> Measured:
    """Fill a new archive with a workload, and ask it."""
    node = top_node(workload.changes())
    asked = iter(workload.ids(2 * ROUNDS * ASKED + 2 * COLD))

    def some(count: int) -> list[bytes]:
        return [next(asked) for _ in range(count)]

    before_kb = memory_kb()["anonymous"]
    with closing(Archive(path, workload.sub_databases, CACHE_BYTES)) as archive:
        changes = Timed(workload.changes())
        begin = time.perf_counter()
        archive.replace(changes, node)
        seconds = time.perf_counter() - begin - changes.seconds
        proofs = compare(
            "proofs",
            lambda: timed(archive.path, some(ASKED)),
            lambda: bare_hashes([16] * (workload.members - 1), workload.members),
        )
        # Ours keeps the file to itself, but to whoever takes it for one that never changes.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as bare:
            bare.execute(f"PRAGMA cache_size = -{CACHE_BYTES // 1024}")
            draw = random.Random(ROUNDS)
            look_ups = compare(
                "look-ups",
                lambda: timed(archive.look_up, some(ASKED)),
                lambda: timed(
                    lambda number: bare.execute("SELECT value FROM kept WHERE number = ?", (number,)).fetchone(),
                    [draw.randrange(1, workload.sub_databases * workload.groups) for _ in range(ASKED)],
                ),
            )
        let_go(path)
        cold_look_ups = 1 / timed(archive.look_up, some(COLD))
        let_go(path)
        cold_proofs = 1 / timed(archive.path, some(COLD))
        after_kb = memory_kb()["anonymous"]
        return Measured(
            archive.size_bytes,
            workload.accounts / seconds,
            look_ups,
            proofs,
            cold_look_ups,
            cold_proofs,
            (before_kb, after_kb),
        )


def told(workload: Workload) -> str:
    """What a workload is."""
    kind = "full, active" if workload.is_active else "quiet"
    return f"{workload.accounts:,} {kind}: {workload.sub_databases} x {workload.groups} x {workload.members}"


def print_row(workload: Workload) -> None:
    """Measure a workload, and print what was found."""
    with tempfile.TemporaryDirectory(prefix="leither-bench-", dir=".") as folder:
        found = measure(workload, Path(folder) / FILE)
    print(
        f"{told(workload):38} {found.size_bytes:12,} bytes, {found.size_bytes / workload.accounts:5.2f} an account;"
        f" filled {found.filled:8,.0f}/s\n"
        f"    look-ups {found.look_ups.ours:7,.0f}/s (SQLite alone {found.look_ups.bare:,.0f}/s,"
        f" {found.look_ups.ratio:.0%}), cold {found.cold_look_ups:,.0f}/s;"
        f" proofs {found.proofs.ours:6,.0f}/s (bare hashes {found.proofs.bare:,.0f}/s, {found.proofs.ratio:.0%}),"
        f" cold {found.cold_proofs:,.0f}/s;"
        f" anonymous memory {found.memory_kb[0]:,} KB before, {found.memory_kb[1]:,} KB after",
        flush=True,
    )


if __name__ == "__main__":
    for workload in ONE:
        print_row(workload)
    if "--full" in sys.argv[1:]:
        free_bytes = shutil.disk_usage(".").free
        if free_bytes < FREE_BYTES:
            sys.exit(f"a database needs {FREE_BYTES:,} bytes of the disk, {free_bytes:,} are free")
        for workload in DATABASES:
            print_row(workload)
