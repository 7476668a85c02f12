"""The archive on disk: what it gives back and proves, what it takes, and what it refuses."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from leither_lite.edge.archive import FILE, SCHEMA, Archive, Change
from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.ledger.archive import Elsewhere, GroupPage, Place
from leither_lite.ledger.records import Entry, decode_page
from leither_lite.tree.proof import GroupStep
from tests.edge.archive_world import World, grown, holds, renewed, told, touched, world_of
from tests.edge.archives import opening, page_of, place_at

SEED: Final = 11
CACHE_BYTES: Final = 256 * 1024
ALL: Final = 256


@pytest.fixture
def world() -> World:
    """Four sub-databases with four groups each, under a group of level 3."""
    return world_of(place_at(3, 0, 0), [1, 3, 3, 2])


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    """An empty one."""
    opened = Archive(tmp_path / FILE, ALL, CACHE_BYTES)
    yield opened
    opened.close()


@pytest.mark.parametrize("top", [place_at(2, 0, 0), place_at(2, 8, 3), place_at(3, 0, 0), place_at(3, 5, 30)])
def test_holds_what_it_was_told(archive: Archive, top: Place, tmp_path: Path) -> None:
    """One sub-database or several, of the whole network or of a part; also after a new start, with nothing written."""
    world = world_of(top, [1, 3, 3, 2])
    told(archive, world)
    holds(archive, world)
    if top.bits:
        for ask in (archive.look_up, archive.path):
            with pytest.raises(LocalError, match="archive_elsewhere"):
                ask(bytes(20))
    archive.close()
    before = (tmp_path / FILE).read_bytes()
    again = Archive(tmp_path / FILE, ALL, CACHE_BYTES)
    holds(again, world)
    again.close()
    assert (tmp_path / FILE).read_bytes() == before
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_takes_what_has_changed(archive: Archive, world: World) -> None:
    """Only the groups that changed and those over them, pulse after pulse."""
    told(archive, world)
    draw = random.Random(SEED)
    for _ in range(6):
        touched(world, draw, draw.randrange(1, 6))
        told(archive, world, world.pulses[world.top])
        holds(archive, world)


def test_takes_splits_and_merges(tmp_path: Path, world: World) -> None:
    """Groups on every level come in place of others; the top moves up and down; nothing of the old ones stays."""
    path = tmp_path / FILE

    def take(world: World, since: int = 0) -> None:
        with closing(Archive(path, ALL, CACHE_BYTES)) as archive:
            told(archive, world, since)
            holds(archive, world)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (len(world.pulses),)

    def put(old: list[Place], new: list[Place], pulse: int) -> None:
        entries = {account: entry for place in old for account, entry in world.accounts.pop(place, {}).items()}
        for place in old:
            del world.pulses[place]
        for place in new:
            if place.level == 1:
                world.accounts[place] = {account: entry for account, entry in entries.items() if place.holds(account)}
            world.pulses[place] = pulse
            renewed(world, place, pulse)
        take(world, pulse)

    take(world)
    top = world.top
    first, *_, last = world.under(top)
    wide, left, right, _ = world.under(last)
    put([wide], halves(wide), 6)
    put([left, right], [Place(1, left.bits - 1, left.prefix)], 7)
    put([first], halves(first), 8)
    put(halves(first), [first], 9)
    touched(world, random.Random(SEED), 2)
    take(world, 10)
    # All sub-databases become one, under no group of level 3; then there are two again.
    whole = place_at(2, 0, 0)
    put([top, *world.under(top)], [whole], 11)
    put([whole], [*halves(whole), top], 12)
    # It is given another part of the network: a single sub-database in the midst of what it had.
    part = world_of(place_at(2, 2, 1), [1, 1])
    part.pulses = dict.fromkeys(part.pulses, 13)
    take(part)


def halves(place: Place) -> list[Place]:
    """The two groups into which one is split."""
    return [half._replace(level=place.level) for half in grown(place, [1, 1])]


def test_keeps_some_sub_databases(tmp_path: Path, world: World) -> None:
    """Of the others it has the node, so paths lead through; one more than it was opened for is refused."""
    archive = Archive(tmp_path / FILE, 2, CACHE_BYTES)
    with pytest.raises(LocalError, match="archive_full"):
        told(archive, world)
    assert archive.node is None
    first, second, third, fourth = world.under(world.top)
    world.elsewhere = [first, third]
    told(archive, world)
    holds(archive, world)
    # It lets one go and takes another.
    pulse = 6
    for place in (first, second):
        for group in [place, *world.under(place)]:
            renewed(world, group, pulse)
    world.elsewhere = [second, third]
    told(archive, world, pulse)
    holds(archive, world)
    assert fourth not in world.elsewhere
    archive.close()


def test_empty(archive: Archive) -> None:
    """It says so."""
    assert archive.node is None
    for ask in (archive.look_up, archive.path, archive.page):
        with pytest.raises(LocalError, match="archive_empty"):
            ask(bytes(20))
        with pytest.raises(ValueError, match="20 bytes"):
            ask(bytes(19))


def test_refuses_and_stays_as_it_was(archive: Archive, world: World) -> None:
    """Whatever does not lead to the sealed node, is not whole, or is not in order."""
    told(archive, world)
    before = world_of(world.top, [1, 3, 3, 2])
    touched(world, random.Random(SEED), 3)
    changes = world.changes(6)
    pages = [at for at, change in enumerate(changes) if isinstance(change, GroupPage)]
    page = changes[pages[0]]
    assert isinstance(page, GroupPage)
    entries = dict(decode_page(page.content))
    account = next(iter(entries))
    entries[account] = Entry(6, entries[account].record._replace(balance=1))
    forged = replace(page, content=page_of(entries))
    upper = next(change for change in changes if isinstance(change, GroupStep))
    half = replace(page, group=replace(page.group, bits=page.group.bits + 1), content=page_of({}))
    cases: list[tuple[list[Change], str]] = [
        ([*changes[: pages[0]], forged, *changes[pages[0] + 1 :]], "archive_node"),
        ([change for change in changes if change is not page], "archive_node"),
        ([replace(change, meta=bytes(32)) if change is upper else change for change in changes], "archive_node"),
        ([change for change in changes if change is not upper], "archive_order"),
        ([changes[-1], *changes[:-1]], "archive_order"),
        (changes[:-1], "archive_order"),
        ([page], "archive_order"),
        ([], "archive_order"),
        ([Elsewhere(0, bytes(20), world.node(world.top))], "archive_order"),
        ([*changes, Elsewhere(0, bytes(20), bytes(36))], "archive_order"),
        ([*changes[: pages[0]], half, *changes[pages[0] + 1 :]], "archive_partition"),
        ([replace(page, content=b"\x81"), *changes], "cbor_truncated"),
        ([opening(place_at(1, 0, 0), 6)], "archive_partition"),
        ([opening(place_at(4, 0, 0), 6)], "archive_place"),
        (before.changes(), "archive_node"),
    ]
    for case, reason in cases:
        with pytest.raises(RemoteError) as caught:
            archive.replace(iter(case), world.node(world.top))
        assert caught.value.reason == reason
        assert archive.node == before.node(before.top)
    holds(archive, before)
    told(archive, world, 6)
    holds(archive, world)
    with pytest.raises(RemoteError, match="archive_old"):
        told(archive, before)
    holds(archive, world)


def test_another_has_it_open(archive: Archive, tmp_path: Path) -> None:
    """A second process is kept out, and a file that a newer program has made."""
    with pytest.raises(Halt, match="archive_in_use"):
        Archive(tmp_path / FILE, ALL, CACHE_BYTES)
    archive.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(Halt, match="archive_newer_schema"):
        Archive(tmp_path / FILE, ALL, CACHE_BYTES)
    with pytest.raises(Halt, match="archive_unreadable"):
        Archive(tmp_path / "none" / FILE, ALL, CACHE_BYTES)
