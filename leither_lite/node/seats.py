"""This node's seats above level 1: books and an engine for each group that it keeps (docs/protocol.md, section 4.8).

Decides which groups it has a seat in, carries children's seals to their parents, and root headers down again. Each seat
is bounded: a page, a table of children, one waiting seal a child. Never decides what is sealed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects
from leither_lite.errors import RemoteError
from leither_lite.header import Header, decode_roster, header_digest
from leither_lite.ledger.branch import Branch, Floor
from leither_lite.ledger.children import Child
from leither_lite.ledger.handovers import handover_of
from leither_lite.ledger.roots import RootSeal
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import NOBODY, SPLIT, decode_willing
from leither_lite.ledger.upper_operations import ChildSeal, upper_from_value
from leither_lite.node import frames
from leither_lite.node.tenure import TOLD_AGAIN_MS, Seat, Tenure
from leither_lite.node.upper_frames import floor_of_group, is_own_header, upper_frames
from leither_lite.tree.node import is_prefix

WIDE: Final = 16
"""A committee with more children than that shares them out among its members."""


class Seats(Tenure):
    """All seats of this node, and what goes on in them."""

    def _furnish(self, seat: Seat) -> None:
        self._trunk.below = self._floors_below
        self._trunk.hearers = self._hearers
        committee = seat.committee
        committee.slot_ms = lambda: self._slot_ms(seat)
        committee.may_begin = lambda now_ms: self._is_under_root(seat)
        committee.on_sealed = lambda effects, now_ms: self._sealed(effects, seat, now_ms)
        committee.on_signed = self._trunk.keep

    # -- time ------------------------------------------------------------------------------------------------------

    def _slot_ms(self, seat: Seat) -> int:
        """When this group may propose: level k at k/(levels + 1) of the cycle that the newest root header began."""
        group, trunk = seat.books.group, self._trunk
        levels = max(trunk.levels, group.level)
        return trunk.arrived_ms + group.level * self._clock.pulse_ms // (levels + 1)

    def _is_under_root(self, seat: Seat) -> bool:
        """True if the group's last header is under the root: no seal is skipped."""
        group = seat.books.group
        if group.is_root or not is_own_header(group):
            return True
        parent = self._trunk.floor(group.level + 1)
        if parent is None or not is_prefix(group.prefix, parent.prefix, parent.bits):
            return False
        return parent.nodes.get((group.prefix, group.bits)) == group.header.node

    def deadline_ms(self, now_ms: int) -> int | None:
        """When `turn` wants to be called next, after `now_ms`."""
        due = [seat.committee.deadline_ms for seat in self._seats.values()]
        slots = [self._slot_ms(seat) for seat in self._seats.values() if seat.books.seals_alone]
        due += [slot_ms for slot_ms in slots if slot_ms > now_ms]
        return min((each for each in due if each is not None), default=None)

    def pass_time(self, effects: Effects, now_ms: int) -> None:
        """Timeouts, proposals that are due, and what the engines ask for."""
        for place in list(self._gone):
            gone = self._seats.get(place)
            if gone is not None:
                self._split(effects, gone, now_ms)
        self._gone = {}
        tick = self._clock.tick(now_ms)
        for seat in self:
            books, committee = seat.books, seat.committee
            books.tick = tick
            books.parents = () if books.group.is_root else self._trunk.sealers_of(books.group.level + 1)
            committee.timeout(effects, now_ms)
            if books.seals_alone:
                due = now_ms >= self._slot_ms(seat)
                if due and books.has_work and self._is_under_root(seat) and not self._comeback.silent:
                    committee.seal_alone(effects, now_ms)
                continue
            committee.work(now_ms)
            committee.settle(effects, now_ms)
            committee.propose(now_ms, cycle_ends=False)
            committee.settle(effects, now_ms)

    def _announce(self, effects: Effects, now_ms: int) -> None:
        """After a start the newest root header is in the store of those who keep the root: all others wait for it."""
        roots = [seat for seat in self if seat.books.group.is_root]
        seat = max(roots, key=lambda each: each.books.group.level, default=None)
        if seat is None or not is_own_header(seat.books.group):
            return
        sealed = seat.books.group.sealed
        level, bits, prefix = seat.place
        if not self._trunk.has_arrived(level, bits, prefix, sealed.header.pulse):
            seal = RootSeal(sealed.header_bytes, sealed.signatures)
            self._trunk.arrive(effects, Branch(seal, (seat.floors[0],)), now_ms)

    def cycle(self, effects: Effects, now_ms: int) -> None:
        """At the end of each pulse cycle: what is told again, and which seats are new, or over."""
        self._announce(effects, now_ms)
        for seat in self:
            self._trunk.go_on(effects, *seat.place, now_ms)
        for seat in self:
            if now_ms - seat.told_ms < TOLD_AGAIN_MS:
                continue
            if not self._is_under_root(seat):
                self._tell_parent(effects, seat, now_ms)
            elif not seat.books.is_on_roster:
                self._hand_on(effects, seat, now_ms)
        for seat in self:
            if seat.books.is_on_roster and now_ms - seat.called_ms >= TOLD_AGAIN_MS:
                self._tell_called(effects, seat, now_ms)
        self._look_for_seats(effects, now_ms)
        self._parting = [each for each in self._parting if each[0] > now_ms]
        for _, told, whom in self._parting:
            self._tell(effects, told, whom, now_ms)
        self._errands.links = tuple(self._links())

    def _tell_called(self, effects: Effects, seat: Seat, now_ms: int) -> None:
        """Tell children that the parent has called for a header, or who seals the next one."""
        group = seat.books.group
        whom: dict[bytes, None] = {}
        for child in group.children.values():
            if child.called or child.appointed:
                whom.update(dict.fromkeys(self._all_of(seat, child)))
        if whom:
            seat.called_ms = now_ms
            self._tell(effects, upper_frames(group), whom, now_ms)

    def _all_of(self, seat: Seat, child: Child) -> list[bytes]:
        """Whom a child has, as far as its parent knows: who seals, who would have, who is willing."""
        willing = decode_willing(seat.books.group.shown.get(child.willing, NOBODY))
        return [*child.sealers, *decode_roster(child.roster, empty_allowed=True), *(each.key for each in willing)]

    def await_group(self, account: bytes, now_ms: int) -> None:
        """Somebody waits for the group of an id: call for its header, if it has been still for long."""
        lowest: Seat | None = None
        for seat in sorted(self, key=lambda each: -each.books.group.level):
            if is_prefix(account, seat.books.group.prefix, seat.books.group.bits):
                lowest = seat
        if lowest is not None:
            lowest.books.call(account, self._clock.tick(now_ms))
            lowest.committee.work(now_ms)

    def fellows(self) -> list[str]:
        """Where those are who are on a committee above level 1 with this node."""
        keys = dict.fromkeys(key for seat in self if seat.books.is_on_roster for key in seat.books.sealers)
        return [address for key in keys if (address := self._errands.address(key))]

    def _links(self) -> Iterator[bytes]:
        """Whom this node's seats want to stay connected with: their committees, their parents', their children's."""
        for seat in self:
            group = seat.books.group
            yield from seat.books.sealers
            if not group.is_root:
                yield from self._trunk.sealers_of(group.level + 1)
            for child in group.children.values():
                yield from child.sealers

    # -- seals ------------------------------------------------------------------------------------------------------

    def take_child(self, effects: Effects, values: list[Value], source: bytes, now_ms: int) -> None:
        """[26, operation]: a child's seal. Raises RemoteError as `take_child` of the ledger."""
        _, value = codec.fields(values, 2, "bad_child")
        operation = upper_from_value(value)
        if not isinstance(operation, ChildSeal):
            raise RemoteError("bad_child", "not a child's seal")
        header = Header.decode(operation.header_bytes)
        for seat in self:
            group = seat.books.group
            if group.level == header.level + 1 and (header.prefix, header.bits) in group.children:
                seat.books.tick = self._clock.tick(now_ms)
                child = group.children[header.prefix, header.bits]
                if child.head == header_digest(operation.header_bytes):
                    self._trunk.tell_down_to(effects, *seat.place, source)  # it is in: whoever tells does not know it
                is_ahead = group.is_root and header.pulse > group.header.pulse + 1
                is_next = (
                    not is_ahead
                    and header.pulse > child.pulse
                    and header.previous == child.head
                    and not child.offer.kind
                )
                if is_ahead or not is_next or header.pulse - 1 > self._trunk.pulse:
                    continue  # it is in already, or this seat is behind: it is told again
                effects.work.append((source, 4))
                if seat.books.take(operation):
                    if operation.willing:
                        self._errands.know(decode_willing(operation.willing))
                    frame = encode([frames.CHILD, value])
                    self._peers.tell(effects, frame, source, seat.books.sealers)
                seat.committee.work(now_ms)
                seat.committee.settle(effects, now_ms)

    def _sealed(self, effects: Effects, seat: Seat, now_ms: int) -> None:
        """A group of ours has sealed a header: it goes to the parent, or, from the root, down to all."""
        group = seat.books.group
        seat.floors = [floor_of_group(group), *seat.floors[:1]]
        effects.writes += self._trunk.writes()
        if not group.is_root:
            self._tell_parent(effects, seat, now_ms)
            return
        seal = RootSeal(group.sealed.header_bytes, group.sealed.signatures)
        if group.roster_keys != self._trunk.roots.roster:
            self._trunk.hand_over(effects, handover_of(group.sealed))
        self._trunk.arrive(effects, Branch(seal, (seat.floors[0],)), now_ms)
        if group.state.offer.kind == SPLIT:
            self._split(effects, seat, now_ms)

    def _tell_parent(self, effects: Effects, seat: Seat, now_ms: int) -> None:
        seat.told_ms = now_ms
        group = seat.books.group
        if is_own_header(group):
            self.tell_parent(effects, group.sealed, (), now_ms)

    def tell_parent(
        self, effects: Effects, sealed: SealedPulse, held: tuple[tuple[bytes, bytes], ...], now_ms: int
    ) -> None:
        """Tell the committee above what a group of ours has sealed."""
        operation = ChildSeal.of(sealed, held, shows_willing=True).encode()
        frame = encode([frames.CHILD, codec.decode(operation)])
        sealers = self._trunk.sealers_of(sealed.header.level + 1)
        for key in sealers:
            self._errands.send(effects, key, frame, now_ms)
        if self._key.public in sealers:
            with suppress(RemoteError):  # what its committee has sealed all the same
                self.take_child(effects, [frames.CHILD, codec.decode(operation)], self._key.public, now_ms)

    # -- root headers, downward --------------------------------------------------------------------------------------

    def _floors_below(self, branch: Branch) -> Iterable[Floor]:
        """The pages of groups of ours just below a branch, as it shows them."""
        lowest = branch.floors[-1]
        for seat in self:
            level, bits, prefix = seat.place
            node = lowest.nodes.get((prefix, bits))
            if level == lowest.level - 1 and node is None and seat.books.group.state.offer.kind == SPLIT:
                self._gone[seat.place] = None
            if level == lowest.level - 1 and node is not None:
                for floor in seat.floors:
                    if floor.node(floor.tree().root()) == node:
                        yield floor

    def _hearers(self, floor: Floor) -> Iterable[bytes]:
        """Who waits for the branch down to a page of ours: its committee, and of each child's; where a child's is
        silent, all who are willing there."""
        seat = self.get(floor.level, floor.bits, floor.prefix)
        if seat is None:
            return ()
        sealers = seat.books.sealers
        own = sealers.index(self._key.public) if self._key.public in sealers else 0
        found = dict.fromkeys(sealers)
        children = list(seat.books.group.children.values())
        found.update(dict.fromkeys(told_by(own, len(sealers), [child.sealers for child in children])))
        for child in children:
            if child.called or child.appointed:
                found.update(dict.fromkeys(self._all_of(seat, child)))
        found.pop(self._key.public, None)
        return list(found)


def told_by(own: int, size: int, rosters: Sequence[tuple[bytes, ...]]) -> Iterator[bytes]:
    """Whom member `own` of a committee of `size` tells of a new page, of its children's rosters: two of each child; of
    more than 16 children, one, of those that are its turn: each hears it from two."""
    for index, roster in enumerate(rosters):
        is_wide = len(rosters) > WIDE
        if roster and not (is_wide and (index - own) % size > 1):
            yield roster[own % len(roster)]
            if not is_wide:
                yield roster[(own + 1) % len(roster)]
