"""Groups of which only the parent's view is made: nodes with valid sums, and seals over them that are truly signed.

Whoever judges a child sees a header, what its node opens to, and signatures; so nothing else of such a group need be
there. What is below it is made up, the same in every run. Decides nothing of what a parent takes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from leither_lite.header import (
    Header,
    Signatures,
    body_digest,
    encode_roster,
    header_digest,
    roster_digest,
    sign_seal,
    state_digest,
)
from leither_lite.identity import Key
from leither_lite.ledger.branch import Floor
from leither_lite.ledger.children import Child, UpperState
from leither_lite.ledger.committee import Held, Willing
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.showing import outbox_of
from leither_lite.ledger.state import State, encode_willing, willing_digest
from leither_lite.ledger.tip import Anchor
from leither_lite.limits import DIGEST_BYTES, ID_BYTES, QUORUM, SETTLED_TICKS_MIN
from leither_lite.sim.founding import key_of
from leither_lite.tree.node import EMPTY, ZEROS, group, meta, node_sum, pack_node

ROSTER: Final = 4
HOLDERS: Final = 2
ADDRESS: Final = "198.51.100.20:7370"
TERM: Final = 7
START: Final = 31_536_000
"""The tick and the pulse with which the path begins: a year of seconds."""
SINCE: Final = START - 500
"""The tick of the terms' first headers: none ends while the path is walked."""


def made_up(name: str, size: int) -> bytes:
    """Bytes that stand for some that nobody needs to know the origin of."""
    return hashlib.blake2b(name.encode(), digest_size=size, person=b"made up").digest()


@dataclass(frozen=True)
class Committee:
    """Who seals a group, chief first, who is willing to hold for it, and where those are who are not in `addresses`."""

    roster: tuple[Key, ...]
    holders: tuple[Key, ...]
    address: str = ADDRESS
    addresses: Mapping[bytes, str] = field(default_factory=dict)

    @classmethod
    def named(cls, name: str) -> Committee:
        """Four and two, the same in every run."""
        keys = [key_of(f"{name} {number}") for number in range(ROSTER + HOLDERS)]
        return cls(tuple(keys[:ROSTER]), tuple(keys[ROSTER:]))

    @property
    def r(self) -> bytes:
        """R."""
        return encode_roster([key.public for key in self.roster])

    @property
    def willing(self) -> tuple[Willing, ...]:
        """All of them, keys rising."""
        places = ((key, self.addresses.get(key.public, self.address)) for key in (*self.roster, *self.holders))
        return tuple(sorted(Willing(key.public, address, SINCE, 0) for key, address in places))

    @property
    def w(self) -> bytes:
        """W."""
        return encode_willing(self.willing)

    def sign(self, header: bytes) -> Signatures:
        """A quorum's seal."""
        return tuple((key.public, sign_seal(key, header)) for key in self.roster[: QUORUM[len(self.roster)]])

    def hold(self, network: bytes, digest: bytes) -> Signatures:
        """Signatures of a header by as many holders as are asked for, keys rising."""
        return tuple(sorted((key.public, Held.sign(network, key, digest)) for key in self.holders[:HOLDERS]))


@dataclass(frozen=True)
class Opened:
    """What a group's node opens to: inner node, outbox, counters, S."""

    inner: bytes
    outbox: bytes
    sent_out: int
    settled_in: int
    state: bytes


@dataclass(frozen=True)
class Spot:
    """Which group of which network."""

    network: bytes
    level: int
    bits: int
    prefix: bytes


def seal(spot: Spot, committee: Committee, opened: Opened, anchor: Anchor, tick: int, previous: bytes) -> SealedPulse:
    """A sealed header with an empty body; of the root group `anchor` is the header before it, and is not named."""
    pulse, roster = anchor.pulse + 1, committee.r
    opens = meta(roster_digest(roster), opened.outbox, opened.sent_out, opened.settled_in, state_digest(opened.state))
    header = Header(
        network=spot.network,
        level=spot.level,
        bits=spot.bits,
        prefix=spot.prefix,
        term=TERM,
        pulse=pulse,
        tick=tick,
        anchor=anchor.digest if spot.bits else ZEROS,
        node=group(spot.level, spot.bits, spot.prefix, pulse, opened.inner, opens),
        previous=previous,
        body=body_digest(()),
    ).encode()
    return SealedPulse(
        header,
        committee.sign(header),
        roster,
        opened.inner,
        opened.outbox,
        opened.sent_out,
        opened.settled_in,
        opened.state,
        committee.w,
        (),
    )


def child_of(sealed: SealedPulse) -> Child:
    """A group as its parent has it after that seal."""
    header = sealed.header
    return Child(
        header.bits,
        header.prefix,
        header.pulse,
        header_digest(sealed.header_bytes),
        header.term,
        sealed.roster,
        sealed.inner,
        sealed.outbox,
        sealed.sent_out,
        sealed.settled_in,
        state_digest(sealed.state),
        willing_digest(sealed.willing),
    )


class Generated:
    """A generated group and its last seal; `settled` is the root of its set of settled receipts (at level 1)."""

    def __init__(self, spot: Spot, committee: Committee, amount: int, sent_out: int, anchor: Anchor, tick: int) -> None:
        """A group with this sum below it, whose counters stand at `sent_out` and 0."""
        self.spot, self.committee = spot, committee
        self.name = f"{spot.level} {spot.prefix.hex()}"
        self.settled = self._set("settled", anchor.pulse)
        inner = pack_node(anchor.pulse + 1, amount, made_up(f"{self.name} inner", ID_BYTES))
        opened = Opened(inner, EMPTY, sent_out, 0, self._state(tick))
        self.sealed = seal(spot, committee, opened, anchor, tick, made_up(f"{self.name} previous", DIGEST_BYTES))

    @property
    def child(self) -> Child:
        """As its parent has it."""
        return child_of(self.sealed)

    def _set(self, kind: str, pulse: int) -> bytes:
        return pack_node(pulse, 1_000_000, made_up(f"{self.name} {kind}", ID_BYTES))

    def _state(self, tick: int) -> bytes:
        """S as large as such a group's is."""
        if self.spot.level == 1:
            invites = self._set("invites", 1)
            floor = tick - SETTLED_TICKS_MIN
            return State(tick, floor, self.settled, EMPTY, invites, 0, (), 0, SINCE, self.committee.willing).encode()
        table = made_up(f"{self.name} table {tick}", DIGEST_BYTES)
        return UpperState(tick, table, 0, SINCE, willing_digest(self.committee.w)).encode()

    def go_on(self, anchor: Anchor, tick: int, receipts: Sequence[Receipt], sent: int, settled: int) -> SealedPulse:
        """The next seal: at level 1 these receipts are sent, above it `sent` went out; `settled` came in."""
        before, pulse = self.sealed, anchor.pulse + 1
        outbox = outbox_of(receipts, pulse).root()
        sent += sum(receipt.amount for receipt in receipts)
        amount = node_sum(before.inner) - sent + settled
        inner = pack_node(pulse, amount, made_up(f"{self.name} inner {pulse}", ID_BYTES))
        opened = Opened(inner, outbox, before.sent_out + sent, before.settled_in + settled, self._state(anchor.tick))
        previous = header_digest(before.header_bytes)
        self.sealed = seal(self.spot, self.committee, opened, anchor, tick, previous)
        return self.sealed


def floor_with(sealed: SealedPulse, children: Iterable[Child]) -> Floor:
    """The page of a group above level 1 as its last header has it."""
    header = sealed.header
    nodes = {child.place: child.node(header.level - 1) for child in children}
    told = sealed.roster, sealed.sent_out, sealed.settled_in, state_digest(sealed.state)
    return Floor(header.level, header.bits, header.prefix, header.pulse, *told, nodes)
