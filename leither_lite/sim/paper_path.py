"""One full path of a network of 2^24 level-1 groups, from a leaf to the root, walked by the node's own rules.

At each of four levels one group is there in full: at level 1 with its accounts, above with its table of children. The
siblings on the way are generated (`paper_generated`), so that sums add up to the supply. Decides nothing about the
ledger; says what each role does for a pulse (`tally`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects
from leither_lite.errors import Halt
from leither_lite.header import Signatures, header_digest, signatures_value
from leither_lite.ledger.branch import Branch, Floor, apply, difference
from leither_lite.ledger.children import Child, Place, UpperState, children_digest, encode_children, nodes_of
from leither_lite.ledger.handovers import handover_of
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.roots import Roots, RootSeal
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import willing_digest
from leither_lite.ledger.structure import inner_of
from leither_lite.ledger.tip import Anchor
from leither_lite.ledger.upper import UpperGroup, counters_of
from leither_lite.ledger.upper_operations import ChildSeal, upper_from_value
from leither_lite.limits import DIGEST_BYTES, ID_BITS, ID_BYTES, KEY_BYTES
from leither_lite.node import frames
from leither_lite.node.scope import Scope
from leither_lite.node.spreading import WIDE
from leither_lite.node.trunk import HANDOVERS_TOLD
from leither_lite.node.upper_books import UpperBooks
from leither_lite.pulse.votes import Place as Seat
from leither_lite.sim.founding import key_of
from leither_lite.sim.paper_committee import BACKUP, CHIEF, Closed, Table
from leither_lite.sim.paper_generated import (
    ADDRESS,
    HOLDERS,
    ROSTER,
    SINCE,
    START,
    TERM,
    Committee,
    Generated,
    Opened,
    Spot,
    child_of,
    floor_with,
    made_up,
    seal,
)
from leither_lite.sim.paper_group import PAID, Leaf
from leither_lite.sim.tally import Tally, Work
from leither_lite.store.reader import MemoryStore
from leither_lite.tree.node import EMPTY, is_prefix
from leither_lite.tree.proof import BranchStep, GroupStep, Proof, SealedRoot
from leither_lite.tree.proof_cbor import handover_value

LEVELS: Final = 4
UNDER_WAY: Final = 2**20
"""What receipts have under way at first, below each generated sibling of level 3."""


@dataclass(frozen=True)
class Scale:
    """How large the network is: `bits` of a prefix at each level above 1, accounts a level-1 group, receipts that it
    remembers as settled."""

    bits: int = 8
    accounts: int = 232
    settled: int = 5_364

    @property
    def width(self) -> int:
        """Children of each group above level 1."""
        return 1 << self.bits


def _held(sealed: SealedPulse, committee: Committee) -> Signatures:
    """Who holds what a group has sealed: asked for at level 1 alone."""
    header = sealed.header
    return committee.hold(header.network, header_digest(sealed.header_bytes)) if header.level == 1 else ()


def _child_frame(sealed: SealedPulse, held: Signatures) -> bytes:
    """What the committee above is told of a seal."""
    told = ChildSeal.of(sealed, held, shows_willing=True).encode()
    return encode([frames.CHILD, codec.decode(told)])


class Upper:
    """A group of the path above level 1: its generated children, and the books that its chief and a backup keep."""

    def __init__(self, level: int, prefix: bytes, scale: Scale, below: Child, first: Anchor, amount: int) -> None:
        """`below`: its child on the path. `amount`: the sum under each of the others."""
        self.level, self.network = level, key_of("organization").account
        bits = (LEVELS - level) * scale.bits
        own = (int.from_bytes(prefix, "big") >> (ID_BITS - bits) << (ID_BITS - bits)).to_bytes(ID_BYTES, "big")
        self.spot = Spot(self.network, level, bits, own)
        self.committee, others = Committee.named(f"level {level}"), Committee.named(f"generated {level - 1}")
        under_way = UNDER_WAY if level == LEVELS else 0
        self.siblings: dict[Place, Generated] = {}
        for number in range(scale.width):
            start = int.from_bytes(own, "big") | number << (ID_BITS - bits - scale.bits)
            place = start.to_bytes(ID_BYTES, "big"), bits + scale.bits
            if place != below.place:
                spot = Spot(self.network, level - 1, place[1], place[0])
                self.siblings[place] = Generated(spot, others, amount, under_way, first, START)
        children = {below.place: below, **{place: each.child for place, each in self.siblings.items()}}
        self._open(dict(sorted(children.items())), first)

    def _open(self, children: dict[Place, Child], first: Anchor) -> None:
        """The first header of the path, over these children."""
        table = children_digest(encode_children(children.values()))
        state = UpperState(START, table, 0, SINCE, willing_digest(self.committee.w))
        inner = inner_of(nodes_of(children, self.level - 1))
        opened = Opened(inner, EMPTY, *counters_of(children.values()), state.encode())
        name = made_up(f"level {self.level} previous", DIGEST_BYTES)
        self.sealed = seal(self.spot, self.committee, opened, first, START, name)
        below = (Committee.named(f"level {self.level - 1}"), Committee.named(f"generated {self.level - 1}"))
        shown = {willing_digest(each.w): each.w for each in (self.committee, *below)}
        group = UpperGroup(
            self.network,
            0,
            self.level,
            self.spot.bits,
            self.spot.prefix,
            self.committee.r,
            self.sealed,
            self.sealed.header,
            header_digest(self.sealed.header_bytes),
            state,
            TERM,
            children,
            shown,
        )
        self.groups = [group, replace(group, children=dict(children))]

    def stand(self, supply: int, roots: Roots) -> None:
        """Open the books, now that the supply and the root are known."""
        self.roots = roots
        self.books = []
        for key, group in zip(self.committee.roster, self.groups, strict=False):
            group.supply, group.denies_root = supply, roots.denies
            self.books.append(UpperBooks(Scope(MemoryStore()), key, group, roots, HOLDERS))

    @property
    def child(self) -> Child:
        """As its parent has it."""
        return child_of(self.sealed)

    @property
    def children(self) -> dict[Place, Child]:
        """Its children, as its last header has them."""
        return self.groups[BACKUP].children

    @property
    def floor(self) -> Floor:
        """Its page, as its last header has it."""
        return floor_with(self.sealed, self.children.values())


class Path:
    """The groups from a leaf to the root. `works`: by level what the chief and a backup have done since the last
    pulse began."""

    def __init__(self, tally: Tally, scale: Scale) -> None:
        self.tally, self.scale = tally, scale
        first = Anchor(made_up("the root before", DIGEST_BYTES), START - 1, START - 1)
        self.leaf = Leaf(scale.bits * (LEVELS - 1), scale.accounts, scale.settled, first)
        self.uppers: dict[int, Upper] = {}
        below, amount = self.leaf.child, self.leaf.sum
        for level in range(2, LEVELS + 1):
            upper = Upper(level, self.leaf.group.prefix, scale, below, first, amount)
            self.uppers[level] = upper
            below, amount = upper.child, amount * scale.width
        root = self.uppers[LEVELS]
        children = root.children.values()
        sent_out, settled_in = counters_of(children)
        self.supply = sum(int.from_bytes(child.inner[8:16], "big") for child in children) + sent_out - settled_in
        keys = tuple(key.public for key in root.committee.roster)
        header = root.sealed.header
        self.roots = {level: Roots(root.network, START - 1, keys) for level in range(1, LEVELS + 1)}
        for roots in self.roots.values():
            roots.remember(header_digest(root.sealed.header_bytes), header.pulse, header.tick)
        for level, upper in self.uppers.items():
            upper.stand(self.supply, self.roots[level])
        self.leaf.stand(self.supply, self.roots[1])
        self.branch = self._branch(2)
        self.tick = START
        self.works: dict[int, list[Work]] = {}
        self.bytes: dict[str, int] = {}

    @property
    def anchor(self) -> Anchor:
        """The newest root header."""
        root = self.uppers[LEVELS].sealed
        return Anchor(header_digest(root.header_bytes), root.header.pulse, root.header.tick)

    @property
    def beside(self) -> Generated:
        """The group of the level-1 group's neighbor."""
        siblings = self.uppers[2].siblings
        return next(each for place, each in siblings.items() if is_prefix(self.leaf.beside.account, *place))

    def _branch(self, lowest: int) -> Branch:
        """The pages from the root down to a level."""
        root = self.uppers[LEVELS].sealed
        floors = tuple(self.uppers[level].floor for level in range(LEVELS, lowest - 1, -1))
        return Branch(RootSeal(root.header_bytes, root.signatures), floors)

    # -- a pulse ------------------------------------------------------------------------------------------------------

    def pulse(self, sent: int, active: dict[int, int]) -> None:
        """A pulse: `sent` payments leave the level-1 group and as many come; what came before is settled, and what was
        settled elsewhere resolved. `active`: by level how many children of the group there seal."""
        anchor = self.anchor
        self.tick += 1
        self.works = {level: [Work(), Work()] for level in range(1, LEVELS + 1)}
        sealed = self.leaf.seal(self, sent, anchor)
        for level in range(2, LEVELS + 1):
            upper = self.uppers[level]
            seals = [(sealed, _held(sealed, self.leaf.committee))]
            for number, place in enumerate(self._active(upper, active[level])):
                group = upper.siblings[place]
                if level == 2 and group is self.beside:
                    made = self.leaf.answer(group, anchor, self.tick, sent)
                elif level == 2:
                    made = group.go_on(anchor, self.tick, *self._amounts(number, group))
                else:
                    moved = PAID * (1 << self.scale.bits * (level - 3))
                    made = group.go_on(anchor, self.tick, (), moved, moved)
                seals.append((made, _held(made, group.committee)))
            sealed = self._seal(upper, seals)
        self._descend()

    def _amounts(self, number: int, group: Generated) -> tuple[Sequence[Receipt], int, int]:
        """One of two level-1 groups sends, the other settles."""
        if number % 2:
            return (), 0, PAID
        payer = group.spot.prefix[:-8] + made_up(group.name, 8)
        receipt = Receipt(payer, number, made_up(f"payee {number}", ID_BYTES), PAID, 0, bytes(32), self.anchor.tick)
        return (receipt,), 0, 0

    def _active(self, upper: Upper, count: int) -> list[Place]:
        """Which generated children seal: the neighbor of the level-1 group first."""
        places = list(upper.siblings)
        if upper.level == 2:
            near = self.beside
            places.sort(key=lambda place: upper.siblings[place] is not near)
        return sorted(places[: count - 1])

    def told_parent(self, sealed: SealedPulse) -> int:
        """Bytes that a member sends so that one of the committee above has a seal: each of the roster tells another."""
        return len(_child_frame(sealed, _held(sealed, self.leaf.committee)))

    def _seal(self, upper: Upper, seals: Sequence[tuple[SealedPulse, Signatures]]) -> SealedPulse:
        """A group above level 1 takes its children's seals, agrees, and seals."""
        works, tally = self.works[upper.level], self.tally
        for sealed, held in seals:
            frame = _child_frame(sealed, held)
            self.bytes[f"child {upper.level - 1}"] = len(frame)
            for work, books in zip(works, upper.books, strict=True):
                with work.doing(tally, "children's seals, as they come"):
                    taken = upper_from_value(frames.one(frame, "bad_child"))
                    if not isinstance(taken, ChildSeal) or not books.take(taken):
                        raise Halt("not_taken", "a parent of the paper's path does not take a child's seal")
                work.sent += len(frame) * (ROSTER - 1)
                work.received += len(frame)
        chief, backup = upper.books
        with works[CHIEF].doing(tally, "children's seals, in the body"):
            body = chief.propose(self.tick, None)
        if body is None or len(body.operations) != len(seals):
            raise Halt("no_proposal", "a group of the paper's path does not seal what its children have sealed")
        group = chief.group
        seat = Seat(group.level, group.bits, group.prefix, group.term, group.digest)
        closed = Closed(seat, body.header_bytes, tuple(body.entries), body.segments)

        def judge() -> None:
            with works[BACKUP].doing(tally, "children's seals, in the body"):
                backup.adopt(closed.header, closed.entries, list(closed.segments))

        table = Table(upper.network, upper.committee.roster, closed, tally, works, ROSTER - 1)
        signatures = table.agree(judge)
        for work, books in zip(works, upper.books, strict=True):
            effects = Effects()
            with work.doing(tally, "votes"):
                upper.sealed = books.seal(effects, signatures, self.tick)
            work.stored += sum(len(key) + len(value or b"") for key, value in effects.writes)
            if upper.level < LEVELS:
                work.sent += self.told_parent(upper.sealed)
        self.bytes[f"body {upper.level}"] = sum(map(len, body.segments))
        return upper.sealed

    # -- downward -----------------------------------------------------------------------------------------------------

    def _frame(self, before: Branch | None, branch: Branch) -> bytes:
        """A branch as it is told: with as many handovers as go with it, where those are who keep its pages, and whom
        the receiver is to tell in turn, where it is a page that comes whole."""
        seal = branch.seal
        told: Value = [handover_value(handover_of(self.uppers[LEVELS].sealed))] * HANDOVERS_TOLD
        hints: Value = [
            [key.public, ADDRESS]
            for level in range(LEVELS, LEVELS - len(branch.floors), -1)
            for key in self.uppers[level].committee.roster
        ]
        named = -(-self.scale.width // WIDE) - 1 if before is None else 0
        relays: Value = [[made_up(f"relay {number}", KEY_BYTES), ADDRESS] for number in range(named)]
        head: list[Value] = [frames.BRANCH, seal.header, signatures_value(seal.signatures)]
        return encode([*head, told, difference(before, branch), hints, relays])

    def _descend(self) -> None:
        """The root header goes down, with the pages of each level."""
        for level in range(LEVELS, 0, -1):
            above = max(level + 1, 2)
            for work in self.works[level]:
                if level < LEVELS:
                    branch = self._branch(above)
                    frame = self._frame(None, branch)
                    work.received += len(frame)
                    with work.doing(self.tally, "the root header"):
                        self._take_branch(level, branch, frame)
            if level < LEVELS:
                self.roots[level].remember(self.anchor.digest, self.anchor.pulse, self.anchor.tick)
            self.bytes[f"branch {level}"] = len(self._frame(None, self._branch(max(level, 2))))
        after = self._branch(2)
        self.bytes["branch difference"] = len(self._frame(self.branch, after))
        self.branch = after

    def _take_branch(self, level: int, branch: Branch, frame: bytes) -> None:
        """As `node.trunk` does: the seal, the pages, and the own page below them."""
        fresh = Roots(self.uppers[LEVELS].network, START - 1, self.roots[level].roster)
        for _ in range(2):  # once before the pages are looked at, once when it is taken
            fresh.check(branch.seal)
        values = codec.fields(codec.decode(frame), 7, "bad_branch")
        found = apply(None, branch.seal, codec.items(values[4], LEVELS, "bad_branch"))
        found.verify()
        if level > 1:
            own = self.uppers[level].floor
            if found.floors[-1].nodes[own.prefix, own.bits] != own.node(own.tree().root()):
                raise Halt("other_page", "a page of the paper's path leads to another node")

    # -- what can be shown --------------------------------------------------------------------------------------------

    def proof(self, account: bytes) -> Proof:
        """An account's record under the newest root header."""
        group, branch = self.leaf.group, self.branch
        found = group.tree.path(account)
        if found is None or found.account != account:
            raise KeyError(account)
        own = GroupStep(1, group.bits, group.prefix, group.header.pulse, group.sealed.meta)
        inner = tuple(BranchStep(depth, sibling) for depth, sibling in found.steps)
        entry = group.entries[account]
        root = SealedRoot(branch.seal.header, branch.seal.signatures)
        return Proof(account, entry.record.encode(), entry.pulse, (*inner, own, *branch.above(account)), root)

    @property
    def pages(self) -> dict[int, int]:
        """Bytes of each level's page, the largest that such a group may have."""
        return {1: self.leaf.page_bytes, **{level: len(each.floor.page()) for level, each in self.uppers.items()}}
