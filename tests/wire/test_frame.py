"""Frames: where they end, what they may hold, and how little a stranger can make us keep."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from leither_lite.errors import LocalError, RemoteError
from leither_lite.limits import FRAME_BYTES_MAX
from leither_lite.wire.frame import Frames, Splitter, encode_frame


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=6), st.data())
def test_any_cut_gives_the_same_frames(contents: list[bytes], data: st.DataObject) -> None:
    """In pieces of any size."""
    stream = b"".join(map(encode_frame, contents))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    frames = Frames()
    taken = [
        content
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for content in frames.receive(stream[start:end])
    ]
    assert taken == contents
    assert frames.held_bytes == 0


def test_the_form() -> None:
    """u32 length || content."""
    assert encode_frame(b"abc") == b"\0\0\0\3abc"


def test_the_longest_and_the_shortest() -> None:
    """1 to 65,536 bytes."""
    longest = bytes(FRAME_BYTES_MAX)
    assert Frames().receive(encode_frame(longest) + encode_frame(b"x")) == [longest, b"x"]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"\0\0\0\0", "frame_empty"),
        (b"\0\1\0\1", "frame_too_large"),
        (b"\xff\xff\xff\xff", "frame_too_large"),
    ],
)
def test_lengths_that_cannot_be(head: bytes, reason: str) -> None:
    """Refused with the head's last byte, before anything of the content."""
    frames = Frames()
    assert frames.receive(encode_frame(b"before") + head[:3]) == [b"before"]
    with pytest.raises(RemoteError) as caught:
        frames.receive(head[3:])
    assert caught.value.reason == reason


@pytest.mark.parametrize("size", [0, FRAME_BYTES_MAX + 1])
def test_what_we_cannot_send(size: int) -> None:
    """Nothing, or too much."""
    with pytest.raises(LocalError, match="frame_size"):
        encode_frame(bytes(size))


def test_no_more_is_held_than_one_frame() -> None:
    """Whatever has come."""
    frames = Frames()
    stream = encode_frame(bytes(FRAME_BYTES_MAX))
    for _ in range(3):
        frames.receive(stream[:-1])
        assert frames.held_bytes == len(stream) - 1
        assert len(frames.receive(stream[-1:])) == 1
        assert frames.held_bytes == 0


def test_a_splitter_with_changing_bounds() -> None:
    """The bounds are those of the message that is taken."""
    splitter = Splitter(2)
    splitter.feed(b"\0\1a\0\2bc")
    assert splitter.take(1, 1, "small", "large") == b"a"
    with pytest.raises(RemoteError, match="small"):
        splitter.take(3, 3, "small", "large")
    with pytest.raises(RemoteError, match="large"):
        splitter.take(1, 1, "small", "large")
    assert splitter.take(2, 2, "small", "large") == b"bc"
    assert splitter.take(2, 2, "small", "large") is None


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Only a RemoteError by one of two names comes of them."""
    frames = Frames()
    try:
        contents = frames.receive(data)
    except RemoteError as error:
        assert error.reason in {"frame_empty", "frame_too_large"}  # noqa: PT017
    else:
        assert b"".join(map(encode_frame, contents)) == data[: len(data) - frames.held_bytes]
