"""Who keeps the books of an id: found by asking down the tree, and asked after where they are silent.

Carries out docs/protocol.md, section 9.3. Decides whom to ask next, and what waits for the answer. Tables are bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects
from leither_lite.header import decode_roster
from leither_lite.ledger.children import Place
from leither_lite.ledger.committee import Willing
from leither_lite.limits import ADDRESS_BYTES_MAX, ID_BITS, ID_BYTES, KEY_BYTES
from leither_lite.node import frames
from leither_lite.node.errands import FELLOWS, Errands
from leither_lite.node.peers import Peers
from leither_lite.node.seats import Seats
from leither_lite.node.trunk import Trunk
from leither_lite.tree.node import is_prefix

FOUND_MS: Final = 60_000
FOUND_MAX: Final = 256
FINDING_MAX: Final = 256
FIND_AGAIN_MS: Final = 1_000
FIND_PEERS_MAX: Final = 2
STEPS_MAX: Final = 8
FRAMES_MAX: Final = 16
"""So many frames wait for the books of one id."""
WAITING_BYTES_MAX: Final = 2**20
"""What waits for the books of all ids; what finds no room is shown again later."""


@dataclass(slots=True)
class Keepers:
    """Who keeps the books of a level-1 group."""

    keys: tuple[bytes, ...]
    until_ms: int


@dataclass(slots=True)
class Search:
    """Looking for who keeps the books of an id: whom to ask next, who was asked, and what is to be sent there; `waits`
    is 1 where that group has been silent for long. `steps`: how many answers were followed since it was last asked from
    above."""

    asked_ms: int
    frames: list[bytes] = field(default_factory=list)
    whom: tuple[bytes, ...] = ()
    asked: tuple[bytes, ...] = ()
    waits: int = 0
    steps: int = 0


class Finder:
    """Whom this node looks for, and whom it has found."""

    def __init__(self, peers: Peers, trunk: Trunk, seats: Seats, errands: Errands) -> None:
        self._peers = peers
        self._trunk = trunk
        self._seats = seats
        self._errands = errands
        self._found: dict[Place, Keepers] = {}
        self._searches: dict[bytes, Search] = {}
        self._turn = 0

    @property
    def deadline_ms(self) -> int | None:
        """When `pass_time` wants to be called next."""
        return min((search.asked_ms + FIND_AGAIN_MS for search in self._searches.values()), default=None)

    def pass_time(self, effects: Effects, now_ms: int) -> None:
        """Go on looking."""
        for account, search in list(self._searches.items()):
            if now_ms - search.asked_ms >= FIND_AGAIN_MS:
                self._look(effects, account, search, now_ms)

    def forget(self, account: bytes) -> None:
        """Who kept the books of an id has not answered: they may be others' now."""
        for place in list(self._found):
            if is_prefix(account, *place):
                del self._found[place]

    def carry(self, effects: Effects, account: bytes, frame: bytes, now_ms: int) -> None:
        """Send a frame to those who keep the books of an id, wherever they are."""
        for (prefix, bits), keepers in self._found.items():
            if is_prefix(account, prefix, bits) and keepers.until_ms > now_ms:
                for key in keepers.keys:
                    self._errands.send(effects, key, frame, now_ms)
                return
        if len(frame) + sum(len(each) for one in self._searches.values() for each in one.frames) > WAITING_BYTES_MAX:
            return
        search = self._searches.get(account)
        if search is not None:
            search.frames.append(frame)
            del search.frames[:-FRAMES_MAX]
        elif len(self._searches) < FINDING_MAX:
            search = self._searches[account] = Search(now_ms, [frame])
            self._look(effects, account, search, now_ms)

    def call(self, effects: Effects, account: bytes, now_ms: int) -> None:
        """Ask those above the group of an id to look after it: it has been silent for long."""
        branch = self._trunk.branch
        self._seats.await_group(account, now_ms)
        for floor in branch.floors if branch is not None else ():
            if is_prefix(account, floor.prefix, floor.bits):
                for key in decode_roster(floor.roster, empty_allowed=True):
                    self._errands.send(effects, key, encode([frames.FIND, account, 1]), now_ms)
        search = self._searches.get(account)
        if search is None and len(self._searches) < FINDING_MAX:
            search = self._searches[account] = Search(now_ms)
        if search is not None:
            search.waits = 1

    def _look(self, effects: Effects, account: bytes, search: Search, now_ms: int) -> None:
        search.asked_ms = now_ms
        search.steps = 0
        own = self._known_here(account)
        if own is not None:
            self._take_found(effects, account, *own, now_ms)
            return
        whom = search.whom
        search.whom = ()
        branch = self._trunk.branch
        for floor in reversed(branch.floors) if branch is not None and not whom else ():
            if is_prefix(account, floor.prefix, floor.bits):
                whom = decode_roster(floor.roster, empty_allowed=True)
                break
        near = self._near()
        self._turn += 1  # whoever is connected may know more than those whom nobody can reach
        around = [near[(self._turn + step) % len(near)] for step in range(min(len(near), FIND_PEERS_MAX))]
        whom = tuple(dict.fromkeys((*whom, *around)))
        search.asked = whom
        frame = encode([frames.FIND, account, search.waits])
        for key in whom:
            self._errands.send(effects, key, frame, now_ms)

    def _near(self) -> list[bytes]:
        """The peers that may be asked who keeps the books of an id, and so get what goes there: the own group's members
        and those who seal above. Any where no branch is here yet: then nothing of the group's goes out."""
        branch, connected = self._trunk.branch, self._peers.connected
        if branch is None:
            return list(connected)
        above = [key for floor in branch.floors for key in decode_roster(floor.roster, empty_allowed=True)]
        return [key for key in connected if key in above or self._peers.is_member(key)]

    def _known_here(self, account: bytes) -> tuple[int, Place, tuple[Willing, ...]] | None:
        """Who keeps the books of an id, as far down as this node's seats know it: level, place, keys and addresses."""
        best: tuple[int, Place, tuple[Willing, ...]] | None = None
        for seat in self._seats:
            group = seat.books.group
            for child in group.children.values():
                if is_prefix(account, child.prefix, child.bits) and (best is None or group.level - 1 < best[0]):
                    sealers = child.sealers or seat.books.sealers
                    told = tuple(Willing(key, self._trunk.address_of(key), 0, 0) for key in sealers)
                    best = (group.level - 1, child.place, told)
        return best

    def _known_above(self, account: bytes) -> tuple[int, Place, tuple[Willing, ...]] | None:
        """Who keeps the lowest page on the own way to the root that an id is under."""
        branch = self._trunk.branch
        for floor in reversed(branch.floors) if branch is not None else ():
            if is_prefix(account, floor.prefix, floor.bits):
                keepers = decode_roster(floor.roster, empty_allowed=True)
                told = tuple(Willing(key, self._trunk.address_of(key), 0, 0) for key in keepers)
                return floor.level, (floor.prefix, floor.bits), told
        return None

    def find(self, effects: Effects, values: list[Value], source: bytes, now_ms: int) -> None:
        """[29, id, 1 if the asker has waited for that group for long, else 0]: who keeps the books of an id, or who
        knows better. Raises RemoteError("bad_find")."""
        _, account, waits = codec.fields(values, 3, "bad_find")
        account = codec.octets(account, ID_BYTES, "bad_find")
        if codec.uint(waits, 1, "bad_find"):
            self._seats.await_group(account, now_ms)
        known = self._known_here(account) or self._known_above(account)
        if known is None:
            return
        level, (prefix, bits), told = known
        effects.work.append((source, 1))
        who: Value = [[each.key, each.address] for each in told]
        effects.sends.append((source, encode([frames.FOUND, account, level, bits, prefix, who])))

    def take_found(self, effects: Effects, values: list[Value], source: bytes, now_ms: int) -> None:
        """[30, id, level, bits, prefix, [[key, address], …]] of one that was asked: ask these, or send them what waits.

        Raises RemoteError("bad_found").
        """
        _, account, level, bits, prefix, who = codec.fields(values, 6, "bad_found")
        account = codec.octets(account, ID_BYTES, "bad_found")
        told = []
        for each in codec.items(who, 7, "bad_found"):
            key, address = codec.fields(each, 2, "bad_found")
            told.append(
                Willing(
                    codec.octets(key, KEY_BYTES, "bad_found"), codec.text(address, ADDRESS_BYTES_MAX, "bad_found"), 0, 0
                )
            )
        place = codec.octets(prefix, ID_BYTES, "bad_found"), codec.uint(bits, ID_BITS, "bad_found")
        search = self._searches.get(account)
        if search is not None and source in search.asked and is_prefix(account, *place):
            self._take_found(effects, account, codec.uint(level, 255, "bad_found"), place, tuple(told), now_ms)

    def _take_found(
        self, effects: Effects, account: bytes, level: int, place: Place, told: tuple[Willing, ...], now_ms: int
    ) -> None:
        self._errands.know(told, FELLOWS)
        sealers = tuple(each.key for each in told)
        if level > 1:
            search = self._searches[account]
            if sealers != search.whom and search.steps < STEPS_MAX:  # those that do not agree would ask for ever
                search.whom = sealers
                search.steps += 1
                search.asked = tuple(dict.fromkeys((*search.asked, *sealers)))
                frame = encode([frames.FIND, account, search.waits])
                for key in sealers:
                    self._errands.send(effects, key, frame, now_ms)
            return
        while len(self._found) >= FOUND_MAX:
            del self._found[next(iter(self._found))]
        if self._trunk.branch is not None:  # before, anybody may have said so
            self._found[place] = Keepers(sealers, now_ms + FOUND_MS)
        for waiting, search in list(self._searches.items()):
            if is_prefix(waiting, *place):
                del self._searches[waiting]
                for frame in search.frames:
                    for key in sealers:
                        self._errands.send(effects, key, frame, now_ms)
