"""Rosters that the organization has named by a checkpoint, where the one that was handed over has no quorum any more.

Decides only what the store says of it (docs/protocol.md, 4.7); whether a checkpoint is the organization's is checked
before it is kept.
"""

from __future__ import annotations

from leither_lite.header import Checkpoint
from leither_lite.store import keys
from leither_lite.store.reader import Reader


def checkpoint_before(reader: Reader, pulse: int) -> Checkpoint | None:
    """The newest kept checkpoint at `pulse` or before. Raises RemoteError as `Checkpoint.decode`."""
    found = next(reader.scan(keys.CHECKPOINTS[0], keys.checkpoint(pulse + 1), reverse=True), None)
    return None if found is None else Checkpoint.decode(found[1])


def enacted_roster(reader: Reader, pulse: int, digest: bytes) -> bytes | None:
    """Who may seal the successor of the header of `pulse` with this digest, if a checkpoint says so."""
    content = reader.get(keys.checkpoint(pulse)) if pulse >= 0 else None
    checkpoint = None if content is None else Checkpoint.decode(content)
    return checkpoint.roster if checkpoint is not None and checkpoint.digest == digest else None
