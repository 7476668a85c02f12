"""What a look at a folder or a store finds, and how a walk goes on when a part of it ends early.

Decides nothing of what is wrong. Bounded, so that a store full of nonsense does not fill the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from struct import error as StructError
from typing import Final, Literal

from leither_lite.errors import Halt, RemoteError

RESTORE: Final = (
    "stop here: put back a copy of the folder, or set up a new one with the exported key; keep this one to look into"
)
FINDINGS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it is, and (unless it is in order) what to do."""

    level: Literal["ok", "warning", "error"]
    code: str
    message: str
    action: str = ""


class Findings:
    """What one walk has found so far, up to `FINDINGS_MAX`; `progress` is told where it is."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self.found: list[Finding] = []
        self.progress = progress

    @property
    def is_clean(self) -> bool:
        """True while nothing wrong has been found."""
        return not self.found

    @contextmanager
    def noting(self, code: str) -> Iterator[None]:
        """Make a finding of whatever ends a part of the walk."""
        try:
            yield
        except Halt as halt:
            self.note(halt.code, halt.message)
        except (RemoteError, StructError) as error:  # a key too short for its table has no number
            self.note(code, str(error))

    def note(self, code: str, message: str) -> None:
        """Something is wrong with the store."""
        if len(self.found) < FINDINGS_MAX:
            self.found.append(Finding("error", code, message, RESTORE))

    def add(self, others: Findings) -> None:
        """What was found meanwhile elsewhere."""
        for each in others.found:
            self.note(each.code, each.message)

    def unknown(self, key: bytes) -> None:
        """A key that nobody can have written."""
        self.note("unknown_key", f"{key.hex()} is no key of this schema")
