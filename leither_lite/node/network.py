"""What peers say, and to whom it goes: every frame is judged here by who sent it (docs/protocol.md, section 9).

Decides who may send what, what is passed on, and what is told to a peer that comes. Carries each frame to the room that
understands it. Never decides what is sealed, and never answers a stranger but with what joining needs.
"""

from __future__ import annotations

from typing import Final

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.effects import Effects
from leither_lite.errors import RemoteError
from leither_lite.header import Checkpoint, Header, check_seal, header_digest, take_signatures
from leither_lite.identity import Key
from leither_lite.ledger.committee import Held
from leither_lite.ledger.joins import InvitedJoin
from leither_lite.ledger.settling import Reclaim, Resolve, Settle
from leither_lite.ledger.signed import Status as LedgerStatus
from leither_lite.ledger.structure import TermEnd
from leither_lite.limits import SEGMENT_BYTES_MAX, UINT_MAX
from leither_lite.node import frames
from leither_lite.node.addresses import Addresses
from leither_lite.node.applicant import Applicant
from leither_lite.node.between import Between
from leither_lite.node.books import Books
from leither_lite.node.catchup import Catchup
from leither_lite.node.checkpoints import Checkpoints
from leither_lite.node.clock import Clock
from leither_lite.node.committee import Committee
from leither_lite.node.events import FrameReceived, OperationReceived, PeerJoined, PeerLeft
from leither_lite.node.frames import Status
from leither_lite.node.heartbeat import Heartbeat
from leither_lite.node.holders import Holders
from leither_lite.node.peers import NEAR_PULSES_MAX, Peers
from leither_lite.node.pool import content_digest
from leither_lite.node.reception import Reception
from leither_lite.organization import SignedCharter
from leither_lite.pulse.agreement import LIARS
from leither_lite.pulse.votes import Place
from leither_lite.store.reader import Reader

REPEAT_MS: Final = 8_000
"""How often own operations that wait are told again, and an applicant asks again."""
STATUS_MS: Final = 10_000
ANSWER_MS: Final = 1_000
"""A status is answered with the own one, unless that was told just before."""
TELL_BYTES_MAX: Final = 256 * 1024
"""Of waiting operations, so much is told to a member that has just come."""
OPERATION_WORK: Final = 2


class Network:
    """The other nodes, as this one hears them."""

    def __init__(
        self,
        reader: Reader,
        charter: SignedCharter,
        key: Key,
        books: Books,
        peers: Peers,
        clock: Clock,
        holders: Holders,
        committee: Committee,
        catchup: Catchup,
        addresses: Addresses,
        checkpoints: Checkpoints,
        between: Between,
        now_ms: int,
    ) -> None:
        self._reader = reader
        self._charter = charter
        self._network = charter.charter.network
        self._key = key
        self._books = books
        self._clock = clock
        self._holders = holders
        self._committee = committee
        self._catchup = catchup
        self.addresses = addresses
        self._checkpoints = checkpoints
        self._between = between
        self.heartbeat = Heartbeat(self._network, key)
        self._repeat_due_ms = now_ms + REPEAT_MS
        self._waited: frozenset[bytes] = frozenset()
        self._status_due_ms = now_ms + STATUS_MS
        self.peers = peers
        self.refused: dict[str, int] = {}
        self.reception = Reception(reader, charter, books, peers)
        self.applicant = Applicant(reader, self._network, books)
        self._is_behind = False

    # -- who is there ----------------------------------------------------------------------------------------------

    def joined(self, effects: Effects, event: PeerJoined, now_ms: int) -> None:
        """Tell a peer what it needs to know from us."""
        peer = self.peers.join(event.peer, event.dialled, now_ms)
        effects.sends.append((peer.key, self.status(now_ms).encode()))
        self.applicant.ask(effects, peer.key)
        self._between.joined(effects, peer.key, now_ms)
        if self.peers.is_member(peer.key) and self._books.is_member:
            self._welcome(effects, peer.key, now_ms)

    def _welcome(self, effects: Effects, peer: bytes, now_ms: int) -> None:
        """What a member that has just come, or become one, may have missed."""
        self.peers.connected[peer].is_welcomed = True
        self.addresses.tell(effects, peer, now_ms)
        if self._checkpoints.newest is not None:
            effects.sends.append((peer, frames.checkpoint_frame(self._checkpoints.newest)))
        size = 0
        for waiting in self._books.pool:
            size += len(waiting.content)
            if size > TELL_BYTES_MAX:
                break
            effects.sends.append((peer, frames.operation_frame(waiting.content)))
        self._committee.tell_newest(effects, peer)
        self._holders.tell(effects, peer)

    def left(self, effects: Effects, event: PeerLeft, now_ms: int) -> None:
        """A peer has gone."""
        self.peers.leave(event.peer)
        self._catchup.poll(effects, now_ms)

    def status(self, now_ms: int) -> Status:
        """What this node says of itself."""
        header = self._books.header
        group = self._books.group
        digest = group.digest if group.header.pulse == header.pulse else group.header.previous
        above = group.bits, group.prefix, self._between.newest
        return Status(header.pulse, digest, self._clock.tick(now_ms), int(self._clock.counts), *above)

    # -- what comes in ---------------------------------------------------------------------------------------------

    def take(self, effects: Effects, event: FrameReceived, now_ms: int) -> None:
        """A frame: carried to whom it concerns; what is wrong with it is counted against its sender."""
        source = event.peer
        if source not in self.peers.connected:
            return
        checks = self._committee.checks
        try:
            self._take(effects, event, now_ms)
        except RemoteError as error:
            self.peers.blame(effects, source)
            self.refused[error.reason] = self.refused.get(error.reason, 0) + 1
        if self._committee.checks != checks:
            effects.work.append((source, self._committee.checks - checks))

    def _take(self, effects: Effects, event: FrameReceived, now_ms: int) -> None:
        source, content = event.peer, event.content
        kind = frames.kind_of(content)
        is_member = self.peers.is_member(source)
        if kind in frames.BETWEEN_GROUPS:
            self._between.take(effects, kind, frames.values_of(content), source, now_ms)
            return
        if not is_member and kind in (frames.WANT_PULSE, frames.WANT_STATE):
            is_member = self._between.may_want(kind, source)
        if not is_member and kind not in frames.STRANGERS:
            if len(self._between.seats) and self._take_above(effects, kind, content, source, now_ms):
                return
            if self._books.is_member:  # who is not in the group yet does not know who is
                effects.sends.append((source, frames.refused_frame(kind, "not_a_member")))
            return
        if kind in (frames.VOTE, frames.PROPOSAL, frames.SEAL_VOTE) and len(self._between.seats):
            if self._between.take_word(effects, kind, content, source, now_ms):
                return
        if kind == frames.OPERATION:
            self._take_operation(effects, content, source, is_member, now_ms)
        elif kind in (frames.VOTE, frames.PROPOSAL, frames.SEAL_VOTE):
            self._committee.take(effects, kind, content, source, now_ms)
        elif kind == frames.SEGMENT:
            segment = codec.octets_upto(frames.one(content, "bad_segment"), SEGMENT_BYTES_MAX, "bad_segment")
            if not self._committee.take_segment(effects, segment, now_ms) and not self._between.take_segment(
                effects, segment, now_ms
            ):
                self._catchup.take_segment(effects, segment, source, now_ms)
        elif kind == frames.WANT_SEGMENTS:
            wanted = codec.items(frames.one(content, "bad_want"), 32, "bad_want")
            digests = [codec.octets(each, 32, "bad_want") for each in wanted]
            self._committee.give_segments(effects, digests, source)
            self._between.give_segments(effects, digests, source)
        else:
            self._take_other(effects, kind, content, source, is_member, now_ms)

    def _take_above(self, effects: Effects, kind: int, content: bytes, source: bytes, now_ms: int) -> bool:
        """What somebody of another group says of a group above: True if it concerns one of this node's seats."""
        if kind in (frames.VOTE, frames.PROPOSAL, frames.SEAL_VOTE):
            return self._between.take_word(effects, kind, content, source, now_ms)
        if kind == frames.SEGMENT:
            segment = codec.octets_upto(frames.one(content, "bad_segment"), SEGMENT_BYTES_MAX, "bad_segment")
            return self._between.take_segment(effects, segment, now_ms)
        if kind == frames.WANT_SEGMENTS:
            wanted = codec.items(frames.one(content, "bad_want"), 32, "bad_want")
            self._between.give_segments(effects, [codec.octets(each, 32, "bad_want") for each in wanted], source)
            return True
        return False

    def _take_other(
        self, effects: Effects, kind: int, content: bytes, source: bytes, is_member: bool, now_ms: int
    ) -> None:
        values = frames.values_of(content)
        if kind == frames.SEALED and self._between.take_sealed(effects, values, source, now_ms):
            return
        if kind == frames.SEALED:
            self._take_sealed(effects, values, content, source, is_member, now_ms)
        elif kind == frames.STATUS:
            self._take_status(effects, Status.take(values), source, now_ms)
        elif kind == frames.WANT_PULSE:
            _, pulse = codec.fields(values, 2, "bad_want")
            wanted, is_kin = codec.uint(pulse, UINT_MAX, "bad_want"), not self.peers.is_member(source)
            self._catchup.giving.pulse(effects, wanted, source, is_kin=is_kin)
        elif kind == frames.PULSE:
            self._catchup.take_pulse(effects, values, source, now_ms)
        elif kind == frames.WANT_STATE:
            self._catchup.giving.state(effects, values, source)
        elif kind == frames.STATE:
            self._catchup.take_state(effects, values, source, now_ms)
        elif kind == frames.NOT_HERE:
            self._catchup.not_here(effects, source, now_ms)
        elif kind == frames.REFUSED:
            _, refused, reason = codec.fields(values, 3, "bad_refused")
            if refused == frames.OPERATION:
                self.applicant.refused(codec.text(reason, frames.REASON_BYTES_MAX, "bad_refused"))
            else:
                self._catchup.refused(effects, source, now_ms)
        elif kind == frames.WANT_CHARTER:
            self.reception.give_charter(effects, source)
        elif kind == frames.APPLICATION:
            self.reception.take(effects, values, content, source, now_ms)
        elif kind == frames.CHECKPOINT and self.peers.hear(content, now_ms):
            effects.work.append((source, 1))
            if self._checkpoints.hear(effects, Checkpoint.take(codec.fields(values, 2, "bad_checkpoint")[1])):
                self.peers.tell(effects, content, source)
        elif kind == frames.ADDRESS:
            self.addresses.take(effects, values, content, source, now_ms)
        elif kind == frames.TICK and self.peers.hear(content, now_ms):
            self._take_tick(effects, values, content, source, now_ms)
        elif kind == frames.HELD:
            effects.work.append((source, 1))
            if self._holders.take(values):
                self.peers.tell(effects, content, source)
                self._between.held(effects, now_ms)
                self._committee.work(now_ms)

    def _take_operation(self, effects: Effects, content: bytes, source: bytes, is_member: bool, now_ms: int) -> None:
        body = content[2:]
        if not self._books.is_member or self._books.pool.get(content_digest(body)) is not None:
            return
        if not self.peers.hear(content, now_ms):
            return
        effects.work.append((source, OPERATION_WORK))
        received = OperationReceived.from_frame(0, self._network, content)
        operation = received.operation
        if isinstance(operation, Held | TermEnd):
            raise RemoteError("bad_frame", "it stands in bodies only, as their proposer says it")
        shown = operation.shown if isinstance(operation, Settle | Resolve | Reclaim) else None
        if isinstance(operation, TermEnd):
            raise RemoteError("bad_frame", "the end of a term stands in bodies only")
        if not is_member and not isinstance(operation, InvitedJoin) and shown is None:
            raise RemoteError("not_a_member", "a stranger sends nothing but its own joining")
        # What a stranger sends waits only if the root chain shows it: anybody can sign invites and root headers that no
        # ledger takes.
        waits = is_member or (shown is not None and self._books.roots.vouch(shown))
        status = self._books.receive(operation, received.content, source, waits=waits)
        if status is LedgerStatus.OK:
            self._pass_on(effects)
        elif not is_member and shown is None:
            effects.sends.append((source, frames.refused_frame(frames.OPERATION, status.value)))

    def _pass_on(self, effects: Effects) -> None:
        """Tell the members what others have sent, once the ledger would take it: what it refuses for now, its owner
        sends to everybody again, and nobody fills other nodes' pools through this one."""
        for waiting in self._books.take_risen():
            self.peers.tell(effects, frames.operation_frame(waiting.content), waiting.peer)

    def _take_sealed(
        self, effects: Effects, values: list[Value], content: bytes, source: bytes, is_member: bool, now_ms: int
    ) -> None:
        _, header_bytes, signed = codec.fields(values, 3, "bad_seal")
        header_bytes = codec.octets_upto(header_bytes, 256, "bad_seal")
        header = Header.decode(header_bytes)
        group = self._books.group
        peer = self.peers.connected[source]
        if peer.told < header.pulse:
            first = Status(header.pulse, header_digest(header_bytes), header.tick, 0)
            peer.status = first if peer.status is None else peer.status._replace(pulse=header.pulse)
            peer.behind = max(0, group.header.pulse - header.pulse)
        if header.pulse <= group.header.pulse:
            evidence = self._committee.evidence
            told = take_signatures(signed, "bad_seal") if is_member else ()
            if evidence.compare(effects, group, Place.of(header), header_bytes, told):
                self.peers.tell(effects, content, source)
            return
        if not is_member or header.previous != group.digest:
            self._catchup.poll(effects, now_ms, source)
            return
        if self.peers.hear(content, now_ms) or self._catchup.deadline_ms is None:
            signatures = take_signatures(signed, "bad_seal")
            effects.work.append((source, len(signatures)))
            check_seal(header_bytes, signatures, group.roster_keys)
            self._committee.sealed(effects, header_bytes, header_digest(header_bytes), signatures, source, now_ms)

    def _take_status(self, effects: Effects, status: Status, source: bytes, now_ms: int) -> None:
        peer = self.peers.connected[source]
        group = self._books.group
        peer.bits, peer.prefix, peer.pulse = status.bits, status.prefix, status.pulse
        self._between.look(effects, source, status, now_ms)
        if (status.bits, status.prefix) != (group.bits, group.prefix):
            peer.status = None
            # Where the whole was split, this node may have missed only that.
            if group.is_root and status.pulse >= group.header.pulse:
                peer.status = status._replace(pulse=group.header.pulse + 1)
            self._catchup.poll(effects, now_ms, source)
            return
        peer.status = status
        peer.behind = max(0, self._books.group.header.pulse - status.pulse)
        self._is_behind = self._is_behind or self._catchup.behind > NEAR_PULSES_MAX
        if now_ms - peer.said_ms >= ANSWER_MS:
            peer.said_ms = now_ms  # it may have been made again, and know nothing of us
            effects.sends.append((source, self.status(now_ms).encode()))
        self._committee.look_around()
        self._hear_tick(source, status.tick, bool(status.counts), now_ms)
        self._catchup.poll(effects, now_ms, source)

    def _take_tick(self, effects: Effects, values: list[Value], content: bytes, source: bytes, now_ms: int) -> None:
        roster = self._books.group.roster_keys
        effects.work.append((source, 1))
        beat = self.heartbeat.take(values, roster, self._books.term)
        if beat is not None:
            self.peers.tell(effects, content, source)
            self._hear_tick(beat.key, beat.tick, bool(beat.counts), now_ms)

    def _hear_tick(self, key: bytes, tick: int, counts: bool, now_ms: int) -> None:
        """What a member of the roster says of its count serves who has none."""
        roster = self._books.group.roster_keys
        if key in roster:
            self._clock.told(key, tick, counts, now_ms, roster, LIARS.get(len(roster), 0))

    # -- time ------------------------------------------------------------------------------------------------------

    def tell_checkpoint(self, effects: Effects, checkpoint: Checkpoint, now_ms: int) -> None:
        """Tell the members what the organization has signed."""
        frame = frames.checkpoint_frame(checkpoint)
        self.peers.hear(frame, now_ms)
        self.peers.tell(effects, frame)

    def tell_operation(self, effects: Effects, content: bytes, now_ms: int) -> None:
        """Tell the members an operation of our own."""
        frame = frames.operation_frame(content)
        self.peers.hear(frame, now_ms)
        self.peers.tell(effects, frame)

    def _repeat_operations(self, effects: Effects, now_ms: int) -> None:
        """Tell our own operations that wait again, and those of others that have waited since the last time: who has
        missed one has neighbours that have it, and these pass on nothing that they know."""
        pool, size = self._books.pool.items(), 0
        for digest, waiting in pool:
            is_own = waiting.peer in (b"", self._key.public)
            size += 0 if is_own else len(waiting.content)
            if is_own or (digest in self._waited and size <= TELL_BYTES_MAX):
                self.tell_operation(effects, waiting.content, now_ms)
        self._waited = frozenset(digest for digest, _ in pool)

    def cycle(self, effects: Effects, now_ms: int) -> None:
        """At the end of each pulse cycle: what is repeated, and how far this node is."""
        self._pass_on(effects)
        self._catchup.poll(effects, now_ms)
        group = self._books.group
        roster, tick = group.roster_keys, self._clock.tick(now_ms)
        told = [self.heartbeat.beat(roster, self._books.term, tick, self._clock.counts)]
        if self._books.is_member:
            told.append(self._holders.sign(now_ms))
            told += self._holders.repeated(now_ms)
        for frame in told:
            if frame is not None:
                self.peers.tell(effects, frame)
        self.addresses.correct(effects, now_ms)
        registration = self.addresses.register(now_ms)
        if registration is not None:
            self.tell_operation(effects, registration, now_ms)
        for each in self.peers.members() if self._books.is_member else ():
            if not each.is_welcomed:
                self._welcome(effects, each.key, now_ms)
        was_behind, self._is_behind = self._is_behind, self._catchup.behind > NEAR_PULSES_MAX
        is_due = now_ms >= self._status_due_ms
        if is_due:
            self._status_due_ms = now_ms + STATUS_MS
            self.reception.begin()
        if is_due or (was_behind and not self._is_behind):
            status = self.status(now_ms).encode()
            self.peers.tell(effects, status, keys=list(self.peers.connected))
            for peer in self.peers.connected.values():
                peer.said_ms = now_ms
        if now_ms >= self._repeat_due_ms:
            self._repeat_due_ms = now_ms + REPEAT_MS
            self._repeat_operations(effects, now_ms)
            for key in self.peers.connected:
                self.applicant.ask(effects, key)
