"""A whole organization of node groups at every level, in memory: every group seals, nobody has to agree.

The rosters' own keys sign what their groups execute, pulse by pulse, and what one group shows is carried to another as
nodes would. No network, no faults: the ledger's rules alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from leither_lite.header import Signatures, encode_roster, header_digest, sign_seal
from leither_lite.ledger.body import Body
from leither_lite.ledger.children import Place
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.group import Group, Rules, sealers_write
from leither_lite.ledger.handovers import handover_of
from leither_lite.ledger.judge_children import buddy_of
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.records import encode_page
from leither_lite.ledger.roots import RootSeal
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.showing import outbox_of, reclaim_of, resolve_of, settle_of
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import MERGE, SPLIT, encode_willing, willing_digest
from leither_lite.ledger.structure import TermEnd, draw, willing_of_both, willing_under
from leither_lite.ledger.succession import merged_tip, merged_writes, part_writes, parts_of
from leither_lite.ledger.tip import Anchor
from leither_lite.ledger.upper import UpperGroup, new_children, new_root, upper_split
from leither_lite.ledger.upper_body import UpperBody
from leither_lite.ledger.upper_operations import CHANGED, ChildSeal, Decision, UpperOperation
from leither_lite.limits import QUORUM
from leither_lite.organization import first_writes
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore
from tests.ledger.founding import FOUNDER, NETWORK, ORGANIZATION, SUPPLY, charter_of
from tests.ledger.grove import WHOLE, Grove

LATER = (Status.BODY_FULL, Status.TOO_EARLY, Status.GROUP_FULL)


def drawn_of_both(low: Group, high: Group, seed: bytes, most: int) -> tuple[tuple[Willing, ...], bytes]:
    """W and R of two buddies that are merged, as their parent draws them."""
    willing = willing_of_both(low.state.willing, high.state.willing, seed)
    return willing, encode_roster(draw(willing, seed, most))


@dataclass
class Forest(Grove):
    """A grove that seals. `asleep` are level-1 groups that do not; `queues` hold what waits for a group's next body,
    by an id there, and `statuses` what became of it. Receipts are told `copies` times, and where `resolves` is off
    nobody hears that they have arrived."""

    tick: int = 0
    queues: dict[bytes, list[Operation]] = field(default_factory=dict)
    statuses: list[tuple[Operation, Status]] = field(default_factory=list)
    asleep: set[Place] = field(default_factory=set)
    outboxes: dict[Place, list[Receipt]] = field(default_factory=dict)
    copies: int = 1
    resolves: bool = True

    def submit(self, account: bytes, *operations: Operation) -> None:
        """Let operations wait for the group of an id."""
        self.queues.setdefault(account, []).extend(operations)

    # -- sealing ---------------------------------------------------------------------------------------------------

    def sealers(self, level: int, place: Place) -> tuple[bytes, ...]:
        """Who may seal a group's next header: its R, or the first one above that is not empty."""
        group = self.groups[place] if level == 1 else self.uppers[level][place]
        parent = self.parent_of(level, place)
        if parent is None:
            return group.roster_keys
        return parent.children[place].sealers or self.sealers(level + 1, (parent.prefix, parent.bits))

    def sign(self, header: bytes, able: tuple[bytes, ...]) -> Signatures:
        """A quorum's seal."""
        return tuple((key, sign_seal(self.key_of(key), header)) for key in able[: QUORUM[len(able)]])

    def pulse(self, ticks: int = 1, *, decide: bool = True) -> None:
        """One pulse cycle: level by level upward."""
        self.tick += ticks
        anchor = self.roots.newest
        seals = {place: sealed for place in list(self.groups) for sealed in self.seal_group(place, anchor)}
        if self.uppers:
            for level in sorted(self.uppers):
                seals = self.seal_level(level, seals, anchor, decide=decide)
        for sealed in seals.values():
            self._take_root(sealed)
        self._show()
        self._split_root()

    def seal_group(self, place: Place, anchor: Anchor | None) -> list[SealedPulse]:
        """A level-1 group's next header, of what waits for it; none if there is nothing."""
        group = self.groups[place]
        if place in self.asleep or (not group.is_root and self.offers(1, place)):
            return []
        body = Body(group, anchor=None if group.is_root else anchor)
        for account in [each for each in self.queues if group.holds(each)]:
            waiting = []
            for operation in self.queues.pop(account):
                status = operation.check_signatures(NETWORK)
                if status is Status.OK:
                    status = body.take(operation, operation.encode())
                self.statuses.append((operation, status))
                if status in LATER:
                    waiting.append(operation)
            if waiting:
                self.queues[account] = waiting
        if not body.operations:
            body.undo()
            return []
        body.close(self.tick)
        able, before = self.sealers(1, place), group.header.pulse
        signatures = self.sign(body.header_bytes, able)
        sent, store = list(body.traffic.sent), self.stores[place]
        sealed = body.seal(signatures)
        pulse = body.pulse
        entries = sorted(group.entries.items())
        page = encode_page((account, entry.pulse, entry.record.encode()) for account, entry in entries)
        store.write(
            [
                (keys.sealed(pulse), sealed.encode()),
                *([sealers_write(pulse, before, able)] if group.bits else []),
                (keys.snapshot(pulse), page),
                (keys.BASE, pulse.to_bytes(8, "big")),
                *((keys.invite(item), pulse.to_bytes(8, "big")) for item in body.used_invites),
                *body.traffic.writes(),
                (keys.TIP, None),
            ]
        )
        group.settled.performed()
        if sent:
            self.outboxes[place] = sent
        return [sealed]

    def _check_body(self, place: Place, body: Body) -> None:
        """Whoever has the group in a store, and executes the body again, comes to the same header."""
        again = Body(self.load(place), anchor=body.anchor)
        again.replay(body.segments, tuple(body.entries))
        if again.close(self.tick) != body.header:
            raise ValueError("another header")

    def offers(self, level: int, place: Place) -> bool:
        """True while a group waits for what its parent says to its offer."""
        parent = self.parent_of(level, place)
        return parent is not None and bool(parent.children[place].offer.kind)

    def seal_level(
        self, level: int, seals: dict[Place, SealedPulse], anchor: Anchor | None, *, decide: bool
    ) -> dict[Place, SealedPulse]:
        """The next headers of a level, which take `seals` of the level below."""
        sealed_here: dict[Place, SealedPulse] = {}
        for place, upper in list(self.uppers[level].items()):
            body = UpperBody(upper, None if upper.is_root else anchor, self.sealers(level, place))
            decisions = self._decisions(upper) if decide else []
            told: list[UpperOperation] = list(decisions)
            for child, sealed in seals.items():
                if child in upper.children:
                    shows = willing_digest(sealed.willing) != upper.children[child].willing
                    told.append(ChildSeal.of(sealed, (), shows_willing=shows))
            told += self._ends(upper) if not self.offers(level, place) else []
            for operation in told:
                body.take(operation, operation.encode())
            if not body.operations:
                continue
            self._check_replay(upper, body)
            sealed_here[place] = body.seal(self.sign(body.header_bytes, self.sealers(level, place)))
            for decision in decisions:
                self._carry_out(level - 1, decision, body)
        return sealed_here

    def _check_replay(self, upper: UpperGroup, body: UpperBody) -> None:
        """Whoever executes the body again comes to the same header."""
        header = body.close(self.tick)
        again = UpperBody(upper, body.anchor, self.sealers(upper.level, (upper.prefix, upper.bits)))
        again.replay(body.segments, tuple(body.entries))
        if again.close(header.tick) != header:
            raise ValueError("another header")

    def _ends(self, upper: UpperGroup) -> list[UpperOperation]:
        """The end of a term, where the group is to be split."""
        due = self.tick - 2 >= upper.state.since + self.rules.term_ticks
        large = len(upper.children) > self.rules.members_max * 3 // 4
        return [TermEnd(SPLIT)] if due and large else []

    # -- structure -------------------------------------------------------------------------------------------------

    def _decisions(self, upper: UpperGroup) -> list[Decision]:
        found = []
        for place, child in upper.children.items():
            if child.offer.kind == SPLIT:
                found.append(Decision(place, CHANGED))
            elif child.offer.kind == MERGE and place[0] < buddy_of(place)[0]:
                buddy = upper.children.get(buddy_of(place))
                if buddy is not None and buddy.offer.kind == MERGE:
                    found.append(Decision(place, CHANGED))
        return found

    def _carry_out(self, level: int, decision: Decision, body: UpperBody) -> None:
        if level > 1:
            self._split_upper(level, self.uppers[level].pop(decision.place))
        elif self.groups[decision.place].state.offer.kind == SPLIT:
            self._split_group(decision.place)
        else:
            self._merge(decision.place, body._seed)

    def _split_group(self, place: Place) -> None:
        group, store = self.groups.pop(place), self.stores.pop(place)
        for part in parts_of(group):
            copy = MemoryStore()
            copy.write(list(store.content().items()))
            copy.write(part_writes(group, part))
            self._adopt((part.successor.prefix, part.successor.bits), copy)

    def _adopt(self, place: Place, store: MemoryStore) -> None:
        self.stores[place] = store
        self.groups[place] = self.load(place)

    def _merge(self, place: Place, seed: bytes) -> None:
        other = buddy_of(place)
        low, high = self.groups.pop(place), self.groups.pop(other)
        store, _ = self.stores.pop(place), self.stores.pop(other)
        tip, pending = merged_tip(low, high, *drawn_of_both(low, high, seed, self.rules.roster_max))
        store.write(merged_writes(low, high, tip, pending))
        self._adopt((low.prefix, low.bits - 1), store)

    def _split_upper(self, level: int, upper: UpperGroup) -> None:
        seed = upper.header.anchor if upper.bits else upper.header.previous
        parts = upper_split(upper, upper.children, upper.willing, upper.state.date, seed)
        for part, told in zip(parts, upper.state.offer.successors, strict=True):
            if part.successor != told:
                raise ValueError("another part than was offered")
            prefix, bits = part.successor.prefix, part.successor.bits
            shown = {**upper.shown, willing_digest(part.willing): part.willing}
            self.uppers[level][prefix, bits] = UpperGroup(
                NETWORK,
                SUPPLY,
                level,
                bits,
                prefix,
                told.roster,
                upper.sealed,
                upper.header,
                upper.digest,
                part.state,
                0,
                part.children,
                shown,
                self.rules,
                self.roots.denies,
            )

    def _split_root(self) -> None:
        """A root that is split: the chain goes on one level up."""
        root = self.root
        offer = root.state.offer
        if offer.kind != SPLIT:
            return
        level, digest = self.levels + 1, header_digest(root.sealed.header_bytes)
        willing = root.state.willing if isinstance(root, Group) else root.willing
        contents = [encode_willing(willing_under(willing, each.bits, each.prefix)) for each in offer.successors]
        children = new_children(offer.successors, digest, root.header.pulse, contents)
        shown = {willing_digest(content): content for content in contents}
        made = new_root(
            root.sealed,
            children,
            shown,
            network=NETWORK,
            supply=SUPPLY,
            level=level,
            rules=self.rules,
            digest=digest,
        )
        made.denies_root = self.roots.denies
        if level == 2:
            self._split_group(WHOLE)
        else:
            self._split_upper(level - 1, self.uppers[level - 1].pop(WHOLE))
        self.uppers[level] = {WHOLE: made}

    # -- what is shown ---------------------------------------------------------------------------------------------

    def _take_root(self, sealed: SealedPulse) -> None:
        roster = self.roots.roster
        self.roots.take(RootSeal(sealed.header_bytes, sealed.signatures))
        handover = handover_of(sealed)
        if self.root.roster_keys != roster:
            self.roots.hand_over(handover)
            self.handovers.append(handover)

    def _show(self) -> None:
        """Carry what was sealed to whom it concerns."""
        if not self.is_whole:
            return
        for place, receipts in self.outboxes.items():
            shown = self.shown(place)
            outbox = outbox_of(receipts, self.groups[place].header.pulse)
            for receipt in receipts:
                self.submit(receipt.payee, *[settle_of(shown, outbox, [receipt])] * self.copies)
        self.outboxes = {}
        if self.resolves:
            self._resolve()

    def _resolve(self) -> None:
        for group in self.groups.values():
            for item, (receipt, _) in list(group.pending.items.items()):
                place = self.place_of(receipt.payee)
                if item in self.groups[place].settled and self.is_shown(place):
                    self.submit(receipt.payer, self.resolve(receipt))

    def resolve(self, receipt: Receipt) -> Operation:
        """That a receipt was settled, by the payee's group as it is."""
        place = self.place_of(receipt.payee)
        other = self.groups[place]
        return resolve_of(self.shown(place), other.sealed.state, other.settled, [receipt.id])

    def reclaim(self, receipt: Receipt) -> Operation:
        """That a receipt was not settled, by the payee's group as it is."""
        place = self.place_of(receipt.payee)
        other = self.groups[place]
        return reclaim_of(self.shown(place), other.sealed.state, other.settled, [receipt.id])


def planted(**rules: int) -> Forest:
    """An organization at its genesis: a forest of one tree."""
    store = MemoryStore()
    store.write(first_writes(charter_of(), [FOUNDER]))
    known = {ORGANIZATION.public: ORGANIZATION, FOUNDER.public: FOUNDER}
    return Forest(Rules(**rules), store, known.__getitem__)
