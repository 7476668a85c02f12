"""Node groups at every level, in memory: who is where, what is shown under the root, and what must hold there.

How they come to seal is for `forest` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from leither_lite.header import Header, roster_digest, state_digest
from leither_lite.identity import Key
from leither_lite.ledger import group as ledger
from leither_lite.ledger.branch import Branch, Floor, floor_of
from leither_lite.ledger.children import Child, Place
from leither_lite.ledger.group import Group, Rules
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.roots import Roots, RootSeal
from leither_lite.ledger.traffic import CYCLE
from leither_lite.ledger.upper import UpperGroup
from leither_lite.store.reader import MemoryStore
from leither_lite.tree.node import is_prefix, meta, node_sum
from leither_lite.tree.proof import BranchStep, GroupStep, Handover, Proof, SealedRoot
from leither_lite.tree.shown import Shown
from tests.ledger.founding import NETWORK, SUPPLY

WHOLE: Final[Place] = (bytes(20), 0)


def child_meta(child: Child) -> bytes:
    """What a child's node commits to beside its inner node."""
    return meta(roster_digest(child.roster), child.outbox, child.sent_out, child.settled_in, child.state)


@dataclass
class Grove:
    """Groups by level and place. `key_of` finds the secret of a public key; `store` is that of the genesis."""

    rules: Rules
    store: MemoryStore
    key_of: Callable[[bytes], Key]
    groups: dict[Place, Group] = field(default_factory=dict)
    stores: dict[Place, MemoryStore] = field(default_factory=dict)
    uppers: dict[int, dict[Place, UpperGroup]] = field(default_factory=dict)
    handovers: list[Handover] = field(default_factory=list)
    roots: Roots = field(init=False)

    def __post_init__(self) -> None:
        group = ledger.load(self.store, NETWORK, SUPPLY, rules=self.rules)
        self.groups[WHOLE], self.stores[WHOLE] = group, self.store
        self.roots = Roots(NETWORK, -1, group.roster_keys)
        self.roots.take(RootSeal(group.sealed.header_bytes, group.sealed.signatures))
        group.vouch = self.roots.vouch

    @property
    def levels(self) -> int:
        """How many levels there are."""
        return 1 + len(self.uppers)

    @property
    def root(self) -> Group | UpperGroup:
        """The root group."""
        return self.uppers[self.levels][WHOLE] if self.uppers else self.groups[WHOLE]

    @property
    def is_whole(self) -> bool:
        """True if the newest root header is of the highest level: not so between the last header of a root that is
        split and the first one above it."""
        return self.root.sealed.header.level == self.levels

    def group_of(self, account: bytes) -> Group:
        """The level-1 group of an id."""
        return next(group for group in self.groups.values() if group.holds(account))

    def place_of(self, account: bytes) -> Place:
        """Its place."""
        return next(place for place, group in self.groups.items() if group.holds(account))

    def balance(self, account: bytes) -> int:
        """What an account has."""
        return self.group_of(account).entries[account].record.balance

    def parent_of(self, level: int, place: Place) -> UpperGroup | None:
        """The group above."""
        return next((upper for upper in self.uppers.get(level + 1, {}).values() if place in upper.children), None)

    def child_of(self, place: Place) -> Child | None:
        """A level-1 group as its parent knows it; None of the root."""
        parent = self.parent_of(1, place)
        return None if parent is None else parent.children[place]

    def load(self, place: Place) -> Group:
        """Another copy of a level-1 group: what its store has."""
        group = ledger.load(self.stores[place], NETWORK, SUPPLY, rules=self.rules)
        group.vouch = self.roots.vouch
        return group

    def rule(self, rules: Rules) -> None:
        """Let other rules be in force everywhere."""
        self.rules = rules
        for group in self.groups.values():
            group.rules = rules
        for uppers in self.uppers.values():
            for upper in uppers.values():
                upper.rules = rules

    # -- what is shown ---------------------------------------------------------------------------------------------

    def _floor(self, level: int, place: Place) -> Floor:
        """A group above level 1 as its parent has it, the root as its own last header has it."""
        upper = self.uppers[level][place]
        nodes = {each: child.node(level - 1) for each, child in upper.children.items()}
        parent = self.parent_of(level, place)
        if parent is None:
            return floor_of(upper.sealed, nodes)
        child = parent.children[place]
        told = child.pulse, child.roster, child.sent_out, child.settled_in, child.state
        return Floor(level, upper.bits, upper.prefix, *told, nodes)

    def branch(self, account: bytes) -> Branch:
        """The pages above the level-1 group of an id, under the newest root header."""
        root = self.root.sealed
        ways = [(level, place) for level, uppers in self.uppers.items() for place in uppers]
        floors = [self._floor(*way) for way in sorted(ways, reverse=True) if is_prefix(account, *way[1])]
        return Branch(RootSeal(root.header_bytes, root.signatures), tuple(floors))

    def shown(self, place: Place) -> Shown:
        """A level-1 group under the newest root header."""
        return self.branch(place[0]).shown(self.groups[place].sealed)

    def is_shown(self, place: Place) -> bool:
        """True if the group's own last header is what is under the root: not so after a split or a merge."""
        header = self.groups[place].header
        return self.is_whole and (header.prefix, header.bits) == place

    def proof(self, account: bytes) -> Proof:
        """An account's record under the newest root header, as its owner shows it."""
        place = self.place_of(account)
        group = self.groups[place]
        found = group.tree.path(account)
        if found is None or found.account != account:
            raise KeyError(account)
        child = self.child_of(place)
        pulse, opened = (group.header.pulse, group.sealed.meta) if child is None else (child.pulse, child_meta(child))
        own = GroupStep(1, group.bits, group.prefix, pulse, opened)
        inner = tuple(BranchStep(depth, sibling) for depth, sibling in found.steps)
        branch = self.branch(account)
        entry = group.entries[account]
        handovers = tuple(each for each in self.handovers if Header.decode(each.header).pulse < branch.header.pulse)
        root = SealedRoot(branch.seal.header, branch.seal.signatures, handovers)
        return Proof(account, entry.record.encode(), entry.pulse, (*inner, own, *branch.above(account)), root)

    # -- what must hold --------------------------------------------------------------------------------------------

    def check(self) -> None:
        """What must hold under every root header. Raises ValueError."""
        total = sum(node_sum(group.tree.root()) for group in self.groups.values())
        under_way = sum(receipt.amount for receipt in self.open())
        if total + under_way != SUPPLY:
            raise ValueError(f"not conserved: {total} and {under_way} under way of {SUPPLY}")
        if self.uppers:
            root = self.uppers[self.levels][WHOLE]
            sent_out, settled_in = root.counters
            if (sent_out - settled_in) % CYCLE != under_way or node_sum(root.inner) != total:
                raise ValueError(f"not conserved: {sent_out} went out and {settled_in} came in")
        for place, group in self.groups.items():
            self._check_group(place, group)
        for level, uppers in self.uppers.items():
            for place, upper in uppers.items():
                self._check_upper(level, place, upper)

    def _check_group(self, place: Place, group: Group) -> None:
        """A group is what its parent takes it for, and its branch leads to it."""
        sets = group.pending.tree.root(), group.settled.tree.root(), group.invites.root()
        if sets != (group.state.pending, group.state.settled, group.state.invites) or group.tree.root() != group.inner:
            raise ValueError("other sets than the state's")
        child = self.child_of(place)
        if child is None:
            return
        told = (child.head, child.term, child.roster, child.inner, child.sent_out, child.settled_in)
        if told != (group.digest, group.term, group.roster, group.inner, group.sent_out, group.settled_in):
            raise ValueError("a group is not what its parent takes it for")
        if self.is_whole and self.branch(place[0]).check(place[0]) != child.node(1):
            raise ValueError("a branch leads to another group")
        if self.is_shown(place) and (child.node(1) != group.header.node or self._state_of(group) != child.state):
            raise ValueError("a parent has another header of a group than its last")

    def _check_upper(self, level: int, place: Place, upper: UpperGroup) -> None:
        """A group above level 1 is what its parent takes it for."""
        parent = self.parent_of(level, place)
        if parent is None:
            return
        child = parent.children[place]
        told = (child.head, child.term, child.roster, child.inner, child.sent_out, child.settled_in)
        if told != (upper.digest, upper.term, upper.roster, upper.inner, *upper.counters):
            raise ValueError("a group is not what its parent takes it for")

    @staticmethod
    def _state_of(group: Group) -> bytes:
        return state_digest(group.state.encode())

    def open(self) -> Iterator[Receipt]:
        """Receipts that were sent, and have not arrived."""
        for group in self.groups.values():
            for item, (receipt, _) in group.pending.items.items():
                if item not in self.group_of(receipt.payee).settled:
                    yield receipt
