"""What the ledger's refusals say to a caller of ours."""

from __future__ import annotations

from typing import Final

from leither_lite.errors import LocalError
from leither_lite.ledger.signed import Status

_REFUSALS: Final = {
    Status.ACCOUNT_FROZEN: "a dispute has frozen the account",
    Status.BODY_FULL: "this pulse is full; try again after it",
    Status.EXPIRED: "it is not valid any more",
    Status.INSUFFICIENT_BALANCE: "the account does not hold that much",
    Status.PAYER_IS_PAYEE: "an account cannot pay itself",
    Status.AMOUNT_ZERO: "the amount is 0",
    Status.AMOUNT_MISMATCH: "the amount is not the invoice's",
    Status.UNKNOWN_PAYEE: "the payee has no account in this organization",
    Status.UNKNOWN_PAYER: "the payer has no account in this organization",
    Status.GROUP_FULL: "the group has no room for another account",
    Status.NOT_PERMITTED: "the role of the account does not permit it",
    Status.ID_TOO_CLOSE: "an account with nearly the same id is there: make another key",
    Status.INVITE_USED: "the invite has been used",
    Status.ROLE_FIXED: "the role of that account does not change",
    Status.UNKNOWN_ACCOUNT: "there is no such account in this organization",
    Status.ACCOUNT_EXISTS: "there is an account with that key",
}


def local_error(status: Status) -> LocalError:
    """The caller's error for a status of the ledger."""
    return LocalError(status.value, _REFUSALS.get(status, "the ledger refuses it"))
