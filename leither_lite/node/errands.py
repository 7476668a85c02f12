"""Frames for nodes that are not connected yet: kept until they are, and whom the edge is to dial for it.

Decides how much waits, and for how long it is worth dialling. Never dials: the edge does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from leither_lite.address import split_address
from leither_lite.effects import Effects
from leither_lite.ledger.committee import Willing
from leither_lite.node.peers import Peers

KNOWN_MAX: Final = 1_024
"""Addresses that are remembered: 256 KB at most."""
WAITING_BYTES_MAX: Final = 512 * 1024
WAITING_MS_MAX: Final = 10_000
"""So long a frame waits for a connection: then whoever sent it has sent it again."""
WANTED_MAX: Final = 64


class Errands:
    """What is to be carried to whom."""

    def __init__(self, peers: Peers, own: bytes) -> None:
        """`own`: this node's public key."""
        self._peers = peers
        self._own = own
        self._known: dict[bytes, str] = {}
        self._waiting: dict[bytes, list[tuple[int, bytes]]] = {}
        self._bytes = 0
        self.links: tuple[bytes, ...] = ()

    def know(self, willing: Iterable[Willing]) -> None:
        """Where nodes are, as the ledger says."""
        for each in willing:
            if each.key != self._own and split_address(each.address):
                self._known.pop(each.key, None)
                self._known[each.key] = each.address
        while len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]

    def suggest(self, told: Iterable[Willing]) -> None:
        """Where nodes are, as somebody says who need not know: it changes nothing that is known, and takes no place
        from it."""
        self.know(each for each in told if each.key not in self._known and len(self._known) < KNOWN_MAX)

    def address(self, key: bytes) -> str:
        """Where a node is; empty if that is not known."""
        return self._known.get(key, "")

    def send(self, effects: Effects, key: bytes, frame: bytes, now_ms: int) -> None:
        """Send a frame, now or when its receiver is connected."""
        if key == self._own:
            return
        if key in self._peers.connected:
            effects.sends.append((key, frame))
        elif self._bytes + len(frame) <= WAITING_BYTES_MAX:
            self._waiting.setdefault(key, []).append((now_ms + WAITING_MS_MAX, frame))
            self._bytes += len(frame)

    def joined(self, effects: Effects, key: bytes) -> None:
        """Somebody is connected: what has waited for it goes out."""
        for _, frame in self._waiting.pop(key, []):
            self._bytes -= len(frame)
            effects.sends.append((key, frame))

    def tidy(self, now_ms: int) -> None:
        """Let go of what has waited for too long."""
        for key, waiting in list(self._waiting.items()):
            kept = [each for each in waiting if each[0] > now_ms]
            self._bytes -= sum(len(frame) for until_ms, frame in waiting if until_ms <= now_ms)
            if kept:
                self._waiting[key] = kept
            else:
                del self._waiting[key]

    def wanted(self) -> list[str]:
        """Where to dial: those for whom something waits, then those who are to stay connected."""
        keys = dict.fromkeys((*self._waiting, *self.links))
        found = [self._known[key] for key in keys if key in self._known and key not in self._peers.connected]
        linked = [self._known[key] for key in keys if key in self._known and key in self._peers.connected]
        return [*found, *linked][:WANTED_MAX]
