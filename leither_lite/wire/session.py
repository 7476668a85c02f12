"""One connection's two sides: Noise, then a hello each way, then frames (docs/protocol.md, section 9).

Decides who the other side is: the account key that has signed this handshake. Whatever comes in, only a RemoteError
comes out, and ends the session. Never touches a socket or a clock; never knows what a frame means.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from leither_lite import codec
from leither_lite.errors import LocalError, RemoteError
from leither_lite.identity import Key, signed_digest, verify
from leither_lite.limits import KEY_BYTES, SIGNATURE_BYTES
from leither_lite.wire.frame import MESSAGE_HEAD_BYTES, Frames, Splitter, encode_frame
from leither_lite.wire.noise import (
    DH_BYTES,
    HANDSHAKE_BYTES,
    MESSAGE_BYTES_MAX,
    PLAINTEXT_BYTES_MAX,
    TAG_BYTES,
    Cipher,
    Handshake,
)

PROTOCOL_VERSION: Final = 1
FRAME_HELLO: Final = 0
HELLO_BYTES: Final = 102
# The hello is alone in its Noise message, so that nobody unknown can make us hold more than this.
HELLO_MESSAGE_BYTES: Final = 4 + HELLO_BYTES + TAG_BYTES


class _Stage(Enum):
    """How far a session has come."""

    HANDSHAKE = 0
    HELLO = 1
    READY = 2
    DEAD = 3


class Session:
    """One side of one connection.

    `network`: the organization's id, 20 bytes. `entropy(n)` gives n secret random bytes, once. `peer` is the other
    side's account public key, 32 bytes, once its hello has been taken. `messages` counts the Noise messages taken.
    """

    __slots__ = (
        "_frames",
        "_handshake",
        "_hash",
        "_initiator",
        "_key",
        "_network",
        "_outgoing",
        "_reason",
        "_receive",
        "_send",
        "_splitter",
        "_stage",
        "messages",
        "peer",
    )

    def __init__(self, network: bytes, key: Key, initiator: bool, entropy: Callable[[int], bytes]) -> None:
        secrets = entropy(2 * DH_BYTES)
        prologue = codec.encode([PROTOCOL_VERSION, network])
        self._handshake: Handshake | None = Handshake(initiator, prologue, secrets[:DH_BYTES], secrets[DH_BYTES:])
        self._network = network
        self._key = key
        self._initiator = initiator
        self._hash = b""
        self._outgoing = b""
        self._reason = ""
        self._receive: Cipher | None = None
        self._send: Cipher | None = None
        self._splitter = Splitter(MESSAGE_HEAD_BYTES)
        self._frames = Frames()
        self._stage = _Stage.HANDSHAKE
        self.messages = 0
        self.peer: bytes | None = None

    @property
    def is_ready(self) -> bool:
        """True from when the other side is known until an error."""
        return self._stage is _Stage.READY

    @property
    def held_bytes(self) -> int:
        """What waits for the rest of its Noise message or frame: less than 128 KiB and some heads."""
        return self._splitter.held_bytes + self._frames.held_bytes

    def start(self) -> bytes:
        """What is sent before anything is received: the first message of the initiator, nothing of the responder.

        To be called once; LocalError("noise_turn") for an initiator that has started.
        """
        if not self._initiator or self._handshake is None:
            return b""
        return _head(self._handshake.write())

    def outgoing(self) -> bytes:
        """What the protocol itself wants sent since the last call: handshake messages and the hello."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def receive(self, data: bytes) -> list[bytes]:
        """Take in the next bytes of the connection; the contents of the frames that are whole with them.

        Raises RemoteError, now and at every later call: noise_length, noise_turn, noise_key, noise_decrypt,
        noise_exhausted, frame_empty, frame_too_large, hello_expected, hello_signature, hello_repeated, own_key. What
        came whole before the fault in the same `data` is lost with it.
        """
        if self._stage is _Stage.DEAD:
            raise RemoteError(self._reason, "the session has ended")
        contents: list[bytes] = []
        try:
            self._splitter.feed(data)
            while (message := self._next_message()) is not None:
                self.messages += 1
                if self._handshake is not None:
                    self._shake(self._handshake, message)
                else:
                    contents += self._open(message)
        except RemoteError as error:
            self._end(error.reason)
            raise
        return contents

    def send(self, content: bytes) -> bytes:
        """A frame of 1 to 65,536 bytes as what goes into the connection: one Noise message, two for the longest.

        Raises LocalError: wire_not_ready, frame_size, noise_exhausted.
        """
        if self._stage is not _Stage.READY:
            raise LocalError("wire_not_ready", "the other side is not known yet, or the session has ended")
        return self._seal(encode_frame(content))

    def _next_message(self) -> bytes | None:
        """The next whole Noise message, of a length that it may have at this point."""
        if self._handshake is not None:
            if self._initiator and self._handshake.turn == 0:
                if self._splitter.held_bytes:
                    raise RemoteError("noise_turn", "an answer to what was not sent")
                return None
            size, reason = HANDSHAKE_BYTES[self._handshake.turn], "noise_length"
        elif self._stage is _Stage.HELLO:
            size, reason = HELLO_MESSAGE_BYTES, "hello_expected"
        else:
            return self._splitter.take(TAG_BYTES + 1, MESSAGE_BYTES_MAX, "noise_length", "noise_length")
        return self._splitter.take(size, size, reason, reason)

    def _shake(self, handshake: Handshake, message: bytes) -> None:
        """A message of the handshake, and what is due after it. The lengths leave no room for payloads."""
        handshake.read(message)
        if not handshake.is_done:
            self._outgoing += _head(handshake.write())
        if handshake.is_done:
            self._send, self._receive = handshake.split()
            self._hash = handshake.handshake_hash
            self._handshake = None
            self._stage = _Stage.HELLO
            signature = self._key.sign(self._hello_digest(self._initiator))
            hello = codec.encode([FRAME_HELLO, self._key.public, signature])
            self._outgoing += self._seal(encode_frame(hello))

    def _open(self, message: bytes) -> list[bytes]:
        """The frames that end in a Noise message after the handshake."""
        if self._receive is None:
            raise RemoteError("noise_turn", "no cipher yet")
        contents = self._frames.receive(self._receive.decrypt(message))
        if self._stage is _Stage.HELLO:
            if len(contents) != 1:
                raise RemoteError("hello_expected", "the first Noise message holds the hello and nothing else")
            self._greet(contents[0])
            return []
        for content in contents:
            if content[0] >> 5 == 4 and content[1:2] == b"\0":
                raise RemoteError("hello_repeated", "the other side is known already")
        return contents

    def _greet(self, content: bytes) -> None:
        """Take the hello."""
        try:
            kind, public, signature = codec.fields(codec.decode(content), 3, "hello_expected")
            codec.uint(kind, FRAME_HELLO, "hello_expected")
            peer = codec.octets(public, KEY_BYTES, "hello_expected")
            signed = codec.octets(signature, SIGNATURE_BYTES, "hello_expected")
        except RemoteError as error:
            raise RemoteError("hello_expected", error.detail) from None
        if peer == self._key.public:
            raise RemoteError("own_key", "the other side says that it is us")
        if not verify(peer, signed, self._hello_digest(not self._initiator)):
            raise RemoteError("hello_signature", "the key has not signed this handshake")
        self.peer = peer
        self._hash = b""
        self._stage = _Stage.READY

    def _hello_digest(self, initiator: bool) -> bytes:
        """What one side of this handshake signs."""
        return signed_digest("hello", self._network, codec.encode([self._hash, 0 if initiator else 1]))

    def _seal(self, frame: bytes) -> bytes:
        """A frame as Noise messages with their lengths."""
        if self._send is None:
            raise LocalError("wire_not_ready", "no cipher yet")
        if len(frame) <= PLAINTEXT_BYTES_MAX:
            return _head(self._send.encrypt(frame))
        pieces = [frame[at : at + PLAINTEXT_BYTES_MAX] for at in range(0, len(frame), PLAINTEXT_BYTES_MAX)]
        return b"".join([_head(self._send.encrypt(piece)) for piece in pieces])

    def _end(self, reason: str) -> None:
        """Nothing more goes in or out, and no key is kept."""
        self._stage = _Stage.DEAD
        self._reason = reason
        self._outgoing = b""
        self._handshake = self._send = self._receive = None
        self._splitter.clear()
        self._frames.clear()


def _head(message: bytes) -> bytes:
    return len(message).to_bytes(MESSAGE_HEAD_BYTES, "big") + message
