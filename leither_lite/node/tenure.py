"""How this node comes to its seats above level 1, and hands them on (docs/protocol.md, sections 3 and 4.8).

Decides which groups it has a seat in: by its store, by a roster that it finds itself on, by a split. What a committee
knows goes on to the one after it, checked against the branch. Never decides who is on a roster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from leither_lite import codec
from leither_lite.board import Board
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects
from leither_lite.header import decode_roster
from leither_lite.identity import Key, account_id
from leither_lite.ledger.branch import Floor
from leither_lite.ledger.children import Child, UpperState
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.group import Rules
from leither_lite.ledger.roots import RootSeal
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import NOBODY, SPLIT, decode_willing, encode_willing, willing_digest
from leither_lite.ledger.structure import willing_under
from leither_lite.ledger.upper import UpperGroup, new_children, new_root, part_group, upper_parts
from leither_lite.ledger.upper_store import check_upper, load_upper, tip_content, upper_writes
from leither_lite.limits import ID_BITS, ID_BYTES
from leither_lite.node import frames
from leither_lite.node.clock import Clock
from leither_lite.node.comeback import Comeback
from leither_lite.node.committee import Committee
from leither_lite.node.errands import Errands
from leither_lite.node.evidence import EvidenceBook
from leither_lite.node.keeping import NotHeld
from leither_lite.node.peers import Peers
from leither_lite.node.scope import Scope, group_starts
from leither_lite.node.trunk import GroupPlace, Trunk
from leither_lite.node.upper_books import UpperBooks
from leither_lite.node.upper_frames import Arriving, floor_of_group, is_own_header, read_upper, upper_frames
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree.node import EMPTY, is_prefix

SEATS_MAX: Final = 16
TOLD_AGAIN_MS: Final = 2_000
PARTING_MS: Final = 60_000
"""For so long those are told who have a seat after a split."""
UPPER_WORK: Final = 4
"""Signature checks that reading a told group is worth."""
READ_AGAIN_MS: Final = 1_000
"""What several tell at once is read once."""


@dataclass(slots=True, eq=False)
class Seat:
    """One group above level 1. `floors` are its last two pages, newest first: what the root shows may be the older."""

    books: UpperBooks
    committee: Committee
    scope: Scope
    floors: list[Floor]
    told_ms: int = 0
    tries: int = 0
    """How often its committee's last seal was told to the parent."""
    called_ms: int = 0

    @property
    def place(self) -> GroupPlace:
        """Of its group."""
        group = self.books.group
        return group.level, group.bits, group.prefix


class Tenure:
    """The seats that this node has."""

    def __init__(
        self,
        reader: Reader,
        board: Board,
        network: bytes,
        supply: int,
        rules: Rules,
        held: int,
        key: Key,
        peers: Peers,
        clock: Clock,
        comeback: Comeback,
        evidence: EvidenceBook,
        trunk: Trunk,
        errands: Errands,
        now_ms: int,
    ) -> None:
        """Go on from the store. Raises Halt("store_corrupt")."""
        self._reader = reader
        self._board = board
        self._network = network
        self._supply = supply
        self._rules = rules
        self._held = held
        self._key = key
        self._peers = peers
        self._clock = clock
        self._comeback = comeback
        self._evidence = evidence
        self._trunk = trunk
        self._errands = errands
        self._seats: dict[GroupPlace, Seat] = {}
        self._asked_ms: dict[GroupPlace, int] = {}
        self._gone: dict[GroupPlace, None] = {}  # the parent has split them
        self._parting: list[tuple[int, list[bytes], tuple[bytes, ...]]] = []  # until when, the frames, to whom
        self._named: dict[GroupPlace, Child] = {}  # whose parents have named this node to seal
        self._arriving = Arriving()
        self._read: tuple[Value, int] = b"", 0
        self.on_child: Callable[[Effects, Child, bytes, list[Value], bytes, int], None] = _ignore
        for start in group_starts(reader):
            scope = Scope(reader, start)
            if scope.get(keys.UPPER) is not None:
                self._add(scope, load_upper(scope, network, supply, rules, trunk.roots.denies), now_ms)

    def __iter__(self) -> Iterator[Seat]:
        return iter(list(self._seats.values()))

    def __len__(self) -> int:
        return len(self._seats)

    def get(self, level: int, bits: int, prefix: bytes) -> Seat | None:
        """The seat in the group at a place."""
        return self._seats.get((level, bits, prefix))

    @property
    def await_parents(self) -> bool:
        """True if a group of ours has offered something: who is on no roster after it hears of the answer by asking."""
        return any(seat.books.group.state.offer.kind for seat in self)

    # -- taking a seat ---------------------------------------------------------------------------------------------

    def _add(self, scope: Scope, group: UpperGroup, now_ms: int) -> Seat:
        books = UpperBooks(scope, self._key, group, self._trunk.roots, self._held)
        place = (group.level, group.bits, group.prefix)
        committee = Committee(
            scope,
            self._board,
            self._network,
            self._key,
            books,
            self._peers,
            self._clock,
            NotHeld(),
            self._comeback,
            now_ms,
            self._evidence,
            lambda: books.sealers,
        )
        is_new_root = group.header.level < group.level  # no header shows it yet
        seat = Seat(books, committee, scope, [] if is_new_root else [floor_of_group(group)])
        self._furnish(seat)
        self._seats[place] = seat
        for child in group.children.values():
            self._know_sealers(decode_willing(group.shown[child.willing]), child.sealers)
        return seat

    def _know_sealers(self, willing: Iterable[Willing], sealers: tuple[bytes, ...]) -> None:
        """Where those are who seal for a child: of all of hundreds of children they have room."""
        self._errands.know(each for each in willing if each.key in sealers)

    def _furnish(self, seat: Seat) -> None:
        """A seat is taken: what is to happen in it."""
        raise NotImplementedError

    def found(self, effects: Effects, group: UpperGroup, now_ms: int) -> Seat:
        """Take a seat in a group whose state has come from elsewhere: of a split, or from others."""
        group.denies_root = self._trunk.roots.denies
        check_upper(group)
        scope = Scope.of(self._reader, group.level, group.bits, group.prefix)
        effects.writes += scope.clear(effects.writes)
        effects.writes += scope.writes(upper_writes(group, {}, {}))
        self._trunk.keep(effects)  # the root header that shows it: nothing is held that nobody could be bound to
        old = self._seats.pop((group.level, group.bits, group.prefix), None)
        seat = self._add(scope, group, now_ms)
        if old is not None:
            seat.floors += old.floors[:1]
        return seat

    def drop(self, effects: Effects, seat: Seat) -> None:
        """Give a seat up, and what was kept for it."""
        effects.writes += seat.scope.clear(effects.writes)
        self._trunk.forget(*seat.place)
        del self._seats[seat.place]

    def _hand_on(self, effects: Effects, seat: Seat, now_ms: int) -> None:
        """Tell the committee that comes after this one all that it needs."""
        seat.told_ms = now_ms
        self._tell(effects, upper_frames(seat.books.group), seat.books.sealers, now_ms)

    def _tell(self, effects: Effects, told: Iterable[bytes], whom: Iterable[bytes], now_ms: int) -> None:
        for key in whom:
            for frame in told:
                self._errands.send(effects, key, frame, now_ms)

    # -- splits ----------------------------------------------------------------------------------------------------

    def _split(self, effects: Effects, seat: Seat, now_ms: int) -> None:
        """A group of ours is split: who is on a roster of its parts, or of the new root, is told all of it."""
        group = seat.books.group
        willing = group.willing
        whom = dict.fromkeys(group.roster_keys if group.is_root else ())
        for each in group.state.offer.successors:
            whom.update(dict.fromkeys(decode_roster(each.roster, empty_allowed=True)))
        whom.pop(self._key.public, None)
        self._errands.know(willing)
        told = upper_frames(group)
        self._parting.append((now_ms + PARTING_MS, told, tuple(whom)))
        self._tell(effects, told, whom, now_ms)
        self.drop(effects, seat)
        self._derive(effects, group, now_ms)

    def _derive(self, effects: Effects, group: UpperGroup, now_ms: int) -> None:
        """Take the seats that this node has in the parts of a group, and in the root above them: as long as these have
        sealed nothing. What has gone on is asked for, and never begun again."""
        successors = group.state.offer.successors
        own = self._key.public
        contents = [encode_willing(willing_under(group.willing, each.bits, each.prefix)) for each in successors]
        children = new_children(successors, group.digest, group.header.pulse, contents)
        parent = self._trunk.floor(group.level + 1)
        shown = {} if parent is None else parent.nodes
        is_newest = group.is_root and self._trunk.pulse == group.header.pulse
        for part in upper_parts(group):
            child = children[part.successor.prefix, part.successor.bits]
            is_begun = is_newest or shown.get(child.place) == child.node(group.level)
            seat = self.get(group.level, child.bits, child.prefix)
            if is_begun and seat is None and own in child.sealers:
                self.found(effects, part_group(group, part), now_ms)
        if is_newest and own in group.roster_keys and self.get(group.level + 1, 0, group.prefix) is None:
            root = new_root(
                group.sealed,
                children,
                {willing_digest(content): content for content in contents},
                network=self._network,
                supply=self._supply,
                level=group.level + 1,
                rules=self._rules,
                digest=group.digest,
            )
            self.found(effects, root, now_ms)

    # -- who is new ------------------------------------------------------------------------------------------------

    def _look_for_seats(self, effects: Effects, now_ms: int) -> None:
        """Ask for the state of groups whose committee this node is on, and let go of those it has left."""
        branch = self._trunk.branch
        for floor in () if branch is None else branch.floors:
            place = (floor.level, floor.bits, floor.prefix)
            seat = self._seats.get(place)
            on_roster = self._key.public in decode_roster(floor.roster, empty_allowed=True)
            is_behind = seat is not None and seat.books.group.header.pulse < floor.pulse
            if on_roster and (seat is None or is_behind):
                self._ask(effects, place, floor, now_ms)
            elif seat is not None and is_behind and not on_roster:
                self.drop(effects, seat)
            for other in self:
                level, bits, _ = other.place
                if level == floor.level and bits < floor.bits and other.books.group.header.pulse < floor.pulse:
                    self._leave_split(effects, other)

    def _leave_split(self, effects: Effects, seat: Seat) -> None:
        """The branch shows a part of a group of ours in its place: it is over."""
        if seat.books.group.state.offer.kind == SPLIT:
            self._gone[seat.place] = None
        else:
            self.drop(effects, seat)  # this node has not seen its last header: others have told what came of it

    def _ask(self, effects: Effects, place: GroupPlace, floor: Floor, now_ms: int) -> None:
        asked_ms = self._asked_ms.get(place)
        if asked_ms is not None and now_ms - asked_ms < TOLD_AGAIN_MS:
            return
        self._asked_ms[place] = now_ms
        frame = encode([frames.WANT_UPPER, *place])
        for peer in self._peers.connected.values():
            if peer.key in decode_roster(floor.roster, empty_allowed=True) or self._peers.is_member(peer.key):
                effects.sends.append((peer.key, frame))

    def give(self, effects: Effects, values: list[Value], source: bytes) -> None:
        """[27, level, bits, prefix]: the state of a group of ours, for its committee and for those whose groups it has
        merged. Raises RemoteError("bad_want")."""
        _, level, bits, prefix = codec.fields(values, 4, "bad_want")
        seat = self.get(
            codec.uint(level, 255, "bad_want"),
            codec.uint(bits, ID_BITS, "bad_want"),
            codec.octets(prefix, ID_BYTES, "bad_want"),
        )
        if seat is None or not is_own_header(seat.books.group):
            return
        if source not in seat.books.sealers and not may_be_merged(seat.books.group, source):
            return
        told = upper_frames(seat.books.group)
        if self._peers.may_give(effects, sum(map(len, told)), source):
            effects.sends += [(source, frame) for frame in told]

    def take(self, effects: Effects, values: list[Value], source: bytes, now_ms: int) -> None:
        """[28, digest, part, parts, bytes]: a group above level 1, believed where the branch shows its header.

        Raises RemoteError.
        """
        content = self._arriving.take(values, now_ms)
        if content is None or (values[1] == self._read[0] and now_ms < self._read[1]):
            return
        self._read = values[1], now_ms + READ_AGAIN_MS
        effects.work.append((source, UPPER_WORK))
        group = read_upper(content, self._network, self._supply, self._rules)
        header, own = group.header, self._key.public
        floor = self._trunk.floor(header.level)
        is_shown = floor is not None and floor.node(floor.tree().root()) == header.node
        is_split = group.state.offer.kind == SPLIT
        is_parting = is_split and self._is_parting(group.sealed)
        if not is_shown and not is_parting:
            if header.pulse > self._trunk.pulse and self._peers.is_near(source):
                self._trunk.ask(effects, source, now_ms)  # for the root header that shows it
            return  # newer, or older, than what is under the root
        group.denies_root = self._trunk.roots.denies
        if is_shown:
            self._follow(effects, group, values, source, now_ms)
        named = self._named.get((header.level, header.bits, header.prefix))
        if named is not None and named.head == group.digest:
            group.roster, group.term = named.appointed, named.term
        rosters = [group.roster, *(each.roster for each in group.state.offer.successors)]
        if not any(own in decode_roster(roster, empty_allowed=True) for roster in rosters):
            return
        seat = self.get(header.level, header.bits, header.prefix)
        if seat is not None and seat.books.group.header.pulse >= header.pulse:
            return
        if is_parting or (is_split and group.is_root):
            self._derive(effects, group, now_ms)
        elif own in group.roster_keys:
            self.found(effects, group, now_ms)

    def _follow(self, effects: Effects, group: UpperGroup, values: list[Value], source: bytes, now_ms: int) -> None:
        """What a parent has decided of groups of ours: that it calls for a header, or who seals the next one."""
        for child in group.children.values():
            seat = self.get(group.level - 1, child.bits, child.prefix)
            if seat is not None and seat.books.group.digest == child.head and (child.called or child.appointed):
                self._heed(effects, seat, child, now_ms)
            elif child.appointed and self._key.public in child.sealers and group.level > 2:
                self._named = dict(list(self._named.items())[-SEATS_MAX:])
                self._named[group.level - 1, child.bits, child.prefix] = child
            elif group.level == 2 and is_prefix(self._key.account, child.prefix, child.bits):
                self.on_child(effects, child, group.shown.get(child.willing, NOBODY), values, source, now_ms)

    def _heed(self, effects: Effects, seat: Seat, child: Child, now_ms: int) -> None:
        here = seat.books.group
        if child.appointed and (here.roster, here.term) != (child.appointed, child.term):
            here.roster, here.term = child.appointed, child.term
            effects.writes += seat.scope.writes([(keys.UPPER, tip_content(here))])
            seat.committee.reopen(now_ms)
            self._hand_on(effects, seat, now_ms)
        if seat.books.is_on_roster:
            seat.books.is_called = True
            seat.committee.work(now_ms)

    def _is_parting(self, sealed: SealedPulse) -> bool:
        """True if a header is the last of a group that is split: the newest root header, or no more under the root."""
        header = sealed.header
        if not header.bits:
            self._trunk.roots.take(RootSeal(sealed.header_bytes, sealed.signatures))
            return self._trunk.pulse == header.pulse
        parent = self._trunk.floor(header.level + 1)
        offered = UpperState.decode(sealed.state).offer.successors
        places = [] if parent is None else list(parent.nodes)
        return all((each.prefix, each.bits) in places for each in offered)


def _ignore(effects: Effects, child: Child, willing: bytes, values: list[Value], source: bytes, now_ms: int) -> None:
    """Nobody follows yet."""


def may_be_merged(group: UpperGroup, key: bytes) -> bool:
    """True for who is willing in a child that two may just have become: in its first term, it has sent nothing."""
    account = account_id(key)
    for child in group.children.values():
        if is_prefix(account, child.prefix, child.bits):
            is_first = group.level == 2 and not child.term and child.outbox == EMPTY
            return is_first and any(each.key == key for each in decode_willing(group.shown[child.willing]))
    return False
