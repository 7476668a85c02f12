"""Bugs to plant: a run that does not find each of them sees nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from unittest import mock

from leither_lite import codec
from leither_lite.header import Header
from leither_lite.tree import proof, proof_json


def _header_of_more_fields(encoded: bytes) -> Header:
    value = codec.decode(encoded)
    if type(value) is list and len(value) > 12:
        encoded = codec.encode(value[:12])
    return _decode_header(encoded)


def _keys_unchecked(value: Any, keys: tuple[str, ...], optional: str | None = None) -> Any:
    return value


_decode_header: Final = Header.decode
_widths: Final = {24: (1, 0), 25: (2, 0), 26: (4, 0), 27: (8, 0)}

# Name -> (the decoder that must find it, what replaces the right code).
PLANTS: Final[dict[str, tuple[str, Callable[[], Any]]]] = {
    "long-forms-taken": ("cbor", lambda: mock.patch.object(codec, "_WIDTHS", _widths)),
    "depth-unchecked": ("cbor", lambda: mock.patch.object(codec, "CBOR_DEPTH_MAX", 10**6)),
    "scan-left-out": ("cbor", lambda: mock.patch.object(codec, "scan", bytes.hex)),
    "extra-field-ignored": ("header", lambda: mock.patch.object(Header, "decode", _header_of_more_fields)),
    "missing-key-unchecked": ("proof-json", lambda: mock.patch.object(proof_json, "_keys", _keys_unchecked)),
    "depth-beyond-the-id": ("proof-binary", lambda: mock.patch.object(proof, "ID_BITS", 256)),
}
