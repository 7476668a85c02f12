"""A member that has lost what it had signed, or was restored from a copy (docs/protocol.md, 4.7).

Decides when it may sign again: after an appointment that lies above everything that it can have signed and forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence

from leither_lite.header import Header
from leither_lite.limits import QUORUM
from leither_lite.node.peers import Peers


class Comeback:
    """`silent`: this node signs nothing before the next term."""

    def __init__(self, *, silent: bool) -> None:
        self.silent = silent
        self._found = -1

    def look_around(self, peers: Peers, roster: Sequence[bytes], own: bytes, pulse: int) -> None:
        """Note how far the chain was when this node came back, once a quorum less one of the others on the roster have
        told; `pulse` is its own."""
        if not self.silent or self._found >= 0:
            return
        others = [peers.connected.get(key) for key in roster if key != own]
        told = [peer.told for peer in others if peer is not None and peer.status is not None]
        if len(told) >= QUORUM[len(roster)] - 1:
            self._found = max([pulse, *told])

    def may_speak(self, header: Header) -> bool:
        """True if what it has lost cannot have been about what comes after this header."""
        return 0 <= self._found < header.pulse - 1
