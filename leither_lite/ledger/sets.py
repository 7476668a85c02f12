"""The sets of receipts in S: `pending`, sent and not resolved, and `settled` (docs/protocol.md, sections 2.2 and 5.6).

Decides how they lie in memory and in the store. `pending` is small and in memory; `settled` has a day's receipts and is
read through the store, a value at a time. Never decides what belongs in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.effects import Write
from leither_lite.errors import Halt, RemoteError
from leither_lite.ledger.receipts import Receipt
from leither_lite.limits import UINT_MAX
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree.node import node_pulse
from leither_lite.tree.tree import SumTree

PENDING_MAX: Final = 4_096
"""So many receipts a group has under way at most: 2 MB in memory."""
EXPIRED_MAX: Final = 1_024
"""So many settled receipts are forgotten with one header, at most: the floor rises no further."""


def sent_content(receipt: Receipt, pulse: int) -> bytes:
    """What is kept of a receipt that the header of `pulse` has sent: CBOR [receipt, pulse]."""
    return encode([receipt.value(), pulse])


def read_sent(content: bytes) -> tuple[Receipt, int]:
    """The inverse of `sent_content`. Raises Halt("store_corrupt")."""
    try:
        receipt, pulse = codec.fields(codec.decode(content), 2, "bad_receipt")
        return Receipt.take(receipt, "bad_receipt"), codec.uint(pulse, UINT_MAX, "bad_receipt")
    except RemoteError as error:
        raise Halt("store_corrupt", f"a receipt in the store cannot be read: {error}") from error


class PendingSet:
    """Receipts that this group has sent, with the pulse of the header that did."""

    def __init__(self) -> None:
        self.tree = SumTree(modular=True)
        self.items: dict[bytes, tuple[Receipt, int]] = {}

    @classmethod
    def load(cls, reader: Reader) -> PendingSet:
        """What the store has. Raises Halt("store_corrupt")."""
        pending = cls()
        for _, content in reader.scan(*keys.PENDING):
            pending.put(*read_sent(content))
        return pending

    def put(self, receipt: Receipt, pulse: int) -> None:
        """A receipt is sent."""
        item = receipt.id
        self.items[item] = (receipt, pulse)
        self.tree.put(item, receipt.leaf(pulse))

    def remove(self, item: bytes) -> tuple[Receipt, int]:
        """A receipt waits no more. Raises KeyError."""
        found = self.items.pop(item)
        self.tree.delete(item)
        return found


class SettledSet:
    """Receipts settled here, with the pulse of the header that sent each; `reader` is the store's."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._rows: dict[bytes, bytes | None] = {}  # changed since the last `writes`
        self._under_way: dict[bytes, bytes | None] = {}  # written, and perhaps not on disk yet
        self.tree = SumTree(self._read_tree, modular=True)

    def _read_tree(self, key: bytes) -> bytes | None:
        return self._read(keys.settled_tree(key))

    def _read(self, key: bytes) -> bytes | None:
        for changed in (self._rows, self._under_way):
            if key in changed:
                return changed[key]
        return self._reader.get(key)

    def put(self, receipt: Receipt, pulse: int) -> None:
        """A receipt is settled."""
        self._rows[keys.settled(pulse, receipt.id)] = sent_content(receipt, pulse)
        self.tree.put(receipt.id, receipt.leaf(pulse))

    def remove(self, receipt: Receipt, pulse: int) -> None:
        """A receipt is forgotten, or its settling undone. Raises KeyError."""
        self._rows[keys.settled(pulse, receipt.id)] = None
        self.tree.delete(receipt.id)

    def __contains__(self, item: object) -> bool:
        return item in self.tree

    def get(self, item: bytes) -> tuple[Receipt, int] | None:
        """A settled receipt by its id, with the pulse of the header that sent it."""
        leaf = self.tree.get(item)
        content = None if leaf is None else self._read(keys.settled(node_pulse(leaf), item))
        return None if content is None else read_sent(content)

    def older(self, date: int, limit: int) -> list[tuple[Receipt, int]]:
        """The receipts of before the tick `date`, oldest first, `limit` at most."""
        found: list[tuple[Receipt, int]] = []
        for content in self._in_order():
            sent = read_sent(content)
            if len(found) >= limit or sent[0].date >= date:
                break
            found.append(sent)
        return found

    def _in_order(self) -> Iterator[bytes]:
        """All rows, in the order of their keys, as they are now."""
        changed = {**self._under_way, **self._rows}
        added = sorted((key, content) for key, content in changed.items() if _is_row(key) and content is not None)
        at = 0
        for key, content in self._reader.scan(*keys.SETTLED):
            while at < len(added) and added[at][0] < key:
                yield added[at][1]
                at += 1
            if key not in changed:
                yield content
        for _, content in added[at:]:
            yield content

    def writes(self) -> list[Write]:
        """What changed since the last call: it belongs into the transaction of the seal."""
        writes: list[Write] = [(keys.settled_tree(key), value) for key, value in self.tree.writes()]
        writes += self._rows.items()
        self._under_way.update(writes)
        self._rows = {}
        return writes

    def performed(self) -> None:
        """The last writes are on disk."""
        self._under_way = {}


def _is_row(key: bytes) -> bool:
    return key[:1] == keys.SETTLED[0]
