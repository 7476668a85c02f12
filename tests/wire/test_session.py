"""Sessions: who is known after the handshake, and everything that must not pass for a hello, a message, a frame."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings, strategies as st

from leither_lite import codec
from leither_lite.errors import LocalError, RemoteError
from leither_lite.limits import FRAME_BYTES_MAX
from leither_lite.wire.frame import encode_frame
from leither_lite.wire.noise import Cipher
from leither_lite.wire.session import HELLO_BYTES, HELLO_MESSAGE_BYTES, Session
from tests.wire.pairs import KEYS, NETWORK, dead, pair, ready, reason_of, secrets, side, talk

# All that a session may say of what it is sent.
REASONS: Final = frozenset(
    "noise_length noise_turn noise_key noise_decrypt noise_exhausted frame_empty frame_too_large hello_expected "
    "hello_signature hello_repeated own_key".split()
)
KIND_2: Final = codec.encode([2, b"x"])


def test_both_sides_know_each_other() -> None:
    """After four flights; what is sent after that arrives, both ways."""
    initiator, responder = pair()
    flights = talk(initiator, responder)
    assert [len(flight) for flight in flights] == [34, 98, 66 + 2 + HELLO_MESSAGE_BYTES, 2 + HELLO_MESSAGE_BYTES]
    assert (initiator.peer, responder.peer) == (KEYS[1].public, KEYS[0].public)
    assert initiator.is_ready
    assert responder.is_ready
    for content in (b"x", KIND_2, bytes(65_515), bytes(65_516), bytes(FRAME_BYTES_MAX)):
        assert responder.receive(initiator.send(content)) == [content]
        assert initiator.receive(responder.send(content)) == [content]
    assert initiator.outgoing() == responder.outgoing() == b""
    assert initiator.held_bytes == responder.held_bytes == 0


def test_the_initiator_may_speak_right_after_the_hello() -> None:
    """Frames behind a hello in one piece are taken with it."""
    initiator, responder = pair()
    responder.receive(initiator.start())
    initiator.receive(responder.outgoing())
    responder.receive(initiator.outgoing())
    assert initiator.receive(responder.outgoing() + responder.send(b"one") + responder.send(b"two")) == [b"one", b"two"]
    assert initiator.peer == KEYS[1].public


def test_split_at_every_byte() -> None:
    """The pieces in which bytes come mean nothing."""
    initiator, responder = pair()
    ends = (responder, initiator, responder, initiator)
    flight = initiator.start()
    for receiver in ends:
        assert [receiver.receive(flight[at : at + 1]) for at in range(len(flight))] == [[]] * len(flight)
        flight = receiver.outgoing()
    stream = initiator.send(b"first") + initiator.send(bytes(300)) + initiator.send(b"last")
    taken = [content for at in range(len(stream)) for content in responder.receive(stream[at : at + 1])]
    assert taken == [b"first", bytes(300), b"last"]


def test_split_in_two_at_every_byte() -> None:
    """Each flight of the handshake."""
    flights = talk(*pair())
    for number, flight in enumerate(flights):
        for at in range(len(flight) + 1):
            sides = pair()
            sides[0].start()
            for step in range(number):
                sides[1 - step % 2].receive(flights[step])
                sides[1 - step % 2].outgoing()
            receiver = sides[1 - number % 2]
            receiver.receive(flight[:at])
            receiver.receive(flight[at:])
            assert receiver.outgoing() == (flights[number + 1] if number < 3 else b"")


def test_another_network() -> None:
    """The initiator finds out at the second message."""
    initiator, responder = pair(network=bytes(20))
    responder.receive(initiator.start())
    assert reason_of(initiator, responder.outgoing()) == "noise_decrypt"
    dead(initiator, "noise_decrypt")


@pytest.mark.parametrize("number", range(4))
def test_every_flipped_bit_is_refused(number: int) -> None:
    """Of all that is said before frames; lengths too."""
    flights = talk(*pair())
    for bit in range(8 * len(flights[number])):
        bad = bytearray(flights[number])
        bad[bit // 8] ^= 1 << bit % 8
        sides = pair()
        sides[0].start()
        for step in range(number):
            sides[1 - step % 2].receive(flights[step])
        receiver, other = sides[1 - number % 2], sides[number % 2]
        if number == 0 and bit >= 16:
            # The responder cannot tell: the initiator will.
            receiver.receive(bytes(bad))
            assert reason_of(other, receiver.outgoing()) == "noise_decrypt"
        else:
            reason = reason_of(receiver, bytes(bad))
            assert reason in {"noise_decrypt", "noise_length", "hello_expected"}
            assert receiver.peer is None
            dead(receiver, reason)


def test_replayed_and_reordered_messages() -> None:
    """Each is taken once, in order."""
    for order in ((0, 0), (1, 0), (0, 2), (2,)):
        initiator, responder = ready()
        sealed = [initiator.send(bytes([97 + number])) for number in range(3)]
        stream = b"".join(sealed[number] for number in order)
        assert reason_of(responder, stream) == "noise_decrypt"
        dead(responder, "noise_decrypt")


def test_a_replayed_handshake() -> None:
    """Yesterday's first message is answered, yesterday's third is not taken: the responder's secrets are others."""
    flights = talk(*pair())
    responder = Session(NETWORK, KEYS[1], False, secrets(b"another day"))
    responder.receive(flights[0])
    assert reason_of(responder, flights[2]) == "noise_decrypt"


def test_reflected_messages() -> None:
    """What we say, said to us, is nothing."""
    initiator, responder = pair()
    assert reason_of(initiator, initiator.start()) == "noise_length"
    initiator, responder = ready()
    assert reason_of(initiator, initiator.send(b"x")) == "noise_decrypt"
    assert reason_of(responder, responder.send(b"x")) == "noise_decrypt"


@pytest.mark.parametrize("initiator", [True, False])
def test_a_reflected_hello(initiator: bool) -> None:
    """Whoever ends the Noise session can send our own hello back: it is ours."""
    session, crafty = side(initiator)
    assert reason_of(session, crafty.seal_plain(crafty.heard)) == "own_key"
    dead(session, "own_key")


@pytest.mark.parametrize("initiator", [True, False])
def test_hellos_of_one_who_relays(initiator: bool) -> None:
    """Signed for another handshake, role, network or purpose, or by another key."""
    session, crafty = side(initiator)
    session.receive(crafty.seal(crafty.hello(KEYS[2])))
    assert session.peer == KEYS[2].public
    other = crafty.hello(KEYS[0])
    for bad in (
        crafty.hello(KEYS[2], hash_=bytes(64)),
        crafty.hello(KEYS[2], role=0 if initiator else 1),
        crafty.hello(KEYS[2], network=bytes(20)),
        crafty.hello(KEYS[2], tag="grant"),
        codec.encode([0, KEYS[2].public, bytes(64)]),
        codec.encode([0, KEYS[2].public, other[-64:]]),
        codec.encode([0, bytes(32), bytes(64)]),
        codec.encode([0, b"\1" + bytes(31), b"\1" + bytes(63)]),
    ):
        session, crafty = side(initiator)  # the same handshake each time: all secrets are fixed
        assert reason_of(session, crafty.seal(bad)) == "hello_signature"
        assert session.peer is None
        dead(session, "hello_signature")


@pytest.mark.parametrize("initiator", [True, False])
@pytest.mark.parametrize(
    "content",
    [
        KIND_2,
        codec.encode([1]),
        codec.encode([1, bytes(32), bytes(64)]),
        codec.encode([0, bytes(64), bytes(32)]),
        codec.encode([0, bytes(32), bytes(63), b""]),
        codec.encode([0, "a" * 32, bytes(64)]),
        b"\x83\xf6\x58\x20" + bytes(32) + b"\x58\x40" + bytes(64),
        bytes(HELLO_BYTES),
        b"\x83\x00\x58\x20",
        bytes(60_000),
    ],
)
def test_no_other_frame_before_the_hello(initiator: bool, content: bytes) -> None:
    """Of whatever kind and size."""
    session, crafty = side(initiator)
    assert reason_of(session, crafty.seal(content)) == "hello_expected"
    dead(session, "hello_expected")


def test_two_frames_in_the_place_of_a_hello() -> None:
    """Of the same size together."""
    session, crafty = side(True)
    plain = encode_frame(b"x" * 49) + encode_frame(b"x" * 49)
    assert len(plain) == HELLO_BYTES + 4
    assert reason_of(session, crafty.seal_plain(plain)) == "hello_expected"


@pytest.mark.parametrize("initiator", [True, False])
def test_a_second_hello(initiator: bool) -> None:
    """It comes once."""
    session, crafty = side(initiator)
    session.receive(crafty.seal(crafty.hello(KEYS[2])))
    session.receive(crafty.seal(KIND_2))
    assert reason_of(session, crafty.seal(crafty.hello(KEYS[2]))) == "hello_repeated"
    dead(session, "hello_repeated")


@pytest.mark.parametrize("size", [0, 1, 15, 16])
def test_noise_messages_that_hold_nothing(size: int) -> None:
    """Refused by their length."""
    _, responder = ready()
    assert reason_of(responder, size.to_bytes(2, "big")) == "noise_length"


@pytest.mark.parametrize(
    ("plaintext", "reason"),
    [(bytes(4), "frame_empty"), (b"\0\1\0\1", "frame_too_large"), (b"\xff" * 9, "frame_too_large")],
)
def test_frames_that_cannot_be(plaintext: bytes, reason: str) -> None:
    """Inside the encryption too."""
    session, crafty = side(False)
    session.receive(crafty.seal(crafty.hello(KEYS[2])))
    assert reason_of(session, crafty.seal_plain(plaintext)) == reason
    dead(session, reason)


def test_what_a_stranger_can_make_us_hold() -> None:
    """Not more than a hello's message before it is known who it is; then one frame and one message."""
    for session, flights in ((pair()[1], 0), (pair()[1], 1)):
        messages = talk(*pair())
        if flights:
            session.receive(messages[0] + messages[2][:66])
        session.receive(b"\0" + (b"\x20" if not flights else bytes([HELLO_MESSAGE_BYTES])) + bytes(30))
        assert session.held_bytes <= 2 + HELLO_MESSAGE_BYTES
    session, crafty = side(False)
    session.receive(crafty.seal(crafty.hello(KEYS[2])))
    longest = encode_frame(bytes(FRAME_BYTES_MAX))
    session.receive(crafty.seal_plain(longest[:65_519]) + crafty.seal_plain(longest[65_519:-1]))
    session.receive(crafty.seal_plain(longest[:1] + bytes(0))[:-1])
    assert session.held_bytes < len(longest) + 65_537


def test_our_own_faults() -> None:
    """Sending before anybody is there, starting twice, frames of no or too much content."""
    initiator, responder = pair()
    assert responder.start() == b""
    for session in (initiator, responder):
        with pytest.raises(LocalError, match="wire_not_ready"):
            session.send(b"x")
    initiator.start()
    with pytest.raises(LocalError, match="noise_turn"):
        initiator.start()
    initiator, _ = ready()
    for size in (0, FRAME_BYTES_MAX + 1):
        with pytest.raises(LocalError, match="frame_size"):
            initiator.send(bytes(size))


def test_an_answer_before_a_question() -> None:
    """Somebody speaks before the initiator has."""
    initiator, _ = pair()
    assert initiator.receive(b"") == []
    assert reason_of(initiator, b"\0") == "noise_turn"


def test_secrets_are_new_each_time() -> None:
    """64 bytes of entropy for a session; other secrets, other bytes."""
    asked: list[int] = []

    def entropy(size: int) -> bytes:
        asked.append(size)
        return bytes(range(size))

    first = Session(NETWORK, KEYS[0], True, entropy).start()
    assert asked == [64]
    assert first != pair()[0].start()


def test_messages_are_counted() -> None:
    """Those of Noise, of which a frame may take two, and many frames one."""
    session, crafty = side(False)
    session.receive(crafty.seal(crafty.hello(KEYS[2])))
    before = session.messages
    assert session.receive(crafty.seal_plain(encode_frame(b"a") * 3)) == [b"a"] * 3
    assert session.messages == before + 1
    session.receive(b"".join(crafty.seal_plain(encode_frame(b"ab")[at : at + 1]) for at in range(6)))
    assert session.messages == before + 7


def fed(session: Session, pieces: list[bytes]) -> None:
    """Any pieces; only a RemoteError of a known name may come, and the session is dead then."""
    for piece in pieces:
        try:
            session.receive(piece)
        except RemoteError as error:
            assert error.reason in REASONS  # noqa: PT017
            dead(session, error.reason)
            return


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.integers(0, 3), st.lists(st.binary(max_size=150), max_size=4))
def test_any_bytes_at_any_point(initiator: bool, steps: int, pieces: list[bytes]) -> None:
    """Before, within and after the handshake."""
    sides = pair()
    flight = sides[0].start()
    for step in range(steps):
        receiver = sides[1 - step % 2]
        receiver.receive(flight)
        flight = receiver.outgoing()
    fed(sides[0 if initiator else 1], pieces)


@settings(max_examples=150, deadline=None)
@given(st.booleans(), st.booleans(), st.lists(st.binary(min_size=1, max_size=150), min_size=1, max_size=4))
def test_any_bytes_under_encryption(initiator: bool, greeted: bool, plaintexts: list[bytes]) -> None:
    """From a peer that has the keys: in place of its hello, and as frames."""
    session, crafty = side(initiator)
    if greeted:
        session.receive(crafty.seal(crafty.hello(KEYS[2])))
    fed(session, [crafty.seal_plain(plaintext) for plaintext in plaintexts])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5), st.data())
def test_any_cut_of_any_frames(contents: list[bytes], data: st.DataObject) -> None:
    """All arrive, in order."""
    initiator, responder = ready()
    stream = b"".join(map(initiator.send, contents))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    taken = [
        content
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for content in responder.receive(stream[start:end])
    ]
    assert taken == contents


def test_ciphers_are_not_shared() -> None:
    """The two directions have keys of their own."""
    initiator, responder = ready()
    assert initiator.send(b"x") != responder.send(b"x")
    assert Cipher(bytes(32)).encrypt(b"x") != Cipher(b"\1" * 32).encrypt(b"x")
