"""A header that was sealed and never came under the root: what this node's owners asked for in it waits again.

Decides what of such a header is still wanted. Never decides that it is void: the branch shows another in its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from leither_lite import codec
from leither_lite.effects import Write
from leither_lite.ledger.group import Group
from leither_lite.ledger.operations import from_value
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.records import Entry
from leither_lite.node.transfers import parties
from leither_lite.node.wallet import Wallet, queued_content
from leither_lite.store import keys
from leither_lite.store.reader import Reader

LOOKED_AT_MAX: Final = 4_096
"""The newest transfers, among which those of the last header are."""


def take_back(reader: Reader, wallet: Wallet, group: Group, entries: Mapping[bytes, Entry]) -> list[Write]:
    """What makes the payments of this node's accounts that are in the group's last header wait for a seal again.

    `entries` are the group's under the root: a payer who has gone on there has paid.
    """
    header = group.header
    if (header.bits, header.prefix) != (group.bits, group.prefix):
        return []
    kept = {}
    for number, transfer in wallet.newest(None, LOOKED_AT_MAX):
        if transfer.pulse == header.pulse:
            kept[transfer.payer, transfer.sent] = number, transfer
    last = next(reader.scan(*keys.QUEUED, reverse=True), None)
    sequence = 1 if last is None else 1 + keys.sequence_of(last[0])
    writes: list[Write] = []
    for _, segment in reader.scan(*keys.segments(header.pulse)):
        for value in codec.items(codec.decode(segment), len(segment), "bad_segment"):
            operation = from_value(value)
            if not isinstance(operation, Payment | Distribution):
                continue
            found = kept.get((parties(operation)[0], operation.sent))
            if found is None or found[1].payer not in wallet.keys:
                continue
            number, transfer = found
            entry = entries.get(transfer.payer)
            if entry is None or entry.record.sent > transfer.sent:
                continue
            request = (reader.get(keys.idempotency(transfer.asked)) or b"")[8:] if transfer.asked else b""
            content = queued_content(codec.encode(value), number, transfer.asked, request)
            writes += [
                (keys.queued(sequence), content),
                (keys.transfer(number), None),
                (keys.debited(transfer.payer, transfer.sent), None),
                (keys.paid(transfer.payer, transfer.invoice), None),
            ]
            sequence += 1
    return writes
