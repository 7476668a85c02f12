"""What every signed operation shares: the statuses that the ledger answers with, and the fields that hold signatures.

Signed objects travel as byte strings, so what was signed is hashed as it came and never encoded again.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.identity import signed_digest, verify
from leither_lite.limits import SIGNATURE_BYTES

SIGNED_BYTES_MAX: Final = 1024
"""No signed object of an operation is longer."""


class Status(Enum):
    """What became of an operation. Anything but OK means that nothing has changed."""

    OK = "ok"
    ACCOUNT_EXISTS = "account_exists"
    ACCOUNT_FROZEN = "account_frozen"
    AMOUNT_MISMATCH = "amount_mismatch"
    AMOUNT_ZERO = "amount_zero"
    BAD_ROSTER = "bad_roster"
    BAD_SIGNATURE = "bad_signature"
    BODY_FULL = "body_full"
    EXPIRED = "expired"
    GROUP_FULL = "group_full"
    ID_TOO_CLOSE = "id_too_close"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    INVITE_USED = "invite_used"
    INVOICE_MISMATCH = "invoice_mismatch"
    MISPLACED = "misplaced"
    NOT_PERMITTED = "not_permitted"
    NOT_SHOWN = "not_shown"
    NOTHING_PENDING = "nothing_pending"
    OTHER_NETWORK = "other_network"
    PAYER_IS_PAYEE = "payer_is_payee"
    PENDING_FULL = "pending_full"
    RECEIPTS_SETTLED = "receipts_settled"
    ROLE_FIXED = "role_fixed"
    TOO_EARLY = "too_early"
    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_PAYEE = "unknown_payee"
    UNKNOWN_PAYER = "unknown_payer"
    WILLING_FULL = "willing_full"
    WRONG_HEADER = "wrong_header"
    WRONG_NUMBER = "wrong_number"
    WRONG_SENT = "wrong_sent"


def signed_content(value: Value) -> bytes:
    """A field that holds a signed object. Raises RemoteError("bad_operation")."""
    return codec.octets_upto(value, SIGNED_BYTES_MAX, "bad_operation")


def signature_field(value: Value) -> bytes:
    """A field that holds a signature. Raises RemoteError("bad_operation")."""
    return codec.octets(value, SIGNATURE_BYTES, "bad_operation")


def check(tag: str, network: bytes, key: bytes, signature: bytes, content: bytes) -> Status:
    """OK if `key` has signed `content` (CBOR) under the tag's domain in this network, else BAD_SIGNATURE."""
    return Status.OK if verify(key, signature, signed_digest(tag, network, content)) else Status.BAD_SIGNATURE
