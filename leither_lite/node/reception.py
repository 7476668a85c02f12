"""Who wants to join: the charter for newcomers, and applications on their way (docs/protocol.md, sections 5.4 and 9).

Decides how many applications are taken and passed on, of whom. Never admits anybody: supervisors do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects
from leither_lite.errors import RemoteError
from leither_lite.ledger.joins import Application
from leither_lite.ledger.signed import Status
from leither_lite.node import frames
from leither_lite.node.books import Books
from leither_lite.node.peers import Peers
from leither_lite.organization import SignedCharter
from leither_lite.store import keys
from leither_lite.store.reader import Reader

RELAYS_MAX: Final = 32
"""Applications of others that are taken and passed on, between two tellings of the status."""
RELAYS_OF_MEMBER_MAX: Final = 16
RELAYS_OF_STRANGER_MAX: Final = 4
"""Of these, so many from one peer."""


class Reception:
    """What a node does for those who are not in yet."""

    def __init__(self, reader: Reader, charter: SignedCharter, books: Books, peers: Peers) -> None:
        self._reader = reader
        self._charter = charter
        self._network = charter.charter.network
        self._books = books
        self._peers = peers
        self._relays_left = RELAYS_MAX
        self.keep: Callable[[Application], bool] = lambda application: False

    def begin(self) -> None:
        """So many applications may be passed on again."""
        self._relays_left = RELAYS_MAX
        for peer in self._peers.connected.values():
            peer.applications = 0

    def give_charter(self, effects: Effects, source: bytes) -> None:
        """[15, charter with signature, sealed genesis], to whoever asks."""
        genesis = self._reader.get(keys.GENESIS) or self._reader.get(keys.sealed(0)) or b""
        content = encode([frames.CHARTER, self._charter.encode(), genesis])
        if self._peers.may_give(effects, len(content), source):
            effects.sends.append((source, content))

    def take(self, effects: Effects, values: list[Value], content: bytes, source: bytes, now_ms: int) -> None:
        """[16, application, signature]. Raises RemoteError: bad_application, bad_operation, bad_signature."""
        _, application_content, signature = codec.fields(values, 3, "bad_application")
        if not self._books.is_member or not self._peers.hear(content, now_ms):
            return
        application = Application.from_values(application_content, signature)
        effects.work.append((source, 1))
        if application.check_signature(self._network) is not Status.OK:
            raise RemoteError("bad_signature", "of an application")
        peer = self._peers.connected[source]
        most = RELAYS_OF_MEMBER_MAX if self._peers.is_member(source) else RELAYS_OF_STRANGER_MAX
        if application.account in self._books.group.entries or not self._relays_left or peer.applications >= most:
            return
        self._relays_left -= 1
        peer.applications += 1
        if self.keep(application):
            self._peers.tell(effects, content, source)

    def tell(self, effects: Effects, application: Application, now_ms: int) -> None:
        """Tell the members that somebody asks for an account through this node."""
        frame = encode([frames.APPLICATION, application.content, application.signature])
        self._peers.hear(frame, now_ms)
        self._peers.tell(effects, frame)
