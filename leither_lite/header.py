"""Headers, rosters, seals and checkpoints (docs/protocol.md, section 2).

Decides which bytes are a header or a roster, and whether a seal is one: a quorum of a given roster. Never decides which
roster is in force, and never holds a chain of headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import RemoteError
from leither_lite.identity import Key, h32, seal_message, signed_digest, verify
from leither_lite.limits import (
    DIGEST_BYTES,
    ID_BITS,
    ID_BYTES,
    KEY_BYTES,
    NODE_BYTES,
    QUORUM,
    SIGNATURE_BYTES,
    SUM_MAX,
    UINT_MAX,
)

VERSION: Final = 1
LEVEL_MAX: Final = 255  # levels and depths are hashed as u8
SIGNATURES_MAX: Final = max(QUORUM)
ROSTER_BYTES_MAX: Final = 1 + max(QUORUM) * (2 + KEY_BYTES)

_HEADER_FIELDS: Final = 12
HEADER_BYTES_MAX: Final = 215  # with every integer at its longest
HEADERS_MAX: Final = 256
"""So many headers are kept decoded: a turn asks for the same few many times. 256 KB at most."""
ROSTERS_MAX: Final = 1_024
"""So many rosters are kept decoded: each root pulse asks for those of all children. 1 MB at most, of 7 keys each."""

Signatures: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Pairs of a public key (32 bytes) and its Ed25519 signature (64 bytes)."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a group's roster seals. Digests, ids and nodes are bytes of their fixed sizes; integers are u64.

    `prefix` is 20 bytes, zero beyond `bits`; `node` is the group as its parent sees it.
    """

    network: bytes
    level: int
    bits: int
    prefix: bytes
    term: int
    pulse: int
    tick: int
    anchor: bytes
    node: bytes
    previous: bytes
    body: bytes

    def encode(self) -> bytes:
        """The header's CBOR: what `header_digest` hashes."""
        return codec.encode(
            [
                VERSION,
                self.network,
                self.level,
                self.bits,
                self.prefix,
                self.term,
                self.pulse,
                self.tick,
                self.anchor,
                self.node,
                self.previous,
                self.body,
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """The header that `data` encodes.

        Raises RemoteError: a reason of `codec.scan`, header_version, header_fields (number, kind or size of the
        fields), header_prefix (not zero beyond its bits), header_sum (beyond 2^63-1).
        """
        return _header_of(data)


@lru_cache(HEADERS_MAX)
def _header_of(data: bytes) -> Header:
    reason = "header_fields"
    value = codec.decode(data)
    if type(value) is not list or not value:
        raise RemoteError(reason, "an array is expected")
    if codec.uint(value[0], UINT_MAX, reason) != VERSION:
        raise RemoteError("header_version", f"version {value[0]!r}")
    (_, network, level, bits, prefix, term, pulse, tick, anchor, node, previous, body) = codec.fields(
        value, _HEADER_FIELDS, reason
    )
    header = Header(
        codec.octets(network, ID_BYTES, reason),
        codec.uint(level, LEVEL_MAX, reason),
        codec.uint(bits, ID_BITS, reason),
        codec.octets(prefix, ID_BYTES, reason),
        codec.uint(term, UINT_MAX, reason),
        codec.uint(pulse, UINT_MAX, reason),
        codec.uint(tick, UINT_MAX, reason),
        codec.octets(anchor, DIGEST_BYTES, reason),
        codec.octets(node, NODE_BYTES, reason),
        codec.octets(previous, DIGEST_BYTES, reason),
        codec.octets(body, DIGEST_BYTES, reason),
    )
    if not header.level:
        raise RemoteError(reason, "levels count from 1")
    if int.from_bytes(header.prefix, "big") & ((1 << (ID_BITS - header.bits)) - 1):
        raise RemoteError("header_prefix", "not zero beyond its bits")
    if int.from_bytes(header.node[8:16], "big") > SUM_MAX:
        raise RemoteError("header_sum", "a sum beyond 2^63-1")
    return header


def header_digest(header: bytes) -> bytes:
    """H32("leither.header", header): 32 bytes, of a header's CBOR."""
    return h32("header", header)


def segment_digest(segment: bytes) -> bytes:
    """H32("leither.segment", segment bytes): 32 bytes."""
    return h32("segment", segment)


def body_digest(entries: Sequence[tuple[bytes, bytes, bytes]]) -> bytes:
    """The digest of a body: its entries are (segment digest[32], inner after[36], meta after[32]) in order."""
    return h32("body", codec.encode([list(entry) for entry in entries]))


def roster_digest(roster: bytes) -> bytes:
    """H32("leither.roster", R): 32 bytes, of a roster's CBOR."""
    return h32("roster", roster)


def state_digest(state: bytes) -> bytes:
    """H32("leither.state", S): 32 bytes, of a state's CBOR."""
    return h32("state", state)


def encode_roster(keys: Sequence[bytes]) -> bytes:
    """R of public keys, chief first: CBOR [public key, ...]. Raises ValueError unless they are a roster or none."""
    if keys and (len(keys) not in QUORUM or len(set(keys)) != len(keys) or any(len(key) != KEY_BYTES for key in keys)):
        raise ValueError("a roster has 1, 3, 4 or 7 distinct keys of 32 bytes")
    return codec.encode(list(keys))


@lru_cache(ROSTERS_MAX)
def decode_roster(data: bytes, empty_allowed: bool = False) -> tuple[bytes, ...]:
    """The public keys of R, chief first; none (whoever may seal the parent's) only where `empty_allowed`.

    Raises RemoteError: a reason of `codec.scan`, roster_fields, roster_size (not 1, 3, 4 or 7), roster_doubled_key.
    """
    keys = tuple(
        codec.octets(key, KEY_BYTES, "roster_fields")
        for key in codec.items(codec.decode(data), SIGNATURES_MAX, "roster_size")
    )
    if len(keys) not in QUORUM and (keys or not empty_allowed):
        raise RemoteError("roster_size", f"{len(keys)} keys")
    if len(set(keys)) != len(keys):
        raise RemoteError("roster_doubled_key")
    return keys


@dataclass(frozen=True, slots=True)
class Seal:
    """A header's CBOR with the signatures of a quorum of its roster."""

    header: bytes
    signatures: Signatures

    def encode(self) -> bytes:
        """CBOR [header as byte string, [[public key, signature], ...]]."""
        return codec.encode([self.header, signatures_value(self.signatures)])

    @classmethod
    def decode(cls, data: bytes) -> Seal:
        """The seal that `data` encodes, unchecked. Raises RemoteError: a reason of `codec.scan`, seal_fields."""
        header, signatures = codec.fields(codec.decode(data), 2, "seal_fields")
        return cls(
            codec.octets_upto(header, len(data), "seal_fields"),
            take_signatures(signatures, "seal_fields"),
        )

    def check(self, roster: Sequence[bytes]) -> None:
        """As `check_seal`."""
        check_seal(self.header, self.signatures, roster)


def signatures_value(signatures: Signatures) -> Value:
    """Signatures as a CBOR value: [[public key, signature], ...]."""
    return [[key, signature] for key, signature in signatures]


def take_signatures(value: Value, reason: str) -> Signatures:
    """The signatures in a CBOR value, at most 7, unchecked. Raises RemoteError(reason)."""
    taken = []
    for pair in codec.items(value, SIGNATURES_MAX, reason):
        key, signature = codec.fields(pair, 2, reason)
        taken.append((codec.octets(key, KEY_BYTES, reason), codec.octets(signature, SIGNATURE_BYTES, reason)))
    return tuple(taken)


def sign_seal(key: Key, header: bytes) -> bytes:
    """A roster member's signature of a header's CBOR: 64 bytes."""
    return key.sign(seal_message(header_digest(header)))


def check_seal(header: bytes, signatures: Signatures, roster: Sequence[bytes]) -> None:
    """Refuse signatures of a header's CBOR that are not a quorum of `roster`, each one good and by another of its keys.

    Raises RemoteError: roster_size, not_on_roster, doubled_signer, no_quorum, and only then, at most one verification
    for each key of the roster later, bad_signature.
    """
    if len(roster) not in QUORUM:
        raise RemoteError("roster_size", f"{len(roster)} keys")
    signers: set[bytes] = set()
    for key, _ in signatures:
        if key not in roster:
            raise RemoteError("not_on_roster", key.hex())
        if key in signers:
            raise RemoteError("doubled_signer", key.hex())
        signers.add(key)
    if len(signers) < QUORUM[len(roster)]:
        raise RemoteError("no_quorum", f"{len(signers)} of {len(roster)}")
    message = seal_message(header_digest(header))
    for key, signature in signatures:
        if not verify(key, signature, message):
            raise RemoteError("bad_signature", key.hex())


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The organization's word that the root header of `digest` (32 bytes) at `pulse` is good and who seals the next.

    `roster` is the CBOR of that R; `signature` is the organization's, 64 bytes.
    """

    pulse: int
    digest: bytes
    roster: bytes
    signature: bytes

    @classmethod
    def sign(cls, key: Key, network: bytes, pulse: int, digest: bytes, roster: bytes) -> Checkpoint:
        """A checkpoint signed with the organization's key."""
        return cls(pulse, digest, roster, key.sign(_checkpoint_message(network, pulse, digest, roster)))

    def verify(self, network: bytes, organization_key: bytes) -> None:
        """Raises RemoteError("checkpoint_signature") unless the organization signed this for this network."""
        message = _checkpoint_message(network, self.pulse, self.digest, self.roster)
        if not verify(organization_key, self.signature, message):
            raise RemoteError("checkpoint_signature", "not the organization's")

    def value(self) -> Value:
        """The checkpoint as a CBOR value: [pulse, digest, R as byte string, signature]."""
        return [self.pulse, self.digest, self.roster, self.signature]

    @classmethod
    def take(cls, value: Value) -> Checkpoint:
        """The checkpoint in a CBOR value, its signature unchecked.

        Raises RemoteError: checkpoint_fields, a reason of `decode_roster`.
        """
        reason = "checkpoint_fields"
        pulse, digest, roster, signature = codec.fields(value, 4, reason)
        checkpoint = cls(
            codec.uint(pulse, UINT_MAX, reason),
            codec.octets(digest, DIGEST_BYTES, reason),
            codec.octets_upto(roster, ROSTER_BYTES_MAX, reason),
            codec.octets(signature, SIGNATURE_BYTES, reason),
        )
        decode_roster(checkpoint.roster)
        return checkpoint

    def encode(self) -> bytes:
        """CBOR of `value()`."""
        return codec.encode(self.value())

    @classmethod
    def decode(cls, data: bytes) -> Checkpoint:
        """The checkpoint that `data` encodes. Raises RemoteError: a reason of `codec.scan` or of `take`."""
        return cls.take(codec.decode(data))


def _checkpoint_message(network: bytes, pulse: int, digest: bytes, roster: bytes) -> bytes:
    return signed_digest("check", network, codec.encode([pulse, digest, roster]))
