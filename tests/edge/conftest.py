"""What the tests of commands share: a founded folder, a stand-in for its node, and commands to run on them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from leither_lite.edge import keyfile
from leither_lite.edge.keyfile import Cost
from tests.commands import Run
from tests.edge.folders import founded
from tests.stand_in import StandIn


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A founded folder."""
    return founded(tmp_path / "data")


@pytest.fixture
def node() -> Iterator[StandIn]:
    """A stand-in for a running node."""
    with StandIn() as stand_in:
        yield stand_in


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], data: Path, node: StandIn) -> Run:
    """Commands to the stand-in."""
    return Run(capsys, data, node)


@pytest.fixture
def alone(capsys: pytest.CaptureFixture[str], data: Path) -> Run:
    """Commands without a node."""
    return Run(capsys, data, None)


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports that cost next to nothing."""
    monkeypatch.setattr(keyfile.export, "__defaults__", (Cost(1, 8192),))
