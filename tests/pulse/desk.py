"""A member's engine with its log on a disk: what a test tells it, and what it has put out and kept."""

from __future__ import annotations

from leither_lite.effects import Write
from leither_lite.pulse import log
from leither_lite.pulse.agreement import NeedProposal, NeedVerdict, Timing
from leither_lite.pulse.engine import Engine, Found, KeepBody, Output, Sealed, Send
from leither_lite.pulse.votes import Evidence, Place, Proposal, SealVote, Vote
from tests.pulse.members import KEYS, NETWORK, PLACE, entries_of, header_of, roster


def word(message: Vote | Proposal | SealVote) -> tuple[str, int, int, bytes]:
    """Of what a member may sign only one: the kind, round and step; and what it says."""
    if isinstance(message, Vote):
        return "vote", message.round, message.step, message.digest
    if isinstance(message, Proposal):
        return "proposal", message.round, 0, message.digest
    return "seal", 0, 0, message.digest


class Desk:
    """Performs what the engine asks for; judges every proposal as told, and proposes `number` when asked."""

    def __init__(self, index: int, size: int = 4, *, number: int = 1, silent: bool = False) -> None:
        self.index = index
        self.size = size
        self.number = number
        self.silent = silent
        self.verdict = (True, True)
        self.rows: dict[bytes, bytes] = {}
        self.now_ms = 0
        self.sent: list[Vote | Proposal | SealVote] = []
        self.signed: dict[tuple[str, int, int], bytes] = {}
        self.evidence: list[Evidence] = []
        self.sealed: list[Sealed] = []
        self.bodies: list[bytes] = []
        self.outputs: list[Output] = []
        self.restart()

    def restart(self, place: Place = PLACE) -> None:
        """A new engine from the log."""
        self.engine = Engine(NETWORK, KEYS[self.index], Timing(1_000))
        self.engine.open(place, roster(self.size), self.now_ms, silent=self.silent, rows=list(self.rows.items()))
        self.settle()

    def settle(self) -> list[Output]:
        """Perform what is asked for, in order; nothing is said that is not written down."""
        found: list[Output] = []
        outputs = self.engine.outputs
        while outputs:
            output = outputs.popleft()
            found.append(output)
            if isinstance(output, Send):
                self._say(output)
            elif isinstance(output, NeedVerdict):
                if self.engine.proposal(output.digest) is not None:
                    self.engine.judged(output.digest, *self.verdict, self.now_ms)
            elif isinstance(output, NeedProposal):
                self.engine.propose(output.round, header_of(self.number), entries_of(self.number), self.now_ms)
            elif isinstance(output, Found):
                self.evidence.append(output.evidence)
            elif isinstance(output, Sealed):
                self.sealed.append(output)
            elif isinstance(output, KeepBody):
                self.bodies.append(output.proposal.digest)
            else:
                self._write(output)
        self.outputs += found
        return found

    def _write(self, write: Write) -> None:
        key, value = write
        if value is None:
            self.rows.pop(key, None)
        else:
            self.rows[key] = value

    def _say(self, send: Send) -> None:
        message = send.message
        self.sent.append(message)
        if message.key != KEYS[self.index].public:
            return
        kind, round_, step, digest = word(message)
        assert self.signed.setdefault((kind, round_, step), digest) == digest, "signed twice"
        if not send.again:
            kinds = {"proposal": log.PROPOSAL, "seal": log.SEAL, "vote": step}
            assert log.row_key(kinds[kind], round_) in self.rows, "said before it was written down"

    def take(self, *messages: Vote | Proposal | SealVote) -> list[str]:
        """Messages come; what becomes of each."""
        heard = []
        for message in messages:
            if isinstance(message, Vote):
                heard.append(self.engine.take_vote(message, self.now_ms))
            elif isinstance(message, Proposal):
                heard.append(self.engine.take_proposal(message, self.now_ms))
            else:
                heard.append(self.engine.take_seal(message, self.now_ms))
            self.settle()
        return heard

    def start(self) -> None:
        """Something waits for a seal."""
        self.engine.start(self.now_ms)
        self.settle()

    def late(self) -> list[Output]:
        """The next deadline comes."""
        due_ms = self.engine.deadline_ms
        if due_ms is None:
            raise ValueError("nothing is due")
        self.now_ms = max(due_ms, self.now_ms)
        self.engine.timeout(self.now_ms)
        return self.settle()

    def own(self) -> list[tuple[str, int, int, bytes]]:
        """What it has said itself, in order, repeats left out."""
        key = KEYS[self.index].public
        return list(dict.fromkeys(word(message) for message in self.sent if message.key == key))
