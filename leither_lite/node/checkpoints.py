"""The organization's checkpoints, as this node has them (docs/protocol.md, 4.7 and 9).

Decides what a checkpoint changes: where proofs start, and, where it names another roster or the roster is one, who
seals next and in which term. Never decides whether the organization should have signed it.
"""

from __future__ import annotations

from collections.abc import Callable

from leither_lite.effects import Effects, Note, Write
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import Checkpoint, decode_roster, header_digest
from leither_lite.identity import account_id
from leither_lite.ledger.group import sealed_at
from leither_lite.ledger.records import Role
from leither_lite.node.books import Books
from leither_lite.organization import SignedCharter
from leither_lite.store import keys
from leither_lite.store.reader import Reader


class Checkpoints:
    """`newest`: the newest that this node has taken. One that lies above the last header waits for that header."""

    def __init__(self, reader: Reader, charter: SignedCharter, books: Books) -> None:
        """Raises Halt("store_corrupt")."""
        self._reader = reader
        self._charter = charter.charter
        self._books = books
        self._pending: Checkpoint | None = None
        self.on_term: Callable[[Effects], None] = lambda effects: None
        self.newest: Checkpoint | None = None
        self.first_writes: list[Write] = []
        content = reader.get(keys.CHECKPOINT)
        if content is None:
            return
        try:
            self.newest = Checkpoint.decode(content)
            self._verify(self.newest)
        except RemoteError as error:
            raise Halt("store_corrupt", f"the checkpoint in the store does not hold: {error}") from error
        if reader.get(keys.checkpoint(self.newest.pulse)) is None:
            self.first_writes.append((keys.checkpoint(self.newest.pulse), content))
        if self.newest.digest == books.group.digest and self._opens_term(self.newest):
            books.enter_term(books.group.header.term + 1)

    def _verify(self, checkpoint: Checkpoint) -> None:
        checkpoint.verify(self._charter.network, self._charter.organization_key)

    def _opens_term(self, checkpoint: Checkpoint) -> bool:
        """True where it begins anew: for a roster that several are on, and that goes on, it is a starting point only;
        what its members have signed in their term still binds them."""
        return self._books.seals_alone or checkpoint.roster != self._books.group.sealed.roster

    def is_at_tip(self, checkpoint: Checkpoint) -> bool:
        """True if it is about the last header."""
        group = self._books.group
        return (checkpoint.pulse, checkpoint.digest) == (group.header.pulse, group.digest)

    def names_members(self, checkpoint: Checkpoint) -> bool:
        """True if its roster is one of this group's members and supervisors, and not larger than the charter allows.

        Raises RemoteError as `decode_roster`.
        """
        group = self._books.group
        roster = decode_roster(checkpoint.roster)
        entries = [group.entries.get(account_id(key)) for key in roster]
        roles = [None if entry is None else entry.record.role for entry in entries]
        return len(roster) <= group.rules.roster_max and all(role in (Role.MEMBER, Role.SUPERVISOR) for role in roles)

    def hear(self, effects: Effects, checkpoint: Checkpoint) -> bool:
        """One that a member has passed on; True if it is newer than all before. Raises RemoteError if it is not the
        organization's."""
        known = max(-1 if each is None else each.pulse for each in (self.newest, self._pending))
        if checkpoint.pulse <= known:
            return False
        self._verify(checkpoint)
        tip = self._books.group.header.pulse
        if checkpoint.pulse > tip:
            self._pending = checkpoint
            return True
        sealed = sealed_at(self._reader, checkpoint.pulse)
        if self.is_at_tip(checkpoint):
            self.take(effects, checkpoint)
        elif sealed is not None and header_digest(sealed.header_bytes) == checkpoint.digest:
            self._keep(effects, checkpoint)
        return True

    def sealed(self, effects: Effects) -> None:
        """There is a new last header: what was said of it before counts now."""
        pending = self._pending
        if pending is not None and pending.pulse <= self._books.group.header.pulse:
            self._pending = None
            if self.is_at_tip(pending):
                self.take(effects, pending)

    def take(self, effects: Effects, checkpoint: Checkpoint) -> None:
        """One about the last header, signed by the organization: what it says holds from now on."""
        group = self._books.group
        opens = self._opens_term(checkpoint)
        self._keep(effects, checkpoint)
        if opens:
            group.roster = checkpoint.roster
            self._books.enter_term(group.header.term + 1)
            self.on_term(effects)
        value = {"pulse": checkpoint.pulse, "digest": checkpoint.digest.hex(), "term": self._books.term}
        effects.notes.append(Note("checkpoint", value))

    def _keep(self, effects: Effects, checkpoint: Checkpoint) -> None:
        self.newest = checkpoint
        content = checkpoint.encode()
        effects.writes += [(keys.CHECKPOINT, content), (keys.checkpoint(checkpoint.pulse), content)]
