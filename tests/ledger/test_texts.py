"""Invoices and invites as texts: one form, no more characters than a QR code takes, a reason for all else."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Final

import pytest

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import RemoteError
from leither_lite.identity import h32
from leither_lite.ledger.payments import Invoice
from leither_lite.ledger.texts import TEXT_CHARS_MAX, SecretInvite, SignedInvoice
from leither_lite.limits import SUPPLY_MAX, UINT_MAX
from tests.ledger.founding import FOUNDER, NETWORK, invite, key_of

BOB: Final = key_of(11)
INVOICE: Final = SignedInvoice.sign(NETWORK, BOB, Invoice(BOB.public, 5, 6, 7, "tea"))
INVITE: Final = SecretInvite(NETWORK, invite(1_000), key_of(1_000).seed)
Decode = Callable[[str], object]
BOTH: Final[list[tuple[str, Decode, str]]] = [
    (INVOICE.encode(), SignedInvoice.decode, "bad_invoice"),
    (INVITE.encode(), SecretInvite.decode, "bad_invite"),
]


def plain(head: str, value: Value) -> str:
    """A text as docs/protocol.md says: base64url without padding."""
    return head + base64.urlsafe_b64encode(codec.encode(value)).decode().rstrip("=")


def test_invoice() -> None:
    content = codec.encode([BOB.public, 5, 6, 7, "tea"])
    signature = BOB.sign(h32("invoice", NETWORK + content))
    assert INVOICE.encode() == plain("leither:invoice/", [NETWORK, content, signature])
    assert SignedInvoice.decode(INVOICE.encode()) == INVOICE
    assert INVOICE.is_signed()
    forged = SignedInvoice(NETWORK, content, FOUNDER.sign(INVOICE.digest), INVOICE.invoice)
    assert not SignedInvoice.decode(forged.encode()).is_signed()
    assert not SignedInvoice(bytes(20), content, signature, INVOICE.invoice).is_signed()


def test_invite() -> None:
    content = codec.encode([FOUNDER.public, key_of(1_000).public, 1, 10**6])
    signature = FOUNDER.sign(h32("invite", NETWORK + content))
    assert INVITE.encode() == plain("leither:invite/", [NETWORK, content, signature, (1_000).to_bytes(32, "big")])
    assert SecretInvite.decode(INVITE.encode()) == INVITE
    assert INVITE.secret.public == INVITE.invite.invite_key
    with pytest.raises(RemoteError, match="bad_invite: the secret"):
        SecretInvite.decode(SecretInvite(NETWORK, INVITE.invite, key_of(9).seed).encode())


def test_longest_fit_a_qr_code() -> None:
    """Version 20 at error correction M holds 666 bytes."""
    longest = SignedInvoice.sign(NETWORK, BOB, Invoice(BOB.public, SUPPLY_MAX, UINT_MAX, UINT_MAX, "x" * 64))
    assert len(longest.encode()) < 400
    assert len(INVITE.encode()) < 400


@pytest.mark.parametrize(("text", "decode", "reason"), BOTH)
def test_refused(text: str, decode: Decode, reason: str) -> None:
    head, _, body = text.partition("/")
    wrong = [
        "",
        body,
        head + "/",
        head.upper() + "/" + body,
        text + "=",
        text + " ",
        " " + text,
        text + "\n",
        text + "AAAA",
        text.replace("/", "//"),
        head + "/" + "é" * 8,
        head + "/" + "A" * TEXT_CHARS_MAX,
        BOTH[0][0] if text is BOTH[1][0] else BOTH[1][0],
        *(text[:size] for size in range(len(text))),
    ]
    for refused in wrong:
        with pytest.raises(RemoteError, match=reason):
            decode(refused)


@pytest.mark.parametrize(("text", "decode", "reason"), BOTH)
def test_changed_characters(text: str, decode: Decode, reason: str) -> None:
    """A changed character is refused, or read as what it says: never as the text that it was."""
    good = decode(text)
    for at in range(text.index("/") + 1, len(text)):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        try:
            taken = decode(changed)
        except RemoteError as error:
            found = error.reason
        else:
            found = reason
            assert taken != good
        assert found == reason


@pytest.mark.parametrize(
    "value",
    [
        [NETWORK, INVOICE.content],
        [NETWORK, INVOICE.content, INVOICE.signature, 0],
        [NETWORK[1:], INVOICE.content, INVOICE.signature],
        [NETWORK, INVOICE.content, INVOICE.signature[1:]],
        [NETWORK, b"\x80", INVOICE.signature],
        [NETWORK, bytes(1025), INVOICE.signature],
        7,
    ],
)
def test_wrong_fields(value: Value) -> None:
    with pytest.raises(RemoteError, match="bad_invoice"):
        SignedInvoice.decode(plain("leither:invoice/", value))
