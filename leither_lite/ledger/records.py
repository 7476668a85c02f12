"""The record of an account, its entry in a level-1 page, and how pages are counted (docs/protocol.md, 2 and 3).

Never decides whether a change is allowed: that is `ledger.judge`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final, NamedTuple

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import RemoteError
from leither_lite.limits import GROUP_MEMBERS_MAX, ID_BYTES, SUM_MAX, SUPPLY_MAX, UINT_MAX
from leither_lite.tree import node


class Role(IntEnum):
    """What an account is in its organization."""

    GUEST = 0
    MEMBER = 1
    SUPERVISOR = 2
    ORGANIZATION = 3
    CONTRACT = 4


class Record(NamedTuple):
    """An account's record: amounts in the token's smallest unit, `sent` the number of payments made."""

    balance: int
    frozen: int
    sent: int
    role: int
    votes: int

    def encode(self) -> bytes:
        """CBOR [balance, frozen, sent, role, votes]."""
        return codec.encode_uints([self.balance, self.frozen, self.sent, int(self.role), self.votes])

    @classmethod
    def decode(cls, content: bytes) -> Record:
        """Raises RemoteError("bad_record"), or a reason of the codec."""
        return cls.from_values(codec.fields(codec.decode(content), 5, "bad_record"))

    @classmethod
    def from_values(cls, values: list[Value]) -> Record:
        """A record of five decoded values. Raises RemoteError("bad_record")."""
        balance, frozen, sent, role, votes = (codec.uint(value, UINT_MAX, "bad_record") for value in values)
        if balance > SUPPLY_MAX or frozen > SUPPLY_MAX or role > Role.CONTRACT:
            raise RemoteError("bad_record", "an amount beyond the largest supply, or an unknown role")
        return cls(balance, frozen, sent, role, votes)


class Entry(NamedTuple):
    """An account's state in its group: the pulse in which an operation last touched it, and its record."""

    pulse: int
    record: Record

    def leaf(self, account: bytes) -> bytes:
        """The 36-byte leaf of this entry under the account's 20-byte id."""
        record = self.record
        return node.leaf(account, self.pulse, record.balance + record.frozen, node.record_digest(record.encode()))


_ENTRY_HEAD: Final = codec.encode([bytes(ID_BYTES), 0, 0, 0, 0, 0, 0])[: -ID_BYTES - 6]
PAGE_HEAD_BYTES: Final = 2
"""The array head of a page of 24 to 255 entries; smaller pages have less, and are far from the bound."""


def uint_bytes(value: int) -> int:
    """How many bytes CBOR spends on an unsigned integer."""
    if value < 24:
        return 1
    if value < 1 << 8:
        return 2
    if value < 1 << 16:
        return 3
    return 5 if value < 1 << 32 else 9


def counted_bytes(record: Record) -> int:
    """What an entry counts in its page: balance at 9, sent and pulse at 5 bytes, whatever they are; 44 at least."""
    return 1 + 1 + ID_BYTES + 5 + 9 + uint_bytes(record.frozen) + 5 + 1 + uint_bytes(record.votes)


def encode_page(entries: Iterable[tuple[bytes, int, bytes]]) -> bytes:
    """CBOR [[id, pulse, balance, frozen, sent, role, votes], ...] of (id, pulse, CBOR of the record).

    The items of an entry are its id and pulse, and then those of the record's own encoding, behind its head.
    """
    encode = codec.encode
    return codec.encode_array(
        [_ENTRY_HEAD + account + encode(pulse) + record[1:] for account, pulse, record in entries]
    )


def decode_page(content: bytes) -> list[tuple[bytes, Entry]]:
    """The entries of a page. Raises RemoteError("bad_page" or "bad_record"), or a reason of the codec."""
    entries: list[tuple[bytes, Entry]] = []
    previous = b""
    for value in codec.items(codec.decode(content), GROUP_MEMBERS_MAX, "bad_page"):
        fields = codec.fields(value, 7, "bad_page")
        account = codec.octets(fields[0], ID_BYTES, "bad_page")
        if account <= previous:
            raise RemoteError("bad_page", "ids must rise")
        previous = account
        pulse = codec.uint(fields[1], SUM_MAX, "bad_page")
        entries.append((account, Entry(pulse, Record.from_values(fields[2:]))))
    return entries
