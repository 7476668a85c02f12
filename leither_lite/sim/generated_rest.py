"""The generated rest of a network, as a peer: it hears root headers, seals in its groups, and pays into the one group.

Whoever keeps a page above sends the branch down to it; the rest answers with seals of groups beside the way, truly
signed, each of which waits until it is under the root, and with receipts of those at level 1. Bounded: so many groups
of each page are under way at once. Decides nothing of what others take.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.header import header_digest
from leither_lite.ledger.branch import LEVELS_MAX, Branch, apply
from leither_lite.ledger.children import Place
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.showing import outbox_of, settle_of
from leither_lite.ledger.tip import Anchor
from leither_lite.ledger.upper_operations import ChildSeal
from leither_lite.limits import DIGEST_BYTES
from leither_lite.node import frames
from leither_lite.node.root_chain import take_seal
from leither_lite.sim.generated_group import KEYS
from leither_lite.sim.generated_network import GeneratedNetwork
from leither_lite.sim.paper_generated import made_up

AMOUNT: Final = 1
RECEIPTS_MAX: Final = 5
"""So many go into one operation."""


class UnderWay(NamedTuple):
    """A seal that is not under the root yet: its frame, and what it has sent."""

    sealed: SealedPulse
    frame: bytes
    receipts: tuple[Receipt, ...]


class Rest:
    """All groups beside the way. `active`: so many of each page seal in a pulse; `receipts`: so many are sent in a
    pulse, by one group at level 1, until there were `receipts_max`."""

    def __init__(self, network: GeneratedNetwork, active: int, receipts: int, receipts_max: int) -> None:
        self._network, self._active, self._receipts = network, active, receipts
        self._receipts_max = receipts_max
        self.branch: Branch | None = None
        self.sent = 0
        self._turns = dict.fromkeys(network.uppers, 0)
        self._under_way: dict[int, dict[Place, UnderWay]] = {level: {} for level in network.uppers}

    def take(self, content: bytes) -> bool:
        """A frame that somebody has sent; True if a newer branch has come, down to level 2."""
        if frames.kind_of(content) != frames.BRANCH:
            return False
        values = codec.fields(codec.decode(content), 7, "bad_branch")
        branch = apply(None, take_seal(values[1:3]), codec.items(values[4], LEVELS_MAX, "bad_branch"))
        is_newer = self.branch is None or branch.header.pulse > self.branch.header.pulse
        if not branch.is_whole or not is_newer:
            return False
        self.branch = branch
        return True

    def answers(self) -> Iterator[tuple[tuple[bytes, ...], bytes]]:
        """What follows from the newest branch: to whom, and a frame."""
        branch = self.branch
        if branch is None:
            return
        header = branch.header
        anchor = Anchor(header_digest(branch.seal.header), header.pulse, header.tick)
        for floor in branch.floors:
            waiting = self._under_way[floor.level]
            sealers = tuple(key.public for key in self._network.uppers[floor.level].committee.roster)
            for place, each in list(waiting.items()):
                if floor.nodes[place] == each.sealed.header.node:
                    del waiting[place]
                    if each.receipts:
                        yield tuple(key.public for key in KEYS), self._settle(branch, each)
            self._go_on(floor.level, anchor)
            for each in waiting.values():
                yield sealers, each.frame

    def _settle(self, branch: Branch, each: UnderWay) -> bytes:
        """That receipts are to be settled."""
        outbox = outbox_of(each.receipts, each.sealed.header.pulse)
        operation = settle_of(branch.shown(each.sealed), outbox, each.receipts[:RECEIPTS_MAX])
        return frames.operation_frame(operation.encode())

    def _go_on(self, level: int, anchor: Anchor) -> None:
        """The next groups of a page seal, in turn."""
        upper, waiting = self._network.uppers[level], self._under_way[level]
        places = list(upper.siblings)
        for _ in range(len(places)):
            if len(waiting) >= self._active:
                return
            place = places[self._turns[level] % len(places)]
            self._turns[level] += 1
            if place in waiting:
                continue
            group = upper.siblings[place]
            is_payer = level == 2 and not any(each.receipts for each in waiting.values())
            receipts = tuple(self._pay(place, anchor)) if is_payer else ()
            sealed = group.go_on(anchor, anchor.tick, receipts, 0, 0)
            digest = header_digest(sealed.header_bytes)
            held = group.committee.hold(self._network.network, digest) if level == 2 else ()
            told = ChildSeal.of(sealed, held, shows_willing=True).encode()
            waiting[place] = UnderWay(sealed, encode([frames.CHILD, codec.decode(told)]), receipts)

    def _pay(self, place: Place, anchor: Anchor) -> Iterator[Receipt]:
        """Payments out of a group beside the own one, to those who are in that."""
        for _ in range(min(self._receipts, self._receipts_max - self.sent)):
            number = self.sent = self.sent + 1
            payer = place[0][:-8] + made_up(f"payer {number}", 8)
            payee, ref = KEYS[number % len(KEYS)].account, made_up(f"ref {number}", DIGEST_BYTES)
            yield Receipt(payer, number, payee, AMOUNT, ReceiptKind.PAYMENT, ref, anchor.tick)
