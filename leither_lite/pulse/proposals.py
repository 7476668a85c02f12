"""The proposals of one instance that are here, by digest and by round, bounded however many a liar signs.

Decides which are let go of when there are too many: those farthest from the present round. Never judges one.
"""

from __future__ import annotations

from typing import Final

from leither_lite.errors import Halt
from leither_lite.pulse.agreement import Agreement
from leither_lite.pulse.votes import Proposal

PROPOSALS_MAX: Final = 8
ROUNDS_MAX: Final = 16


class Proposals:
    """What was proposed."""

    def __init__(self, agreement: Agreement) -> None:
        self._agreement = agreement
        self._by_digest: dict[bytes, Proposal] = {}
        self._by_round: dict[int, Proposal] = {}

    def get(self, digest: bytes) -> Proposal | None:
        """By its header's digest."""
        return self._by_digest.get(digest)

    def judged(self, digest: bytes) -> Proposal:
        """One that the rules have a verdict on: it is here. Raises Halt("no_proposal")."""
        proposal = self._by_digest.get(digest)
        if proposal is None:
            raise Halt("no_proposal", "what was judged valid is not here any more")
        return proposal

    def of_round(self, round_: int) -> Proposal | None:
        """The one of a round's proposer."""
        return self._by_round.get(round_)

    def rounds_of(self, digest: bytes) -> list[int]:
        """The rounds in which a header was proposed."""
        return [round_ for round_, kept in self._by_round.items() if kept.digest == digest]

    def keep(self, proposal: Proposal) -> None:
        """Keep a proposal, whatever round it is of."""
        agreement = self._agreement
        self._by_digest[proposal.digest] = proposal
        present = self._by_round.get(agreement.round)
        needed = {agreement.locked, agreement.valid, proposal.digest}
        if present is not None:
            needed.add(present.digest)
        if agreement.decided is not None:
            needed.add(agreement.decided[1])
        while len(self._by_digest) > PROPOSALS_MAX:
            spare = [kept for digest, kept in self._by_digest.items() if digest not in needed]
            dropped = max(spare, key=self._distance).digest
            del self._by_digest[dropped]
            agreement.forget(dropped)

    def take(self, proposal: Proposal) -> None:
        """Keep a proposal as that of its round."""
        self._by_round[proposal.round] = proposal
        while len(self._by_round) > ROUNDS_MAX:
            spare = [kept for round_, kept in self._by_round.items() if round_ != proposal.round]
            del self._by_round[max(spare, key=self._distance).round]
        self.keep(proposal)

    def _distance(self, proposal: Proposal) -> int:
        return abs(proposal.round - self._agreement.round)
