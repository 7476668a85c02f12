"""Who is connected, who may say what, what has been heard already, and where others are (docs/protocol.md, section 9).

Decides to whom frames go: everything that the group shares goes to every member once, over whichever connections there
are. Every table here is bounded. Never decides what a frame means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from leither_lite.effects import Effects
from leither_lite.identity import account_id
from leither_lite.ledger.committee import Willingness
from leither_lite.limits import GROUP_MEMBERS_MAX, ID_BYTES
from leither_lite.node.frames import Status
from leither_lite.node.pool import content_digest

HEARD_MAX: Final = 8_192
"""Frames that a node remembers having heard, in each of two generations: 2 MB at most."""
HEARD_MS: Final = 20_000
NEAR_PULSES_MAX: Final = 3
"""A peer that is no further behind has the newest state."""
GIVEN_BYTES_MAX: Final = 1024 * 1024
"""What is given in one turn, to all who ask: twice the largest body."""
GIVEN_BYTES_A_CHECK: Final = 16 * 1024
"""So many bytes cost who asks as much as one signature check."""
MISBEHAVIOUR_WORK: Final = 50
"""What a frame that no honest node sends costs its sender, in signature checks."""


@dataclass(slots=True, eq=False)
class Peer:
    """A connected node, known by its key."""

    key: bytes
    dialled: bool
    status: Status | None = None
    bits: int = 0
    prefix: bytes = bytes(ID_BYTES)
    """Of its level-1 group, as it has told."""
    pulse: int = 0
    """The newest header of that group that it has told of."""
    is_welcomed: bool = False
    behind: int = 0
    """By how many pulses it was behind this node when it last told where it is."""
    applications: int = 0
    """How many of its applications were taken since the last telling of the status."""
    said_ms: int = 0
    """When it was last told where this node is."""
    failed_ms: int | None = None
    """When it last did not give what it should have."""
    asked_at: int = -1
    """The newest root pulse here when it was asked for a newer one: it is asked once."""
    needs_state: bool = False
    """True where it has not the bodies that this node lacks, only the state after them."""

    @property
    def told(self) -> int:
        """The newest pulse that it has told of; 0 before."""
        return self.pulse if self.status is None else self.status.pulse

    @property
    def account(self) -> bytes:
        """Its account id."""
        return account_id(self.key)


class Peers:
    """The connected peers by key, and the signed addresses of members."""

    def __init__(self, is_member: Callable[[bytes], bool]) -> None:
        self._is_member = is_member
        self.connected: dict[bytes, Peer] = {}
        self.addresses: dict[bytes, Willingness] = {}
        self._heard: dict[bytes, None] = {}
        self._heard_before: dict[bytes, None] = {}
        self._turned_ms = 0
        self._given_bytes = 0

    def join(self, key: bytes, dialled: bool, now_ms: int) -> Peer:
        """A peer is there."""
        peer = self.connected[key] = Peer(key, dialled, said_ms=now_ms)
        return peer

    def leave(self, key: bytes) -> None:
        """A peer is gone."""
        self.connected.pop(key, None)

    def is_near(self, key: bytes) -> bool:
        """True if a peer is connected and, as it has told, has the newest state."""
        peer = self.connected.get(key)
        return peer is not None and peer.status is not None and peer.behind <= NEAR_PULSES_MAX

    def is_member(self, key: bytes) -> bool:
        """True if a key is of the group: its account is in the ledger, or it is on the roster."""
        return self._is_member(key)

    def members(self) -> list[Peer]:
        """The connected members."""
        return [peer for peer in self.connected.values() if self._is_member(peer.key)]

    def hear(self, content: bytes, now_ms: int) -> bool:
        """True if a frame is heard for the first time in a while. Being repeated keeps none in mind for longer."""
        if now_ms - self._turned_ms > HEARD_MS or len(self._heard) >= HEARD_MAX:
            self._turned_ms = now_ms
            self._heard_before, self._heard = self._heard, {}
        digest = content_digest(content)
        if digest in self._heard or digest in self._heard_before:
            return False
        self._heard[digest] = None
        return True

    def tell(self, effects: Effects, content: bytes, source: bytes = b"", keys: Iterable[bytes] | None = None) -> None:
        """Send a frame to all connected members, or to those of `keys`; not back to where it came from."""
        for peer in self.members() if keys is None else [self.connected[key] for key in keys if key in self.connected]:
            if peer.key != source:
                effects.sends.append((peer.key, content))

    def blame(self, effects: Effects, key: bytes, work: int = MISBEHAVIOUR_WORK) -> None:
        """Count something against a peer."""
        if key in self.connected:
            effects.work.append((key, work))

    def may_give(self, effects: Effects, size: int, source: bytes) -> bool:
        """True while a turn gives no more than this much to all who ask; who asks pays for it with its budget."""
        effects.work.append((source, 1 + size // GIVEN_BYTES_A_CHECK))
        self._given_bytes += size
        return self._given_bytes <= GIVEN_BYTES_MAX

    def begin_turn(self) -> None:
        """A new turn may give again."""
        self._given_bytes = 0

    def learn(self, address: Willingness) -> bool:
        """Take a member's signed address; True if it is newer than what was known."""
        known = self.addresses.get(address.key)
        if known is not None and known.number >= address.number:
            return False
        if known is None and len(self.addresses) >= GROUP_MEMBERS_MAX:
            strangers = [key for key in self.addresses if not self._is_member(key)]
            if not strangers:
                return False
            del self.addresses[strangers[0]]
        self.addresses[address.key] = address
        return True
