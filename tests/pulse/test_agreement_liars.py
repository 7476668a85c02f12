"""With as many liars as a committee tolerates, saying anything in any order, no two honest members decide differently.

And once everything is delivered, and the liars have nothing new to say, they all decide.
"""

from __future__ import annotations

from random import Random

import pytest

from leither_lite.limits import QUORUM
from leither_lite.pulse.agreement import (
    LIARS,
    Agreement,
    Cast,
    Decided,
    NeedProposal,
    NeedVerdict,
    Repropose,
    Timing,
)
from leither_lite.pulse.votes import NIL, PRECOMMIT, PREVOTE, Vote
from tests.pulse.members import PLACE, roster

Message = tuple[str, int, int, bytes, int, bytes]  # what it is, round, step, digest, valid round, key


class Assembly:
    """Honest members and the messages under way to each of them."""

    def __init__(self, size: int, seed: int) -> None:
        self.rng = Random(seed)
        self.keys = roster(size)
        order = self.rng.sample(range(size), size)
        self.liars = [self.keys[index] for index in order[: LIARS[size]]]
        self.honest = {
            key: Agreement(self.keys, key, Timing(1_000), votes=True, suspect=False)
            for key in self.keys
            if key not in self.liars
        }
        self.under_way: dict[bytes, list[Message]] = {key: [] for key in self.honest}
        self.decided: dict[bytes, bytes] = {}
        self.sent: dict[tuple[int, int, bytes], bytes] = {}
        self.locks: dict[bytes, int] = dict.fromkeys(self.honest, -1)
        self.digests = [bytes([number]) * 32 for number in range(1, 4)]
        self.is_calm = False
        self.now_ms = 0

    def fresh(self) -> bytes:
        """Something that nobody has proposed."""
        self.digests.append(len(self.digests).to_bytes(32, "big"))
        return self.digests[-1]

    def tell(self, message: Message) -> None:
        """An honest member says the same to all, itself first."""
        for key, waiting in self.under_way.items():
            if key == message[5]:
                self.hear(key, message)
            else:
                waiting.append(message)

    def prove(self, key: bytes, round_: int, step: int, digest: bytes) -> None:
        """What a member proposes again, or seals, goes with the quorum that allowed it."""
        quorum = self.honest[key].quorum_of(round_, step, digest)
        assert len(quorum) == QUORUM[len(self.keys)]
        for member, _ in quorum:
            for to, waiting in self.under_way.items():
                if to not in (key, member):
                    waiting.append(("proof", round_, step, digest, -1, member))

    def lie(self) -> None:
        """A liar says anything, to one of them."""
        rng, key = self.rng, self.rng.choice(self.liars)
        round_ = rng.randrange(5)
        digest = rng.choice((*self.digests, NIL))
        message: Message = ("vote", round_, rng.choice((PREVOTE, PRECOMMIT)), digest, -1, key)
        to = rng.choice(list(self.honest))
        if rng.random() < 0.4 and digest and self.honest[to].proposer(round_) == key:
            message = ("proposal", round_, 0, digest, rng.randrange(-1, round_) if round_ else -1, key)
        self.under_way[to].append(message)

    def hear(self, key: bytes, message: Message) -> None:
        """A message arrives."""
        agreement = self.honest[key]
        kind, round_, step, digest, valid_round, source = message
        if kind == "proposal":
            agreement.take_proposal(round_, digest, valid_round, self.now_ms)
        elif kind == "proof":
            agreement.take_vote(Vote(PLACE, round_, step, digest, source, b""), self.now_ms, proven=True)
        elif agreement.vote(round_, step, source) is None:
            agreement.take_vote(Vote(PLACE, round_, step, digest, source, b""), self.now_ms)
        self.settle(key)

    def settle(self, key: bytes) -> None:
        """Carry out what a member wants."""
        agreement = self.honest[key]
        while agreement.outputs:
            output = agreement.outputs.popleft()
            if isinstance(output, NeedVerdict):
                agreement.judged(output.digest, True, self.is_calm or self.rng.random() < 0.8, self.now_ms)
            elif isinstance(output, Cast):
                about = (output.round, output.step, key)
                assert about not in self.sent, "an honest member votes once"
                self.sent[about] = output.digest
                self.tell(("vote", output.round, output.step, output.digest, -1, key))
            elif isinstance(output, NeedProposal):
                self.tell(("proposal", output.round, 0, self.fresh(), -1, key))
            elif isinstance(output, Repropose):
                self.prove(key, output.valid_round, PREVOTE, output.digest)
                self.tell(("proposal", output.round, 0, output.digest, output.valid_round, key))
            elif isinstance(output, Decided):
                assert output.digest != NIL
                self.decided[key] = output.digest
                self.prove(key, output.round, PRECOMMIT, output.digest)
            else:
                assert output.round > self.locks[key], "locks rise"
                self.locks[key] = output.round

    def wild(self, steps: int) -> None:
        """Anything happens: messages arrive in any order, or late; timers run out; liars lie."""
        for _ in range(steps):
            chance = self.rng.random()
            key = self.rng.choice(list(self.honest))
            if chance < 0.15 and self.liars:
                self.lie()
            elif chance < 0.25:
                self.now_ms += self.rng.choice((100, 1_000, 5_000))
                self.honest[key].timeout(self.now_ms)
                self.settle(key)
            elif self.under_way[key]:
                waiting = self.under_way[key]
                self.hear(key, waiting.pop(self.rng.randrange(len(waiting))))

    def calm(self) -> None:
        """Everything arrives, and only then does time pass."""
        self.is_calm = True
        for _ in range(150):
            while any(self.under_way.values()):
                for key, waiting in self.under_way.items():
                    while waiting:
                        self.hear(key, waiting.pop(0))
            if len(self.decided) == len(self.honest):
                return
            dues = [each.deadline_ms for each in self.honest.values() if each.deadline_ms is not None]
            assert dues, "somebody waits for time, or nobody will ever go on"
            self.now_ms = max(self.now_ms, min(dues))
            for key, agreement in self.honest.items():
                agreement.timeout(self.now_ms)
                self.settle(key)


@pytest.mark.parametrize("size", [1, 3, 4, 7])
@pytest.mark.parametrize("seed", range(20))
def test_honest_members_never_differ_and_at_last_decide(size: int, seed: int) -> None:
    print(f"seed {seed}")
    assembly = Assembly(size, seed)
    for key, agreement in assembly.honest.items():
        agreement.start(0)
        assembly.settle(key)
    assembly.wild(60 * size)
    assert len(set(assembly.decided.values())) <= 1
    assembly.calm()
    assert len(assembly.decided) == len(assembly.honest), "undecided at last"
    assert len(set(assembly.decided.values())) == 1
