"""This node's own application for an account, until there is one (docs/protocol.md, sections 5.4 and 9).

Decides what is sent to whoever is connected, and when there is nothing more to ask for. Never admits anybody.
"""

from __future__ import annotations

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.effects import Effects
from leither_lite.errors import Halt, RemoteError
from leither_lite.ledger.joins import Application, InvitedJoin
from leither_lite.ledger.texts import TEXT_CHARS_MAX, SecretInvite
from leither_lite.node import frames
from leither_lite.node.books import Books
from leither_lite.store import keys
from leither_lite.store.reader import Reader


class Applicant:
    """`frame` is what asks for the account; None once there is one."""

    def __init__(self, reader: Reader, network: bytes, books: Books) -> None:
        """Read what `join` has left. Raises Halt("store_corrupt")."""
        self._books = books
        self.frame: bytes | None = None
        self._account = b""
        kept = reader.get(keys.APPLYING)
        if kept is None:
            return
        try:
            content, signature, invite = codec.fields(codec.decode(kept), 3, "bad_application")
            application = Application.from_values(content, signature)
            text = codec.text(invite, TEXT_CHARS_MAX, "bad_invite")
            self._account = application.account
            if text:
                secret = SecretInvite.decode(text)
                join = InvitedJoin.make(network, application, secret.invite, secret.secret)
                self.frame = frames.operation_frame(join.encode())
            else:
                self.frame = encode([frames.APPLICATION, application.content, application.signature])
        except RemoteError as error:
            raise Halt("store_corrupt", f"this node's own application cannot be read: {error}") from error

    def ask(self, effects: Effects, peer: bytes) -> None:
        """Ask a peer for the account, if it is not there yet."""
        if self.frame is None:
            return
        if self._account in self._books.group.entries:
            self.frame = None
            effects.writes.append((keys.APPLYING, None))
            return
        effects.sends.append((peer, self.frame))
