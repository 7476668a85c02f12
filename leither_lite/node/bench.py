"""The bodies of what is proposed: asked for, given, executed and judged (docs/protocol.md, section 4).

Decides when a proposal can be judged and what the engine is told of it. Bodies wait here, bounded in bytes, until they
are sealed or superseded. Never decides what is valid (the ledger does).
"""

from __future__ import annotations

from typing import Final

from leither_lite.codec import encode
from leither_lite.effects import Effects
from leither_lite.errors import RemoteError
from leither_lite.header import Header, segment_digest
from leither_lite.identity import Key
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import State
from leither_lite.ledger.tip import Anchor
from leither_lite.node import frames
from leither_lite.node.bodies import Bodies
from leither_lite.node.clock import Clock
from leither_lite.node.keeping import Holding, Keeping
from leither_lite.node.peers import Peer, Peers
from leither_lite.node.scope import Scope
from leither_lite.pulse.engine import Engine
from leither_lite.pulse.votes import Proposal
from leither_lite.store import keys

ASK_SEGMENTS_MS: Final = 500
UNREADY: Final = frozenset({"child_anchor", "not_shown", "too_early"})
"""Why a proposal cannot be judged yet: it shows a root header that is not known here."""


def anchor_of(sealed: SealedPulse) -> Anchor | None:
    """What a sealed header of a level-1 group builds on, as its own S says: its date is that root header's tick."""
    header = sealed.header
    if not header.bits:
        return None
    return Anchor(header.anchor, header.pulse - 1, State.decode_alone(sealed.state)[0].date)


class Bench:
    """What lies on the table of a committee."""

    def __init__(
        self,
        scope: Scope,
        bodies_bytes: int,
        key: Key,
        books: Keeping,
        peers: Peers,
        clock: Clock,
        holders: Holding,
        engine: Engine,
    ) -> None:
        self._scope = scope
        self._key = key
        self._books = books
        self._peers = peers
        self._clock = clock
        self._holders = holders
        self.engine = engine
        self._bodies = Bodies(bodies_bytes, self._needed)
        self._unjudged: dict[bytes, int] = {}  # digests of proposals whose bodies are missing, when to ask again
        self._asked = 0
        self._wanting: dict[bytes, dict[bytes, None]] = {}  # segments that are awaited here: who else wants them
        self._body_rows = 0
        for _, segment in scope.scan(*keys.BODY):
            self._body_rows += 1
            self._bodies.keep(segment)

    def _hearers(self) -> list[Peer]:
        """Those who are connected of whom this group's agreement concerns."""
        raise NotImplementedError

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
        self._asked = 0
        if source != proposal.key:
            effects.sends.append((source, encode([frames.WANT_SEGMENTS, list(self._bodies.missing(proposal.entries))])))

    def _ask_again(self, effects: Effects, now_ms: int) -> None:
        for digest, due_ms in list(self._unjudged.items()):
            if due_ms > now_ms:
                continue
            proposal = self.engine.proposal(digest)
            if proposal is None or not self._bodies.missing(proposal.entries):
                del self._unjudged[digest]
                self._judge(effects, digest, now_ms)
                continue
            self._unjudged[digest] = now_ms + ASK_SEGMENTS_MS
            members = sorted(self._hearers(), key=lambda peer: peer.key != proposal.key)
            if members:
                peer = members[self._asked % len(members)]  # who has proposed it first
                self._asked += 1
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
        if self._bodies.missing(proposal.entries) or not books.knows_anchor(Header.decode(proposal.header)):
            return False
        try:
            books.adopt(proposal.header, proposal.entries, self._bodies.of(proposal.entries))
        except RemoteError as error:
            if error.reason in UNREADY or error.detail in UNREADY:
                return False
            raise
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

    def _write_body(self, effects: Effects, proposal: Proposal) -> None:
        for index, entry in enumerate(proposal.entries):
            segment = self._bodies.get(entry[0])
            if segment is not None:
                effects.writes += self._scope.writes([(keys.body(index), segment)])
        self._body_rows = max(self._body_rows, len(proposal.entries))
