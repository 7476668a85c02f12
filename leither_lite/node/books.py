"""The bookkeeper's desk: the open body, what waits in it, and the seal that ends it (docs/protocol.md, section 4).

Decides when an operation counts as accepted, and what a seal writes. A roster of one seals alone: its vote for a
header lies in the same transaction as the seal, so the two are never apart. Never reads a clock.
"""

from __future__ import annotations

from typing import Any, Final

from leither_lite.board import Board
from leither_lite.effects import Effects, Note, Write
from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.header import Header, sign_seal
from leither_lite.ledger.body import Body
from leither_lite.ledger.group import Group, entry_writes
from leither_lite.ledger.operations import Operation, decode
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.records import Entry
from leither_lite.ledger.signed import Status
from leither_lite.node import retention
from leither_lite.node.transfers import Transfer
from leither_lite.node.wallet import Wallet, kept_transfer, queued_content, read_queued
from leither_lite.store import keys
from leither_lite.store.reader import Reader

_REFUSALS: Final = {
    Status.ACCOUNT_FROZEN: "a dispute has frozen the account",
    Status.BODY_FULL: "this pulse is full; try again after it",
    Status.EXPIRED: "it is not valid any more",
    Status.INSUFFICIENT_BALANCE: "the account does not hold that much",
    Status.PAYER_IS_PAYEE: "an account cannot pay itself",
    Status.AMOUNT_ZERO: "the amount is 0",
    Status.AMOUNT_MISMATCH: "the amount is not the invoice's",
    Status.UNKNOWN_PAYEE: "the payee has no account in this organization",
    Status.UNKNOWN_PAYER: "the payer has no account in this organization",
    Status.GROUP_FULL: "the group has no room for another account",
    Status.NOT_PERMITTED: "the role of the account does not permit it",
    Status.ID_TOO_CLOSE: "an account with nearly the same id is there: make another key",
    Status.INVITE_USED: "the invite has been used",
    Status.ROLE_FIXED: "the role of that account does not change",
    Status.UNKNOWN_ACCOUNT: "there is no such account in this organization",
    Status.ACCOUNT_EXISTS: "there is an account with that key",
}


class Books:
    """The group, the body that is open on it, and the accepted operations that wait for its seal."""

    def __init__(self, reader: Reader, board: Board, group: Group, wallet: Wallet, publicity_ticks: int) -> None:
        """Take what was accepted before the last stop into the open body, in the order in which it came.

        Raises Halt("store_corrupt").
        """
        self._reader = reader
        self._board = board
        self._wallet = wallet
        self._publicity_ticks = publicity_ticks
        self._queue: dict[int, tuple[int, str | None]] = {}  # our transfer's number or 0, why it was refused
        self._unsaved: dict[int, tuple[bytes, int, bytes, bytes]] = {}
        self._next_queued = 1
        self._under_way: tuple[Body, Header] | None = None
        self.may_seal = group.roster_keys == (wallet.node_key.public,)
        self.group = group
        self.body = Body(group)
        for key, content in reader.scan(*keys.QUEUED):
            operation_content, number, asked, request = read_queued(content)
            try:
                operation = decode(operation_content)
            except RemoteError as error:
                raise Halt("store_corrupt", f"a queued operation in the store cannot be read: {error}") from error
            # A body with one bad signature in it convicts whoever seals it: no damage to the store may lead there.
            if operation.check_signatures(group.network) is not Status.OK:
                raise Halt("store_corrupt", "a queued operation in the store is not the one that was accepted")
            status = self.body.take(operation, operation_content)
            self._next_queued = keys.sequence_of(key)
            self._await_seal(number, operation, asked, request, None if status is Status.OK else status.value)

    def performed(self) -> None:
        """What the last turn has sealed lies in the store now."""
        self._under_way = None
        self._wallet.performed()

    @property
    def header(self) -> Header:
        """The newest header that surely is on disk: not one whose commit is under way."""
        return self.group.header if self._under_way is None else self._under_way[1]

    def entry(self, account: bytes) -> Entry | None:
        """An account's entry as of `header`."""
        if self._under_way is not None and account in self._under_way[0].before:
            return self._under_way[0].before[account]
        return self.body.entry_before(account)

    @property
    def has_work(self) -> bool:
        """True while something waits for a seal."""
        return bool(self._queue)

    def _await_seal(
        self, number: int, operation: Operation, asked: bytes, request: bytes, refusal: str | None
    ) -> Transfer | None:
        self._queue[self._next_queued] = (number, refusal)
        self._next_queued += 1
        if not number or not isinstance(operation, Payment | Distribution):
            return None
        return self._wallet.await_seal(number, self.group.network, operation, asked, request)

    def accept(self, operation: Operation, content: bytes, asked: bytes = b"", request: bytes = b"") -> dict[str, Any]:
        """Execute an operation whose signatures are good on the open body, and keep it until it is sealed.

        Raises LocalError with the status of the ledger as its code; then nothing has changed.
        """
        status = self.body.take(operation, content)
        if status is not Status.OK:
            raise local_error(status)
        number = self._wallet.number_of(operation)
        self._unsaved[self._next_queued] = (content, number, asked, request)
        transfer = self._await_seal(number, operation, asked, request, None)
        if transfer is None:
            return {"state": "pending"}
        return {"id": transfer.name(number), "state": transfer.state, "repeated": False}

    def save(self) -> list[Write]:
        """What keeps the operations that this turn has accepted, and not sealed, over a stop."""
        writes: list[Write] = [
            (keys.queued(sequence), queued_content(*parts)) for sequence, parts in self._unsaved.items()
        ]
        self._unsaved = {}
        return writes

    def seal(self, effects: Effects, term: int, tick: int) -> None:
        """Close the open body, seal it as the roster of one that this node is, and open the next."""
        body, group, wallet = self.body, self.group, self._wallet
        key = wallet.node_key
        if not self.may_seal:
            raise Halt("not_the_roster", "this node's key is not the roster of one that may seal")
        refused = sum(1 for _, refusal in self._queue.values() if refusal is not None)
        writes = effects.writes
        if not body.is_empty:
            header = body.close(term, tick)
            header_bytes = header.encode()
            self._under_way = (body, group.header)
            sealed = body.seal(header_bytes, header, ((key.public, sign_seal(key, header_bytes)),))
            pulse = header.pulse
            writes.append((keys.sealed(pulse), sealed.encode()))
            writes += [(keys.segment(pulse, index), segment) for index, segment in enumerate(body.segments)]
            writes += entry_writes(pulse, body.records, group.entries)
            writes += [(keys.invite(item), pulse.to_bytes(8, "big")) for item in body.used_invites]
            effects.notes.append(
                Note(
                    "pulse",
                    {
                        "pulse": pulse,
                        "tick": header.tick,
                        "term": header.term,
                        "root": header.node.hex(),
                        "operations": len(self._queue) - refused,
                    },
                )
            )
        added = 0
        for sequence, (number, refusal) in self._queue.items():
            if sequence not in self._unsaved:
                writes.append((keys.queued(sequence), None))
            if number:
                transfer, kept_writes = wallet.settle(number, group.header.pulse, refusal)
                writes += kept_writes
                added += 1
                effects.notes.append(Note("transfer", transfer.to_json(number)))
        writes += retention.old_pulses(self._reader, self._board, group.header.pulse)
        writes += retention.old_bodies(self._reader, group.header.pulse, tick, self._publicity_ticks)
        newest = wallet.next_number - 1
        writes += retention.old_transfers(self._reader, self._board, added, newest, kept_transfer, wallet.forget)
        self._queue, self._unsaved = {}, {}
        self.body = Body(group)


def local_error(status: Status) -> LocalError:
    """The caller's error for a status of the ledger."""
    return LocalError(status.value, _REFUSALS.get(status, "the ledger refuses it"))
