"""The state of a group above level 1: its children, and all else that it agrees on (docs/protocol.md, 2.3, 3 and 4.8).

Decides what the state is, and what a successor of a split starts from. What may change it is decided in
`ledger.judge_children`. Never checks who agreed, never reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from leither_lite.errors import Halt
from leither_lite.header import Header, decode_roster, encode_roster, state_digest
from leither_lite.identity import h32
from leither_lite.ledger.children import (
    Child,
    Place,
    UpperState,
    children_digest,
    encode_children,
    nodes_of,
)
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.group import USUAL, Rules
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import (
    NOBODY,
    NOTHING,
    SPLIT_BITS_MAX,
    Successor,
    decode_willing,
    encode_willing,
    willing_digest,
)
from leither_lite.ledger.structure import draw, inner_of, willing_under
from leither_lite.ledger.traffic import CYCLE
from leither_lite.limits import ID_BITS, WILLING_MAX
from leither_lite.tree import node


def _denies_none(digest: bytes, pulse: int) -> bool:
    return False


@dataclass(slots=True)
class UpperGroup:
    """A group above level 1 where its chain stands.

    `roster` (CBOR) is R: who may seal the next header; `digest` that header's previous, `term` its term. `shown` has
    the W of every child, and the own one, by digest. `denies_root` says of a digest and a pulse whether the root header
    of that pulse is known to be another.
    """

    network: bytes
    supply: int
    level: int
    bits: int
    prefix: bytes
    roster: bytes
    sealed: SealedPulse
    header: Header
    digest: bytes
    state: UpperState
    term: int
    children: dict[Place, Child]
    shown: dict[bytes, bytes] = field(default_factory=dict)
    rules: Rules = USUAL
    denies_root: Callable[[bytes, int], bool] = _denies_none

    @property
    def is_root(self) -> bool:
        """True for the root group: its headers have no anchor."""
        return not self.bits

    @property
    def roster_keys(self) -> tuple[bytes, ...]:
        """Who may seal the next header; none: whoever may seal the parent's."""
        return decode_roster(self.roster, empty_allowed=True)

    @property
    def willing(self) -> tuple[Willing, ...]:
        """Who holds pages and bodies for the committee, and whom it is drawn from."""
        return decode_willing(self.shown.get(self.state.willing, NOBODY))

    @property
    def inner(self) -> bytes:
        """The tree over the children."""
        return inner_of(nodes_of(self.children, self.level - 1))

    @property
    def counters(self) -> tuple[int, int]:
        """out and in."""
        return counters_of(self.children.values())


def counters_of(children: Iterable[Child]) -> tuple[int, int]:
    """The sums of children's counters, mod 2^64."""
    sent_out = settled_in = 0
    for child in children:
        sent_out += child.sent_out
        settled_in += child.settled_in
    return sent_out % CYCLE, settled_in % CYCLE


def upper_willing(
    children: Iterable[Child],
    shown: Mapping[bytes, bytes],
    seed: bytes,
    roster_max: int = 0,
    after: int = 0,
    most: int = WILLING_MAX,
) -> tuple[Willing, ...]:
    """W above level 1: of those on the children's rosters whose addresses the children show, and who are not silent, at
    most `most`, drawn with equal weights; keys rising.

    Only of children that have sealed above the pulse `after`, and are not called for a header, where there are
    `roster_max` of those; else of all that are not called for, where there are so many of those.
    """
    found: dict[bytes, Willing] = {}
    present: dict[bytes, Willing] = {}
    lively: dict[bytes, Willing] = {}
    for child in children:
        on_roster = frozenset(child.sealers)
        is_away = bool(child.called or child.appointed)
        for each in decode_willing(shown.get(child.willing, NOBODY)):
            if each.key in on_roster and not each.silent:
                found[each.key] = each
                if not is_away:
                    present[each.key] = each
                if not is_away and child.pulse > after:
                    lively[each.key] = each
    if roster_max:
        found = next((able for able in (lively, present) if len(able) >= roster_max), found)
    drawn = sorted(found, key=lambda key: h32("draw", seed + key))[:most]
    return tuple(found[key] for key in sorted(drawn))


def willing_of_parts(
    group: UpperGroup, children: Mapping[Place, Child], shown: Mapping[bytes, bytes], seed: bytes, after: int
) -> tuple[Willing, ...]:
    """W of a group that is to be split: as many of each part's children, so that no part has nobody by bad luck."""
    places = _halves_of(group, list(children))
    found: list[Willing] = []
    for bits, prefix in places:
        own = [child for place, child in children.items() if node.is_prefix(place[0], prefix, bits)]
        found += upper_willing(own, shown, seed, group.rules.roster_max, after, WILLING_MAX // len(places))
    return tuple(sorted(found))


class UpperPart(NamedTuple):
    """A group that another above level 1 is split into: what its parent is told of it, and what it starts from."""

    successor: Successor
    state: UpperState
    children: dict[Place, Child]
    willing: bytes


def upper_split(
    group: UpperGroup, children: Mapping[Place, Child], willing: Sequence[Willing], date: int, seed: bytes
) -> list[UpperPart]:
    """The parts of a group with these children and these willing, in the order of their prefixes."""
    parts = []
    for bits, prefix in _halves_of(group, list(children)):
        own = {place: child for place, child in children.items() if node.is_prefix(place[0], prefix, bits)}
        parts.append(_part(group, own, willing_under(willing, bits, prefix), date, seed, bits, prefix))
    return parts


def _halves_of(group: UpperGroup, places: Sequence[Place]) -> list[tuple[int, bytes]]:
    """Bits and prefix of the groups that one with these children is split into."""
    deepest = min(group.bits + SPLIT_BITS_MAX, ID_BITS)
    return _halves(places, group.bits, group.prefix, group.rules.members_max, deepest)


def _halves(
    places: Sequence[Place], bits: int, prefix: bytes, members_max: int, deepest: int
) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    for side in (0, 1):
        half = [place for place in places if node.bit(place[0], bits) == side]
        start = (int.from_bytes(prefix, "big") | side << (ID_BITS - 1 - bits)).to_bytes(len(prefix), "big")
        splits = len(half) > members_max * 3 // 4 and bits + 1 < deepest and all(place[1] > bits + 1 for place in half)
        if splits:
            found += _halves(half, bits + 1, start, members_max, deepest)
        else:
            found.append((bits + 1, start))
    return found


def _part(
    group: UpperGroup,
    own: dict[Place, Child],
    nodes: Sequence[Willing],
    date: int,
    seed: bytes,
    bits: int,
    prefix: bytes,
) -> UpperPart:
    willing = encode_willing(nodes)
    state = UpperState(date, children_digest(encode_children(own.values())), 0, 0, willing_digest(willing))
    roster = encode_roster(draw(nodes, seed, group.rules.roster_max, own))
    inner = inner_of(nodes_of(own, group.level - 1))
    counters = counters_of(own.values())
    successor = Successor(bits, prefix, inner, *counters, roster, state_digest(state.encode()))
    return UpperPart(successor, state, own, willing)


def upper_parts(group: UpperGroup) -> list[UpperPart]:
    """The parts that a group's last header has offered to be split into. Raises Halt("store_corrupt")."""
    seed = group.header.anchor if group.bits else group.header.previous
    parts = upper_split(group, group.children, group.willing, group.state.date, seed)
    if tuple(part.successor for part in parts) != group.state.offer.successors:
        raise Halt("store_corrupt", "the group does not fall into the parts that its last header offers")
    return parts


def part_group(group: UpperGroup, part: UpperPart) -> UpperGroup:
    """A part of a group that was split, where its chain starts."""
    own = part.successor
    needed = {child.willing for child in part.children.values()}
    shown = {digest: content for digest, content in group.shown.items() if digest in needed}
    shown[willing_digest(part.willing)] = part.willing
    return UpperGroup(
        group.network,
        group.supply,
        group.level,
        own.bits,
        own.prefix,
        own.roster,
        group.sealed,
        group.header,
        group.digest,
        part.state,
        0,
        part.children,
        shown,
        group.rules,
        group.denies_root,
    )


def new_children(
    successors: Sequence[Successor],
    head: bytes,
    pulse: int,
    willing: Sequence[bytes],
) -> dict[Place, Child]:
    """The children that a split makes: `head` and `pulse` are those of the last header, `willing` the W of each
    successor."""
    children: dict[Place, Child] = {}
    for each, content in zip(successors, willing, strict=True):
        child = Child(
            each.bits,
            each.prefix,
            pulse,
            head,
            0,
            each.roster,
            each.inner,
            node.EMPTY,
            each.sent_out,
            each.settled_in,
            each.state,
            willing_digest(content),
            NOTHING,
        )
        children[child.place] = child
    return children


def new_root(
    sealed: SealedPulse,
    children: dict[Place, Child],
    shown: Mapping[bytes, bytes],
    *,
    network: bytes,
    supply: int,
    level: int,
    rules: Rules = USUAL,
    digest: bytes,
) -> UpperGroup:
    """The root group one level up from a root that was split by its last header `sealed` into these children.

    `shown` has their W by digest; `level` is the new root's. The fallback R of the last header seals the first one.
    """
    header = sealed.header
    willing = encode_willing(upper_willing(children.values(), shown, digest))
    state = UpperState(
        header.tick, children_digest(encode_children(children.values())), header.term + 1, 0, willing_digest(willing)
    )
    known = {willing_digest(content): content for content in (*shown.values(), willing)}
    needed = {child.willing for child in children.values()} | {state.willing}
    return UpperGroup(
        network,
        supply,
        level,
        0,
        bytes(len(header.prefix)),
        sealed.roster,
        sealed,
        header,
        digest,
        state,
        header.term + 1,
        children,
        {each: known[each] for each in sorted(needed) if each in known},
        rules,
    )
