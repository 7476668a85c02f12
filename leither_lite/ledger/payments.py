"""Invoices, payments and distributions: their bytes and signatures (docs/protocol.md, section 5).

Decides whether one is well formed and truly signed; whether the state allows it is decided by `ledger.judge`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.identity import Key, signed_digest, verify
from leither_lite.ledger.signed import Status, check, signature_field, signed_content
from leither_lite.limits import (
    DIGEST_BYTES,
    ID_BYTES,
    KEY_BYTES,
    MEMO_BYTES_MAX,
    REASON_BYTES_MAX,
    SUPPLY_MAX,
    UINT_MAX,
)

PAYMENT_CODE: Final = 1


class Invoice(NamedTuple):
    """[payee's key, amount or 0, number, valid until tick or 0, memo]: what the payee signs, tag "invoice"."""

    payee_key: bytes
    amount: int
    number: int
    valid_until: int
    memo: str

    def encode(self) -> bytes:
        """The CBOR that is signed."""
        return encode([self.payee_key, self.amount, self.number, self.valid_until, self.memo])

    @classmethod
    def decode(cls, content: bytes) -> Invoice:
        """Raises RemoteError("bad_invoice"), or a reason of the codec."""
        key, amount, number, valid_until, memo = codec.fields(codec.decode(content), 5, "bad_invoice")
        return cls(
            codec.octets(key, KEY_BYTES, "bad_invoice"),
            codec.uint(amount, SUPPLY_MAX, "bad_invoice"),
            codec.uint(number, UINT_MAX, "bad_invoice"),
            codec.uint(valid_until, UINT_MAX, "bad_invoice"),
            codec.text(memo, MEMO_BYTES_MAX, "bad_invoice"),
        )


class Payment(NamedTuple):
    """A payment: the payee's signed invoice and the payer's signed [invoice digest, amount, payer's key, sent]."""

    # A named tuple is made in a third of a frozen dataclass's time, and payments are what there are most of.
    invoice_content: bytes
    invoice_signature: bytes
    payment_content: bytes
    payment_signature: bytes
    invoice: Invoice
    invoice_digest: bytes
    amount: int
    payer_key: bytes
    sent: int

    @classmethod
    def make(
        cls, network: bytes, payer: Key, invoice_content: bytes, invoice_signature: bytes, amount: int, sent: int
    ) -> Payment:
        """The payer's side of an invoice: signs it. Checks nothing."""
        invoice_digest = signed_digest("invoice", network, invoice_content)
        content = encode([invoice_digest, amount, payer.public, sent])
        signature = payer.sign(signed_digest("payment", network, content))
        invoice = Invoice.decode(invoice_content)
        return cls(
            invoice_content, invoice_signature, content, signature, invoice, invoice_digest, amount, payer.public, sent
        )

    @classmethod
    def from_values(cls, values: list[Value]) -> Payment:
        """Raises RemoteError("bad_operation" or "bad_invoice"), or a reason of the codec."""
        _, invoice_content, invoice_signature, content, signature = codec.fields(values, 5, "bad_operation")
        invoice_content = signed_content(invoice_content)
        content = signed_content(content)
        digest, amount, payer_key, sent = codec.fields(codec.decode(content), 4, "bad_operation")
        return cls(
            invoice_content,
            signature_field(invoice_signature),
            content,
            signature_field(signature),
            Invoice.decode(invoice_content),
            codec.octets(digest, DIGEST_BYTES, "bad_operation"),
            codec.uint(amount, SUPPLY_MAX, "bad_operation"),
            codec.octets(payer_key, KEY_BYTES, "bad_operation"),
            codec.uint(sent, UINT_MAX, "bad_operation"),
        )

    def encode(self) -> bytes:
        """CBOR [1, invoice, signature, payment, signature]."""
        return encode(
            [PAYMENT_CODE, self.invoice_content, self.invoice_signature, self.payment_content, self.payment_signature]
        )

    def check_signatures(self, network: bytes) -> Status:
        """OK, INVOICE_MISMATCH or BAD_SIGNATURE."""
        if signed_digest("invoice", network, self.invoice_content) != self.invoice_digest:
            return Status.INVOICE_MISMATCH
        if not verify(self.invoice.payee_key, self.invoice_signature, self.invoice_digest):
            return Status.BAD_SIGNATURE
        return check("payment", network, self.payer_key, self.payment_signature, self.payment_content)


@dataclass(frozen=True, slots=True)
class Distribution:
    """[organization's key, sent, payee's id, amount, reason], signed by the organization, tag "distrib"."""

    CODE: ClassVar[int] = 2
    content: bytes
    signature: bytes
    organization_key: bytes
    sent: int
    payee: bytes
    amount: int
    reason: str

    @classmethod
    def make(cls, network: bytes, organization: Key, sent: int, payee: bytes, amount: int, reason: str) -> Distribution:
        """Signs a distribution. Checks nothing."""
        content = encode([organization.public, sent, payee, amount, reason])
        signature = organization.sign(signed_digest("distrib", network, content))
        return cls(content, signature, organization.public, sent, payee, amount, reason)

    @classmethod
    def from_values(cls, values: list[Value]) -> Distribution:
        """Raises RemoteError("bad_operation"), or a reason of the codec."""
        _, content, signature = codec.fields(values, 3, "bad_operation")
        content = signed_content(content)
        key, sent, payee, amount, reason = codec.fields(codec.decode(content), 5, "bad_operation")
        return cls(
            content,
            signature_field(signature),
            codec.octets(key, KEY_BYTES, "bad_operation"),
            codec.uint(sent, UINT_MAX, "bad_operation"),
            codec.octets(payee, ID_BYTES, "bad_operation"),
            codec.uint(amount, SUPPLY_MAX, "bad_operation"),
            codec.text(reason, REASON_BYTES_MAX, "bad_operation"),
        )

    def digest(self, network: bytes) -> bytes:
        """What the organization has signed: 32 bytes."""
        return signed_digest("distrib", network, self.content)

    def encode(self) -> bytes:
        """CBOR [2, distribution, signature]."""
        return encode([self.CODE, self.content, self.signature])

    def check_signatures(self, network: bytes) -> Status:
        """OK or BAD_SIGNATURE."""
        return check("distrib", network, self.organization_key, self.signature, self.content)
