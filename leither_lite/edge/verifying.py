"""Checking a proof with two files, or one file and two keys: no node, no network, no store (docs/cli.md).

Decides what the verifier trusts: the charter that the organization signed, or the keys that were given. Whether the
proof holds is decided by `tree.proof`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from leither_lite.edge.files import read_upto
from leither_lite.errors import LocalError, RemoteError
from leither_lite.identity import account_id, from_hex
from leither_lite.ledger.records import Role
from leither_lite.limits import KEY_BYTES, PROOF_BYTES_MAX, QUORUM, SEGMENT_BYTES_MAX
from leither_lite.organization import SignedCharter
from leither_lite.tree.proof import Trust, Verified, verify
from leither_lite.tree.proof_json import decode_json

CHARTER_JSON: Final = "charter.json"

CHARTER_JSON_BYTES_MAX: Final = 4 * SEGMENT_BYTES_MAX
"""The charter's segment in hex, and beside it once more what it says."""


def read_charter(path: Path) -> SignedCharter:
    """The charter in a file that the node wrote, or `GET /v1/charter` answered.

    Raises LocalError("unreadable_file"), or RemoteError: charter_syntax, bad_charter, charter_signature,
    charter_mismatch, or a reason of the codec.
    """
    content = _read(path, CHARTER_JSON_BYTES_MAX)
    if len(content) > CHARTER_JSON_BYTES_MAX:
        raise RemoteError("charter_syntax", f"{path} is too large to be a charter")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise RemoteError("charter_syntax", f"{path} is not JSON") from None
    return SignedCharter.from_json(value)


def trust_in_charter(path: Path) -> Trust:
    """As `read_charter`: the organization's key and the roster that it signed."""
    charter = read_charter(path).charter
    return Trust(charter.organization_key, charter.roster)


def trust_in_keys(organization_key: str, roster: str) -> Trust:
    """The keys of an organization and its first roster, in hex, the roster's parted by commas.

    Raises LocalError("bad_trust").
    """
    try:
        keys = tuple(from_hex(key, KEY_BYTES) for key in roster.split(","))
        trust = Trust(from_hex(organization_key, KEY_BYTES), keys)
    except RemoteError:
        raise LocalError("bad_trust", "keys are 64 lower-case hex digits each, a roster's parted by commas") from None
    if len(keys) not in QUORUM or len(set(keys)) != len(keys):
        raise LocalError("bad_trust", "a roster has 1, 3, 4 or 7 keys, each once")
    return trust


def verify_file(path: Path, trust: Trust) -> dict[str, Any]:
    """What the proof in a file shows.

    Raises RemoteError with the reason for which it does not hold, or LocalError("unreadable_file").
    """
    content = _read(path, PROOF_BYTES_MAX)
    return shown(verify(decode_json(content), trust), trust)


def shown(verified: Verified, trust: Trust) -> dict[str, Any]:
    """What a proof shows, as JSON."""
    value: dict[str, Any] = {
        "holds": True,
        "kind": verified.kind,
        "organization": account_id(trust.organization_key).hex(),
        "account": verified.account.hex(),
        "pulse": verified.pulse,
        "age": verified.age,
    }
    if verified.record is not None:
        balance, frozen, sent, role, votes = verified.record
        known = role in Role.__members__.values()
        value["record"] = {
            "balance": balance,
            "frozen": frozen,
            "sent": sent,
            "role": Role(role).name.lower() if known else str(role),
            "votes": votes,
        }
        value["leaf_pulse"] = verified.leaf_pulse
    return value


def _read(path: Path, size: int) -> bytes:
    try:
        return read_upto(path, size)
    except OSError as error:
        raise LocalError("unreadable_file", f"{path} cannot be read: {error.strerror}") from None
