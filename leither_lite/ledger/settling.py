"""Operations on receipts: what settles them, resolves them, and takes them back (docs/protocol.md, section 5.6).

Decides whether one is well formed, and whether what it shows leads to the root header in it. Whether that header is one
of the root chain, and what the state allows, is decided in `ledger.judge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import RemoteError
from leither_lite.header import state_digest
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import State
from leither_lite.limits import ID_BYTES, NODE_BYTES, STATE_BYTES_MAX, UINT_MAX
from leither_lite.tree.node import EMPTY, bit
from leither_lite.tree.shown import Shown, fold_set, steps_value, take_steps

Steps = tuple[tuple[int, bytes], ...]
"""The way up in a set: depth and sibling (36 bytes) of each branch."""

RECEIPTS_MAX: Final = 5
"""Each may be settled, and sent back: three items of sets of the 16 that a segment may touch."""
RESOLVED_MAX: Final = 8
"""With the longest ways up in the largest sets, and the longest S, these fit into a segment."""
_BAD: Final = "bad_operation"


@dataclass(frozen=True, slots=True)
class Settle:
    """Receipts that another group has sent, each with its way up in the outbox: they are to be settled here."""

    CODE: ClassVar[int] = 9
    shown: Shown
    receipts: tuple[tuple[Receipt, Steps], ...]

    @classmethod
    def from_values(cls, values: list[Value]) -> Settle:
        """Raises RemoteError("bad_operation"), or a reason of proofs."""
        _, shown, receipts = codec.fields(values, 3, _BAD)
        taken = []
        for each in codec.items(receipts, RECEIPTS_MAX, _BAD):
            receipt, steps = codec.fields(each, 2, _BAD)
            taken.append((Receipt.take(receipt, _BAD), take_steps(steps, _BAD)))
        if not taken:
            raise RemoteError(_BAD, "no receipts")
        return cls(Shown.take(shown, _BAD), tuple(taken))

    def encode(self) -> bytes:
        """CBOR [9, shown, [[receipt, steps], ...]]."""
        return encode(
            [
                self.CODE,
                self.shown.value(),
                [[receipt.value(), steps_value(steps)] for receipt, steps in self.receipts],
            ]
        )

    @property
    def sent(self) -> tuple[tuple[Receipt, int], ...]:
        """Each receipt with the pulse of the header that sent it."""
        return tuple((receipt, self.shown.pulse) for receipt, _ in self.receipts)

    def check_signatures(self, network: bytes) -> Status:
        """OK or NOT_SHOWN: every receipt is in the outbox of the group that is shown."""
        shown = self.shown
        try:
            tick = shown.check(network).tick
            for receipt, steps in self.receipts:
                found = fold_set(receipt.leaf(shown.pulse), receipt.id, steps)
                if found != shown.outbox or not shown.holds(receipt.payer) or receipt.date > tick:
                    return Status.NOT_SHOWN
        except RemoteError:
            return Status.NOT_SHOWN
        return Status.OK


class OtherReceipt(NamedTuple):
    """The receipt that stands in a set where an absent one would, and the pulse of the header that sent it.

    The whole of it, since its id alone could be a branch's hash.
    """

    receipt: Receipt
    pulse: int


def _check_state(shown: Shown, network: bytes, content: bytes) -> State:
    """The state S of the group that is shown. Raises RemoteError."""
    shown.check(network)
    if state_digest(content) != shown.state:
        raise RemoteError("shown_mismatch", "another state")
    return State.decode_alone(content)[0]


@dataclass(frozen=True, slots=True)
class Resolve:
    """Ids of receipts (20 bytes) that are settled, with leaf and way up in the set `settled` of the group shown, whose
    S is `state`: they wait no more."""

    CODE: ClassVar[int] = 10
    shown: Shown
    state: bytes
    settled: tuple[tuple[bytes, bytes, Steps], ...]

    @classmethod
    def from_values(cls, values: list[Value]) -> Resolve:
        """Raises RemoteError("bad_operation"), or a reason of proofs."""
        _, shown, state, settled = codec.fields(values, 4, _BAD)
        taken = []
        for each in codec.items(settled, RESOLVED_MAX, _BAD):
            item, leaf, steps = codec.fields(each, 3, _BAD)
            taken.append(
                (codec.octets(item, ID_BYTES, _BAD), codec.octets(leaf, NODE_BYTES, _BAD), take_steps(steps, _BAD))
            )
        if not taken:
            raise RemoteError(_BAD, "no receipts")
        return cls(Shown.take(shown, _BAD), codec.octets_upto(state, STATE_BYTES_MAX, _BAD), tuple(taken))

    def encode(self) -> bytes:
        """CBOR [10, shown, S, [[id, leaf, steps], ...]]."""
        settled: Value = [[item, leaf, steps_value(steps)] for item, leaf, steps in self.settled]
        return encode([self.CODE, self.shown.value(), self.state, settled])

    def check_signatures(self, network: bytes) -> Status:
        """OK or NOT_SHOWN: every receipt is in the set."""
        try:
            root = _check_state(self.shown, network, self.state).settled
            for item, leaf, steps in self.settled:
                if leaf[16:] != item or fold_set(leaf, item, steps) != root:
                    return Status.NOT_SHOWN
        except RemoteError:
            return Status.NOT_SHOWN
        return Status.OK


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Ids of receipts that were not settled in time: of each what stands in its place in the set `settled` of the group
    shown, whose S is `state`, with the way up; None where that set is empty."""

    CODE: ClassVar[int] = 11
    shown: Shown
    state: bytes
    absent: tuple[tuple[bytes, OtherReceipt | None, Steps], ...]

    @classmethod
    def from_values(cls, values: list[Value]) -> Reclaim:
        """Raises RemoteError("bad_operation"), or a reason of proofs."""
        _, shown, state, absent = codec.fields(values, 4, _BAD)
        taken: list[tuple[bytes, OtherReceipt | None, Steps]] = []
        for each in codec.items(absent, RESOLVED_MAX, _BAD):
            item, other, steps = codec.fields(each, 3, _BAD)
            found = None
            if other != []:
                receipt, pulse = codec.fields(other, 2, _BAD)
                found = OtherReceipt(Receipt.take(receipt, _BAD), codec.uint(pulse, UINT_MAX, _BAD))
            taken.append((codec.octets(item, ID_BYTES, _BAD), found, take_steps(steps, _BAD)))
        if not taken:
            raise RemoteError(_BAD, "no receipts")
        return cls(Shown.take(shown, _BAD), codec.octets_upto(state, STATE_BYTES_MAX, _BAD), tuple(taken))

    def encode(self) -> bytes:
        """CBOR [11, shown, S, [[id, [other receipt, pulse] or [], steps], ...]]."""
        absent: list[Value] = []
        for item, other, steps in self.absent:
            absent.append([item, [] if other is None else [other.receipt.value(), other.pulse], steps_value(steps)])
        return encode([self.CODE, self.shown.value(), self.state, absent])

    @property
    def its_state(self) -> State:
        """S of the group shown, without the willing. Raises RemoteError("bad_state")."""
        return State.decode_alone(self.state)[0]

    def check_signatures(self, network: bytes) -> Status:
        """OK or NOT_SHOWN: none of the receipts is in the set."""
        try:
            root = _check_state(self.shown, network, self.state).settled
            for item, other, steps in self.absent:
                if not _is_absent(root, item, other, steps):
                    return Status.NOT_SHOWN
        except RemoteError:
            return Status.NOT_SHOWN
        return Status.OK


def _is_absent(root: bytes, item: bytes, other: OtherReceipt | None, steps: Sequence[tuple[int, bytes]]) -> bool:
    """True if a search for `item` in the set ends at another leaf, or in an empty set. Raises RemoteError."""
    if other is None:
        return root == EMPTY and not steps
    found = other.receipt.id
    agrees = all(bit(found, depth) == bit(item, depth) for depth, _ in steps)
    return found != item and agrees and fold_set(other.receipt.leaf(other.pulse), found, steps) == root
