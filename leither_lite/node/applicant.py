"""This node's own application for an account, until there is one (docs/protocol.md, sections 5.4 and 9).

Decides what is sent to whoever is connected, and when there is nothing more to ask for. Never admits anybody.
"""

from __future__ import annotations

from typing import Final

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

# What the ledger says of an invite that will never serve; anything else may pass.
_NO_INVITE: Final = frozenset({"bad_signature", "expired", "invite_used", "not_permitted"})


class Applicant:
    """`frames` are what asks for the account; none once there is one. `refusal`: why an invite was not taken; where one
    was not, a supervisor is asked, too."""

    def __init__(self, reader: Reader, network: bytes, books: Books) -> None:
        """Read what `join` has left. Raises Halt("store_corrupt")."""
        self._books = books
        self.frames: list[bytes] = []
        self.refusal = ""
        self._account = b""
        kept = reader.get(keys.APPLYING)
        if kept is None:
            return
        try:
            content, signature, invite = codec.fields(codec.decode(kept), 3, "bad_application")
            application = Application.from_values(content, signature)
            text = codec.text(invite, TEXT_CHARS_MAX, "bad_invite")
            self._account = application.account
            self._plain = encode([frames.APPLICATION, application.content, application.signature])
            if text:
                secret = SecretInvite.decode(text)
                join = InvitedJoin.make(network, application, secret.invite, secret.secret)
                self.frames.append(frames.operation_frame(join.encode()))
            else:
                self.frames.append(self._plain)
        except RemoteError as error:
            raise Halt("store_corrupt", f"this node's own application cannot be read: {error}") from error

    def refused(self, reason: str) -> None:
        """A node has not taken the join by invite."""
        if self.frames and self._plain not in self.frames and reason in _NO_INVITE:
            self.refusal = reason
            self.frames.append(self._plain)

    def ask(self, effects: Effects, peer: bytes) -> None:
        """Ask a peer for the account, if it is not there yet."""
        if not self.frames:
            return
        if self._account in self._books.group.entries:
            self.frames = []
            effects.writes.append((keys.APPLYING, None))
            return
        effects.sends += [(peer, frame) for frame in self.frames]
