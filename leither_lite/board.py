"""What this board can afford: budgets in bytes and counts (docs/store.md, docs/api.md). Never changes what is valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from leither_lite.errors import LocalError
from leither_lite.limits import GROUP_MEMBERS_MAX

MIB: Final = 1024 * 1024

# Name of each setting: its smallest and largest value.
_BOUNDS: Final = {
    "map_bytes": (1 * MIB, 2**46),
    "disk_reserve_bytes": (0, 2**40),
    "retention_pulses": (32, 2**40),
    "transfers_max": (100, 2**40),
    "applications_max": (1, 4_096),
    "accounts_max": (1, 65_536),
    "turn_events_max": (1, 4_096),
    "api_connections_max": (4, 4_096),
    "api_body_bytes_max": (1_024, 16 * MIB),
    "api_events_max": (1, 256),
    "memory_anonymous_bytes": (32 * MIB, 2**40),
    "peers_in_max": (0, 4_096),
    "peers_out_max": (1, 256),
    "peers_per_host_max": (1, 4_096),
    "peer_send_bytes": (640 * 1024, 256 * MIB),
    "send_bytes": (1 * MIB, 2**40),
    "peer_frames_bytes": (128 * 1024, 64 * MIB),
    "frames_bytes": (1 * MIB, 256 * MIB),
    "pool_bytes": (256 * 1024, 256 * MIB),
    "bodies_bytes": (1 * MIB, 64 * MIB),
    "peer_messages_s": (10, 100_000),
    "peer_bytes_s": (16 * 1024, 1024 * MIB),
    "peer_work_s": (10, 1_000_000),
    "willing": (0, 1),
    "archive": (0, GROUP_MEMBERS_MAX),
}

_SUB_DATABASE_BYTES: Final = 4_000_000


@dataclass(frozen=True, slots=True)
class Board:
    """Budgets of one node: bytes, counts, and for how many pulses old states are kept."""

    map_bytes: int = 1024 * MIB
    disk_reserve_bytes: int = 16 * MIB
    retention_pulses: int = 100_000
    transfers_max: int = 1_000_000
    applications_max: int = 256
    accounts_max: int = 256
    turn_events_max: int = 256
    api_connections_max: int = 128
    api_body_bytes_max: int = 64 * 1024
    api_events_max: int = 16
    memory_anonymous_bytes: int = 256 * MIB
    peers_in_max: int = 192
    peers_out_max: int = 24
    peers_per_host_max: int = 16
    peer_send_bytes: int = 1 * MIB
    send_bytes: int = 16 * MIB
    peer_frames_bytes: int = 1 * MIB
    frames_bytes: int = 8 * MIB
    pool_bytes: int = 4 * MIB
    bodies_bytes: int = 2 * MIB
    peer_messages_s: int = 2_000
    peer_bytes_s: int = 4 * MIB
    peer_work_s: int = 4_000
    willing: int = 1
    archive: int = 0

    @property
    def archive_bytes(self) -> int:
        """The largest size of the archive's file; while a pulse is taken, its journal needs at most as much again."""
        return self.archive * _SUB_DATABASE_BYTES

    @classmethod
    def from_settings(cls, settings: Mapping[str, object]) -> Board:
        """A board with some settings changed. Raises LocalError("bad_setting") naming the one that is wrong."""
        taken: dict[str, int] = {}
        for name, value in settings.items():
            if name not in _BOUNDS:
                known = ", ".join(field.name for field in fields(cls))
                raise LocalError("bad_setting", f"unknown setting {name}; there are: {known}")
            low, high = _BOUNDS[name]
            if type(value) is not int or not low <= value <= high:
                raise LocalError("bad_setting", f"{name} must be a whole number from {low} to {high}")
            taken[name] = value
        return cls(**taken)
