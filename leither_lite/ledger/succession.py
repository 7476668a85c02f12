"""What a level-1 group becomes after its last header: one of the parts of a split, itself, or one with its buddy.

Carries out docs/protocol.md, section 3. Decides where the chain goes on from, and what the store then holds. Never
decides that it does: the parent has.
"""

from __future__ import annotations

from collections.abc import Sequence

from leither_lite.effects import Write
from leither_lite.errors import Halt
from leither_lite.header import header_digest
from leither_lite.identity import h32
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.group import Group
from leither_lite.ledger.judge_children import joined
from leither_lite.ledger.merged import opened_by
from leither_lite.ledger.records import Entry, encode_page
from leither_lite.ledger.sets import PendingSet, sent_content
from leither_lite.ledger.state import NOTHING, State, willing_digest
from leither_lite.ledger.structure import Part, entries_of, split
from leither_lite.ledger.tip import Tip
from leither_lite.ledger.traffic import CYCLE
from leither_lite.store import keys
from leither_lite.tree.node import ZEROS
from leither_lite.tree.tree import SumTree


def parts_of(group: Group) -> list[Part]:
    """The parts that a group's last header has offered to be split into. Raises Halt("store_corrupt")."""
    header = group.header
    seed = header.previous if header.anchor == ZEROS else header.anchor
    state = group.state._replace(offer=NOTHING)
    parts = split(group, state, group.sent_out, group.settled_in, seed)
    if tuple(part.successor for part in parts) != group.state.offer.successors:
        raise Halt("store_corrupt", "the group does not fall into the parts that its last header offers")
    return parts


def part_writes(group: Group, part: Part) -> list[Write]:
    """What makes a part of a split what the store is of: its tip, its page, its pending receipts. The others' are shown
    by those in their parts."""
    origin = header_digest(group.sealed.header_bytes)
    bits, prefix = part.successor.bits, part.successor.prefix
    gone = [item for item in group.pending.items if item not in part.pending.items]
    return [
        *_page_writes(group, entries_of(group.entries, bits, prefix), part.tip(origin)),
        *((key(item), None) for item in gone for key in (keys.pending, keys.shown)),
    ]


def _page_writes(group: Group, entries: dict[bytes, Entry], tip: Tip) -> list[Write]:
    pulse = group.header.pulse
    page = ((account, entry.pulse, entry.record.encode()) for account, entry in sorted(entries.items()))
    return [
        (keys.TIP, tip.encode()),
        (keys.snapshot(pulse), encode_page(page)),
        (keys.BASE, pulse.to_bytes(8, "big")),
        (keys.ORIGIN, pulse.to_bytes(8, "big")),
        (keys.KIN, b"".join(sorted(group.entries))),
    ]


def merged_tip(low: Group, high: Group, willing: Sequence[Willing], roster: bytes) -> tuple[Tip, PendingSet]:
    """Where the chain of two buddies that their parent has merged goes on from, `low` with the lower prefix, and what
    they have sent together. `willing` and `roster` (CBOR): W and R, as the parent has drawn them."""
    pending, settled, invites = PendingSet(), SumTree(modular=True), SumTree()
    for one in (low, high):
        for receipt, pulse in one.pending.items.values():
            pending.put(receipt, pulse)
        settled.put_many(one.settled.tree.leaves())
        invites.put_many(one.invites.leaves())
    first, second = low.state, high.state
    state = State(
        max(first.date, second.date),
        max(first.floor, second.floor),
        settled.root(),
        pending.tree.root(),
        invites.root(),
        max(first.role_changes, second.role_changes),
        tuple(sorted({*first.frozen, *second.frozen})),
        0,
        0,
        tuple(willing),
    )
    tip = Tip(
        h32("merge", low.digest + high.digest),
        roster,
        state,
        low.bits - 1,
        low.prefix,
        0,
        joined(low.bits - 1, low.inner, high.inner),
        (low.sent_out + high.sent_out) % CYCLE,
        (low.settled_in + high.settled_in) % CYCLE,
        opened_by(low.digest, high.digest, willing_digest(state.encode_willing())),
    )
    return tip, pending


def merged_writes(group: Group, buddy: Group, tip: Tip, pending: PendingSet) -> list[Write]:
    """What makes a merged group what the store of `group` is of: it takes over all that its buddy has."""
    writes = _page_writes(group, {**group.entries, **buddy.entries}, tip)
    writes += [(keys.pending(item), sent_content(*sent)) for item, sent in pending.items.items()]
    for item, leaf in buddy.invites.leaves():
        writes.append((keys.invite(item), leaf[:8]))
    for item, _ in buddy.settled.tree.leaves():
        sent = buddy.settled.get(item)
        if sent is None:
            raise Halt("store_corrupt", "a settled receipt of the buddy is missing")
        group.settled.put(*sent)
    return writes + group.settled.writes()
