"""Receipts between groups: shown to the payee's group until they are settled, and to the payer's that they are.

Carries out docs/protocol.md, section 5.6. Decides what this node shows to whom and when again, finds who keeps the
books of an id by asking down the tree, and asks what became of a receipt that nobody has told of. Tables are bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import decode_roster, roster_digest, state_digest
from leither_lite.ledger.body import Body
from leither_lite.ledger.children import Place
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.sets import read_sent
from leither_lite.ledger.settling import RESOLVED_MAX
from leither_lite.ledger.showing import outbox_of, reclaim_of, resolve_of, settle_of
from leither_lite.limits import ADDRESS_BYTES_MAX, ID_BITS, ID_BYTES, KEY_BYTES, RECEIPT_TICKS_MAX
from leither_lite.node import frames
from leither_lite.node.books import Books
from leither_lite.node.errands import Errands
from leither_lite.node.peers import Peers
from leither_lite.node.seats import Seats
from leither_lite.node.trunk import Trunk
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree.node import EMPTY, is_prefix, meta
from leither_lite.tree.shown import Shown

AGAIN_MS: Final = (2_000, 60_000)
"""What is not resolved is shown again after so long, each time after twice as long."""
PATIENCE_MS: Final = 30_000
FOUND_MS: Final = 60_000
FOUND_MAX: Final = 256
FINDING_MAX: Final = 256
FIND_AGAIN_MS: Final = 1_000
FIND_PEERS_MAX: Final = 2
ASKED_MAX: Final = RESOLVED_MAX
RESOLVED_MAX_WAITING: Final = 1_024


@dataclass(slots=True)
class Sent:
    """A receipt of ours under way: the operation that shows it, empty where only others have it, and when to show it
    again, or ask for it."""

    receipt: Receipt
    content: bytes
    due_ms: int
    wait_ms: int = AGAIN_MS[0]


@dataclass(slots=True)
class Keepers:
    """Who keeps the books of a level-1 group."""

    keys: tuple[bytes, ...]
    until_ms: int


@dataclass(slots=True)
class Search:
    """Looking for who keeps the books of an id: whom to ask next, and what is to be sent there."""

    asked_ms: int
    frames: list[bytes] = field(default_factory=list)
    whom: tuple[bytes, ...] = ()


class Courier:
    """What goes between this node's group and others."""

    def __init__(
        self,
        reader: Reader,
        books: Books,
        peers: Peers,
        trunk: Trunk,
        seats: Seats,
        errands: Errands,
        own: bytes,
    ) -> None:
        """`own`: this node's public key. Goes on from the store. Raises Halt("store_corrupt")."""
        self._reader = reader
        self._books = books
        self._peers = peers
        self._trunk = trunk
        self._seats = seats
        self._errands = errands
        self._own = own
        self._sent: dict[bytes, Sent] = {}
        self._found: dict[Place, Keepers] = {}
        self._searches: dict[bytes, Search] = {}
        self._turn = 0
        self._outbox: list[Receipt] = []
        self._settled: list[Receipt] = []
        for _, content in reader.scan(*keys.SHOWN):
            self._keep_shown(content, 0)
        # Of the store, not of the group: the open body has sent others already, perhaps under the same pulse.
        for _, content in reader.scan(*keys.PENDING):
            receipt, pulse = read_sent(content)
            if receipt.id in self._sent:
                continue
            if pulse == books.group.header.pulse:
                self._outbox.append(receipt)
            else:
                self._sent[receipt.id] = Sent(receipt, b"", 0)

    def _keep_shown(self, content: bytes, now_ms: int) -> None:
        try:
            receipt = Receipt.take(codec.fields(codec.decode(content), 2, "bad_shown")[0], "bad_shown")
        except RemoteError as error:
            raise Halt("store_corrupt", f"a receipt in the store cannot be read: {error}") from error
        self._sent[receipt.id] = Sent(receipt, content, now_ms)

    # -- what the own group has sealed -------------------------------------------------------------------------------

    def sealed(self, effects: Effects, body: Body) -> None:
        """The own group has sealed a body: what it has resolved is shown no more."""
        for receipt in body.traffic.gone:
            if self._sent.pop(receipt.id, None) is not None:
                effects.writes.append((keys.shown(receipt.id), None))
        for receipt in self._outbox:  # it was under the root while this node was away: others show it
            self._sent.setdefault(receipt.id, Sent(receipt, b"", 0))
        self._outbox = list(body.traffic.sent)
        # What was sent back is told by its refund, which resolves it too.
        back = {receipt.refunds for receipt in body.traffic.sent if receipt.kind == ReceiptKind.REFUND}
        came = [receipt for receipt in body.traffic.came if receipt.id not in back]
        self._settled = (self._settled + came)[-RESOLVED_MAX_WAITING:]

    def included(self, effects: Effects, now_ms: int) -> None:
        """The own group's last header is under the root: what it has sent and settled can be shown."""
        group, opened = self._books.group, self._shown()
        if opened is None:
            return
        shown, state = opened
        is_chief = self._books.sealers[:1] == (self._own,)
        if self._outbox:
            outbox = outbox_of(self._outbox, group.header.pulse)
            for receipt in self._outbox:
                operation = settle_of(shown, outbox, [receipt])
                content = encode([receipt.value(), operation.encode()])
                effects.writes.append((keys.shown(receipt.id), content))
                self._keep_shown(content, now_ms if is_chief else now_ms + AGAIN_MS[0])
            self._outbox = []
        settled, self._settled = self._settled, []
        if is_chief:
            self._show_settled(effects, settled, shown, state, now_ms)
        self.pass_time(effects, now_ms)

    def _shown(self) -> tuple[Shown, bytes] | None:
        """The own group as the branch shows it, and its S; None where that is not what is here."""
        branch, group = self._trunk.branch, self._books.group
        if branch is None or not branch.floors:
            return None
        node = branch.floors[-1].nodes.get((group.prefix, group.bits))
        header = group.header
        if (header.bits, header.prefix) == (group.bits, group.prefix):
            shown, state = branch.shown(group.sealed), group.sealed.state
        else:  # a part that has sealed nothing of its own yet
            state = group.state.encode()
            shown = Shown(
                branch.seal.header,
                branch.seal.signatures,
                group.bits,
                group.prefix,
                header.pulse,
                group.inner,
                roster_digest(group.roster),
                EMPTY,
                group.sent_out,
                group.settled_in,
                state_digest(state),
                branch.above(group.prefix),
            )
        opened = meta(shown.roster, shown.outbox, shown.sent_out, shown.settled_in, shown.state)
        is_here = group.node_of(shown.pulse, shown.inner, opened) == node
        return (shown, state) if is_here else None

    def _show_settled(
        self, effects: Effects, settled: Iterable[Receipt], shown: Shown, state: bytes, now_ms: int
    ) -> None:
        """Tell those whose receipts were settled here."""
        group = self._books.group
        by_payer: dict[bytes, list[bytes]] = {}
        for receipt in settled:
            if receipt.id in group.settled:
                by_payer.setdefault(receipt.payer, []).append(receipt.id)
        for payer, items in by_payer.items():
            for at in range(0, len(items), RESOLVED_MAX):
                operation = resolve_of(shown, state, group.settled, items[at : at + RESOLVED_MAX])
                self._carry(effects, payer, frames.operation_frame(operation.encode()), now_ms)

    # -- time ------------------------------------------------------------------------------------------------------

    def pass_time(self, effects: Effects, now_ms: int) -> None:
        """Show again what is due, and go on looking."""
        patience_ms = self._patience_ms
        for sent in self._sent.values():
            if sent.due_ms + patience_ms <= now_ms:
                sent.due_ms = now_ms + sent.wait_ms
                is_again = sent.wait_ms > AGAIN_MS[0]
                sent.wait_ms = min(2 * sent.wait_ms, AGAIN_MS[1])
                self._show(effects, sent, now_ms, is_again=is_again)
        for account, search in list(self._searches.items()):
            if now_ms - search.asked_ms >= FIND_AGAIN_MS:
                self._look(effects, account, search, now_ms)

    @property
    def _patience_ms(self) -> int:
        """Who is not on the roster leaves it to those who are, for so long."""
        return 0 if self._books.is_on_roster else PATIENCE_MS

    @property
    def deadline_ms(self) -> int | None:
        """When `pass_time` wants to be called next."""
        due = [sent.due_ms + self._patience_ms for sent in self._sent.values()]
        due += [search.asked_ms + FIND_AGAIN_MS for search in self._searches.values()]
        return min(due, default=None)

    def _show(self, effects: Effects, sent: Sent, now_ms: int, *, is_again: bool) -> None:
        if sent.content:
            _, operation = codec.fields(codec.decode(sent.content), 2, "bad_shown")
            content = codec.octets_upto(operation, len(sent.content), "bad_shown")
            self._carry(effects, sent.receipt.payee, frames.operation_frame(content), now_ms)
        if is_again or not sent.content:
            self._carry(effects, sent.receipt.payee, encode([frames.ASK_RECEIPTS, [sent.receipt.id]]), now_ms)

    # -- what becomes of receipts ----------------------------------------------------------------------------------

    def answer(self, effects: Effects, values: list[Value], source: bytes) -> None:
        """[31, [id, …]]: whether these receipts were settled here, to who can name them; or, once it is too late for
        it, that they were not. Raises RemoteError("bad_ask")."""
        _, items = codec.fields(values, 2, "bad_ask")
        asked = [codec.octets(each, ID_BYTES, "bad_ask") for each in codec.items(items, ASKED_MAX, "bad_ask")]
        group, opened = self._books.group, self._shown()
        if opened is None or not self._books.is_member or self._books.proposed is not None:
            return  # asked again, it can be answered
        self._books.rewind()  # what is shown is what was sealed
        shown, state = opened
        settled = [item for item in dict.fromkeys(asked) if self._was_credited(item)]
        absent = [item for item in dict.fromkeys(asked) if item not in group.settled]
        if settled:
            operation = resolve_of(shown, state, group.settled, settled)
            effects.sends.append((source, frames.operation_frame(operation.encode())))
        if absent and group.state.date > RECEIPT_TICKS_MAX:
            reclaim = reclaim_of(shown, state, group.settled, absent)
            effects.sends.append((source, frames.operation_frame(reclaim.encode())))

    def _was_credited(self, item: bytes) -> bool:
        """True for a receipt that was settled here, and not sent back."""
        sent = self._books.group.settled.get(item)
        if sent is None:
            return False
        receipt = sent[0]
        return receipt.kind in (ReceiptKind.ADMISSION, ReceiptKind.REFUND) or receipt.payee in self._books.group.entries

    # -- who keeps the books of an id ------------------------------------------------------------------------------

    def _carry(self, effects: Effects, account: bytes, frame: bytes, now_ms: int) -> None:
        """Send a frame to those who keep the books of an id, wherever they are."""
        for (prefix, bits), keepers in self._found.items():
            if is_prefix(account, prefix, bits) and keepers.until_ms > now_ms:
                for key in keepers.keys:
                    self._errands.send(effects, key, frame, now_ms)
                return
        search = self._searches.get(account)
        if search is not None:
            search.frames.append(frame)
            del search.frames[:-ASKED_MAX]
        elif len(self._searches) < FINDING_MAX:
            search = self._searches[account] = Search(now_ms, [frame])
            self._look(effects, account, search, now_ms)

    def carry(self, effects: Effects, account: bytes, frame: bytes, now_ms: int) -> None:
        """As `_carry`, for what this node's owner has asked of another group."""
        self._carry(effects, account, frame, now_ms)

    def _look(self, effects: Effects, account: bytes, search: Search, now_ms: int) -> None:
        search.asked_ms = now_ms
        own = self._known_here(account)
        if own is not None:
            self._take_found(effects, account, *own, now_ms)
            return
        whom = search.whom
        search.whom = ()
        branch = self._trunk.branch
        for floor in reversed(branch.floors) if branch is not None and not whom else ():
            if is_prefix(account, floor.prefix, floor.bits):
                whom = decode_roster(floor.roster, empty_allowed=True)
                break
        near = list(self._peers.connected)
        self._turn += 1  # whoever is connected may know more than those whom nobody can reach
        around = [near[(self._turn + step) % len(near)] for step in range(min(len(near), FIND_PEERS_MAX))]
        whom = tuple(dict.fromkeys((*whom, *around)))
        frame = encode([frames.FIND, account])
        for key in whom:
            self._errands.send(effects, key, frame, now_ms)

    def _known_here(self, account: bytes) -> tuple[int, Place, tuple[Willing, ...]] | None:
        """Who keeps the books of an id, as far down as this node's seats know it: level, place, keys and addresses."""
        best: tuple[int, Place, tuple[Willing, ...]] | None = None
        for seat in self._seats:
            group = seat.books.group
            for child in group.children.values():
                if is_prefix(account, child.prefix, child.bits) and (best is None or group.level - 1 < best[0]):
                    sealers = child.sealers or seat.books.sealers
                    told = tuple(Willing(key, self._trunk.address_of(key), 0, 0) for key in sealers)
                    best = (group.level - 1, child.place, told)
        return best

    def _known_above(self, account: bytes) -> tuple[int, Place, tuple[Willing, ...]] | None:
        """Who keeps the lowest page on the own way to the root that an id is under."""
        branch = self._trunk.branch
        for floor in reversed(branch.floors) if branch is not None else ():
            if is_prefix(account, floor.prefix, floor.bits):
                keepers = decode_roster(floor.roster, empty_allowed=True)
                told = tuple(Willing(key, self._trunk.address_of(key), 0, 0) for key in keepers)
                return floor.level, (floor.prefix, floor.bits), told
        return None

    def find(self, effects: Effects, values: list[Value], source: bytes) -> None:
        """[29, id]: who keeps the books of an id, or who knows better. Raises RemoteError("bad_find")."""
        _, account = codec.fields(values, 2, "bad_find")
        account = codec.octets(account, ID_BYTES, "bad_find")
        known = self._known_here(account) or self._known_above(account)
        if known is None:
            return
        level, (prefix, bits), told = known
        effects.work.append((source, 1))
        who: Value = [[each.key, each.address] for each in told]
        effects.sends.append((source, encode([frames.FOUND, account, level, bits, prefix, who])))

    def take_found(self, effects: Effects, values: list[Value], now_ms: int) -> None:
        """[30, id, level, bits, prefix, [[key, address], …]]: ask these, or send them what waits.

        Raises RemoteError("bad_found").
        """
        _, account, level, bits, prefix, who = codec.fields(values, 6, "bad_found")
        account = codec.octets(account, ID_BYTES, "bad_found")
        told = []
        for each in codec.items(who, 7, "bad_found"):
            key, address = codec.fields(each, 2, "bad_found")
            told.append(
                Willing(
                    codec.octets(key, KEY_BYTES, "bad_found"), codec.text(address, ADDRESS_BYTES_MAX, "bad_found"), 0, 0
                )
            )
        place = codec.octets(prefix, ID_BYTES, "bad_found"), codec.uint(bits, ID_BITS, "bad_found")
        if account in self._searches and is_prefix(account, *place):
            self._take_found(effects, account, codec.uint(level, 255, "bad_found"), place, tuple(told), now_ms)

    def _take_found(
        self, effects: Effects, account: bytes, level: int, place: Place, told: tuple[Willing, ...], now_ms: int
    ) -> None:
        self._errands.know(told)
        sealers = tuple(each.key for each in told)
        if level > 1:
            search = self._searches[account]
            if sealers != search.whom:
                search.whom = sealers
                frame = encode([frames.FIND, account])
                for key in sealers:
                    self._errands.send(effects, key, frame, now_ms)
            return
        while len(self._found) >= FOUND_MAX:
            del self._found[next(iter(self._found))]
        self._found[place] = Keepers(sealers, now_ms + FOUND_MS)
        for waiting, search in list(self._searches.items()):
            if is_prefix(waiting, *place):
                del self._searches[waiting]
                for frame in search.frames:
                    for key in sealers:
                        self._errands.send(effects, key, frame, now_ms)
