"""Evidence against members who sign two things of which only one may be (docs/protocol.md, section 4).

Decides what is kept of it, and finds a second seal, or a second signature under one, for the predecessor of the last
header. Never judges: nothing follows from evidence yet.
"""

from __future__ import annotations

from typing import Final

from leither_lite.effects import Effects, Note
from leither_lite.header import Signatures, header_digest
from leither_lite.identity import seal_message, verify
from leither_lite.node.frames import name_of
from leither_lite.node.keeping import Grouped
from leither_lite.pulse.votes import Evidence, Place, SealVote
from leither_lite.store import keys
from leither_lite.store.reader import Reader

ROWS_MAX: Final = 1_024


class EvidenceBook:
    """The rows of evidence; `count` is how many there are."""

    def __init__(self, reader: Reader) -> None:
        self._rows = [keys.sequence_of(row) for row, _ in reader.scan(*keys.EVIDENCE)]
        self._about: bytes = b""
        self._accused: dict[bytes, None] = {}
        self.checks = 0  # signatures checked since the owner last looked

    @property
    def count(self) -> int:
        """How many times somebody was seen to sign two things."""
        return len(self._rows)

    def record(self, effects: Effects, evidence: Evidence) -> None:
        """Keep evidence, and tell of it; the oldest goes where there is much."""
        if len(self._rows) >= ROWS_MAX:
            effects.writes.append((keys.evidence(self._rows.pop(0)), None))
        number = self._rows[-1] + 1 if self._rows else 1
        self._rows.append(number)
        effects.writes.append((keys.evidence(number), evidence.encode()))
        effects.notes.append(Note("evidence", {"kind": evidence.kind, "account": name_of(evidence.key)}))

    def compare(self, effects: Effects, group: Grouped, place: Place, header: bytes, signatures: Signatures) -> bool:
        """Signatures under another header for the predecessor of the last one: True if one of them is evidence.

        `place` is that header's. Only keys that have signed the last header's seal can be accused: once each.
        """
        last = group.sealed
        digest = header_digest(header)
        if place != Place.of(group.header) or digest == group.digest or not group.header.pulse:
            return False
        if self._about != group.digest:
            self._about, self._accused = group.digest, {}
        signed = dict(last.signatures)
        found = False
        for key, signature in signatures:
            if key not in signed or key in self._accused:
                continue
            self.checks += 1
            if not verify(key, signature, seal_message(digest)):
                continue
            self._accused[key] = None
            found = True
            first = SealVote(last.header_bytes, group.digest, place, 0, (), key, signed[key])
            self.record(effects, Evidence.of_seals(first, SealVote(header, digest, place, 0, (), key, signature)))
        return found
