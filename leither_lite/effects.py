"""What a turn of the node asks of the world, in the order in which it is performed: writes, sends, replies, notes.

Never performs anything. A write is on disk before any send, reply or note of the same turn leaves the process.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from leither_lite.errors import LocalError

Write = tuple[bytes, bytes | None]
"""A key of the store and its new value, or None to delete it."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the event that carried `token`: a JSON-able value, or the caller's error."""

    token: int
    value: dict[str, Any] | LocalError


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened, for people and programs that watch: kind "pulse", "transfer", "tick", "checkpoint",
    "evidence", "caught_up", or "health", which the edge tells."""

    kind: str
    value: dict[str, Any]


@dataclass(slots=True)
class Effects:
    """Everything that one turn wants done.

    `sends`: frames for peers (32-byte keys). `work`: signature checks
    that were done for a peer. `renew`: once the writes are on the disk, the node is to be made again from the store;
    `untaken`: how many of the turn's last events are for that one.
    """

    writes: list[Write] = field(default_factory=list)
    sends: list[tuple[bytes, bytes]] = field(default_factory=list)
    work: list[tuple[bytes, int]] = field(default_factory=list)
    renew: bool = False
    untaken: int = 0
    replies: list[Reply] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
