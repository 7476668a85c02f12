"""What a committee asks of the books that it agrees on, at whatever level (docs/protocol.md, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from leither_lite.effects import Effects
from leither_lite.header import Header, Signatures
from leither_lite.ledger.committee import Held
from leither_lite.ledger.sealed import BodyEntries, SealedPulse
from leither_lite.ledger.tip import Anchor


class Draftable(Protocol):
    """A body that is executed, and its header."""

    @property
    def header_bytes(self) -> bytes:
        """The closed header's CBOR; empty before."""

    @property
    def digest(self) -> bytes:
        """Its digest."""

    @property
    def segments(self) -> list[bytes]:
        """The body."""

    @property
    def entries(self) -> list[tuple[bytes, bytes, bytes]]:
        """The body's list."""

    @property
    def operations(self) -> Sequence[tuple[object, bytes]]:
        """What was executed, each with its CBOR."""


class Grouped(Protocol):
    """A group where its chain stands."""

    @property
    def level(self) -> int:
        """1 and up."""

    @property
    def bits(self) -> int:
        """Of its prefix."""

    @property
    def prefix(self) -> bytes:
        """20 bytes, zero beyond its bits."""

    @property
    def digest(self) -> bytes:
        """What the next header's previous is."""

    @property
    def header(self) -> Header:
        """The last header."""

    @property
    def sealed(self) -> SealedPulse:
        """The last header with its seal and what it opens to."""

    @property
    def is_root(self) -> bool:
        """True for the root group."""


class Keeping(Protocol):
    """The books of a group."""

    @property
    def group(self) -> Grouped:
        """The group."""

    @property
    def term(self) -> int:
        """The term of the next header."""

    @property
    def sealers(self) -> tuple[bytes, ...]:
        """Who may seal it."""

    @property
    def seals_alone(self) -> bool:
        """True if that is this node alone."""

    @property
    def has_work(self) -> bool:
        """True while something waits for a seal."""

    @property
    def leaves_out(self) -> bool:
        """True if the proposed body leaves out what this node has held for too long."""

    @property
    def proposed(self) -> Draftable | None:
        """The body that was proposed and executed."""

    def knows_anchor(self, header: Header) -> bool:
        """True if the root header that a header builds on is known here, or it needs none."""

    def adopt(
        self,
        header_bytes: bytes,
        entries: BodyEntries,
        segments: list[bytes],
        term: int | None = None,
        anchor: Anchor | None = None,
    ) -> Draftable:
        """Execute somebody's proposal, on `anchor` where it is not known. Raises RemoteError if it does not hold."""

    def propose(self, tick: int, held: Held | None) -> Draftable | None:
        """Close what waits as this node's proposal; None if there is nothing."""

    def seal(self, effects: Effects, signatures: Signatures, tick: int) -> SealedPulse:
        """Make the proposed body the last."""

    def seal_alone(self, effects: Effects, tick: int, held: Held | None) -> None:
        """Propose, vote and seal in one, as the roster of one."""


class Holding(Protocol):
    """Who holds page and body of a group's last header."""

    def is_final(self, now_ms: int) -> bool:
        """True if nothing that the last header says can be lost with its committee."""

    def operation(self, now_ms: int) -> Held | None:
        """What the next body begins with."""

    def suffices(self, body: Draftable | None, now_ms: int) -> bool:
        """True if a proposed body has the signatures that make its predecessor final."""


class NotHeld:
    """Above level 1: what a body there consists of is held by those below it."""

    def is_final(self, now_ms: int) -> bool:
        """True."""
        return True

    def operation(self, now_ms: int) -> Held | None:
        """None."""
        return None

    def suffices(self, body: Draftable | None, now_ms: int) -> bool:
        """True."""
        return True
