"""Operations on the committee: appointments, who is willing to hold, who holds (docs/protocol.md, sections 4 and 5).

Decides whether one is well formed and truly signed; whether the state allows it is decided in `ledger.judge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, NamedTuple

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import RemoteError
from leither_lite.header import SIGNATURES_MAX, Signatures, signatures_value
from leither_lite.identity import Key, account_id, signed_digest
from leither_lite.ledger.signed import Status, check, signature_field, signed_content
from leither_lite.limits import (
    ADDRESS_BYTES_MAX,
    DIGEST_BYTES,
    HELD_SIGNATURES_MAX,
    KEY_BYTES,
    UINT_MAX,
    WILLING_MAX,
)


class Willing(NamedTuple):
    """A node in S that holds pages and bodies for the committee: its key, where it listens, the tick of its word.

    `silent` is 1 for one that has not signed since it registered, or was asked and did not: nobody waits for it before
    it does.
    """

    key: bytes
    address: str
    number: int
    silent: int

    @classmethod
    def take(cls, value: Value, reason: str) -> Willing:
        """The node in a CBOR value. Raises RemoteError(reason)."""
        key, address, number, silent = codec.fields(value, 4, reason)
        return cls(
            codec.octets(key, KEY_BYTES, reason),
            codec.text(address, ADDRESS_BYTES_MAX, reason),
            codec.uint(number, UINT_MAX, reason),
            codec.uint(silent, 1, reason),
        )


@dataclass(frozen=True, slots=True)
class Appointment:
    """[supervisor's key, [roster key, ...], number], tag "appoint"; `number` counts the group's role changes.

    The keys are at most 7, chief first; whether they make a roster is the state's to say.
    """

    CODE: ClassVar[int] = 6
    content: bytes
    signature: bytes
    supervisor_key: bytes
    roster: tuple[bytes, ...]
    number: int

    @classmethod
    def make(cls, network: bytes, supervisor: Key, roster: Sequence[bytes], number: int) -> Appointment:
        """Signs the appointment of who seals next. Checks nothing."""
        content = encode([supervisor.public, list(roster), number])
        signature = supervisor.sign(signed_digest("appoint", network, content))
        return cls(content, signature, supervisor.public, tuple(roster), number)

    @classmethod
    def from_values(cls, values: list[Value]) -> Appointment:
        """Raises RemoteError("bad_operation"), or a reason of the codec."""
        _, content, signature = codec.fields(values, 3, "bad_operation")
        content = signed_content(content)
        key, roster, number = codec.fields(codec.decode(content), 3, "bad_operation")
        return cls(
            content,
            signature_field(signature),
            codec.octets(key, KEY_BYTES, "bad_operation"),
            tuple(
                codec.octets(member, KEY_BYTES, "bad_operation")
                for member in codec.items(roster, SIGNATURES_MAX, "bad_operation")
            ),
            codec.uint(number, UINT_MAX, "bad_operation"),
        )

    def encode(self) -> bytes:
        """CBOR [6, appointment, signature]."""
        return encode([self.CODE, self.content, self.signature])

    def check_signatures(self, network: bytes) -> Status:
        """OK or BAD_SIGNATURE."""
        return check("appoint", network, self.supervisor_key, self.signature, self.content)


@dataclass(frozen=True, slots=True)
class Willingness:
    """[key, address, willing 0 or 1, number], signed by that key, tag "address": where a node listens.

    `address` is text, empty for a node that only dials out; `number` is a tick of the signer. As an operation it
    registers the node among those that hold pages and bodies, or withdraws it. The same bytes are its signed address
    outside the ledger.
    """

    CODE: ClassVar[int] = 7
    content: bytes
    signature: bytes
    key: bytes
    address: str
    willing: int
    number: int

    @classmethod
    def make(cls, network: bytes, key: Key, address: str, willing: int, number: int) -> Willingness:
        """Signs an address. Checks nothing."""
        content = encode([key.public, address, int(willing), number])
        signature = key.sign(signed_digest("address", network, content))
        return cls(content, signature, key.public, address, int(willing), number)

    @classmethod
    def decode(cls, content: Value, signature: Value) -> Willingness:
        """An address and its signature, unchecked. Raises RemoteError("bad_operation"), or a reason of the codec."""
        content = signed_content(content)
        key, address, willing, number = codec.fields(codec.decode(content), 4, "bad_operation")
        return cls(
            content,
            signature_field(signature),
            codec.octets(key, KEY_BYTES, "bad_operation"),
            codec.text(address, ADDRESS_BYTES_MAX, "bad_operation"),
            codec.uint(willing, 1, "bad_operation"),
            codec.uint(number, UINT_MAX, "bad_operation"),
        )

    @classmethod
    def from_values(cls, values: list[Value]) -> Willingness:
        """As `decode`."""
        _, content, signature = codec.fields(values, 3, "bad_operation")
        return cls.decode(content, signature)

    @property
    def account(self) -> bytes:
        """The id of the account of that key."""
        return account_id(self.key)

    def registered(self, willing: tuple[Willing, ...]) -> tuple[Willing, ...]:
        """The willing after this. A node is silent until it signs; registering anew changes nothing in that."""
        others = [node for node in willing if node.key != self.key]
        if self.willing:
            silent = max((node.silent for node in willing if node.key == self.key), default=1)
            others.append(Willing(self.key, self.address, self.number, silent))
        return tuple(sorted(others))

    def encode(self) -> bytes:
        """CBOR [7, address, signature]."""
        return encode([self.CODE, self.content, self.signature])

    def check_signatures(self, network: bytes) -> Status:
        """OK or BAD_SIGNATURE."""
        return check("address", network, self.key, self.signature, self.content)


@dataclass(frozen=True, slots=True)
class Held:
    """That members outside the committee hold page and body of the predecessor, and who was asked and did not sign.

    `header_digest` is the predecessor's. Each of the `signatures`, at most 16, is over CBOR [header digest], tag
    "held"; `silent` are at most 24 keys. Keys rise in both.
    """

    CODE: ClassVar[int] = 8
    header_digest: bytes
    signatures: Signatures
    silent: tuple[bytes, ...]

    @staticmethod
    def sign(network: bytes, key: Key, header_digest: bytes) -> bytes:
        """A holder's signature: it has stored page and body of the header of that digest. 64 bytes."""
        return key.sign(_held_message(network, header_digest))

    @staticmethod
    def is_signed(network: bytes, key: bytes, signature: bytes, header_digest: bytes) -> bool:
        """True if a holder's signature of that header is good."""
        return check("held", network, key, signature, encode([header_digest])) is Status.OK

    @classmethod
    def from_values(cls, values: list[Value]) -> Held:
        """Raises RemoteError("bad_operation")."""
        _, digest, signatures, silent = codec.fields(values, 4, "bad_operation")
        pairs = []
        for pair in codec.items(signatures, HELD_SIGNATURES_MAX, "bad_operation"):
            key, signature = codec.fields(pair, 2, "bad_operation")
            pairs.append((codec.octets(key, KEY_BYTES, "bad_operation"), signature_field(signature)))
        held = cls(
            codec.octets(digest, DIGEST_BYTES, "bad_operation"),
            tuple(pairs),
            tuple(
                codec.octets(key, KEY_BYTES, "bad_operation")
                for key in codec.items(silent, WILLING_MAX, "bad_operation")
            ),
        )
        for keys in (held.signers, held.silent):
            if any(later <= earlier for earlier, later in pairwise(keys)):
                raise RemoteError("bad_operation", "keys must rise")
        return held

    @property
    def signers(self) -> tuple[bytes, ...]:
        """The keys that have signed."""
        return tuple(key for key, _ in self.signatures)

    def marked(self, willing: tuple[Willing, ...]) -> tuple[Willing, ...]:
        """The willing after this: who has signed is silent no more, who was named so is."""
        marks = {**dict.fromkeys(self.signers, 0), **dict.fromkeys(self.silent, 1)}
        return tuple(node._replace(silent=marks.get(node.key, node.silent)) for node in willing)

    def encode(self) -> bytes:
        """CBOR [8, header digest, [[key, signature], ...], [silent key, ...]]."""
        return encode([self.CODE, self.header_digest, signatures_value(self.signatures), list(self.silent)])

    def check_signatures(self, network: bytes) -> Status:
        """OK or BAD_SIGNATURE."""
        for key, signature in self.signatures:
            if not self.is_signed(network, key, signature, self.header_digest):
                return Status.BAD_SIGNATURE
        return Status.OK


def _held_message(network: bytes, header_digest: bytes) -> bytes:
    return signed_digest("held", network, encode([header_digest]))
