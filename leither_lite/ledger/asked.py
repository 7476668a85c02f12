"""Asking what became of receipts: who asks shows that they wait in its group (docs/protocol.md, section 9.3).

An answer shows what stands beside them in another group's set, which is for nobody else. Decides whether what is asked
is shown so; whether the root header in it is one of the root chain is for its caller to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import state_digest
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.sets import PendingSet
from leither_lite.ledger.settling import RESOLVED_MAX, Steps
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
    def take(cls, values: list[Value]) -> Ask:
        """The inverse of `values`, unchecked. Raises RemoteError("bad_ask"), or a reason of proofs."""
        shown, state, receipts = codec.fields(values, 3, _BAD)
        taken = []
        for each in codec.items(receipts, RESOLVED_MAX, _BAD):
            receipt, pulse, steps = codec.fields(each, 3, _BAD)
            taken.append((Receipt.take(receipt, _BAD), codec.uint(pulse, UINT_MAX, _BAD), take_steps(steps, _BAD)))
        if not taken:
            raise RemoteError(_BAD, "no receipts")
        return cls(Shown.take(shown, _BAD), codec.octets_upto(state, STATE_BYTES_MAX, _BAD), tuple(taken))

    def check(self, network: bytes) -> None:
        """Raises RemoteError: ask_not_shown, or a reason of what is shown and of states."""
        self.shown.check(network)
        if state_digest(self.state) != self.shown.state:
            raise RemoteError("ask_not_shown", "another state")
        root = State.decode_alone(self.state)[0].pending
        for receipt, pulse, steps in self.receipts:
            if fold_set(receipt.leaf(pulse), receipt.id, steps) != root or not self.shown.holds(receipt.payer):
                raise RemoteError("ask_not_shown", "a receipt does not wait in that group")
