"""What keeps a node from its work, each reason alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from leither_lite.edge import machine
from leither_lite.edge.health import Health
from leither_lite.edge.machine import Disk
from leither_lite.errors import Halt

NOW_MS: Final = 1_000_000
RESERVE_BYTES: Final = 1_000


@pytest.fixture
def health(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Health:
    """A healthy node with pulses of a second."""
    monkeypatch.setattr(machine, "disk", lambda path: Disk(RESERVE_BYTES, False))
    return Health(tmp_path, RESERVE_BYTES, 1_000, NOW_MS)


def codes(health: Health, now_ms: int = NOW_MS) -> list[str]:
    """Codes of its reasons, each of which has a message."""
    reasons = health.reasons(now_ms)
    assert all(reason["message"] for reason in reasons)
    return [reason["code"] for reason in reasons]


def test_healthy(health: Health) -> None:
    """With just enough room, and a tick just recent enough."""
    assert codes(health) == []
    assert codes(health, NOW_MS + 5_000) == []


def test_trouble_and_damage(health: Health) -> None:
    """What the last commit said, and what a read has met."""
    health.trouble = Halt("disk_full", "no room")
    health.damage = Halt("store_corrupt", "a damaged value")
    assert codes(health) == ["disk_full", "store_corrupt"]


def test_disk(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read-only, below the reserve, not to be looked at; the trouble that says the same is not said twice."""
    monkeypatch.setattr(machine, "disk", lambda path: Disk(RESERVE_BYTES - 1, False))
    assert codes(health) == ["disk_low"]
    monkeypatch.setattr(machine, "disk", lambda path: Disk(RESERVE_BYTES, True))
    assert codes(health) == ["disk_read_only"]
    health.trouble = Halt("disk_read_only", "the commit said so")
    assert health.reasons(NOW_MS) == [{"code": "disk_read_only", "message": "the commit said so"}]


def test_folder_is_gone(tmp_path: Path) -> None:
    """A disk that was pulled out."""
    assert codes(Health(tmp_path / "gone", 0, 1_000, NOW_MS)) == ["disk_unreadable"]


@pytest.mark.parametrize(("pulse_ms", "late_ms"), [(10, 2_000), (1_000, 2_000), (10_000, 10_000)])
def test_late(health: Health, pulse_ms: int, late_ms: int) -> None:
    """A pulse, but two seconds at least."""
    health.pulse_ms = pulse_ms
    health.late_ms = late_ms
    assert codes(health) == []
    health.late_ms = late_ms + 1
    assert codes(health) == ["loop_late"]


@pytest.mark.parametrize(("pulse_ms", "age_ms"), [(10, 5_000), (1_000, 5_000), (10_000, 30_000)])
def test_old_tick(health: Health, pulse_ms: int, age_ms: int) -> None:
    """Three pulses, but five seconds at least."""
    health.pulse_ms = pulse_ms
    assert codes(health, NOW_MS + age_ms) == []
    assert codes(health, NOW_MS + age_ms + 1) == ["tick_old"]


def test_awaits_checkpoint(health: Health) -> None:
    """A restored node does no work yet."""
    health.awaits_checkpoint = True
    assert codes(health) == ["awaiting_checkpoint"]
