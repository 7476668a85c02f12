"""What this node's group becomes: a part of a split, or one with its buddy (docs/protocol.md, section 3).

Decides what the store is to hold once the branch shows that the parent has decided; of a merge, whom this node asks for
what the buddy was, and who may ask it. Never decides that a group is split or merged: the parent does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.effects import Effects, Write
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import header_digest, signatures_value
from leither_lite.identity import Key
from leither_lite.ledger import group as ledger
from leither_lite.ledger.children import Child, Place
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.enacted import appointed_write
from leither_lite.ledger.group import Group
from leither_lite.ledger.judge_children import buddy_of
from leither_lite.ledger.merged import Merged, opened_by
from leither_lite.ledger.roots import RootSeal
from leither_lite.ledger.state import MERGE, SPLIT, decode_willing, encode_willing, willing_digest
from leither_lite.ledger.structure import Part, part_of, willing_under
from leither_lite.ledger.succession import merged_tip, merged_writes, part_writes, parts_of
from leither_lite.ledger.upper import new_children, new_root
from leither_lite.node import frames
from leither_lite.node.books import Books
from leither_lite.node.errands import Errands
from leither_lite.node.group_states import GROUP_STATE_FIELDS, make_group_state, sealed_of, take_group_state
from leither_lite.node.seats import Seats
from leither_lite.node.states import STATE_BYTES_MAX
from leither_lite.node.trunk import Trunk
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore, Reader

ROOTS_SHOWN: Final = 64
"""So many of its own last headers a root group remembers as root headers, when it is split."""
ASK_AGAIN_MS: Final = 1_000
FAILURES_MAX: Final = 2
_SHOWN_FIELDS: Final = 2
_BAD: Final = "bad_state"


class Becoming:
    """What comes after the own group's last header."""

    def __init__(self, reader: Reader, key: Key, books: Books, trunk: Trunk, seats: Seats, errands: Errands) -> None:
        self._reader = reader
        self._key = key
        self._books = books
        self._trunk = trunk
        self._seats = seats
        self._errands = errands
        self._merged: Child | None = None  # what the own group and its buddy have become, as their parent has it
        self._willing = b""
        self._failures = 0  # what has come of the buddy was not that, or the two have gone on already
        self._asked_ms: int | None = None
        self._later = b"", 0  # the last header here, and the pulse of the later of two that were merged

    # -- splits ----------------------------------------------------------------------------------------------------

    def split_root(self, effects: Effects, now_ms: int) -> None:
        """The root group, at level 1, has split: its chain goes on one level up, and this node in one of the parts."""
        group = self._books.group
        self._books.rewind()
        parts = parts_of(group)
        effects.writes += [
            (keys.root(pulse), known + tick.to_bytes(8, "big"))
            for known, pulse, tick in self._trunk.roots.anchors(group.header.pulse - ROOTS_SHOWN)
        ]
        sealed = group.sealed
        effects.writes.append((keys.ROOT, encode([sealed.header_bytes, signatures_value(sealed.signatures)])))
        if self._key.public in group.roster_keys:
            self._found_root(effects, group, parts, now_ms)
        self._become(effects, group, part_of(parts, self._key.account))

    def _found_root(self, effects: Effects, group: Group, parts: list[Part], now_ms: int) -> None:
        successors = [part.successor for part in parts]
        contents = [encode_willing(willing_under(group.state.willing, each.bits, each.prefix)) for each in successors]
        root = new_root(
            group.sealed,
            new_children(successors, group.digest, group.header.pulse, contents),
            {willing_digest(content): content for content in contents},
            network=group.network,
            supply=group.supply,
            level=2,
            rules=group.rules,
            digest=group.digest,
        )
        self._seats.found(effects, root, now_ms)

    def _become(self, effects: Effects, group: Group, part: Part) -> None:
        effects.writes += part_writes(group, part)
        effects.renew = True

    def move(self, effects: Effects, place: Place, now_ms: int) -> None:
        """The branch shows another group at `place` for the own account."""
        group = self._books.group
        if self.is_merged_into(place):
            self.ask(effects, now_ms)
        if group.state.offer.kind != SPLIT:
            return
        self._books.rewind()
        for part in parts_of(group):
            if (part.successor.prefix, part.successor.bits) == place:
                effects.writes += self._trunk.writes()
                self._become(effects, group, part)
                return

    # -- merges ----------------------------------------------------------------------------------------------------

    def has_buddy(self) -> bool:
        """True if the branch shows a group that the own one can be merged with."""
        group, branch = self._books.group, self._trunk.branch
        if not group.bits or branch is None or not branch.floors:
            return False
        nodes = branch.floors[-1].nodes
        return len(nodes) > 2 and buddy_of((group.prefix, group.bits)) in nodes

    def is_merged_into(self, place: Place) -> bool:
        """True if the group at `place` is the own one and its buddy, as the own has offered."""
        group = self._books.group
        if group.state.offer.kind != MERGE or place[1] != group.bits - 1:
            return False
        return group.holds(place[0]) or buddy_of((group.prefix, group.bits))[0] == place[0]

    def ask(self, effects: Effects, now_ms: int) -> None:
        """Ask those above for what the merged group starts from, if this node is one of two and does not know it."""
        home, floor = self._trunk.home(), self._trunk.floor(2)
        if home is None or floor is None or not self.is_merged_into(home) or self._merged is not None:
            return
        if self._asked_ms is not None and now_ms - self._asked_ms < ASK_AGAIN_MS:
            return
        self._asked_ms = now_ms
        frame = encode([frames.WANT_UPPER, floor.level, floor.bits, floor.prefix])
        for key in self._trunk.sealers_of(2):
            self._errands.send(effects, key, frame, now_ms)

    def hear(self, child: Child, willing: bytes) -> bool:
        """What the parent has of the group at the own account; True if it is what the own and its buddy have become.
        `willing`: its W."""
        if not self.is_merged_into(child.place):
            return False
        if self._merged is None or self._merged.head == child.head:  # others may have been named to seal it
            self._merged, self._willing = child, willing
            self._errands.know(decode_willing(willing))
        return True

    @property
    def links(self) -> tuple[bytes, ...]:
        """Whom this node wants to be connected with until it has what its group becomes."""
        return tuple(each.key for each in decode_willing(self._willing)) if self._willing else ()

    def may_ask(self, key: bytes) -> bool:
        """True for who is willing in the merged group: what the own group was is its own now."""
        return key in self.links

    def rest_at(self, place: Place) -> tuple[Place, ...]:
        """Where those are who have what the buddy was, and may be asked for it: in the merged group, where they show
        what that has become; or still in the buddy's, once those above have told it. After two failures the state of
        the merged group is asked for once, then the rest again."""
        group = self._books.group
        if not self.is_merged_into(place) or self._failures >= FAILURES_MAX:
            return ()
        return (place,) if self._merged is None else (place, buddy_of((group.prefix, group.bits)))

    def asks_for_state(self) -> None:
        """The state of the merged group is asked for, or there is nobody to ask for it."""
        self._failures = 0

    def half_for(self, digest: bytes) -> tuple[bytes, bytes] | None:
        """The one of the two that the own group was merged from, where the other's last header has this digest (32
        bytes): that, by which it is named, and CBOR [state, what the two have become]. None where that is not here, or
        not any more."""
        low, high, merged = (self._reader.get(key) for key in (*keys.HALVES, keys.MERGED))
        if low is None or high is None or merged is None:
            return None
        half = {_digest_of(low): high, _digest_of(high): low}.get(digest)
        return None if half is None else (digest, encode([half, merged]))

    @property
    def pulse(self) -> int:
        """The pulse above which the group's next header is: of two that were merged, that of the later one."""
        group = self._books.group
        if not group.opened:
            return group.header.pulse
        if self._later[0] != group.digest:
            halves = (self._reader.get(key) for key in keys.HALVES)
            pulses = (sealed_of(half).header.pulse for half in halves if half is not None)
            self._later = group.digest, max(pulses, default=group.header.pulse)
        return self._later[1]

    def join(self, content: bytes, place: Place) -> list[Write] | None:
        """What makes the store that of the merged group. `content`: the buddy's state, or CBOR [that, what the two have
        become], where others show it that have done the same. None where that is not what is wanted: who has not (or
        not any more) what the two were gives the merged group's newest state. Raises RemoteError("bad_state"), or a
        reason of the parts."""
        told = self._merged
        if not self.is_merged_into(place):
            return None
        parts = codec.items(codec.decode(content), GROUP_STATE_FIELDS, _BAD)
        self._books.rewind()
        try:
            if len(parts) == _SHOWN_FIELDS:
                half, shown = (codec.octets_upto(each, STATE_BYTES_MAX, _BAD) for each in parts)
                merged = Merged.decode(shown)
                return self._join(half, merged.shown.state, merged.roster, merged.willing, merged)
            header = sealed_of(content).header
            if told is not None and (header.prefix, header.bits) != place:
                return self._join(content, told.state, told.roster, decode_willing(self._willing), None)
        except RemoteError:
            self._failures += 1
            self._books.refresh()
            raise
        self._failures += 1
        self._books.refresh()
        return None

    def _join(
        self, content: bytes, opened: bytes, roster: bytes, willing: Sequence[Willing], merged: Merged | None
    ) -> list[Write]:
        """`merged`: where that is shown; else it must be what the branch shows. The cheap checks come first."""
        group, branch, told = self._books.group, self._trunk.branch, self._merged
        other, head = buddy_of((group.prefix, group.bits)), _digest_of(content)
        is_low = group.prefix < other[0]
        heads = (group.digest, head) if is_low else (head, group.digest)
        if opened_by(*heads, willing_digest(encode_willing(willing))) != opened:
            raise RemoteError(_BAD, "it is not of the header that was merged")
        if merged is not None:
            merged.check(group.network)
            seal = self._trunk.roots.checked(RootSeal(merged.shown.root, merged.shown.signatures))
            merged = merged._replace(shown=replace(merged.shown, signatures=seal.signatures))
        own, buddy = make_group_state(self._reader, group), self._buddy(content, other)
        low, high = (group, buddy) if is_low else (buddy, group)
        tip, pending = merged_tip(low, high, willing, roster)
        if merged is None and branch is not None:
            merged = Merged.of(branch, tip)
        if merged is None or not merged.is_of(tip):
            raise RemoteError(_BAD, "the two are not what their parent has made of them")
        writes = merged_writes(group, buddy, tip, pending)
        writes += zip(keys.HALVES, (own, content) if is_low else (content, own), strict=True)
        writes.append((keys.MERGED, merged.encode()))
        if told is not None and told.appointed and told.head == tip.digest:
            writes.append(appointed_write(tip.digest, told.appointed, told.term))
        return [*self._trunk.writes(), *writes]

    def _buddy(self, content: bytes, place: Place) -> Group:
        """The buddy's group from its state, which its last header vouches for."""
        group = self._books.group
        sealed = sealed_of(content)
        store = MemoryStore()
        store.write(take_group_state(store, group.network, content, place, sealed.header.node))
        try:
            buddy = ledger.load(store, group.network, group.supply, rules=group.rules)
        except Halt as error:
            raise RemoteError(_BAD, error.message) from error
        if buddy.digest != header_digest(sealed.header_bytes):
            raise RemoteError(_BAD, "it goes on from elsewhere")
        return buddy


def _digest_of(content: bytes) -> bytes:
    return header_digest(sealed_of(content).header_bytes)
