"""Signature checks, each done once for all simulated machines: they would be the same in every one of them.

Decides nothing: whatever was not checked or signed here before goes to libsodium. Never takes a signature for good
that libsodium has not made or accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from nacl import bindings
from nacl.exceptions import BadSignatureError

from leither_lite import identity

REMEMBERED_MAX: Final = 200_000
_SIGNATURE_BYTES: Final = 64
_SEED_BYTES: Final = 32


class Checked:
    """What `identity` uses of libsodium, with a memory."""

    def __init__(self) -> None:
        self._good: dict[tuple[bytes, bytes], bool] = {}

    def _remember(self, signed: bytes, public_key: bytes, good: bool) -> None:
        if len(self._good) >= REMEMBERED_MAX:
            self._good.clear()
        self._good[signed, public_key] = good

    def crypto_sign_open(self, signed: bytes, public_key: bytes) -> bytes:
        """The message of a signed message. Raises BadSignatureError."""
        good = self._good.get((signed, public_key))
        if good is None:
            try:
                bindings.crypto_sign_open(signed, public_key)
                good = True
            except BadSignatureError:
                good = False
            self._remember(signed, public_key, good)
        if not good:
            raise BadSignatureError("it was not good the first time")
        return signed[_SIGNATURE_BYTES:]

    def crypto_sign(self, message: bytes, secret: bytes) -> bytes:
        """A signed message."""
        signed = bindings.crypto_sign(message, secret)
        self._remember(signed, secret[_SEED_BYTES:], True)
        return signed

    @staticmethod
    def crypto_sign_seed_keypair(seed: bytes) -> tuple[bytes, bytes]:
        """A key pair."""
        return bindings.crypto_sign_seed_keypair(seed)


@contextmanager
def checked_once() -> Iterator[None]:
    """While this lasts, no signature is checked twice in this process."""
    names = vars(identity)
    before = names["bindings"]
    names["bindings"] = Checked()
    try:
        yield
    finally:
        names["bindings"] = before
