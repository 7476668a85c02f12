"""Every kind of operation, and how one is told from another (docs/protocol.md, section 5)."""

from __future__ import annotations

from typing import Final

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import RemoteError
from leither_lite.ledger.asked import LateSettle
from leither_lite.ledger.committee import Appointment, Held, Willingness
from leither_lite.ledger.joins import Admission, InvitedJoin, RoleChange
from leither_lite.ledger.payments import PAYMENT_CODE, Distribution, Payment
from leither_lite.ledger.settling import Reclaim, Resolve, Settle
from leither_lite.ledger.structure import TermEnd

Signed = Payment | Distribution | Admission | InvitedJoin | RoleChange | Appointment | Willingness
Shown = Settle | Resolve | Reclaim
Operation = Signed | Shown | Held | TermEnd
"""What somebody asks for by his signature; what shows a receipt's fate; and what only the proposer of a body says."""

_KINDS: Final[dict[int, type[Operation]]] = {
    PAYMENT_CODE: Payment,
    Distribution.CODE: Distribution,
    Admission.CODE: Admission,
    InvitedJoin.CODE: InvitedJoin,
    RoleChange.CODE: RoleChange,
    Appointment.CODE: Appointment,
    Willingness.CODE: Willingness,
    Held.CODE: Held,
    Settle.CODE: Settle,
    Resolve.CODE: Resolve,
    Reclaim.CODE: Reclaim,
    TermEnd.CODE: TermEnd,
    LateSettle.CODE: LateSettle,
}


def from_value(value: Value) -> Operation:
    """The operation of a decoded array. Raises RemoteError("bad_operation" or "bad_invoice"), or the codec's."""
    values = codec.items(value, 6, "bad_operation")
    code = values[0] if values else None
    kind = _KINDS.get(code) if type(code) is int else None
    if kind is None:
        raise RemoteError("bad_operation", "an unknown kind of operation")
    return kind.from_values(values)


def decode(content: bytes) -> Operation:
    """The operation of its CBOR. Raises RemoteError("bad_operation" or "bad_invoice"), or a reason of the codec."""
    return from_value(codec.decode(content))
