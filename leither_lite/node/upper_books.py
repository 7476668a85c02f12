"""The books of a group above level 1: its tip, a proposed body on it, and what its children have sealed (section 4.8).

Decides what is proposed, whether a proposed body holds, and what a seal writes. At most one seal of each child waits.
Never agrees with anybody (`pulse` does), never reads a clock.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from leither_lite.effects import Effects, Note, Write
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import Header, Signatures, body_digest, sign_seal
from leither_lite.identity import Key
from leither_lite.ledger.children import Place
from leither_lite.ledger.committee import Held
from leither_lite.ledger.judge_children import (
    BUDDY_TICKS,
    CALLED_TICKS,
    KEPT_TICKS,
    Parent,
    buddy_of,
    judge_decision,
    required,
    take_child,
)
from leither_lite.ledger.roots import Roots
from leither_lite.ledger.sealed import BodyEntries, SealedPulse
from leither_lite.ledger.state import MERGE, SPLIT, willing_digest
from leither_lite.ledger.structure import END, TermEnd
from leither_lite.ledger.tip import Anchor
from leither_lite.ledger.upper import UpperGroup
from leither_lite.ledger.upper_body import UpperBody
from leither_lite.ledger.upper_operations import APPOINT, CALL, CHANGED, KEPT, ChildSeal, Decision
from leither_lite.ledger.upper_store import upper_writes
from leither_lite.node.holders import ENOUGH_TICKS
from leither_lite.node.scope import Scope
from leither_lite.store import keys
from leither_lite.tree.node import is_prefix

LEFT_OUT_PULSES_MAX: Final = 8
STILL_TICKS: Final = 30
"""A child that others wait for is called when it has sealed nothing for so long, or for so many pulses."""
BODIES_KEPT: Final = 64
"""So many of the newest pulses are kept with their bodies, for who is a little behind."""


@dataclass(slots=True)
class Waiting:
    """A child's seal that waits for the next body; `since` is the pulse, `since_tick` the tick in which it came."""

    seal: ChildSeal
    since: int
    since_tick: int


class UpperBooks:
    """A group above level 1 as this node knows it."""

    def __init__(self, scope: Scope, key: Key, group: UpperGroup, roots: Roots, held: int) -> None:
        """`held`: how many holders the charter asks for."""
        self._scope = scope
        self._key = key
        self._held = held
        self.group = group
        self.roots = roots
        self.parents: tuple[bytes, ...] = ()
        self.proposed: UpperBody | None = None
        self.waiting: dict[Place, Waiting] = {}
        self.is_called = False
        self.tick = 0
        self.wanted: dict[Place, None] = {}
        self._still: dict[Place, int] = {}  # since which tick a child that somebody waits for has sealed nothing

    @property
    def term(self) -> int:
        """The term of the next header."""
        return self.group.term

    @property
    def sealers(self) -> tuple[bytes, ...]:
        """Who may seal the next header: R, or, where nobody is on it, whoever may seal the parent's."""
        return self.group.roster_keys or self.parents

    @property
    def seals_alone(self) -> bool:
        """True if this node is the whole roster."""
        return self.sealers == (self._key.public,)

    @property
    def is_on_roster(self) -> bool:
        """True if this node may sign the next header."""
        return self._key.public in self.sealers

    @property
    def has_work(self) -> bool:
        """True while a child's seal waits that is safe, or something is to be decided."""
        if self.proposed is not None:
            return True
        if self.group.state.offer.kind and not self.group.is_root and not self.is_called:
            return False  # until the parent has decided: where it keeps things as they are, it calls for a header
        return self._may_be_empty or any(map(self._is_safe, self.waiting.values())) or bool(self._decisions())

    @property
    def _may_be_empty(self) -> bool:
        """True if the parent has called for a header, or the first one shows all who is who: of a new root, or of a
        part, where something was decided of its children just before they came under it."""
        is_new_root = self.group.header.level < self.group.level
        return self.is_called or is_new_root or self._has_news or self._waits_for_date

    @property
    def _has_news(self) -> bool:
        """True if this part has sealed nothing yet, and children of it are to hear that they are called, or of others
        who seal for them: nobody believes that before it stands under the part's own header."""
        is_part = (self.group.bits, self.group.prefix) != (self.group.header.bits, self.group.header.prefix)
        return is_part and any(child.called or child.appointed for child in self.group.children.values())

    @property
    def _waits_for_date(self) -> bool:
        """True if something may be decided of a child by this node's count, but not by the date of what is sealed:
        then a header is sealed for the date's sake."""
        date = self._parent().date
        for child in self.group.children.values():
            due = [child.called + CALLED_TICKS] if child.called else []
            if child.offered and not child.called:
                due = [child.offered + KEPT_TICKS]
                due += [child.offered + BUDDY_TICKS] if child.offer.kind == MERGE else []
            if any(date < each <= self.tick for each in due):
                return True
        return False

    def _anchor(self) -> Anchor | None:
        return None if self.group.is_root else self.roots.newest

    def knows_anchor(self, header: Header) -> bool:
        """True if the root header that a header builds on is known here, or it needs none."""
        return self.group.is_root or self.roots.knows(header.anchor, header.pulse - 1)

    # -- children --------------------------------------------------------------------------------------------------

    def call(self, account: bytes, tick: int) -> None:
        """Somebody waits for the child that an id belongs to: where it has sealed nothing for long, it is called."""
        for place, child in self.group.children.items():
            if is_prefix(account, *place) and not child.called and not child.offer.kind:
                pulses = self.group.header.pulse - child.pulse
                if max(tick - self._still.setdefault(place, tick), pulses) >= STILL_TICKS:
                    self.wanted[place] = None

    def take(self, seal: ChildSeal) -> bool:
        """A child's seal; True if it waits now that did not, or has more holders than before.

        Raises RemoteError as `take_child`.
        """
        header = Header.decode(seal.header_bytes)
        place = header.prefix, header.bits
        child = self.group.children.get(place)
        if child is not None and willing_digest(seal.willing) == child.willing:
            seal = replace(seal, willing=b"")
        before = self.waiting.get(place)
        if before is not None and before.seal.header_bytes == seal.header_bytes:
            if len(before.seal.held) >= len(seal.held):
                return False
        take_child(self._parent(), seal, self.group.network)
        if before is not None and before.seal.header_bytes == seal.header_bytes:
            before.seal = seal
        else:
            self.waiting[place] = Waiting(seal, self.group.header.pulse, self.tick)
        return True

    def _is_safe(self, waiting: Waiting) -> bool:
        """True if enough hold what the child has sealed, or have had the time to."""
        if self.tick - waiting.since_tick >= ENOUGH_TICKS or self.group.level > 2:
            return True
        return len(waiting.seal.held) >= required(self._parent(), waiting.seal, self._held)

    def _parent(self) -> Parent:
        """What children are judged by, on the tip."""
        group, anchor = self.group, self._anchor()
        date = group.header.tick if anchor is None else anchor.tick
        return Parent(group, group.children, group.shown, date, anchor, self.sealers)

    def _decisions(self) -> list[Decision]:
        """What is to be decided of children now."""
        found: list[Decision] = []
        parent = self._parent()
        awaited = self._awaited(parent)
        for place, child in self.group.children.items():
            kinds = []
            if child.offer.kind == SPLIT or (child.offer.kind == MERGE and place[0] < buddy_of(place)[0]):
                kinds += [CHANGED, KEPT]
            elif child.offer.kind:
                kinds.append(KEPT)
            if child.called and parent.date >= child.called + CALLED_TICKS:
                kinds.append(APPOINT)
            if (place in self.wanted or place in awaited) and not child.called:
                kinds.append(CALL)
            for kind in kinds:
                decision = Decision(place, kind)
                if not judge_decision(parent, decision):
                    found.append(decision)
                    break
        return found

    def _awaited(self, parent: Parent) -> list[Place]:
        """Buddies of children that have offered to be merged, which have sealed nothing since."""
        found = []
        for child in parent.children.values():
            if child.offer.kind == MERGE and parent.date >= child.offered + BUDDY_TICKS:
                buddy = parent.children.get(buddy_of(child.place))
                if buddy is not None and not buddy.offer.kind and buddy.pulse <= child.pulse:
                    found.append(buddy.place)
        return found

    # -- proposals -------------------------------------------------------------------------------------------------

    def propose(self, tick: int, held: Held | None) -> UpperBody | None:
        """Close what waits as this node's proposal; None if there is nothing."""
        newest = self.roots.newest
        if not self.group.is_root and (newest is None or newest.pulse < self.group.header.pulse):
            return None
        body = UpperBody(self.group, self._anchor(), self.sealers)
        for place, waiting in list(self.waiting.items()):
            if not self._is_safe(waiting):
                continue
            try:
                body.take(waiting.seal, waiting.seal.encode())
            except RemoteError:
                del self.waiting[place]  # it was taken, or the child has gone on otherwise
        for decision in self._decisions():
            with suppress(RemoteError):  # its seal has come just in time
                body.take(decision, decision.encode())
        end = self._term_end(body)
        if end is not None:
            body.take(end, end.encode())
        if body.is_empty and not self._may_be_empty:
            return None
        body.close(tick)
        self.proposed = body
        return body

    def _term_end(self, body: UpperBody) -> TermEnd | None:
        group, state = self.group, body.state
        if state.date < state.since + group.rules.term_ticks or body.is_empty:
            return None
        return TermEnd(SPLIT if len(body.children) > group.rules.members_max * 3 // 4 else END)

    def adopt(
        self,
        header_bytes: bytes,
        entries: BodyEntries,
        segments: list[bytes],
        term: int | None = None,
        anchor: Anchor | None = None,
    ) -> UpperBody:
        """Execute somebody's proposal in place of what was proposed before.

        Raises RemoteError: header_term, header_pulse, header_tick, header_mismatch, body_empty, or as
        `UpperBody.replay`.
        """
        self.proposed = None
        header = Header.decode(header_bytes)
        if header.term != self.term:
            raise RemoteError("header_term", f"term {header.term} where {self.term} is due")
        if header.pulse <= self.group.header.pulse:
            raise RemoteError("header_pulse", f"pulse {header.pulse} after {self.group.header.pulse}")
        if header.tick < self.group.header.tick:
            raise RemoteError("header_tick", f"tick {header.tick} after {self.group.header.tick}")
        if header.previous != self.group.digest or body_digest(entries) != header.body:
            raise RemoteError("header_mismatch", "the header does not follow from the last, or names another body")
        known = None if self.group.is_root else self.roots.anchor(header.anchor, header.pulse - 1)
        body = UpperBody(self.group, known or anchor, self.sealers)
        body.replay(segments, entries)
        if body.is_empty and not self._may_be_empty:
            raise RemoteError("body_empty", "a proposal of nothing")
        if body.close(header.tick) != header:
            raise RemoteError("header_mismatch", "the header does not follow from the state before it and its body")
        self.proposed = body
        return body

    @property
    def leaves_out(self) -> bool:
        """True if the proposed body leaves out a child's seal that this node has held for more than 8 pulses."""
        if self.proposed is None:
            return False
        oldest = self.group.header.pulse - LEFT_OUT_PULSES_MAX
        for place, waiting in self.waiting.items():
            after = self.proposed.children.get(place)
            before = self.group.children.get(place)
            if waiting.since <= oldest and after is not None and after == before:
                return True
        return False

    # -- seals -----------------------------------------------------------------------------------------------------

    def seal_alone(self, effects: Effects, tick: int, held: Held | None) -> None:
        """As the roster of one: propose and seal."""
        body = self.propose(tick, held)
        if body is not None:
            self.seal(effects, ((self._key.public, sign_seal(self._key, body.header_bytes)),), tick)

    def seal(self, effects: Effects, signatures: Signatures, tick: int) -> SealedPulse:
        """Make the proposed body the last, as sealed by a quorum."""
        body, group = self.proposed, self.group
        if body is None:
            raise Halt("no_proposal", "a seal came for a body that was not executed")
        children, shown = group.children, group.shown
        sealed = body.seal(signatures)
        self.proposed = None
        pulse = body.pulse
        writes: list[Write] = upper_writes(group, children, shown)
        writes.append((keys.sealed(pulse), sealed.encode()))
        writes += [(keys.segment(pulse, index), segment) for index, segment in enumerate(body.segments)]
        end = pulse - BODIES_KEPT
        if end > 0:
            writes += [(key, None) for key, _ in self._scope.scan(*keys.pulses(0, end))]
        effects.writes += self._scope.writes(writes)
        self.is_called = False
        self.wanted = {}
        for place, before in children.items():
            if group.children.get(place) != before:
                self._still.pop(place, None)
        for place, waiting in list(self.waiting.items()):
            child = group.children.get(place)
            if child is None or child.head != Header.decode(waiting.seal.header_bytes).previous:
                del self.waiting[place]
        if group.is_root:
            self.roots.remember(group.digest, pulse, group.header.tick)
            told = {
                "pulse": pulse,
                "tick": group.header.tick,
                "term": group.header.term,
                "root": group.header.node.hex(),
                "operations": len(body.operations),
            }
            effects.notes.append(Note("pulse", told))
        return sealed
