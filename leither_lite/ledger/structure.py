"""The ends of terms: who is drawn, and how a group is split into others or joined with its buddy (docs/protocol.md, 3).

Decides what a last header says, and what each successor starts from. Never decides when a term ends: the chief asks for
it, and `ledger.judge` says whether it may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import RemoteError
from leither_lite.header import encode_roster, header_digest, state_digest
from leither_lite.identity import account_id, h32
from leither_lite.ledger.children import Place
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.group import Group
from leither_lite.ledger.records import PAGE_HEAD_BYTES, Entry, counted_bytes
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.sets import PendingSet
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import MERGE, NOTHING, SPLIT_BITS_MAX, State, Successor
from leither_lite.ledger.tip import Tip
from leither_lite.limits import ID_BITS, QUORUM, WILLING_MAX
from leither_lite.tree.node import bit, is_prefix
from leither_lite.tree.tree import SumTree

END: Final = 0
SPLIT_BYTES: Final = 7_680
MERGE_BYTES: Final = 5_120
"""Of two buddies together."""


@dataclass(frozen=True, slots=True)
class TermEnd:
    """The end of a term: the last operation of its last header. `kind`: END, SPLIT or MERGE."""

    CODE: ClassVar[int] = 12
    kind: int

    @classmethod
    def from_values(cls, values: list[Value]) -> TermEnd:
        """Raises RemoteError("bad_operation")."""
        _, kind = codec.fields(values, 2, "bad_operation")
        return cls(codec.uint(kind, MERGE, "bad_operation"))

    def encode(self) -> bytes:
        """CBOR [12, kind]."""
        return encode([self.CODE, self.kind])

    def check_signatures(self, network: bytes) -> Status:
        """OK: nobody signs it but who seals the header."""
        return Status.OK


def draw(willing: Sequence[Willing], seed: bytes, most: int, places: Iterable[Place] = ()) -> tuple[bytes, ...]:
    """The keys of a roster of at most `most`, chief first: drawn with equal weights from those that are willing, from
    the silent only where there are no others; none where nobody is. `seed` is 32 bytes.

    `places`: of children, from each of which one is taken before a second from any: so that as few as can be go with
    one of them.
    """
    able = [each for each in willing if not each.silent] or list(willing)
    order = sorted(able, key=lambda each: h32("draw", seed + each.key))
    if places:
        order = _in_turns(order, list(places))
    size = max((size for size in QUORUM if size <= min(len(order), most)), default=0)
    return tuple(each.key for each in order[:size])


def _in_turns(order: Sequence[Willing], places: Sequence[Place]) -> list[Willing]:
    """The first of each place, then the second of each, and so on, each time in the order given."""
    taken: dict[Place | None, int] = {}
    turns: list[tuple[int, Willing]] = []
    for each in order:
        account = account_id(each.key)
        own = next((place for place in places if is_prefix(account, *place)), None)
        taken[own] = taken.get(own, 0) + 1
        turns.append((taken[own], each))
    return [each for _, each in sorted(turns, key=lambda turn: turn[0])]


def after_appointment(
    willing: Sequence[Willing], ousted: Sequence[bytes], roster: Sequence[bytes]
) -> tuple[Willing, ...]:
    """W where a parent has named a `roster` in place of one that has sealed nothing for long: who is on the new one
    speaks, those who are only on the old one are silent."""
    return tuple(
        each._replace(silent=0 if each.key in roster else 1) if each.key in ousted or each.key in roster else each
        for each in willing
    )


def willing_under(willing: Sequence[Willing], bits: int, prefix: bytes) -> tuple[Willing, ...]:
    """Those whose accounts are under a prefix: W of a part."""
    return tuple(each for each in willing if is_prefix(account_id(each.key), prefix, bits))


def willing_of_both(one: Sequence[Willing], other: Sequence[Willing], seed: bytes) -> tuple[Willing, ...]:
    """W of two groups that are merged: at most 24, those who are not silent first, drawn with equal weights."""
    found = {each.key: each for each in (*one, *other)}
    order = sorted(found, key=lambda key: (found[key].silent, h32("draw", seed + key)))
    return tuple(found[key] for key in sorted(order[:WILLING_MAX]))


def is_large(count: int, size: int, members_max: int) -> bool:
    """True for a group that is to be split: of `count` members, whose page counts `size` bytes."""
    return size > SPLIT_BYTES or count > members_max * 3 // 4


def is_small(count: int, size: int, members_max: int) -> bool:
    """True for a group of `count` members, whose page counts `size` bytes, that may be merged with one as small: it is
    less than half of what two may be together, which is far from being split again."""
    return 2 * size < MERGE_BYTES and 4 * count <= members_max


class Part(NamedTuple):
    """A group that another is split into: what its parent is told of it, and where its chain starts."""

    successor: Successor
    state: State
    pending: PendingSet

    def tip(self, origin: bytes) -> Tip:
        """Where its chain stands; `origin`: the digest of the last header of the group that was split."""
        bits, prefix, inner, sent_out, settled_in, roster, _ = self.successor
        return Tip(origin, roster, self.state, bits, prefix, 0, inner, sent_out, settled_in)


def prefixes(
    members: Mapping[bytes, int], bits: int, prefix: bytes, members_max: int, deepest: int
) -> list[tuple[int, bytes]]:
    """The prefixes into which ids (with the bytes that each counts) are split: by the next bit, and again where a half
    is still too large, down to `deepest` bits."""
    found: list[tuple[int, bytes]] = []
    for side in (0, 1):
        half = {account: size for account, size in members.items() if bit(account, bits) == side}
        number = int.from_bytes(prefix, "big") | side << (ID_BITS - 1 - bits)
        start = number.to_bytes(len(prefix), "big")
        if is_large(len(half), PAGE_HEAD_BYTES + sum(half.values()), members_max) and bits + 1 < deepest:
            found += prefixes(half, bits + 1, start, members_max, deepest)
        else:
            found.append((bits + 1, start))
    return found


def is_kept(group: Group, willing: Sequence[Willing]) -> bool:
    """True if each part that a group would be split into has somebody willing, who keeps its books."""
    for side in (0, 1):
        if not any(bit(account_id(each.key), group.bits) == side for each in willing):
            return False
    return all(willing_under(willing, bits, prefix) for bits, prefix in _parts_of(group))


def _parts_of(group: Group) -> list[tuple[int, bytes]]:
    """Bits and prefix of the groups that one would be split into, as its entries are now."""
    sizes = {account: counted_bytes(entry.record) for account, entry in group.entries.items()}
    deepest = min(group.bits + SPLIT_BITS_MAX, ID_BITS)
    return prefixes(sizes, group.bits, group.prefix, group.rules.members_max, deepest)


def inner_of(leaves: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The inner node over (id, leaf)."""
    tree = SumTree()
    tree.put_many(leaves)
    return tree.root()


def split(group: Group, state: State, sent_out: int, settled_in: int, seed: bytes) -> list[Part]:
    """The parts of a group in the order of their prefixes, from its entries, sets and tree as they are now, its state S
    and counters. Counters go to the first."""
    parts: list[Part] = []
    leaves = list(group.tree.leaves())
    for bits, prefix in _parts_of(group):
        pending = PendingSet()
        for receipt, pulse in group.pending.items.values():
            if is_prefix(receipt.payer, prefix, bits):
                pending.put(receipt, pulse)
        own = _state_of_part(state, bits, prefix, pending.tree.root())
        roster = encode_roster(draw(own.willing, seed, group.rules.roster_max))
        inner = inner_of((account, leaf) for account, leaf in leaves if is_prefix(account, prefix, bits))
        counters = (0, 0) if parts else (sent_out, settled_in)
        told = Successor(bits, prefix, inner, *counters, roster, state_digest(own.encode()))
        parts.append(Part(told, own, pending))
    return parts


def _state_of_part(state: State, bits: int, prefix: bytes, pending: bytes) -> State:
    """S of a part, from that of the group that is split; `pending`: the root of what its own have sent."""
    return state._replace(
        pending=pending,
        frozen=tuple(each for each in state.frozen if is_prefix(each, prefix, bits)),
        appointed=0,
        since=0,
        willing=willing_under(state.willing, bits, prefix),
        offer=NOTHING,
    )


def started_tip(sealed: SealedPulse, bits: int, prefix: bytes, pending: bytes) -> Tip:
    """Where the chain of a part started that the last header `sealed` of a group has offered. `pending`: the root of
    what the part's own had sent. Raises RemoteError("no_part") where it has offered none such."""
    state = State.decode(sealed.state, sealed.willing)
    own = _state_of_part(state, bits, prefix, pending)
    for each in state.offer.successors:
        if (each.bits, each.prefix, each.state) == (bits, prefix, state_digest(own.encode())):
            return Part(each, own, PendingSet()).tip(header_digest(sealed.header_bytes))
    raise RemoteError("no_part", f"pulse {sealed.header.pulse} has not offered such a part")


def entries_of(entries: Mapping[bytes, Entry], bits: int, prefix: bytes) -> dict[bytes, Entry]:
    """The entries under a prefix."""
    return {account: entry for account, entry in entries.items() if is_prefix(account, prefix, bits)}


def part_of(parts: Sequence[Part], account: bytes) -> Part:
    """The part that an id belongs to. Raises RemoteError("no_part") where it belongs to none."""
    for part in parts:
        if is_prefix(account, part.successor.prefix, part.successor.bits):
            return part
    raise RemoteError("no_part", account.hex())
