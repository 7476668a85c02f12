"""What members of the committee have ever signed, over all machines and restarts, held against the rules of agreement.

No sent signature forgotten: one word for each thing; no precommit without a quorum of prevotes of its round; no prevote
against an own lock; no seal without a quorum of precommits of one round; never two digests decided, or two quorums of
seals, for one predecessor. Looks at frames as they leave machines, so it sees what no single machine has seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from leither_lite.limits import QUORUM
from leither_lite.node import frames
from leither_lite.pulse.votes import NIL, PRECOMMIT, PREVOTE, STEP_NAMES, Place, Proposal, SealVote, Vote

_SPOKEN = (frames.VOTE, frames.PROPOSAL, frames.SEAL_VOTE)
Keys = dict[bytes, None]


class Spoken:
    """All words that were sent."""

    def __init__(
        self,
        network: bytes,
        liars: Sequence[bytes],
        roster: Callable[[bytes], tuple[bytes, ...]],
        violate: Callable[[str, str], None],
    ) -> None:
        """`liars`: keys of machines that lie on purpose. `roster`: who may seal the successor of a digest, empty where
        it is no header of the chain."""
        self._network = network
        self._liars = frozenset(liars)
        self._roster = roster
        self._violate = violate
        self._heard: Keys = {}
        self._said: dict[tuple[bytes, Place, int, str], bytes] = {}
        self._votes: dict[tuple[Place, int, int, bytes], Keys] = {}
        self._polkas: dict[tuple[Place, bytes], list[int]] = {}
        self._locks: dict[tuple[bytes, Place], dict[int, bytes]] = {}
        self._decided: dict[Place, bytes] = {}
        self._seals: dict[tuple[Place, bytes], Keys] = {}
        self._sealed: dict[Place, bytes] = {}

    def hear(self, content: bytes) -> None:
        """A frame has left a machine: what is signed in it was said for good."""
        if content[1] not in _SPOKEN:
            return
        digest = hashlib.blake2b(content, digest_size=16).digest()
        if digest in self._heard:
            return
        self._heard[digest] = None
        kind, value = content[1], frames.one(content, "bad_frame")
        if kind == frames.VOTE:
            self._vote(Vote.take(value))
        elif kind == frames.PROPOSAL:
            proposal = Proposal.take(value)
            self._say(proposal.key, proposal.place, proposal.round, "proposal", proposal.content())
        else:
            self._seal(SealVote.take(value))

    def _say(self, key: bytes, place: Place, round_: int, kind: str, what: bytes) -> None:
        before = self._said.setdefault((key, place, round_, kind), what)
        if before != what and key not in self._liars:
            self._violate("forgotten", f"{_name(key)} has signed two {kind}s in round {round_} of one instance")

    def _quorum(self, place: Place) -> int:
        roster = self._roster(place.previous)
        return QUORUM[len(roster)] if roster else max(QUORUM) + 1

    def _vote(self, vote: Vote) -> None:
        key, place, round_, digest = vote.key, vote.place, vote.round, vote.digest
        self._say(key, place, round_, STEP_NAMES[vote.step], digest)
        if digest == NIL or key not in self._roster(place.previous):
            return
        voters = self._votes.setdefault((place, round_, vote.step, digest), {})
        voters[key] = None
        if vote.step == PREVOTE:
            if len(voters) == self._quorum(place):
                self._polkas.setdefault((place, digest), []).append(round_)
            self._check_lock(vote)
            return
        if key not in self._liars and round_ not in self._polkas.get((place, digest), ()):
            self._violate("no_polka", f"{_name(key)} precommits without a quorum of prevotes of round {round_}")
        self._locks.setdefault((key, place), {})[round_] = digest
        if len(voters) >= self._quorum(place) and self._decided.setdefault(place, digest) != digest:
            self._violate("two_decisions", f"round {round_} decides another header than a round before")

    def _check_lock(self, vote: Vote) -> None:
        """Who has precommitted one header prevotes another only after a quorum of prevotes for that."""
        locks = self._locks.get((vote.key, vote.place), {})
        at = max((round_ for round_ in locks if round_ < vote.round), default=-1)
        if at < 0 or locks[at] == vote.digest or vote.key in self._liars:
            return
        if not any(at <= round_ < vote.round for round_ in self._polkas.get((vote.place, vote.digest), ())):
            self._violate("lock", f"{_name(vote.key)} prevotes against its lock of round {at} in round {vote.round}")

    def _seal(self, seal: SealVote) -> None:
        self._say(seal.key, seal.place, 0, "seal", seal.digest)
        roster, quorum = self._roster(seal.place.previous), self._quorum(seal.place)
        good = {
            key: None
            for key, signature in seal.precommits
            if key in roster
            and Vote(seal.place, seal.round, PRECOMMIT, seal.digest, key, signature).is_signed(self._network)
        }
        if roster and len(good) < quorum and seal.key not in self._liars:
            self._violate("no_quorum", f"{_name(seal.key)} seals without a quorum of precommits of round {seal.round}")
        signers = self._seals.setdefault((seal.place, seal.digest), {})
        signers[seal.key] = None
        if len(signers) >= quorum and self._sealed.setdefault(seal.place, seal.digest) != seal.digest:
            self._violate("two_seals", "two quorums have sealed over one header")


def _name(key: bytes) -> str:
    return frames.name_of(key)[:8]
