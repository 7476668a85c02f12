"""tools/demo: runs to its end, says so on its last line, and leaves nothing behind, also where it is stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Final

from tests.live.harness import PATIENCE_S, ROOT

DEMO: Final = ROOT / "tools" / "demo"


def started(folder: Path) -> subprocess.Popen[str]:
    """The demonstration, with its temporary files in a folder."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    pipe = subprocess.PIPE
    return subprocess.Popen([DEMO], stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=environment)


def processes(folder: Path) -> list[str]:
    """The command lines of the processes that work in a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(word.startswith(str(folder)) for word in words):
            found.append(" ".join(words))
    return found


def test_demo(tmp_path: Path) -> None:
    """Its story, from the founding to the end."""
    demo = started(tmp_path)
    told, complaints = demo.communicate(timeout=3 * PATIENCE_S)
    print(told)
    assert demo.returncode == 0, complaints
    lines = told.splitlines()
    assert len(lines) <= 15
    assert re.fullmatch(r"done +in \d+ s; the largest node took \d+\.\d MB", lines[-1])
    for word in ("founded", "joined", "approved", "roster", "killed", "back", "the same"):
        assert any(line.startswith(word) for line in lines), word
    assert list(tmp_path.iterdir()) == []
    assert processes(tmp_path) == []


def test_stopped(tmp_path: Path) -> None:
    """SIGTERM in the midst of it: nodes and files are gone."""
    demo = started(tmp_path)
    assert demo.stdout is not None
    for line in demo.stdout:
        if line.startswith("joined"):
            break
    assert len(processes(tmp_path)) >= 3  # two nodes, and what has started them
    demo.send_signal(signal.SIGTERM)
    demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []
    assert processes(tmp_path) == []
