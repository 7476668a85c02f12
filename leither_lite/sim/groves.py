"""What must hold in a world of several groups, looked at in what every machine writes down.

One seal for each predecessor of a group; the root's sum and what is under way are the supply; the root chain has one
header a pulse. Decides what is a violation. Never tells a machine anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from leither_lite.effects import Write
from leither_lite.header import header_digest
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.store import keys
from leither_lite.tree.node import node_sum

VIOLATIONS_MAX: Final = 20
OF_A_KIND_MAX: Final = 3
_SEALED_BYTES: Final = len(keys.sealed(0))
_GROUP_BYTES: Final = len(keys.group(1, 0, bytes(20)))

_Place = tuple[int, int, bytes, int, bytes]
"""level, bits, prefix, term, previous"""


class Groves:
    """All seals of a world."""

    def __init__(self, network: bytes, supply: int) -> None:
        self._network = network
        self._supply = supply
        self._counts: dict[str, int] = {}
        self.violations: list[str] = []
        self._seals: dict[_Place, bytes] = {}
        self._roots: dict[int, bytes] = {}
        self._groups: dict[tuple[int, int, bytes], None] = {}

    def violate(self, kind: str, text: str) -> None:
        """Note a violation."""
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count <= OF_A_KIND_MAX:
            self.violations.append(f"{kind}: {text}")

    @property
    def is_enough(self) -> bool:
        """True if there is nothing to be learned from going on."""
        return sum(self._counts.values()) >= VIOLATIONS_MAX

    @property
    def count(self) -> int:
        """How many groups have ever sealed anything."""
        return len(self._groups)

    @property
    def pulse(self) -> int:
        """The newest root pulse."""
        return max(self._roots, default=0)

    def performed(self, writes: Sequence[Write], name: str) -> None:
        """A turn's writes are on a machine's disk."""
        for key, value in writes:
            inner = key[_GROUP_BYTES:] if key[:1] == keys.GROUPS[0] else key
            if value is not None and len(inner) == _SEALED_BYTES and inner[:1] == b"p" and not inner[-1]:
                self._sealed(SealedPulse.decode(value), name)

    def _sealed(self, sealed: SealedPulse, name: str) -> None:
        header, digest = sealed.header, header_digest(sealed.header_bytes)
        self._groups[header.level, header.bits, header.prefix] = None
        place = (header.level, header.bits, header.prefix, header.term, header.previous)
        if self._seals.setdefault(place, digest) != digest:
            self.violate("two_seals", f"{name} has another header {place[:4]} than others")
        if header.bits:
            return
        if self._roots.setdefault(header.pulse, digest) != digest:
            self.violate("two_roots", f"{name} has another root header of pulse {header.pulse} than others")
        if node_sum(sealed.inner) + sealed.sent_out - sealed.settled_in != self._supply:
            under_way = sealed.sent_out - sealed.settled_in
            self.violate("conservation", f"pulse {header.pulse}: {node_sum(sealed.inner)} and {under_way} under way")
