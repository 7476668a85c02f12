"""Where nodes are: signed addresses, this node's own, and whom to dial (docs/protocol.md, sections 5.2 and 9).

Decides which addresses are believed, kept and passed on, and has it sealed that this node holds pages and bodies. Never
dials: the edge does.
"""

from __future__ import annotations

from collections.abc import Callable

from leither_lite import codec
from leither_lite.address import split_address
from leither_lite.board import Board
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects
from leither_lite.errors import Halt, RemoteError
from leither_lite.identity import Key, account_id
from leither_lite.ledger.committee import Willingness
from leither_lite.ledger.records import Role
from leither_lite.ledger.signed import Status
from leither_lite.limits import ADDRESS_BYTES_MAX
from leither_lite.node import frames
from leither_lite.node.books import Books
from leither_lite.node.clock import Clock
from leither_lite.node.peers import Peers
from leither_lite.node.pool import content_digest
from leither_lite.store import keys
from leither_lite.store.reader import Reader

WRITE_MS_MIN = 600_000
"""A member's new address is written down at most so often: no member wears out others' cards."""
WANTED_MAX = 64
"""The edge keeps as many of them connected as the board allows, and goes on to the next where nobody answers."""
_BOOTSTRAP_MAX = 64
_TEXT_BYTES_MAX = 300


class Addresses:
    """The signed addresses of members, and those that a newcomer was given to begin with."""

    def __init__(
        self,
        reader: Reader,
        board: Board,
        network: bytes,
        key: Key,
        books: Books,
        peers: Peers,
        clock: Clock,
        own: str | None,
    ) -> None:
        """`own`: where others reach this node; empty if it only dials out; None: it is on no network.

        Raises Halt("store_corrupt").
        """
        self.own = own
        self._board = board
        self._network = network
        self._key = key
        self._books = books
        self._peers = peers
        self._clock = clock
        self.more: Callable[[], list[str]] = list
        self.fellows: Callable[[], list[str]] = list
        self._record: Willingness | None = None
        self._is_counted = False
        self._asked = b""
        self._written_ms: dict[bytes, int] = {}
        try:
            for _, content in reader.scan(*keys.ADDRESSES):
                peers.learn(Willingness.decode(*codec.fields(codec.decode(content), 2, "bad_address")))
            given = codec.decode(reader.get(keys.BOOTSTRAP) or b"\x80")
            self._bootstrap = [
                codec.text(each, _TEXT_BYTES_MAX, "bad_address")
                for each in codec.items(given, _BOOTSTRAP_MAX, "bad_address")
            ]
        except RemoteError as error:
            raise Halt("store_corrupt", f"an address in the store cannot be read: {error}") from error

    @property
    def has_others(self) -> bool:
        """True if there is somebody to dial."""
        return bool(self._bootstrap or self._peers.addresses or self._books.group.state.willing)

    def known_keys(self) -> list[bytes]:
        """The public keys of all nodes that have been heard of, this one's among them."""
        willing = [each.key for each in self._books.group.state.willing]
        roster = self._books.group.roster_keys
        return [self._key.public, *self._peers.connected, *self._peers.addresses, *willing, *roster]

    def needed(self) -> list[str]:
        """Where those are without whom nothing is agreed on: the roster, and who is on a committee above with us."""
        known = self._known()
        return self._valid([*(known[key] for key in self._books.group.roster_keys if key in known), *self.fellows()])

    def wanted(self) -> list[str]:
        """Where to dial: those who are needed first, then those of other groups for whom there is something, then those
        given at the start, then others; own address left out.

        Others have written them, and some stand in the ledger: what is no address is left out, too.
        """
        own, known = self._key.public, self._known()
        others = [known[key] for key in sorted(known, key=lambda each: account_id(own + each))]
        return self._valid([*self.needed(), *self.more(), *self._bootstrap, *others])

    def _known(self) -> dict[bytes, str]:
        own = self._key.public
        known = {key: each.address for key, each in self._peers.addresses.items() if each.address and key != own}
        for each in self._books.group.state.willing:
            if each.address and each.key != own:
                known.setdefault(each.key, each.address)
        return known

    def _valid(self, found: list[str]) -> list[str]:
        own_address = self.own or ""
        return [each for each in dict.fromkeys(found) if each != own_address and split_address(each)][:WANTED_MAX]

    def tell(self, effects: Effects, peer: bytes, now_ms: int) -> None:
        """Tell a member all addresses that are known here, the own one last."""
        for each in self._peers.addresses.values():
            effects.sends.append((peer, _frame(each)))
        if self.own is not None and len(self.own.encode()) <= ADDRESS_BYTES_MAX:
            if self._record is None:
                self._record, self._is_counted = self._signed(now_ms), self._clock.counts
            effects.sends.append((peer, _frame(self._record)))

    def correct(self, effects: Effects, now_ms: int) -> None:
        """Tell the own address again, if it was told under a number from before this node had a count: others know a
        higher one from its last run."""
        if self._record is not None and not self._is_counted and self._clock.counts:
            self._record, self._is_counted = self._signed(now_ms), True
            self._peers.tell(effects, _frame(self._record))

    def _signed(self, now_ms: int) -> Willingness:
        tick = self._clock.tick(now_ms)
        return Willingness.make(self._network, self._key, self.own or "", self._board.willing, tick)

    def take(self, effects: Effects, values: list[Value], content: bytes, source: bytes, now_ms: int) -> None:
        """[17, address, signature]. Raises RemoteError: bad_address, bad_signature, bad_operation."""
        _, record, signature = codec.fields(values, 3, "bad_address")
        address = Willingness.decode(record, signature)
        known = self._peers.addresses.get(address.key)
        if known is not None and known.number >= address.number:
            return
        if address.key == self._key.public or not self._peers.is_member(address.key):
            return
        if address.address and split_address(address.address) is None:
            raise RemoteError("bad_address", "neither HOST:PORT nor empty")
        effects.work.append((source, 1))
        if address.check_signatures(self._network) is not Status.OK:
            raise RemoteError("bad_signature", "of an address")
        if self._peers.learn(address):
            self._peers.tell(effects, content, source)
            written_ms = self._written_ms.get(address.key)
            is_due = written_ms is None or now_ms - written_ms >= WRITE_MS_MIN
            if is_due and (known is None or known.address != address.address):
                self._written_ms[address.key] = now_ms
                kept = encode([address.content, address.signature])
                effects.writes.append((keys.address(account_id(address.key)), kept))

    def register(self, now_ms: int) -> bytes | None:
        """The operation by which this node has it sealed that it holds pages and bodies, and where it is: where the
        ledger says something else, and no such operation waits."""
        entry = self._books.group.entries.get(self._key.account)
        if self.own is None or entry is None or not self._peers.members():
            return None
        if entry.record.role not in (Role.MEMBER, Role.SUPERVISOR) or len(self.own.encode()) > ADDRESS_BYTES_MAX:
            return None
        registered = next((each for each in self._books.body.state.willing if each.key == self._key.public), None)
        told = None if registered is None else registered.address
        if told == (self.own if self._board.willing else None):
            return None
        own = self._signed(now_ms)
        waits = self._asked and self._books.pool.get(self._asked) is not None
        if waits or (registered is not None and registered.number >= own.number):
            return None
        content = own.encode()
        if self._books.receive(own, content, self._key.public) is not Status.OK:
            return None
        self._record = own
        self._asked = content_digest(content)
        return content


def _frame(address: Willingness) -> bytes:
    return encode([frames.ADDRESS, address.content, address.signature])
