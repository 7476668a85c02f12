"""A member with two faces: it tells one half of its peers something else than the other, under its own signature.

Decides what such a member says to whom; what it stores and thinks is what an honest one would. Never forges another's
signature. All liars of a world tell the same half the same lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from leither_lite.header import Header, header_digest
from leither_lite.identity import Key
from leither_lite.node import frames
from leither_lite.pulse.votes import NIL, PRECOMMIT, PREVOTE, Proposal, SealVote, Vote

LIES: Final = ("proposal", "prevote", "precommit", "seal")
"""Of what there may be two; "all" is all of them."""


class Lies:
    """What the liars of a world have in common."""

    def __init__(self, network: bytes, kinds: Sequence[str], deceived: Sequence[bytes]) -> None:
        """`deceived`: the keys of those who hear the other face."""
        self._network = network
        self.kinds = tuple(LIES) if "all" in kinds else tuple(kinds)
        self._deceived = frozenset(deceived)
        self._others: dict[bytes, bytes] = {}  # digest -> that of the other header
        self._headers: dict[bytes, bytes] = {}
        self._digest_of_round: dict[tuple[bytes, int], bytes] = {}
        self.told = 0

    def doctored(self, key: Key, sends: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """What leaves a liar's machine instead of `sends`."""
        return [
            (peer, self._other_face(key, content) if peer in self._deceived else content) for peer, content in sends
        ]

    def _other_face(self, key: Key, content: bytes) -> bytes:
        kind = content[1]
        if kind not in (frames.VOTE, frames.PROPOSAL, frames.SEAL_VOTE):
            return content
        value = frames.one(content, "bad_frame")
        message: Vote | Proposal | SealVote | None = None
        if kind == frames.VOTE:
            vote = Vote.take(value)
            if vote.key == key.public:
                message = self._vote(key, vote)
        elif kind == frames.PROPOSAL:
            proposal = Proposal.take(value)
            self._other_header(proposal.header)
            self._digest_of_round[proposal.place.previous, proposal.round] = proposal.digest
            if proposal.key == key.public:
                message = self._proposal(key, proposal)
        else:
            seal = SealVote.take(value)
            if seal.key == key.public and "seal" in self.kinds:
                header = self._other_header(seal.header)
                message = SealVote.make(key, header, seal.round, seal.precommits)
        if message is None:
            return content
        self.told += 1
        return frames.message_frame(message)

    def _other_header(self, header: bytes) -> bytes:
        """As good a header as the one given: one tick later."""
        decoded = Header.decode(header)
        other = replace(decoded, tick=decoded.tick + 1).encode()
        digest = header_digest(other)
        self._others[header_digest(header)] = digest
        return self._headers.setdefault(digest, other)

    def _vote(self, key: Key, vote: Vote) -> Vote | None:
        kind = {PREVOTE: "prevote", PRECOMMIT: "precommit"}[vote.step]
        if kind not in self.kinds:
            return None
        if vote.digest == NIL:
            seen = self._digest_of_round.get((vote.place.previous, vote.round))
            if seen is None:
                return None
            digest = seen
        else:
            # With two proposals there is another one to vote for; else there is only none.
            digest = self._others.get(vote.digest, NIL) if "proposal" in self.kinds else NIL
        return Vote.make(self._network, key, vote.place, vote.round, vote.step, digest)

    def _proposal(self, key: Key, proposal: Proposal) -> Proposal | None:
        if "proposal" not in self.kinds or proposal.valid_round >= 0:
            return None
        header = self._other_header(proposal.header)
        return Proposal.make(self._network, key, proposal.place, proposal.round, -1, header, proposal.entries, ())
