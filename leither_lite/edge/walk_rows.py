"""The rows of a store one at a time: is each value one that can have been written under its key? (docs/store.md)

Decides what a single value must look like. Whether the values lead to each other is for the rest of the walk.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final, NamedTuple

from leither_lite import codec
from leither_lite.edge.findings import Findings
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import Checkpoint
from leither_lite.ledger.children import Child
from leither_lite.ledger.committee import Willingness
from leither_lite.ledger.merged import Merged
from leither_lite.ledger.operations import decode as decode_operation
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.sets import read_sent
from leither_lite.ledger.settling import Settle
from leither_lite.ledger.state import decode_willing, willing_digest
from leither_lite.limits import DIGEST_BYTES, ID_BYTES, SEGMENT_BYTES_MAX
from leither_lite.node.group_states import entries_of
from leither_lite.node.root_chain import take_seal
from leither_lite.node.transfers import DEBITED
from leither_lite.node.wallet import kept_application, kept_transfer, read_queued
from leither_lite.pulse.votes import Evidence
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree.proof_cbor import take_handover

NUMBER_BYTES: Final = 8
_ASKED_BYTES: Final = 16
_END: Final = b"\xff" * 64

Check = Callable[[Reader, bytes, bytes], object]
"""Of a reader, a key and its value: raises RemoteError or Halt where nobody can have written it."""


class Table(NamedTuple):
    """Rows whose keys begin with one byte: their name, the length of their keys (0: any), what each must be."""

    name: str
    key_bytes: int
    check: Check


def _pending(_: Reader, key: bytes, content: bytes) -> None:
    _belongs(key, keys.pending(read_sent(content)[0].id))


def _settled(_: Reader, key: bytes, content: bytes) -> None:
    receipt, pulse = read_sent(content)
    _belongs(key, keys.settled(pulse, receipt.id))


def _shown(_: Reader, key: bytes, content: bytes) -> None:
    value, operation = codec.fields(codec.decode(content), 2, "bad_shown")
    receipt = Receipt.take(value, "bad_shown")
    _belongs(key, keys.shown(receipt.id))
    settle = decode_operation(codec.octets_upto(operation, len(content), "bad_shown"))
    if not isinstance(settle, Settle) or receipt not in (each for each, _ in settle.receipts):
        raise RemoteError("bad_shown", "the operation does not show that receipt")


def _belongs(key: bytes, own: bytes) -> None:
    if key != own:
        raise RemoteError("bad_key", "it belongs elsewhere")


def _transfer_of(reader: Reader, content: bytes) -> bytes:
    number = int.from_bytes(content[:NUMBER_BYTES], "big")
    transfer = reader.get(keys.transfer(number))
    if transfer is None:
        raise RemoteError("no_transfer", f"there is no transfer {number}")
    return transfer


def _paid(reader: Reader, key: bytes, content: bytes) -> None:
    _sized(content, NUMBER_BYTES)
    _transfer_of(reader, content)


def _asked(reader: Reader, key: bytes, content: bytes) -> None:
    _sized(content, NUMBER_BYTES + _ASKED_BYTES)


def _debited(reader: Reader, key: bytes, content: bytes) -> None:
    _sized(content, NUMBER_BYTES)
    transfer = kept_transfer(_transfer_of(reader, content))
    _belongs(key, keys.debited(transfer.payer, transfer.sent))
    if transfer.state != DEBITED:
        raise RemoteError("bad_transfer", f"the transfer is {transfer.state}")


def _sized(content: bytes, size: int) -> None:
    if len(content) != size:
        raise RemoteError("bad_size", f"{len(content)} bytes")


def _child(_: Reader, key: bytes, content: bytes) -> None:
    _belongs(key, keys.child(*Child.take(codec.decode(content)).place))


def _willing(_: Reader, key: bytes, content: bytes) -> None:
    decode_willing(content)
    _belongs(key, keys.willing(willing_digest(content)))


_LOG: Final = Table(
    "own signatures", 1 + 1 + 4, lambda _, key, content: codec.fields(codec.decode(content), 3, "bad_log")
)
_BODY: Final = Table(
    "a locked body",
    1 + 2,
    lambda _, key, content: codec.items(codec.decode(content), SEGMENT_BYTES_MAX, "bad_segment"),
)

OWN: Final[dict[bytes, Table]] = {
    b"O": Table("shown receipts", 1 + ID_BYTES, _shown),
    b"S": Table("the tree of settled receipts", 0, lambda _, key, content: None),  # it is read as a tree
    b"a": Table(
        "addresses",
        1 + ID_BYTES,
        lambda _, key, content: Willingness.decode(*codec.fields(codec.decode(content), 2, "bad_address")),
    ),
    b"b": _BODY,
    b"c": Table("checkpoints", 1 + NUMBER_BYTES, lambda _, key, content: Checkpoint.decode(content)),
    b"d": Table("transfers under way", 1 + ID_BYTES + NUMBER_BYTES, _debited),
    b"e": Table("evidence", 1 + NUMBER_BYTES, lambda _, key, content: Evidence.decode(content)),
    b"f": Table("paid invoices", 1 + ID_BYTES + DIGEST_BYTES, _paid),
    b"h": Table("handovers", 1 + NUMBER_BYTES, lambda _, key, content: take_handover(codec.decode(content))),
    b"i": Table("used invites", 1 + ID_BYTES, lambda _, key, content: _sized(content, NUMBER_BYTES)),
    b"k": Table("idempotency keys", 1 + _ASKED_BYTES, _asked),
    b"n": Table("applications", 1 + ID_BYTES, lambda _, key, content: kept_application(content)),
    b"o": Table("pending receipts", 1 + ID_BYTES, _pending),
    b"q": Table(
        "queued operations", 1 + NUMBER_BYTES, lambda _, key, content: decode_operation(read_queued(content)[0])
    ),
    b"r": Table("root headers", 1 + NUMBER_BYTES, lambda _, key, content: _sized(content, DIGEST_BYTES + NUMBER_BYTES)),
    b"s": Table("settled receipts", 1 + NUMBER_BYTES + ID_BYTES, _settled),
    b"t": Table("transfers", 1 + NUMBER_BYTES, lambda _, key, content: kept_transfer(content)),
    b"v": _LOG,
}
"""The tables of the node itself and of its own group, by the first byte of their keys, but for `m`, `p` and `g`."""

SEAT: Final[dict[bytes, Table]] = {
    b"C": Table("children", 1 + ID_BYTES + 1, _child),
    b"W": Table("who is willing", 1 + DIGEST_BYTES, _willing),
    b"b": _BODY,
    b"v": _LOG,
}
"""The same of a group above level 1, but for `m` and `p`."""


def check_row(findings: Findings, table: Table, reader: Reader, key: bytes, content: bytes, start: bytes = b"") -> None:
    """One row, whose key in the store begins with `start`, which `key` lacks."""
    if table.key_bytes and len(key) != table.key_bytes:
        findings.unknown(start + key)
        return
    try:
        table.check(reader, key, content)
    except (RemoteError, Halt) as error:
        message = f"the value of {(start + key).hex()} is none that can have been written: {error}"
        findings.note("damaged", message)


def read_table(findings: Findings, reader: Reader, first: bytes) -> None:
    """Each value's checksum and form."""
    table = OWN[first]
    for number, (key, content) in enumerate(reader.scan(first, bytes([first[0] + 1]))):
        if number % 10_000 == 9_999:
            findings.progress(f"{table.name}: {number + 1} read")
        check_row(findings, table, reader, key, content)


def _read_elsewhere(content: bytes) -> None:
    """What it says is looked at where it counts."""


def _pulse(content: bytes) -> None:
    _sized(content, NUMBER_BYTES)


def _root(content: bytes) -> None:
    take_seal(codec.fields(codec.decode(content), 2, "bad_root"))


def _kin(content: bytes) -> None:
    ids = [content[at : at + ID_BYTES] for at in range(0, len(content), ID_BYTES)]
    if len(content) % ID_BYTES or any(later <= earlier for earlier, later in pairwise(ids)):
        raise RemoteError("bad_kin", "ids of 20 bytes must rise")


_SINGLE: Final[dict[bytes, Callable[[bytes], object]]] = {
    keys.APPLYING: _read_elsewhere,
    keys.APPOINTED: _read_elsewhere,
    keys.BASE: _pulse,
    keys.BOOTSTRAP: _read_elsewhere,
    keys.CHARTER: _read_elsewhere,
    keys.CHECKPOINT: _read_elsewhere,
    keys.GENESIS: _read_elsewhere,
    **dict.fromkeys(keys.HALVES, entries_of),
    keys.KIN: _kin,
    keys.MERGED: Merged.decode,
    keys.ORIGIN: _pulse,
    keys.PLACE: _read_elsewhere,
    keys.ROOT: _root,
    keys.SCHEMA: _read_elsewhere,
    keys.TIP: _read_elsewhere,
    keys.WALLET: _pulse,
}


def read_singles(findings: Findings, reader: Reader) -> None:
    """The values that stand alone."""
    for key, content in reader.scan(b"m", b"n"):
        check = _SINGLE.get(key)
        if check is None:
            findings.unknown(key)
            continue
        try:
            check(content)
        except RemoteError as error:
            findings.note("damaged", f"the value of {key.decode()} is none that can have been written: {error}")
    origin = reader.get(keys.ORIGIN)
    if origin is not None and origin != reader.get(keys.BASE):
        findings.note("damaged", "the group was split from another at a pulse with which the store does not begin")


def read_strays(findings: Findings, reader: Reader) -> None:
    """Tables that this schema has not."""
    at = b""
    while (found := next(reader.scan(at, _END), None)) is not None:
        first = found[0][:1]
        if first not in OWN and first not in (b"g", b"m", b"p"):
            findings.unknown(found[0])
        at = bytes([first[0] + 1]) if first < b"\xff" else _END
