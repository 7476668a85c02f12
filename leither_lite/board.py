"""What this board can afford: budgets in bytes and counts (docs/store.md, docs/api.md). Never changes what is valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from leither_lite.errors import LocalError

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
}


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
