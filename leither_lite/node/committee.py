"""The committee's table: carries digests from the pulse engine to the books and back (docs/protocol.md, section 4).

Decides when this node proposes, what it answers the engine about a proposal, and what happens when a header is sealed.
Bodies of proposals wait here, bounded in bytes, until they are sealed or superseded. Never decides what is valid (the
ledger does) or what is agreed on (the engine does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from leither_lite import codec
from leither_lite.board import Board
from leither_lite.codec import Value
from leither_lite.effects import Effects
from leither_lite.errors import RemoteError
from leither_lite.header import Header, Signatures, check_seal, header_digest, take_signatures
from leither_lite.identity import Key
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.node import frames
from leither_lite.node.bench import Bench, anchor_of
from leither_lite.node.clock import Clock
from leither_lite.node.comeback import Comeback
from leither_lite.node.evidence import EvidenceBook
from leither_lite.node.keeping import Holding, Keeping
from leither_lite.node.peers import HEARD_MAX, Peer, Peers
from leither_lite.node.pool import content_digest
from leither_lite.node.scope import Scope
from leither_lite.pulse.agreement import NeedProposal, NeedVerdict, Timing
from leither_lite.pulse.engine import ELSEWHERE, NEW, Engine, Found, KeepBody, Sealed, Send
from leither_lite.pulse.votes import Place, Proposal, SealVote, Vote
from leither_lite.store import keys


class Committee(Bench):
    """This node's seat at the agreement of its group, or beside it where it has none."""

    def __init__(
        self,
        scope: Scope,
        board: Board,
        network: bytes,
        key: Key,
        books: Keeping,
        peers: Peers,
        clock: Clock,
        holders: Holding,
        comeback: Comeback,
        now_ms: int,
        evidence: EvidenceBook,
        audience: Callable[[], Iterable[bytes]] | None = None,
    ) -> None:
        """Go on from the store: what this node has signed, and the body that it is locked on. Raises Halt.

        `scope`: where the group's rows lie. `audience`: the keys of those to whom everything is told; None: all members
        of the node's own group.
        """
        engine = Engine(network, key, Timing(clock.pulse_ms))
        super().__init__(scope, board.bodies_bytes, key, books, peers, clock, holders, engine)
        self.comeback = comeback
        self.on_sealed: Callable[[Effects, int], None] = lambda effects, now_ms: None
        self.on_signed: Callable[[Effects], None] = lambda effects: None
        self.want_body: Callable[[Effects, bytes], None] = lambda effects, source: None
        self._wanted_round: int | None = None
        self._cycle_passed = False
        self._tried_ms = 0
        self._heard: dict[bytes, None] = {}
        self._audience = audience
        self.slot_ms: Callable[[], int] | None = None
        self.may_begin: Callable[[int], bool] = holders.is_final
        self.evidence = evidence
        self._open(now_ms, start=True)

    def _open(self, now_ms: int, *, start: bool = False) -> None:
        group = self._books.group
        place = Place(group.level, group.bits, group.prefix, self._books.term, group.digest)
        rows = list(self._scope.scan(*keys.VOTES)) if start else []
        self._wanted_round = None
        self._unjudged = {}
        self._heard = {}
        self._wanting = {}
        roster = () if self._books.seals_alone else self._books.sealers
        self.engine.open(place, roster, now_ms, silent=self.comeback.silent, rows=rows)

    @property
    def deadline_ms(self) -> int | None:
        """When `turn` wants to be called next."""
        due = [due_ms for due_ms in (self.engine.deadline_ms, *self._unjudged.values()) if due_ms is not None]
        if self.slot_ms is not None and self._wanted_round == 0 and self.slot_ms() > self._tried_ms:
            due.append(self.slot_ms())
        return min(due, default=None)

    # -- what comes in ---------------------------------------------------------------------------------------------

    def take(self, effects: Effects, kind: int, content: bytes, source: bytes, now_ms: int) -> None:
        """A vote, proposal or seal vote from a member. Raises RemoteError."""
        digest = content_digest(content)
        if digest in self._heard:
            return
        self._hear(digest)
        value = frames.one(content, "bad_frame")
        message: Vote | Proposal | SealVote
        if kind == frames.VOTE:
            message = Vote.take(value)
            heard = self.engine.take_vote(message, now_ms)
        elif kind == frames.PROPOSAL:
            message = Proposal.take(value)
            heard = self.engine.take_proposal(message, now_ms)
            if heard is NEW and self._bodies.missing(message.entries):
                self._await_body(effects, message, source, now_ms)
        else:
            message = SealVote.take(value)
            heard = self.engine.take_seal(message, now_ms)
        if heard is NEW:
            self._tell(effects, content, source)
        elif heard is ELSEWHERE:
            # It may be of the next instance: when it is repeated then, it must be heard.
            self._heard.pop(digest, None)
            if isinstance(message, SealVote) and self.evidence.compare(
                effects, self._books.group, message.place, message.header, ((message.key, message.signature),)
            ):
                self._hear(digest)
                self._tell(effects, content, source)
            if message.place.term <= self._books.term:
                self._answer_late(effects, message.place.previous, source)

    def _tell(self, effects: Effects, content: bytes, source: bytes = b"") -> None:
        """Tell everybody whom this group's agreement concerns."""
        self._peers.tell(effects, content, source, None if self._audience is None else self._audience())

    def _hearers(self) -> list[Peer]:
        """Of a group above level 1, the others of its committee."""
        if self._audience is None:
            return self._peers.members()
        return [self._peers.connected[key] for key in self._audience() if key in self._peers.connected]

    def _hear(self, digest: bytes) -> None:
        """Remember a frame of this instance: what is repeated need not be decoded again."""
        if len(self._heard) >= HEARD_MAX:
            self._heard.clear()
        self._heard[digest] = None

    def _answer_late(self, effects: Effects, previous: bytes, source: bytes) -> None:
        """A vote on a predecessor that has a seal is answered with that seal."""
        sealed = self._books.group.sealed
        if self._books.group.header.previous == previous and sealed.header.pulse:
            effects.sends.append((source, frames.sealed_frame(sealed.header_bytes, sealed.signatures)))

    # -- proposing -------------------------------------------------------------------------------------------------

    def work(self, now_ms: int) -> None:
        """Begin an agreement if something waits for a seal, and the last pulse is final."""
        if self.engine.is_member and self._books.has_work and self.may_begin(now_ms):
            self.engine.start(now_ms)

    def propose(self, now_ms: int, *, cycle_ends: bool) -> None:
        """Propose what waits: in round 0 at the end of a pulse cycle, later at once.

        Where cycles go by the clock, and one has ended while the last agreement was under way, its end is made up for:
        no more headers come than cycles, and nobody waits for two.
        """
        round_ = self._wanted_round
        self._tried_ms = now_ms
        if self.slot_ms is not None:
            cycle_ends = now_ms >= self.slot_ms()
        else:
            self._cycle_passed |= cycle_ends and round_ is None and self.engine.agreement.is_started
        if round_ is None or (round_ == 0 and not cycle_ends and not self._cycle_passed):
            return
        if self.engine.agreement.round != round_:
            return
        body = self._books.propose(self._clock.tick(now_ms), self._holders.operation(now_ms))
        if body is None:
            return
        self._wanted_round = None
        self._cycle_passed = False
        for segment in body.segments:
            self._bodies.keep(segment)
        self.engine.propose(round_, body.header_bytes, tuple(body.entries), now_ms)

    # -- what the engine wants -------------------------------------------------------------------------------------

    def timeout(self, effects: Effects, now_ms: int) -> None:
        """Time has passed."""
        self.engine.timeout(now_ms)
        self._ask_again(effects, now_ms)

    def settle(self, effects: Effects, now_ms: int) -> None:
        """Carry out what the engine asks for, until it asks for nothing."""
        outputs = self.engine.outputs
        while outputs:
            output = outputs.popleft()
            if isinstance(output, Send):
                self._send(effects, output, now_ms)
            elif isinstance(output, NeedProposal):
                self._wanted_round = output.round
                self.propose(now_ms, cycle_ends=False)
            elif isinstance(output, NeedVerdict):
                self._judge(effects, output.digest, now_ms)
            elif isinstance(output, Sealed):
                self.sealed(effects, output.header, output.digest, output.signatures, b"", now_ms)
            elif isinstance(output, Found):
                self.evidence.record(effects, output.evidence)
            elif isinstance(output, KeepBody):
                self._write_body(effects, output.proposal)
            else:
                effects.writes += self._scope.writes([output])
                self.on_signed(effects)

    def _send(self, effects: Effects, send: Send, now_ms: int) -> None:
        content = frames.message_frame(send.message)
        self._hear(content_digest(content))
        self._tell(effects, content)
        if isinstance(send.message, Proposal) and not send.again:
            for segment in self._bodies.of(send.message.entries):
                self._peers.tell(effects, frames.segment_frame(segment), keys=self.engine.roster)

    def tell_newest(self, effects: Effects, peer: bytes) -> None:
        """What a member that has just come needs to take part."""
        if self.engine.sealed is None:
            effects.sends += [(peer, frames.message_frame(message)) for message in self.engine.newest()]

    def take_sealed(self, effects: Effects, values: list[Value], source: bytes, now_ms: int) -> None:
        """[9, header, signatures] of a group that this node has a seat in. Raises RemoteError."""
        _, header_bytes, signed = codec.fields(values, 3, "bad_seal")
        header_bytes = codec.octets_upto(header_bytes, 256, "bad_seal")
        if Header.decode(header_bytes).previous != self._books.group.digest:
            return
        signatures = take_signatures(signed, "bad_seal")
        effects.work.append((source, len(signatures)))
        check_seal(header_bytes, signatures, self._books.sealers)
        self.sealed(effects, header_bytes, header_digest(header_bytes), signatures, source, now_ms)

    # -- seals -----------------------------------------------------------------------------------------------------

    def sealed(
        self, effects: Effects, header: bytes, digest: bytes, signatures: Signatures, source: bytes, now_ms: int
    ) -> bool:
        """A quorum has sealed this header over the last one; False if its body must come first."""
        books = self._books
        if books.proposed is None or books.proposed.digest != digest:
            proposal = self.engine.proposal(digest)
            if proposal is None or self._bodies.missing(proposal.entries):
                self.want_body(effects, source)
                return False
            try:
                is_executed = self._execute(proposal)
            except RemoteError:
                return False  # a quorum has sealed what does not hold: this node does not go along
            if not is_executed:  # it builds on a root header that is not here yet
                self.want_body(effects, source)
                return False
        self.seal(effects, signatures, source, now_ms)
        return True

    def seal(self, effects: Effects, signatures: Signatures, source: bytes, now_ms: int) -> None:
        """Make the books' proposed body the last one, tell the others, and open what comes next."""
        self._books.seal(effects, signatures, self._clock.tick(now_ms))
        self._go_on(effects, source, now_ms)

    def _go_on(self, effects: Effects, source: bytes, now_ms: int) -> None:
        sealed = self._books.group.sealed
        self._clock.follow(self._books.group.header, now_ms)
        effects.writes += self._scope.writes([(keys.body(index), None) for index in range(self._body_rows)])
        self._body_rows = 0
        self._bodies.clear()
        frame = frames.sealed_frame(sealed.header_bytes, sealed.signatures)
        self._peers.hear(frame, now_ms)
        self._tell(effects, frame, source)
        self.on_sealed(effects, now_ms)
        self._open(now_ms)
        self.work(now_ms)

    def seal_alone(self, effects: Effects, now_ms: int) -> None:
        """As the roster of one: propose, vote and seal are one transaction."""
        books = self._books
        pulse = books.group.header.pulse
        books.seal_alone(effects, self._clock.tick(now_ms), self._holders.operation(now_ms))
        if books.group.header.pulse != pulse:
            self._go_on(effects, b"", now_ms)

    def take_pulse(
        self, effects: Effects, sealed: SealedPulse, segments: list[bytes], source: bytes, now_ms: int
    ) -> None:
        """A sealed pulse over the last one, with its body, that others had. Raises RemoteError if it does not hold."""
        books = self._books
        term = sealed.header.term
        body = books.proposed
        if body is None or body.header_bytes != sealed.header_bytes:
            if term not in (books.term, books.term + 1):
                raise RemoteError("header_term", f"term {term} where {books.term} is due")
            books.adopt(sealed.header_bytes, sealed.entries, segments, term, anchor_of(sealed))
        self.seal(effects, sealed.signatures, source, now_ms)

    def look_around(self) -> None:
        """Somebody has told how far it is."""
        group = self._books.group
        self.comeback.look_around(self._peers, self._books.sealers, self._key.public, group.header.pulse)

    def reopen(self, now_ms: int) -> None:
        """The term has changed, or this node may sign again."""
        self._open(now_ms)
        self.work(now_ms)

    @property
    def checks(self) -> int:
        """How many signatures were checked so far."""
        return self.engine.checks + self.evidence.checks

    def waits_ms(self, now_ms: int) -> int:
        """For how long an agreement has been under way without a seal."""
        since_ms = self.engine.started_ms
        return 0 if since_ms is None or self.engine.sealed is not None else now_ms - since_ms
