"""Two sides of a connection, with secrets that are the same in each run; one of them crafty where a test wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import shake_256
from typing import Final

import pytest

from leither_lite import codec
from leither_lite.errors import LocalError, RemoteError
from leither_lite.identity import Key, signed_digest
from leither_lite.wire.frame import encode_frame
from leither_lite.wire.noise import Handshake
from leither_lite.wire.session import Session

NETWORK: Final = bytes(range(20))
KEYS: Final = [Key.from_seed(bytes([number]) * 32) for number in range(3)]


def secrets(seed: bytes) -> Callable[[int], bytes]:
    """Bytes that look random, from a seed."""
    calls: Iterator[int] = iter(range(10**9))
    return lambda size: shake_256(seed + next(calls).to_bytes(8, "big")).digest(size)


def pair(first: Key = KEYS[0], second: Key = KEYS[1], network: bytes = NETWORK) -> tuple[Session, Session]:
    """An initiator and a responder that have not spoken yet."""
    return Session(NETWORK, first, True, secrets(b"one")), Session(network, second, False, secrets(b"two"))


def talk(initiator: Session, responder: Session) -> list[bytes]:
    """Let both say what the protocol wants said; each of the four flights, in order."""
    flights = [initiator.start()]
    for receiver in (responder, initiator, responder, initiator):
        receiver.receive(flights[-1])
        flights.append(receiver.outgoing())
    return flights[:4]


def ready() -> tuple[Session, Session]:
    """A pair that knows each other."""
    initiator, responder = pair()
    talk(initiator, responder)
    return initiator, responder


class Crafty:
    """A side that speaks Noise as it should, and then whatever a test wants. `heard`: the session's hello, a frame."""

    def __init__(self, session: Session, initiator: bool, network: bytes = NETWORK) -> None:
        self.initiator = initiator
        self.handshake = Handshake(initiator, codec.encode([1, network]), bytes(31) + b"\1", bytes(31) + b"\2")
        if initiator:
            session.receive(head(self.handshake.write()))
            self.handshake.read(session.outgoing()[2:])
            session.receive(head(self.handshake.write()))
            flight = session.outgoing()
        else:
            self.handshake.read(session.start()[2:])
            session.receive(head(self.handshake.write()))
            flight = session.outgoing()
            self.handshake.read(flight[2:66])
            flight = flight[66:]
        self.hash = self.handshake.handshake_hash
        self.cipher, receive = self.handshake.split()
        self.heard = receive.decrypt(flight[2:])

    def hello(
        self, key: Key, *, hash_: bytes = b"", role: int | None = None, network: bytes = NETWORK, tag: str = "hello"
    ) -> bytes:
        """A hello, right unless told otherwise."""
        right = 0 if self.initiator else 1
        signed = codec.encode([hash_ or self.hash, right if role is None else role])
        return codec.encode([0, key.public, key.sign(signed_digest(tag, network, signed))])

    def seal(self, content: bytes) -> bytes:
        """A frame in a Noise message of its own."""
        return self.seal_plain(encode_frame(content))

    def seal_plain(self, plaintext: bytes) -> bytes:
        """Any plaintext in a Noise message."""
        return head(self.cipher.encrypt(plaintext))


def head(message: bytes) -> bytes:
    """A Noise message with its length."""
    return len(message).to_bytes(2, "big") + message


def side(initiator: bool) -> tuple[Session, Crafty]:
    """A session on one side, and a crafty other one, before the latter's hello."""
    session = pair()[0 if initiator else 1]
    return session, Crafty(session, not initiator)


def reason_of(session: Session, data: bytes) -> str:
    """Why a session refuses what it receives."""
    with pytest.raises(RemoteError) as caught:
        session.receive(data)
    return caught.value.reason


def dead(session: Session, reason: str) -> None:
    """Nothing goes in or out any more."""
    assert not session.is_ready
    assert session.outgoing() == b""
    assert session.held_bytes == 0
    assert reason_of(session, b"") == reason
    with pytest.raises(LocalError, match="wire_not_ready"):
        session.send(b"x")
