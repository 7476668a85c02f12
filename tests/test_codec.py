"""CBOR: what is taken, what is refused and why, and that each value has one encoding."""

from __future__ import annotations

import random
from enum import IntEnum
from typing import Any, Final

import cbor2
import pytest
from hypothesis import given, strategies as st

from leither_lite import codec
from leither_lite.errors import RemoteError
from leither_lite.limits import CBOR_DEPTH_MAX, UINT_MAX
from tests.vectors.ledger import VECTORS

REFUSED: Final = {
    "tag": "cbor_tag",
    "float": "cbor_float",
    "negative": "cbor_negative",
    "map": "cbor_map",
    "indefinite array": "cbor_indefinite",
    "indefinite bytes": "cbor_indefinite",
    "long form of a short integer": "cbor_long_form",
    "long length": "cbor_long_form",
    "trailing byte": "cbor_trailing",
    "break alone": "cbor_indefinite",
    "truncated": "cbor_truncated",
    "bignum": "cbor_tag",
    "simple value": "cbor_simple",
    "undefined": "cbor_simple",
    "text that is not UTF-8": "cbor_text",
    "seventeen nested arrays": "cbor_deep",
    "deep": "cbor_deep",
    "null": "cbor_simple",
    "true": "cbor_simple",
    "array head without its items": "cbor_truncated",
    "bytes head without its bytes": "cbor_truncated",
    "nothing": "cbor_truncated",
}

values = st.recursive(
    st.integers(0, UINT_MAX) | st.integers(0, 2**16) | st.binary(max_size=300) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=30),
    max_leaves=40,
)


def reason_of(encoded: bytes) -> str:
    """Why the scan refuses `encoded`: "" if it does not."""
    try:
        codec.scan(encoded)
    except RemoteError as error:
        return error.reason
    return ""


def is_ours(value: object, depth: int = 0) -> bool:
    """True for the four kinds, arrays nested 16 deep at most: slow and obvious."""
    if type(value) is list:
        return depth < CBOR_DEPTH_MAX and all(is_ours(item, depth + 1) for item in value)
    return type(value) in (bytes, str) or (type(value) is int and 0 <= value <= UINT_MAX)


def is_taken_by_reference(encoded: bytes) -> bool:
    """What the scan must say, without a scan: the library reads a value of ours and writes the same bytes."""
    try:
        value = cbor2.loads(encoded)
    except Exception:  # whatever the library makes of bytes that nobody has scanned
        return False
    return is_ours(value) and cbor2.dumps(value) == encoded


@pytest.mark.parametrize("name", VECTORS["refused_cbor"])
def test_vectors_refused(name: str) -> None:
    """Each for its own reason, by the scan and so by the decoder."""
    encoded = bytes.fromhex(VECTORS["refused_cbor"][name])
    assert reason_of(encoded) == REFUSED[name]
    with pytest.raises(RemoteError, match=REFUSED[name]):
        codec.decode(encoded)


@pytest.mark.parametrize("name", VECTORS["taken_cbor"])
def test_vectors_taken(name: str) -> None:
    """Taken, and written again as they were."""
    encoded = bytes.fromhex(VECTORS["taken_cbor"][name])
    assert codec.encode(codec.decode(encoded)) == encoded


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        *[("1817", "cbor_long_form"), ("1900ff", "cbor_long_form"), ("1a0000ffff", "cbor_long_form")],
        *[("1b00000000ffffffff", "cbor_long_form"), ("5817" + "00" * 23, "cbor_long_form")],
        *[("5900ff" + "00" * 255, "cbor_long_form"), ("7817" + "61" * 23, "cbor_long_form")],
        *[("18", "cbor_truncated"), ("19ff", "cbor_truncated"), ("1bffffffffffffff", "cbor_truncated")],
        *[("58", "cbor_truncated"), ("4201", "cbor_truncated"), ("581800", "cbor_truncated")],
        *[("6261", "cbor_truncated"), ("8142ff", "cbor_truncated"), ("8201581841", "cbor_truncated")],
        *[("1c", "cbor_reserved"), ("1f", "cbor_reserved"), ("5e", "cbor_reserved"), ("9d", "cbor_reserved")],
        *[("7f6161ff", "cbor_indefinite"), ("3bffffffffffffffff", "cbor_negative"), ("bf", "cbor_map")],
        *[("fa00000000", "cbor_float"), ("fb" + "00" * 8, "cbor_float"), ("f4", "cbor_simple"), ("e0", "cbor_simple")],
        *[("63eda080", "cbor_text"), ("62c080", "cbor_text"), ("0000", "cbor_trailing"), ("414100", "cbor_trailing")],
        ("82" + "81" * 15 + "80" + "81" * 16 + "80", "cbor_deep"),
    ],
)
def test_refused(encoded: str, reason: str) -> None:
    """The edges of each rule."""
    assert reason_of(bytes.fromhex(encoded)) == reason


def test_depth_counts_nesting_alone() -> None:
    """Arrays beside each other are no deeper than one."""
    deepest = "81" * 14 + "80"
    assert reason_of(bytes.fromhex("84" + deepest * 3 + "00")) == ""


def test_all_short_inputs() -> None:
    """Every input of one and two bytes, as the reference says."""
    inputs = [bytes([one]) for one in range(256)] + [bytes([one, two]) for one in range(256) for two in range(256)]
    assert [encoded.hex() for encoded in inputs if (not reason_of(encoded)) != is_taken_by_reference(encoded)] == []


def test_mutated_inputs() -> None:
    """Encodings with a byte or two changed, as the reference says, and both verdicts occur."""
    seed = 20_260_101
    rng = random.Random(seed)
    taken = 0
    for _ in range(5_000):
        content: list[Any] = [rng.randbytes(rng.randrange(40)), rng.randrange(2 ** rng.randrange(1, 64)), "añ", [[], 7]]
        encoded = bytearray(codec.encode(rng.sample(content, rng.randrange(5))))
        for _ in range(rng.randrange(1, 3)):
            encoded[rng.randrange(len(encoded))] = rng.randrange(256)
        verdict = not reason_of(bytes(encoded))
        taken += verdict
        assert verdict == is_taken_by_reference(bytes(encoded)), f"seed {seed}: {encoded.hex()}"
    assert 500 < taken < 4_500


@given(values)
def test_decode_undoes_encode(value: codec.Value) -> None:
    """Every value of ours comes back, or is refused on both sides as too deep."""
    if is_ours(value):
        encoded = codec.encode(value)
        assert codec.decode(encoded) == value
        assert encoded == cbor2.dumps(value)
    else:
        with pytest.raises(ValueError, match="nested deeper"):
            codec.encode(value)


class Role(IntEnum):
    """An integer that is more than one."""

    GUEST = 0


@pytest.mark.parametrize(
    "value", [True, None, 1.0, {}, (), (1,), bytearray(b"x"), memoryview(b"x"), Role.GUEST, [1, False], [[None]], [{}]]
)
def test_encode_refuses_other_kinds(value: Any) -> None:
    """Our own fault, at once."""
    with pytest.raises(TypeError, match="has no encoding here"):
        codec.encode(value)


@pytest.mark.parametrize("value", [-1, 2**64, [-1], [2**64], [[2**64]], "\ud800", ["\udfff"]])
def test_encode_refuses_other_ranges(value: Any) -> None:
    """Integers outside u64, text without UTF-8."""
    with pytest.raises(ValueError, match=r"outside 0 to|surrogates not allowed"):
        codec.encode(value)


def test_encode_refuses_depth() -> None:
    """Sixteen nested arrays are written, the seventeenth is not, nor an array within itself."""
    value: codec.Value = []
    for _ in range(CBOR_DEPTH_MAX - 1):
        value = [value]
    assert codec.decode(codec.encode(value)) == value
    with pytest.raises(ValueError, match="nested deeper"):
        codec.encode([value])
    endless: list[codec.Value] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested deeper"):
        codec.encode(endless)


def test_library_refusal_is_remote(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the library refuse what the scan took, it is still the sender's fault."""

    def refuse(encoded: bytes) -> object:
        raise cbor2.CBORDecodeError("no")

    monkeypatch.setattr(cbor2, "loads", refuse)
    with pytest.raises(RemoteError, match="cbor_refused"):
        codec.decode(b"\x00")


@pytest.mark.parametrize(
    ("call", "taken"),
    [
        (lambda: codec.fields([1, 2], 2, "why"), True),
        (lambda: codec.fields([1, 2], 3, "why"), False),
        (lambda: codec.fields(b"ab", 2, "why"), False),
        (lambda: codec.items([1, 2], 2, "why"), True),
        (lambda: codec.items([1, 2], 1, "why"), False),
        (lambda: codec.items("a", 1, "why"), False),
        (lambda: codec.uint(7, 7, "why"), True),
        (lambda: codec.uint(8, 7, "why"), False),
        (lambda: codec.uint(-1, 7, "why"), False),
        (lambda: codec.uint(True, 7, "why"), False),
        (lambda: codec.uint(b"", 7, "why"), False),
        (lambda: codec.octets(b"ab", 2, "why"), True),
        (lambda: codec.octets(b"abc", 2, "why"), False),
        (lambda: codec.octets("ab", 2, "why"), False),
        (lambda: codec.octets_upto(b"ab", 2, "why"), True),
        (lambda: codec.octets_upto(b"abc", 2, "why"), False),
        (lambda: codec.octets_upto([], 2, "why"), False),
        (lambda: codec.text("ñ", 2, "why"), True),
        (lambda: codec.text("ñ", 1, "why"), False),
        (lambda: codec.text(b"a", 2, "why"), False),
    ],
)
def test_field_checks(call: Any, taken: bool) -> None:
    """Kind and size; a refusal carries the caller's reason."""
    if taken:
        call()
    else:
        with pytest.raises(RemoteError, match="^why: "):
            call()
