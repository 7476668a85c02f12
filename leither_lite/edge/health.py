"""Whether this node does its work, told from the work itself (docs/api.md): never from the process being there.

Decides `healthy` and its reasons from what the loop notes: the last commit, the disk, lateness, the last tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leither_lite.edge import machine
from leither_lite.errors import Halt

LATE_MS_MAX: Final = 2_000
TICK_AGE_MS_MIN: Final = 5_000


@dataclass(slots=True)
class Health:
    """What the loop has seen of itself. Times in milliseconds of the machine's clock that never goes back.

    `trouble` is why the last commit failed, None after one that worked; `damage` is what a read has met, and stays.
    """

    folder: Path
    disk_reserve_bytes: int
    pulse_ms: int
    last_tick_ms: int
    trouble: Halt | None = None
    damage: Halt | None = None
    late_ms: int = 0
    awaits_checkpoint: bool = False
    others: tuple[tuple[str, str], ...] = ()
    """What the node itself says keeps it from its work."""

    def disk_reason(self) -> tuple[str, str] | None:
        """Why the disk cannot take more books, if it cannot."""
        try:
            disk = machine.disk(self.folder)
        except OSError as error:
            return "disk_unreadable", f"the data folder cannot be looked at: {error.strerror}"
        if disk.read_only:
            return "disk_read_only", "the data folder lies on a disk that is mounted read-only"
        if disk.free_bytes < self.disk_reserve_bytes:
            return "disk_low", f"{disk.free_bytes} bytes are free, the board keeps {self.disk_reserve_bytes} in reserve"
        return None

    def reasons(self, now_ms: int) -> list[dict[str, str]]:
        """Everything that keeps this node from its work; none when it is healthy."""
        found: list[tuple[str, str]] = []
        if self.trouble is not None:
            found.append((self.trouble.code, self.trouble.message))
        if self.damage is not None:
            found.append((self.damage.code, self.damage.message))
        disk = self.disk_reason()
        if disk is not None and (self.trouble is None or disk[0] != self.trouble.code):
            found.append(disk)
        if self.late_ms > max(LATE_MS_MAX, self.pulse_ms):
            found.append(("loop_late", f"the last tick came {self.late_ms} ms late"))
        age_ms = now_ms - self.last_tick_ms
        if age_ms > max(TICK_AGE_MS_MIN, 3 * self.pulse_ms):
            found.append(("tick_old", f"the last tick was {age_ms} ms ago"))
        if self.awaits_checkpoint:
            found.append(("awaiting_checkpoint", "restored from a copy: it signs nothing before the next checkpoint"))
        found += self.others
        return [{"code": code, "message": message} for code, message in found]
