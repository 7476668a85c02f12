"""The node's own record of transfers: what its accounts paid and were paid (docs/store.md).

Decides only how a transfer is kept and shown. Never says that one is final before its pulse is sealed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.identity import account_id, signed_digest
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.limits import DIGEST_BYTES, ID_BYTES, REASON_BYTES_MAX, SUPPLY_MAX, UINT_MAX

PENDING: Final = "pending"
CREDITED: Final = "credited"
REFUSED: Final = "refused"
PASSED: Final = "passed"
DEBITED: Final = "debited"
REFUNDED: Final = "refunded"
RECLAIMED: Final = "reclaimed"
_STATES: Final = (PENDING, CREDITED, REFUSED, PASSED, DEBITED, REFUNDED, RECLAIMED)
_KINDS: Final = ("payment", "distribution")


@dataclass(frozen=True, slots=True)
class Transfer:
    """One transfer of this node's accounts.

    `digest` is what the payer signed, `invoice` what the payee signed (empty for a distribution), `asked` the digest
    of the caller's idempotency key (empty without one); `text` is the memo or the announced reason, `reason` why it
    was refused; `pulse` is 0 until it is sealed.
    """

    kind: str
    state: str
    pulse: int
    payer: bytes
    payee: bytes
    amount: int
    sent: int
    digest: bytes
    invoice: bytes
    fixed: bool
    asked: bytes
    text: str
    reason: str

    @classmethod
    def of(cls, network: bytes, operation: Payment | Distribution, asked: bytes) -> Transfer:
        """The pending transfer that an operation makes."""
        payer, payee = parties(operation)
        if isinstance(operation, Payment):
            kind, tag, content = "payment", "payment", operation.payment_content
            invoice, fixed, text = operation.invoice_digest, operation.invoice.amount > 0, operation.invoice.memo
        else:
            kind, tag, content = "distribution", "distrib", operation.content
            invoice, fixed, text = b"", False, operation.reason
        return cls(
            kind=kind,
            state=PENDING,
            pulse=0,
            payer=payer,
            payee=payee,
            amount=operation.amount,
            sent=operation.sent,
            digest=signed_digest(tag, network, content),
            invoice=invoice,
            fixed=fixed,
            asked=asked,
            text=text,
            reason="",
        )

    @classmethod
    def of_receipt(cls, receipt: Receipt, pulse: int) -> Transfer:
        """What has come from another group; of a payment the digest that the payee signed tells which it is."""
        kind = "payment" if receipt.kind == ReceiptKind.PAYMENT else "distribution"
        return cls(
            kind=kind,
            state=CREDITED,
            pulse=pulse,
            payer=receipt.payer,
            payee=receipt.payee,
            amount=receipt.amount,
            sent=receipt.sent,
            digest=receipt.ref,
            invoice=receipt.ref if kind == "payment" else b"",
            fixed=False,
            asked=b"",
            text="",
            reason="",
        )

    def sealed(self, pulse: int, *, goes_far: bool = False) -> Transfer:
        """The same, final; or, where the payee is in another group, with the payer's side done."""
        return replace(self, state=DEBITED if goes_far else CREDITED, pulse=pulse)

    def resolved(self, state: str) -> Transfer:
        """The same, with what became of it in the payee's group: CREDITED, REFUNDED or RECLAIMED."""
        return replace(self, state=state)

    def unsealed(self) -> Transfer:
        """The same, pending."""
        return replace(self, state=PENDING, pulse=0)

    def passed(self, pulse: int) -> Transfer:
        """The same, its number used at or before `pulse`, while this node was away: by it, unless the payer's key is in
        use elsewhere too."""
        return replace(self, state=PASSED, pulse=pulse)

    def refused(self, reason: str) -> Transfer:
        """The same, refused for a reason."""
        return replace(self, state=REFUSED, reason=reason)

    def encode(self) -> bytes:
        """CBOR of all fields, kind and state as their numbers."""
        return encode(
            [
                _KINDS.index(self.kind),
                _STATES.index(self.state),
                self.pulse,
                self.payer,
                self.payee,
                self.amount,
                self.sent,
                self.digest,
                self.invoice,
                int(self.fixed),
                self.asked,
                self.text,
                self.reason,
            ]
        )

    @classmethod
    def decode(cls, content: bytes) -> Transfer:
        """Raises RemoteError("bad_transfer"), or a reason of the codec."""
        bad = "bad_transfer"
        kind, state, pulse, payer, payee, amount, sent, digest, invoice, fixed, asked, text, reason = codec.fields(
            codec.decode(content), 13, bad
        )
        return cls(
            _KINDS[codec.uint(kind, len(_KINDS) - 1, bad)],
            _STATES[codec.uint(state, len(_STATES) - 1, bad)],
            codec.uint(pulse, UINT_MAX, bad),
            codec.octets(payer, ID_BYTES, bad),
            codec.octets(payee, ID_BYTES, bad),
            codec.uint(amount, SUPPLY_MAX, bad),
            codec.uint(sent, UINT_MAX, bad),
            codec.octets(digest, DIGEST_BYTES, bad),
            codec.octets_upto(invoice, DIGEST_BYTES, bad),
            bool(codec.uint(fixed, 1, bad)),
            codec.octets_upto(asked, DIGEST_BYTES, bad),
            codec.text(text, REASON_BYTES_MAX, bad),
            codec.text(reason, 64, bad),
        )

    def name(self, sequence: int) -> str:
        """The transfer's id on this node: 16 hex digits of its number here, 16 of its digest."""
        return f"{sequence:016x}{self.digest[:8].hex()}"

    def to_json(self, sequence: int) -> dict[str, Any]:
        """What the API shows."""
        return {
            "id": self.name(sequence),
            "kind": self.kind,
            "state": self.state,
            "pulse": self.pulse,
            "reason": self.reason or None,
            "payer": self.payer.hex(),
            "payee": self.payee.hex(),
            "amount": self.amount,
            "sent": self.sent,
            "text": self.text,
            "digest": self.digest.hex(),
        }


def parties(operation: Payment | Distribution) -> tuple[bytes, bytes]:
    """The ids of payer and payee."""
    if isinstance(operation, Payment):
        return account_id(operation.payer_key), account_id(operation.invoice.payee_key)
    return account_id(operation.organization_key), operation.payee
