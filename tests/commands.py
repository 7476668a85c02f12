"""Commands as the tests run them: in this process, with what they print, or in one of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from leither_lite.cli import main
from tests.stand_in import StandIn

ROOT: Final = Path(__file__).parents[1]


class Run:
    """Runs commands on one folder, and on one node where there is one."""

    def __init__(self, capsys: pytest.CaptureFixture[str], data: Path, node: StandIn | None) -> None:
        self._capsys = capsys
        self._shared = ["--data", str(data), *(["--api", node.address] if node else [])]

    def __call__(self, *argv: str) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        code = main([*argv, *self._shared])
        return code, *self._capsys.readouterr()

    def json(self, *argv: str) -> tuple[int, Any]:
        """Exit code, and the one object on stdout."""
        code, out, _ = self(*argv, "--json")
        assert out.count("\n") == 1
        return code, json.loads(out)


def python(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Another process, with nothing in its environment but where the package is."""
    return subprocess.run(
        [sys.executable, *argv],
        cwd=cwd,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
