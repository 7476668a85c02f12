"""Which addresses are dialled when (docs/protocol.md, section 9).

Decides by what is wanted and not connected, a few at once, each with its own backoff. Never knows what goes through a
connection; learns of its end from the link.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from leither_lite.edge.client import parse_address
from leither_lite.edge.tcp_link import Link
from leither_lite.wire.backoff import Backoff

# Dials whose handshake is not done yet.
DIALS_MAX: Final = 4
# A connection that has held for so long was a good one: the next wait is a first one again.
LASTING_S: Final = 60


class Target:
    """An address, when to dial it next, and whose it was the last time."""

    __slots__ = ("backoff", "due", "host", "is_known", "key", "port", "task")

    def __init__(self, address: str, seed: int) -> None:
        self.host, self.port = parse_address(address)
        self.backoff = Backoff(seed)
        self.due = 0.0
        self.key = b""
        self.is_known = False
        self.task: asyncio.Task[bool] | None = None


class Dialler:
    """Keeps what is wanted connected.

    `link(address)` makes the protocol of a connection; `is_connected(key)` tells whether that peer is there, whoever
    dialled; `seed()` gives a number for an address's jitter. At most `busy_max` connections at once are its own; where
    they are taken, `end(address)` ends one that is needed less.
    """

    def __init__(
        self,
        link: Callable[[str], Link],
        is_connected: Callable[[bytes], bool],
        seed: Callable[[], int],
        busy_max: int,
        dial_s: float,
        end: Callable[[str], None],
    ) -> None:
        self._link = link
        self._end = end
        self._needed: frozenset[str] = frozenset()
        self._ending = ""
        self._is_connected = is_connected
        self._seed = seed
        self._busy_max = busy_max
        self._dial_s = dial_s
        self._wanted: dict[str, Target] = {}
        self._busy: dict[str, Target] = {}
        self._timer: asyncio.TimerHandle | None = None

    def want(self, addresses: Sequence[str], needed: int = 0) -> None:
        """Dial these from now on, and no others; the first `needed` take the places of others where there are no more.

        Raises LocalError("bad_address"), and changes nothing then.
        """
        wanted: dict[str, Target] = {}
        for address in addresses:
            target = self._wanted.get(address) or self._busy.get(address) or wanted.get(address)
            wanted[address] = target or Target(address, self._seed())
        self._wanted = wanted
        self._needed = frozenset(addresses[:needed])
        for address, target in self._busy.items():
            if address not in wanted and target.task is not None:
                target.task.cancel()
        self.turn()

    def turn(self) -> None:
        """Dial what is due, and see when to look again."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = loop.time()
        under_way = sum(not target.is_known for target in self._busy.values())
        again: float | None = None
        for address, target in self._wanted.items():
            if address in self._busy or (target.key and self._is_connected(target.key)):
                continue
            if target.due > now:
                again = target.due if again is None else min(again, target.due)
            elif under_way < DIALS_MAX and len(self._busy) < self._busy_max:
                under_way += 1
                self._busy[address] = target
                target.is_known = False
                target.task = loop.create_task(self._dial(address, target))
                target.task.add_done_callback(partial(self._dialled, address))
            elif address in self._needed and len(self._busy) >= self._busy_max:
                self._make_room()
        if again is not None:
            self._timer = loop.call_at(again, self.turn)

    def _make_room(self) -> None:
        """End the newest connection of ours that is not needed, one at a time: its end leads to the next turn."""
        if self._ending in self._busy:
            return
        for address, target in reversed(self._busy.items()):
            if address not in self._needed and target.is_known:
                self._ending = address
                self._end(address)
                return

    def known(self, address: str, key: bytes) -> None:
        """The node at an address has said who it is."""
        if (target := self._busy.get(address)) is not None:
            target.is_known = True
            target.key = key
            self.turn()

    def lost(self, address: str, lived_s: float = 0) -> None:
        """An address's connection is gone, or has not come about."""
        if (target := self._busy.pop(address, None)) is None:
            return
        if lived_s >= LASTING_S:
            target.backoff.reset()
        target.due = asyncio.get_running_loop().time() + target.backoff.next_ms() / 1000
        self.turn()

    async def close(self) -> None:
        """Dial nothing any more."""
        self._wanted = {}
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tasks = [target.task for target in self._busy.values() if target.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _dial(self, address: str, target: Target) -> bool:
        """Connect; from then on the link tells how it goes. False if nobody is there, or there is no such name.

        Called off in the moment in which it connects, uvloop closes the connection without a word to its protocol.
        """
        loop = asyncio.get_running_loop()
        made: list[Link] = []

        def make() -> Link:
            made.append(self._link(address))
            return made[-1]

        is_done = False
        try:
            async with asyncio.timeout(self._dial_s):
                await loop.create_connection(make, target.host, target.port)
            is_done = True
        except (OSError, ValueError):
            return False
        finally:
            for link in made if not is_done else ():
                link.connection_lost(None)
        return True

    def _dialled(self, address: str, task: asyncio.Task[bool]) -> None:
        """A dial has ended, well or not, or was cancelled before it began."""
        if (target := self._busy.get(address)) is not None:
            target.task = None
        if task.cancelled() or not task.result():
            self.lost(address)
