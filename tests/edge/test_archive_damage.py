"""What a crash or a damaged byte leaves of an archive: the state before or after, and nothing wrong is ever told."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from leither_lite.edge.archive import FILE, Archive, Change
from leither_lite.edge.lmdb import checksum
from leither_lite.errors import Halt
from tests.edge.archive_world import World, holds, told, touched, world_of
from tests.edge.archives import Workload, page_of, place_at, top_node

SEED: Final = 11
CACHE_BYTES: Final = 256 * 1024
ALL: Final = 256


def in_child(work: Callable[[], None]) -> int:
    """Run in a process of its own, which ends hard; its id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    return child


@pytest.mark.parametrize("after", [1, 40, 129])
def test_killed_between(tmp_path: Path, after: int) -> None:
    """Killed while it writes, some of it in the file already: the state before is what a new start finds."""
    path = tmp_path / FILE
    workload = Workload(1, 128, 200)
    archive = Archive(path, ALL, CACHE_BYTES)
    first = top_node(workload.changes())
    archive.replace(workload.changes(), first)
    archive.close()
    before = path.read_bytes()

    def ends_within(changes: Iterator[Change]) -> Iterator[Change]:
        for _ in range(after):
            yield next(changes)
        os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        Archive(path, ALL, 8 * 1024).replace(ends_within(replace(workload, is_active=True).changes()), bytes(36))

    _, status = os.waitpid(in_child(work), 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    if after > 1:
        assert path.read_bytes() != before, "nothing had been written yet: this tests nothing"
    again = Archive(path, ALL, CACHE_BYTES)
    assert again.node == first
    for number in range(workload.groups):
        page = workload.page(number)
        assert again.page(page.group.prefix) == page
    again.close()
    # But for a counter of changes and what comes with it, in the header.
    assert path.read_bytes()[100:] == before[100:]


def test_killed_anywhere(tmp_path: Path) -> None:
    """Killed at any moment of many commits: what a new start finds is a pulse that was told, none that was on disk is
    lost, and it is whole."""
    path = tmp_path / FILE
    worlds = [world_of(place_at(3, 0, 0), [1, 2, 2])]
    for seed in range(60):
        copy = World({place: dict(found) for place, found in worlds[-1].accounts.items()}, dict(worlds[-1].pulses))
        touched(copy, random.Random(seed), 5)
        worlds.append(copy)
    changes = [world.changes(5 + at) for at, world in enumerate(worlds)]
    nodes = [world.node(world.top) for world in worlds]
    draw = random.Random(SEED)
    ends = []
    for _ in range(12):
        path.unlink(missing_ok=True)
        source, sink = os.pipe()

        def work(sink: int = sink) -> None:
            archive = Archive(path, ALL, CACHE_BYTES)
            for change, node in zip(changes, nodes, strict=True):
                archive.replace(change, node)
                os.write(sink, b".")

        child = in_child(work)
        told = draw.randrange(1, 50)
        for _ in range(told):
            os.read(source, 1)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(sink)
        with os.fdopen(source, "rb") as pipe:
            known = told - 1 + len(pipe.read())
        again = Archive(path, ALL, CACHE_BYTES)
        at = nodes.index(again.node or b"")
        assert known <= at <= known + 1
        holds(again, worlds[at])
        again.close()
        ends.append(at)
    assert len(set(ends)) > 3, ends


def test_no_room(tmp_path: Path) -> None:
    """The disk takes no more in the midst of a pulse: nothing of it is taken, and the next one is."""
    path = tmp_path / FILE
    world = world_of(place_at(3, 0, 0), [1, 2, 2])
    with closing(Archive(path, ALL, CACHE_BYTES)) as archive:
        told(archive, world)
        before = archive.node
        workload = Workload(1, 16, 200)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (archive.size_bytes + 4096, hard))
        try:
            with pytest.raises(Halt) as caught:
                archive.replace(workload.changes(), top_node(workload.changes()))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        # A limit is no full disk: the system says of it that the file is too large.
        assert caught.value.code == "disk_failing"
        assert archive.node == before
        holds(archive, world)
        archive.replace(workload.changes(), top_node(workload.changes()))
        assert archive.node != before
    with closing(Archive(path, ALL, CACHE_BYTES)) as archive:
        assert archive.node == top_node(workload.changes())


def test_a_flipped_byte(tmp_path: Path) -> None:
    """Wherever it is: everything that is then read is either right or refused."""
    path = tmp_path / FILE
    world = world_of(place_at(3, 0, 0), [1, 2, 2])
    archive = Archive(path, ALL, CACHE_BYTES)
    told(archive, world)
    archive.close()
    whole = path.read_bytes()
    draw = random.Random(SEED)
    found = dict.fromkeys(("harmless", "archive_corrupt", "another"), 0)
    top = world.node(world.top)
    for start in range(0, len(whole), 23):
        at = min(start + draw.randrange(23), len(whole) - 1)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :])
        code = "harmless"
        try:
            with closing(Archive(path, ALL, CACHE_BYTES)) as archive:
                assert archive.node == top
                for place, entries in world.accounts.items():
                    assert archive.page(place.prefix).content == page_of(entries)
                    for account in sorted(entries)[:1]:
                        assert archive.path(account).entry == entries[account] == archive.look_up(account)
        except Halt as halt:
            code = halt.code if halt.code in found else "another"
        found[code] += 1
    print(found)
    # Free room and the index's copies of what is in the rows are harmless; so is most of the header.
    assert found["archive_corrupt"] > 10 * found["another"]
    assert found["archive_corrupt"] > 0.6 * sum(found.values())


def test_a_forged_row(tmp_path: Path) -> None:
    """A row that is another, checksum and all: no path is made of it. One that is gone: nothing is taken for absent."""
    path = tmp_path / FILE
    world = world_of(place_at(3, 0, 0), [1, 2, 2])
    with closing(Archive(path, ALL, CACHE_BYTES)) as archive:
        told(archive, world)
    whole = path.read_bytes()
    place = next(place for place, entries in world.accounts.items() if len(entries) > 3)
    account = min(world.accounts[place])
    key = bytes([1]) + place.prefix

    def changed(change: Callable[[bytes, bytes], tuple[bytes, bytes] | None]) -> None:
        path.write_bytes(whole)
        with closing(sqlite3.connect(path)) as connection, connection:
            ((head, value),) = connection.execute(
                "SELECT head, value FROM kept WHERE level = 1 AND prefix = ?", (key[1:],)
            )
            row = change(head[:-4], value[:-4])
            if row is None:
                connection.execute("DELETE FROM kept WHERE level = 1 AND prefix = ?", (key[1:],))
            else:
                values = row[0] + checksum(key, row[0]), row[1] + checksum(key + row[0], row[1]), key[1:]
                connection.execute("UPDATE kept SET head = ?, value = ? WHERE level = 1 AND prefix = ?", values)

    def asked(*names: str) -> None:
        with closing(Archive(path, ALL, CACHE_BYTES)) as archive:
            for name in names:
                with pytest.raises(Halt, match="archive_corrupt"):
                    getattr(archive, name)(account)

    changed(lambda head, value: (head, value[:39] + bytes([value[39] ^ 1]) + value[40:]))
    asked("path")
    changed(lambda head, value: (head, value[:-1] + bytes([value[-1] ^ 1])))
    with closing(Archive(path, ALL, CACHE_BYTES)) as archive, pytest.raises(Halt, match="archive_corrupt"):
        archive.path(max(world.accounts[place]))
    changed(lambda head, value: (bytes([head[0] + 1]) + head[1:], value))
    asked("path")
    changed(lambda head, value: (head, b""))
    asked("look_up", "page")
    changed(lambda head, value: None)
    asked("look_up", "page", "path")


def test_damage_beside_a_change(tmp_path: Path) -> None:
    """A row beside those that change is not taken on trust: whoever sent the change is not blamed for it."""
    path = tmp_path / FILE
    world = world_of(place_at(3, 0, 0), [1, 2, 2])
    with closing(Archive(path, ALL, CACHE_BYTES)) as archive:
        told(archive, world)
    touched(world, random.Random(SEED), 1)
    parent = next(place for place, pulse in world.pulses.items() if (place.level, pulse) == (2, 6))
    same = next(child for child in world.under(parent) if world.pulses[child] < 6)
    with closing(sqlite3.connect(path)) as connection, connection:
        place = (1, same.prefix)
        ((head,),) = connection.execute("SELECT head FROM kept WHERE level = ? AND prefix = ?", place)
        forged = head[:30] + bytes([head[30] ^ 1]) + head[31:]
        connection.execute("UPDATE kept SET head = ? WHERE level = ? AND prefix = ?", (forged, *place))
    with closing(Archive(path, ALL, CACHE_BYTES)) as archive, pytest.raises(Halt, match="archive_corrupt"):
        told(archive, world, 6)


@pytest.mark.parametrize("forged", ["level = 'x' WHERE level = 3", "value = 7", "prefix = 7", "head = 7", "head = x''"])
def test_another_form(tmp_path: Path, forged: str) -> None:
    """A row with values of other kinds than ours."""
    path = tmp_path / FILE
    world = world_of(place_at(3, 0, 0), [1, 2, 2])
    with closing(Archive(path, ALL, CACHE_BYTES)) as archive:
        told(archive, world)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE OR REPLACE kept SET {forged}")
    with pytest.raises(Halt, match="archive_corrupt"):
        Archive(path, ALL, CACHE_BYTES)
