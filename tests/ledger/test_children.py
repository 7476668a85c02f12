"""How a parent keeps its children: the table, the state and the page, and what is refused of each."""

from __future__ import annotations

from typing import Any, Final

import pytest

from leither_lite import codec
from leither_lite.errors import RemoteError
from leither_lite.header import encode_roster
from leither_lite.ledger.children import (
    UpperState,
    decode_children,
    decode_upper_page,
    encode_children,
    encode_upper_page,
    is_partition,
)
from leither_lite.ledger.state import MERGE, Offer
from leither_lite.limits import PAGE_BYTES_MAX
from leither_lite.tree.node import EMPTY
from tests.ledger.forest import Forest
from tests.ledger.grove import WHOLE
from tests.ledger.pair import ANNA, LEFT, RIGHT, two_groups

WIDE: Final = (b"\1" * 36, b"\2" * 36)


@pytest.fixture(name="forest")
def _forest() -> Forest:
    return two_groups()


def test_table_round_trip(forest: Forest) -> None:
    children = forest.uppers[2][WHOLE].children
    low = children[LEFT]._replace(offer=Offer(MERGE), offered=7, appointed=encode_roster([ANNA.public]), called=9)
    table = {LEFT: low, RIGHT: children[RIGHT]}
    assert decode_children(encode_children(table.values())) == table
    assert low.sealers == (ANNA.public,)
    for wrong in ((children[RIGHT], low), (low, low), (low._replace(bits=0), children[RIGHT])):
        with pytest.raises(RemoteError, match="bad_state"):
            decode_children(encode_children(wrong))
    for change in ({"prefix": b"\1" * 20}, {"inner": b""}, {"bits": 161}, {"roster": b""}, {"appointed": b"\x80"}):
        with pytest.raises(RemoteError, match="bad_state|roster_|cbor_"):
            decode_children(encode_children([low._replace(**change)]))


def test_state_round_trip() -> None:
    state = UpperState(1, b"\1" * 32, 2, 3, b"\2" * 32, Offer(MERGE))
    assert UpperState.decode(state.encode()) == state
    for wrong in (state._replace(children=b""), state._replace(willing=bytes(33))):
        with pytest.raises(RemoteError, match="bad_state"):
            UpperState.decode(wrong.encode())
    with pytest.raises(RemoteError, match="bad_state"):
        UpperState.decode(bytes(4_097))


def test_a_page_of_256_children() -> None:
    nodes = [(8, bytes([number]) * 35 + b"\1") for number in range(256)]
    page = encode_upper_page(nodes)
    assert len(page) == 256 * 37 + 7 <= PAGE_BYTES_MAX
    found = decode_upper_page(page, 0, bytes(20))
    assert list(found.items()) == [((bytes([at, *[0] * 19]), 8), node) for at, (_, node) in enumerate(nodes)]
    assert is_partition(found, 0, bytes(20))
    assert not is_partition(list(found)[1:], 0, bytes(20))
    assert not is_partition(list(found)[:-1], 0, bytes(20))
    assert not is_partition([(bytes(20), 0)], 1, bytes(20))


@pytest.mark.parametrize(
    ("page", "bits"),
    [
        ([bytes([1]), WIDE[0]], 0),
        ([bytes([1, 1, 1]), WIDE[0] * 3], 0),
        ([bytes([1, 2]), WIDE[0] * 2], 0),
        ([bytes([2, 1]), WIDE[0] * 2], 0),
        ([bytes([0]), WIDE[0]], 1),
        ([bytes([161]), WIDE[0]], 0),
        ([bytes([255, 255]), WIDE[0] * 2], 0),
        ([bytes([1, 1]), WIDE[0]], 0),
        ([b"", b""], 0),
        ([bytes(257), WIDE[0] * 257], 0),
        ([bytes([0])], 0),
        ([0, WIDE[0]], 0),
        ([bytes([1, 1]), WIDE[0] + EMPTY], 0),
    ],
    ids=range(13),
)
def test_pages_refused(page: Any, bits: int) -> None:
    with pytest.raises(RemoteError, match="bad_page"):
        decode_upper_page(codec.encode(page), bits, bytes(20))
