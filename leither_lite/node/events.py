"""What comes into the node's turn: one frozen noun for each thing that somebody asks of it, or that peers do.

`token` is the edge's own number for whoever waits for the reply. Amounts are whole numbers of the smallest unit;
`account` is the 20-byte id of one of this node's accounts, None for its first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from leither_lite import codec
from leither_lite.errors import RemoteError
from leither_lite.header import Checkpoint
from leither_lite.ledger.operations import Operation, from_value
from leither_lite.ledger.signed import Status

FRAME_OPERATION: Final = 1


class OperationReceived(NamedTuple):
    """An operation that came in a frame, its signatures checked; `content` is its CBOR."""

    token: int
    operation: Operation
    content: bytes

    @classmethod
    def from_frame(cls, token: int, network: bytes, content: bytes) -> OperationReceived:
        """Decode a frame, CBOR [1, operation], and check its signatures.

        Needs nothing of the node's state: whoever has frames can do it while a commit is on its way to the disk.
        Raises RemoteError: bad_frame, bad_signature, invoice_mismatch, or what decoding an operation raises.
        """
        kind, value = codec.fields(codec.decode(content), 2, "bad_frame")
        if kind != FRAME_OPERATION or type(kind) is not int:
            raise RemoteError("bad_frame", "an unknown kind of frame")
        operation = from_value(value)
        status = operation.check_signatures(network)
        if status is not Status.OK:
            raise RemoteError(status.value, "a signature does not hold in this network")
        return cls(token, operation, content[_FRAME_HEAD_BYTES:])


_FRAME_HEAD_BYTES: Final = 2  # the array's head, and the kind


class PeerJoined(NamedTuple):
    """A peer (its 32-byte key) is connected, its key proved; `dialled` where this node has dialled it."""

    peer: bytes
    dialled: bool


class PeerLeft(NamedTuple):
    """A peer is not connected any more."""

    peer: bytes


class FrameReceived(NamedTuple):
    """A frame from a peer, as it came."""

    peer: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class CreateInvoice:
    """Sign an invoice for `amount` (0: the payer chooses), valid for `ticks` (0: for ever)."""

    token: int
    account: bytes | None
    amount: int
    memo: str
    ticks: int


@dataclass(frozen=True, slots=True)
class PayInvoice:
    """Pay the invoice of a text; `amount` must be given for an open one."""

    token: int
    account: bytes | None
    invoice: str
    amount: int | None
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class Distribute:
    """Pay from the organization's account, with the reason that is announced."""

    token: int
    payee: bytes
    amount: int
    reason: str
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """Make a further account on this node."""

    token: int
    memo: str


@dataclass(frozen=True, slots=True)
class Apply:
    """Take somebody's application (its content and signature), with the text of an invite if there is one."""

    token: int
    application: bytes
    signature: bytes
    invite: str | None


@dataclass(frozen=True, slots=True)
class ApproveApplication:
    """Admit an applicant, as a supervisor."""

    token: int
    applicant: bytes
    role: int


@dataclass(frozen=True, slots=True)
class RefuseApplication:
    """Forget an application."""

    token: int
    applicant: bytes


@dataclass(frozen=True, slots=True)
class CreateInvite:
    """Sign a single-use invite, valid for `ticks`, as a supervisor."""

    token: int
    role: int
    ticks: int


@dataclass(frozen=True, slots=True)
class ChangeRole:
    """Change an account's role, as a supervisor."""

    token: int
    account: bytes
    role: int


@dataclass(frozen=True, slots=True)
class ChangeRoster:
    """Name the group's next roster, chief first, as a supervisor: public keys, or account ids of nodes known here.

    `force`: even if so many of them are away that nothing may ever be sealed again.
    """

    token: int
    roster: tuple[bytes, ...]
    force: bool = False


@dataclass(frozen=True, slots=True)
class TakeCheckpoint:
    """Take a checkpoint that the organization signed."""

    token: int
    checkpoint: Checkpoint


Request = (
    OperationReceived
    | CreateInvoice
    | PayInvoice
    | Distribute
    | OpenAccount
    | Apply
    | ApproveApplication
    | RefuseApplication
    | CreateInvite
    | ChangeRole
    | ChangeRoster
    | TakeCheckpoint
)
"""What somebody waits for an answer to."""

Event = Request | PeerJoined | PeerLeft | FrameReceived
