"""What others get from this node to catch up: pulses with their bodies, and its state in parts (docs/protocol.md, 9).

Decides what there is to give, within a bound for each turn. Never decides who may have it: `network` does.
"""

from __future__ import annotations

from typing import Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects
from leither_lite.errors import RemoteError
from leither_lite.header import header_digest
from leither_lite.ledger import group as ledger
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.limits import DIGEST_BYTES, UINT_MAX
from leither_lite.node import frames
from leither_lite.node.becoming import Becoming
from leither_lite.node.books import Books
from leither_lite.node.group_states import make_group_state
from leither_lite.node.peers import Peers
from leither_lite.node.states import STATE_BYTES_MAX, make_state
from leither_lite.store import keys
from leither_lite.store.reader import Reader

CHUNK_BYTES: Final = 48 * 1024
PARTS_MAX: Final = -(-STATE_BYTES_MAX // CHUNK_BYTES)
STATE_WORK: Final = 20
"""What it takes to make a state anew, in signature checks."""
INLINE_BYTES_MAX: Final = 40 * 1024


class Giving:
    """What this node gives to those who are behind."""

    def __init__(self, reader: Reader, books: Books, peers: Peers, becoming: Becoming) -> None:
        self._reader = reader
        self._books = books
        self._peers = peers
        self._becoming = becoming
        self._state: tuple[bytes, bytes] = (b"", b"")  # the digest of its header, and what was made last

    def pulse(self, effects: Effects, pulse: int, source: bytes, *, is_kin: bool) -> None:
        """Answer who asks for a pulse and its body. `is_kin`: a member only of the group that this one was split from,
        for whom there is nothing above its last header."""
        first = next(self._reader.scan(keys.sealed(pulse), keys.PULSES[1]), None)
        is_root = self._books.group.is_root
        if first is not None and not is_root:
            pulse = keys.sequence_of(first[0])  # outside the root group pulses are not consecutive
        last = int.from_bytes(self._reader.get(keys.ORIGIN) or b"", "big") if is_kin else UINT_MAX
        content = self._reader.get(keys.sealed(pulse)) if pulse <= last else None
        segments = [segment for _, segment in self._reader.scan(*keys.segments(pulse))]
        if content is None or not pulse or len(segments) != len(SealedPulse.decode(content).entries):
            effects.sends.append((source, encode([frames.NOT_HERE, pulse])))
            return
        size = len(content) + sum(map(len, segments))
        if not self._peers.may_give(effects, size, source):
            return
        if size <= INLINE_BYTES_MAX:
            effects.sends.append((source, encode([frames.PULSE, content, list(segments)])))
            return
        effects.sends.append((source, encode([frames.PULSE, content, []])))
        effects.sends += [(source, frames.segment_frame(segment)) for segment in segments]

    def state(self, effects: Effects, values: list[Value], source: bytes) -> None:
        """[12, digest or empty, part]: answer with a part of the newest state; or, where the digest is that of the last
        header of one of the two that the group was merged from, of the other's. Raises RemoteError("bad_want")."""
        _, digest, part = codec.fields(values, 3, "bad_want")
        number = codec.uint(part, PARTS_MAX, "bad_want")
        digest = codec.octets_upto(digest, DIGEST_BYTES, "bad_want")
        if not digest or digest != self._state[0]:
            number = 0
            if not self._make(effects, digest, source):
                effects.sends.append((source, encode([frames.NOT_HERE, 0])))
                return
        content = self._state[1]
        parts = (len(content) + CHUNK_BYTES - 1) // CHUNK_BYTES
        if number >= parts:
            raise RemoteError("bad_want", "there is no such part")
        chunk = content[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
        if self._peers.may_give(effects, len(chunk), source):
            effects.sends.append((source, encode([frames.STATE, self._state[0], number, parts, chunk])))

    def _make(self, effects: Effects, digest: bytes, source: bytes) -> bool:
        """Make the state that is wanted, if it is not what was made last; False where it is not here."""
        half = self._becoming.half_for(digest) if digest else None
        if half is not None:
            self._state = half
            return True
        group = self._books.group
        if group.opened:
            return False  # there is no header yet that vouches for it
        newest = ledger.last_sealed(self._reader)
        if newest is not None and header_digest(newest.header_bytes) == self._state[0]:
            return True
        if not group.is_root and (newest is None or newest.header.pulse != group.header.pulse):
            return False  # sealed in this turn: not on the disk yet
        effects.work.append((source, STATE_WORK))
        if group.is_root:
            self._state = make_state(self._reader)
        else:
            self._state = header_digest(group.sealed.header_bytes), make_group_state(self._reader, group)
        return True
