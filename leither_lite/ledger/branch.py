"""A branch: the pages on the way from a level-1 group to the root, under one root header (docs/protocol.md, 3 and 9).

Decides whether pages and differences of pages lead to a root header, and shows a group under it. What is kept is a page
of at most 10,240 bytes a level, whatever the size of the network. Never decides which root header is believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import RemoteError
from leither_lite.header import LEVEL_MAX, ROSTER_BYTES_MAX, Header, decode_roster, roster_digest, state_digest
from leither_lite.ledger.children import Place, decode_upper_page, encode_upper_page
from leither_lite.ledger.roots import RootSeal
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.limits import (
    DIGEST_BYTES,
    GROUP_MEMBERS_MAX,
    ID_BITS,
    ID_BYTES,
    NODE_BYTES,
    PAGE_BYTES_MAX,
    UINT_MAX,
)
from leither_lite.tree.node import EMPTY, group, is_prefix, meta, zero_padded
from leither_lite.tree.proof import BranchStep, GroupStep, Step
from leither_lite.tree.shown import Shown
from leither_lite.tree.tree import SumTree

LEVELS_MAX: Final = 32
_BAD: Final = "bad_branch"


class Floor(NamedTuple):
    """A group above level 1 as its page shows it: `nodes` of its children in the order of their places; `pulse` is that
    of its last seal. Beside the page its node commits to R `roster` (CBOR), who keeps its books, the counters, and the
    digest of S."""

    level: int
    bits: int
    prefix: bytes
    pulse: int
    roster: bytes
    sent_out: int
    settled_in: int
    state: bytes
    nodes: dict[Place, bytes]

    @property
    def meta(self) -> bytes:
        """What its node commits to beside the page: 32 bytes."""
        return meta(roster_digest(self.roster), EMPTY, self.sent_out, self.settled_in, self.state)

    def tree(self) -> SumTree:
        """The tree over its children."""
        tree = SumTree()
        tree.put_many([(prefix, node) for (prefix, _), node in self.nodes.items()])
        return tree

    def node(self, inner: bytes) -> bytes:
        """The group's node, with its tree's root: 36 bytes."""
        return group(self.level, self.bits, self.prefix, self.pulse, inner, self.meta)

    def page(self) -> bytes:
        """Its page: CBOR, at most 10,240 bytes."""
        return encode_upper_page((bits, node) for (_, bits), node in self.nodes.items())

    def child(self, account: bytes) -> Place:
        """The place of the child that an id belongs to. Raises RemoteError("bad_branch")."""
        for prefix, bits in self.nodes:
            if is_prefix(account, prefix, bits):
                return prefix, bits
        raise RemoteError(_BAD, "no child for that id")


@dataclass(frozen=True, slots=True)
class Branch:
    """The floors from the root down to level 2, under a root header; none where the root is at level 1."""

    seal: RootSeal
    floors: tuple[Floor, ...]

    def check(self, account: bytes) -> bytes:
        """The node of the level-1 group that an id (20 bytes) belongs to, as the root header has it.

        Raises RemoteError("bad_branch") where a page is not what the header commits to, or another branch's.
        """
        header = Header.decode(self.seal.header)
        expected, level = header.node, header.level
        for floor in self.floors:
            if floor.level != level or not is_prefix(account, floor.prefix, floor.bits):
                raise RemoteError(_BAD, f"a page of level {floor.level} where {level} is due")
            if floor.node(floor.tree().root()) != expected:
                raise RemoteError(_BAD, f"the page of level {level} is not what its parent commits to")
            expected = floor.nodes[floor.child(account)]
            level -= 1
        if level != 1:
            raise RemoteError(_BAD, "a page is missing")
        return expected

    def verify(self) -> None:
        """Raises RemoteError("bad_branch") where a floor is not what the one above it, or the root, commits to."""
        header = Header.decode(self.seal.header)
        expected, level = header.node, header.level
        for index, floor in enumerate(self.floors):
            if floor.level != level or floor.node(floor.tree().root()) != expected:
                raise RemoteError(_BAD, f"the page of level {floor.level} is not what its parent commits to")
            if index + 1 < len(self.floors):
                below = self.floors[index + 1]
                expected = floor.nodes.get((below.prefix, below.bits), b"")
            level -= 1

    @property
    def is_whole(self) -> bool:
        """True if it reaches down to level 2."""
        return not self.floors or self.floors[-1].level == 2

    @property
    def header(self) -> Header:
        """The root header."""
        return Header.decode(self.seal.header)

    def place(self, account: bytes) -> Place:
        """The prefix and bits of the level-1 group that an id belongs to."""
        return self.floors[-1].child(account) if self.floors else (bytes(ID_BYTES), 0)

    def above(self, account: bytes) -> tuple[Step, ...]:
        """The steps from that group's node upward."""
        steps: list[Step] = []
        for floor in reversed(self.floors):
            place = floor.child(account)
            found = floor.tree().path(place[0])
            if found is None:
                raise RemoteError(_BAD, "an empty page")
            steps += [BranchStep(depth, sibling) for depth, sibling in found.steps]
            steps.append(GroupStep(floor.level, floor.bits, floor.prefix, floor.pulse, floor.meta))
        return tuple(steps)

    def shown(self, sealed: SealedPulse) -> Shown:
        """A level-1 group of this branch, whose last header is under the root header, as others are shown it."""
        header = sealed.header
        return Shown(
            self.seal.header,
            self.seal.signatures,
            header.bits,
            header.prefix,
            header.pulse,
            sealed.inner,
            roster_digest(sealed.roster),
            sealed.outbox,
            sealed.sent_out,
            sealed.settled_in,
            state_digest(sealed.state),
            self.above(header.prefix),
        )

    def under(self, bits: int, prefix: bytes) -> Branch:
        """The floors that a group with this prefix shares with this branch: those above it, with its own."""
        kept = [each for each in self.floors if each.bits <= bits and is_prefix(prefix, each.prefix, each.bits)]
        return Branch(self.seal, tuple(kept))


def floor_of(sealed: SealedPulse, nodes: dict[Place, bytes]) -> Floor:
    """The floor of a group above level 1 as its last header has it, with its children's nodes."""
    header = sealed.header
    counters = sealed.sent_out, sealed.settled_in
    state = state_digest(sealed.state)
    return Floor(header.level, header.bits, header.prefix, header.pulse, sealed.roster, *counters, state, nodes)


def difference(before: Branch | None, after: Branch) -> list[Value]:
    """The floors of `after` as CBOR values, from the root down: whole pages, or what differs from those of `before`."""
    known = {} if before is None else {(each.level, each.bits, each.prefix): each for each in before.floors}
    values: list[Value] = []
    for floor in after.floors:
        old = known.get((floor.level, floor.bits, floor.prefix))
        changed: Value = floor.page()
        base = 0
        if old is not None and old.nodes.keys() == floor.nodes.keys():
            base = old.pulse + 1
            pairs = zip(old.nodes.values(), floor.nodes.values(), strict=True)
            changed = [[index, node] for index, (was, node) in enumerate(pairs) if was != node]
        values.append([*floor[:8], base, changed])
    return values


def apply(before: Branch | None, seal: RootSeal, values: Sequence[Value]) -> Branch:
    """The branch that a difference leads to, unchecked. Raises RemoteError: bad_branch, branch_base (the difference is
    from another page than the one that is here)."""
    known = {} if before is None else {(each.level, each.bits, each.prefix): each for each in before.floors}
    floors = []
    for value in values[:LEVELS_MAX]:
        level, bits, prefix, pulse, roster, sent_out, settled_in, state, base, changed = codec.fields(value, 10, _BAD)
        level, bits = codec.uint(level, LEVEL_MAX, _BAD), codec.uint(bits, ID_BITS, _BAD)
        prefix, base = codec.octets(prefix, ID_BYTES, _BAD), codec.uint(base, UINT_MAX, _BAD)
        if not zero_padded(prefix, bits):
            raise RemoteError(_BAD, "a prefix is not zero beyond its bits")
        if base:
            old = known.get((level, bits, prefix))
            if old is None or old.pulse + 1 != base:
                raise RemoteError("branch_base", f"a difference from pulse {base - 1}")
            nodes = _changed(old.nodes, changed)
        else:
            nodes = decode_upper_page(codec.octets_upto(changed, PAGE_BYTES_MAX, _BAD), bits, prefix)
        floor = Floor(
            level,
            bits,
            prefix,
            codec.uint(pulse, UINT_MAX, _BAD),
            codec.octets_upto(roster, ROSTER_BYTES_MAX, _BAD),
            codec.uint(sent_out, UINT_MAX, _BAD),
            codec.uint(settled_in, UINT_MAX, _BAD),
            codec.octets(state, DIGEST_BYTES, _BAD),
            nodes,
        )
        decode_roster(floor.roster, empty_allowed=True)
        floors.append(floor)
    return Branch(seal, tuple(floors))


def _changed(nodes: dict[Place, bytes], value: Value) -> dict[Place, bytes]:
    places = list(nodes)
    changed = dict(nodes)
    for each in codec.items(value, GROUP_MEMBERS_MAX, _BAD):
        index, node = codec.fields(each, 2, _BAD)
        at = codec.uint(index, GROUP_MEMBERS_MAX, _BAD)
        if at >= len(places):
            raise RemoteError(_BAD, "no such child")
        changed[places[at]] = codec.octets(node, NODE_BYTES, _BAD)
        if node == EMPTY:
            raise RemoteError(_BAD, "no child has an empty node")
    return changed
