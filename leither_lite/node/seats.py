"""This node's seats above level 1: books and an engine for each group that it keeps (docs/protocol.md, section 4.8).

Decides which groups it has a seat in, carries children's seals to their parents, and root headers down again. Each seat
is bounded: a page, a table of children, one waiting seal a child. Never decides what is sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects
from leither_lite.errors import RemoteError
from leither_lite.header import Header, decode_roster, header_digest
from leither_lite.ledger.branch import Branch, Floor
from leither_lite.ledger.children import Child
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.group import Group
from leither_lite.ledger.handovers import handover_of
from leither_lite.ledger.roots import RootSeal
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import NOBODY, SPLIT, decode_willing
from leither_lite.ledger.upper import UpperGroup
from leither_lite.ledger.upper_operations import ChildSeal, upper_from_value
from leither_lite.node import frames
from leither_lite.node.errands import FELLOWS, STRANGERS
from leither_lite.node.spreading import RELAYS_MAX, Told, carriers, told_by
from leither_lite.node.tenure import TOLD_AGAIN_MS, Seat, Tenure
from leither_lite.node.trunk import RELAYED_PULSES
from leither_lite.node.upper_frames import floor_of_group, is_own_header, upper_frames
from leither_lite.tree.node import is_prefix


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

    def _tell_called(self, effects: Effects, seat: Seat, now_ms: int) -> None:
        """Tell children that the parent has called for a header, or who seals the next one."""
        group = seat.books.group
        whom: dict[bytes, None] = {}
        for child in group.children.values():
            if child.called or child.appointed:
                self._errands.know(decode_willing(group.shown.get(child.willing, NOBODY)))
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

    def fellows(self) -> Iterator[bytes]:
        """Who is on a committee above level 1 with this node."""
        for seat in self:
            if seat.books.is_on_roster:
                yield from seat.books.sealers

    def links(self) -> Iterator[bytes]:
        """Whom this node's seats want to stay connected with: their committees, whom they tell what these have sealed,
        and whom they tell of their pages."""
        for seat in self:
            yield from seat.books.sealers
            if not seat.books.group.is_root:
                yield from self.parents_of(seat.books.group, seat.books.sealers)
        for seat in self:
            yield from (told.key for told in self._told(seat, lambda key: True))

    def has_to_do_with(self, key: bytes) -> bool:
        """True for who is on a committee above this node's account or with it, or above or below a group of its seats:
        they go before strangers, and are believed where others are."""
        trunk = self._trunk
        if any(key in trunk.sealers_of(level) for level in range(2, trunk.levels + 1)):
            return True
        for seat in self:
            group = seat.books.group
            if key in seat.books.sealers or (not group.is_root and key in trunk.sealers_of(group.level + 1)):
                return True
            if any(key in child.sealers for child in group.children.values()):
                return True
        return False

    def know(self, told: list[Willing], source: bytes) -> None:
        """Where others are, as somebody says: members and committees are believed before others."""
        is_fellow = self._peers.is_member(source) or self.has_to_do_with(source)
        self._errands.know(told, FELLOWS if is_fellow else STRANGERS)

    def address(self, key: bytes) -> str:
        """Where one of a child's committee is, as the child's W says; empty if no seat knows."""
        for seat in self:
            group = seat.books.group
            for child in group.children.values():
                if key in child.sealers:
                    willing = decode_willing(group.shown.get(child.willing, NOBODY))
                    found = next((each.address for each in willing if each.key == key), "")
                    if found:
                        return found
        return ""

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
                        self._know_sealers(decode_willing(operation.willing), group.children[child.place].sealers)
                    frame = encode([frames.CHILD, value])
                    self._peers.tell(effects, frame, source, seat.books.sealers)
                seat.committee.work(now_ms)
                seat.committee.settle(effects, now_ms)

    def _sealed(self, effects: Effects, seat: Seat, now_ms: int) -> None:
        """A group of ours has sealed a header: it goes to the parent, or, from the root, down to all."""
        group = seat.books.group
        seat.floors = [floor_of_group(group), *seat.floors[:1]]
        effects.writes += self._trunk.writes()
        seat.tries = 0
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
            self.tell_parent(effects, group.sealed, (), self.parents_of(group, seat.books.sealers, seat.tries), now_ms)
            seat.tries += 1

    def parents_of(
        self, group: Group | UpperGroup, sealers: tuple[bytes, ...], tries: int | None = None
    ) -> list[bytes]:
        """Whom of the committee above this node tells of a group's last header, which is told for the time number
        `tries`, 0 at first: its roster and those who have signed share them out, and who is neither tells all. Without
        `tries`: whom it is to be connected with, to tell the next."""
        own, above = self._key.public, self._trunk.sealers_of(group.level + 1)
        signed = sealers if tries is None else tuple(key for key, _ in group.sealed.signatures)
        if tries is not None and own not in sealers and own not in signed:
            return list(above)
        return [key for at, key in enumerate(above) if own in carriers(sealers, signed, at, tries or 0)]

    def tell_parent(
        self,
        effects: Effects,
        sealed: SealedPulse,
        held: tuple[tuple[bytes, bytes], ...],
        whom: Iterable[bytes],
        now_ms: int,
    ) -> None:
        """Tell some of the committee above what a group of ours has sealed."""
        operation = ChildSeal.of(sealed, held, shows_willing=True).encode()
        frame = encode([frames.CHILD, codec.decode(operation)])
        for key in whom:
            self._errands.send(effects, key, frame, now_ms)
        if self._key.public in self._trunk.sealers_of(sealed.header.level + 1):
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

    def _hearers(self, floor: Floor) -> Iterable[Told]:
        """Who waits for the branch down to a page of ours: its committee, and of each child's; where a child's is
        silent, all who are willing there."""
        seat = self.get(floor.level, floor.bits, floor.prefix)
        if seat is None:
            return ()
        found: dict[bytes, tuple[bytes, ...]] = dict.fromkeys(seat.books.sealers, ())
        for told in self._told(seat, self._peers.connected.__contains__):
            relays = dict.fromkeys((*found.get(told.key, ()), *told.relays))
            found[told.key] = tuple(relays)[:RELAYS_MAX]
        for child in seat.books.group.children.values():
            if child.called or child.appointed:
                for key in self._all_of(seat, child):
                    found.setdefault(key, ())
        return [Told(key, relays) for key, relays in found.items()]

    def _told(self, seat: Seat, is_here: Callable[[bytes], bool]) -> Iterator[Told]:
        """Whom of the children's committees this node tells of a page, of those who are there. Who is not on the
        committee any more counts as it signed."""
        group, own = seat.books.group, self._key.public
        order = [*seat.books.sealers, *(key for key, _ in group.sealed.signatures)]
        number = order.index(own) if own in order else 0
        rosters = [child.sealers for child in group.children.values()]
        return told_by(number, rosters, is_here, self._trunk.pulse // RELAYED_PULSES)
