"""Receipts: what one group's seal says that another group owes an account (docs/protocol.md, sections 2.2 and 5.6).

Decides how a receipt is encoded, hashed and shown under a root header. Whether it may be sent, settled or reclaimed is
decided in `ledger.judge`.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import RemoteError
from leither_lite.identity import h20
from leither_lite.ledger.records import Role
from leither_lite.limits import DIGEST_BYTES, ID_BYTES, SUPPLY_MAX, UINT_MAX
from leither_lite.tree.node import pack_node

RECEIPT_BYTES_MAX = 128


class ReceiptKind(IntEnum):
    """What a receipt stands for."""

    PAYMENT = 0
    DISTRIBUTION = 1
    REFUND = 2
    ADMISSION = 3


class Receipt(NamedTuple):
    """[payer's id, sent, payee's id, amount, kind, ref, date].

    `date` is that of the header that sends it. Of a payment `ref` is the digest that the payee signed, of a
    distribution the one that the organization signed. A refund goes back from payee to payer under the number of what
    it refunds, whose id, zero-padded, is its `ref`. An admission opens the account `payee` for the supervisor `payer`:
    its amount is 0, its `sent` the role, its `ref` the digest that the applicant signed.
    """

    payer: bytes
    sent: int
    payee: bytes
    amount: int
    kind: int
    ref: bytes
    date: int

    def value(self) -> Value:
        """The receipt as a CBOR value."""
        return [self.payer, self.sent, self.payee, self.amount, int(self.kind), self.ref, self.date]

    @property
    def id(self) -> bytes:
        """H20("leither.receipt", CBOR): 20 bytes."""
        return h20("receipt", encode(self.value()))

    def leaf(self, pulse: int) -> bytes:
        """The leaf in a set, of a receipt that the header of `pulse` has sent: 36 bytes."""
        return pack_node(pulse, self.amount, self.id)

    @property
    def refunds(self) -> bytes:
        """Of a refund: the id of what it sends back."""
        return self.ref[:ID_BYTES]

    def refund(self, date: int) -> Receipt:
        """The receipt that sends this one's amount back."""
        ref = self.id.ljust(DIGEST_BYTES, b"\0")
        return Receipt(self.payee, self.sent, self.payer, self.amount, ReceiptKind.REFUND, ref, date)

    @classmethod
    def take(cls, value: Value, reason: str) -> Receipt:
        """The receipt in a CBOR value. Raises RemoteError(reason)."""
        payer, sent, payee, amount, kind, ref, date = codec.fields(value, 7, reason)
        if kind == ReceiptKind.ADMISSION and (amount != 0 or codec.uint(sent, UINT_MAX, reason) > Role.SUPERVISOR):
            raise RemoteError(reason, "no admission opens such an account")
        return cls(
            codec.octets(payer, ID_BYTES, reason),
            codec.uint(sent, UINT_MAX, reason),
            codec.octets(payee, ID_BYTES, reason),
            codec.uint(amount, SUPPLY_MAX, reason),
            codec.uint(kind, ReceiptKind.ADMISSION, reason),
            codec.octets(ref, DIGEST_BYTES, reason),
            codec.uint(date, UINT_MAX, reason),
        )
