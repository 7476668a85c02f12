"""Rows of an archive: what they give back, what they refuse, and that no content of one is taken for another."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given, strategies as st

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.ledger.archive import (
    Elsewhere,
    GroupPage,
    PageView,
    Place,
    elsewhere_row,
    page_row,
    upper_row,
    upper_steps,
)
from leither_lite.ledger.records import Entry, Record
from leither_lite.limits import ID_BITS, SUM_MAX
from leither_lite.tree.node import EMPTY
from leither_lite.tree.proof import BranchStep, GroupStep, fold_path
from tests.edge.archives import ACTIVE_ITEM_BYTES, QUIET_ITEM_BYTES, Entries, active, opening, page_of, place_at, quiet
from tests.ledger.test_records import pulses, records

SEED: Final = 4
PREFIXES: Final = st.tuples(st.integers(0, 130), st.integers(0, 2**ID_BITS - 1))


def entries_in(place: Place, count: int, seed: int = SEED) -> Entries:
    """Accounts of a group, some of each kind."""
    draw = random.Random(seed)
    first = int.from_bytes(place.prefix, "big")
    ids = [(first | draw.getrandbits(ID_BITS - place.bits)).to_bytes(20, "big") for _ in range(count)]
    return {account: draw.choice([quiet, active])(draw) for account in ids}


@given(PREFIXES, st.lists(st.tuples(st.integers(0, 2**30 - 1), st.builds(Entry, pulses, records)), max_size=12))
def test_a_page_comes_back(prefix: tuple[int, int], drawn: list[tuple[int, Entry]]) -> None:
    """Byte for byte, whatever is in it; and each entry alone."""
    bits, number = prefix
    place = place_at(1, bits, number >> (ID_BITS - bits) if bits else 0)
    first = int.from_bytes(place.prefix, "big")
    entries = {(first | tail).to_bytes(20, "big"): entry for tail, entry in drawn}
    page = GroupPage(opening(place, 7), page_of(entries))
    if sum(entry.record.balance + entry.record.frozen for entry in entries.values()) > SUM_MAX:
        return
    row = page_row(page)
    view = PageView(row.place, row.value)
    assert GroupPage(view.group, view.content()) == page
    for account, entry in entries.items():
        assert view.look_up(account) == entry
        found = view.find(account)
        assert found.entry == entry
        assert fold_path(found.start(), account, found.path) == row.node
    absent = (first ^ 1).to_bytes(20, "big")
    if absent not in entries:
        assert view.look_up(absent) is None
        found = view.find(absent)
        assert found.entry is None
        assert found.start() == EMPTY if not entries else found.start() != EMPTY
        assert fold_path(found.start(), absent, found.path) == row.node


@pytest.mark.parametrize(("make", "items"), [(quiet, QUIET_ITEM_BYTES), (active, ACTIVE_ITEM_BYTES)])
def test_what_an_account_takes(make: Callable[[random.Random], Entry], items: int) -> None:
    """Its id without the prefix's whole bytes, its items, one byte for their size: 3 less than in the page."""
    draw = random.Random(SEED)
    place = place_at(1, 16, 7)
    entries = {account: make(draw) for account in entries_in(place, 256)}
    page = GroupPage(opening(place, 7), page_of(entries))
    assert len(page.content) == 3 + 256 * items
    assert len(page_row(page).value) == 8 + 32 + 2 + 256 * (items - 3)


def test_pages_refused() -> None:
    """An account of another group, a page that is none, a group that cannot be."""
    place = place_at(1, 16, 7)
    good = opening(place, 7)
    entries = entries_in(place, 3)
    stranger = {**entries, place_at(1, 16, 8).prefix: next(iter(entries.values()))}
    refused: list[tuple[GroupStep, bytes, str]] = [
        (good, page_of(stranger), "archive_page"),
        (good, page_of(entries)[:-1], "cbor_truncated"),
        (good, codec.encode([[1]]), "bad_page"),
        (GroupStep(0, 16, place.prefix, 7, good.meta), page_of(entries), "archive_place"),
        (GroupStep(4, 16, place.prefix, 7, good.meta), page_of(entries), "archive_place"),
        (GroupStep(1, 161, place.prefix, 7, good.meta), page_of(entries), "archive_place"),
        (GroupStep(1, 15, place.prefix, 7, good.meta), page_of(entries), "archive_place"),
        (GroupStep(1, 16, place.prefix[:-1], 7, good.meta), page_of(entries), "archive_place"),
        (GroupStep(1, 16, place.prefix, 2**63, good.meta), page_of(entries), "archive_place"),
        (GroupStep(1, 16, place.prefix, 7, good.meta[:-1]), page_of(entries), "archive_place"),
        (
            good,
            page_of({account: Entry(1, Record(2**53 - 1, 2**53 - 1, 0, 0, 0)) for account in entries_in(place, 600)}),
            "bad_page",
        ),
    ]
    for group, content, reason in refused:
        with pytest.raises(RemoteError) as caught:
            page_row(GroupPage(group, content))
        assert caught.value.reason == reason
    for elsewhere in (Elsewhere(8, place.prefix, bytes(36)), Elsewhere(16, place.prefix, bytes(35))):
        with pytest.raises(RemoteError, match="archive_place"):
            elsewhere_row(elsewhere)


def children_of(bits: list[int]) -> list[tuple[Place, bytes]]:
    """Places of so many bits each, one after the other from 0."""
    found, first = [], 0
    for depth in bits:
        found.append((Place(1, depth, first.to_bytes(20, "big")), bytes([depth]) * 36))
        first += 1 << (ID_BITS - depth)
    return found


def test_a_partition() -> None:
    """The child and the steps that an id's bits lead to; what is no partition is refused."""
    group = opening(place_at(2, 0, 0), 9)
    children = children_of([1, 3, 3, 2])
    row = upper_row(group, children)
    for place, found in children:
        for account in (place.prefix, (place.end - 1).to_bytes(20, "big")):
            child, steps = upper_steps(row.place, row.value, account)
            assert (child, steps[-1]) == (place, group)
            # Below it stands a group of level 1.
            assert all(isinstance(step, BranchStep) for step in steps[:-1])
            node = found
            assert fold_path(node, account, steps[:-1]) == row.value[-36:]
    assert upper_row(group, children_of([0])).value[-36:] == bytes(36)
    crowd = children_of([8] * 255 + [9, 9])
    for wrong in ([], children[:-1], children[1:], [*children[:2], *children[3:]], [children[0], *children], crowd):
        with pytest.raises(RemoteError, match="archive_partition"):
            upper_row(group, wrong)


def test_no_row_has_this() -> None:
    """Values whose parts do not fit together: a halt, whatever their checksum said."""
    place = place_at(1, 16, 7)
    value = page_row(GroupPage(opening(place, 7), page_of(entries_in(place, 5)))).value
    sizes_at = 8 + 32 + 2 + 5 * 18
    broken = [
        b"",
        value[:41],
        value[:-1],
        value + b"\0",
        value[:40] + b"\0\6" + value[42:],
        value[:40] + b"\1\1" + value[42:],
        value[:sizes_at] + bytes([value[sizes_at] + 1]) + value[sizes_at + 1 :],
        value[: sizes_at + 5] + b"\x40" + value[sizes_at + 6 :],
        value[: sizes_at + 5] + b"\x18\x01" + value[sizes_at + 7 :],
    ]
    for found in broken:
        with pytest.raises(Halt, match="archive_corrupt"):
            PageView(place, found).find(place.prefix)
    text = value[: sizes_at + 5] + b"\x60" * (len(value) - sizes_at - 5)
    sizes = value[:sizes_at] + b"\6" * 5 + b"\x60" * 30
    for found in (text, sizes):
        with pytest.raises(Halt, match="archive_corrupt"):
            PageView(place, found).content()
    upper = place_at(2, 0, 0)
    value = upper_row(opening(upper, 9), children_of([1, 2, 2])).value
    for found in (b"", value[:-1], value[:40] + b"\2" + value[41:], value[:40] + b"\xa1" + value[41:], value[:4]):
        with pytest.raises(Halt, match="archive_corrupt"):
            upper_steps(upper, found, place.prefix)
