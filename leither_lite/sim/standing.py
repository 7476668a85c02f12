"""An organization of any number of machines that stands already: a whole tree of groups, as if it had grown for long.

Decides what every machine's store begins with: the state of its own group, and that of every group above in which it
has a seat, under headers of one root pulse that the real committees have signed. What came before is made up; rosters
and W's are drawn by the ledger's own rules. Keys are the same in every world.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from leither_lite.effects import Write
from leither_lite.header import (
    Header,
    body_digest,
    encode_roster,
    roster_digest,
    sign_seal,
    state_digest,
)
from leither_lite.identity import Key
from leither_lite.ledger.children import Child, Place, UpperState, children_digest, encode_children, nodes_of
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.group import Rules, entry_writes, sealers_write, tree_of
from leither_lite.ledger.records import Entry, Record, Role, counted_bytes
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import State, encode_willing, willing_digest
from leither_lite.ledger.structure import draw, inner_of, prefixes, willing_under
from leither_lite.ledger.upper import UpperGroup, counters_of, upper_willing
from leither_lite.ledger.upper_store import upper_writes
from leither_lite.limits import DIGEST_BYTES, ID_BITS, ID_BYTES, QUORUM
from leither_lite.organization import Charter, SignedCharter, first_writes, usual_parameters
from leither_lite.sim.founding import GIVEN, PULSE_MS, Founded, key_of
from leither_lite.sim.paper_generated import child_of, made_up
from leither_lite.store import keys
from leither_lite.tree.node import EMPTY, ZEROS, bit, group, is_prefix, meta

START: Final = 1_000
"""The pulse and the tick of all headers that a world begins with."""
TERM: Final = 1


@dataclass(frozen=True, slots=True)
class _Made:
    """A group that stands: its last header, who seals the next, and what its members' stores have of it."""

    child: Child
    roster: tuple[bytes, ...]
    members: tuple[bytes, ...]
    writes: list[Write]


class _Builder:
    """Makes the groups, from the accounts upward."""

    def __init__(self, network: bytes, nodes: Sequence[Key], supply: int, rules: Rules) -> None:
        self.network, self.nodes, self.supply, self.rules = network, nodes, supply, rules
        self.keys = {key.public: key for key in nodes}
        self.anchor = made_up("standing root", DIGEST_BYTES)
        self.shown: dict[bytes, bytes] = {}
        self.seats: dict[bytes, list[Write]] = {key.public: [] for key in nodes}

    def _since(self, level: int, prefix: bytes) -> int:
        """When a group's term began: they do not all end at once."""
        return START - made_up(f"since {level} {prefix.hex()}", 1)[0] % self.rules.term_ticks

    def _seal(
        self,
        place: tuple[int, int, bytes],
        roster: tuple[bytes, ...],
        inner: bytes,
        counters: tuple[int, int],
        state: bytes,
        willing: bytes,
    ) -> SealedPulse:
        level, bits, prefix = place
        content = encode_roster(roster)
        opened = meta(roster_digest(content), EMPTY, *counters, state_digest(state))
        header = Header(
            network=self.network,
            level=level,
            bits=bits,
            prefix=prefix,
            term=TERM,
            pulse=START,
            tick=START,
            anchor=self.anchor if bits else ZEROS,
            node=group(level, bits, prefix, START, inner, opened),
            previous=made_up(f"before {level} {bits} {prefix.hex()}", DIGEST_BYTES),
            body=body_digest(()),
        ).encode()
        quorum = roster[: QUORUM[len(roster)]] if roster else ()
        signatures = tuple((key, sign_seal(self.keys[key], header)) for key in quorum)
        return SealedPulse(header, signatures, content, inner, EMPTY, *counters, state, willing, ())

    def _child(self, sealed: SealedPulse) -> Child:
        self.shown[willing_digest(sealed.willing)] = sealed.willing
        return child_of(sealed)

    def level_one(self, place: tuple[int, bytes], entries: dict[bytes, Entry], willing: Sequence[Willing]) -> _Made:
        """A group of accounts."""
        bits, prefix = place
        state = State(START - 1, 0, EMPTY, EMPTY, EMPTY, 0, (), TERM, self._since(1, prefix), tuple(willing))
        roster = draw(willing, self.anchor, self.rules.roster_max)
        inner = tree_of(entries).root()
        sealed = self._seal((1, bits, prefix), roster, inner, (0, 0), state.encode(), encode_willing(willing))
        writes = [
            (keys.sealed(START), sealed.encode()),
            (keys.BASE, START.to_bytes(8, "big")),
            *entry_writes(START, -1, {}, entries),
        ]
        if roster:
            writes.append(sealers_write(START, START - 1, roster))
        return _Made(self._child(sealed), roster, tuple(each.key for each in willing), writes)

    def above(self, level: int, place: tuple[int, bytes], children: dict[Place, Child]) -> tuple[Child, SealedPulse]:
        """A group of groups, and the seats of those who are on its roster."""
        bits, prefix = place
        nodes = upper_willing(children.values(), self.shown, self.anchor)
        willing = encode_willing(nodes)
        digest = willing_digest(willing)
        table = children_digest(encode_children(children.values()))
        state = UpperState(START - 1, table, TERM, self._since(level, prefix), digest)
        roster = draw(willing_under(nodes, bits, prefix), self.anchor, self.rules.roster_max, children)
        inner = inner_of(nodes_of(children, level - 1))
        counters = counters_of(children.values())
        sealed = self._seal((level, bits, prefix), roster, inner, counters, state.encode(), willing)
        child = self._child(sealed)
        needed = sorted({each.willing for each in children.values()} | {digest})
        made = UpperGroup(
            self.network,
            self.supply,
            level,
            bits,
            prefix,
            sealed.roster,
            sealed,
            sealed.header,
            child.head,
            state,
            TERM,
            children,
            {each: self.shown[each] for each in needed},
            self.rules,
        )
        start = keys.group(level, bits, prefix)
        kept = [*upper_writes(made, {}, {}), (keys.sealed(START), sealed.encode())]
        for key in roster:
            self.seats[key] += [(start + name, content) for name, content in kept]
        return child, sealed


def _partition(places: Sequence[Place], bits: int, prefix: bytes, most: int) -> Iterable[tuple[int, bytes]]:
    """The prefixes of groups that have at most so many of these as their children, by halving."""
    if len(places) <= most or any(place[1] <= bits for place in places):
        yield bits, prefix
        return
    for side in (0, 1):
        number = int.from_bytes(prefix, "big") | side << (ID_BITS - 1 - bits)
        half = [place for place in places if bit(place[0], bits) == side]
        yield from _partition(half, bits + 1, number.to_bytes(ID_BYTES, "big"), most)


def _halves(accounts: Sequence[bytes], bits: int, prefix: bytes, most: int) -> Iterable[tuple[int, bytes]]:
    """The prefixes of groups that have at most so many of these accounts each, and one at least, by halving."""
    sides = [[account for account in accounts if bit(account, bits) == side] for side in (0, 1)]
    if len(accounts) <= most or not all(sides):
        yield bits, prefix
        return
    for side, half in enumerate(sides):
        number = int.from_bytes(prefix, "big") | side << (ID_BITS - 1 - bits)
        yield from _halves(half, bits + 1, number.to_bytes(ID_BYTES, "big"), most)


class Ground(NamedTuple):
    """What an organization is made of: its key, its nodes' keys, the founder's first, and where they are."""

    organization: Key
    nodes: tuple[Key, ...]
    addresses: tuple[str, ...]
    supply: int
    pulse_ms: int = PULSE_MS


def stand(nodes: int, roster_max: int, group_max: int, term_ticks: int, small: int = 0) -> Founded:
    """An organization of so many machines in groups that are as full as the charter allows: those with more than three
    quarters are split when their first terms end. With `small` they have so many members at most, where the ids allow,
    and buddies are merged. The root's committee is the charter's roster."""
    node_keys = tuple(key_of(f"node {number}") for number in range(nodes))
    addresses = tuple(f"machine-{index}:1" for index in range(nodes))
    ground = Ground(key_of("organization"), node_keys, addresses, 2 * GIVEN * nodes)
    if small:
        places = list(_halves([key.account for key in node_keys], 0, bytes(ID_BYTES), small))
    else:
        most = (4 * group_max + 3) // 3  # what `prefixes` leaves whole has at most three quarters of this
        sizes = {account: counted_bytes(entry.record) for account, entry in _entries(ground).items()}
        places = prefixes(sizes, 0, bytes(ID_BYTES), most, ID_BITS)
    return stand_on(ground, Rules(roster_max, group_max, term_ticks), places)


def _entries(ground: Ground) -> dict[bytes, Entry]:
    """Everybody's account."""
    network, nodes = ground.organization.account, ground.nodes
    entries = {key.account: Entry(START, Record(GIVEN, 0, 0, Role.MEMBER, 0)) for key in nodes}
    entries[nodes[0].account] = Entry(START, Record(GIVEN, 0, 0, Role.SUPERVISOR, 0))
    rest = ground.supply - GIVEN * len(nodes)
    entries[network] = Entry(START, Record(rest, 0, len(nodes), Role.ORGANIZATION, 0))
    return dict(sorted(entries.items()))


def stand_on(ground: Ground, rules: Rules, places: Iterable[tuple[int, bytes]]) -> Founded:
    """An organization in groups with these (bits, prefix), which partition all ids, and groups above them."""
    network, node_keys = ground.organization.account, ground.nodes
    builder = _Builder(network, node_keys, ground.supply, rules)
    entries = _entries(ground)
    pairs = zip(node_keys, ground.addresses, strict=True)
    willing = sorted(Willing(key.public, address, START, 0) for key, address in pairs)
    groups: dict[Place, _Made] = {}
    for bits, prefix in places:
        own = {account: entry for account, entry in entries.items() if is_prefix(account, prefix, bits)}
        groups[prefix, bits] = builder.level_one((bits, prefix), own, willing_under(willing, bits, prefix))
    children = {place: made.child for place, made in groups.items()}
    level = 1
    while len(children) > 1 or not level > 1:
        level += 1
        parents: dict[Place, Child] = {}
        for bits, prefix in _partition(list(children), 0, bytes(ID_BYTES), rules.members_max):
            under = {place: child for place, child in children.items() if is_prefix(place[0], prefix, bits)}
            child, _ = builder.above(level, (bits, prefix), under)
            parents[child.place] = child
        children = parents
    root = next(iter(children.values()))
    roster = tuple(builder.keys[key] for key in root.sealers)
    charter = Charter(
        ground.organization.public,
        "Simulated",
        ground.supply,
        ground.pulse_ms,
        root.sealers,
        node_keys[0].public,
        usual_parameters(roster_max=rules.roster_max, group_max=rules.members_max, term_ticks=rules.term_ticks),
    )
    first = first_writes(SignedCharter.sign(ground.organization, charter), roster)
    writes = [each for each in first if each[0] in (keys.CHARTER, keys.GENESIS)]
    writes.append((keys.WALLET, (0).to_bytes(8, "big")))
    stores = {key: (*made.writes, *builder.seats[key]) for made in groups.values() for key in made.members}
    own_writes = tuple(stores[key.public] for key in node_keys)
    return Founded(ground.organization, node_keys, roster, tuple(writes), 1, ground.supply, own_writes)
