"""A network of any size, of which one level-1 group is there, and the way from it to the root; and what its nodes keep.

Six keys have an account in that group: four on its roster, a member, and a keeper. Rosters of the levels above are
those four up to the level `seats`, and the keeper alone beyond. All that a node would ever be shown of the rest is
generated: synopses whose sums add up to the supply, each with a roster and a W of its own, as large as they may be; so
pages are real, and seals are truly signed. Decides nothing about the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from leither_lite.codec import encode
from leither_lite.effects import Write
from leither_lite.header import header_digest, signatures_value
from leither_lite.ledger.branch import Branch, Floor
from leither_lite.ledger.children import Child, Place, UpperState, children_digest, encode_children, nodes_of
from leither_lite.ledger.roots import RootSeal
from leither_lite.ledger.state import willing_digest
from leither_lite.ledger.structure import inner_of
from leither_lite.ledger.tip import Anchor
from leither_lite.ledger.upper import UpperGroup, counters_of
from leither_lite.ledger.upper_store import upper_writes
from leither_lite.limits import ID_BITS, ID_BYTES, WILLING_MAX
from leither_lite.node.scope import Scope
from leither_lite.organization import Charter, SignedCharter, genesis, usual_parameters
from leither_lite.sim.founding import key_of
from leither_lite.sim.generated_group import KEYS, OwnGroup, Past, cut, root_before
from leither_lite.sim.paper_generated import (
    ADDRESS,
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
    seal,
)
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore
from leither_lite.tree.node import EMPTY, node_sum

STEP_BITS: Final = 6
"""How many bits longer the prefix on the way is at each level down: four levels, with 24 bits that the keys share."""
MEMBER: Final = 4
KEEPER: Final = 5
TERM_TICKS: Final = 2_592_000
"""No term ends."""


class Plan(NamedTuple):
    """How large a network is: `widths`, children of the group at each level above 1, of 64 to 256; and up to which
    level the four of the own group sit on the committees: 1 and up."""

    widths: tuple[int, ...] = ()
    seats: int = 1
    past: Past = Past()
    pulse_ms: int = 1_000

    @property
    def levels(self) -> int:
        """How many levels there are."""
        return 1 + len(self.widths)


def partition(bits: int, prefix: bytes, own: Place, count: int) -> list[Place]:
    """So many places that make up a prefix, `own` one of them, the others as even as may be; in order."""
    step = own[1] - bits
    start = int.from_bytes(prefix, "big")
    found = [(start | number << (ID_BITS - own[1]), own[1]) for number in range(1 << step)]
    own_start = int.from_bytes(own[0], "big")
    while len(found) < count:
        at = min((each for each in found if each[0] != own_start), key=lambda each: (each[1], each[0]))
        index = found.index(at)
        half = at[0] | 1 << (ID_BITS - at[1] - 1)
        found[index : index + 1] = [(at[0], at[1] + 1), (half, at[1] + 1)]
    return [(place.to_bytes(ID_BYTES, "big"), depth) for place, depth in found]


class Upper:
    """A group of the way above level 1, as its last header has it; `siblings` are its other children."""

    def __init__(
        self, spot: Spot, committee: Committee, children: Mapping[Place, Child], siblings: dict[Place, Generated]
    ) -> None:
        self.spot, self.committee, self.siblings = spot, committee, siblings
        self.children = dict(sorted(children.items()))
        table = children_digest(encode_children(self.children.values()))
        self.state = UpperState(START, table, 0, SINCE, willing_digest(committee.w))
        inner = inner_of(nodes_of(self.children, spot.level - 1))
        opened = Opened(inner, EMPTY, *counters_of(self.children.values()), self.state.encode())
        before = root_before(START - 1)
        # Of the root group `before` is the header before it.
        self.sealed = seal(spot, committee, opened, before, START, before.digest)

    @property
    def floor(self) -> Floor:
        """Its page."""
        return floor_with(self.sealed, self.children.values())

    def writes(self, supply: int, below: bytes) -> list[Write]:
        """What a member of its committee keeps; `below`: W of its child on the way."""
        spot = self.spot
        shown = {willing_digest(each.committee.w): each.committee.w for each in self.siblings.values()}
        shown |= {willing_digest(each): each for each in (below, self.committee.w)}
        group = UpperGroup(
            spot.network,
            supply,
            spot.level,
            spot.bits,
            spot.prefix,
            self.committee.r,
            self.sealed,
            self.sealed.header,
            header_digest(self.sealed.header_bytes),
            self.state,
            TERM,
            self.children,
            shown,
        )
        writes = [*upper_writes(group, {}, {}), (keys.sealed(START), self.sealed.encode())]
        return Scope.of(MemoryStore(), spot.level, spot.bits, spot.prefix).writes(writes)


class GeneratedNetwork:
    """The network at pulse `START`. `addresses` are those of its six nodes; `rest` is where all others are reached, who
    all have the key `rest_key` on their rosters."""

    def __init__(self, plan: Plan, addresses: Sequence[str] = (), rest: str = ADDRESS) -> None:
        self.plan = plan
        self.organization, self.rest_key, self._rest = key_of("organization"), key_of("rest"), rest
        self.network = self.organization.account
        self._addresses = {key.public: address for key, address in zip(KEYS, addresses, strict=False)}
        four, keeper = KEYS[:ROSTER], KEYS[KEEPER]
        parameters = usual_parameters(term_ticks=TERM_TICKS, roster_max=ROSTER)
        root = four if plan.seats >= plan.levels else (keeper,)
        roster = tuple(key.public for key in root)
        organization = self.organization.public
        charter = Charter(organization, "Generated", 1, plan.pulse_ms, roster, four[0].public, parameters)
        own = Committee(four, KEYS[ROSTER:], ADDRESS, self._addresses)
        self.own = OwnGroup(self.network, STEP_BITS * len(plan.widths), own, plan.past, charter.rules)
        self.uppers: dict[int, Upper] = {}
        self.supply = self._stack(own)
        charter = Charter(organization, "Generated", self.supply, plan.pulse_ms, roster, four[0].public, parameters)
        self.charter = SignedCharter.sign(self.organization, charter)
        self._genesis, _ = genesis(charter, self.charter.content, root)

    def _stack(self, own: Committee) -> int:
        """The groups from level 2 to the root; the sum of all accounts."""
        below, amount = self.own.child, self.own.sum
        for level, width in enumerate(self.plan.widths, 2):
            bits = STEP_BITS * (self.plan.levels - level)
            spot = Spot(self.network, level, bits, cut(below.prefix, bits))
            siblings = {
                place: self._generated(Spot(self.network, level - 1, place[1], place[0]), amount)
                for place in partition(bits, spot.prefix, below.place, width)
                if place != below.place
            }
            children = {below.place: below, **{place: each.child for place, each in siblings.items()}}
            seated = level <= self.plan.seats
            committee = Committee(own.roster if seated else (KEYS[KEEPER],), (), ADDRESS, self._addresses)
            upper = self.uppers[level] = Upper(spot, committee, children, siblings)
            below, amount = child_of(upper.sealed), node_sum(upper.sealed.inner)
        return amount

    def _generated(self, spot: Spot, amount: int) -> Generated:
        """A group beside the way, with a roster and a W of its own."""
        name = f"{spot.level} {spot.prefix.hex()}"
        made = [key_of(f"{name} {number}") for number in range(WILLING_MAX - 1)]
        committee = Committee((self.rest_key, *made[: ROSTER - 1]), tuple(made[ROSTER - 1 :]), self._rest)
        return Generated(spot, committee, amount, 0, root_before(START - 1), START)

    @property
    def root(self) -> Anchor:
        """The newest root header."""
        sealed = self.uppers[self.plan.levels].sealed if self.uppers else self.own.group.sealed
        return Anchor(header_digest(sealed.header_bytes), sealed.header.pulse, sealed.header.tick)

    @property
    def branch(self) -> Branch:
        """The pages from the root down to level 2."""
        root = self.uppers[self.plan.levels].sealed
        floors = tuple(self.uppers[level].floor for level in range(self.plan.levels, 1, -1))
        return Branch(RootSeal(root.header_bytes, root.signatures), floors)

    def writes(self, index: int) -> list[Write]:
        """What the store of one of the six nodes holds, but for where it lies."""
        found = [(keys.CHARTER, self.charter.encode()), (keys.GENESIS, self._genesis.encode()), *self.own.writes]
        if self.uppers:
            roots = [root_before(pulse) for pulse in range(START - self.plan.past.pulses, START)] + [self.root]
            found += [(keys.root(each.pulse), each.digest + each.tick.to_bytes(8, "big")) for each in roots]
            seal = self.branch.seal
            found.append((keys.ROOT, encode([seal.header, signatures_value(seal.signatures)])))
        below = self.own.committee.w
        for upper in self.uppers.values():
            if KEYS[index] in upper.committee.roster:
                found += upper.writes(self.supply, below)
            below = upper.committee.w
        return found
