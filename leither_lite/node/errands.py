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

LEDGER: Final = 0
"""Who says where a node is: what the ledger holds and its owner has signed, members and committees, or strangers. What
one of these says is never replaced, or pushed out, by what a later one does."""
FELLOWS: Final = 1
STRANGERS: Final = 2
KNOWN_MAX: Final = (1_024, 512, 256)
"""So many addresses are remembered of each: 450 KB at most."""
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
        self._known: tuple[dict[bytes, str], ...] = ({}, {}, {})
        self._waiting: dict[bytes, list[tuple[int, bytes]]] = {}
        self._bytes = 0
        self.links: tuple[bytes, ...] = ()

    def know(self, told: Iterable[Willing], trust: int = LEDGER) -> None:
        """Where nodes are. `trust`: who says so."""
        known = self._known[trust]
        for each in told:
            if each.key != self._own and split_address(each.address):
                known.pop(each.key, None)
                known[each.key] = each.address
        while len(known) > KNOWN_MAX[trust]:
            del known[next(iter(known))]

    def address(self, key: bytes) -> str:
        """Where a node is; empty if that is not known."""
        return next((known[key] for known in self._known if key in known), "")

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
        here = self._peers.connected
        keys = [(key, self.address(key)) for key in dict.fromkeys((*self._waiting, *self.links))]
        found = [address for key, address in keys if address and key not in here]
        linked = [address for key, address in keys if address and key in here]
        return [*found, *linked][:WANTED_MAX]
