"""Keys, ids, tagged hashes, hex."""

from __future__ import annotations

import hashlib
from typing import Final

import pytest

from leither_lite import identity
from leither_lite.errors import RemoteError
from leither_lite.identity import Key
from tests.vectors.ledger import NETWORK, TRUST

# RFC 8032, section 7.1, test 1.
RFC_SEED: Final = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC_PUBLIC: Final = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
RFC_SIGNATURE: Final = bytes.fromhex(
    "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24"
    "655141438e7a100b"
)
ORDER: Final = 2**252 + 27742317777372353535851937790883648493


def test_key_is_rfc_8032() -> None:
    """Public key and signature of the published vector."""
    key = Key.from_seed(RFC_SEED)
    assert key.public == RFC_PUBLIC
    assert key.seed == RFC_SEED
    assert key.sign(b"") == RFC_SIGNATURE
    assert identity.verify(key.public, RFC_SIGNATURE, b"")


def test_verify_refuses_every_flipped_bit() -> None:
    """Of key, signature and message."""
    parts = [RFC_PUBLIC, Key.from_seed(RFC_SEED).sign(b"message"), b"message"]
    assert identity.verify(parts[0], parts[1], parts[2])
    for index, part in enumerate(parts):
        for place in range(8 * len(part)):
            flipped = (int.from_bytes(part, "big") ^ 1 << place).to_bytes(len(part), "big")
            changed = [*parts[:index], flipped, *parts[index + 1 :]]
            assert not identity.verify(changed[0], changed[1], changed[2])


def test_verify_refuses_what_is_no_signature() -> None:
    """Other sizes, the second form of a scalar, a key of small order that would sign anything."""
    assert not identity.verify(RFC_PUBLIC, RFC_SIGNATURE + b"\0", b"")
    assert not identity.verify(RFC_PUBLIC[:-1], RFC_SIGNATURE, b"")
    assert not identity.verify(RFC_PUBLIC, b"", RFC_SIGNATURE)
    scalar = int.from_bytes(RFC_SIGNATURE[32:], "little") + ORDER
    assert not identity.verify(RFC_PUBLIC, RFC_SIGNATURE[:32] + scalar.to_bytes(32, "little"), b"")
    neutral = b"\x01" + bytes(31)
    assert not identity.verify(neutral, neutral + bytes(32), b"any message")


def test_account_id() -> None:
    """SHA-1 of the public key; an organization's is the network id."""
    assert identity.account_id(TRUST.organization_key) == NETWORK
    assert identity.account_id(RFC_PUBLIC) == hashlib.sha1(RFC_PUBLIC).digest() == Key.from_seed(RFC_SEED).account


def test_tagged_hashes() -> None:
    """The tag is BLAKE2b's person, zero-padded to 16 bytes."""
    person = b"leither.leaf\0\0\0\0"
    assert identity.person("leaf") == person
    assert identity.h20("leaf", b"x") == hashlib.blake2b(b"x", digest_size=20, person=person).digest()
    assert identity.h32("leaf", b"x") == hashlib.blake2b(b"x", digest_size=32, person=person).digest()
    assert identity.signed_digest("check", NETWORK, b"x") == identity.h32("check", NETWORK + b"x")
    assert identity.seal_message(bytes(32)) == identity.h32("seal", bytes(32))
    assert len(identity.person("manifest")) == 16
    with pytest.raises(ValueError, match="tag too long"):
        identity.person("manifests")


def test_derived_keys() -> None:
    """One key for each index, the same every time, none of them the first."""
    key = Key.from_seed(RFC_SEED)
    derived = [key.derive(index) for index in (1, 2, 2**32 - 1)]
    assert len({key.public, *(other.public for other in derived)}) == 4
    assert key.derive(1) == derived[0]
    expected = hashlib.blake2b(bytes(7) + b"\1", digest_size=32, key=RFC_SEED, person=b"leither.derive\0\0").digest()
    assert derived[0].seed == expected
    for index in (0, 2**32):
        with pytest.raises(ValueError, match="index of a derived key"):
            key.derive(index)
    with pytest.raises(ValueError, match="32 bytes"):
        Key.from_seed(bytes(31))


def test_a_key_does_not_show_its_secret() -> None:
    """Neither alone nor in what holds it."""
    key = Key.from_seed(RFC_SEED)
    assert RFC_SEED.hex() not in f"{key} {key!r} {[key]}"
    assert repr(RFC_SEED) not in f"{key!r}"


def test_from_hex() -> None:
    """Lower case, whole bytes, no blanks, the right size."""
    assert identity.from_hex("00ff") == b"\x00\xff"
    assert identity.from_hex("") == b""
    assert identity.parse_account("ab" * 20) == b"\xab" * 20
    for wrong in ("0", "FF", " 00 ", "00 ff", "0x00", "٠٠", "zz", b"00", 7, None):
        with pytest.raises(RemoteError, match="^bad_hex"):
            identity.from_hex(wrong)
    for short in ("00" * 19, "00" * 21):
        with pytest.raises(RemoteError, match="^bad_hex: 20 bytes"):
            identity.parse_account(short)
