"""The state of a level-1 group that is not the root, as one node gives it to another (docs/protocol.md, section 9).

Decides how it looks, and whether page, sets, R and S are what the branch above shows of the group. Who takes it has
checked that branch, and needs no seal of the group's own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.effects import Write
from leither_lite.errors import RemoteError
from leither_lite.header import roster_digest, state_digest
from leither_lite.ledger import group as ledger
from leither_lite.ledger.children import Place
from leither_lite.ledger.group import Group, tree_of
from leither_lite.ledger.joins import invite_leaf
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.records import Entry, decode_page, encode_page
from leither_lite.ledger.sealed import SEALED_BYTES_MAX, SealedPulse
from leither_lite.ledger.sets import PENDING_MAX, PendingSet, SettledSet
from leither_lite.ledger.state import State
from leither_lite.ledger.tip import Tip
from leither_lite.limits import ID_BYTES, PAGE_BYTES_MAX, UINT_MAX
from leither_lite.node.states import INVITES_MAX, STATE_BYTES_MAX
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore, Reader
from leither_lite.tree.node import EMPTY, group, meta
from leither_lite.tree.tree import SumTree

GROUP_STATE_FIELDS: Final = 6
_BAD: Final = "bad_state"
_TIP_BYTES_MAX: Final = 16 * 1024
_PAGE_MAX: Final = PAGE_BYTES_MAX + 4_096
_SETTLED_MAX: Final = 32_768
"""So many settled receipts fit into a state of 4 MiB."""


def make_group_state(reader: Reader, here: Group) -> bytes:
    """CBOR [sealed pulse, tip or empty, page, used invites, [[receipt, pulse], …] pending, the same settled].

    Raises RemoteError("bad_want") where it would be too large.
    """
    pulse = here.header.pulse
    entries = ledger.entries_at(reader, pulse)
    page = encode_page((account, entry.pulse, entry.record.encode()) for account, entry in entries.items())
    invites = b"".join(key[1:] + used_in for key, used_in in reader.scan(*keys.INVITES))
    pending: Value = [codec.decode(content) for _, content in reader.scan(*keys.PENDING)]
    settled: Value = [codec.decode(content) for _, content in reader.scan(*keys.SETTLED)]
    content = encode([here.sealed.encode(), reader.get(keys.TIP) or b"", page, invites, pending, settled])
    if len(content) > STATE_BYTES_MAX:
        raise RemoteError("bad_want", "the state is too large to be given")
    return content


def entries_of(content: bytes) -> dict[bytes, Entry]:
    """The accounts in a state. Raises RemoteError("bad_state"), or a reason of the codec."""
    page = codec.fields(codec.decode(content), GROUP_STATE_FIELDS, _BAD)[2]
    return dict(decode_page(codec.octets_upto(page, _PAGE_MAX, _BAD)))


def sealed_of(content: bytes) -> SealedPulse:
    """The last header in a state, with its parts. Raises RemoteError("bad_state"), or a reason of the parts."""
    sealed = codec.fields(codec.decode(content), GROUP_STATE_FIELDS, _BAD)[0]
    return SealedPulse.decode(codec.octets_upto(sealed, SEALED_BYTES_MAX, _BAD))


def take_group_state(reader: Reader, network: bytes, content: bytes, place: Place, node: bytes) -> list[Write]:
    """What makes the store one of the group at `place`, whose node the branch shows.

    Raises RemoteError("bad_state"), or a reason of the parts.
    """
    sealed_content, tip_content, page, invites, pending, settled = codec.fields(
        codec.decode(content), GROUP_STATE_FIELDS, _BAD
    )
    sealed_content = codec.octets_upto(sealed_content, SEALED_BYTES_MAX, _BAD)
    sealed = SealedPulse.decode(sealed_content)
    header = sealed.header
    tip_content = codec.octets_upto(tip_content, _TIP_BYTES_MAX, _BAD)
    tip = Tip.decode(tip_content) if tip_content else Tip.after(sealed, State.decode(sealed.state, sealed.willing))
    page = codec.octets_upto(page, _PAGE_MAX, _BAD)
    entries = dict(decode_page(page))
    used = _invites(codec.octets_upto(invites, INVITES_MAX * (ID_BYTES + 8), _BAD))
    invited = SumTree()
    invited.put_many([(item, invite_leaf(pulse, item)) for item, pulse in used])
    sent, done = PendingSet(), SettledSet(MemoryStore())
    for receipt, pulse in _receipts(pending, PENDING_MAX):
        sent.put(receipt, pulse)
    for receipt, pulse in _receipts(settled, _SETTLED_MAX):
        done.put(receipt, pulse)
    outbox = EMPTY if tip_content else sealed.outbox
    opened = meta(roster_digest(tip.roster), outbox, tip.sent_out, tip.settled_in, state_digest(tip.state.encode()))
    whole = (
        (tip.prefix, tip.bits, tip.opened, header.network, header.level) == (*place, b"", network, 1)
        and group(1, tip.bits, tip.prefix, header.pulse, tip.inner, opened) == node
        and (tree_of(entries).root(), invited.root()) == (tip.inner, tip.state.invites)
        and (sent.tree.root(), done.tree.root()) == (tip.state.pending, tip.state.settled)
    )
    if not whole:
        raise RemoteError(_BAD, "it is not what the branch shows")
    pulse_bytes = header.pulse.to_bytes(8, "big")
    return [
        *_cleared(reader, sent),
        *_void(reader, header.pulse, sealed_content),
        (keys.sealed(header.pulse), sealed_content),
        (keys.snapshot(header.pulse), page),
        (keys.BASE, pulse_bytes),
        (keys.TIP, tip_content or None),
        (keys.ORIGIN, pulse_bytes if tip_content else None),
        *((keys.invite(item), pulse.to_bytes(8, "big")) for item, pulse in used),
        *((keys.pending(item), encode([receipt.value(), at])) for item, (receipt, at) in sent.items.items()),
        *done.writes(),
    ]


def _cleared(reader: Reader, sent: PendingSet) -> list[Write]:
    """What deletes the sets of the group that this node was in before; what shows receipts that are pending stays."""
    spans = (keys.PENDING, keys.SETTLED, keys.SETTLED_TREE, keys.INVITES)
    writes: list[Write] = [(key, None) for span in spans for key, _ in reader.scan(*span)]
    return writes + [(key, None) for key, _ in reader.scan(*keys.SHOWN) if key[1:] not in sent.items]


def _void(reader: Reader, pulse: int, sealed: bytes) -> list[Write]:
    """What deletes headers that were sealed here and never came under the root: those above what was sealed in `pulse`,
    and another one of that pulse."""
    first = pulse + 1 if reader.get(keys.sealed(pulse)) == sealed else pulse
    return [(key, None) for key, _ in reader.scan(*keys.pulses(first, keys.PULSE_MAX))]


def _invites(content: bytes) -> list[tuple[bytes, int]]:
    size = ID_BYTES + 8
    if len(content) % size:
        raise RemoteError(_BAD, "the used invites are cut short")
    return [
        (content[at : at + ID_BYTES], int.from_bytes(content[at + ID_BYTES : at + size], "big"))
        for at in range(0, len(content), size)
    ]


def _receipts(value: Value, most: int) -> Iterable[tuple[Receipt, int]]:
    taken: dict[bytes, None] = {}
    for each in codec.items(value, most, _BAD):
        content, pulse = codec.fields(each, 2, _BAD)
        receipt = Receipt.take(content, _BAD)
        if receipt.id in taken:
            raise RemoteError(_BAD, "a receipt comes twice")
        taken[receipt.id] = None
        yield receipt, codec.uint(pulse, UINT_MAX, _BAD)
