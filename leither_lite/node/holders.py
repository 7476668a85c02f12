"""Who outside the committee holds page and body of the last header, by their signatures (docs/protocol.md, section 4).

Decides who is drawn to hold, when this node signs that it does, and whether the last header is final: until then no
payment in it is acknowledged, and nothing further is agreed on. Never decides what is sealed.
"""

from __future__ import annotations

from typing import Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.effects import Effects
from leither_lite.errors import RemoteError
from leither_lite.header import Signatures
from leither_lite.identity import Key, account_id, h32
from leither_lite.ledger.committee import Held
from leither_lite.ledger.group import Group
from leither_lite.limits import DIGEST_BYTES, HELD_SIGNATURES_MAX, KEY_BYTES, SIGNATURE_BYTES
from leither_lite.node.clock import TICKS_APART_MAX
from leither_lite.node.frames import HELD
from leither_lite.node.keeping import Draftable

DRAW_TICKS: Final = 5
ENOUGH_TICKS: Final = 15
"""After so many ticks, those who have signed suffice."""


EARLY_MAX: Final = 64
AGAIN_TICKS: Final = 2


class Holders:
    """The signatures of those who hold the last header's page and body."""

    def __init__(self, network: bytes, key: Key, held: int, pulse_ms: int, group: Group, now_ms: int) -> None:
        """`held`: how many the charter asks for."""
        self._network = network
        self._key = key
        self._held = held
        self._pulse_ms = pulse_ms
        self._signatures: dict[bytes, bytes] = {}
        self._early: dict[tuple[bytes, bytes], bytes] = {}
        self.sealed(group, now_ms)

    def sealed(self, group: Group, now_ms: int) -> None:
        """The group has a new last header, which this node has stored, or will have with this turn."""
        digest = group.digest
        self._group = group
        self._digest = digest
        self._since_ms = now_ms
        self._signatures = {}
        self._signed_tick: int | None = None
        # Who was willing when it was sealed, in the order in which they are drawn.
        outside = [each for each in group.state.willing if each.key not in group.roster_keys and not each.silent]
        self.candidates = tuple(
            each.key for each in sorted(outside, key=lambda each: h32("held", digest + account_id(each.key)))
        )
        self._willing = frozenset(each.key for each in group.state.willing if each.key not in group.roster_keys)
        self._silent = frozenset(each.key for each in group.state.willing if each.silent) & self._willing
        early, self._early = self._early, {}
        for (of, key), signature in early.items():
            if of == digest and key in self._willing and Held.is_signed(self._network, key, signature, digest):
                self._signatures[key] = signature

    @property
    def signatures(self) -> Signatures:
        """Those who have signed, keys rising, at most 16."""
        return tuple(sorted(self._signatures.items())[:HELD_SIGNATURES_MAX])

    def _ticks(self, now_ms: int) -> int:
        return (now_ms - self._since_ms) // self._pulse_ms

    @property
    def required(self) -> int:
        """How many signatures make the last header final."""
        return min(self._held, len(self.candidates))

    def drawn(self, now_ms: int) -> tuple[bytes, ...]:
        """Who is to hold: as many as the charter asks for, and as many again every 5 ticks."""
        return self.candidates[: self._held * (1 + self._ticks(now_ms) // DRAW_TICKS)]

    def is_final(self, now_ms: int) -> bool:
        """True if nothing that the last header says can be lost with its committee."""
        return len(self._signatures) >= self.required or self._ticks(now_ms) >= ENOUGH_TICKS

    def deadline_ms(self, now_ms: int) -> int | None:
        """When more are drawn, or those who have signed suffice."""
        if self.is_final(now_ms):
            return None
        return self._since_ms + (self._ticks(now_ms) // DRAW_TICKS + 1) * DRAW_TICKS * self._pulse_ms

    def sign(self, now_ms: int) -> bytes | None:
        """The frame that says that this node holds the last header's page and body, once it is drawn, and again while
        that header is not final. Who counts as silent says it once: so it will be drawn again."""
        own = self._key.public
        ticks = self._ticks(now_ms)
        if own not in self.drawn(now_ms) and own not in self._silent:
            return None
        if self._signed_tick is not None and (self.is_final(now_ms) or ticks < self._signed_tick + AGAIN_TICKS):
            return None
        self._signed_tick = ticks
        return self._own_frame()

    def _own_frame(self) -> bytes:
        signature = Held.sign(self._network, self._key, self._digest)
        self._signatures[self._key.public] = signature
        return encode([HELD, self._digest, self._key.public, signature])

    def repeated(self, now_ms: int) -> list[bytes]:
        """What is told once more of the last header: that it is final here does not say that others have heard."""
        ticks = self._ticks(now_ms)
        if not 0 < ticks < ENOUGH_TICKS or ticks % AGAIN_TICKS:
            return []
        return [encode([HELD, self._digest, key, signature]) for key, signature in self._signatures.items()]

    def tell(self, effects: Effects, peer: bytes) -> None:
        """What a member that has just come needs to know that the last header is final."""
        for key, signature in self._signatures.items():
            effects.sends.append((peer, encode([HELD, self._digest, key, signature])))

    def take(self, values: list[Value]) -> bool:
        """A frame [19, header digest, key, signature]; True if it is new.

        Raises RemoteError: bad_held, bad_signature.
        """
        _, digest, key, signature = codec.fields(values, 4, "bad_held")
        digest = codec.octets(digest, DIGEST_BYTES, "bad_held")
        key = codec.octets(key, KEY_BYTES, "bad_held")
        signature = codec.octets(signature, SIGNATURE_BYTES, "bad_held")
        if digest != self._digest and key in self._willing and len(self._early) < EARLY_MAX:
            self._early[digest, key] = signature  # perhaps of the header that this node is about to take
        if digest != self._digest or key not in self._willing or key in self._signatures:
            return False
        if not Held.is_signed(self._network, key, signature, digest):
            raise RemoteError("bad_signature", key.hex())
        self._signatures[key] = signature
        return True

    def operation(self, now_ms: int) -> Held | None:
        """What the next body begins with: who has signed, and who was drawn and has not."""
        silent: list[bytes] = []
        if self._ticks(now_ms) >= ENOUGH_TICKS and len(self._signatures) < self.required:
            silent = sorted(key for key in self.candidates if key not in self._signatures)
        if not self._signatures and not silent:
            return None
        signatures = sorted(self._signatures.items())[:HELD_SIGNATURES_MAX]
        return Held(self._digest, tuple(signatures), tuple(silent))

    def suffices(self, body: Draftable | None, now_ms: int) -> bool:
        """True if a body that somebody proposes has the signatures that make its predecessor final, and names nobody as
        silent before it is time, or who is not."""
        operation = None if body is None or not body.operations else body.operations[0][0]
        ticks = self._ticks(now_ms)
        if isinstance(operation, Held) and operation.silent:
            is_early = ticks < ENOUGH_TICKS - TICKS_APART_MAX
            if is_early or any(key in self._signatures for key in operation.silent):
                return False
        if ticks >= ENOUGH_TICKS or not self.required or body is None:
            return True
        return isinstance(operation, Held) and len(operation.signatures) >= self.required
