"""One member's agreement, played against by a test."""

from __future__ import annotations

from leither_lite.pulse.agreement import Agreement, Cast, Output, Timing
from leither_lite.pulse.votes import NIL, PRECOMMIT, PREVOTE
from tests.pulse.members import digest_of, roster, vote

TIMING = Timing(1_000)
A, B = digest_of(1), digest_of(2)


class Member:
    """An agreement with what it has put out since the last look, and its own votes heard by itself."""

    def __init__(self, index: int, size: int = 4, *, votes: bool = True, suspect: bool = False) -> None:
        self.index = index
        self.agreement = Agreement(roster(size), roster(size)[index], TIMING, votes=votes, suspect=suspect)
        self.seen: list[Output] = []
        self.now_ms = 0

    def take(self) -> list[Output]:
        """What it wants, its own votes taken."""
        found: list[Output] = []
        while self.agreement.outputs:
            output = self.agreement.outputs.popleft()
            found.append(output)
            if isinstance(output, Cast):
                number = {NIL: 0, A: 1, B: 2}[output.digest]
                self.agreement.take_vote(vote(self.index, output.round, output.step, number), self.now_ms)
        self.seen += found
        return found

    def start(self) -> list[Output]:
        """Begin."""
        self.agreement.start(self.now_ms)
        return self.take()

    def propose(self, round_: int, digest: bytes, valid_round: int = -1) -> list[Output]:
        """A proposal comes."""
        self.agreement.take_proposal(round_, digest, valid_round, self.now_ms)
        return self.take()

    def judge(self, digest: bytes, *, valid: bool = True, timely: bool = True) -> list[Output]:
        """The node's verdict comes."""
        self.agreement.judged(digest, valid, timely, self.now_ms)
        return self.take()

    def hear(self, step: int, round_: int, number: int, *members: int) -> list[Output]:
        """Votes of others come."""
        for member in members:
            self.agreement.take_vote(vote(member, round_, step, number), self.now_ms)
        return self.take()

    def late(self) -> list[Output]:
        """The next timer runs out."""
        due_ms = self.agreement.deadline_ms
        if due_ms is None:
            raise ValueError("no timer runs")
        self.now_ms = due_ms
        self.agreement.timeout(self.now_ms)
        return self.take()

    def locked(self) -> Member:
        """Locked on A in round 0, and in round 1."""
        self.start()
        self.propose(0, A)
        self.judge(A)
        self.hear(PREVOTE, 0, 1, 0, 2)
        self.hear(PRECOMMIT, 0, 0, 0, 2)
        self.late()
        return self
