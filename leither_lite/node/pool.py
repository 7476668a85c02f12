"""Operations that wait for a seal: this node's own, which are on its disk, and those that others have sent.

Decides what is kept waiting, and for how long, within a bound in bytes in total and for each peer. Never executes
anything: `books` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from leither_lite.ledger.operations import Operation
from leither_lite.ledger.signed import Status

WAIT_PULSES_MAX: Final = 64
"""After so many pulses, what others have sent and the ledger still refuses is forgotten: its owner sends it again."""
PEER_SHARE: Final = 4
"""No peer fills more than one part in so many of the pool."""
OVERHEAD_BYTES: Final = 1_024
"""What an operation in memory takes beside its content, at most."""

# Refusals that a later header can lift; for all others the operation is dead.
FOR_NOW: Final = frozenset(
    {
        Status.ACCOUNT_FROZEN,
        Status.BODY_FULL,
        Status.GROUP_FULL,
        Status.INSUFFICIENT_BALANCE,
        Status.NOT_PERMITTED,
        Status.NOT_SHOWN,
        Status.PENDING_FULL,
        Status.TOO_EARLY,
        Status.UNKNOWN_ACCOUNT,
        Status.UNKNOWN_PAYEE,
        Status.UNKNOWN_PAYER,
        Status.WRONG_NUMBER,
        Status.WRONG_SENT,
    }
)


def content_digest(content: bytes) -> bytes:
    """What an operation, or a frame, is known by here: 16 bytes."""
    return hashlib.blake2b(content, digest_size=16).digest()


@dataclass(slots=True, eq=False)
class Waiting:
    """An operation with good signatures.

    `peer`: who sent it first; empty for this node's own, which `sequence` names in the store. `number`: that of our
    transfer, or 0. `since`: the newest pulse when it came. `is_taken`: executed on the open body or the proposal
    under it; else `refusal` says why not. `is_told`: the members were told of it. `missed`: this node may have
    missed its seal, since it has jumped over pulses.
    """

    operation: Operation
    content: bytes
    peer: bytes
    since: int
    sequence: int = 0
    number: int = 0
    asked: bytes = b""
    request: bytes = b""
    is_taken: bool = False
    missed: bool = False
    is_told: bool = False
    refusal: Status = Status.OK

    @property
    def size(self) -> int:
        """Bytes that it counts."""
        return len(self.content) + OVERHEAD_BYTES


class Pool:
    """Waiting operations by their digest, in the order in which they came."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._waiting: dict[bytes, Waiting] = {}
        self._bytes: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(list(self._waiting.values()))

    def get(self, digest: bytes) -> Waiting | None:
        """An operation by its content's digest."""
        return self._waiting.get(digest)

    def has_room(self, peer: bytes, size: int) -> bool:
        """True if the bounds allow another operation of a peer's. One share is this node's own, whoever fills the
        others."""
        share = self._bytes_max // PEER_SHARE
        of_others = self.size_bytes - self._bytes.get(b"", 0)
        fits = not peer or of_others + size <= self._bytes_max - share
        return fits and self._bytes.get(peer, 0) + size <= share

    def add(self, digest: bytes, waiting: Waiting) -> None:
        """Keep an operation, in the place of one with this digest that has waited so far."""
        self.remove(digest)
        self._waiting[digest] = waiting
        self._bytes[waiting.peer] = self._bytes.get(waiting.peer, 0) + waiting.size

    def remove(self, digest: bytes) -> Waiting | None:
        """Let go of an operation."""
        waiting = self._waiting.pop(digest, None)
        if waiting is not None:
            left = self._bytes[waiting.peer] - waiting.size
            if left:
                self._bytes[waiting.peer] = left
            else:
                del self._bytes[waiting.peer]
        return waiting

    def items(self) -> list[tuple[bytes, Waiting]]:
        """All, with their digests."""
        return list(self._waiting.items())

    def waits_for(self, number: int) -> str | None:
        """Why the ledger does not take the operation of our transfer `number` now; None if it does."""
        found = (each for each in self._waiting.values() if each.number == number and not each.is_taken)
        waiting = next(found, None)
        return None if waiting is None else waiting.refusal.value

    @property
    def size_bytes(self) -> int:
        """Bytes that all count."""
        return sum(self._bytes.values())


def is_dead(waiting: Waiting, status: Status, sent: int | None) -> bool:
    """True if no later header can take it. `sent`: the payer's next number, None where it has no account."""
    if status is Status.WRONG_SENT and sent is not None:
        return getattr(waiting.operation, "sent", 0) < sent
    return status not in FOR_NOW
