"""Records and pages: their bytes, and how a page is counted."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from leither_lite import codec
from leither_lite.errors import RemoteError
from leither_lite.identity import h20, h32
from leither_lite.ledger.records import Entry, Record, Role, counted_bytes, decode_page, encode_page
from leither_lite.limits import GROUP_MEMBERS_MAX, SUPPLY_MAX, UINT_MAX

u64 = st.integers(0, UINT_MAX)
amounts = st.integers(0, SUPPLY_MAX)
records = st.builds(Record, amounts, amounts, u64, st.sampled_from([int(role) for role in Role]), u64)
pulses = st.integers(0, 2**63 - 1)
pages = st.dictionaries(st.binary(min_size=20, max_size=20), st.builds(Entry, pulses, records), max_size=30)

ACCOUNT: Final = bytes(range(20))


def page_of(entries: dict[bytes, Entry]) -> bytes:
    """The page of entries."""
    return encode_page([(account, entry.pulse, entry.record.encode()) for account, entry in sorted(entries.items())])


@given(records)
def test_record_round_trip(record: Record) -> None:
    assert record.encode() == codec.encode(list(record))
    assert Record.decode(record.encode()) == record


@given(pages)
def test_page_round_trip(entries: dict[bytes, Entry]) -> None:
    page = page_of(entries)
    assert dict(decode_page(page)) == entries
    assert codec.decode(page) == [[account, entry.pulse, *entry.record] for account, entry in sorted(entries.items())]


@given(st.builds(Entry, st.integers(0, 2**32 - 1), records.filter(lambda record: record.sent < 2**32)))
def test_counted_bytes_are_never_less_than_the_entry(entry: Entry) -> None:
    """Balance at 9 bytes, sent and pulse at 5, whatever they are; the rest as it is."""
    content = page_of({ACCOUNT: entry})
    counted = counted_bytes(entry.record)
    assert len(content) - 1 <= counted
    widest = entry.record._replace(balance=SUPPLY_MAX, sent=2**32 - 1)
    assert counted == len(page_of({ACCOUNT: Entry(2**32 - 1, widest)})) - 1
    assert counted == counted_bytes(widest) >= 44


def test_leaf() -> None:
    record = Record(7, 5, 3, 1, 0)
    leaf = Entry(9, record).leaf(ACCOUNT)
    head = (9).to_bytes(8, "big") + (12).to_bytes(8, "big")
    content = codec.encode([7, 5, 3, 1, 0])
    assert leaf == head + h20("leaf", ACCOUNT + head + h32("account", content))


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5, 6],
        [SUPPLY_MAX + 1, 0, 0, 0, 0],
        [0, SUPPLY_MAX + 1, 0, 0, 0],
        [0, 0, 0, 5, 0],
        [0, 0, b"", 0, 0],
        ["0", 0, 0, 0, 0],
        7,
    ],
    ids=str,
)
def test_bad_record(fields: Any) -> None:
    with pytest.raises(RemoteError, match="bad_record"):
        Record.decode(codec.encode(fields))


def entry(number: int, *fields: Any) -> list[Any]:
    """An entry of a page."""
    return [number.to_bytes(20, "big"), *(fields or (0, 0, 0, 0, 0, 0))]


@pytest.mark.parametrize(
    "entries",
    [
        7,
        [7],
        [entry(1)[:-1]],
        [[*entry(1), 0]],
        [[b"\1", 0, 0, 0, 0, 0, 0]],
        [entry(2), entry(1)],
        [entry(1), entry(1)],
        [entry(1, b"", 0, 0, 0, 0, 0)],
        [entry(number) for number in range(GROUP_MEMBERS_MAX + 1)],
    ],
    ids=lambda entries: str(entries)[:40],
)
def test_bad_page(entries: Any) -> None:
    with pytest.raises(RemoteError, match="bad_page"):
        decode_page(codec.encode(entries))


def test_first_id_may_be_zero() -> None:
    assert decode_page(codec.encode([entry(0), entry(1)]))[0][0] == bytes(20)
