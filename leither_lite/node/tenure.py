"""How this node comes to its seats above level 1, and hands them on (docs/protocol.md, sections 3 and 4.8).

Decides which groups it has a seat in: by its store, by a roster that it finds itself on, by a split. What a committee
knows goes on to the one after it, checked against the branch. Never decides who is on a roster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from leither_lite import codec
from leither_lite.board import Board
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects
from leither_lite.errors import RemoteError
from leither_lite.header import decode_roster, header_digest, state_digest
from leither_lite.identity import Key
from leither_lite.ledger.branch import Floor
from leither_lite.ledger.children import UpperState, decode_children, encode_children
from leither_lite.ledger.group import Rules
from leither_lite.ledger.roots import RootSeal
from leither_lite.ledger.sealed import SEALED_BYTES_MAX, SealedPulse
from leither_lite.ledger.state import SPLIT, WILLING_BYTES_MAX, decode_willing, encode_willing, willing_digest
from leither_lite.ledger.structure import willing_under
from leither_lite.ledger.upper import UpperGroup, new_children, new_root, part_group, upper_parts
from leither_lite.ledger.upper_store import check_upper, load_upper, upper_writes
from leither_lite.limits import FRAME_BYTES_MAX, GROUP_MEMBERS_MAX, ID_BITS, ID_BYTES
from leither_lite.node import frames
from leither_lite.node.clock import Clock
from leither_lite.node.comeback import Comeback
from leither_lite.node.committee import Committee
from leither_lite.node.errands import Errands
from leither_lite.node.evidence import EvidenceBook
from leither_lite.node.keeping import NotHeld
from leither_lite.node.peers import Peers
from leither_lite.node.scope import Scope, after
from leither_lite.node.trunk import Trunk
from leither_lite.node.upper_books import UpperBooks
from leither_lite.store import keys
from leither_lite.store.reader import Reader

SEATS_MAX: Final = 16
TOLD_AGAIN_MS: Final = 2_000
PARTING_MS: Final = 60_000
"""For so long those are told who have a seat after a split."""
_KEY_BYTES: Final = len(keys.group(1, 0, bytes(ID_BYTES)))

GroupPlace = tuple[int, int, bytes]
"""level, bits, prefix"""


@dataclass(slots=True, eq=False)
class Seat:
    """One group above level 1. `floors` are its last two pages, newest first: what the root shows may be the older."""

    books: UpperBooks
    committee: Committee
    scope: Scope
    floors: list[Floor]
    told_ms: int = 0

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
        self._parting: list[tuple[int, bytes, tuple[bytes, ...]]] = []  # until when, the frame, to whom
        for start in self._starts():
            scope = Scope(reader, start)
            if scope.get(keys.UPPER) is not None:
                self._add(scope, load_upper(scope, network, supply, rules, trunk.roots.denies), now_ms)

    def _starts(self) -> Iterator[bytes]:
        at = keys.GROUPS[0]
        while True:
            found = next(self._reader.scan(at, keys.GROUPS[1]), None)
            if found is None:
                return
            yield found[0][:_KEY_BYTES]
            at = after(found[0][:_KEY_BYTES])

    def __iter__(self) -> Iterator[Seat]:
        return iter(list(self._seats.values()))

    def __len__(self) -> int:
        return len(self._seats)

    def get(self, level: int, bits: int, prefix: bytes) -> Seat | None:
        """The seat in the group at a place."""
        return self._seats.get((level, bits, prefix))

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
            self._errands.know(decode_willing(group.shown[child.willing]))
        return seat

    def _furnish(self, seat: Seat) -> None:
        """A seat is taken: what is to happen in it."""
        raise NotImplementedError

    def found(self, effects: Effects, group: UpperGroup, now_ms: int) -> Seat:
        """Take a seat in a group whose state has come from elsewhere: of a split, or from others."""
        group.denies_root = self._trunk.roots.denies
        check_upper(group)
        scope = Scope.of(self._reader, group.level, group.bits, group.prefix)
        effects.writes += scope.clear()
        effects.writes += scope.writes(upper_writes(group, {}, {}))
        old = self._seats.pop((group.level, group.bits, group.prefix), None)
        seat = self._add(scope, group, now_ms)
        if old is not None:
            seat.floors += old.floors[:1]
        return seat

    def drop(self, effects: Effects, seat: Seat) -> None:
        """Give a seat up, and what was kept for it."""
        effects.writes += seat.scope.clear()
        self._trunk.forget(*seat.place)
        del self._seats[seat.place]

    def _hand_on(self, effects: Effects, seat: Seat, now_ms: int) -> None:
        """Tell the committee that comes after this one all that it needs."""
        seat.told_ms = now_ms
        frame = upper_frame(seat.books.group)
        for key in seat.books.sealers:
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
        frame = upper_frame(group)
        self._parting.append((now_ms + PARTING_MS, frame, tuple(whom)))
        for key in whom:
            self._errands.send(effects, key, frame, now_ms)
        self.drop(effects, seat)
        self._derive(effects, group, now_ms)

    def _derive(self, effects: Effects, group: UpperGroup, now_ms: int) -> None:
        """Take the seats that this node has in the parts of a group, and in the root above them."""
        successors = group.state.offer.successors
        own = self._key.public
        for part in upper_parts(group):
            place = group.level, part.successor.bits, part.successor.prefix
            if self.get(*place) is None and own in decode_roster(part.successor.roster, empty_allowed=True):
                self.found(effects, part_group(group, part), now_ms)
        if group.is_root and own in group.roster_keys and self.get(group.level + 1, 0, group.prefix) is None:
            contents = [encode_willing(willing_under(group.willing, each.bits, each.prefix)) for each in successors]
            root = new_root(
                group.sealed,
                new_children(successors, group.digest, group.header.pulse, contents),
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
        """[27, level, bits, prefix]: the state of a group of ours. Raises RemoteError("bad_want")."""
        _, level, bits, prefix = codec.fields(values, 4, "bad_want")
        seat = self.get(
            codec.uint(level, 255, "bad_want"),
            codec.uint(bits, ID_BITS, "bad_want"),
            codec.octets(prefix, ID_BYTES, "bad_want"),
        )
        if seat is None or not is_own_header(seat.books.group) or source not in seat.books.sealers:
            return
        frame = upper_frame(seat.books.group)
        if len(frame) <= FRAME_BYTES_MAX and self._peers.may_give(effects, len(frame), source):
            effects.sends.append((source, frame))

    def take(self, effects: Effects, values: list[Value], now_ms: int) -> None:
        """[28, sealed pulse, table, [W, …]]: believed where the branch shows the header. Raises RemoteError."""
        _, content, table, shown = codec.fields(values, 4, "bad_upper")
        sealed = SealedPulse.decode(codec.octets_upto(content, SEALED_BYTES_MAX, "bad_upper"))
        header = sealed.header
        state = UpperState.decode(sealed.state)
        own = self._key.public
        is_split = state.offer.kind == SPLIT
        rosters = [sealed.roster, *(each.roster for each in state.offer.successors)]
        if not any(own in decode_roster(roster, empty_allowed=True) for roster in rosters):
            return
        floor = self._trunk.floor(header.level)
        is_shown = floor is not None and floor.node(floor.tree().root()) == header.node
        if not is_shown and not (is_split and self._is_parting(sealed)):
            return  # newer, or older, than what is under the root
        seat = self.get(header.level, header.bits, header.prefix)
        if seat is not None and seat.books.group.header.pulse >= header.pulse:
            return
        contents = {}
        for each in codec.items(shown, GROUP_MEMBERS_MAX + 1, "bad_upper"):
            each = codec.octets_upto(each, WILLING_BYTES_MAX, "bad_upper")
            decode_willing(each)
            contents[willing_digest(each)] = each
        children = decode_children(codec.octets_upto(table, FRAME_BYTES_MAX, "bad_upper"))
        group = UpperGroup(
            self._network,
            self._supply,
            header.level,
            header.bits,
            header.prefix,
            sealed.roster,
            sealed,
            header,
            header_digest(sealed.header_bytes),
            state,
            max(header.term, state.appointed),
            children,
            contents,
            self._rules,
        )
        page = floor_of_group(group)
        if page.node(page.tree().root()) != header.node:
            raise RemoteError("bad_upper", "it is not what its header commits to")
        check_upper(group)
        if is_split and (group.is_root or not is_shown):
            self._derive(effects, group, now_ms)
        elif own in group.roster_keys:
            self.found(effects, group, now_ms)

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


def is_own_header(group: UpperGroup) -> bool:
    """True if the group's last header is its own: not that of the one it was split from."""
    header = group.header
    return (header.level, header.bits, header.prefix) == (group.level, group.bits, group.prefix)


def floor_of_group(group: UpperGroup) -> Floor:
    nodes = {place: child.node(group.level - 1) for place, child in group.children.items()}
    state = state_digest(group.state.encode())
    place = (group.level, group.bits, group.prefix)
    return Floor(*place, group.header.pulse, group.roster, *group.counters, state, nodes)


def upper_frame(group: UpperGroup) -> bytes:
    """[28, sealed pulse, table of children, [W, …]]: the state of a group above level 1."""
    return encode(
        [
            frames.UPPER,
            group.sealed.encode(),
            encode_children(group.children.values()),
            [group.shown[digest] for digest in sorted(group.shown)],
        ]
    )
