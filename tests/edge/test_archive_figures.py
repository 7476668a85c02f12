"""What an archive takes: bytes on disk for the accounts of a sub-database, bytes written, memory."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from leither_lite.edge.archive import FILE, Archive
from leither_lite.edge.machine import thread_written_bytes
from leither_lite.ledger.archive import GroupPage
from leither_lite.ledger.records import Entry, decode_page
from leither_lite.tree.tree import SumTree
from tests.commands import ROOT
from tests.edge.archives import Workload, active, node_of, opening, page_of, place_at, quiet, top_node

SEED: Final = 11
CACHE_BYTES: Final = 256 * 1024
ALL: Final = 256


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """An empty one."""
    opened = Archive(tmp_path / FILE, ALL, CACHE_BYTES)
    yield opened
    opened.close()


FIGURES: Final = {
    Workload(1, 256, 256): 2_500_000,
    Workload(1, 256, 256, is_active=True): 4_000_000,
    Workload(2, 256, 128): 2_500_000,
    Workload(2, 256, 128, is_active=True): 4_000_000,
}


@pytest.mark.parametrize("workload", FIGURES, ids=str)
def test_bytes_of_65536_accounts(archive: Archive, workload: Workload) -> None:
    """The paper's figure for a sub-database, and ours for full and active records; groups full, and half full."""
    assert workload.accounts == 65_536
    archive.replace(workload.changes(), top_node(workload.changes()))
    print(f"{workload}: {archive.size_bytes} bytes, {archive.size_bytes / workload.accounts:.2f} an account")
    assert archive.size_bytes <= FIGURES[workload]
    for account in workload.ids(5):
        assert archive.path(account).entry == archive.look_up(account) is not None


def test_freed_room_is_used_again(archive: Archive) -> None:
    """Pages that grow and shrink, pulse after pulse: the file stays within a tenth, and a pulse writes what changes."""
    workload = Workload(1, 64, 256)
    pages = {number: workload.page(number) for number in range(workload.groups)}
    top = place_at(2, 0, 0)
    tree = SumTree()
    for page in pages.values():
        tree.put(page.group.prefix, top_node([page]))
    archive.replace([*pages.values(), opening(top, 1_000_000)], node_of(opening(top, 1_000_000), tree))
    filled = archive.size_bytes
    draw = random.Random(SEED)
    written = []
    for pulse in range(1_000_001, 1_000_021):
        changed = []
        for number in sorted(draw.sample(range(workload.groups), 24)):
            entries = dict(decode_page(workload.page(number).content))
            for account in draw.sample(sorted(entries), draw.randrange(100)):
                entries[account] = draw.choice([quiet(draw), Entry(pulse, active(draw).record._replace(frozen=0))])
            kept = dict(sorted(entries.items())[draw.randrange(12) :])
            group = opening(place_at(1, 6, number), pulse)
            changed.append(GroupPage(group, page_of(kept)))
            tree.put(group.prefix, top_node(changed[-1:]))
        before = thread_written_bytes()
        archive.replace([*changed, opening(top, pulse)], node_of(opening(top, pulse), tree))
        written.append((thread_written_bytes() - before) / sum(len(page.content) for page in changed))
    print(f"{filled} bytes, then {archive.size_bytes}; bytes written for each that changed: {max(written):.2f}")
    assert archive.size_bytes <= 1.12 * filled
    assert max(written) < 5.5


MEMORY: Final = """
import sys
from pathlib import Path
from leither_lite.edge.archive import Archive
from leither_lite.edge.machine import memory_kb
from tests.edge.archives import Workload

workload = Workload(1, 256, 200)
archive = Archive(Path(sys.argv[1]), 256, int(sys.argv[2]))
asked = workload.ids(100)
before = memory_kb()["anonymous"]
archive.replace(workload.changes(), bytes.fromhex(sys.argv[3]))
for account in asked:
    archive.path(account), archive.look_up(account)
print(memory_kb()["anonymous"] - before)
"""


def test_memory(tmp_path: Path) -> None:
    """Filling and reading 2 MB takes what the cache may, and a few pages' objects; it does not grow with the file."""
    node = top_node(Workload(1, 256, 200).changes()).hex()
    took_kb = []
    for cache_bytes in (128 * 1024, 8 * 1024 * 1024):
        path = tmp_path / str(cache_bytes)
        argv = [sys.executable, "-c", MEMORY, str(path), str(cache_bytes), node]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(argv, env=environment, check=True, capture_output=True, text=True)
        took_kb.append(int(done.stdout))
    print(took_kb)
    assert took_kb[0] < 1_000 < took_kb[1], "with a cache for all of it, it would be seen"
