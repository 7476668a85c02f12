"""The root chain as a node outside the root group follows it: headers, their seals, and who may seal next.

Carries out docs/protocol.md, sections 2.7 and 4.9. Decides which root headers are believed, and remembers the newest:
what other groups' headers build on, and what receipts are shown under. Never asks anybody.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from leither_lite.errors import RemoteError
from leither_lite.header import Header, Signatures, check_seal, decode_roster, header_digest, roster_digest
from leither_lite.ledger.tip import Anchor
from leither_lite.limits import DIGEST_BYTES
from leither_lite.tree.node import ZEROS, group, meta, node_pulse
from leither_lite.tree.proof import Handover
from leither_lite.tree.shown import Shown

KNOWN_MAX: Final = 8_192
"""So many root headers are remembered: two hours, at a pulse of a second."""


class RootSeal(NamedTuple):
    """A root header (CBOR) and the signatures of its roster."""

    header: bytes
    signatures: Signatures


class Known:
    """Root headers by their pulses, the newest `KNOWN_MAX` of them: 48 bytes each, for every node has them."""

    def __init__(self) -> None:
        self._pulses = array("Q")
        self._ticks = array("Q")
        self._digests = bytearray()

    def add(self, digest: bytes, pulse: int, tick: int) -> None:
        """Remember one, unless there is one of that pulse."""
        at = bisect_left(self._pulses, pulse)
        if at < len(self._pulses) and self._pulses[at] == pulse:
            return
        self._pulses.insert(at, pulse)
        self._ticks.insert(at, tick)
        self._digests[DIGEST_BYTES * at : DIGEST_BYTES * at] = digest
        if len(self._pulses) > KNOWN_MAX:
            del self._pulses[0], self._ticks[0], self._digests[:DIGEST_BYTES]

    def _at(self, index: int) -> Anchor:
        digest = bytes(self._digests[DIGEST_BYTES * index : DIGEST_BYTES * (index + 1)])
        return Anchor(digest, self._pulses[index], self._ticks[index])

    def get(self, pulse: int) -> Anchor | None:
        """The one of that pulse."""
        at = bisect_left(self._pulses, pulse)
        return self._at(at) if at < len(self._pulses) and self._pulses[at] == pulse else None

    def above(self, pulse: int) -> Iterator[Anchor]:
        """Those above a pulse, oldest first."""
        for index in range(bisect_left(self._pulses, pulse + 1), len(self._pulses)):
            yield self._at(index)


class Roots:
    """The newest root header, the rosters that handovers lead to, and the digests of the root headers before it."""

    def __init__(self, network: bytes, pulse: int, roster: tuple[bytes, ...]) -> None:
        """`roster`: who may seal the root headers above `pulse`, until the next handover."""
        self.network = network
        self._rosters: list[tuple[int, tuple[bytes, ...]]] = [(pulse, roster)]
        self._known = Known()
        self.newest: Anchor | None = None
        self.seal: RootSeal | None = None
        self._checked: RootSeal | None = None  # whose signatures were looked at last

    @property
    def roster(self) -> tuple[bytes, ...]:
        """Who may seal the next root header, as far as is known."""
        return self._rosters[-1][1]

    def roster_of(self, pulse: int) -> tuple[bytes, ...]:
        """Who may seal the root header of a pulse; none for one from before what is known here."""
        found: tuple[bytes, ...] = ()
        for since, roster in self._rosters:
            if since < pulse:
                found = roster
        return found

    def remember(self, digest: bytes, pulse: int, tick: int) -> None:
        """A root header that is believed already: sealed by this node's own group, or kept by it."""
        self._known.add(digest, pulse, tick)
        if self.newest is None or pulse > self.newest.pulse:
            self.newest = Anchor(digest, pulse, tick)

    def anchors(self, above: int) -> Iterator[Anchor]:
        """The root headers known above a pulse, oldest first."""
        yield from self._known.above(above)

    def knows(self, digest: bytes, pulse: int) -> bool:
        """True for the digest of a root header of that pulse."""
        known = self._known.get(pulse)
        return known is not None and known.digest == digest

    def denies(self, digest: bytes, pulse: int) -> bool:
        """True for the digest of something else than the root header of that pulse, as far as that is known."""
        known = self._known.get(pulse)
        return known is not None and known.digest != digest

    def anchor(self, digest: bytes, pulse: int) -> Anchor | None:
        """The root header of that digest and pulse, to build on; None if it is not known here."""
        known = self._known.get(pulse)
        return known if known is not None and known.digest == digest else None

    def check(self, seal: RootSeal) -> Header:
        """A root header of the chain: one that is known, or is sealed as it must be. Raises RemoteError: root_header,
        or as `check_seal`."""
        header = self._take_root(seal)
        if not self.knows(header_digest(seal.header), header.pulse):
            self._check_seal(seal, header.pulse)
        return header

    def checked(self, seal: RootSeal) -> RootSeal:
        """The same root header with signatures that were looked at, though it is known, so that they can be kept and
        told to others: these, or others that came before. Raises as `check`."""
        header = self._take_root(seal)
        if self._checked is None or self._checked.header != seal.header:
            self._check_seal(seal, header.pulse)
            return seal
        return self._checked

    def _check_seal(self, seal: RootSeal, pulse: int) -> None:
        if seal != self._checked:
            check_seal(seal.header, seal.signatures, self.roster_of(pulse))
            self._checked = seal

    def _take_root(self, seal: RootSeal) -> Header:
        header = Header.decode(seal.header)
        is_root = header.network == self.network and not header.bits and header.anchor == ZEROS
        if not is_root or node_pulse(header.node) != header.pulse:
            raise RemoteError("root_header", "no root header of this network")
        return header

    def take(self, seal: RootSeal) -> bool:
        """Take a root header; True if it is newer than what was known. Raises as `check`.

        The newest is `seal` from then on, where it was only remembered before too.
        """
        header = self.check(seal)
        is_newer = self.newest is None or header.pulse > self.newest.pulse
        self.remember(header_digest(seal.header), header.pulse, header.tick)
        if self.newest is not None and header.pulse == self.newest.pulse:
            self.seal = seal
        return is_newer

    def hand_over(self, handover: Handover) -> bool:
        """Take a root header that opens to another roster; True if it is new.

        Raises RemoteError: handover_node (it does not open so), or as `check`.
        """
        header = self.check(RootSeal(handover.header, handover.signatures))
        opened = meta(
            roster_digest(handover.roster), handover.outbox, handover.sent_out, handover.settled_in, handover.state
        )
        if group(header.level, header.bits, header.prefix, header.pulse, handover.inner, opened) != header.node:
            raise RemoteError("handover_node", f"pulse {header.pulse} does not open to the next roster")
        if header.pulse <= self._rosters[-1][0]:
            return False
        self._rosters.append((header.pulse, decode_roster(handover.roster)))
        self.remember(header_digest(handover.header), header.pulse, header.tick)
        return True

    def follow(self, handovers: Iterable[Handover]) -> None:
        """Take handovers that were checked before."""
        for each in handovers:
            pulse = Header.decode(each.header).pulse
            if pulse > self._rosters[-1][0]:
                self._rosters.append((pulse, decode_roster(each.roster)))

    def vouch(self, shown: Shown) -> bool:
        """True if the root header that is shown is of the root chain."""
        try:
            self.check(RootSeal(shown.root, shown.signatures))
        except RemoteError:
            return False
        return True
