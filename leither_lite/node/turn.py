"""The node's turn: events in, effects out; where values are carried between the machines (docs/protocol.md, 4).

`turn(events, now_ms)` takes what came, seals or proposes at the end of a pulse cycle, and returns what is to be
written, sent, answered and told, in that order. Never touches a socket, a file, a clock or a random source: time is
an argument, secrets come from the `entropy` handed in, the store is read through a `Reader`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from leither_lite.board import Board
from leither_lite.effects import Effects, Note, Reply, Write
from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.identity import account_id
from leither_lite.ledger import group as ledger
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.upper_store import load_upper
from leither_lite.node import events as ev
from leither_lite.node.addresses import Addresses
from leither_lite.node.between import Between
from leither_lite.node.books import Books
from leither_lite.node.catchup import Catchup
from leither_lite.node.checkpoints import Checkpoints
from leither_lite.node.clock import Clock
from leither_lite.node.comeback import Comeback
from leither_lite.node.committee import Committee
from leither_lite.node.desk import Desk
from leither_lite.node.evidence import EvidenceBook
from leither_lite.node.holders import Holders
from leither_lite.node.network import Network
from leither_lite.node.peers import Peers
from leither_lite.node.root_chain import load_roots
from leither_lite.node.scope import Scope, group_starts
from leither_lite.node.wallet import Keyring, Wallet
from leither_lite.node.watch import Watch
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
        tick_ms: int | None = None,
        address: str | None = None,
    ) -> None:
        """Recover from the store.

        `place` names the machine and the file that the store lies on; where the store remembers another, it is a
        copy, and the node runs only if told so. `restored` tells so, wherever the store lies: the node then signs
        nothing before the next term, which with a roster of one only a checkpoint opens. `tick` is the count that
        this process has kept, if it has one, and `tick_ms` when that tick began. `address` is where others reach this
        node, empty if it only dials out, None if it is on no network. Raises Halt: store_corrupt, store_restored.
        """
        self.reader = reader
        self.board = board
        self.charter = _charter(reader)
        charter = self.charter.charter
        self.network = charter.network
        self.pulse_ms = charter.pulse_ms
        self.group = ledger.load(reader, self.network, charter.supply, rules=charter.rules)
        self.wallet = Wallet(reader, keyring)
        roots = load_roots(reader, self.group, charter.roster)
        self.books = Books(reader, board, self.group, self.wallet, charter.parameter("publicity_ticks"), roots)
        self.checkpoints = Checkpoints(reader, self.charter, self.books)
        self.desk = Desk(reader, board, self.books, self.wallet, entropy)
        is_first = not self.group.header.pulse
        self.comeback = Comeback(reader, place, is_first=is_first, restored=restored)
        self._first_writes: list[Write] = [*self.checkpoints.first_writes, *self.comeback.first_writes]
        self._now_ms = now_ms
        self.desk.awaits_checkpoint = self.comeback.silent
        key = self.wallet.node_key
        self.clock = Clock(self.pulse_ms, self.group.header, now_ms, tick, self.books.seals_alone, tick_ms)
        self.peers = Peers(self._is_member)
        self.holders = Holders(self.network, key, charter.parameter("held"), self.pulse_ms, self.group, now_ms)
        evidence = EvidenceBook(reader)
        self.committee = Committee(
            Scope(reader),
            board,
            self.network,
            key,
            self.books,
            self.peers,
            self.clock,
            self.holders,
            self.comeback,
            now_ms,
            evidence,
        )
        self.between = Between(
            reader,
            board,
            self.charter,
            key,
            self.books,
            self.peers,
            self.clock,
            self.holders,
            self.comeback,
            evidence,
            self.committee,
            roots,
            now_ms,
        )
        self.catchup = Catchup(reader, self.charter, self.books, self.peers, self.between.becoming)
        self.addresses = Addresses(reader, board, self.network, key, self.books, self.peers, self.clock, address)
        self.hall = Network(
            reader,
            self.charter,
            key,
            self.books,
            self.peers,
            self.clock,
            self.holders,
            self.committee,
            self.catchup,
            self.addresses,
            self.checkpoints,
            self.between,
            now_ms,
        )
        self.between.own_address = self.addresses.own or ""
        self.catchup.shown_node = self.between.shown_node
        self.between.on_elsewhere = self.catchup.poll
        self.addresses.more = self.between.errands.wanted
        self.addresses.fellows = self.between.fellows
        self.watch = Watch(
            board,
            self.books,
            self.peers,
            self.committee,
            self.catchup,
            self.hall,
            self.between,
            self.pulse_ms,
            now_ms,
        )
        self.checkpoints.on_term = self._on_term
        self.committee.want_body = self._want_body
        self.committee.on_sealed = self._on_sealed
        self.catchup.on_pulse = self._on_pulse
        self.hall.reception.keep = self.desk.keep_application
        self.desk.known_keys = self.addresses.known_keys
        self.desk.is_near = self.peers.is_near
        self.desk.tell_application = lambda effects, application: self.hall.reception.tell(
            effects, application, self._now_ms
        )
        self._unfinal: list[tuple[int, Note]] = []  # transfers, with the pulse that must be final for them
        self._due_ms = now_ms + self.pulse_ms
        self._handlers: Final[dict[type[Any], Callable[[Any, Effects], dict[str, Any]]]] = {
            ev.OperationReceived: self.desk.take_operation,
            ev.CreateInvoice: self.desk.create_invoice,
            ev.PayInvoice: self.desk.pay,
            ev.Distribute: self.desk.distribute,
            ev.OpenAccount: self.desk.open_account,
            ev.Apply: self.desk.apply,
            ev.ApproveApplication: self.desk.approve,
            ev.RefuseApplication: self.desk.refuse,
            ev.CreateInvite: self.desk.create_invite,
            ev.ChangeRole: self.desk.change_role,
            ev.ChangeRoster: self.desk.change_roster,
            ev.TakeCheckpoint: self._take_checkpoint,
        }

    def _is_member(self, key: bytes) -> bool:
        return account_id(key) in self.group.entries or key in self.group.roster_keys

    def place_write(self) -> Write:
        """What the store remembers of its place: rewritten as it is, to see whether a commit works."""
        return self.comeback.write()

    @property
    def term(self) -> int:
        """The term of the next header."""
        return self.books.term

    @property
    def is_final(self) -> bool:
        """True if what the last header says is acknowledged: as many hold it as the charter asks for."""
        return self._is_final(self._now_ms)

    def _is_final(self, now_ms: int) -> bool:
        return self.holders.is_final(now_ms) if self.group.is_root else self.books.is_under_root

    def tick(self, now_ms: int) -> int:
        """Pulse cycles since genesis, as far as this node knows."""
        return self.clock.tick(now_ms)

    def deadline_ms(self) -> int:
        """When `turn` wants to be called next, with or without events."""
        dues = (
            self.committee.deadline_ms,
            self.catchup.deadline_ms,
            self.holders.deadline_ms(self._now_ms),
            self.between.deadline_ms(self._now_ms),
        )
        return min([self._due_ms, *(due_ms for due_ms in dues if due_ms is not None)])

    def turn(self, events: Sequence[ev.Event], now_ms: int) -> Effects:
        """Take events, and seal or propose if a pulse cycle has ended.

        Raises Halt: then nothing of this turn has happened.
        """
        effects = Effects()
        self.performed()
        self.peers.begin_turn()
        self._now_ms = now_ms
        tick = self.desk.tick = self.tick(now_ms)
        effects.writes += self._first_writes
        self._first_writes = []
        for number, event in enumerate(events, 1):
            if isinstance(event, ev.FrameReceived):
                self.hall.take(effects, event, now_ms)
                self.committee.settle(effects, now_ms)
            elif isinstance(event, ev.PeerJoined):
                self.hall.joined(effects, event, now_ms)
            elif isinstance(event, ev.PeerLeft):
                self.hall.left(effects, event, now_ms)
            else:
                self._answer(effects, event, now_ms)
            if effects.renew:
                effects.untaken = len(events) - number
                break
        if not effects.renew:
            self._pass_time(effects, tick, now_ms)
        effects.writes += self.books.save()
        self._tell_final(effects, now_ms)
        return effects

    def _answer(self, effects: Effects, event: ev.Request, now_ms: int) -> None:
        try:
            answer: dict[str, Any] | LocalError = self._handlers[type(event)](event, effects)
        except RemoteError as error:
            answer = LocalError(error.reason, error.detail or "it cannot be read")
        except LocalError as error:
            answer = error
        effects.replies.append(Reply(event.token, answer))
        for content in self.books.take_accepted():
            self.hall.tell_operation(effects, content, now_ms)

    def _pass_time(self, effects: Effects, tick: int, now_ms: int) -> None:
        cycle_ends = now_ms >= self._due_ms
        if cycle_ends:
            self._due_ms += self.pulse_ms * (1 + (now_ms - self._due_ms) // self.pulse_ms)
            self.hall.cycle(effects, now_ms)
            self.between.cycle(effects, now_ms)
            self._come_back(effects)
            self.watch.look(now_ms)
            self.clock.settle(now_ms)
            is_ready = self.books.has_work and not self.comeback.silent and self.holders.is_final(now_ms)
            if self.books.seals_alone and is_ready and self.group.is_root:
                self.committee.seal_alone(effects, now_ms)
            effects.notes.append(Note("tick", {"tick": tick}))
        asked_until_ms = self.catchup.deadline_ms
        if asked_until_ms is not None and asked_until_ms <= now_ms:
            self.catchup.poll(effects, now_ms)
        self.committee.timeout(effects, now_ms)
        self.committee.work(now_ms)
        self.committee.settle(effects, now_ms)
        if effects.renew:
            return
        self.between.pass_time(effects, now_ms)
        if effects.renew:
            return
        if cycle_ends or self.committee.slot_ms is not None:
            self.committee.propose(now_ms, cycle_ends=True)
            self.committee.settle(effects, now_ms)

    def _tell_final(self, effects: Effects, now_ms: int) -> None:
        """A transfer is told of when it is final: at the latest with the next seal, or with what the group becomes."""
        new = [note for note in effects.notes if note.kind == "transfer"]
        if not new and not self._unfinal:
            return
        pulse = self.group.header.pulse
        is_final = effects.renew or self._is_final(now_ms)
        told = [note for sealed, note in self._unfinal if is_final or sealed < pulse]
        if is_final:
            self._unfinal = []
        else:
            self._unfinal = [(sealed, note) for sealed, note in self._unfinal if sealed == pulse]
            self._unfinal += [(pulse, note) for note in new]
            effects.notes = [note for note in effects.notes if note.kind != "transfer"]
        effects.notes[:0] = told

    @property
    def awaits_checkpoint(self) -> bool:
        """True if nothing is sealed before the organization's next checkpoint: a restored copy is the whole roster."""
        return self.comeback.silent and self.books.seals_alone and self.group.is_root

    def troubles(self, now_ms: int, memory_bytes: int) -> tuple[tuple[str, str], ...]:
        """What keeps this node from its work, as code and message; `memory_bytes` is what it takes of its budget."""
        return self.watch.troubles(now_ms, memory_bytes)

    def performed(self) -> None:
        """The writes of the last turn are on disk: from now on it shows. (At the latest when the next turn begins.)"""
        self.books.performed()

    # -- between the machines --------------------------------------------------------------------------------------

    def _want_body(self, effects: Effects, source: bytes) -> None:
        self.catchup.poll(effects, self._now_ms, source)

    def _on_sealed(self, effects: Effects, now_ms: int) -> None:
        self.holders.sealed(self.group, now_ms)
        frame = self.holders.sign(now_ms)
        if frame is not None:
            self.peers.tell(effects, frame)
        self.checkpoints.sealed(effects)
        self._come_back(effects)
        self.between.sealed(effects, now_ms)

    def _come_back(self, effects: Effects) -> None:
        """Sign again, where nothing that was lost can stand against it."""
        header = self.group.header
        opens_term = self.group.state.appointed == header.term + 1
        if self.comeback.may_speak(header, opens_term=opens_term, on_roster=self.books.is_on_roster):
            self.desk.awaits_checkpoint = False
            effects.writes += self.comeback.free()

    def _on_pulse(
        self, effects: Effects, sealed: SealedPulse, segments: list[bytes], source: bytes, now_ms: int
    ) -> None:
        self.committee.take_pulse(effects, sealed, segments, source, now_ms)

    def _take_checkpoint(self, event: ev.TakeCheckpoint, effects: Effects) -> dict[str, Any]:
        checkpoint = event.checkpoint
        checkpoint.verify(self.network, self.charter.charter.organization_key)
        if not self.checkpoints.is_at_tip(checkpoint):
            raise LocalError("checkpoint_not_newest", "the chain has gone on, or the checkpoint is of another one")
        if not self.checkpoints.names_members(checkpoint):
            raise LocalError("bad_roster", "a roster has 1, 3, 4 or 7 members of this group, as the charter allows")
        self.checkpoints.take(effects, checkpoint)
        self.hall.tell_checkpoint(effects, checkpoint, self._now_ms)
        return {"pulse": checkpoint.pulse, "digest": checkpoint.digest.hex(), "term": self.term}

    def _on_term(self, effects: Effects) -> None:
        """A checkpoint has opened a term: nothing can have been signed in it."""
        self.desk.awaits_checkpoint = False
        effects.writes += self.comeback.free()
        self.committee.reopen(self._now_ms)


def read_start(reader: Reader) -> None:
    """Read all that a node reads when it starts. Raises Halt("store_corrupt")."""
    charter = _charter(reader).charter
    group = ledger.load(reader, charter.network, charter.supply, rules=charter.rules)
    roots = load_roots(reader, group, charter.roster)
    lots = (keys.VOTES, keys.BODY)
    _read_spans(reader, (*lots, keys.QUEUED, keys.APPLICATIONS, keys.ADDRESSES, keys.EVIDENCE, keys.SHOWN))
    for key in (keys.CHECKPOINT, keys.BOOTSTRAP, keys.APPLYING, keys.PLACE, keys.WALLET, keys.KIN):
        reader.get(key)
    for start in group_starts(reader):
        scope = Scope(reader, start)
        if scope.get(keys.UPPER) is not None:
            load_upper(scope, charter.network, charter.supply, charter.rules, roots.denies)
            _read_spans(scope, lots)


def _read_spans(reader: Reader, spans: Iterable[tuple[bytes, bytes]]) -> None:
    for span in spans:
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
