"""The node's turn: events in, effects out; where values are carried between the machines (docs/protocol.md, 4).

`turn(events, now_ms)` takes what came, seals at the end of a pulse cycle, and returns what is to be written, sent,
answered and told, in that order. Never touches a socket, a file, a clock or a random source: time is an argument,
secrets come from the `entropy` handed in, the store is read through a `Reader`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from leither_lite.board import Board
from leither_lite.effects import Effects, Note, Reply, Write
from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.header import Checkpoint
from leither_lite.ledger import group as ledger
from leither_lite.node import events as ev
from leither_lite.node.books import Books
from leither_lite.node.desk import Desk
from leither_lite.node.wallet import Keyring, Wallet
from leither_lite.organization import SignedCharter
from leither_lite.store import keys
from leither_lite.store.reader import Reader


class Node:
    """One node of an organization, as of its store; a new one is made from the store after every failure."""

    def __init__(
        self,
        reader: Reader,
        keyring: Keyring,
        board: Board,
        entropy: Callable[[int], bytes],
        now_ms: int,
        *,
        place: bytes = b"",
        restored: bool = False,
        tick: int | None = None,
    ) -> None:
        """Recover from the store.

        `place` names the machine and the file that the store lies on; where the store remembers another, it is a copy,
        and the node runs only if told so. `restored` tells so, wherever the store lies: the node then signs nothing
        before the next checkpoint. `tick` is the count that this process has kept, if it has one. Raises Halt:
        store_corrupt, store_restored.
        """
        self.reader = reader
        self.charter = _charter(reader)
        charter = self.charter.charter
        self.network = charter.network
        self.pulse_ms = charter.pulse_ms
        self.group = ledger.load(reader, self.network, charter.supply)
        self.wallet = Wallet(reader, keyring)
        self.books = Books(reader, board, self.group, self.wallet, charter.parameter("publicity_ticks"))
        self.desk = Desk(reader, board, self.books, self.wallet, entropy)
        self.checkpoint = _checkpoint(reader, self.charter)
        self._first_writes: list[Write] = []
        self._place_name = place
        self.desk.awaits_checkpoint = self._place(place, restored)
        self.term = self.group.header.term
        if self.checkpoint is not None and self.checkpoint.digest == self.group.digest:
            self.term += 1
        self._start_ms = now_ms
        self._start_tick = max(self.group.header.tick, tick or 0)
        self._due_ms = now_ms + self.pulse_ms
        self._handlers: Final[dict[type[Any], Callable[[Any, Effects], dict[str, Any]]]] = {
            ev.OperationReceived: self.desk.take_operation,
            ev.CreateInvoice: self.desk.create_invoice,
            ev.PayInvoice: self.desk.pay,
            ev.Distribute: self.desk.distribute,
            ev.OpenAccount: self.desk.open_account,
            ev.Apply: self.desk.apply,
            ev.ApproveApplication: self.desk.approve,
            ev.CreateInvite: self.desk.create_invite,
            ev.ChangeRole: self.desk.change_role,
            ev.TakeCheckpoint: self._take_checkpoint,
        }

    def _place(self, place: bytes, restored: bool) -> bool:
        """True if this node may sign nothing: the store is a copy that no checkpoint has vouched for yet."""
        if restored:
            self._first_writes.append((keys.PLACE, b"\1" + place))
            return True
        kept = self.reader.get(keys.PLACE)
        if kept is None and not self.group.header.pulse:
            self._first_writes.append((keys.PLACE, b"\0" + place))
            return False
        if kept is None or kept[:1] not in (b"\0", b"\1"):
            raise Halt("store_corrupt", "the store does not say where it lies, so it may be a copy")
        if kept[1:] != place:
            raise Halt(
                "store_restored",
                "this data folder was copied or restored: the original may have signed what this copy does not know. "
                "If the original is gone for good, run with --restored, then sign a checkpoint with the organization's "
                "key (leither-lite checkpoint)",
            )
        return kept[:1] == b"\1"

    def place_write(self) -> Write:
        """What the store remembers of its place: rewritten as it is, to see whether a commit works."""
        return keys.PLACE, bytes([self.desk.awaits_checkpoint]) + self._place_name

    def tick(self, now_ms: int) -> int:
        """Pulse cycles since genesis, as far as this node has counted them."""
        return self._start_tick + (now_ms - self._start_ms) // self.pulse_ms

    def deadline_ms(self) -> int:
        """When `turn` wants to be called next, with or without events."""
        return self._due_ms

    def turn(self, events: Sequence[ev.Event], now_ms: int) -> Effects:
        """Take events, and seal if a pulse cycle has ended. Raises Halt: then nothing of this turn has happened."""
        effects = Effects()
        self.performed()
        tick = self.desk.tick = self.tick(now_ms)
        effects.writes += self._first_writes
        self._first_writes = []
        for event in events:
            try:
                answer: dict[str, Any] | LocalError = self._handlers[type(event)](event, effects)
            except RemoteError as error:
                answer = LocalError(error.reason, error.detail or "it cannot be read")
            except LocalError as error:
                answer = error
            effects.replies.append(Reply(event.token, answer))
        if now_ms >= self._due_ms:
            if self.books.has_work and not self.desk.awaits_checkpoint:
                self.books.seal(effects, self.term, tick)
                self.term = self.group.header.term
            self._due_ms += self.pulse_ms * (1 + (now_ms - self._due_ms) // self.pulse_ms)
            effects.notes.append(Note("tick", {"tick": tick}))
        effects.writes += self.books.save()
        return effects

    def performed(self) -> None:
        """The writes of the last turn are on disk: from now on it shows. (At the latest when the next turn begins.)"""
        self.books.performed()

    def _take_checkpoint(self, event: ev.TakeCheckpoint, effects: Effects) -> dict[str, Any]:
        checkpoint = event.checkpoint
        checkpoint.verify(self.network, self.charter.charter.organization_key)
        if checkpoint.digest != self.group.digest or checkpoint.pulse != self.group.header.pulse:
            raise LocalError("checkpoint_not_newest", "the chain has gone on, or the checkpoint is of another one")
        if checkpoint.roster != self.group.roster:
            raise LocalError("checkpoint_other_roster", "the checkpoint names another roster than the one in force")
        effects.writes.append((keys.CHECKPOINT, checkpoint.encode()))
        effects.writes.append((keys.PLACE, b"\0" + self._place_name))
        self.checkpoint, self.desk.awaits_checkpoint = checkpoint, False
        self.term = self.group.header.term + 1
        value = {"pulse": checkpoint.pulse, "digest": checkpoint.digest.hex(), "term": self.term}
        effects.notes.append(Note("checkpoint", value))
        return value


def read_start(reader: Reader) -> None:
    """Read all that a node reads when it starts. Raises Halt("store_corrupt")."""
    charter = _charter(reader).charter
    ledger.load(reader, charter.network, charter.supply)
    for span in (keys.QUEUED, keys.APPLICATIONS):
        for _ in reader.scan(*span):
            pass


def _charter(reader: Reader) -> SignedCharter:
    content = reader.get(keys.CHARTER)
    if content is None:
        raise Halt("store_corrupt", "the store has no charter")
    try:
        return SignedCharter.decode(content)
    except RemoteError as error:
        raise Halt("store_corrupt", f"the charter in the store does not hold: {error}") from error


def _checkpoint(reader: Reader, charter: SignedCharter) -> Checkpoint | None:
    content = reader.get(keys.CHECKPOINT)
    if content is None:
        return None
    try:
        checkpoint = Checkpoint.decode(content)
        checkpoint.verify(charter.charter.network, charter.charter.organization_key)
    except RemoteError as error:
        raise Halt("store_corrupt", f"the checkpoint in the store does not hold: {error}") from error
    return checkpoint
