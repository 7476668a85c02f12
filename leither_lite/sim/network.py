"""Links between simulated machines: who is connected to whom, and what becomes of a frame on its way.

Decides when a connection breaks and comes back, and which frames are lost, late, twice or out of order. Never looks
into a frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Final, Protocol

from leither_lite.node.events import Event, FrameReceived, PeerJoined, PeerLeft
from leither_lite.sim.agenda import Agenda
from leither_lite.sim.faults import (
    DUPLICATE_PER_10_000,
    LOSS_PER_10_000,
    PARTITION_EVERY_MS,
    PARTITION_MS,
    Faults,
)

CONNECT_MS: Final = (50, 1_500)
RESET_MS: Final = (5, 50)
"""After so long, the other side of a process that has ended knows it."""
SILENCE_MS: Final = (1_000, 10_000)
"""After so long, the other side of a machine that is cut off takes it for gone."""
LINKS_OF_ALL_MAX: Final = 4
"""Up to so many machines, each is linked to each."""


class End(Protocol):
    """A machine, as its links see it."""

    key_public: bytes
    is_up: bool

    def put(self, event: Event) -> None:
        """Something has come."""


@dataclass(eq=False)
class Link:
    """Two machines that connect to each other whenever they can."""

    ends: tuple[int, int]
    is_open: bool = False
    number: int = 0
    joined: dict[int, bool] = field(default_factory=dict)

    def other(self, end: int) -> int:
        """The other end."""
        return self.ends[self.ends[0] == end]


class Hub:
    """All links."""

    def __init__(
        self, agenda: Agenda, faults: Faults, ends: list[End], random: Random, hearty: tuple[int, ...]
    ) -> None:
        """A ring with random chords; the machines `hearty` are linked to all others."""
        self._agenda = agenda
        self._faults = faults
        self._ends = ends
        self._numbers = {end.key_public: number for number, end in enumerate(ends)}
        # For each machine, as bits: the partitions that it is inside of; of all of them, those that cut one way only.
        self._inside = [0] * len(ends)
        self._one_way = 0
        self._partitions = 0
        pairs: dict[tuple[int, int], None] = {}
        count = len(ends)
        for low in range(count):
            for high in range(low + 1, count):
                is_ring = high - low in (1, count - 1)
                if is_ring or count <= LINKS_OF_ALL_MAX or low in hearty or high in hearty:
                    pairs[low, high] = None
        while count > LINKS_OF_ALL_MAX and len(pairs) < count * 3 // 2:
            low, high = sorted(random.sample(range(count), 2))
            pairs[low, high] = None
        self.links = {pair: Link(pair, joined=dict.fromkeys(pair, False)) for pair in pairs}
        self._of: list[list[Link]] = [[] for _ in range(count)]
        for link in self.links.values():
            for end in link.ends:
                self._of[end].append(link)
            self._try_later(link)
        if faults.may("partition") and count > 1:
            agenda.after(faults.between(PARTITION_EVERY_MS), self._partition)

    def dial(self, source: int, target: int) -> None:
        """A machine wants to be connected to another: from now on they are whenever they can."""
        pair = min(source, target), max(source, target)
        if source == target or pair in self.links or target >= len(self._ends):
            return
        link = self.links[pair] = Link(pair, joined=dict.fromkeys(pair, False))
        for end in pair:
            self._of[end].append(link)
        self._try_later(link)

    # -- frames ----------------------------------------------------------------------------------------------------

    def send(self, source: int, peer: bytes, content: bytes) -> None:
        """A frame leaves a machine for one of its peers."""
        target = self._numbers[peer]
        link = self.links.get((min(source, target), max(source, target)))
        if link is None or not link.is_open or self._is_cut(source, target):
            return
        faults = self._faults
        if faults.happens("loss", LOSS_PER_10_000):
            return
        copies = 2 if faults.happens("duplicate", DUPLICATE_PER_10_000) else 1
        for _ in range(copies):
            self._agenda.after(faults.delay_ms(), partial(self._arrive, link, link.number, source, target, content))

    def _arrive(self, link: Link, number: int, source: int, target: int, content: bytes) -> None:
        if link.is_open and link.number == number and not self._is_cut(source, target) and link.joined[target]:
            self._ends[target].put(FrameReceived(self._ends[source].key_public, content))

    # -- connections -----------------------------------------------------------------------------------------------

    def peers_of(self, end: int) -> list[PeerJoined]:
        """Who a machine's process is connected to, told once more."""
        return [self._join(link, end) for link in self._of[end] if link.joined[end]]

    def _join(self, link: Link, end: int) -> PeerJoined:
        return PeerJoined(self._ends[link.other(end)].key_public, link.ends[0] == end)

    def _try_later(self, link: Link) -> None:
        self._agenda.after(self._faults.between(CONNECT_MS), partial(self._try, link))

    def _try(self, link: Link) -> None:
        """Connect, if both are there and nothing lies between."""
        low, high = link.ends
        if link.is_open:
            return
        able = self._ends[low].is_up and self._ends[high].is_up and not any(link.joined.values())
        if not able or self._is_cut(low, high) or self._is_cut(high, low):
            self._try_later(link)
            return
        link.is_open = True
        link.number += 1
        for end in link.ends:
            link.joined[end] = True
            self._ends[end].put(self._join(link, end))

    def _break(self, link: Link, notice_ms: dict[int, int]) -> None:
        """A connection is no more; each side learns of it after a while."""
        if link.is_open:
            link.is_open = False
            self._try_later(link)
        for end, after_ms in notice_ms.items():
            if link.joined[end]:
                self._agenda.after(after_ms, partial(self._notice, link, link.number, end))

    def _notice(self, link: Link, number: int, end: int) -> None:
        if link.number == number and link.joined[end]:
            link.joined[end] = False
            self._ends[end].put(PeerLeft(self._ends[link.other(end)].key_public))

    def down(self, end: int) -> None:
        """A machine's process is gone: killed, or with its power."""
        bounds = RESET_MS if self._faults.random.randrange(2) else SILENCE_MS
        for link in self._of[end]:
            link.joined[end] = False
            self._break(link, {link.other(end): self._faults.between(bounds)})

    # -- partitions ------------------------------------------------------------------------------------------------

    def _partition(self) -> None:
        faults = self._faults
        if faults.healed:
            return
        self._agenda.after(faults.between(PARTITION_EVERY_MS), self._partition)
        faults.counts["partition"] += 1
        random, count = faults.random, len(self._ends)
        inside = random.sample(range(count), random.randint(1, count // 2))
        bit = 1 << self._partitions
        self._partitions += 1
        for end in inside:
            self._inside[end] |= bit
        if not random.randrange(4):
            self._one_way |= bit
        else:
            for link in self.links.values():
                if len({self._inside[end] & bit for end in link.ends}) == 2:
                    self._break(link, {end: faults.between(SILENCE_MS) for end in link.ends})
        self._agenda.after(faults.between(PARTITION_MS), partial(self._mend, bit, inside))

    def _is_cut(self, source: int, target: int) -> bool:
        """True while a partition lies on the way from one machine to another."""
        here, there = self._inside[source], self._inside[target]
        return here != there and bool((here ^ there) & ~self._one_way or here & ~there & self._one_way)

    def _mend(self, bit: int, inside: list[int]) -> None:
        for end in inside:
            self._inside[end] &= ~bit

    def heal(self) -> None:
        """No partition any more."""
        self._inside = [0] * len(self._ends)
