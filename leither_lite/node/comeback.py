"""A member that has lost what it had signed, or was restored from a copy (docs/protocol.md, 4.7).

Decides when it may sign again: after an appointment that lies above everything that it can have signed and forgotten. A
node that has joined with a new store cannot tell whether its key was in use before: it is silent until it has seen that
it is not on the roster.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from leither_lite.effects import Write
from leither_lite.errors import Halt
from leither_lite.header import Header
from leither_lite.limits import QUORUM
from leither_lite.node.peers import Peers
from leither_lite.store import keys
from leither_lite.store.reader import Reader

FREE: Final = 0
RESTORED: Final = 1
JOINED: Final = 2
_MARKS: Final = (FREE, RESTORED, JOINED)


class Comeback:
    """`mark` is what the store remembers beside its place: FREE, or why this node signs nothing for now."""

    def __init__(self, reader: Reader, place: bytes, *, is_first: bool, restored: bool) -> None:
        """`place` names the machine and the file; `is_first`: the store has nothing but the genesis. `restored`: it is
        a copy, whatever it remembers. Raises Halt: store_corrupt, store_restored.
        """
        self._place = place
        self._found = -1
        self.first_writes: list[Write] = []
        kept = reader.get(keys.PLACE)
        if restored or (kept is None and is_first):
            has_joined = reader.get(keys.BOOTSTRAP) is not None
            self.mark = RESTORED if restored else JOINED if has_joined else FREE
            self.first_writes.append(self.write())
            return
        if kept is None or kept[:1] == b"" or kept[0] not in _MARKS:
            raise Halt("store_corrupt", "the store does not say where it lies, so it may be a copy")
        if kept[1:] != place:
            raise Halt(
                "store_restored",
                "this data folder was copied or restored: the original may have signed what this copy does not know. "
                "If the original is gone for good, run with --restored, then sign a checkpoint with the organization's "
                "key (leither-lite checkpoint), or have a supervisor name the roster again (leither-lite roster)",
            )
        self.mark = kept[0]

    @property
    def silent(self) -> bool:
        """True while this node signs nothing."""
        return self.mark != FREE

    def write(self) -> Write:
        """What the store remembers."""
        return keys.PLACE, bytes([self.mark]) + self._place

    def free(self) -> list[Write]:
        """This node may sign from now on; what makes that last."""
        if not self.silent:
            return []
        self.mark = FREE
        return [self.write()]

    def look_around(self, peers: Peers, roster: Sequence[bytes], own: bytes, pulse: int) -> None:
        """Note how far the chain was when this node came back, once a quorum less one of the others on the roster, and
        one at least, have told; `pulse` is its own."""
        if not self.silent or self._found >= 0:
            return
        others = [peers.connected.get(key) for key in roster if key != own]
        told = [peer.told for peer in others if peer is not None and peer.status is not None]
        if len(told) >= max(1, QUORUM.get(len(roster), 1) - 1):
            self._found = max([pulse, *told])

    def may_speak(self, header: Header, *, opens_term: bool, on_roster: bool) -> bool:
        """True if what it may have lost cannot be about what comes after this header, the last one here.

        `opens_term`: an appointment in it does. `on_roster`: this node may seal what comes next.
        """
        if self._found < 0:
            return False
        if opens_term and self._found < header.pulse - 1:
            return True
        return self.mark == JOINED and 0 < header.pulse >= self._found and not on_roster
