"""The signed ticks of a committee's members: the chief's proof of life, and what a restarted member counts from.

Carries out docs/protocol.md, sections 1 and 9 (frame 18). Decides when this node tells its tick, and which such words
are believed. They are evidence of nothing, and are never stored.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import RemoteError
from leither_lite.identity import Key, signed_digest, verify
from leither_lite.limits import KEY_BYTES, SIGNATURE_BYTES, TICK_TOLD_MAX, UINT_MAX
from leither_lite.node.frames import TICK

CHIEF_TICKS: Final = 5
"""How often the chief says that it is there."""
ASK_TICKS: Final = 2
"""How often a member without a count tells its tick, by which it asks for those of the others."""


class Beat(NamedTuple):
    """A member's word: its tick, and 1 if that is a count of its own, else 0."""

    key: bytes
    tick: int
    counts: int


class Heartbeat:
    """The newest tick that each member of the roster has told in the term in force."""

    def __init__(self, network: bytes, key: Key) -> None:
        self._network = network
        self._key = key
        self._about: tuple[tuple[bytes, ...], int] = ((), 0)
        self._newest: dict[bytes, int] = {}
        self._is_asked = False

    @property
    def tick(self) -> int | None:
        """The newest tick of the chief of a committee of several; None if none was heard in this term."""
        roster = self._about[0]
        return self._newest.get(roster[0]) if len(roster) > 1 else None

    def _turn(self, roster: tuple[bytes, ...], term: int) -> None:
        if self._about != (roster, term):
            self._about, self._newest = (roster, term), {}

    def beat(self, roster: tuple[bytes, ...], term: int, tick: int, counts: bool) -> bytes | None:
        """The frame [18, content, key, signature] if it is time for this node to tell its tick."""
        own = self._key.public
        if len(roster) < 2 or own not in roster:
            return None
        self._turn(roster, term)
        passed = tick - self._newest.get(own, -CHIEF_TICKS)
        is_due = passed >= (CHIEF_TICKS if counts else ASK_TICKS)
        if not (passed > 0 and self._is_asked) and not (is_due and (own == roster[0] or not counts)):
            return None
        self._is_asked = False
        self._newest[own] = tick
        content = encode([term, tick, int(counts)])
        return encode([TICK, content, own, self._key.sign(signed_digest("tick", self._network, content))])

    def take(self, values: list[Value], roster: tuple[bytes, ...], term: int) -> Beat | None:
        """A member's word, if it is newer than its last. Raises RemoteError: bad_tick, not_on_roster, bad_signature."""
        _, content, key, signature = codec.fields(values, 4, "bad_tick")
        content = codec.octets_upto(content, 64, "bad_tick")
        key = codec.octets(key, KEY_BYTES, "bad_tick")
        signature = codec.octets(signature, SIGNATURE_BYTES, "bad_tick")
        told = codec.fields(codec.decode(content), 3, "bad_tick")
        of_term, counts = (codec.uint(each, UINT_MAX, "bad_tick") for each in (told[0], told[2]))
        tick = codec.uint(told[1], TICK_TOLD_MAX, "bad_tick")
        if of_term != term or len(roster) < 2 or key == self._key.public:
            return None
        if key not in roster:
            raise RemoteError("not_on_roster", key.hex())
        self._turn(roster, term)
        if tick <= self._newest.get(key, -1):
            return None
        if not verify(key, signature, signed_digest("tick", self._network, content)):
            raise RemoteError("bad_signature", key.hex())
        self._newest[key] = tick
        self._is_asked = self._is_asked or not counts
        return Beat(key, tick, min(counts, 1))
