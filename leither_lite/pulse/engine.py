"""A member's part in sealing: what it signs and when, what it has signed before, what it tells and repeats.

Carries out docs/protocol.md, section 4, around the rules of `agreement`: the write-ahead log of every own signature,
the seal as a step of its own, evidence against who signs two, repetition. `outputs` says what to write, send, judge and
seal, in that order. Never knows what a body holds; never counts on anything that it has not written down.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from leither_lite.codec import Value, encode
from leither_lite.effects import Write
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import Signatures
from leither_lite.identity import Key, signed_digest, verify
from leither_lite.limits import QUORUM
from leither_lite.pulse import log
from leither_lite.pulse.agreement import PROPOSE, Agreement, Cast, Decided, Lock, NeedProposal, NeedVerdict, Timing
from leither_lite.pulse.proposals import Proposals
from leither_lite.pulse.votes import NIL, PRECOMMIT, PREVOTE, Entries, Evidence, Place, Proposal, SealVote, Vote

EVIDENCE_MAX: Final = 64
"""For one instance: two signatures for each kind of a few rounds say all there is to say of a liar."""
REPEAT_MS_MIN: Final = 1_000
REPEAT_MS_MAX: Final = 8_000
NEW: Final = "new"
KNOWN: Final = "known"
ELSEWHERE: Final = "elsewhere"
"""What becomes of a message: it is new and may go on to others; it was here; it is of another instance, or of a round
too far off, and may be of use later."""


class Send(NamedTuple):
    """Tell the other members; `again` where it is only repeated."""

    message: Vote | Proposal | SealVote
    again: bool


class Sealed(NamedTuple):
    """A quorum has sealed this header."""

    header: bytes
    digest: bytes
    signatures: Signatures


class Found(NamedTuple):
    """Evidence."""

    evidence: Evidence


class KeepBody(NamedTuple):
    """Write the body of a proposal down, beside the lock on it."""

    proposal: Proposal


Output = Write | Send | Sealed | Found | KeepBody | NeedProposal | NeedVerdict


class Engine:
    """One instance after another: `open` begins the next when a header has been sealed."""

    def __init__(self, network: bytes, key: Key, timing: Timing) -> None:
        self._network = network
        self._key = key
        self._timing = timing
        self.outputs: deque[Output] = deque()
        self.checks = 0  # signatures checked
        self.place = Place(0, 0, b"", 0, b"")
        self.roster: tuple[bytes, ...] = ()
        self.is_member = False
        self.sealed: Sealed | None = None
        self._suspect = False
        self._clear((), 0)

    def _clear(self, roster: tuple[bytes, ...], now_ms: int) -> None:
        self.roster = roster
        self.sealed = None
        self.started_ms: int | None = None
        own = self._key.public
        self.agreement = Agreement(
            roster or (own,), own, self._timing, votes=self.is_member, suspect=self._suspect and len(roster) > 1
        )
        self._proposals = Proposals(self.agreement)
        self._seals: dict[bytes, SealVote] = {}
        self._liars: dict[bytes, None] = {}
        self._evidence: dict[tuple[str, bytes, int], None] = {}
        self._log: dict[bytes, None] = {}
        self._own_seal: SealVote | None = None
        self._repeat_ms = 0
        self._repeat_due_ms: int | None = None

    # -- instances -------------------------------------------------------------------------------------------------

    def open(
        self,
        place: Place,
        roster: tuple[bytes, ...],
        now_ms: int,
        *,
        silent: bool = False,
        rows: Iterable[tuple[bytes, bytes]] = (),
    ) -> None:
        """Begin the instance of the header after `place.previous`, and forget the one before.

        `silent`: this node signs nothing here, even if its key is on the roster. `rows`: after a start, those of the
        store's log: what they say of this instance binds. Raises Halt("store_corrupt").
        """
        if self.sealed is not None:
            self._suspect = self._proposals.of_round(0) is None and bool(self._proposals.rounds_of(self.sealed.digest))
        for row in self._log:
            self.outputs.append((row, None))
        self.place = place
        self.is_member = not silent and self._key.public in roster
        self._clear(roster, now_ms)
        kept = log.read(rows, place)
        for row in kept.stale:
            self.outputs.append((row, None))
        self._log = dict.fromkeys(kept.keys)
        if self._log and self.is_member:
            self._resume(kept, now_ms)

    def _resume(self, kept: log.Kept, now_ms: int) -> None:
        """Go on from the log: nothing that it holds may be contradicted."""
        agreement = self.agreement
        lock = None
        if kept.locked is not None:
            self._proposals.keep(kept.locked)
            lock = (kept.lock_round, kept.locked.digest)
        self._own_seal = kept.seal
        agreement.resume(kept.round, kept.step, lock, now_ms)
        for votes, proven in ((kept.polka, True), (kept.votes, False)):
            for vote in votes:
                if agreement.vote(vote.round, vote.step, vote.key) is None:
                    agreement.take_vote(vote, now_ms, proven=proven)
        if kept.seal is not None:
            self._seals[kept.seal.key] = kept.seal
            try:
                self._adopt(kept.seal.round, PRECOMMIT, kept.seal.digest, kept.seal.precommits, now_ms)
            except RemoteError as error:
                raise Halt("store_corrupt", f"the log of own signatures does not hold: {error}") from error
        self._repeat_ms = REPEAT_MS_MIN
        self._repeat_due_ms = now_ms
        self._drain(now_ms)

    def start(self, now_ms: int) -> None:
        """Something waits for a seal."""
        if self.sealed is None and not self.agreement.is_started:
            self.agreement.start(now_ms)
            self._drain(now_ms)

    # -- what others say -------------------------------------------------------------------------------------------

    def take_vote(self, vote: Vote, now_ms: int) -> str:
        """NEW, KNOWN or ELSEWHERE. Raises RemoteError: not_on_roster, bad_signature."""
        if vote.place != self.place:
            return ELSEWHERE
        if vote.key not in self.roster:
            raise RemoteError("not_on_roster", vote.key.hex())
        before = self.agreement.vote(vote.round, vote.step, vote.key)
        if self.agreement.has(vote):
            return KNOWN
        self._check(vote.is_signed(self._network), vote.key)
        if before is not None and self._accuse(Evidence.of_votes(before, vote)) is KNOWN:
            return KNOWN
        near = self.agreement.is_near(vote.round)
        self.agreement.take_vote(vote, now_ms)
        self._drain(now_ms)
        return NEW if near else ELSEWHERE

    def take_proposal(self, proposal: Proposal, now_ms: int) -> str:
        """NEW, KNOWN or ELSEWHERE. Raises RemoteError: not_proposer, bad_proposal, bad_signature, or as
        `_adopt`."""
        if proposal.place != self.place or not self.agreement.is_near(proposal.round):
            return ELSEWHERE
        if proposal.key != self.agreement.proposer(proposal.round):
            raise RemoteError("not_proposer", proposal.key.hex())
        if not proposal.is_whole:
            raise RemoteError("bad_proposal", "the list is not that of the header's body")
        before = self._proposals.of_round(proposal.round)
        if before is not None and before.content() == proposal.content():
            return KNOWN
        self._check(proposal.is_signed(self._network), proposal.key)
        if before is not None and self._accuse(Evidence.of_proposals(before, proposal)) is KNOWN:
            return KNOWN
        if proposal.valid_round >= 0:
            self._adopt(proposal.valid_round, PREVOTE, proposal.digest, proposal.prevotes, now_ms)
        (self._proposals.take if before is None else self._proposals.keep)(proposal)
        self.agreement.take_proposal(proposal.round, proposal.digest, proposal.valid_round, now_ms)
        self._drain(now_ms)
        return NEW

    def take_seal(self, seal: SealVote, now_ms: int) -> str:
        """NEW, KNOWN or ELSEWHERE. Raises RemoteError: not_on_roster, bad_signature, no_quorum, doubled_signer."""
        if seal.place != self.place:
            return ELSEWHERE
        if seal.key not in self.roster:
            raise RemoteError("not_on_roster", seal.key.hex())
        before = self._seals.get(seal.key)
        if before is not None and before.digest == seal.digest:
            return KNOWN
        self._check(seal.is_signed(), seal.key)
        if before is not None:
            # Whoever sees two takes neither; what this node has signed itself is its own word.
            if seal.key != self._key.public:
                self._liars[seal.key] = None
            return self._accuse(Evidence.of_seals(before, seal))
        self._adopt(seal.round, PRECOMMIT, seal.digest, seal.precommits, now_ms)
        self._seals[seal.key] = seal
        self._count_seals()
        self._drain(now_ms)
        return NEW

    def judged(self, digest: bytes, valid: bool, timely: bool, now_ms: int) -> None:
        """The node's verdict on a proposal, if that is still here."""
        if self.sealed is None and self._proposals.get(digest) is not None:
            self.agreement.judged(digest, valid, timely, now_ms)
            self._drain(now_ms)

    def propose(self, round_: int, header: bytes, entries: Entries, now_ms: int) -> Proposal | None:
        """Propose a header of our own in the round that asked for one; None if that round is over."""
        agreement = self.agreement
        over = agreement.round != round_ or agreement.step != PROPOSE or agreement.decided is not None
        over = over or agreement.proposer(round_) != self._key.public
        if over or log.row_key(log.PROPOSAL, round_) in self._log or not self.is_member:
            return None
        return self._propose(round_, -1, header, entries, (), now_ms)

    def timeout(self, now_ms: int) -> None:
        """Time has passed."""
        if self.sealed is not None:
            return
        due_ms = self.agreement.deadline_ms
        if due_ms is not None and due_ms <= now_ms:
            self.agreement.timeout(now_ms)
            self._drain(now_ms)
        if self._repeat_due_ms is not None and self._repeat_due_ms <= now_ms:
            self._repeat_ms = min(2 * self._repeat_ms, REPEAT_MS_MAX)
            self._repeat_due_ms = now_ms + self._repeat_ms
            self.outputs += [Send(message, again=True) for message in self.newest()]

    @property
    def deadline_ms(self) -> int | None:
        """When `timeout` wants to be called next."""
        if self.sealed is not None:
            return None
        due = [due_ms for due_ms in (self.agreement.deadline_ms, self._repeat_due_ms) if due_ms is not None]
        return min(due, default=None)

    def newest(self) -> list[Vote | Proposal | SealVote]:
        """What a member that has missed everything needs to know: the newest of all that is here, others' words too."""
        found: list[Vote | Proposal | SealVote] = []
        round_ = self.agreement.round
        for at in sorted({max(round_ - 1, 0), round_, max(self.agreement.valid_round, 0)}):
            proposal = self._proposals.of_round(at)
            if proposal is not None:
                found.append(proposal)
            found += self.agreement.votes_of(at)
        return found + [self._seals[key] for key in self.roster if key in self._seals]

    def proposal(self, digest: bytes) -> Proposal | None:
        """A proposal that is here, by its header's digest."""
        return self._proposals.get(digest)

    # -- what this member does -------------------------------------------------------------------------------------

    def _check(self, holds: bool, key: bytes) -> None:
        self.checks += 1
        if not holds:
            raise RemoteError("bad_signature", key.hex())

    def _accuse(self, evidence: Evidence) -> str:
        """Keep evidence, once for each kind, key and round; the second word goes on to others as the first did."""
        about = (evidence.kind, evidence.key, evidence.round)
        if about in self._evidence or len(self._evidence) >= EVIDENCE_MAX:
            return KNOWN
        self._evidence[about] = None
        self.outputs.append(Found(evidence))
        return NEW

    def _adopt(self, round_: int, step: int, digest: bytes, signatures: Signatures, now_ms: int) -> None:
        """Take the votes of a quorum that came as proof.

        Raises RemoteError: no_quorum, doubled_signer, not_on_roster, bad_signature.
        """
        signers = {key for key, _ in signatures}
        if len(signers) < QUORUM[len(self.roster)]:
            raise RemoteError("no_quorum", f"{len(signers)} of {len(self.roster)}")
        if len(signers) < len(signatures):
            raise RemoteError("doubled_signer", "of the votes of a quorum")
        votes: list[Vote] = []
        message = signed_digest("vote", self._network, encode([*self.place, round_, step, digest]))
        for key, signature in signatures:
            if key not in self.roster:
                raise RemoteError("not_on_roster", key.hex())
            vote = Vote(self.place, round_, step, digest, key, signature)
            if not self.agreement.has(vote):
                self._check(verify(key, signature, message), key)
                votes.append(vote)
        for vote in votes:
            before = self.agreement.vote(round_, step, vote.key)
            if before is not None:
                self._accuse(Evidence.of_votes(before, vote))
            self.agreement.take_vote(vote, now_ms, proven=True)

    def _count_seals(self) -> None:
        quorum = QUORUM[len(self.roster)]
        believed = [self._seals[key] for key in self.roster if key in self._seals and key not in self._liars]
        for digest in dict.fromkeys(seal.digest for seal in believed):
            ours = [seal for seal in believed if seal.digest == digest]
            if len(ours) >= quorum and self.sealed is None:
                signatures = tuple((seal.key, seal.signature) for seal in ours[:quorum])
                self.sealed = Sealed(ours[0].header, digest, signatures)
                self.outputs.append(self.sealed)

    def _write(self, kind: int, round_: int, value: Value) -> None:
        write = log.row(self.place, kind, round_, value)
        for row in log.superseded(self._log, kind, round_):
            del self._log[row]
            self.outputs.append((row, None))
        self._log[write[0]] = None
        self.outputs.append(write)

    def _send(self, message: Vote | Proposal | SealVote, now_ms: int) -> None:
        self.outputs.append(Send(message, again=False))
        if self.is_member and len(self.roster) > 1:
            self._repeat_ms = max(self._timing.pulse_ms, REPEAT_MS_MIN)
            self._repeat_due_ms = now_ms + self._repeat_ms

    def _drain(self, now_ms: int) -> None:
        """Carry out what the rules ask for."""
        agreement = self.agreement
        if self.started_ms is None and agreement.is_started:
            self.started_ms = now_ms
        while agreement.outputs:
            output = agreement.outputs.popleft()
            if isinstance(output, Cast):
                self._vote(output, now_ms)
            elif isinstance(output, Lock):
                self._lock(output)
            elif isinstance(output, Decided):
                self._seal(output, now_ms)
            elif isinstance(output, NeedProposal | NeedVerdict):
                self.outputs.append(output)
            else:
                proposal = self._proposals.get(output.digest)
                prevotes = agreement.quorum_of(output.valid_round, PREVOTE, output.digest)
                if proposal is not None and prevotes and log.row_key(log.PROPOSAL, output.round) not in self._log:
                    self._propose(output.round, output.valid_round, proposal.header, proposal.entries, prevotes, now_ms)

    def _propose(
        self, round_: int, valid_round: int, header: bytes, entries: Entries, prevotes: Signatures, now_ms: int
    ) -> Proposal:
        proposal = Proposal.make(self._network, self._key, self.place, round_, valid_round, header, entries, prevotes)
        self._write(log.PROPOSAL, round_, [proposal.digest, valid_round + 1])
        self._proposals.take(proposal)
        self._send(proposal, now_ms)
        self.agreement.take_proposal(round_, proposal.digest, valid_round, now_ms)
        self._drain(now_ms)
        return proposal

    def _vote(self, cast: Cast, now_ms: int) -> None:
        if self._own_seal is not None and cast.digest not in (NIL, self._own_seal.digest):
            return  # cannot come: what was sealed was decided
        vote = Vote.make(self._network, self._key, self.place, cast.round, cast.step, cast.digest)
        kind = log.PREVOTED if cast.step == PREVOTE else log.PRECOMMITTED
        if log.row_key(kind, cast.round) in self._log:
            return
        self._write(kind, cast.round, vote.value())
        self._send(vote, now_ms)
        self.agreement.take_vote(vote, now_ms)

    def _lock(self, lock: Lock) -> None:
        """Whoever precommits must be able to bring the proposal back, whatever happens to all the others."""
        proposal = self._proposals.judged(lock.digest)
        quorum = self.agreement.quorum_of(lock.round, PREVOTE, lock.digest)
        votes = [Vote(self.place, lock.round, PREVOTE, lock.digest, key, signature) for key, signature in quorum]
        self._write(log.LOCK, lock.round, log.lock_value(proposal, votes))
        if len(self.roster) > 1:
            self.outputs.append(KeepBody(proposal))

    def _seal(self, decided: Decided, now_ms: int) -> None:
        """Seal what a quorum has precommitted, once for this predecessor."""
        if not self.is_member or self._own_seal is not None:
            return
        proposal = self._proposals.judged(decided.digest)
        precommits = self.agreement.quorum_of(decided.round, PRECOMMIT, decided.digest)
        seal = SealVote.make(self._key, proposal.header, decided.round, precommits)
        self._write(log.SEAL, 0, seal.value())
        self._own_seal = seal
        self._send(seal, now_ms)
        self._seals[seal.key] = seal
        self._count_seals()
