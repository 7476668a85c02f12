"""What keeps a node from its work, as the node itself can tell (docs/api.md, `healthy`).

Decides the reasons that come from peers, the agreement and what waits; those of disk and process are the edge's.
Never says that all is well because nothing was heard.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from leither_lite.board import Board
from leither_lite.node.between import Between
from leither_lite.node.books import Books
from leither_lite.node.catchup import Catchup
from leither_lite.node.committee import Committee
from leither_lite.node.network import Network
from leither_lite.node.peers import Peers

BEHIND_PULSES_MAX: Final = 3
STALLED_TICKS_MAX: Final = 15
ALONE_TICKS_MAX: Final = 60
UPWARD_TICKS_MAX: Final = 2 * STALLED_TICKS_MAX
"""In a network of several groups the parent may wait so long for holders, and the root is a seal or two further up."""


class Watch:
    """Since when there is nobody, the oldest own operation waits, and the last header is not under the root.

    Where the root is another group, nothing is said of it but what this node's own group misses from there.
    """

    def __init__(
        self,
        board: Board,
        books: Books,
        peers: Peers,
        committee: Committee,
        catchup: Catchup,
        hall: Network,
        between: Between,
        pulse_ms: int,
        now_ms: int,
    ) -> None:
        self._board = board
        self._books = books
        self._peers = peers
        self._committee = committee
        self._catchup = catchup
        self._hall = hall
        self._between = between
        self._pulse_ms = pulse_ms
        self._met_ms = now_ms
        self._oldest = (0, now_ms)
        self._under_root_ms = now_ms
        self._digest = books.group.digest
        self._shown_ms = now_ms
        self._branch_ms = now_ms

    def look(self, now_ms: int) -> None:
        """At the end of each pulse cycle."""
        if self._has_company():
            self._met_ms = now_ms
        oldest = min((waiting.sequence for waiting in self._books.pool if not waiting.peer), default=0)
        if oldest != self._oldest[0]:
            self._oldest = (oldest, now_ms)
        between = self._between
        digest = self._books.group.digest
        if self._is_under_root() or digest != self._digest:  # no seal is skipped: the one before was
            self._under_root_ms = now_ms
        self._digest = digest
        if between.shown_node() is None:
            self._shown_ms = now_ms
        if not between.is_split or between.trunk.branch is not None:
            self._branch_ms = now_ms

    def _is_under_root(self) -> bool:
        """True if the branch shows the own group's last header; one that came after its root header, too."""
        group, branch = self._books.group, self._between.trunk.branch
        if self._books.is_under_root or branch is None or not branch.floors:
            return self._books.is_under_root
        return branch.floors[-1].nodes.get((group.prefix, group.bits)) == group.header.node

    def _has_company(self) -> bool:
        """True if there is somebody to keep books with. One of several groups may have a single member; it needs the
        others of the network."""
        if self._between.is_split:
            return bool(self._peers.connected)
        return self._books.seals_alone or bool(self._peers.members())

    def _stalled_ms(self, now_ms: int) -> int:
        """For how long an agreement of the own group, or of one above that this node has a seat in, has waited. A group
        that has been split, of which the branch does not know any more, has nothing to agree on."""
        waits = [self._committee.waits_ms(now_ms)]
        for seat in self._between.seats:
            floor = self._between.trunk.floor(seat.place[0])
            is_there = floor is None or (floor.bits, floor.prefix) == seat.place[1:]
            if is_there and seat.books.is_on_roster:
                waits.append(seat.committee.waits_ms(now_ms))
        return max(waits)

    def _between_groups(self, now_ms: int) -> Iterator[tuple[str, str]]:
        """What a network of several groups adds."""
        ticks = (now_ms - self._branch_ms) // self._pulse_ms
        if ticks > STALLED_TICKS_MAX:
            yield "no_branch_yet", f"no root header has come for {ticks} ticks since this node began to ask for one"
        ticks = (now_ms - self._shown_ms) // self._pulse_ms
        if ticks > STALLED_TICKS_MAX:
            yield "catching_up", f"the root shows a header of this group that has not come for {ticks} ticks"
        ticks = (now_ms - self._under_root_ms) // self._pulse_ms
        if ticks > UPWARD_TICKS_MAX:
            yield "not_under_root", f"this group's last header has not come under the root for {ticks} ticks"

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
        found += self._between_groups(now_ms)
        behind = self._catchup.behind
        if behind > BEHIND_PULSES_MAX:
            refusal = f"; the last state that was offered was refused: {self._catchup.refusal}"
            told = refusal if self._catchup.refusal else ""
            found.append(("catching_up", f"{behind} pulses behind what members say is sealed{told}"))
        ticks = self._stalled_ms(now_ms) // pulse_ms
        if ticks > STALLED_TICKS_MAX:
            found.append(("agreement_stalled", f"nothing has been sealed for {ticks} ticks: no quorum agrees"))
        ticks = (now_ms - self._oldest[1]) // pulse_ms if self._oldest[0] else 0
        if ticks > (UPWARD_TICKS_MAX if self._between.is_split else STALLED_TICKS_MAX):
            found.append(("operation_waits", f"an operation of this node has waited {ticks} ticks for a seal"))
        books = self._books
        is_alone = books.seals_alone and not self._between.is_split  # then it awaits a checkpoint
        if self._committee.comeback.silent and books.is_on_roster and not is_alone:
            told = "its store is new or a copy: it signs nothing before a supervisor names the roster again"
            found.append(("silent_member", told))
        return tuple(found)
