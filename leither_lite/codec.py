"""Deterministic CBOR without maps: what is hashed, signed and sent (docs/protocol.md, section 2).

Decides which bytes are CBOR of ours: arrays, unsigned integers, byte strings and text in RFC 8949 core deterministic
encoding, and nothing else. `scan` refuses all other bytes before the decoder proper sees them, so that every value has
one encoding and no input can make the decoder build more than it holds. Never knows what a value means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Final, TypeAlias

import cbor2

from leither_lite.errors import RemoteError
from leither_lite.limits import CBOR_DEPTH_MAX, UINT_MAX

Value: TypeAlias = int | bytes | str | list["Value"]

_LONG_BYTES: Final = 0x58  # the head of a byte string of 24 to 255 bytes: the commonest after those that need no look


def _steps() -> tuple[int, ...]:
    """For each head byte the size of its whole item where the head alone tells it, else 0."""
    steps = [0] * 256
    for argument in range(24):
        steps[argument] = 1
        steps[0x40 + argument] = 1 + argument
    return tuple(steps)


def _refused() -> dict[int, str]:
    """The reason for each head byte that our CBOR does not have."""
    refused: dict[int, str] = {}
    for major, reason in ((1, "cbor_negative"), (5, "cbor_map"), (6, "cbor_tag"), (7, "cbor_simple")):
        refused.update((major << 5 | argument, reason) for argument in range(32))
    refused.update((head, "cbor_float") for head in (0xF9, 0xFA, 0xFB))
    for major in (0, 2, 3, 4, 7):
        refused.update((major << 5 | argument, "cbor_reserved") for argument in (28, 29, 30))
    refused[0x1F] = "cbor_reserved"
    refused.update((head, "cbor_indefinite") for head in (0x5F, 0x7F, 0x9F, 0xFF))
    return refused


_STEPS: Final = _steps()
_REFUSED: Final = _refused()

# By a head's lowest five bits: in how many bytes its argument follows, and the least value that needs so many.
_WIDTHS: Final = {24: (1, 24), 25: (2, 1 << 8), 26: (4, 1 << 16), 27: (8, 1 << 32)}


def scan(data: bytes) -> None:
    """Refuse whatever is not one item of our CBOR, filling `data` to its end.

    Raises RemoteError: cbor_truncated, cbor_trailing, cbor_long_form, cbor_deep, cbor_text (not UTF-8), cbor_tag,
    cbor_float, cbor_negative, cbor_map, cbor_simple (booleans and null too), cbor_indefinite, cbor_reserved.
    Work and memory are linear in len(data), whatever lengths it claims.
    """
    steps = _STEPS
    size = len(data)
    at = 0
    left: Iterator[None] = repeat(None, 1)  # one turn for each item still due in the innermost array
    outer: list[Iterator[None]] = []
    try:
        while True:
            for _ in left:
                head = data[at]
                step = steps[head]
                if step:
                    # May step over the end: then the next head, or the last comparison, finds it out.
                    at += step
                    continue
                if head == _LONG_BYTES:
                    argument = data[at + 1]
                    if argument < 24:
                        raise RemoteError("cbor_long_form", f"at byte {at}")
                    at += 2 + argument
                    continue
                start = at
                at += 1
                argument = head & 31
                if argument >= 24 or head > 0x97 or head < 0x60:
                    if head in _REFUSED:
                        raise RemoteError(_REFUSED[head], f"at byte {start}")
                    width, least = _WIDTHS[argument]
                    if at + width > size:
                        raise RemoteError("cbor_truncated", f"at byte {start}")
                    argument = int.from_bytes(data[at : at + width], "big")
                    if argument < least:
                        raise RemoteError("cbor_long_form", f"at byte {start}")
                    at += width
                    if head < 0x20:
                        continue
                # What follows has at least one byte for each byte or item that the head claims.
                if argument > size - at:
                    raise RemoteError("cbor_truncated", f"at byte {start}")
                if head >= 0x80:
                    if len(outer) == CBOR_DEPTH_MAX:
                        raise RemoteError("cbor_deep", f"at byte {start}")
                    outer.append(left)
                    left = repeat(None, argument)
                    break
                if head >= 0x60:
                    data[at : at + argument].decode()
                at += argument
            else:
                if not outer:
                    break
                left = outer.pop()
    except IndexError:
        raise RemoteError("cbor_truncated", f"at byte {size}") from None
    except UnicodeDecodeError:
        raise RemoteError("cbor_text", f"text at byte {at} is not UTF-8") from None
    if at > size:
        raise RemoteError("cbor_truncated", f"at byte {size}")
    if at < size:
        raise RemoteError("cbor_trailing", f"{size - at} bytes after the item")


def decode(data: bytes) -> Value:
    """The value that `data` encodes. Raises RemoteError with one of the reasons of `scan`."""
    scan(data)
    try:
        value: Value = cbor2.loads(data)
    except (cbor2.CBORDecodeError, ValueError, TypeError, EOFError) as error:
        # Not known to happen after a scan; a library's refusal must still not look like our own fault.
        raise RemoteError("cbor_refused", str(error)) from error
    return value


def encode(value: Value) -> bytes:
    """The one encoding of a value: the input that `decode` takes back to it.

    Raises TypeError for anything but an int, bytes, str or list of these (booleans and subclasses too), ValueError for
    integers outside 0 to 2^64-1, arrays nested deeper than 16, and text that has no UTF-8: faults of our own code.
    """
    _check(value, 0)
    return cbor2.dumps(value)


def encode_uints(values: list[int]) -> bytes:
    """`encode` of an array of unsigned integers, whose types the caller vouches for. Raises ValueError out of range."""
    if not (0 <= min(values) and max(values) <= UINT_MAX):
        raise ValueError("an integer outside 0 to 2^64-1")
    return cbor2.dumps(values)


def encode_array(items: Sequence[bytes]) -> bytes:
    """The array of items that are CBOR already, at most 65,535 of them."""
    return array_head(len(items)) + b"".join(items)


def array_head(count: int) -> bytes:
    """The head of an array of `count` items, at most 65,535."""
    if count < 24:
        return bytes([0x80 | count])
    return bytes([0x98, count]) if count < 1 << 8 else b"\x99" + count.to_bytes(2, "big")


def _check(value: object, depth: int) -> None:
    kind = type(value)
    if kind is list:
        if depth == CBOR_DEPTH_MAX:
            raise ValueError("arrays nested deeper than 16")
        for item in value:  # type: ignore[attr-defined]
            inner = type(item)
            if inner is int:
                if not 0 <= item <= UINT_MAX:
                    raise ValueError("an integer outside 0 to 2^64-1")
            elif inner is not bytes:
                _check(item, depth + 1)
    elif kind is int:
        if not 0 <= value <= UINT_MAX:  # type: ignore[operator]
            raise ValueError("an integer outside 0 to 2^64-1")
    elif kind is str:
        value.encode()  # type: ignore[attr-defined]
    elif kind is not bytes:
        raise TypeError(f"{kind.__name__} has no encoding here")


def fields(value: Value, count: int, reason: str) -> list[Value]:
    """`value` as an array of exactly `count` items. Raises RemoteError(reason)."""
    if type(value) is not list or len(value) != count:
        raise RemoteError(reason, f"an array of {count} is expected")
    return value


def items(value: Value, maximum: int, reason: str) -> list[Value]:
    """`value` as an array of at most `maximum` items. Raises RemoteError(reason)."""
    if type(value) is not list or len(value) > maximum:
        raise RemoteError(reason, f"an array of at most {maximum} is expected")
    return value


def uint(value: Value, maximum: int, reason: str) -> int:
    """`value` as an unsigned integer of at most `maximum`. Raises RemoteError(reason)."""
    if type(value) is not int or not 0 <= value <= maximum:
        raise RemoteError(reason, f"an integer from 0 to {maximum} is expected")
    return value


def octets(value: Value, size: int, reason: str) -> bytes:
    """`value` as a byte string of exactly `size` bytes. Raises RemoteError(reason)."""
    if type(value) is not bytes or len(value) != size:
        raise RemoteError(reason, f"{size} bytes are expected")
    return value


def octets_upto(value: Value, maximum: int, reason: str) -> bytes:
    """`value` as a byte string of at most `maximum` bytes. Raises RemoteError(reason)."""
    if type(value) is not bytes or len(value) > maximum:
        raise RemoteError(reason, f"at most {maximum} bytes are expected")
    return value


def text(value: Value, maximum: int, reason: str) -> str:
    """`value` as text whose UTF-8 has at most `maximum` bytes. Raises RemoteError(reason)."""
    if type(value) is not str or len(value) > maximum or len(value.encode()) > maximum:
        raise RemoteError(reason, f"text of at most {maximum} bytes is expected")
    return value
