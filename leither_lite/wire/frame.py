"""Where messages end in a stream: a length, then so many bytes (docs/protocol.md, section 9).

Decides nothing about what the bytes are. A length that cannot be is refused as soon as its bytes are there, so that
nobody can make us hold more than one longest message.
"""

from __future__ import annotations

from typing import Final

from leither_lite.errors import LocalError, RemoteError
from leither_lite.limits import FRAME_BYTES_MAX

FRAME_HEAD_BYTES: Final = 4
MESSAGE_HEAD_BYTES: Final = 2


class Splitter:
    """Takes a stream in pieces of any size and gives back what stands between its lengths.

    After `take` has given None it holds less than one longest message and its head.
    """

    __slots__ = ("_buffer", "_head_bytes")

    def __init__(self, head_bytes: int) -> None:
        self._head_bytes = head_bytes
        self._buffer = bytearray()

    @property
    def held_bytes(self) -> int:
        """How many bytes wait for the rest of their message."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> None:
        """Take in the next piece of the stream."""
        self._buffer += chunk

    def take(self, least: int, most: int, small: str, large: str) -> bytes | None:
        """The next message if it is whole, of `least` to `most` bytes.

        Raises RemoteError(small) or RemoteError(large) by its length alone, as soon as that is there.
        """
        buffer, head = self._buffer, self._head_bytes
        if len(buffer) < head:
            return None
        size = int.from_bytes(buffer[:head], "big")
        if size < least:
            raise RemoteError(small, f"{size} bytes, at least {least} are expected")
        if size > most:
            raise RemoteError(large, f"{size} bytes, at most {most} are taken")
        end = head + size
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            content = bytes(view[head:end])
        del buffer[:end]
        return content

    def clear(self) -> None:
        """Forget what is held."""
        self._buffer = bytearray()


class Frames:
    """The frames in the plaintext of one direction: u32 length || content, content of 1 to 65,536 bytes."""

    __slots__ = ("_splitter",)

    def __init__(self) -> None:
        self._splitter = Splitter(FRAME_HEAD_BYTES)

    def receive(self, plaintext: bytes) -> list[bytes]:
        """The contents that end in this piece. Raises RemoteError: frame_empty, frame_too_large."""
        splitter = self._splitter
        size = len(plaintext) - FRAME_HEAD_BYTES
        if 1 <= size <= FRAME_BYTES_MAX and not splitter.held_bytes and plaintext.startswith(size.to_bytes(4, "big")):
            return [plaintext[FRAME_HEAD_BYTES:]]  # one whole frame, as most are: nothing to put together
        splitter.feed(plaintext)
        contents = []
        while (content := splitter.take(1, FRAME_BYTES_MAX, "frame_empty", "frame_too_large")) is not None:
            contents.append(content)
        return contents

    @property
    def held_bytes(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return self._splitter.held_bytes

    def clear(self) -> None:
        """Forget what is held."""
        self._splitter.clear()


def encode_frame(content: bytes) -> bytes:
    """A frame. Raises LocalError("frame_size") unless its content has 1 to 65,536 bytes."""
    if not 1 <= len(content) <= FRAME_BYTES_MAX:
        raise LocalError("frame_size", f"a frame has 1 to {FRAME_BYTES_MAX} bytes, not {len(content)}")
    return len(content).to_bytes(FRAME_HEAD_BYTES, "big") + content
