"""Noise_XX_25519_ChaChaPoly_BLAKE2b over libsodium's primitives (docs/protocol.md, section 9; Noise, revision 34).

Decides which bytes make a handshake and its two ciphers, and nothing else: who the other side is, is not known here.
Never reads randomness, never cuts a stream into messages, never sends the same nonce twice under one key.
"""

from __future__ import annotations

import hmac
from hashlib import blake2b
from typing import Final

from nacl import bindings
from nacl.exceptions import CryptoError

from leither_lite.errors import LocalError, RemoteError

NAME: Final = b"Noise_XX_25519_ChaChaPoly_BLAKE2b"
DH_BYTES: Final = 32
HASH_BYTES: Final = 64
TAG_BYTES: Final = 16
MESSAGE_BYTES_MAX: Final = 65_535
PLAINTEXT_BYTES_MAX: Final = MESSAGE_BYTES_MAX - TAG_BYTES

# A cipher ends here, far below the 2^64-1 at which Noise must.
MESSAGES_MAX: Final = 2**48

# The pattern XX: what stands in each message before its payload. The initiator writes the first and the third.
_PATTERN: Final = (("e",), ("e", "ee", "s", "es"), ("s", "se"))
# Sizes of these messages with an empty payload, in bytes.
HANDSHAKE_BYTES: Final = (DH_BYTES, 2 * DH_BYTES + 2 * TAG_BYTES, DH_BYTES + 2 * TAG_BYTES)

_encrypt: Final = bindings.crypto_aead_chacha20poly1305_ietf_encrypt
_decrypt: Final = bindings.crypto_aead_chacha20poly1305_ietf_decrypt


class Cipher:
    """One direction's CipherState: a key of 32 bytes and the number of messages so far, which is the nonce."""

    __slots__ = ("_key", "_sent")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._sent = 0

    def encrypt(self, plaintext: bytes, associated: bytes = b"") -> bytes:
        """The next message: 16 bytes longer than `plaintext`, of which there are at most 65,519.

        Raises LocalError: noise_exhausted after 2^48 messages, noise_length if the plaintext is too long.
        """
        if self._sent >= MESSAGES_MAX:
            raise LocalError("noise_exhausted", "this session has sent all it may; connect again")
        if len(plaintext) > PLAINTEXT_BYTES_MAX:
            raise LocalError("noise_length", f"a Noise message holds at most {PLAINTEXT_BYTES_MAX} bytes")
        # Four zero bytes, then the count as a little-endian u64.
        nonce = (self._sent << 32).to_bytes(12, "little")
        self._sent += 1
        return _encrypt(plaintext, associated, nonce, self._key)

    def decrypt(self, message: bytes, associated: bytes = b"") -> bytes:
        """The plaintext of the next message; after an error the count is what it was.

        Raises RemoteError: noise_decrypt if it is not the other side's next message, noise_length, noise_exhausted.
        """
        if self._sent >= MESSAGES_MAX:
            raise RemoteError("noise_exhausted", "the session is over its number of messages")
        if not TAG_BYTES <= len(message) <= MESSAGE_BYTES_MAX:
            raise RemoteError("noise_length", f"a Noise message of {len(message)} bytes")
        nonce = (self._sent << 32).to_bytes(12, "little")
        try:
            plaintext = _decrypt(message, associated, nonce, self._key)
        except CryptoError:
            raise RemoteError("noise_decrypt", f"message {self._sent} of this key") from None
        self._sent += 1
        return plaintext


class Handshake:
    """One side of a handshake: three messages, written and read in turn, then `split`.

    `static_secret` and `ephemeral_secret` are Curve25519 secrets of 32 bytes; the latter must be fresh for each
    handshake. `turn` counts the messages so far. After an error of the other side nothing more may be read or written.
    """

    __slots__ = (
        "_chaining",
        "_cipher",
        "_ephemeral",
        "_failed",
        "_hash",
        "_initiator",
        "_remote_ephemeral",
        "_remote_static",
        "_static",
        "turn",
    )

    def __init__(self, initiator: bool, prologue: bytes, static_secret: bytes, ephemeral_secret: bytes) -> None:
        """Raises ValueError for a secret that has not 32 bytes."""
        if len(static_secret) != DH_BYTES or len(ephemeral_secret) != DH_BYTES:
            raise ValueError("secrets have 32 bytes")
        self._initiator = initiator
        self._static = static_secret
        self._ephemeral = ephemeral_secret
        self._remote_static = b""
        self._remote_ephemeral = b""
        self._cipher: Cipher | None = None
        self.turn = 0
        self._failed = False
        self._chaining = NAME.ljust(HASH_BYTES, b"\0")
        self._hash = self._chaining
        self._mix_hash(prologue)

    @property
    def is_done(self) -> bool:
        """True after the third message."""
        return self.turn == len(_PATTERN)

    @property
    def handshake_hash(self) -> bytes:
        """The 64 bytes that both sides share, and no other handshake. Raises LocalError before its end."""
        self._require_done()
        return self._hash

    @property
    def remote_static(self) -> bytes:
        """The other side's static public key, 32 bytes. Raises LocalError before the end of the handshake."""
        self._require_done()
        return self._remote_static

    def write(self, payload: bytes = b"") -> bytes:
        """The next message. Raises LocalError: noise_turn if it is not our turn, noise_length."""
        self._require_turn(writing=True)
        if HANDSHAKE_BYTES[self.turn] + len(payload) > MESSAGE_BYTES_MAX:
            raise LocalError("noise_length", f"a Noise message has at most {MESSAGE_BYTES_MAX} bytes")
        message = []
        try:
            for token in _PATTERN[self.turn]:
                if token == "e":
                    public = bindings.crypto_scalarmult_base(self._ephemeral)
                    self._mix_hash(public)
                    message.append(public)
                elif token == "s":
                    message.append(self._encrypt_and_hash(bindings.crypto_scalarmult_base(self._static)))
                else:
                    self._mix_key(token)
        except RemoteError:
            self._failed = True
            raise
        message.append(self._encrypt_and_hash(payload))
        self.turn += 1
        return b"".join(message)

    def read(self, message: bytes) -> bytes:
        """The payload of the other side's next message.

        Raises RemoteError: noise_length, noise_decrypt, noise_key (a public key that leads to an all-zero secret);
        LocalError: noise_turn if it is our turn, or the handshake has failed or ended.
        """
        self._require_turn(writing=False)
        try:
            payload = self._read(message)
        except RemoteError:
            self._failed = True
            raise
        self.turn += 1
        return payload

    def split(self) -> tuple[Cipher, Cipher]:
        """The ciphers to send and to receive with, to be taken once. Raises LocalError before the end."""
        self._require_done()
        first, second = _expand(self._chaining, b"")
        one, two = Cipher(first[:32]), Cipher(second[:32])
        return (one, two) if self._initiator else (two, one)

    def _read(self, message: bytes) -> bytes:
        if not HANDSHAKE_BYTES[self.turn] <= len(message) <= MESSAGE_BYTES_MAX:
            raise RemoteError("noise_length", f"message {self.turn + 1} of a handshake has {len(message)} bytes")
        at = 0
        for token in _PATTERN[self.turn]:
            if token == "e":
                self._remote_ephemeral = message[:DH_BYTES]
                self._mix_hash(self._remote_ephemeral)
                at = DH_BYTES
            elif token == "s":
                end = at + DH_BYTES + TAG_BYTES
                self._remote_static = self._decrypt_and_hash(message[at:end])
                at = end
            else:
                self._mix_key(token)
        return self._decrypt_and_hash(message[at:])

    def _mix_hash(self, content: bytes) -> None:
        self._hash = blake2b(self._hash + content).digest()

    def _mix_key(self, token: str) -> None:
        """MixKey(DH) of a token; its first letter is the initiator's key, its second the responder's."""
        own, other = (token[0], token[1]) if self._initiator else (token[1], token[0])
        secret = self._ephemeral if own == "e" else self._static
        public = self._remote_ephemeral if other == "e" else self._remote_static
        try:
            shared = bindings.crypto_scalarmult(secret, public)
        except CryptoError:
            shared = bytes(DH_BYTES)
        if shared == bytes(DH_BYTES):
            raise RemoteError("noise_key", "a public key of small order")
        self._chaining, key = _expand(self._chaining, shared)
        self._cipher = Cipher(key[:32])

    def _encrypt_and_hash(self, plaintext: bytes) -> bytes:
        ciphertext = plaintext if self._cipher is None else self._cipher.encrypt(plaintext, self._hash)
        self._mix_hash(ciphertext)
        return ciphertext

    def _decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        plaintext = ciphertext if self._cipher is None else self._cipher.decrypt(ciphertext, self._hash)
        self._mix_hash(ciphertext)
        return plaintext

    def _require_turn(self, *, writing: bool) -> None:
        if self._failed or self.is_done or writing != (self._initiator == (self.turn % 2 == 0)):
            raise LocalError("noise_turn", "it is not this side's turn, or the handshake is over")

    def _require_done(self) -> None:
        if not self.is_done:
            raise LocalError("noise_turn", "the handshake is not done")


def _expand(chaining: bytes, content: bytes) -> tuple[bytes, bytes]:
    """Noise's HKDF with two outputs of 64 bytes, over HMAC with BLAKE2b."""
    secret = hmac.digest(chaining, content, blake2b)
    first = hmac.digest(secret, b"\x01", blake2b)
    return first, hmac.digest(secret, first + b"\x02", blake2b)
