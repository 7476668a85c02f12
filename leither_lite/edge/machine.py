"""What this machine says of itself: memory, disks, bytes written, and which one it is, by /proc and statvfs."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

_SERIALS = ("device/cid", "device/serial", "device/wwid", "serial")


def now_ms() -> int:
    """Milliseconds of a clock that never goes back, and goes on while the machine sleeps: the only clock that the node
    is given."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def memory_kb() -> dict[str, int]:
    """This process's memory in KB: resident, and anonymous (what the system cannot drop and read again)."""
    found = {"resident": 0, "anonymous": 0}
    names = {"VmRSS:": "resident", "RssAnon:": "anonymous"}
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            name = names.get(line.split(None, 1)[0])
            if name is not None:
                found[name] = int(line.split()[1])
    return found


def thread_written_bytes() -> int:
    """Bytes that this thread has handed to write calls so far."""
    try:
        with open("/proc/thread-self/io", encoding="ascii") as counters:
            for line in counters:
                if line.startswith("wchar:"):
                    return int(line.split()[1])
    except OSError:  # not every kernel counts
        pass
    return 0


def outward_host(any_host: str) -> str | None:
    """The address under which this machine goes out (nothing is sent for it), for one that listens on all, "0.0.0.0" or
    "::". None where it has no way out."""
    family, other = (socket.AF_INET6, "2001:db8::1") if ":" in any_host else (socket.AF_INET, "192.0.2.1")
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((other, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system under a path: bytes that are free for us, and whether it is mounted read-only."""

    free_bytes: int
    read_only: bool


def disk(path: Path) -> Disk:
    """The file system under `path`."""
    found = os.statvfs(path)
    return Disk(found.f_bavail * found.f_frsize, bool(found.f_flag & os.ST_RDONLY))


def _line(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""


def place(path: Path) -> bytes:
    """A digest of where a file lies: machine, storage device where it has a serial number, and the file itself.

    A copy of the file, on this machine or another, has another place. What cannot be told apart: an older state put
    back into the same file.
    """
    status = path.stat()
    device = f"/sys/dev/block/{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    serials = [_line(f"{device}/{parent}{name}") for parent in ("", "../") for name in _SERIALS]
    machine = _line("/etc/machine-id") or _line("/var/lib/dbus/machine-id")
    parts = "\0".join([machine, *serials, str(status.st_ino)])
    return hashlib.blake2b(parts.encode(), digest_size=16, person=b"leither.place").digest()
