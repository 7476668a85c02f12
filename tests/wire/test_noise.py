"""Noise: against another implementation, and against whoever changes, repeats or reorders messages."""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import Any, Final

import pytest
from hypothesis import given, settings, strategies as st
from nacl import bindings

from leither_lite.errors import LocalError, RemoteError
from leither_lite.wire import noise
from leither_lite.wire.noise import HANDSHAKE_BYTES, PLAINTEXT_BYTES_MAX, Cipher, Handshake

PROLOGUE: Final = b"prologue"
STATIC: Final = (bytes(range(32)), bytes(range(1, 33)))
EPHEMERAL: Final = (bytes(range(2, 34)), bytes(range(3, 35)))

# Points of small order on Curve25519, of both coordinates' usual forms.
SMALL: Final = (
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
)


def side(initiator: bool, prologue: bytes = PROLOGUE) -> Handshake:
    """One side with fixed secrets."""
    which = 0 if initiator else 1
    return Handshake(initiator, prologue, STATIC[which], EPHEMERAL[which])


def stranger(initiator: bool, prologue: bytes = PROLOGUE) -> Any:
    """The same side by noiseprotocol."""
    connection = pytest.importorskip("noise.connection")
    which = 0 if initiator else 1
    other = connection.NoiseConnection.from_name(noise.NAME)
    if initiator:
        other.set_as_initiator()
    else:
        other.set_as_responder()
    other.set_prologue(prologue)
    other.set_keypair_from_private_bytes(connection.Keypair.STATIC, STATIC[which])
    other.set_keypair_from_private_bytes(connection.Keypair.EPHEMERAL, EPHEMERAL[which])
    other.start_handshake()
    return other


def run(changed: dict[int, bytes]) -> None:
    """A handshake with payloads, some of whose messages are others."""
    sides = side(True), side(False)
    for turn, payload in enumerate((b"p", b"q", b"r")):
        message = sides[turn % 2].write(payload)
        sides[1 - turn % 2].read(changed.get(turn, message))


def shaken(payloads: tuple[bytes, bytes, bytes] = (b"", b"", b"")) -> tuple[Handshake, Handshake, list[bytes]]:
    """Both sides after a handshake, and its messages."""
    sides = side(True), side(False)
    messages = []
    for turn, payload in enumerate(payloads):
        messages.append(sides[turn % 2].write(payload))
        assert sides[1 - turn % 2].read(messages[-1]) == payload
    return *sides, messages


@pytest.mark.filterwarnings("ignore:One of ephemeral keypairs is already set")
@pytest.mark.parametrize("initiator", [True, False])
@pytest.mark.parametrize("payloads", [(b"", b"", b""), (b"a", b"bc" * 700, b"def")])
def test_another_implementation_writes_the_same(initiator: bool, payloads: tuple[bytes, ...]) -> None:
    """Every message of the handshake and of both directions after it, byte by byte, and the handshake hash."""
    ours, theirs, twin = side(initiator), stranger(not initiator), stranger(initiator)
    for turn, payload in enumerate(payloads):
        if initiator == (turn % 2 == 0):
            message = ours.write(payload)
            assert message == bytes(twin.write_message(payload))
            assert bytes(theirs.read_message(message)) == payload
        else:
            message = bytes(theirs.write_message(payload))
            assert ours.read(message) == payload
            twin.read_message(message)
    assert ours.is_done
    assert theirs.handshake_finished
    assert ours.handshake_hash == theirs.get_handshake_hash()
    assert len(ours.handshake_hash) == 64
    send, receive = ours.split()
    for content in (b"", b"x", b"yz" * 5_000, bytes(PLAINTEXT_BYTES_MAX)):
        sent = send.encrypt(content)
        assert sent == bytes(twin.encrypt(content))
        assert bytes(theirs.decrypt(sent)) == content
        assert receive.decrypt(bytes(theirs.encrypt(content))) == content


def test_each_side_learns_the_others_static_key() -> None:
    """And both the same hash; the sizes are those of the pattern."""
    initiator, responder, messages = shaken()
    assert tuple(map(len, messages)) == HANDSHAKE_BYTES == (32, 96, 64)
    assert initiator.remote_static == bindings.crypto_scalarmult_base(STATIC[1])
    assert responder.remote_static == bindings.crypto_scalarmult_base(STATIC[0])
    assert initiator.handshake_hash == responder.handshake_hash


def test_another_prologue_is_refused() -> None:
    """The first message says nothing of it; the second does not decrypt."""
    initiator, responder = side(True), side(False, b"another")
    responder.read(initiator.write())
    with pytest.raises(RemoteError) as caught:
        initiator.read(responder.write())
    assert caught.value.reason == "noise_decrypt"


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_every_flipped_bit_of_a_handshake_is_refused(turn: int) -> None:
    """By whoever first decrypts anything that hangs on it."""
    _, _, messages = shaken((b"p", b"q", b"r"))
    for bit in range(8 * len(messages[turn])):
        bad = bytearray(messages[turn])
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteError) as caught:
            run({turn: bytes(bad)})
        assert caught.value.reason == "noise_decrypt"


def test_every_flipped_bit_after_the_handshake_is_refused() -> None:
    """And the message itself is still taken after that."""
    initiator, responder, _ = shaken()
    message = initiator.split()[0].encrypt(b"to be changed")
    receive = responder.split()[1]
    for bit in range(8 * len(message)):
        bad = bytearray(message)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(RemoteError) as caught:
            receive.decrypt(bytes(bad))
        assert caught.value.reason == "noise_decrypt"
    assert receive.decrypt(message) == b"to be changed"


def test_replayed_reordered_and_reflected_messages_are_refused() -> None:
    """Three messages are taken in the one order, once, and by the other side only."""
    initiator, responder, _ = shaken()
    send, back = initiator.split()
    messages = [send.encrypt(bytes([number])) for number in range(3)]
    for order in permutations(range(3)):
        receive = responder.split()[1]
        right = 0
        for number in order:
            if number == right:
                assert receive.decrypt(messages[number]) == bytes([number])
                right += 1
            else:
                with pytest.raises(RemoteError, match="noise_decrypt"):
                    receive.decrypt(messages[number])
        for message in messages[:right]:
            with pytest.raises(RemoteError, match="noise_decrypt"):
                receive.decrypt(message)
    with pytest.raises(RemoteError, match="noise_decrypt"):
        back.decrypt(messages[0])


@pytest.mark.parametrize("small", SMALL)
def test_keys_of_small_order_are_refused(small: bytes) -> None:
    """As the ephemeral key of either side."""
    responder = side(False)
    responder.read(small)
    with pytest.raises(RemoteError) as caught:
        responder.write()
    assert caught.value.reason == "noise_key"
    with pytest.raises(LocalError, match="noise_turn"):
        responder.write()
    initiator = side(True)
    initiator.write()
    with pytest.raises(RemoteError) as caught:
        initiator.read(small + bytes(64))
    assert caught.value.reason == "noise_key"


@pytest.mark.parametrize("turn", [0, 1, 2])
@pytest.mark.parametrize("size", [0, 1, -1, 70_000])
def test_sizes_that_no_message_has(turn: int, size: int) -> None:
    """Shorter than its keys, longer than Noise allows."""
    sides = side(True), side(False)
    for step in range(turn):
        sides[1 - step % 2].read(sides[step % 2].write())
    reader = sides[1 - turn % 2]
    with pytest.raises(RemoteError) as caught:
        reader.read(bytes(HANDSHAKE_BYTES[turn] - 1 if size == -1 else size))
    assert caught.value.reason == "noise_length"
    with pytest.raises(LocalError, match="noise_turn"):
        reader.read(bytes(HANDSHAKE_BYTES[turn]))


def test_out_of_turn() -> None:
    """Neither side speaks twice, listens to itself, or goes on after the end."""
    initiator, responder = side(True), side(False)
    with pytest.raises(LocalError, match="noise_turn"):
        responder.write()
    with pytest.raises(LocalError, match="noise_turn"):
        initiator.read(bytes(96))
    initiator.write()
    with pytest.raises(LocalError, match="noise_turn"):
        initiator.write()
    for ask in (lambda: initiator.split(), lambda: initiator.handshake_hash, lambda: initiator.remote_static):
        with pytest.raises(LocalError, match="noise_turn"):
            ask()
    done, other, _ = shaken()
    for end in (done, other):
        with pytest.raises(LocalError, match="noise_turn"):
            end.write()
        with pytest.raises(LocalError, match="noise_turn"):
            end.read(bytes(64))


def test_our_own_faults() -> None:
    """Secrets of another size, payloads that are too long."""
    with pytest.raises(ValueError, match="32 bytes"):
        Handshake(True, b"", bytes(31), bytes(32))
    with pytest.raises(LocalError, match="noise_length"):
        side(True).write(bytes(65_535 - 32 + 1))
    assert len(side(True).write(bytes(65_535 - 32))) == 65_535
    with pytest.raises(LocalError, match="noise_length"):
        Cipher(bytes(32)).encrypt(bytes(PLAINTEXT_BYTES_MAX + 1))


@pytest.mark.parametrize("size", [0, 15, 65_536])
def test_sizes_that_no_later_message_has(size: int) -> None:
    """There is a tag, and an end."""
    with pytest.raises(RemoteError) as caught:
        Cipher(bytes(32)).decrypt(bytes(size))
    assert caught.value.reason == "noise_length"


def test_a_key_wears_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """No nonce comes twice: both directions end before the counter does."""
    monkeypatch.setattr(noise, "MESSAGES_MAX", 2)
    send, receive = Cipher(bytes(32)), Cipher(bytes(32))
    messages = [send.encrypt(b"x"), send.encrypt(b"x")]
    assert messages[0] != messages[1]
    assert [receive.decrypt(message) for message in messages] == [b"x", b"x"]
    with pytest.raises(LocalError, match="noise_exhausted"):
        send.encrypt(b"x")
    with pytest.raises(RemoteError, match="noise_exhausted"):
        receive.decrypt(messages[0])


def test_nonces_are_little_endian_counters() -> None:
    """Against libsodium itself, over the counter's first bytes."""
    cipher = Cipher(bytes(32))
    made = [cipher.encrypt(b"x") for _ in range(300)]
    assert all(one != other for one, other in pairwise(made))
    nonce = bytes(4) + (299).to_bytes(8, "little")
    assert made[299] == bindings.crypto_aead_chacha20poly1305_ietf_encrypt(b"x", b"", nonce, bytes(32))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.binary(max_size=300))
def test_any_bytes_are_refused_by_name(turn: int, message: bytes) -> None:
    """Whatever is read in a handshake, only a RemoteError comes of it; nothing random passes."""
    sides = side(True), side(False)
    for step in range(turn):
        sides[1 - step % 2].read(sides[step % 2].write())
    reader = sides[1 - turn % 2]
    if turn == 0 and len(message) >= 32:
        assert reader.read(message) == message[32:]
        return
    with pytest.raises(RemoteError) as caught:
        reader.read(message)
    assert caught.value.reason in {"noise_length", "noise_decrypt", "noise_key"}
