"""Keys, account ids, and the domain-separated hashes and signatures (docs/protocol.md, sections 1 and 2).

Decides nothing about who may do what. Never holds a secret longer than its caller does; never reads randomness.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from leither_lite.errors import RemoteError
from leither_lite.limits import ID_BYTES, KEY_BYTES, SEED_BYTES, SIGNATURE_BYTES

IDS_MAX: Final = 1_024
"""So many keys' ids are remembered: 260 KB at most."""


def person(tag: str) -> bytes:
    """The BLAKE2b `person` field of a tag such as "leaf": 16 bytes, zero-padded."""
    text = b"leither." + tag.encode("ascii")
    if len(text) > 16:
        raise ValueError(f"tag too long: {tag}")
    return text.ljust(16, b"\0")


@cache
def _prepared(tag: str, size: int) -> hashlib.blake2b:
    """A hash object to copy, which costs a quarter of making one. Tags come from our code: there are a few dozen."""
    return hashlib.blake2b(digest_size=size, person=person(tag))


def h20(tag: str, data: bytes) -> bytes:
    """H20(tag, data): BLAKE2b of 20 bytes under the tag's domain."""
    hasher = _prepared(tag, 20).copy()
    hasher.update(data)
    return hasher.digest()


def h32(tag: str, data: bytes) -> bytes:
    """H32(tag, data): BLAKE2b of 32 bytes under the tag's domain."""
    hasher = _prepared(tag, 32).copy()
    hasher.update(data)
    return hasher.digest()


@lru_cache(IDS_MAX)
def account_id(public_key: bytes) -> bytes:
    """The 20-byte id of a 32-byte public key: SHA-1, the BEP 44 target of the key's record."""
    return hashlib.sha1(public_key, usedforsecurity=False).digest()


def signed_digest(tag: str, network: bytes, content: bytes) -> bytes:
    """What is signed of every object but a seal: H32("leither.<tag>", network[20] || CBOR)."""
    return h32(tag, network + content)


def seal_message(header_digest: bytes) -> bytes:
    """What a roster member signs of a header: H32("leither.seal", digest)."""
    return h32("seal", header_digest)


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """True if libsodium accepts the Ed25519 `signature` (64 bytes) of `message` under `public_key` (32 bytes)."""
    if len(signature) != SIGNATURE_BYTES or len(public_key) != KEY_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except CryptoError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Key:
    """An Ed25519 key pair. `secret` is libsodium's form (seed || public key); it never shows in a repr."""

    public: bytes
    account: bytes
    _secret: bytes

    @classmethod
    def from_seed(cls, seed: bytes) -> Key:
        """The key of a 32-byte seed."""
        if len(seed) != SEED_BYTES:
            raise ValueError("a seed has 32 bytes")
        public, secret = bindings.crypto_sign_seed_keypair(seed)
        return cls(public, account_id(public), secret)

    @property
    def seed(self) -> bytes:
        """The 32-byte seed: what is written to a key file."""
        return self._secret[:SEED_BYTES]

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `message`."""
        return bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]

    def derive(self, index: int) -> Key:
        """The key of this node's further account number `index` (1 and up): whoever has this key has them all.

        The seed is BLAKE2b-256 keyed with this key's seed, person "leither.derive", over the index as u64.
        """
        if not 0 < index < 2**32:
            raise ValueError("the index of a derived key is 1 to 2^32-1")
        seed = hashlib.blake2b(
            index.to_bytes(8, "big"), digest_size=32, key=self.seed, person=person("derive")
        ).digest()
        return Key.from_seed(seed)

    def __repr__(self) -> str:
        return f"Key({self.public.hex()})"


_HEX: Final = frozenset("0123456789abcdef")


def from_hex(text: object, size: int | None = None) -> bytes:
    """Bytes of lower-case hex without blanks. Raises RemoteError("bad_hex") on anything else, or another size."""
    if not isinstance(text, str) or len(text) % 2 or not _HEX.issuperset(text):
        raise RemoteError("bad_hex", "lower-case hex without blanks is expected")
    if size is not None and len(text) != 2 * size:
        raise RemoteError("bad_hex", f"{size} bytes are expected")
    return bytes.fromhex(text)


def parse_account(text: object) -> bytes:
    """An account id from its 40 hex digits. Raises RemoteError("bad_hex")."""
    return from_hex(text, ID_BYTES)
