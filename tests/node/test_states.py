"""The state that one node gives another: its parts are cut out, and nothing is built of what is not one."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.errors import RemoteError
from leither_lite.node.states import INVITES_MAX, Parts, make_state, parts_of
from tests.node.seat import grown

BIG = 4 * 1024 * 1024


def test_parts_are_those_that_were_put_together() -> None:
    content = make_state(grown().store)[1]
    value: Any = codec.decode(content)
    assert parts_of(content) == Parts(*value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x85",
        b"\x80",
        encode([b"", b"", b"", [], b""]) + b"\0",
        encode([b"", b"", b"", [], b""])[:-1],
        encode([b"", b"", b"", []]),
        encode([0, b"", b"", [], b""]),
        encode([b"", b"", b"", b"", b""]),
        encode([b"", b"", b"", [1], b""]),
        encode([bytes(40_000), b"", b"", [], b""]),
        encode([b"", bytes(20_000), b"", [], b""]),
        encode([b"", b"", bytes(28 * (INVITES_MAX + 1)), [], b""]),
        encode([b"", b"", b"", [bytes(2_100)], b""]),
        encode([b"", b"", b"", [b""] * 5_000, b""]),
        encode([b"", b"", b"", [], bytes(600)]),
        b"\x85\x5b" + bytes(8),
        b"\x85\x5f",
    ],
)
def test_what_is_no_state(content: bytes) -> None:
    with pytest.raises(RemoteError, match="bad_state"):
        parts_of(content)


def test_millions_of_small_items_take_no_memory() -> None:
    content = b"\x85\x40\x40\x40\x9a" + (BIG - 16).to_bytes(4, "big") + bytes(BIG - 16)
    tracemalloc.start()
    with pytest.raises(RemoteError, match="bad_state"):
        parts_of(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000
