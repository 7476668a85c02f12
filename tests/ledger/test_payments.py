"""Invoices, payments and distributions: their bytes as docs/protocol.md has them, and who must have signed."""

from __future__ import annotations

from typing import Any, Final

import pytest

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import RemoteError
from leither_lite.identity import Key, h32
from leither_lite.ledger import operations
from leither_lite.ledger.payments import Distribution, Invoice, Payment
from leither_lite.ledger.signed import SIGNED_BYTES_MAX, Status
from leither_lite.limits import SUPPLY_MAX, UINT_MAX
from tests.ledger.founding import NETWORK, ORGANIZATION, distribution, key_of, payment

ALICE: Final = key_of(10)
BOB: Final = key_of(11)
OTHER: Final = bytes(20)
INVOICE: Final = Invoice(BOB.public, 5, 6, 7, "tea ☕")


def signed(tag: str, network: bytes, key: Key, content: bytes) -> bytes:
    """A signature as section 2 says."""
    return key.sign(h32(tag, network + content))


def paid(invoice: bytes, payer: Key = ALICE, payee: Key = BOB, network: bytes = NETWORK) -> list[Value]:
    """A payment of any bytes, signed as it should be."""
    digest = h32("invoice", network + invoice)
    content = codec.encode([digest, 5, payer.public, 3])
    return [1, invoice, payee.sign(digest), content, signed("payment", network, payer, content)]


def test_bytes_of_a_payment() -> None:
    invoice = codec.encode([BOB.public, 5, 6, 7, "tea ☕"])
    assert INVOICE.encode() == invoice
    value = paid(invoice)
    made = Payment.make(NETWORK, ALICE, invoice, BOB.sign(h32("invoice", NETWORK + invoice)), 5, 3)
    assert made.encode() == codec.encode(value)
    assert operations.decode(codec.encode(value)) == made
    assert made.check_signatures(NETWORK) is Status.OK
    assert (made.invoice, made.amount, made.payer_key, made.sent) == (INVOICE, 5, ALICE.public, 3)


def test_bytes_of_a_distribution() -> None:
    content = codec.encode([ORGANIZATION.public, 3, ALICE.account, 5, "first harvest"])
    made = Distribution.make(NETWORK, ORGANIZATION, 3, ALICE.account, 5, "first harvest")
    assert made.encode() == codec.encode([2, content, signed("distrib", NETWORK, ORGANIZATION, content)])
    assert operations.decode(made.encode()) == made
    assert made.check_signatures(NETWORK) is Status.OK
    assert made.check_signatures(OTHER) is Status.BAD_SIGNATURE


def test_signatures_of_a_payment() -> None:
    made = payment(ALICE, BOB, 5, 3, asked=5)
    assert made.check_signatures(OTHER) is Status.INVOICE_MISMATCH
    value = codec.decode(made.encode())
    assert type(value) is list
    for index, status in ((2, Status.BAD_SIGNATURE), (4, Status.BAD_SIGNATURE)):
        wrong = [*value[:index], ALICE.sign(b"something else"), *value[index + 1 :]]
        assert operations.from_value(wrong).check_signatures(NETWORK) is status
    other = codec.decode(payment(ALICE, BOB, 5, 3, asked=5, number=1).encode())
    assert type(other) is list
    swapped = [1, other[1], other[2], value[3], value[4]]
    assert operations.from_value(swapped).check_signatures(NETWORK) is Status.INVOICE_MISMATCH


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, BOB.public + b"\0"),
        (0, BOB.account),
        (0, 0),
        (1, SUPPLY_MAX + 1),
        (1, b""),
        (1, "1"),
        (2, b"\0"),
        (3, []),
        (4, "x" * 65),
        (4, "☕" * 22),
        (4, b"tea"),
    ],
)
def test_bad_invoice(index: int, value: Any) -> None:
    fields: list[Value] = [BOB.public, 5, 6, 7, "tea"]
    fields[index] = value
    content = codec.encode(fields)
    for refused in (Invoice.decode, lambda content: operations.from_value(paid(content))):
        with pytest.raises(RemoteError, match="bad_invoice"):
            refused(content)


def test_most_that_an_invoice_holds() -> None:
    for invoice in (
        Invoice(BOB.public, SUPPLY_MAX, UINT_MAX, UINT_MAX, "x" * 64),
        Invoice(BOB.public, 0, 0, 0, ""),
        Invoice(BOB.public, 0, 0, 0, "☕" * 21),
    ):
        assert Invoice.decode(invoice.encode()) == invoice


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, bytes(31)),
        (0, 1),
        (1, SUPPLY_MAX + 1),
        (1, b""),
        (2, bytes(20)),
        (3, "0"),
    ],
)
def test_bad_payment(index: int, value: Any) -> None:
    fields: list[Value] = [bytes(32), 5, ALICE.public, 3]
    fields[index] = value
    with pytest.raises(RemoteError, match="bad_operation"):
        operations.from_value([1, INVOICE.encode(), bytes(64), codec.encode(fields), bytes(64)])


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (0, bytes(20)),
        (1, b""),
        (2, bytes(32)),
        (3, SUPPLY_MAX + 1),
        (4, "x" * 257),
        (4, b""),
    ],
)
def test_bad_distribution(index: int, value: Any) -> None:
    fields: list[Value] = [ORGANIZATION.public, 3, ALICE.account, 5, "x" * 256]
    assert operations.from_value([2, codec.encode(fields), bytes(64)])
    fields[index] = value
    with pytest.raises(RemoteError, match="bad_operation"):
        operations.from_value([2, codec.encode(fields), bytes(64)])


def test_bad_operations() -> None:
    good = codec.decode(distribution(ALICE.account, 1, 0).encode())
    assert type(good) is list
    wrong: list[Value] = [
        [],
        1,
        b"",
        [0, *good[1:]],
        [6, *good[1:]],
        ["2", *good[1:]],
        [[2], *good[1:]],
        [2],
        [*good, 0],
        [1, *good[1:]],
        [2, good[1], bytes(63)],
        [2, bytes(SIGNED_BYTES_MAX + 1), good[2]],
    ]
    for value in wrong:
        with pytest.raises(RemoteError, match="bad_operation"):
            operations.from_value(value)
    with pytest.raises(RemoteError, match="cbor_truncated"):
        operations.from_value([2, b"\x85", good[2]])
    with pytest.raises(RemoteError, match="cbor_map"):
        operations.from_value([2, b"\xa0", good[2]])
