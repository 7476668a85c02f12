"""What the machine says of itself, checked against what this process does."""

from __future__ import annotations

import mmap
import os
import shutil
import threading
from pathlib import Path

from leither_lite.edge import machine


def test_clock_never_goes_back() -> None:
    """Milliseconds."""
    times = [machine.now_ms() for _ in range(1_000)]
    assert times == sorted(times)


def test_memory_grows_with_what_is_taken() -> None:
    """By as many KB as were written to, in both measures."""
    before = machine.memory_kb()
    taken = mmap.mmap(-1, 8 * 1024 * 1024, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    taken.write(b"\1" * len(taken))
    after = machine.memory_kb()
    taken.close()
    for name in ("resident", "anonymous"):
        assert 7 * 1024 <= after[name] - before[name] <= 32 * 1024
    assert 0 < before["anonymous"] < before["resident"]


def test_written_bytes_are_this_threads(tmp_path: Path) -> None:
    """Not another's."""
    descriptor = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    before = machine.thread_written_bytes()
    os.write(descriptor, bytes(12_345))
    other = threading.Thread(target=os.write, args=(descriptor, bytes(99_999)))
    other.start()
    other.join()
    os.close(descriptor)
    assert machine.thread_written_bytes() - before == 12_345


def test_disk(tmp_path: Path) -> None:
    """Room, and that it can be written."""
    disk = machine.disk(tmp_path)
    assert disk.free_bytes > 0
    assert not disk.read_only


def test_place(tmp_path: Path) -> None:
    """The file stays itself when it is renamed or written; a copy, or another file under its name, is another."""
    path, moved = tmp_path / "store", tmp_path / "moved"
    path.write_bytes(b"content")
    place = machine.place(path)
    assert len(place) == 16
    path.write_bytes(b"other content")
    path.rename(moved)
    assert machine.place(moved) == place
    shutil.copy2(moved, path)
    assert machine.place(path) != place
    path.replace(moved)
    assert machine.place(moved) != place
