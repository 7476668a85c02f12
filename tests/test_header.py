"""Headers, rosters, seals, checkpoints: each thing that is wrong with one has its own reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from leither_lite import codec, header
from leither_lite.errors import RemoteError
from leither_lite.header import Checkpoint, Header, Seal
from leither_lite.identity import Key, h32
from leither_lite.limits import ID_BITS, SUM_MAX, UINT_MAX

KEYS: Final = tuple(Key.from_seed(bytes([number]) * 32) for number in range(1, 9))
PUBLIC: Final = tuple(key.public for key in KEYS)
NETWORK: Final = KEYS[0].account
EXAMPLE: Final = Header(NETWORK, 1, 0, bytes(20), 2, 3, 4, bytes(32), bytes(36), b"\1" * 32, b"\2" * 32)

u64 = st.integers(0, UINT_MAX)
digest = st.binary(min_size=32, max_size=32)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    """Any header that can be."""
    bits = draw(st.integers(0, ID_BITS))
    prefix = draw(st.integers(0, 2**bits - 1)) << (ID_BITS - bits)
    total = draw(st.integers(0, SUM_MAX))
    node = draw(u64).to_bytes(8, "big") + total.to_bytes(8, "big") + draw(st.binary(min_size=20, max_size=20))
    return Header(
        draw(st.binary(min_size=20, max_size=20)),
        draw(st.integers(1, 255)),
        bits,
        prefix.to_bytes(20, "big"),
        draw(u64),
        draw(u64),
        draw(u64),
        draw(digest),
        node,
        draw(digest),
        draw(digest),
    )


@given(headers())
def test_header_round_trip(made: Header) -> None:
    """Every header comes back, and none is longer than the bound on its bytes."""
    encoded = made.encode()
    assert Header.decode(encoded) == made
    assert len(encoded) <= header.HEADER_BYTES_MAX


def test_longest_header() -> None:
    """The bound on a header's bytes is met."""
    longest = replace(EXAMPLE, level=255, bits=160, term=UINT_MAX, pulse=UINT_MAX, tick=UINT_MAX)
    assert len(longest.encode()) == header.HEADER_BYTES_MAX


def with_field(index: int, value: codec.Value) -> bytes:
    """The example's CBOR with one field replaced."""
    fields = codec.decode(EXAMPLE.encode())
    assert isinstance(fields, list)
    return codec.encode([*fields[:index], value, *fields[index + 1 :]])


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (with_field(0, 2), "header_version"),
        (with_field(0, 0), "header_version"),
        (codec.encode([2]), "header_version"),
        (with_field(0, b"\1"), "header_fields"),
        (with_field(1, bytes(19)), "header_fields"),
        (with_field(2, 0), "header_fields"),
        (with_field(2, 256), "header_fields"),
        (with_field(3, 161), "header_fields"),
        (with_field(4, bytes(21)), "header_fields"),
        (with_field(4, bytes(19) + b"\1"), "header_prefix"),
        (with_field(5, b""), "header_fields"),
        (with_field(6, "3"), "header_fields"),
        (with_field(7, []), "header_fields"),
        (with_field(8, bytes(31)), "header_fields"),
        (with_field(9, bytes(35)), "header_fields"),
        (with_field(9, bytes(8) + (SUM_MAX + 1).to_bytes(8, "big") + bytes(20)), "header_sum"),
        (with_field(10, bytes(33)), "header_fields"),
        (with_field(11, 0), "header_fields"),
        (with_field(12, 0), "header_fields"),
        (codec.encode([1]), "header_fields"),
        (codec.encode([]), "header_fields"),
        (codec.encode(1), "header_fields"),
        (EXAMPLE.encode() + b"\0", "cbor_trailing"),
        (EXAMPLE.encode()[:-1], "cbor_truncated"),
        (b"", "cbor_truncated"),
    ],
)
def test_header_refused(encoded: bytes, reason: str) -> None:
    """Version, number, kinds, sizes and ranges of the fields."""
    with pytest.raises(RemoteError, match=f"^{reason}"):
        Header.decode(encoded)


def test_prefix_is_zero_beyond_its_bits() -> None:
    """At every length: the bit after the last may not be set, the last one may."""
    for bits in range(ID_BITS):
        beyond = (1 << (ID_BITS - 1 - bits)).to_bytes(20, "big")
        with pytest.raises(RemoteError, match="^header_prefix"):
            Header.decode(replace(EXAMPLE, bits=bits, prefix=beyond).encode())
        assert Header.decode(replace(EXAMPLE, bits=bits + 1, prefix=beyond).encode()).prefix == beyond


def test_digests_are_tagged() -> None:
    """Each kind under its own tag."""
    assert header.header_digest(b"x") == h32("header", b"x")
    assert header.segment_digest(b"x") == h32("segment", b"x")
    assert header.roster_digest(b"x") == h32("roster", b"x")
    assert header.state_digest(b"x") == h32("state", b"x")
    entry = (bytes(32), bytes(36), b"\1" * 32)
    assert header.body_digest([entry]) == h32("body", codec.encode([list(entry)]))
    assert header.body_digest([]) == h32("body", b"\x80")


@pytest.mark.parametrize("size", [1, 3, 4, 7])
def test_roster_round_trip(size: int) -> None:
    """The sizes that a roster may have, in the order given."""
    keys = PUBLIC[:size][::-1]
    encoded = header.encode_roster(keys)
    assert header.decode_roster(encoded) == keys
    assert len(encoded) <= header.ROSTER_BYTES_MAX


def test_roster_of_nobody() -> None:
    """Only where it is allowed."""
    assert header.encode_roster([]) == b"\x80"
    assert header.decode_roster(b"\x80", empty_allowed=True) == ()
    with pytest.raises(RemoteError, match="^roster_size"):
        header.decode_roster(b"\x80")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (list(PUBLIC[:2]), "roster_size"),
        (list(PUBLIC[:5]), "roster_size"),
        (list(PUBLIC[:6]), "roster_size"),
        (list(PUBLIC[:8]), "roster_size"),
        ([PUBLIC[0], PUBLIC[1], PUBLIC[0]], "roster_doubled_key"),
        ([bytes(31)], "roster_fields"),
        ([7], "roster_fields"),
        (b"", "roster_size"),
    ],
)
def test_roster_refused(value: Any, reason: str) -> None:
    """By reader and, of our own making, by writer."""
    with pytest.raises(RemoteError, match=f"^{reason}"):
        header.decode_roster(codec.encode(value), empty_allowed=True)
    if isinstance(value, list) and all(isinstance(key, bytes) for key in value):
        with pytest.raises(ValueError, match="a roster has"):
            header.encode_roster(value)


def sealed(signers: tuple[Key, ...]) -> Seal:
    """The example under these keys' signatures."""
    encoded = EXAMPLE.encode()
    return Seal(encoded, tuple((key.public, header.sign_seal(key, encoded)) for key in signers))


@pytest.mark.parametrize(("size", "quorum"), [(1, 1), (3, 2), (4, 3), (7, 5)])
def test_quorums(size: int, quorum: int) -> None:
    """A quorum and more is a seal, in any order; one fewer is not."""
    for count in range(quorum, size + 1):
        seal = sealed(KEYS[:size][-count:][::-1])
        seal.check(PUBLIC[:size])
        assert Seal.decode(seal.encode()) == seal
    with pytest.raises(RemoteError, match="^no_quorum"):
        sealed(KEYS[: quorum - 1]).check(PUBLIC[:size])


def test_seal_refused() -> None:
    """Whoever signs without being asked, twice, or something else spoils the seal, quorum or not."""
    good = sealed(KEYS[:3])
    roster = PUBLIC[:4]
    good.check(roster)
    with pytest.raises(RemoteError, match="^not_on_roster"):
        sealed((*KEYS[:3], KEYS[4])).check(roster)
    with pytest.raises(RemoteError, match="^doubled_signer"):
        sealed((*KEYS[:3], KEYS[0])).check(roster)
    with pytest.raises(RemoteError, match="^bad_signature"):
        Seal(good.header, (*good.signatures, (PUBLIC[3], bytes(64)))).check(roster)
    with pytest.raises(RemoteError, match="^bad_signature"):
        Seal(replace(EXAMPLE, pulse=9).encode(), good.signatures).check(roster)
    with pytest.raises(RemoteError, match="^bad_signature"):
        Seal(good.header, ((PUBLIC[0], good.signatures[1][1]), *good.signatures[1:])).check(roster)
    with pytest.raises(RemoteError, match="^roster_size"):
        good.check(PUBLIC[:5])
    with pytest.raises(RemoteError, match="^roster_size"):
        Seal(good.header, ()).check(())


def test_cheap_checks_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """No signature is verified of a seal that cannot be one."""

    def verify(*_: bytes) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(header, "verify", verify)
    for signers, reason in ((KEYS[:2], "no_quorum"), (KEYS[:5], "not_on_roster"), ((KEYS[0],) * 4, "doubled_signer")):
        with pytest.raises(RemoteError, match=f"^{reason}"):
            sealed(signers).check(PUBLIC[:4])


@pytest.mark.parametrize(
    "value",
    [
        [b""],
        [b"", [], []],
        [[], []],
        [b"", [[PUBLIC[0]]]],
        [b"", [[PUBLIC[0], bytes(63)]]],
        [b"", [[bytes(31), bytes(64)]]],
        [b"", [[PUBLIC[0], bytes(64)]] * 8],
    ],
)
def test_seal_form_refused(value: Any) -> None:
    """Number, kinds and sizes."""
    with pytest.raises(RemoteError, match="^seal_fields"):
        Seal.decode(codec.encode(value))


def test_checkpoint() -> None:
    """Good for one network and one organization; every change of it shows."""
    roster = header.encode_roster(PUBLIC[:3])
    checkpoint = Checkpoint.sign(KEYS[0], NETWORK, 9, b"\7" * 32, roster)
    checkpoint.verify(NETWORK, PUBLIC[0])
    assert Checkpoint.decode(checkpoint.encode()) == checkpoint
    changed = [
        replace(checkpoint, pulse=10),
        replace(checkpoint, digest=bytes(32)),
        replace(checkpoint, roster=header.encode_roster(PUBLIC[:1])),
        replace(checkpoint, signature=bytes(64)),
    ]
    for wrong in changed:
        with pytest.raises(RemoteError, match="^checkpoint_signature"):
            wrong.verify(NETWORK, PUBLIC[0])
    with pytest.raises(RemoteError, match="^checkpoint_signature"):
        checkpoint.verify(KEYS[1].account, PUBLIC[0])
    with pytest.raises(RemoteError, match="^checkpoint_signature"):
        checkpoint.verify(NETWORK, PUBLIC[1])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([1, bytes(32), header.encode_roster(PUBLIC[:1])], "checkpoint_fields"),
        ([b"", bytes(32), header.encode_roster(PUBLIC[:1]), bytes(64)], "checkpoint_fields"),
        ([1, bytes(31), header.encode_roster(PUBLIC[:1]), bytes(64)], "checkpoint_fields"),
        ([1, bytes(32), [PUBLIC[0]], bytes(64)], "checkpoint_fields"),
        ([1, bytes(32), bytes(header.ROSTER_BYTES_MAX + 1), bytes(64)], "checkpoint_fields"),
        ([1, bytes(32), header.encode_roster(PUBLIC[:1]), bytes(65)], "checkpoint_fields"),
        ([1, bytes(32), b"\x80", bytes(64)], "roster_size"),
        ([1, bytes(32), b"", bytes(64)], "cbor_truncated"),
    ],
)
def test_checkpoint_form_refused(value: Any, reason: str) -> None:
    """Number, kinds and sizes, and a roster that is none."""
    with pytest.raises(RemoteError, match=f"^{reason}"):
        Checkpoint.decode(codec.encode(value))
