"""How many signatures are checked and made, and how much is hashed, while something runs.

Counts where `identity` and the tree call libsodium and BLAKE2b, which answer as always. Decides nothing. Not counted:
SHA-1 of keys, which is remembered, and the hash that is a part of every signature check.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any, Final

from nacl import bindings

from leither_lite import identity
from leither_lite.tree import branches, node, proof, shown, strata

BLOCK_BYTES: Final = 128
"""BLAKE2b takes so many bytes at a time: what it costs goes by these, at least one for each hash."""


class Tally:
    """Counts since it began. `checked`, `signed`: signatures; `hashes`: digests of BLAKE2b, of `blocks` in all."""

    __slots__ = ("blocks", "checked", "hashes", "signed")

    def __init__(self) -> None:
        self.checked = self.signed = self.hashes = self.blocks = 0

    def now(self) -> tuple[int, int, int, int]:
        """checked, signed, hashes, blocks."""
        return self.checked, self.signed, self.hashes, self.blocks


class Work:
    """What one member of a committee does: the counts of a tally, the bytes that it sends and stores, and the
    nanoseconds that it took here. `what` has the checks by their reason."""

    def __init__(self) -> None:
        self.checked = self.signed = self.hashes = self.blocks = 0
        self.sent = self.received = self.stored = self.spent_ns = 0
        self.what: dict[str, int] = {}

    @contextmanager
    def doing(self, tally: Tally, what: str) -> Iterator[None]:
        """While this lasts, what is counted is this member's, for this reason."""
        before, start_ns = tally.now(), perf_counter_ns()
        try:
            yield
        finally:
            self.spent_ns += perf_counter_ns() - start_ns
            checked, signed, hashes, blocks = (new - old for new, old in zip(tally.now(), before, strict=True))
            self.checked += checked
            self.signed += signed
            self.hashes += hashes
            self.blocks += blocks
            self.what[what] = self.what.get(what, 0) + checked


class _Hasher:
    """A hash object that is counted when it is asked for its digest."""

    __slots__ = ("_bytes", "_hasher", "_tally")

    def __init__(self, hasher: Any, tally: Tally, size: int) -> None:
        self._hasher, self._tally, self._bytes = hasher, tally, size

    def copy(self) -> _Hasher:
        """Another one that goes on from here."""
        return _Hasher(self._hasher.copy(), self._tally, self._bytes)

    def update(self, content: bytes) -> None:
        """Take more in."""
        self._bytes += len(content)
        self._hasher.update(content)

    def digest(self) -> bytes:
        """The digest."""
        self._tally.hashes += 1
        self._tally.blocks += max(1, -(-self._bytes // BLOCK_BYTES))
        found: bytes = self._hasher.digest()
        return found


class _Signatures:
    """What `identity` uses of libsodium, counted."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def crypto_sign_open(self, signed: bytes, public_key: bytes) -> bytes:
        """The message of a signed message. Raises BadSignatureError."""
        self._tally.checked += 1
        return bindings.crypto_sign_open(signed, public_key)

    def crypto_sign(self, message: bytes, secret: bytes) -> bytes:
        """A signed message."""
        self._tally.signed += 1
        return bindings.crypto_sign(message, secret)

    @staticmethod
    def crypto_sign_seed_keypair(seed: bytes) -> tuple[bytes, bytes]:
        """A key pair."""
        return bindings.crypto_sign_seed_keypair(seed)


class _Hashlib:
    """What `tree.node` uses of hashlib, counted."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def blake2b(self, content: bytes = b"", **options: Any) -> _Hasher:
        """A hash object that has taken `content`."""
        return _Hasher(hashlib.blake2b(content, **options), self._tally, len(content))


@contextmanager
def tallied() -> Iterator[Tally]:
    """While this lasts, everything that is checked, signed or hashed in this process is counted.

    Trees that were in memory before keep hashing uncounted: make them in here.
    """
    tally = Tally()
    prepared = vars(identity)["_prepared"]

    def counted(tag: str, size: int) -> _Hasher:
        return _Hasher(prepared(tag, size), tally, 0)

    depths = tuple(_Hasher(hasher, tally, 1) for hasher in node.BRANCH_HASHES)
    copies: tuple[Callable[[], _Hasher], ...] = tuple(hasher.copy for hasher in depths)
    replaced: list[tuple[dict[str, Any], str, Any]] = [
        (vars(identity), "bindings", _Signatures(tally)),
        (vars(identity), "_prepared", counted),
        (vars(node), "hashlib", _Hashlib(tally)),
        (vars(node), "LEAF_HASH", _Hasher(node.LEAF_HASH, tally, 0)),
        (vars(node), "RECORD_HASH", _Hasher(node.RECORD_HASH, tally, 0)),
        *((vars(module), "BRANCH_HASHES", depths) for module in (node, proof, shown)),
        *((vars(module), "BRANCH_COPIES", copies) for module in (branches, strata)),
    ]
    before = [(names, name, names[name]) for names, name, _ in replaced]
    for names, name, value in replaced:
        names[name] = value
    try:
        yield tally
    finally:
        for names, name, value in before:
            names[name] = value
