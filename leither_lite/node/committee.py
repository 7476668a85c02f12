"""The committee's table: carries digests from the pulse engine to the books and back (docs/protocol.md, section 4).

Decides when this node proposes, what it answers the engine about a proposal, and what happens when a header is sealed.
Bodies of proposals wait here, bounded in bytes, until they are sealed or superseded. Never decides what is valid (the
ledger does) or what is agreed on (the engine does).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leither_lite.board import Board
from leither_lite.codec import encode
from leither_lite.effects import Effects
from leither_lite.errors import RemoteError
from leither_lite.header import Header, Signatures, segment_digest
from leither_lite.identity import Key
from leither_lite.ledger.group import SealedPulse
from leither_lite.node import frames
from leither_lite.node.bodies import Bodies
from leither_lite.node.books import Books
from leither_lite.node.clock import Clock
from leither_lite.node.comeback import Comeback
from leither_lite.node.evidence import EvidenceBook
from leither_lite.node.holders import Holders
from leither_lite.node.peers import HEARD_MAX, Peers
from leither_lite.node.pool import content_digest
from leither_lite.pulse.agreement import NeedProposal, NeedVerdict, Timing
from leither_lite.pulse.engine import ELSEWHERE, NEW, Engine, Found, KeepBody, Sealed, Send
from leither_lite.pulse.votes import Place, Proposal, SealVote, Vote
from leither_lite.store import keys
from leither_lite.store.reader import Reader

ASK_SEGMENTS_MS: Final = 500


class Committee:
    """This node's seat at the agreement of its group, or beside it where it has none."""

    def __init__(
        self,
        reader: Reader,
        board: Board,
        network: bytes,
        key: Key,
        books: Books,
        peers: Peers,
        clock: Clock,
        holders: Holders,
        comeback: Comeback,
        now_ms: int,
    ) -> None:
        """Go on from the store: what this node has signed, and the body that it is locked on. Raises Halt."""
        self._reader = reader
        self._key = key
        self._books = books
        self._peers = peers
        self._clock = clock
        self._holders = holders
        self.comeback = comeback
        self.engine = Engine(network, key, Timing(clock.pulse_ms))
        self.on_sealed: Callable[[Effects, int], None] = lambda effects, now_ms: None
        self.want_body: Callable[[Effects, bytes], None] = lambda effects, source: None
        self._bodies = Bodies(board.bodies_bytes, self._needed)
        self._wanted_round: int | None = None
        self._cycle_passed = False
        self._unjudged: dict[bytes, int] = {}  # digests of proposals whose bodies are missing, when to ask again
        self._asked = 0
        self._heard: dict[bytes, None] = {}
        self._wanting: dict[bytes, dict[bytes, None]] = {}  # segments that are awaited here: who else wants them
        self.evidence = EvidenceBook(reader)
        self._body_rows = 0
        for _, segment in reader.scan(*keys.BODY):
            self._body_rows += 1
            self._bodies.keep(segment)
        self._open(now_ms, start=True)

    def _open(self, now_ms: int, *, start: bool = False) -> None:
        group = self._books.group
        header = group.header
        place = Place(header.level, header.bits, header.prefix, self._books.term, group.digest)
        rows = list(self._reader.scan(*keys.VOTES)) if start else []
        self._wanted_round = None
        self._unjudged = {}
        self._heard = {}
        self._wanting = {}
        roster = () if self._books.seals_alone else group.roster_keys
        self.engine.open(place, roster, now_ms, silent=self.comeback.silent, rows=rows)

    @property
    def deadline_ms(self) -> int | None:
        """When `turn` wants to be called next."""
        due = [due_ms for due_ms in (self.engine.deadline_ms, *self._unjudged.values()) if due_ms is not None]
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
            self._peers.tell(effects, content, source)
        elif heard is ELSEWHERE:
            # It may be of the next instance: when it is repeated then, it must be heard.
            self._heard.pop(digest, None)
            if isinstance(message, SealVote) and self.evidence.compare(
                effects, self._books.group, message.place, message.header, ((message.key, message.signature),)
            ):
                self._hear(digest)
                self._peers.tell(effects, content, source)
            if message.place.term <= self._books.term:
                self._answer_late(effects, message.place.previous, source)

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

    def take_segment(self, effects: Effects, segment: bytes, now_ms: int) -> bool:
        """A segment of a body; False if no proposal here has it."""
        digest = segment_digest(segment)
        wanted = self._is_awaited(digest)
        if wanted:
            self._bodies.keep(segment)
            self._peers.tell(effects, frames.segment_frame(segment), keys=self._wanting.pop(digest, {}))
            self._judge_waiting(effects, now_ms)
        return wanted

    def _is_awaited(self, digest: bytes) -> bool:
        """True if a proposal here has a segment with this digest, and no verdict for want of its body."""
        proposals = [self.engine.proposal(waiting) for waiting in self._unjudged]
        return any(digest == entry[0] for proposal in proposals if proposal is not None for entry in proposal.entries)

    def give_segments(self, effects: Effects, digests: list[bytes], source: bytes) -> None:
        """Answer who asks for segments of a proposal: at once, or when one that is awaited here has come."""
        for digest in dict.fromkeys(digests):
            segment = self._bodies.get(digest)
            if segment is not None:
                if self._peers.may_give(effects, len(segment), source):
                    effects.sends.append((source, frames.segment_frame(segment)))
            elif self._is_awaited(digest):
                self._wanting.setdefault(digest, {})[source] = None

    # -- bodies ----------------------------------------------------------------------------------------------------

    def _needed(self) -> frozenset[bytes]:
        """Digests of the segments that must not be lost: of what is executed, and of what this node is locked on."""
        bodies = [] if self._books.proposed is None else [tuple(self._books.proposed.entries)]
        for digest in (self.engine.agreement.locked, self.engine.agreement.valid):
            proposal = self.engine.proposal(digest)
            if proposal is not None:
                bodies.append(proposal.entries)
        return frozenset(entry[0] for entries in bodies for entry in entries)

    def _await_body(self, effects: Effects, proposal: Proposal, source: bytes, now_ms: int) -> None:
        """The proposer sends its body with the proposal; from others it must be asked for."""
        self._unjudged[proposal.digest] = now_ms + ASK_SEGMENTS_MS
        if source != proposal.key:
            effects.sends.append((source, encode([frames.WANT_SEGMENTS, list(self._bodies.missing(proposal.entries))])))

    def _ask_again(self, effects: Effects, now_ms: int) -> None:
        for digest, due_ms in list(self._unjudged.items()):
            if due_ms > now_ms:
                continue
            proposal = self.engine.proposal(digest)
            members = self._peers.members()
            if proposal is None or not self._bodies.missing(proposal.entries):
                del self._unjudged[digest]
                self._judge(effects, digest, now_ms)
                continue
            self._unjudged[digest] = now_ms + ASK_SEGMENTS_MS
            if members:
                self._asked += 1
                peer = members[self._asked % len(members)]
                wanted = encode([frames.WANT_SEGMENTS, list(self._bodies.missing(proposal.entries))])
                effects.sends.append((peer.key, wanted))

    def _judge_waiting(self, effects: Effects, now_ms: int) -> None:
        for digest in list(self._unjudged):
            proposal = self.engine.proposal(digest)
            if proposal is not None and not self._bodies.missing(proposal.entries):
                del self._unjudged[digest]
                self._judge(effects, digest, now_ms)

    def _execute(self, proposal: Proposal) -> bool:
        """Have a proposal's body executed as the books' proposed one; False if its body is not here.

        Raises RemoteError if it does not hold.
        """
        books = self._books
        if books.proposed is not None and books.proposed.digest == proposal.digest:
            return True
        if self._bodies.missing(proposal.entries):
            return False
        books.adopt(proposal.header, proposal.entries, self._bodies.of(proposal.entries))
        return True

    def _judge(self, effects: Effects, digest: bytes, now_ms: int) -> None:
        """Answer the engine's question."""
        proposal = self.engine.proposal(digest)
        if proposal is None:
            return
        try:
            if not self._execute(proposal):
                self._unjudged.setdefault(digest, now_ms + ASK_SEGMENTS_MS)
                return
            header = Header.decode(proposal.header)
            own = proposal.key == self._key.public
            timely = own or (
                self._clock.accepts(header.tick, now_ms, proposal.round)
                and not self._books.leaves_out
                and self._holders.suffices(self._books.proposed, now_ms)
            )
            valid = True
        except RemoteError:
            valid = timely = False
        self.engine.judged(digest, valid, timely, now_ms)

    # -- proposing -------------------------------------------------------------------------------------------------

    def work(self, now_ms: int) -> None:
        """Begin an agreement if something waits for a seal, and the last pulse is final."""
        if self.engine.is_member and self._books.has_work and self._holders.is_final(now_ms):
            self.engine.start(now_ms)

    def propose(self, now_ms: int, *, cycle_ends: bool) -> None:
        """Propose what waits: in round 0 at the end of a pulse cycle, later at once.

        Where a cycle has ended while the last agreement was under way, its end is made up for: no more headers come
        than cycles, and nobody waits for two.
        """
        round_ = self._wanted_round
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
                effects.writes.append(output)

    def _send(self, effects: Effects, send: Send, now_ms: int) -> None:
        content = frames.message_frame(send.message)
        self._hear(content_digest(content))
        self._peers.tell(effects, content)
        if isinstance(send.message, Proposal) and not send.again:
            for segment in self._bodies.of(send.message.entries):
                self._peers.tell(effects, frames.segment_frame(segment), keys=self.engine.roster)

    def tell_newest(self, effects: Effects, peer: bytes) -> None:
        """What a member that has just come needs to take part."""
        if self.engine.sealed is None:
            effects.sends += [(peer, frames.message_frame(message)) for message in self.engine.newest()]

    def _write_body(self, effects: Effects, proposal: Proposal) -> None:
        for index, entry in enumerate(proposal.entries):
            segment = self._bodies.get(entry[0])
            if segment is not None:
                effects.writes.append((keys.body(index), segment))
        self._body_rows = max(self._body_rows, len(proposal.entries))

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
                self._execute(proposal)
            except RemoteError:
                return False  # a quorum has sealed what does not hold: this node does not go along
        self.seal(effects, signatures, source, now_ms)
        return True

    def seal(self, effects: Effects, signatures: Signatures, source: bytes, now_ms: int) -> None:
        """Make the books' proposed body the last one, tell the others, and open what comes next."""
        self._books.seal(effects, signatures, self._clock.tick(now_ms))
        self._go_on(effects, source, now_ms)

    def _go_on(self, effects: Effects, source: bytes, now_ms: int) -> None:
        sealed = self._books.group.sealed
        self._clock.follow(self._books.group.header, now_ms)
        effects.writes += [(keys.body(index), None) for index in range(self._body_rows)]
        self._body_rows = 0
        self._bodies.clear()
        frame = frames.sealed_frame(sealed.header_bytes, sealed.signatures)
        self._peers.hear(frame, now_ms)
        self._peers.tell(effects, frame, source)
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
            books.adopt(sealed.header_bytes, sealed.entries, segments, term)
        self.seal(effects, sealed.signatures, source, now_ms)

    def look_around(self) -> None:
        """Somebody has told how far it is."""
        group = self._books.group
        self.comeback.look_around(self._peers, group.roster_keys, self._key.public, group.header.pulse)

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
