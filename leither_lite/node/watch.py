"""What keeps a node from its work, as the node itself can tell (docs/api.md, `healthy`).

Decides the reasons that come from peers, the agreement and what waits; those of disk and process are the edge's.
Never says that all is well because nothing was heard.
"""

from __future__ import annotations

from typing import Final

from leither_lite.board import Board
from leither_lite.node.books import Books
from leither_lite.node.catchup import Catchup
from leither_lite.node.committee import Committee
from leither_lite.node.network import Network
from leither_lite.node.peers import Peers

BEHIND_PULSES_MAX: Final = 3
STALLED_TICKS_MAX: Final = 15
ALONE_TICKS_MAX: Final = 60


class Watch:
    """Since when there is nobody, and since when the oldest own operation waits."""

    def __init__(
        self,
        board: Board,
        books: Books,
        peers: Peers,
        committee: Committee,
        catchup: Catchup,
        hall: Network,
        pulse_ms: int,
        now_ms: int,
    ) -> None:
        self._board = board
        self._books = books
        self._peers = peers
        self._committee = committee
        self._catchup = catchup
        self._hall = hall
        self._pulse_ms = pulse_ms
        self._met_ms = now_ms
        self._oldest = (0, now_ms)

    def look(self, now_ms: int) -> None:
        """At the end of each pulse cycle."""
        if self._books.seals_alone or self._peers.members():
            self._met_ms = now_ms
        oldest = min((waiting.sequence for waiting in self._books.pool if not waiting.peer), default=0)
        if oldest != self._oldest[0]:
            self._oldest = (oldest, now_ms)

    def troubles(self, now_ms: int, memory_bytes: int) -> tuple[tuple[str, str], ...]:
        """Code and message of each reason."""
        found = []
        pulse_ms, budget = self._pulse_ms, self._board.memory_anonymous_bytes
        if memory_bytes > budget:
            found.append(("memory_high", f"{memory_bytes} bytes, the board's budget is {budget}"))
        applicant = self._hall.applicant
        if applicant.frames:
            invite = f" (its invite was refused: {applicant.refusal})" if applicant.refusal else ""
            found.append(("not_a_member", f"this node has applied; no supervisor has given it an account yet{invite}"))
        ticks = (now_ms - self._met_ms) // pulse_ms
        if ticks > ALONE_TICKS_MAX:
            found.append(("no_peers", f"no other member has been connected for {ticks} ticks"))
        behind = self._catchup.behind
        if behind > BEHIND_PULSES_MAX:
            refusal = f"; the last state that was offered was refused: {self._catchup.refusal}"
            told = refusal if self._catchup.refusal else ""
            found.append(("catching_up", f"{behind} pulses behind what members say is sealed{told}"))
        ticks = self._committee.waits_ms(now_ms) // pulse_ms
        if ticks > STALLED_TICKS_MAX:
            found.append(("agreement_stalled", f"nothing has been sealed for {ticks} ticks: no quorum agrees"))
        ticks = (now_ms - self._oldest[1]) // pulse_ms if self._oldest[0] else 0
        if ticks > STALLED_TICKS_MAX:
            found.append(("operation_waits", f"an operation of this node has waited {ticks} ticks for a seal"))
        books = self._books
        if self._committee.comeback.silent and books.is_on_roster and not books.seals_alone:
            told = "its store is new or a copy: it signs nothing before a supervisor names the roster again"
            found.append(("silent_member", told))
        return tuple(found)
