"""The root chain and the branch above this node's own group: what every node follows, whatever the network's size.

Carries out docs/protocol.md, sections 3 and 9. Decides which branch is believed, what is told of it to whom, and when
the own group's last header is under the root. Never decides what is sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects, Write
from leither_lite.errors import RemoteError
from leither_lite.header import (
    LEVEL_MAX,
    Header,
    decode_roster,
    header_digest,
    signatures_value,
)
from leither_lite.identity import account_id
from leither_lite.ledger.branch import LEVELS_MAX, Branch, Floor, apply, difference
from leither_lite.ledger.children import Place
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.handovers import handovers
from leither_lite.ledger.roots import Roots, RootSeal
from leither_lite.limits import ADDRESS_BYTES_MAX, ID_BITS, ID_BYTES, KEY_BYTES, UINT_MAX
from leither_lite.node import frames
from leither_lite.node.peers import Peers
from leither_lite.node.root_chain import take_seal
from leither_lite.node.spreading import RELAYS_MAX, Told
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree.node import is_prefix
from leither_lite.tree.proof import Handover
from leither_lite.tree.proof_cbor import handover_value, take_handover

HANDOVERS_GIVEN: Final = 24
"""Who asks is given so many of those that it lacks."""
HANDOVERS_TOLD: Final = 4
"""With a branch go the newest handovers, so that who has missed one can follow."""
ROOTS_KEPT: Final = 8_192
HINTS_MAX: Final = 7 * LEVELS_MAX
ASK_MS: Final = 2_000
RELAYED_MAX: Final = 32
"""So many lists of whom this node is to tell in turn are remembered: some 120 KB."""
RELAYED_PULSES: Final = 30
"""For so long after the last time it stays connected to them."""

PAGES_MAX: Final = 64
"""Of so many pages the newest is remembered: all on the own way, and those of the seats."""

GroupPlace = tuple[int, int, bytes]
"""level, bits, prefix"""


def _take_hints(value: Value, most: int = HINTS_MAX) -> list[Willing]:
    """Where nodes are: nobody has signed it, and a wrong one leads nowhere. Raises RemoteError("bad_branch")."""
    hints = []
    for each in codec.items(value, most, "bad_branch"):
        key, address = codec.fields(each, 2, "bad_branch")
        key = codec.octets(key, KEY_BYTES, "bad_branch")
        hints.append(Willing(key, codec.text(address, ADDRESS_BYTES_MAX, "bad_branch"), 0, 0))
    return hints


@dataclass(slots=True)
class Spread:
    """Who keeps a page, as its last two root headers say, and who was told it of the newest."""

    pulse: int
    keepers: tuple[bytes, ...]
    told: dict[bytes, None] = field(default_factory=dict)


def keepers_of(branch: Branch, above: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Who may seal the next header of a branch's lowest page: its R, or the first above it that is not empty; `above`:
    who may seal the root's."""
    for floor in reversed(branch.floors):
        found = decode_roster(floor.roster, empty_allowed=True)
        if found:
            return found
    return above


class Trunk:
    """What this node knows of the groups above its own."""

    def __init__(self, reader: Reader, roots: Roots, peers: Peers, own: bytes) -> None:
        """`own`: the id of this node's account."""
        self._reader = reader
        self._peers = peers
        self._own = own
        self.roots = roots
        self.branch: Branch | None = None
        self.arrived_ms = 0
        self._newest = self.pulse
        self.on_branch: Callable[[Effects, int], None] = lambda effects, now_ms: None
        self.below: Callable[[Branch], Iterable[Floor]] = lambda branch: ()
        self.know: Callable[[list[Willing], bytes], None] = lambda hints, source: None
        self.address_of: Callable[[bytes], str] = lambda key: ""
        self.hearers: Callable[[Floor], Iterable[Told]] = lambda floor: ()
        self._arrived: dict[GroupPlace, int] = {}
        self._branches: dict[GroupPlace, Branch] = {}
        self._spreads: dict[GroupPlace, Spread] = {}
        self._relays: dict[tuple[GroupPlace, bytes], tuple[int, tuple[bytes, ...]]] = {}  # of which pulse, whom
        self._handovers: dict[int, Handover] = {}
        self._unkept: list[tuple[int, bytes, int]] = []
        self._asked_ms: int | None = None
        self._around_ms: int | None = None
        self._turn = 0
        for each in handovers(reader, 0, keys.PULSE_MAX):
            self._handovers[Header.decode(each.header).pulse] = each

    @property
    def pulse(self) -> int:
        """The newest root pulse that is known; 0 before any."""
        return 0 if self.roots.newest is None else self.roots.newest.pulse

    @property
    def levels(self) -> int:
        """How many levels there are, as the newest root header says."""
        return 1 if self.branch is None else self.branch.header.level

    def floor(self, level: int) -> Floor | None:
        """The newest floor at a level above the own group: the whole branch down to it may not have come."""
        found: Floor | None = None
        newest = -1
        for branch in [*self._branches.values(), *([] if self.branch is None else [self.branch])]:
            for floor in branch.floors if branch.header.pulse > newest else ():
                if floor.level == level:
                    found, newest = floor, branch.header.pulse
        return found

    def sealers_of(self, level: int) -> tuple[bytes, ...]:
        """Who may seal the next header of the group at a level above the own one: its R, or the first above it that is
        not empty."""
        for at in range(level, self.levels + 1):
            floor = self.floor(at)
            found = () if floor is None else decode_roster(floor.roster, empty_allowed=True)
            if found:
                return found
        return self.roots.roster

    def home(self) -> Place | None:
        """The place of the own account's level-1 group, as the branch has it."""
        return None if self.branch is None else self.branch.place(self._own)

    # -- what comes in ---------------------------------------------------------------------------------------------

    def take(self, effects: Effects, values: list[Value], source: bytes, now_ms: int) -> None:
        """[24, root header, signatures, [handover, …], [floor, …], hints, relays], the last two [[key, address], …]:
        believed where the root header is sealed by the roster in force, and the floors lead to it. Raises RemoteError.
        """
        _, header, signatures, told, floors, hints, relays = codec.fields(values, 7, "bad_branch")
        named = _take_hints(relays, RELAYS_MAX)
        seal = take_seal([header, signatures])
        root = Header.decode(seal.header)
        known = self._newest_handover
        for each in codec.items(told, HANDOVERS_GIVEN, "bad_branch"):
            self.hand_over(effects, take_handover(each))
        if root.pulse < self.pulse:
            return
        floors = codec.items(floors, LEVELS_MAX, "bad_branch")
        page = self._page_of(floors)
        is_here = page is not None and self.has_arrived(*page, root.pulse)
        if page is not None and is_here and self.roots.knows(header_digest(seal.header), root.pulse):
            self.know(_take_hints(hints), source)  # there are several who tell it
            self._pass_on(effects, page, root.pulse, named, source)
            return
        if known < self._newest_handover < root.pulse and not self._is_sealed(seal):
            self._asked_ms = None  # a step nearer: ask on from there
            self.ask(effects, source, now_ms)
            return
        if not self._peers.is_near(source):
            effects.work.append((source, len(seal.signatures)))
        seal = self.roots.checked(seal)
        try:
            branch = apply(self.branch, seal, floors)
        except RemoteError as error:
            if error.reason == "branch_base":
                self.ask(effects, source, now_ms)
                return
            raise
        if not branch.floors:
            raise RemoteError("bad_branch", "no floors")
        branch.verify()
        own = tuple(each for each in branch.floors if is_prefix(self._own, each.prefix, each.bits))
        branch = Branch(branch.seal, own)  # pages of other ways, of which there is no end, are not kept here
        self.know(_take_hints(hints), source)
        self.arrive(effects, branch, now_ms, source)
        lowest = own[-1]
        self._pass_on(effects, (lowest.level, lowest.bits, lowest.prefix), root.pulse, named, source)

    @staticmethod
    def _page_of(floors: list[Value]) -> GroupPlace | None:
        """The lowest page of what comes. Raises RemoteError("bad_branch")."""
        if not floors:
            return None
        level, bits, prefix = codec.fields(floors[-1], 10, "bad_branch")[:3]
        level, bits = codec.uint(level, LEVEL_MAX, "bad_branch"), codec.uint(bits, ID_BITS, "bad_branch")
        return level, bits, codec.octets(prefix, ID_BYTES, "bad_branch")

    @property
    def _newest_handover(self) -> int:
        return max(self._handovers, default=-1)

    def _is_sealed(self, seal: RootSeal) -> bool:
        try:
            self.roots.check(seal)
        except RemoteError:
            return False
        return True

    def hand_over(self, effects: Effects, handover: Handover) -> None:
        """Take a handover, and keep it. Raises RemoteError as `Roots.hand_over`."""
        if self.roots.hand_over(handover):
            pulse = Header.decode(handover.header).pulse
            self._handovers[pulse] = handover
            effects.writes.append((keys.handover(pulse), encode(handover_value(handover))))

    def arrive(self, effects: Effects, branch: Branch, now_ms: int, source: bytes = b"") -> None:
        """A branch down to some floor, which holds: the floors that this node keeps books of are added below, and it
        goes on to those who wait for it there."""
        lowest = branch.floors[-1]
        place = (lowest.level, lowest.bits, lowest.prefix)
        pulse = branch.header.pulse
        if self._arrived.get(place, -1) >= pulse:
            return
        before = self._branches.get(place)
        keepers = keepers_of(branch, self.roots.roster)  # after a change of R the old ones tell it, too
        keepers += () if before is None else keepers_of(before, self.roots.roster)
        self._arrived.pop(place, None)
        self._arrived[place] = pulse
        self._branches[place] = branch
        self._spreads[place] = Spread(pulse, keepers, {source: None})
        while len(self._arrived) > PAGES_MAX:
            oldest = next(iter(self._arrived))
            del self._arrived[oldest]
            self.forget(*oldest)
        self.roots.take(branch.seal)
        if pulse > self._newest:  # of those that came this way: who keeps the root knows its header before
            self._newest = pulse
            self.arrived_ms = now_ms
            self._unkept.append((pulse, header_digest(branch.seal.header), branch.header.tick))
        self._tell(effects, branch, place, self.hearers(lowest))
        for floor in list(self.below(branch)):
            self.arrive(effects, Branch(branch.seal, (*branch.floors, floor)), now_ms, source)
        if lowest.level == 2 and self._is_own(branch):
            if self.branch is None or pulse > self.branch.header.pulse:
                before, self.branch = self.branch, branch
                self._peers.tell(effects, self._frame(before, branch), source)
                self.on_branch(effects, now_ms)

    def go_on(self, effects: Effects, level: int, bits: int, prefix: bytes, now_ms: int) -> None:
        """A page of ours may have come after the branch down to the one above it."""
        for branch in list(self._branches.values()):
            above = branch.floors[-1]
            if above.level != level + 1 or not is_prefix(prefix, above.prefix, above.bits):
                continue
            if not self.has_arrived(level, bits, prefix, branch.header.pulse):
                for floor in list(self.below(branch)):
                    self.arrive(effects, Branch(branch.seal, (*branch.floors, floor)), now_ms)

    def _is_own(self, branch: Branch) -> bool:
        """True if the own account is under the lowest floor."""
        try:
            branch.floors[-1].child(self._own)
        except RemoteError:
            return False
        return True

    # -- telling ---------------------------------------------------------------------------------------------------

    def _frame(
        self, before: Branch | None, branch: Branch, above: int | None = None, relays: Iterable[bytes] = ()
    ) -> bytes:
        """The frame of a branch, with the newest handovers, or the oldest above a pulse."""
        if above is None:
            pulses = sorted(self._handovers)[-HANDOVERS_TOLD:]
        else:
            pulses = [pulse for pulse in sorted(self._handovers) if pulse > above][:HANDOVERS_GIVEN]
        told = [handover_value(self._handovers[pulse]) for pulse in pulses]
        seal = branch.seal
        floors = difference(before, branch)
        keepers = [key for floor in branch.floors for key in decode_roster(floor.roster, empty_allowed=True)]
        hints: Value = [[key, address] for key in dict.fromkeys(keepers) if (address := self.address_of(key))]
        named: Value = [[key, address] for key in relays if (address := self.address_of(key))]
        return encode([frames.BRANCH, seal.header, signatures_value(seal.signatures), told, floors, hints, named])

    def _tell(self, effects: Effects, branch: Branch, page: GroupPlace, whom: Iterable[Told]) -> None:
        """Tell those who are connected a branch down to a page, whole; nobody twice."""
        told = self._spreads[page].told
        made: dict[tuple[bytes, ...], bytes] = {}
        for each in whom:
            if each.key not in told and each.key in self._peers.connected:
                told[each.key] = None
                if each.relays not in made:
                    made[each.relays] = self._frame(None, branch, relays=each.relays)
                effects.sends.append((each.key, made[each.relays]))

    def _pass_on(self, effects: Effects, page: GroupPlace, pulse: int, named: list[Willing], source: bytes) -> None:
        """Somebody of a page's committee has told it, and named whom this node is to tell in turn. They get what this
        node has found true, whatever else came with their names."""
        spread, branch = self._spreads.get(page), self._branches.get(page)
        if not named or spread is None or branch is None or spread.pulse != pulse or source not in spread.keepers:
            return
        if self._relays.get((page, source), (-1, ()))[0] == pulse:
            return
        self.know(named, source)
        keys_named = tuple(each.key for each in named)
        self._relays.pop((page, source), None)
        self._relays[page, source] = pulse, keys_named
        while len(self._relays) > RELAYED_MAX:
            del self._relays[next(iter(self._relays))]
        self._tell(effects, branch, page, map(Told, keys_named))

    def relays(self) -> Iterator[bytes]:
        """Whom this node is to tell pages of other groups in turn."""
        for pulse, named in self._relays.values():
            if self.pulse - pulse <= RELAYED_PULSES:
                yield from named

    def has_arrived(self, level: int, bits: int, prefix: bytes, pulse: int) -> bool:
        """True if a page of a root header of that pulse, or a later one, was here."""
        return self._arrived.get((level, bits, prefix), -1) >= pulse

    def tell_down_to(self, effects: Effects, level: int, bits: int, prefix: bytes, peer: bytes) -> None:
        """Tell a peer the newest branch down to a page that this node keeps, if the peer's account is under it."""
        branch = self._branches.get((level, bits, prefix))
        if branch is None or not is_prefix(account_id(peer), prefix, bits):
            return
        frame = self._frame(None, branch)
        if self._peers.may_give(effects, len(frame), peer):
            effects.sends.append((peer, frame))

    def forget(self, level: int, bits: int, prefix: bytes) -> None:
        """A page is kept here no more."""
        self._branches.pop((level, bits, prefix), None)
        self._spreads.pop((level, bits, prefix), None)

    def ask(self, effects: Effects, peer: bytes, now_ms: int) -> bool:
        """Ask a peer for the whole branch, unless somebody was asked just before; True if it is asked."""
        if self._asked_ms is not None and now_ms - self._asked_ms < ASK_MS:
            return False
        self._asked_ms = now_ms
        effects.sends.append((peer, self.wanted_frame()))
        return True

    def ask_around(self, effects: Effects, now_ms: int) -> None:
        """Ask the next of those who are connected, whoever else was asked because of what somebody has told."""
        peers = list(self._peers.connected)
        if peers and (self._around_ms is None or now_ms - self._around_ms >= ASK_MS):
            self._around_ms = now_ms
            self._turn += 1
            effects.sends.append((peers[self._turn % len(peers)], self.wanted_frame()))

    def wanted_frame(self) -> bytes:
        """[25, pulse of the newest handover here + 1, or 0]."""
        return encode([frames.WANT_BRANCH, self._newest_handover + 1])

    def give(self, effects: Effects, values: list[Value], source: bytes) -> None:
        """[25, pulse + 1]: the pages above the asker's own account, as far as they are above this node's too, with the
        handovers above that pulse: the root's page is for everybody. Raises RemoteError("bad_want")."""
        _, known = codec.fields(values, 2, "bad_want")
        above = codec.uint(known, UINT_MAX, "bad_want") - 1
        if self.branch is None:
            return
        account = account_id(source)
        floors = tuple(each for each in self.branch.floors if is_prefix(account, each.prefix, each.bits))
        frame = self._frame(None, Branch(self.branch.seal, floors), above)
        if self._peers.may_give(effects, len(frame), source):
            effects.sends.append((source, frame))

    # -- keeping ---------------------------------------------------------------------------------------------------

    def keep(self, effects: Effects) -> None:
        """Keep them with what is signed: others may be bound to it, and it must be known here what that builds on."""
        effects.writes += self.writes()

    def writes(self) -> list[Write]:
        """What is to be kept of the root headers that came since the last call: with what is written anyway."""
        writes: list[Write] = []
        for pulse, digest, tick in self._unkept:
            writes.append((keys.root(pulse), digest + tick.to_bytes(8, "big")))
        if self._unkept:
            oldest = self._unkept[-1][0] - ROOTS_KEPT
            first = next(self._reader.scan(keys.ROOTS[0], keys.root(max(oldest, 0))), None)
            if first is not None:
                writes.append((first[0], None))
        if writes and self.roots.seal is not None:
            seal = self.roots.seal
            writes.append((keys.ROOT, encode([seal.header, signatures_value(seal.signatures)])))
        self._unkept = []
        return writes
