"""Secrets in files: keys, the API's token, and exports of keys under a passphrase (docs/cli.md).

Decides how a secret looks in a file and who may read that file. A file is written whole, 0600, and is on the disk
before its key is used; one that is there is never overwritten. Never prints or logs a secret.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nacl import exceptions
from nacl.pwhash import argon2id
from nacl.secret import SecretBox

from leither_lite.edge.files import SECRET_MODE, read_upto, refuse_exposed, write_new
from leither_lite.errors import LocalError, RemoteError
from leither_lite.identity import Key, from_hex, person
from leither_lite.limits import KEY_BYTES, SEED_BYTES

NODE_KEY: Final = "node.key"
ORGANIZATION_KEY: Final = "organization.key"
API_TOKEN: Final = "api-token"

TOKEN_BYTES: Final = 32
EXPORT_BYTES_MAX: Final = 1_024
PASSPHRASE_BYTES_MAX: Final = 1_024

_KEY_MARK: Final = "leither-key-1"
_KEY_BYTES_MAX: Final = 128
_EXPORT_MARK: Final = "leither-export-1"
_KEY_SUM_BYTES: Final = 4
EXPORT_SUM_BYTES: Final = 8
_BOXED_BYTES: Final = SecretBox.NONCE_SIZE + SEED_BYTES + SecretBox.MACBYTES


def create(path: Path) -> Key:
    """A new key, in a new file. Raises LocalError: key_exists, key_unwritable."""
    key = Key.from_seed(os.urandom(SEED_BYTES))
    store(path, key)
    return key


def store(path: Path, key: Key) -> None:
    """Write a key to a new file. Raises LocalError: key_exists, key_unwritable."""
    _write_secret(path, encode_key(key))


def load(path: Path) -> Key:
    """The key in a file. Raises LocalError: key_missing, key_unreadable, key_exposed, key_damaged."""
    content = _read_secret(path, _KEY_BYTES_MAX)
    try:
        return decode_key(content)
    except RemoteError as error:
        raise LocalError(
            error.reason, f"{path} is damaged ({error.detail}): put a copy back, or import an export of this key"
        ) from None


def load_optional(path: Path) -> Key | None:
    """As `load`, but None where there is no such file."""
    return load(path) if path.exists() else None


def create_token(path: Path) -> str:
    """A new token of 64 hex digits, in a new file. Raises LocalError: key_exists, key_unwritable."""
    token = os.urandom(TOKEN_BYTES).hex()
    _write_secret(path, f"{token}\n".encode("ascii"))
    return token


def load_token(path: Path) -> str:
    """The token in a file. Raises LocalError: key_missing, key_unreadable, key_exposed, key_damaged."""
    content = _read_secret(path, 2 * TOKEN_BYTES + 1)
    try:
        return from_hex(content.decode("ascii", "replace").removesuffix("\n"), TOKEN_BYTES).hex()
    except RemoteError:
        raise LocalError(
            "key_damaged", f"{path} is not a token of 64 hex digits: delete it, and the next run makes a new one"
        ) from None


def encode_key(key: Key) -> bytes:
    """What a key file holds: "leither-key-1 <seed> <checksum>", in hex, and a line feed."""
    return f"{_KEY_MARK} {key.seed.hex()} {checksum(key.seed, _KEY_SUM_BYTES)}\n".encode("ascii")


def decode_key(content: bytes) -> Key:
    """The key in the content of a key file. Raises RemoteError("key_damaged"); the detail holds nothing secret."""
    reason = "key_damaged"
    fields = _lines(content, 1, reason)[0].split(" ")
    if len(fields) != 3 or fields[0] != _KEY_MARK:
        raise RemoteError(reason, f"not a line of the form {_KEY_MARK} SEED CHECKSUM")
    try:
        seed = from_hex(fields[1], SEED_BYTES)
    except RemoteError:
        raise RemoteError(reason, "the seed is not 64 hex digits") from None
    if fields[2] != checksum(seed, _KEY_SUM_BYTES):
        raise RemoteError(reason, "seed and checksum do not agree")
    return Key.from_seed(seed)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a guess of the passphrase costs, as Argon2id counts it: passes, and memory in bytes."""

    passes: int
    memory_bytes: int


# A board of 512 MB must be able to make and read an export beside its running node: 64 MiB, and more passes for it.
USUAL_COST: Final = Cost(6, argon2id.MEMLIMIT_INTERACTIVE)
COST_MAX: Final = Cost(8, argon2id.MEMLIMIT_MODERATE)
COST_MIN: Final = Cost(argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)


@dataclass(frozen=True, slots=True)
class Export:
    """An exported key as it lies in a file: the public key (32 bytes), how its passphrase becomes a key, and the box.

    `box` is libsodium's secretbox of the seed: nonce[24] || tag[16] || seed[32]; `salt` has 16 bytes.
    """

    public: bytes
    cost: Cost
    salt: bytes
    box: bytes

    def encode(self) -> bytes:
        """Six lines of ASCII; the last is a checksum of those above it, so that damage is not a wrong passphrase."""
        text = (
            f"{_EXPORT_MARK}\npublic-key {self.public.hex()}\n"
            f"argon2id {self.cost.passes} {self.cost.memory_bytes}\nsalt {self.salt.hex()}\nbox {self.box.hex()}\n"
        )
        return f"{text}checksum {checksum(text.encode('ascii'), EXPORT_SUM_BYTES)}\n".encode("ascii")

    @classmethod
    def decode(cls, content: bytes) -> Export:
        """Raises RemoteError("bad_export"), also for a cost beyond `COST_MAX`. Derives nothing."""
        reason = "bad_export"
        mark, *lines = _lines(content, 6, reason)
        if mark != _EXPORT_MARK:
            raise RemoteError(reason, f"it does not begin with {_EXPORT_MARK}")
        named = []
        for line, name in zip(lines, ("public-key", "argon2id", "salt", "box", "checksum"), strict=True):
            told, _, value = line.partition(" ")
            if told != name:
                raise RemoteError(reason, f"a line {name} is missing")
            named.append(value)
        summed = content[: content.rindex(b"checksum ")]
        if named[4] != checksum(summed, EXPORT_SUM_BYTES):
            raise RemoteError(reason, "its checksum does not agree")
        passes, _, memory = named[1].partition(" ")
        cost = Cost(
            _number(passes, COST_MIN.passes, COST_MAX.passes, reason),
            _number(memory, COST_MIN.memory_bytes, COST_MAX.memory_bytes, reason),
        )
        try:
            public = from_hex(named[0], KEY_BYTES)
            salt = from_hex(named[2], argon2id.SALTBYTES)
            return cls(public, cost, salt, from_hex(named[3], _BOXED_BYTES))
        except RemoteError as error:
            raise RemoteError(reason, error.detail) from None


def export(key: Key, passphrase: bytes, cost: Cost = USUAL_COST) -> bytes:
    """A key as text that only the passphrase opens: Argon2id, then libsodium's secretbox.

    Takes seconds on a small board. Raises LocalError: bad_passphrase (empty, or too long), memory_short.
    """
    salt = os.urandom(argon2id.SALTBYTES)
    box = SecretBox(_derive(passphrase, salt, cost)).encrypt(key.seed, os.urandom(SecretBox.NONCE_SIZE))
    return Export(key.public, cost, salt, bytes(box)).encode()


def import_(content: bytes, passphrase: bytes) -> Key:
    """The key in an export.

    Raises LocalError: bad_export (damaged, or asking for too much work), wrong_passphrase, bad_passphrase,
    memory_short.
    """
    try:
        exported = Export.decode(content)
    except RemoteError as error:
        raise LocalError(error.reason, f"this is no export of a key, or a damaged one: {error.detail}") from None
    try:
        seed = SecretBox(_derive(passphrase, exported.salt, exported.cost)).decrypt(exported.box)
    except exceptions.CryptoError:
        raise LocalError("wrong_passphrase", "this passphrase does not open the export") from None
    key = Key.from_seed(seed)
    if key.public != exported.public:
        raise LocalError("bad_export", "the export holds another key than it names")
    return key


def write_export(path: Path, content: bytes) -> None:
    """Write an export to a new file, 0600. Raises LocalError: key_exists, key_unwritable."""
    _write_secret(path, content)


def read_export(path: Path) -> bytes:
    """The content of a file that may be an export, or a key file. Raises LocalError: unreadable_file, bad_export."""
    try:
        content = read_upto(path, EXPORT_BYTES_MAX)
    except OSError as error:
        raise LocalError("unreadable_file", f"{path} cannot be read: {error.strerror}") from None
    if len(content) > EXPORT_BYTES_MAX:
        raise LocalError("bad_export", f"{path} is too long to be an export of a key")
    return content


def is_export(content: bytes) -> bool:
    """True for what begins as an export does."""
    return content.startswith(f"{_EXPORT_MARK}\n".encode("ascii"))


def _derive(passphrase: bytes, salt: bytes, cost: Cost) -> bytes:
    if not 0 < len(passphrase) <= PASSPHRASE_BYTES_MAX:
        raise LocalError("bad_passphrase", f"a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes")
    try:
        return argon2id.kdf(SecretBox.KEY_SIZE, passphrase, salt, cost.passes, cost.memory_bytes)
    except (exceptions.RuntimeError, MemoryError):
        raise LocalError(
            "memory_short", f"deriving the key takes {cost.memory_bytes >> 20} MiB of memory, which are not free"
        ) from None


def checksum(content: bytes, size: int) -> str:
    """What tells damage from a wrong passphrase: BLAKE2b of `size` bytes over what a file holds, in hex."""
    return hashlib.blake2b(content, digest_size=size, person=person("keyfile")).hexdigest()


def _lines(content: bytes, count: int, reason: str) -> list[str]:
    if len(content) > EXPORT_BYTES_MAX:
        raise RemoteError(reason, "too long")
    try:
        lines = content.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise RemoteError(reason, "not ASCII") from None
    if lines[-1] or len(lines) != count + 1:
        raise RemoteError(reason, f"{count} whole lines are expected")
    return lines[:-1]


def _number(digits: str, low: int, high: int, reason: str) -> int:
    plain = digits.isascii() and digits.isdigit() and len(digits) <= len(str(high)) and digits == str(int(digits))
    if not plain or not low <= int(digits) <= high:
        raise RemoteError(reason, f"a whole number from {low} to {high} is expected")
    return int(digits)


def refuse_existing(path: Path) -> None:
    """Raises LocalError("key_exists") if there is such a file, before anybody is asked for a passphrase."""
    if path.exists():
        raise LocalError("key_exists", f"{path} is there already, and a key is never overwritten")


def _write_secret(path: Path, content: bytes) -> None:
    refuse_existing(path)
    try:
        write_new(path, content, SECRET_MODE)
    except FileExistsError:
        raise LocalError("key_exists", f"{path} has just been written by somebody else") from None
    except OSError as error:
        raise LocalError("key_unwritable", f"{path} cannot be written: {error.strerror}") from None


def _read_secret(path: Path, size: int) -> bytes:
    try:
        refuse_exposed(path)
        content = read_upto(path, size)
    except FileNotFoundError:
        raise LocalError("key_missing", f"there is no {path}") from None
    except OSError as error:
        raise LocalError("key_unreadable", f"{path} cannot be read: {error.strerror}") from None
    if len(content) > size:
        raise LocalError("key_damaged", f"{path} is longer than it can be")
    return content
