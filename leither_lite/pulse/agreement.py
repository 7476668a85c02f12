"""The rules by which a committee agrees on the one successor of a header (docs/protocol.md, section 4).

Tendermint's algorithm 1 ("The latest gossip on BFT consensus", arXiv:1807.04938); its line numbers stand beside the
rules. A pure machine: checked messages and the time come in, what to do comes out of `outputs`. Decides what to vote
for and when a digest is decided. Never signs, never checks a signature, never knows what a digest stands for.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from leither_lite.header import Signatures
from leither_lite.limits import QUORUM
from leither_lite.pulse.votes import NIL, PRECOMMIT, PREVOTE, ROUND_MAX, Vote

PROPOSE: Final = 0
ROUNDS_KEPT_MAX: Final = 32
ROUNDS_AHEAD_MAX: Final = 16
LIARS: Final = {1: 0, 3: 0, 4: 1, 7: 2}
"""How many members of a roster may lie without harm: one more than these have an honest one among them."""

TIMEOUT_MS_MAX: Final = 10_000
_STEP_MS_MIN: Final = 250
_VOTE_MS_MIN: Final = 150


class Timing(NamedTuple):
    """How long a member waits, in milliseconds, for what: this node's own, no rule of the ledger."""

    pulse_ms: int

    def propose_ms(self, round_: int, suspect: bool) -> int:
        """For a proposal. In round 0 the chief waits for the end of its pulse cycle; not one that was late before."""
        step_ms = max(self.pulse_ms // 2, _STEP_MS_MIN)
        if not round_:
            return step_ms if suspect else self.pulse_ms + step_ms
        return min(step_ms * (2 + round_) // 2, TIMEOUT_MS_MAX)

    def vote_ms(self, round_: int) -> int:
        """For the votes of the others, after those of a quorum."""
        return min(max(self.pulse_ms // 4, _VOTE_MS_MIN) * (2 + round_) // 2, TIMEOUT_MS_MAX)


class NeedProposal(NamedTuple):
    """Propose something new in this round, now or before it ends."""

    round: int


class NeedVerdict(NamedTuple):
    """Say by `judged` what is to be thought of the header with this digest."""

    digest: bytes


class Repropose(NamedTuple):
    """Propose again, in `round`, what had a quorum of prevotes in `valid_round`."""

    round: int
    valid_round: int
    digest: bytes


class Lock(NamedTuple):
    """Keep the proposal with this digest: the precommit that follows must be able to count on it."""

    round: int
    digest: bytes


class Cast(NamedTuple):
    """Vote."""

    round: int
    step: int
    digest: bytes


class Decided(NamedTuple):
    """A quorum has precommitted a valid header in this round: seal it."""

    round: int
    digest: bytes


Output = NeedProposal | NeedVerdict | Repropose | Lock | Cast | Decided


@dataclass(slots=True)
class _Round:
    proposal: tuple[bytes, int] | None = None  # digest and valid round
    prevotes: dict[bytes, Vote] = field(default_factory=dict)
    precommits: dict[bytes, Vote] = field(default_factory=dict)
    others: list[Vote] = field(default_factory=list)  # second words of liars: each counts for its own digest
    is_waiting_prevotes: bool = False
    is_waiting_precommits: bool = False
    is_polka_seen: bool = False

    def votes(self, step: int) -> dict[bytes, Vote]:
        return self.prevotes if step == PREVOTE else self.precommits

    def words(self, step: int) -> list[Vote]:
        return [*self.votes(step).values(), *(vote for vote in self.others if vote.step == step)]


class Agreement:
    """One instance: the successor of one header, for a member of the roster or, with `votes` off, for a watcher."""

    def __init__(self, roster: tuple[bytes, ...], own: bytes, timing: Timing, *, votes: bool, suspect: bool) -> None:
        """`roster`: public keys, chief first; `own`: this node's. `suspect`: the chief missed the last instance."""
        self.roster = roster
        self.quorum = QUORUM[len(roster)]
        self.outputs: deque[Output] = deque()
        self.is_started = False
        self.round = 0
        self.step = PROPOSE
        self.locked_round = -1
        self.locked = NIL
        self.valid_round = -1
        self.valid = NIL
        self.decided: tuple[int, bytes] | None = None
        self._own = own
        self._votes = votes
        self._suspect = suspect
        self._timing = timing
        self._rounds: dict[int, _Round] = {}
        self._highest: dict[bytes, int] = {}
        self._verdicts: dict[bytes, tuple[bool, bool]] = {}
        self._asked: dict[bytes, None] = {}
        self._timers: dict[int, tuple[int, int]] = {}  # by step: when, and of which round

    # -- what comes in ---------------------------------------------------------------------------------------------

    def proposer(self, round_: int) -> bytes:
        """The key that may propose in a round: the chief first, the backups in turn."""
        return self.roster[round_ % len(self.roster)]

    def start(self, now_ms: int) -> None:
        """Begin, unless begun: something waits for a seal, or somebody has begun."""
        if not self.is_started:
            self.is_started = True
            self._start_round(0, now_ms)
            self._advance(now_ms)

    def resume(self, round_: int, step: int, lock: tuple[int, bytes] | None, now_ms: int) -> None:
        """Begin where this member was before it stopped, by what it had signed: `step` was voted in `round_`."""
        self.is_started = True
        if lock is not None:
            self.locked_round, self.locked = lock
            self.valid_round, self.valid = lock
        self.round, self.step = round_, step
        if step == PROPOSE:
            self._set_timer(PROPOSE, self._timing.propose_ms(round_, False), now_ms)

    def take_proposal(self, round_: int, digest: bytes, valid_round: int, now_ms: int) -> None:
        """A proposal of the round's proposer, its signatures checked."""
        kept = self._round(round_)
        if kept is not None:
            kept.proposal = kept.proposal or (digest, valid_round)  # of two, others may vote for the second
            if digest not in self._verdicts:
                self._asked.pop(digest, None)  # votes may have come before it: then nobody could answer
            self._heard(self.proposer(round_), round_)
            self.start(now_ms)
            self._advance(now_ms)

    def take_vote(self, vote: Vote, now_ms: int, *, proven: bool = False) -> None:
        """A vote of a member of the roster, its signature checked, that is not yet here. `proven`: it is one of a
        quorum that came as proof, and kept however far off its round is. Of two of one key both count, each for its
        digest: others may have heard the other one first."""
        self._heard(vote.key, vote.round)
        kept = self._round(vote.round, proven=proven)
        if kept is not None:
            first = kept.votes(vote.step).setdefault(vote.key, vote)
            told = [each for each in kept.others if (each.step, each.key) == (vote.step, vote.key)]
            if first.digest != vote.digest and vote.key != self._own and (proven or not told):
                kept.others.append(vote)
        self.start(now_ms)
        self._advance(now_ms)

    def judged(self, digest: bytes, valid: bool, timely: bool, now_ms: int) -> None:
        """What the node thinks of a header: whether it follows from its body, and whether it is to be voted for if
        nobody has before."""
        self._verdicts[digest] = (valid, timely)
        self._advance(now_ms)

    def forget(self, digest: bytes) -> None:
        """The proposal is not here any more: nothing is voted for or decided that cannot be shown again."""
        self._verdicts.pop(digest, None)
        self._asked.pop(digest, None)

    def timeout(self, now_ms: int) -> None:
        """Time has passed: L57 to L67."""
        for step, (due_ms, round_) in sorted(self._timers.items()):
            if due_ms > now_ms or self._timers.get(step) != (due_ms, round_):
                continue
            del self._timers[step]
            if round_ != self.round or self.decided is not None:
                continue
            if step == PROPOSE and self.step == PROPOSE:
                self._cast(PREVOTE, NIL)
            elif step == PREVOTE and self.step == PREVOTE:
                self._cast(PRECOMMIT, NIL)
            elif step == PRECOMMIT and round_ < ROUND_MAX:
                self._start_round(round_ + 1, now_ms)
        self._advance(now_ms)

    @property
    def deadline_ms(self) -> int | None:
        """When `timeout` wants to be called next."""
        return min((due_ms for due_ms, _ in self._timers.values()), default=None)

    # -- what is known ---------------------------------------------------------------------------------------------

    def vote(self, round_: int, step: int, key: bytes) -> Vote | None:
        """The first vote of a key that is here."""
        kept = self._rounds.get(round_)
        return None if kept is None else kept.votes(step).get(key)

    def has(self, vote: Vote) -> bool:
        """True if this very vote is here."""
        kept = self._rounds.get(vote.round)
        words = [] if kept is None else kept.words(vote.step)
        return any(word.key == vote.key and word.digest == vote.digest for word in words)

    def votes_of(self, round_: int) -> list[Vote]:
        """All votes of a round that are here, in the order of the roster, prevotes first."""
        kept = self._rounds.get(round_)
        if kept is None:
            return []
        votes = (kept.prevotes, kept.precommits)
        return [each[key] for each in votes for key in self.roster if key in each] + kept.others

    def quorum_of(self, round_: int, step: int, digest: bytes) -> Signatures:
        """The signatures of a quorum of votes for a digest; empty where there is none."""
        kept = self._rounds.get(round_)
        words = [] if kept is None else kept.words(step)
        votes = {vote.key: vote for vote in words if vote.digest == digest}
        found = [(key, votes[key].signature) for key in self.roster if key in votes]
        return tuple(found[: self.quorum]) if len(found) >= self.quorum else ()

    # -- the rules -------------------------------------------------------------------------------------------------

    def is_near(self, round_: int) -> bool:
        """True for a round of which is kept what is said."""
        return round_ in self._rounds or -ROUNDS_KEPT_MAX < round_ - self.round <= ROUNDS_AHEAD_MAX

    def _round(self, round_: int, *, proven: bool = False) -> _Round | None:
        """What is kept of a round; None for one too far off to be kept."""
        if not proven and not self.is_near(round_):
            return None
        if round_ not in self._rounds:
            while len(self._rounds) >= ROUNDS_KEPT_MAX + ROUNDS_AHEAD_MAX:
                needed = (self.round, self.locked_round, self.valid_round)
                del self._rounds[min(number for number in self._rounds if number not in needed)]
            self._rounds[round_] = _Round()
        return self._rounds[round_]

    def _heard(self, key: bytes, round_: int) -> None:
        if round_ > self._highest.get(key, -1):
            self._highest[key] = round_

    def _set_timer(self, step: int, after_ms: int, now_ms: int) -> None:
        if self._votes:
            self._timers[step] = (now_ms + after_ms, self.round)

    def _start_round(self, round_: int, now_ms: int) -> None:
        """L11: the proposer proposes what is valid, or something new; the others wait for it."""
        self.round, self.step = round_, PROPOSE
        self._timers.clear()
        self._set_timer(PROPOSE, self._timing.propose_ms(round_, self._suspect), now_ms)
        if self._votes and self.proposer(round_) == self._own:
            if self.valid_round >= 0:
                self.outputs.append(Repropose(round_, self.valid_round, self.valid))
            else:
                self.outputs.append(NeedProposal(round_))

    def _cast(self, step: int, digest: bytes) -> None:
        self.step = step
        if self._votes:
            self.outputs.append(Cast(self.round, step, digest))

    def _verdict(self, digest: bytes) -> tuple[bool, bool] | None:
        """The node's verdict, which is asked for where it is missing."""
        if digest not in self._verdicts and digest not in self._asked:
            self._asked[digest] = None
            self.outputs.append(NeedVerdict(digest))
        return self._verdicts.get(digest)

    def _counts(self, kept: _Round, step: int) -> dict[bytes, int]:
        counts: dict[bytes, int] = {}
        for vote in kept.words(step):
            counts[vote.digest] = counts.get(vote.digest, 0) + 1
        return counts

    def _advance(self, now_ms: int) -> None:
        """Apply the rules until none of them does anything."""
        while self.is_started and self.decided is None and self._step_once(now_ms):
            pass

    def _step_once(self, now_ms: int) -> bool:
        """One rule; False if none applies."""
        for number, kept in sorted(self._rounds.items()):  # L49, of any round
            for digest, count in self._counts(kept, PRECOMMIT).items():
                if digest and count >= self.quorum:
                    verdict = self._verdict(digest)
                    if verdict is not None and verdict[0]:
                        self.decided = (number, digest)
                        self._timers.clear()
                        self.outputs.append(Decided(number, digest))
                        return False
        # L55: where more are ahead than can lie, so is an honest one.
        ahead = sorted(self._highest.values(), reverse=True)
        liars = LIARS[len(self.roster)]
        if len(ahead) > liars and ahead[liars] > self.round:
            self._start_round(ahead[liars], now_ms)
            return True
        kept = self._round(self.round) or _Round()
        return (
            self._take_up_proposal(kept)
            or self._take_up_prevotes(kept, now_ms)
            or self._take_up_precommits(kept, now_ms)
        )

    def _take_up_proposal(self, kept: _Round) -> bool:
        """L22 and L28."""
        if self.step != PROPOSE or kept.proposal is None:
            return False
        digest, valid_round = kept.proposal
        verdict = self._verdict(digest)
        if verdict is None:
            return False
        valid, timely = verdict
        if valid_round < 0:
            good = valid and timely and (self.locked_round < 0 or self.locked == digest)
        elif self.quorum_of(valid_round, PREVOTE, digest):
            good = valid and (self.locked_round <= valid_round or self.locked == digest)
        else:
            return False
        self._cast(PREVOTE, digest if good else NIL)
        return True

    def _take_up_prevotes(self, kept: _Round, now_ms: int) -> bool:
        """L34, L36 and L44."""
        if self.step == PROPOSE:
            return False
        counts = self._counts(kept, PREVOTE)
        for digest, count in counts.items():
            if digest and count >= self.quorum and not kept.is_polka_seen:
                verdict = self._verdict(digest)
                if verdict is None or not verdict[0]:
                    continue
                kept.is_polka_seen = True
                self.valid_round, self.valid = self.round, digest
                if self.step == PREVOTE:
                    self.locked_round, self.locked = self.round, digest
                    if self._votes:
                        self.outputs.append(Lock(self.round, digest))
                    self._cast(PRECOMMIT, digest)
                return True
        if self.step == PREVOTE and counts.get(NIL, 0) >= self.quorum:
            self._cast(PRECOMMIT, NIL)
            return True
        if self.step == PREVOTE and len(kept.prevotes) >= self.quorum and not kept.is_waiting_prevotes:
            kept.is_waiting_prevotes = True
            self._set_timer(PREVOTE, self._timing.vote_ms(self.round), now_ms)
        return False

    def _take_up_precommits(self, kept: _Round, now_ms: int) -> bool:
        """L47; where a quorum wants nothing of this round, there is nothing to wait for."""
        if self._counts(kept, PRECOMMIT).get(NIL, 0) >= self.quorum and self.round < ROUND_MAX:
            self._start_round(self.round + 1, now_ms)
            return True
        if len(kept.precommits) >= self.quorum and not kept.is_waiting_precommits:
            kept.is_waiting_precommits = True
            self._set_timer(PRECOMMIT, self._timing.vote_ms(self.round), now_ms)
        return False
