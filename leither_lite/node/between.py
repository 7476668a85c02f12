"""What lies between groups: the branch above, this node's seats there, receipts (docs/protocol.md, sections 3 to 5).

Decides what the own group's seal means for the groups above, and what a root header means for the own group: that its
last header is under the root, or that it is another group now. Carries values between the rooms that know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leither_lite import codec
from leither_lite.board import Board
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects
from leither_lite.header import Header
from leither_lite.identity import Key, account_id
from leither_lite.ledger.children import Child
from leither_lite.ledger.enacted import appointed_write
from leither_lite.ledger.roots import Roots
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import SPLIT
from leither_lite.limits import ID_BYTES
from leither_lite.node import frames
from leither_lite.node.becoming import Becoming
from leither_lite.node.books import Books
from leither_lite.node.clock import Clock
from leither_lite.node.comeback import Comeback
from leither_lite.node.committee import Committee
from leither_lite.node.courier import Courier
from leither_lite.node.errands import Errands
from leither_lite.node.evidence import EvidenceBook
from leither_lite.node.finding import Finder
from leither_lite.node.holders import Holders
from leither_lite.node.peers import Peers
from leither_lite.node.seats import Seats
from leither_lite.node.tenure import Seat
from leither_lite.node.trunk import Trunk
from leither_lite.organization import SignedCharter
from leither_lite.pulse.votes import Place, Proposal, SealVote, Vote
from leither_lite.store import keys
from leither_lite.store.reader import Reader

BEHIND_PULSES: Final = 3
"""Who knows of root headers so far above its branch asks for that."""
PATIENCE_PULSES: Final = 10
"""For so long it is left to the committee to tell its parent what is sealed; then every member does."""
CYCLES_A_TRY: Final = 2
"""What is not under the root after so many cycles is told to others of the committee above."""
CALL_PULSES: Final = 15
"""How often those above are asked to look after the own group, while nothing goes on in it."""


class Between:
    """Everything that only a network of several groups has."""

    def __init__(
        self,
        reader: Reader,
        board: Board,
        charter: SignedCharter,
        key: Key,
        books: Books,
        peers: Peers,
        clock: Clock,
        holders: Holders,
        comeback: Comeback,
        evidence: EvidenceBook,
        committee: Committee,
        roots: Roots,
        now_ms: int,
    ) -> None:
        self._reader = reader
        self._charter = charter.charter
        self._key = key
        self._books = books
        self._peers = peers
        self._clock = clock
        self._holders = holders
        self._committee = committee
        self._kin = reader.get(keys.KIN) or b""
        self.errands = Errands(peers, key.public)
        self.trunk = Trunk(reader, roots, peers, key.account)
        rules, supply = self._charter.rules, self._charter.supply
        self.seats = Seats(
            reader,
            board,
            self._charter.network,
            supply,
            rules,
            self._charter.parameter("held"),
            key,
            peers,
            clock,
            comeback,
            evidence,
            self.trunk,
            self.errands,
            now_ms,
        )
        self.finder = Finder(peers, self.trunk, self.seats, self.errands)
        self.courier = Courier(reader, books, self.trunk, self.finder, key.public)
        self.becoming = Becoming(reader, key, books, self.trunk, self.seats, self.errands)
        self.trunk.on_branch = self._on_branch
        self.trunk.know = self.seats.know
        self.trunk.address_of = self._address_of
        self.seats.on_child = self._on_child
        books.on_body = self.courier.sealed
        books.has_buddy = self.becoming.has_buddy
        committee.on_signed = self.trunk.keep
        self.errands.know(books.group.state.willing)
        if not books.group.is_root:
            committee.slot_ms = self._slot_ms
            committee.may_begin = lambda now_ms: books.is_under_root and roots.newest is not None
        self.own_address = ""
        self._still = b""
        self._still_ms = self._called_ms = now_ms
        self._told = b""
        self._cycles = 0  # since the last header was told first
        self._uplinks: list[bytes] = []
        self.on_included: Callable[[Effects, int], None] = lambda effects, now_ms: None
        self.on_elsewhere: Callable[[Effects, int], None] = lambda effects, now_ms: None

    def may_want(self, kind: int, key: bytes) -> bool:
        """True for who is no member, and yet may ask for a pulse: a member of the group that this node was in before a
        split or merge; or for the state: who is willing in what the own group has just been merged into."""
        if kind == frames.WANT_STATE:
            return self.becoming.may_ask(key)
        size = ID_BYTES
        account = account_id(key)
        return any(self._kin[at : at + size] == account for at in range(0, len(self._kin), size))

    def _address_of(self, key: bytes) -> str:
        """Where a node is, as far as that is known here."""
        known = self._peers.addresses.get(key)
        own = self.own_address if key == self._key.public else ""
        signed = "" if known is None else known.address
        return own or signed or self.errands.address(key) or self.seats.address(key)

    def has_to_do_with(self, key: bytes) -> bool:
        """True for who goes before strangers: members, and those on committees that this node tells or hears."""
        return self._peers.is_member(key) or self.seats.has_to_do_with(key)

    def _above(self, now_ms: int) -> list[bytes]:
        """Whom of the committee above this node stays connected with: as one of the roster, those whom it tells what is
        sealed; else those whom it has to ask, where nothing has gone on for long."""
        if self._books.is_on_roster:
            return self.seats.parents_of(self._books.group, self._books.sealers)
        is_lost = self.trunk.branch is None or self._patience_is_over(now_ms)
        return list(self.trunk.sealers_of(2)) if is_lost else []

    def _patience_is_over(self, now_ms: int) -> bool:
        """True where what the committee should have told its parent is not under the root after long."""
        return now_ms - self._still_ms >= PATIENCE_PULSES * self._clock.pulse_ms

    def fellows(self) -> list[str]:
        """Where those are without whom nothing is agreed on above level 1, or gets there."""
        keys = dict.fromkeys([*self.seats.fellows(), *self._uplinks])
        return [address for key in keys if (address := self.errands.address(key))]

    @property
    def is_split(self) -> bool:
        """True in a network of several groups."""
        return not self._books.group.is_root

    def _slot_ms(self) -> int:
        """When the own group may propose: at 1/(levels + 1) of the cycle that the newest root header began."""
        return self.trunk.arrived_ms + self._clock.pulse_ms // (max(self.trunk.levels, 2) + 1)

    def deadline_ms(self, now_ms: int) -> int | None:
        """When `pass_time` wants to be called next, after `now_ms`."""
        due = [self.seats.deadline_ms(now_ms), self.courier.deadline_ms]
        if self.is_split and self._books.seals_alone and self._slot_ms() > now_ms:
            due.append(self._slot_ms())
        return min((each for each in due if each is not None), default=None)

    # -- what comes in ---------------------------------------------------------------------------------------------

    def take(self, effects: Effects, kind: int, values: list[Value], source: bytes, now_ms: int) -> None:
        """A frame between groups. Raises RemoteError."""
        if kind == frames.BRANCH:
            self.trunk.take(effects, values, source, now_ms)
        elif kind == frames.WANT_BRANCH:
            self.trunk.give(effects, values, source)
        elif kind == frames.CHILD:
            self.seats.take_child(effects, values, source, now_ms)
        elif kind == frames.WANT_UPPER:
            self.seats.give(effects, values, source)
        elif kind == frames.UPPER:
            self.seats.take(effects, values, source, now_ms)
        elif kind == frames.FIND:
            self.finder.find(effects, values, source, now_ms)
        elif kind == frames.FOUND:
            self.finder.take_found(effects, values, source, now_ms)
        elif kind == frames.ASK_RECEIPTS:
            self.courier.answers.answer(effects, values, source)

    def take_word(self, effects: Effects, kind: int, content: bytes, source: bytes, now_ms: int) -> bool:
        """A vote, proposal or seal vote of a group above: False if it is of the own group. Raises RemoteError."""
        value = frames.one(content, "bad_frame")
        place: Place
        if kind == frames.VOTE:
            place = Vote.take(value).place
        elif kind == frames.PROPOSAL:
            place = Proposal.take(value).place
        else:
            place = SealVote.take(value).place
        if place.level == 1:
            return False
        seat = self.seats.get(place.level, place.bits, place.prefix)
        if seat is not None and source in seat.books.sealers:
            seat.committee.take(effects, kind, content, source, now_ms)
            seat.committee.settle(effects, now_ms)
        return True

    def take_segment(self, effects: Effects, segment: bytes, now_ms: int) -> bool:
        """A segment of a body; True if a seat has waited for it."""
        for seat in self.seats:
            if seat.committee.take_segment(effects, segment, now_ms):
                seat.committee.settle(effects, now_ms)
                return True
        return False

    def give_segments(self, effects: Effects, digests: list[bytes], source: bytes) -> None:
        """Answer who asks for segments of a group above."""
        for seat in self.seats:
            if source in seat.books.sealers:
                seat.committee.give_segments(effects, digests, source)

    def take_sealed(self, effects: Effects, values: list[Value], source: bytes, now_ms: int) -> bool:
        """[9, header, signatures] of a group above; False if it is of the own group. Raises RemoteError."""
        header = Header.decode(codec.octets_upto(codec.fields(values, 3, "bad_seal")[1], 256, "bad_seal"))
        if header.level == 1:
            return False
        seat = self.seats.get(header.level, header.bits, header.prefix)
        if seat is not None and source in seat.books.sealers:
            self._take_sealed(effects, seat, values, source, now_ms)
        return True

    def _take_sealed(self, effects: Effects, seat: Seat, values: list[Value], source: bytes, now_ms: int) -> None:
        seat.committee.take_sealed(effects, values, source, now_ms)
        seat.committee.settle(effects, now_ms)

    def joined(self, effects: Effects, peer: bytes, now_ms: int) -> None:
        """Somebody is connected."""
        self.errands.joined(effects, peer)
        if self.is_split and self.trunk.branch is None:
            self.trunk.ask(effects, peer, now_ms)
        for seat in self.seats:
            if peer in seat.books.sealers:
                seat.committee.tell_newest(effects, peer)

    @property
    def newest(self) -> int:
        """The pulse of the newest root header above the own group; 0 where there is none above it."""
        return self.trunk.pulse if self.is_split else 0

    def look(self, effects: Effects, source: bytes, status: frames.Status, now_ms: int) -> None:
        """A peer has told how far it is: ask what has become of the whole, or for a root header that has not come."""
        peer, still_ms = self._peers.connected[source], now_ms - self.trunk.arrived_ms
        is_ahead = status.root > self.newest != peer.asked_at and still_ms >= self._clock.pulse_ms
        if is_ahead if self.is_split else status.bits and self.trunk.branch is None:
            if self.trunk.ask(effects, source, now_ms):
                peer.asked_at = self.newest

    def shown_node(self) -> tuple[tuple[bytes, int], bytes] | None:
        """The place of the own account's group and its node, as the branch shows it, where the last header here is
        another: what is missing. None where nothing is."""
        branch, group, place = self.trunk.branch, self._books.group, self.trunk.home()
        if branch is None or place is None or not branch.floors:
            return None
        node = branch.floors[-1].nodes[place]
        is_own = (group.prefix, group.bits) == place
        newer = int.from_bytes(node[:8], "big") > self.becoming.pulse
        return None if is_own and not newer else (place, node)

    # -- time ------------------------------------------------------------------------------------------------------

    def pass_time(self, effects: Effects, now_ms: int) -> None:
        """What is due between groups."""
        self._books.parents = () if not self.is_split else self.trunk.sealers_of(2)
        self.seats.pass_time(effects, now_ms)
        self.courier.pass_time(effects, now_ms)
        books = self._books
        if self.is_split and books.seals_alone and books.has_work and books.is_under_root:
            if now_ms >= self._slot_ms() and self.trunk.roots.newest is not None:
                self._committee.seal_alone(effects, now_ms)

    def cycle(self, effects: Effects, now_ms: int) -> None:
        """At the end of each pulse cycle."""
        self.seats.cycle(effects, now_ms)
        self.errands.tidy(now_ms)
        self._uplinks, links = [], [*self.seats.links()]
        if self.is_split:
            self._wait(effects, now_ms)
            self.becoming.ask(effects, now_ms)
            self._uplinks = self._above(now_ms)
            links += [*self.becoming.links, *self._uplinks, *self._books.sealers, *self.trunk.relays()]
            self._cycles += 1
            self._tell_parent(effects, now_ms)
        self.errands.links = tuple(dict.fromkeys(links))
        branch = self.trunk.branch
        if self.is_split or branch is not None:
            behind = self.trunk.pulse - (0 if branch is None else branch.header.pulse)
            is_late = now_ms - self.trunk.arrived_ms > BEHIND_PULSES * self._clock.pulse_ms
            is_lost = branch is None or behind > (0 if is_late else BEHIND_PULSES)
            # What waits may be shown under a root header that has not come, and nothing comes after that one.
            is_lost |= any(each.refusal in (Status.NOT_SHOWN, Status.TOO_EARLY) for each in self._books.pool)
            if is_lost or self.seats.await_parents or self.shown_node() is not None:
                self.finder.carry(effects, self._key.account, self.trunk.wanted_frame(), now_ms)
                self.trunk.ask_around(effects, now_ms)

    def _wait(self, effects: Effects, now_ms: int) -> None:
        """Where nothing goes on in the own group though something waits, ask those above to look after it."""
        books, pulse_ms = self._books, self._clock.pulse_ms
        is_still = books.group.digest == self._still and (len(books.pool) > 0 or not books.is_under_root)
        if not is_still:
            self._still, self._still_ms = books.group.digest, now_ms
            self._called_ms = now_ms
        elif now_ms - self._called_ms >= CALL_PULSES * pulse_ms:
            self._called_ms = now_ms
            self.trunk.ask_around(effects, now_ms)
            self.finder.call(effects, self._key.account, now_ms)

    # -- the own group ---------------------------------------------------------------------------------------------

    def sealed(self, effects: Effects, now_ms: int) -> None:
        """The own group has a new last header."""
        group = self._books.group
        self.errands.know(group.state.willing)
        if not group.is_root:
            effects.writes += self.trunk.writes()
            self._on_branch(effects, now_ms)  # it may be under the newest root header already
            self._tell_parent(effects, now_ms)
        elif group.state.offer.kind == SPLIT:
            self.becoming.split_root(effects, now_ms)

    def held(self, effects: Effects, now_ms: int) -> None:
        """Somebody holds the own group's last header: with enough of them, the committee above takes it."""
        if self.is_split and len(self._holders.signatures) == self._holders.required:
            self._tell_parent(effects, now_ms)

    def _tell_parent(self, effects: Effects, now_ms: int) -> None:
        """Tell the committee above what the own group has sealed, until it is under the root."""
        books = self._books
        if books.group.digest != self._told:
            self._told, self._cycles = books.group.digest, 0
        signed = any(key == self._key.public for key, _ in books.group.sealed.signatures)
        may_tell = signed or books.is_on_roster or self._patience_is_over(now_ms)
        if books.is_under_root or not may_tell:
            return
        whom = self.seats.parents_of(books.group, books.sealers, self._cycles // CYCLES_A_TRY)
        self.seats.tell_parent(effects, books.group.sealed, self._holders.signatures, whom, now_ms)

    def _on_branch(self, effects: Effects, now_ms: int) -> None:
        """A root header has come, with the branch down to the own group."""
        books, branch = self._books, self.trunk.branch
        group = books.group
        place = self.trunk.home()
        if branch is None or place is None:
            return
        if place != (group.prefix, group.bits):
            self.becoming.move(effects, place, now_ms)
            self.on_elsewhere(effects, now_ms)
            return
        node = branch.floors[-1].nodes[place]
        if node == group.header.node and not books.is_under_root:
            books.is_under_root = True
            books.rewind()  # what is shown is what was sealed
            self.courier.included(effects, now_ms)
            effects.writes += self.trunk.writes()
            self.on_included(effects, now_ms)
        books.refresh()
        self._committee.work(now_ms)

    def _on_child(
        self, effects: Effects, child: Child, willing: bytes, values: list[Value], source: bytes, now_ms: int
    ) -> None:
        """The parent calls for a header of the own group, has named others to seal the next one, or has merged it."""
        books, group = self._books, self._books.group
        if self.becoming.hear(child, willing):
            self.on_elsewhere(effects, now_ms)
            return
        if child.place != (group.prefix, group.bits) or child.head != group.digest:
            return
        if child.appointed and (group.roster, group.term) != (child.appointed, child.term):
            books.rewind()
            effects.writes.append(appointed_write(group.digest, child.appointed, child.term))
            self._peers.tell(effects, encode(values), source)
            effects.renew = True
        elif (child.called or child.appointed) and books.is_on_roster and not books.is_called:
            books.is_called = True
            self._committee.work(now_ms)
