"""Inputs that are nearly right: mutations of bytes, of CBOR and of JSON, drawn from a seeded generator.

The writers here are the fuzzer's own: they can write what the project's may not (long forms, maps, floats, doubled
keys), so that a mutation reaches behind the first check.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, TypeAlias

import cbor2

Mutation: TypeAlias = Callable[[Random, bytes, Sequence[bytes]], bytes]

_EDGES: Final = (0, 1, 23, 24, 127, 128, 255, 256, 65_535, 65_536, 2**31, 2**32 - 1, 2**32, 2**53, 2**63, 2**64 - 1)
_SIZES: Final = (0, 1, 19, 20, 21, 31, 32, 33, 35, 36, 37, 63, 64, 65, 256)
_INSERTED_MAX: Final = 64


def mutate_bytes(rng: Random, encoded: bytes, corpus: Sequence[bytes]) -> bytes:
    """One change that knows nothing of the form."""
    made = bytearray(encoded)
    at = rng.randrange(len(made) + 1)
    kind = rng.randrange(8)
    if kind == 0 and made:
        made[at % len(made)] ^= 1 << rng.randrange(8)
    elif kind == 1 and made:
        made[at % len(made)] = rng.choice(
            (0x00, 0x17, 0x18, 0x1B, 0x58, 0x5F, 0x7F, 0x80, 0x81, 0x9B, 0xA0, 0xF6, 0xFF)
        )
    elif kind == 2:
        made[at:at] = rng.randbytes(rng.randrange(1, 5))
    elif kind == 3:
        del made[at : at + rng.randrange(1, 9)]
    elif kind == 4:
        del made[at:]
    elif kind == 5:
        made[at:at] = made[at : at + rng.randrange(1, _INSERTED_MAX)]
    elif kind == 6:
        other = rng.choice(corpus)
        made[at:] = other[rng.randrange(len(other) + 1) :]
    else:
        made[at : at + 8] = rng.choice(_EDGES).to_bytes(8, "big")
    return bytes(made)


def _head(rng: Random, major: int, argument: int, sloppy: bool) -> bytes:
    widths = [width for width in (0, 1, 2, 4, 8) if argument < (24 if width == 0 else 1 << 8 * width)]
    width = rng.choice(widths) if sloppy else widths[0]
    if width == 0:
        return bytes([major << 5 | argument])
    return bytes([major << 5 | 23 + width.bit_length()]) + argument.to_bytes(width, "big")


def write_cbor(rng: Random, value: Any, sloppy_of: int) -> bytes:
    """CBOR of a value; one head in `sloppy_of` is of any form that can hold its argument."""
    out = bytearray()
    stack = [value]
    while stack:
        item = stack.pop()
        sloppy = rng.randrange(sloppy_of) == 0
        if type(item) is int and 0 <= item < 2**64:
            out += _head(rng, 0, item, sloppy)
        elif type(item) is bytes:
            out += _head(rng, 2, len(item), sloppy) + item
        elif type(item) is list:
            out += _head(rng, 4, len(item), sloppy)
            stack.extend(reversed(item))
        else:
            out += cbor2.dumps(item)
    return bytes(out)


def _odd_value(rng: Random, like: Any) -> Any:
    kind = rng.randrange(7)
    if kind == 0:
        return rng.choice(_EDGES)
    if kind == 1:
        return rng.randbytes(rng.choice(_SIZES))
    if kind == 2:
        return rng.choice((None, True, False, 1.5, -1, {}, {1: 2}, "", "text", "ñ", 2**70, cbor2.CBORTag(1, 0)))
    if kind == 3:
        return rng.choice(([], [[]], [0], [b""], [like, like]))
    if kind == 4 and type(like) is int:
        return max(0, like + rng.choice((-1, 1)))
    if kind == 5 and type(like) is bytes and like:
        return like[:-1] if rng.randrange(2) else like + b"\0"
    nested = like
    for _ in range(rng.choice((1, 2, 14, 15, 16, 17, 40, 600))):
        nested = [nested]
    return nested


def _places(value: Any) -> list[tuple[Any, Any]]:
    """(container, key or index) of everything inside a value."""
    found: list[tuple[Any, Any]] = []
    stack = [value]
    while stack:
        container = stack.pop()
        inside = range(len(container)) if isinstance(container, list) else list(container)
        for index in inside:
            found.append((container, index))
            if isinstance(container[index], list | dict):
                stack.append(container[index])
    return found


def mutate_cbor(rng: Random, encoded: bytes, corpus: Sequence[bytes]) -> bytes:
    """One change of a CBOR seed's value, or of the forms in which it is written."""
    root = [cbor2.loads(encoded)]
    container, index = rng.choice(_places(root))
    kind = rng.randrange(5)
    if kind == 0:
        container[index] = _odd_value(rng, container[index])
    elif kind == 1 and container is not root:
        del container[index]
    elif kind == 2 and container is not root:
        container.insert(index + rng.randrange(2), rng.choice((container[index], 0, b"", [], rng.choice(_EDGES))))
    elif kind == 3:
        other = [cbor2.loads(rng.choice(corpus))]
        donor, place = rng.choice(_places(other))
        container[index] = donor[place]
    else:
        return write_cbor(rng, root[0], rng.choice((1, 4, 16)))
    return write_cbor(rng, root[0], 10**6)


class _Pairs(dict[Any, Any]):
    """An object whose key `doubled` is written twice."""

    doubled: Any = None


def write_json(value: Any) -> str:
    """JSON of a value; of an object with a doubled key, that key twice."""
    if isinstance(value, dict):
        pairs = [f"{json.dumps(key)}:{write_json(inner)}" for key, inner in value.items()]
        if isinstance(value, _Pairs) and value.doubled in value:
            pairs.append(f"{json.dumps(value.doubled)}:{write_json(value[value.doubled])}")
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write_json, value)) + "]"
    return json.dumps(value)


def _odd_json(rng: Random, like: Any) -> Any:
    kind = rng.randrange(5)
    if kind == 0:
        return rng.choice((*_EDGES, -1, 2**64, 10**30, 1.0, 1e300, float("inf"), float("nan"), True, False, None))
    if kind == 1:
        return rng.choice(("", "0", "00", "FF", " 00", "0x00", "zz", "\ud800", "\0", "1" * 160, "0" * 161))
    if kind == 2 and isinstance(like, str):
        return rng.choice((like.upper(), like + "00", like[2:], like + " ", like[:-1] + "g", list(like[:2])))
    if kind == 3:
        return rng.choice(([], {}, [like], {"": like}, [like] * 400, {"id": like}))
    return rng.randbytes(rng.choice(_SIZES)).hex()


def mutate_json(rng: Random, encoded: bytes, corpus: Sequence[bytes]) -> bytes:
    """One change of a JSON seed's value, or a key of it doubled."""
    root = [json.loads(encoded, object_hook=_Pairs)]
    container, index = rng.choice(_places(root))
    kind = rng.randrange(6)
    if kind == 0:
        container[index] = _odd_json(rng, container[index])
    elif kind == 1 and container is not root:
        del container[index]
    elif kind == 2 and isinstance(container, _Pairs):
        container.doubled = index
    elif kind == 3 and isinstance(container, _Pairs):
        names = ("id", "absent", "leaf", "checkpoint", "branch", "group", "pulse", "", "\ud800")
        container[rng.choice(names)] = rng.choice((container[index], None))
    elif kind == 4:
        other = [json.loads(rng.choice(corpus), object_hook=_Pairs)]
        donor, place = rng.choice(_places(other))
        container[index] = donor[place]
    elif isinstance(container, list):
        container.insert(index, container[index])
    return write_json(root[0]).encode()
