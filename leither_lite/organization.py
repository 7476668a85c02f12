"""The organization: its charter, and the genesis that follows from it (docs/protocol.md, sections 1 and 2).

Decides which bytes are a charter and what the ledger holds before the first operation. Never holds a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.effects import Write
from leither_lite.errors import RemoteError
from leither_lite.header import (
    Header,
    body_digest,
    check_seal,
    decode_roster,
    encode_roster,
    roster_digest,
    segment_digest,
    sign_seal,
    state_digest,
)
from leither_lite.identity import Key, account_id, from_hex, signed_digest, verify
from leither_lite.ledger.group import Rules, entry_writes, tree_of
from leither_lite.ledger.records import Entry, Record, Role
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import GENESIS_STATE
from leither_lite.limits import (
    GROUP_MEMBERS_MAX,
    ID_BYTES,
    KEY_BYTES,
    NAME_BYTES_MAX,
    SEGMENT_BYTES_MAX,
    SIGNATURE_BYTES,
    SUPPLY_MAX,
)
from leither_lite.store import keys
from leither_lite.tree import node

VERSION: Final = 1
PULSE_MS_MIN: Final = 10
PULSE_MS_MAX: Final = 60_000

# Name, smallest, largest and usual value of each parameter, in the order of the charter.
PARAMETERS: Final = (
    ("held", 0, 16, 2),
    ("publicity_ticks", 60, 30 * 86_400, 86_400),
    ("roster_max", 1, 7, 4),
    ("term_ticks", 10, 30 * 86_400, 1_800),
    ("unbonding_ticks", 86_400, 365 * 86_400, 30 * 86_400),
    ("group_max", 4, GROUP_MEMBERS_MAX, GROUP_MEMBERS_MAX),
)


@dataclass(frozen=True, slots=True)
class Charter:
    """What an organization is founded on: [1, organization's key, name, supply, pulse ms, roster, founder's key,
    [parameter, ...]]; the parameters are unsigned integers in the order of `PARAMETERS`."""

    organization_key: bytes
    name: str
    supply: int
    pulse_ms: int
    roster: tuple[bytes, ...]
    founder_key: bytes
    parameters: tuple[int, ...]

    @property
    def network(self) -> bytes:
        """The organization's id, which is the network's."""
        return account_id(self.organization_key)

    def parameter(self, name: str) -> int:
        """A parameter by its name."""
        return self.parameters[[row[0] for row in PARAMETERS].index(name)]

    @property
    def rules(self) -> Rules:
        """What its groups go by."""
        names = ("roster_max", "group_max", "term_ticks")
        return Rules(*(self.parameter(name) for name in names))

    def encode(self) -> bytes:
        """The genesis segment."""
        return encode(
            [
                VERSION,
                self.organization_key,
                self.name,
                self.supply,
                self.pulse_ms,
                list(self.roster),
                self.founder_key,
                list(self.parameters),
            ]
        )

    @classmethod
    def decode(cls, content: bytes) -> Charter:
        """Raises RemoteError("bad_charter"), or a reason of the codec or of rosters."""
        reason = "bad_charter"
        if len(content) > SEGMENT_BYTES_MAX:
            raise RemoteError(reason, "larger than a segment")
        version, key, name, supply, pulse_ms, roster, founder, parameters = codec.fields(
            codec.decode(content), 8, reason
        )
        if version != VERSION or type(version) is not int:
            raise RemoteError(reason, "another version of the charter")
        roster_keys = decode_roster(encode(codec.items(roster, 7, reason)))
        values = codec.fields(parameters, len(PARAMETERS), reason)
        taken = tuple(codec.uint(value, row[2], reason) for value, row in zip(values, PARAMETERS, strict=True))
        for value, row in zip(taken, PARAMETERS, strict=True):
            if value < row[1]:
                raise RemoteError(reason, f"{row[0]} is below {row[1]}")
        charter = cls(
            codec.octets(key, KEY_BYTES, reason),
            codec.text(name, NAME_BYTES_MAX, reason),
            codec.uint(supply, SUPPLY_MAX, reason),
            codec.uint(pulse_ms, PULSE_MS_MAX, reason),
            roster_keys,
            codec.octets(founder, KEY_BYTES, reason),
            taken,
        )
        if not charter.supply or charter.pulse_ms < PULSE_MS_MIN or not charter.name:
            raise RemoteError(reason, "no supply, no name, or a pulse that is too short")
        if len(roster_keys) > charter.parameter("roster_max"):
            raise RemoteError(reason, "the roster is larger than the charter's own limit")
        if charter.founder_key == charter.organization_key:
            raise RemoteError(reason, "the founder's key is the organization's")
        return charter


@dataclass(frozen=True, slots=True)
class SignedCharter:
    """A charter's bytes with the organization's signature, tag "charter"."""

    content: bytes
    signature: bytes
    charter: Charter

    @classmethod
    def sign(cls, organization: Key, charter: Charter) -> SignedCharter:
        """The organization's first word."""
        content = charter.encode()
        return cls(content, organization.sign(signed_digest("charter", charter.network, content)), charter)

    @classmethod
    def take(cls, content: bytes, signature: bytes) -> SignedCharter:
        """Raises RemoteError("bad_charter" or "charter_signature"), or a reason of the codec or of rosters."""
        charter = Charter.decode(content)
        if not verify(charter.organization_key, signature, signed_digest("charter", charter.network, content)):
            raise RemoteError("charter_signature", "the organization has not signed this charter")
        return cls(content, signature, charter)

    def encode(self) -> bytes:
        """CBOR [charter, signature]."""
        return encode([self.content, self.signature])

    @classmethod
    def decode(cls, content: bytes) -> SignedCharter:
        """As `take`, from CBOR [charter, signature]."""
        charter, signature = codec.fields(codec.decode(content), 2, "bad_charter")
        return cls.take(
            codec.octets_upto(charter, SEGMENT_BYTES_MAX, "bad_charter"),
            codec.octets(signature, SIGNATURE_BYTES, "bad_charter"),
        )

    def to_json(self) -> dict[str, Any]:
        """What `GET /v1/charter` answers: all bytes in hex; `charter` and `signature` are what counts."""
        charter = self.charter
        return {
            "organization": charter.network.hex(),
            "organization_key": charter.organization_key.hex(),
            "name": charter.name,
            "supply": charter.supply,
            "pulse_ms": charter.pulse_ms,
            "roster": [key.hex() for key in charter.roster],
            "founder": account_id(charter.founder_key).hex(),
            "founder_key": charter.founder_key.hex(),
            "parameters": {row[0]: value for row, value in zip(PARAMETERS, charter.parameters, strict=True)},
            "charter": self.content.hex(),
            "signature": self.signature.hex(),
        }

    @classmethod
    def from_json(cls, value: object) -> SignedCharter:
        """The charter in `GET /v1/charter`'s answer: the signed bytes; what stands beside them must agree.

        Raises RemoteError("bad_charter", "charter_signature" or "charter_mismatch"), or a reason of the codec.
        """
        if not isinstance(value, Mapping) or "charter" not in value or "signature" not in value:
            raise RemoteError("bad_charter", "an object with charter and signature is expected")
        signed = cls.take(from_hex(value["charter"]), from_hex(value["signature"], SIGNATURE_BYTES))
        for name, told in signed.to_json().items():
            if name in value and value[name] != told:
                raise RemoteError("charter_mismatch", f"{name} is not what the organization signed")
        return signed


def usual_parameters(**changed: int) -> tuple[int, ...]:
    """The charter's parameters: the usual values, but for those given by name."""
    unknown = sorted(changed.keys() - {row[0] for row in PARAMETERS})
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]}")
    return tuple(changed.get(row[0], row[3]) for row in PARAMETERS)


def genesis(charter: Charter, segment: bytes, roster_keys: Sequence[Key]) -> tuple[SealedPulse, dict[bytes, Entry]]:
    """The genesis pulse of a charter, sealed by its roster, and the first two accounts. `segment` is the charter's."""
    network = charter.network
    founder = account_id(charter.founder_key)
    entries = {
        network: Entry(0, Record(charter.supply, 0, 0, Role.ORGANIZATION, 0)),
        founder: Entry(0, Record(0, 0, 0, Role.SUPERVISOR, 0)),
    }
    inner = tree_of(entries).root()
    roster = encode_roster(charter.roster)
    state = GENESIS_STATE.encode()
    meta = node.meta(roster_digest(roster), node.EMPTY, 0, 0, state_digest(state))
    body = ((segment_digest(segment), inner, meta),)
    header = Header(
        network=network,
        level=1,
        bits=0,
        prefix=bytes(ID_BYTES),
        term=0,
        pulse=0,
        tick=0,
        anchor=node.ZEROS,
        node=node.group(1, 0, bytes(ID_BYTES), 0, inner, meta),
        previous=node.ZEROS,
        body=body_digest(body),
    )
    header_bytes = header.encode()
    signatures = tuple((key.public, sign_seal(key, header_bytes)) for key in roster_keys)
    willing = GENESIS_STATE.encode_willing()
    return SealedPulse(header_bytes, signatures, roster, inner, node.EMPTY, 0, 0, state, willing, body), entries


def first_writes(signed: SignedCharter, roster_keys: Sequence[Key]) -> list[Write]:
    """What the store of an organization begins with: charter, genesis and its two accounts."""
    return _writes(signed, *genesis(signed.charter, signed.content, roster_keys))


def joined_writes(signed: SignedCharter, sealed_content: bytes) -> list[Write]:
    """What the store of somebody who joins begins with: the same, with a genesis that the charter's roster has sealed.

    Raises RemoteError("genesis_mismatch") if it is not this charter's, or a reason of seals and of the codec.
    """
    made, entries = genesis(signed.charter, signed.content, ())
    sealed = SealedPulse.decode(sealed_content)
    if replace(sealed, signatures=()) != made:
        raise RemoteError("genesis_mismatch", "the genesis does not follow from the charter")
    check_seal(sealed.header_bytes, sealed.signatures, signed.charter.roster)
    return _writes(signed, sealed, entries)


def _writes(signed: SignedCharter, sealed: SealedPulse, entries: dict[bytes, Entry]) -> list[Write]:
    return [
        (keys.CHARTER, signed.encode()),
        (keys.GENESIS, sealed.encode()),
        (keys.sealed(0), sealed.encode()),
        (keys.segment(0, 0), signed.content),
        *entry_writes(0, -1, {}, entries),
    ]
