"""Invoices and invites as one text each, that fits a QR code (docs/protocol.md, section 10).

`leither:invoice/…` and `leither:invite/…`: base64url without padding of CBOR arrays that begin with the network's id.
An invite's text holds a secret: whoever has it first may join with it.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import RemoteError
from leither_lite.identity import Key, signed_digest, verify
from leither_lite.ledger.joins import Invite
from leither_lite.ledger.payments import Invoice
from leither_lite.ledger.signed import signature_field, signed_content
from leither_lite.limits import ID_BYTES, SEED_BYTES

TEXT_CHARS_MAX: Final = 2048
_INVOICE: Final = "leither:invoice/"
_INVITE: Final = "leither:invite/"
_ALPHABET: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def _to_text(head: str, value: Value) -> str:
    return head + binascii.b2a_base64(encode(value), newline=False).decode().translate(_URL_SAFE).rstrip("=")


_URL_SAFE: Final = str.maketrans("+/", "-_")
_PLAIN: Final = str.maketrans("-_", "+/")


def _from_text(head: str, text: str, count: int, reason: str) -> list[Value]:
    if len(text) > TEXT_CHARS_MAX or not text.startswith(head):
        raise RemoteError(reason, f"a text of at most {TEXT_CHARS_MAX} characters that begins with {head} is expected")
    body = text[len(head) :]
    if not _ALPHABET.issuperset(body) or len(body) % 4 == 1:
        raise RemoteError(reason, "cut short, or a character that does not belong there")
    content = binascii.a2b_base64(body.translate(_PLAIN) + "=" * (-len(body) % 4))
    try:
        values = codec.fields(codec.decode(content), count, reason)
    except RemoteError as error:
        raise RemoteError(reason, f"cut short or damaged ({error.reason})") from error
    if _to_text(head, values) != text:
        raise RemoteError(reason, "not in its one form")
    return values


@dataclass(frozen=True, slots=True)
class SignedInvoice:
    """An invoice with its payee's signature, for a network: what its text holds."""

    network: bytes
    content: bytes
    signature: bytes
    invoice: Invoice

    @classmethod
    def sign(cls, network: bytes, payee: Key, invoice: Invoice) -> SignedInvoice:
        """The payee's side of a payment."""
        content = invoice.encode()
        return cls(network, content, payee.sign(signed_digest("invoice", network, content)), invoice)

    @property
    def digest(self) -> bytes:
        """What the payee signed, and the payment refers to."""
        return signed_digest("invoice", self.network, self.content)

    def is_signed(self) -> bool:
        """True if the payee's signature is good."""
        return verify(self.invoice.payee_key, self.signature, self.digest)

    def encode(self) -> str:
        """`leither:invoice/…`"""
        return _to_text(_INVOICE, [self.network, self.content, self.signature])

    @classmethod
    def decode(cls, text: str) -> SignedInvoice:
        """The signature is not checked yet. Raises RemoteError("bad_invoice")."""
        network, content, signature = _from_text(_INVOICE, text, 3, "bad_invoice")
        try:
            content = signed_content(content)
            return cls(
                codec.octets(network, ID_BYTES, "bad_invoice"),
                content,
                signature_field(signature),
                Invoice.decode(content),
            )
        except RemoteError as error:
            raise RemoteError("bad_invoice", error.detail) from error


@dataclass(frozen=True, slots=True)
class SecretInvite:
    """An invite with its secret seed, for a network: what its text holds."""

    network: bytes
    invite: Invite
    seed: bytes

    @property
    def secret(self) -> Key:
        """The key whose public half the invite names."""
        return Key.from_seed(self.seed)

    def encode(self) -> str:
        """`leither:invite/…`"""
        return _to_text(_INVITE, [self.network, self.invite.content, self.invite.signature, self.seed])

    @classmethod
    def decode(cls, text: str) -> SecretInvite:
        """The signature is not checked yet. Raises RemoteError("bad_invite")."""
        network, content, signature, seed = _from_text(_INVITE, text, 4, "bad_invite")
        try:
            invite = cls(
                codec.octets(network, ID_BYTES, "bad_invite"),
                Invite.from_values(content, signature),
                codec.octets(seed, SEED_BYTES, "bad_invite"),
            )
        except RemoteError as error:
            raise RemoteError("bad_invite", error.detail) from error
        if invite.secret.public != invite.invite.invite_key:
            raise RemoteError("bad_invite", "the secret is not the invite's")
        return invite
