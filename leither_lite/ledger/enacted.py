"""Rosters that were named from above, where a group's own has no quorum any more: by a checkpoint, or by its parent.

Decides only what the store says of it (docs/protocol.md, 4.7 and 4.8); whether the organization, or the parent, has
said so is checked before it is kept.
"""

from __future__ import annotations

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.effects import Write
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import ROSTER_BYTES_MAX, Checkpoint, decode_roster
from leither_lite.ledger.tip import Tip
from leither_lite.limits import UINT_MAX
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


def appointed_write(digest: bytes, roster: bytes, term: int) -> Write:
    """What keeps that the parent has named `roster` (CBOR) to seal the header after that of `digest`, in `term`."""
    return keys.APPOINTED, encode([digest, roster, term])


def appointed_tip(reader: Reader, tip: Tip) -> Tip:
    """A tip with who seals the next header, where the parent has named others. Raises Halt("store_corrupt")."""
    content = reader.get(keys.APPOINTED)
    if content is None:
        return tip
    try:
        digest, roster, term = codec.fields(codec.decode(content), 3, "bad_tip")
        roster = codec.octets_upto(roster, ROSTER_BYTES_MAX, "bad_tip")
        decode_roster(roster)
        term = codec.uint(term, UINT_MAX, "bad_tip")
    except RemoteError as error:
        raise Halt("store_corrupt", f"who was named to seal cannot be read: {error}") from error
    return tip._replace(roster=roster, term=term) if digest == tip.digest else tip
