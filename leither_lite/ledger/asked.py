"""Receipts that wait, as their group shows them: to ask what became of them, or to have them settled late.

Carries out docs/protocol.md, sections 5.6 and 9.3. An answer shows what stands beside them in another set, which is for
nobody else. Decides whether they are shown so; whether the root header in it is of the root chain is for its caller.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import Header, state_digest
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.sets import PendingSet
from leither_lite.ledger.settling import RECEIPTS_MAX, RESOLVED_MAX, Settle, Steps
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import State
from leither_lite.limits import STATE_BYTES_MAX, UINT_MAX
from leither_lite.tree.shown import Shown, fold_set, steps_value, take_steps

_BAD: Final = "bad_ask"


@dataclass(frozen=True, slots=True)
class Ask:
    """Receipts, each with the pulse of the header that sent it and its way up in the set `pending` of the group that is
    shown, whose S is `state`."""

    shown: Shown
    state: bytes
    receipts: tuple[tuple[Receipt, int, Steps], ...]

    @classmethod
    def of(cls, shown: Shown, state: bytes, pending: PendingSet, items: Iterable[bytes]) -> Ask:
        """About receipts with these ids, at most 8. Raises Halt("not_here") for one that is not pending."""
        found = []
        for item in items:
            path = pending.tree.path(item)
            if path is None or path.account != item:
                raise Halt("not_here", "a receipt that does not wait here cannot be shown so")
            found.append((*pending.items[item], path.steps))
        return cls(shown, state, tuple(found))

    def values(self) -> list[Value]:
        """[shown, S, [[receipt, pulse, steps], …]]"""
        receipts: Value = [[receipt.value(), pulse, steps_value(steps)] for receipt, pulse, steps in self.receipts]
        return [self.shown.value(), self.state, receipts]

    @classmethod
    def take(cls, values: list[Value], most: int = RESOLVED_MAX, bad: str = _BAD) -> Ask:
        """The inverse of `values`, unchecked: `most` receipts. Raises RemoteError(`bad`), or a reason of proofs."""
        shown, state, receipts = codec.fields(values, 3, bad)
        taken = []
        for each in codec.items(receipts, most, bad):
            receipt, pulse, steps = codec.fields(each, 3, bad)
            taken.append((Receipt.take(receipt, bad), codec.uint(pulse, UINT_MAX, bad), take_steps(steps, bad)))
        if not taken:
            raise RemoteError(bad, "no receipts")
        return cls(Shown.take(shown, bad), codec.octets_upto(state, STATE_BYTES_MAX, bad), tuple(taken))

    def check(self, network: bytes) -> None:
        """Raises RemoteError: ask_not_shown, or a reason of what is shown and of states."""
        self.shown.check(network)
        if state_digest(self.state) != self.shown.state:
            raise RemoteError("ask_not_shown", "another state")
        root = State.decode_alone(self.state)[0].pending
        for receipt, pulse, steps in self.receipts:
            if fold_set(receipt.leaf(pulse), receipt.id, steps) != root or not self.shown.holds(receipt.payer):
                raise RemoteError("ask_not_shown", "a receipt does not wait in that group")


@dataclass(frozen=True, slots=True)
class LateSettle(Settle):
    """Receipts that still wait in the group that is shown, as `ask` shows them: they are to be settled here."""

    CODE: ClassVar[int] = 15
    ask: Ask

    @classmethod
    def of(cls, ask: Ask) -> LateSettle:
        """What settles the receipts that are asked for."""
        return cls(ask.shown, tuple((receipt, steps) for receipt, _, steps in ask.receipts), ask)

    @classmethod
    def from_values(cls, values: list[Value]) -> LateSettle:
        """Raises RemoteError("bad_operation"), or a reason of proofs."""
        return cls.of(Ask.take(values[1:], RECEIPTS_MAX, "bad_operation"))

    def encode(self) -> bytes:
        """CBOR [15, shown, S, [[receipt, pulse, steps], ...]]."""
        return encode([self.CODE, *self.ask.values()])

    @property
    def sent(self) -> tuple[tuple[Receipt, int], ...]:
        """Each receipt with the pulse of the header that sent it."""
        return tuple((receipt, pulse) for receipt, pulse, _ in self.ask.receipts)

    def check_signatures(self, network: bytes) -> Status:
        """OK or NOT_SHOWN: every receipt waits in the group that is shown."""
        try:
            self.ask.check(network)
        except RemoteError:
            return Status.NOT_SHOWN
        tick = Header.decode(self.shown.root).tick
        return Status.NOT_SHOWN if any(receipt.date > tick for receipt, _ in self.receipts) else Status.OK
