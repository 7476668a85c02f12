"""One agreement of a roster of four, and what its chief and one of its backups do for it (docs/protocol.md, section 4).

The engines are the node's own; every message reaches everybody, in order and at once. Decides nothing: what is agreed
on is handed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from leither_lite import codec
from leither_lite.errors import Halt
from leither_lite.header import Signatures
from leither_lite.identity import Key
from leither_lite.ledger.sealed import BodyEntries
from leither_lite.node import frames
from leither_lite.pulse.agreement import NeedProposal, NeedVerdict, Timing
from leither_lite.pulse.engine import NEW, Engine, KeepBody, Sealed, Send
from leither_lite.pulse.votes import Place, Proposal, SealVote, Vote
from leither_lite.sim.tally import Tally, Work
from leither_lite.store import keys

CHIEF: Final = 0
BACKUP: Final = 1
PULSE_MS: Final = 1_000


class Closed:
    """A closed body as its proposer has it: where it stands, its header, list and segments."""

    def __init__(self, place: Place, header: bytes, entries: BodyEntries, segments: Sequence[bytes]) -> None:
        self.place, self.header, self.entries, self.segments = place, header, entries, segments


class Table:
    """A committee at its agreement. `works`: of the chief and of a backup. `audience`: how many others each member
    tells what it says and hears."""

    def __init__(
        self, network: bytes, roster: Sequence[Key], body: Closed, tally: Tally, works: Sequence[Work], audience: int
    ) -> None:
        self._body = body
        self._tally = tally
        self._works = works
        self._audience = audience
        self._queue: deque[tuple[int, int, bytes]] = deque()
        self._heard: list[dict[bytes, None]] = [{} for _ in roster]
        self._sealed: dict[int, Signatures] = {}
        self._idle = Work()
        self._engines = [Engine(network, key, Timing(PULSE_MS)) for key in roster]
        for engine in self._engines:
            engine.open(body.place, tuple(key.public for key in roster), 0)

    def agree(self, judge: Callable[[], None]) -> Signatures:
        """The seal of the header; `judge` executes the body as the backup does, and raises where it does not hold."""
        for who, engine in enumerate(self._engines):
            with self._of(who).doing(self._tally, "votes"):
                engine.start(0)
            self._settle(who, judge)
        while self._queue:
            who, source, content = self._queue.popleft()
            if content not in self._heard[who] and who not in self._sealed:
                self._hear(who, source, content)
                self._settle(who, judge)
        if BACKUP not in self._sealed:
            raise Halt("not_sealed", "the committee of the paper's path does not agree")
        return self._sealed[BACKUP]

    def _of(self, who: int) -> Work:
        return self._works[who] if who < len(self._works) else self._idle

    def _say(self, who: int, content: bytes, source: int | None = None) -> None:
        self._heard[who][content] = None
        self._of(who).sent += len(content) * (self._audience - (source is not None))
        others = [other for other in range(len(self._engines)) if other not in (who, source)]
        self._queue.extend((other, who, content) for other in others)

    def _hear(self, who: int, source: int, content: bytes) -> None:
        self._heard[who][content] = None
        self._of(who).received += len(content)
        engine, kind = self._engines[who], frames.kind_of(content)
        with self._of(who).doing(self._tally, "votes"):
            value = codec.items(codec.decode(content), 3, "bad_frame")[1]
            if kind == frames.VOTE:
                heard = engine.take_vote(Vote.take(value), 0)
            elif kind == frames.PROPOSAL:
                heard = engine.take_proposal(Proposal.take(value), 0)
            elif kind == frames.SEAL_VOTE:
                heard = engine.take_seal(SealVote.take(value), 0)
            else:
                return
        if heard is NEW:
            self._say(who, content, source)

    def _settle(self, who: int, judge: Callable[[], None]) -> None:
        """Carry out what an engine asks for."""
        engine, work, body = self._engines[who], self._of(who), self._body
        while engine.outputs:
            output = engine.outputs.popleft()
            if isinstance(output, Send):
                self._say(who, frames.message_frame(output.message))
                if isinstance(output.message, Proposal):
                    others = len(self._engines) - 1
                    work.sent += others * sum(len(frames.segment_frame(each)) for each in body.segments)
            elif isinstance(output, NeedProposal):
                if who == CHIEF:
                    with work.doing(self._tally, "votes"):
                        engine.propose(output.round, body.header, body.entries, 0)
            elif isinstance(output, NeedVerdict):
                if who == BACKUP:
                    work.received += sum(len(frames.segment_frame(each)) for each in body.segments)
                    judge()
                with work.doing(self._tally, "votes"):
                    engine.judged(output.digest, True, True, 0)
            elif isinstance(output, Sealed):
                self._sealed[who] = output.signatures
                self._say(who, frames.sealed_frame(output.header, output.signatures))
            elif isinstance(output, KeepBody):
                rows = [(keys.body(index), segment) for index, segment in enumerate(body.segments)]
                work.stored += sum(len(key) + len(segment) for key, segment in rows)
            elif len(output) == 2 and isinstance(output[0], bytes):
                work.stored += len(output[0]) + (len(output[1]) if isinstance(output[1], bytes) else 0)
