"""The node's own accounts and what it remembers of their transfers (docs/store.md).

Decides which transfers are shown, and whether an invoice or an idempotency key has been used here. Keys of further
accounts are derived from the node's own, so one exported key brings all of them back. Never executes anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.effects import Write
from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.identity import Key, h32
from leither_lite.ledger.joins import Application
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.payments import Distribution, Payment
from leither_lite.ledger.receipts import Receipt
from leither_lite.limits import DIGEST_BYTES, FRAME_BYTES_MAX, UINT_MAX
from leither_lite.node.transfers import DEBITED, REFUNDED, Transfer, parties
from leither_lite.store import keys
from leither_lite.store.reader import Reader

IDEMPOTENCY_KEY_BYTES_MAX = 256
DERIVED_MAX = 65_536
"""No board keeps more accounts."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """The node's account key, and the organization's where its file is here."""

    node: Key
    organization: Key | None = None


class Wallet:
    """Keys by account, transfers by number: pending ones in memory, sealed ones in the store.

    A transfer counts as pending until the store has it: what a turn says is not so before its commit.
    """

    def __init__(self, reader: Reader, keyring: Keyring) -> None:
        self._reader = reader
        self.node_key = keyring.node
        self.organization_key = keyring.organization
        self.derived = int.from_bytes(reader.get(keys.WALLET) or b"", "big")
        if self.derived > DERIVED_MAX:
            raise Halt("store_corrupt", f"the store counts {self.derived} further accounts; there are {DERIVED_MAX}")
        self.keys: dict[bytes, Key] = {self.node_key.account: self.node_key}
        for index in range(1, self.derived + 1):
            key = self.node_key.derive(index)
            self.keys[key.account] = key
        organization = keyring.organization
        self._own: set[bytes] = {*self.keys, *(() if organization is None else (organization.account,))}
        self.pending: dict[int, Transfer] = {}
        self._paid: dict[bytes, int] = {}
        self._asked: dict[bytes, tuple[int, bytes]] = {}
        self._settled: list[int] = []
        newest = next(reader.scan(*keys.TRANSFERS, reverse=True), None)
        self.next_number = 1 if newest is None else 1 + keys.sequence_of(newest[0])

    def key(self, account: bytes | None) -> Key:
        """The key of one of this node's accounts, the first by default. Raises LocalError("not_own_account")."""
        if account is None:
            return self.node_key
        key = self.keys.get(account)
        if key is None:
            raise LocalError("not_own_account", "this node does not hold the key of that account")
        return key

    def next_key(self, suits: Callable[[bytes], bool], most: int) -> tuple[int, Key] | None:
        """The next derived key whose account suits, and its number, up to `most`; None if there is none."""
        for number in range(self.derived + 1, most + 1):
            key = self.node_key.derive(number)
            if suits(key.account):
                return number, key
        return None

    def add_account(self, number: int, key: Key) -> Write:
        """Take a derived key as an account of this node; the write makes it last."""
        self.derived = number
        self.keys[key.account] = key
        self._own.add(key.account)
        return keys.WALLET, self.derived.to_bytes(8, "big")

    def number_of(self, operation: Operation) -> int:
        """The number of the transfer that an operation makes, if one side of it is ours; else 0."""
        if not isinstance(operation, Payment | Distribution) or self._own.isdisjoint(parties(operation)):
            return 0
        return self.next_number

    def await_seal(
        self, number: int, network: bytes, operation: Payment | Distribution, asked: bytes, request: bytes
    ) -> Transfer:
        """Remember the transfer number `number` until it is sealed: asking for it again then finds it."""
        self.next_number = max(self.next_number, number + 1)
        transfer = Transfer.of(network, operation, asked)
        self.pending[number] = transfer
        if self._is_paid_here(transfer):
            self._paid[keys.paid(transfer.payer, transfer.invoice)] = number
        if asked:
            self._asked[asked] = (number, request)
        return transfer

    def _is_paid_here(self, transfer: Transfer) -> bool:
        """True for what this node must not pay twice."""
        return transfer.fixed and transfer.payer in self._own

    def settle(
        self,
        number: int,
        pulse: int,
        refusal: str | None,
        *,
        missed: bool = False,
        holds: Callable[[bytes], bool] = lambda account: True,
    ) -> tuple[Transfer, list[Write]]:
        """The transfer number `number` as sealed in `pulse`, or refused, and what to keep of it.

        `missed`: it was sealed while this node was away, as far as can be told. `holds` says of an id whether it is of
        the own group.
        """
        transfer = self.pending[number]
        self._settled.append(number)
        if missed:
            transfer, refusal = transfer.passed(pulse), None
        else:
            goes_far = not holds(transfer.payee)
            transfer = transfer.sealed(pulse, goes_far=goes_far) if refusal is None else transfer.refused(refusal)
        writes: list[Write] = [(keys.transfer(number), transfer.encode())]
        told = number.to_bytes(8, "big")
        if transfer.state == DEBITED:
            writes.append((keys.debited(transfer.payer, transfer.sent), told))
        if self._is_paid_here(transfer):
            key = keys.paid(transfer.payer, transfer.invoice)
            self._paid.pop(key, None)
            if refusal is None:
                writes.append((key, told))
        if transfer.asked:
            _, request = self._asked.pop(transfer.asked, (0, b""))
            writes.append((keys.idempotency(transfer.asked), told + request))
        return transfer, writes

    def resolve(self, receipt: Receipt, state: str, pulse: int) -> list[tuple[int, Transfer, list[Write]]]:
        """What became of a transfer of ours that another group was to credit: its number, itself, what to keep."""
        row = keys.debited(receipt.payer, receipt.sent)
        number = int.from_bytes(self._reader.get(row) or b"", "big")
        transfer = self.transfer(number) if number else None
        if transfer is None:
            return []
        transfer = transfer.resolved(state)
        return [(number, transfer, [(row, None), (keys.transfer(number), transfer.encode())])]

    def refunded(self, receipt: Receipt, pulse: int) -> list[tuple[int, Transfer, list[Write]]]:
        """A transfer of ours has come back: its payee's group could not credit it."""
        return self.resolve(receipt._replace(payer=receipt.payee), REFUNDED, pulse)

    def arrived(self, receipt: Receipt, pulse: int) -> list[tuple[int, Transfer, list[Write]]]:
        """Something has come from another group for an account of ours."""
        if receipt.payee not in self._own:
            return []
        number, self.next_number = self.next_number, self.next_number + 1
        transfer = Transfer.of_receipt(receipt, pulse)
        return [(number, transfer, [(keys.transfer(number), transfer.encode())])]

    def performed(self) -> None:
        """What the last turn has settled lies in the store now."""
        for number in self._settled:
            self.pending.pop(number, None)
        self._settled = []

    def forget(self, number: int, transfer: Transfer) -> list[Write]:
        """What to delete with a transfer that is older than the board keeps."""
        writes: list[Write] = [(keys.transfer(number), None)]
        rows = (keys.paid(transfer.payer, transfer.invoice), keys.debited(transfer.payer, transfer.sent))
        writes += [(row, None) for row in rows if self._reader.get(row) == number.to_bytes(8, "big")]
        if transfer.asked:
            writes.append((keys.idempotency(transfer.asked), None))
        return writes

    def payment_of(self, payer: bytes, invoice_digest: bytes) -> int | None:
        """The number of the transfer that paid a fixed invoice from `payer`, None if none did."""
        key = keys.paid(payer, invoice_digest)
        found = self._paid.get(key)
        if found is None:
            kept = self._reader.get(key)
            found = None if kept is None else int.from_bytes(kept, "big")
        return found

    def asked_before(self, asked: bytes, request: bytes) -> int | None:
        """The number of the transfer that an idempotency key made.

        Raises LocalError("idempotency_conflict") if it was used for another request.
        """
        found = self._asked.get(asked)
        if found is None:
            kept = self._reader.get(keys.idempotency(asked))
            if kept is None:
                return None
            found = (int.from_bytes(kept[:8], "big"), kept[8:])
        if found[1] != request:
            raise LocalError("idempotency_conflict", "this idempotency key was used for another request")
        return found[0]

    def transfer(self, number: int) -> Transfer | None:
        """A transfer by its number."""
        content = self._reader.get(keys.transfer(number))
        return self.pending.get(number) if content is None else kept_transfer(content)

    def transfer_named(self, name: str) -> tuple[int, Transfer]:
        """A transfer by its id. Raises LocalError("unknown_transfer")."""
        number = number_of_name(name)
        transfer = None if number is None else self.transfer(number)
        if number is None or transfer is None or transfer.name(number) != name:
            raise LocalError("unknown_transfer", "this node has no transfer with that id")
        return number, transfer

    def newest(self, before: int | None, limit: int) -> list[tuple[int, Transfer]]:
        """At most `limit` transfers with a number below `before`, newest first."""
        end = keys.PULSE_MAX if before is None else before
        found = {number: transfer for number, transfer in self.pending.items() if number < end}
        for key, content in islice(self._scan(end), limit):
            found[keys.sequence_of(key)] = kept_transfer(content)
        return sorted(found.items(), reverse=True)[:limit]

    def _scan(self, end: int) -> Iterator[tuple[bytes, bytes]]:
        return self._reader.scan(keys.TRANSFERS[0], keys.transfer(end), reverse=True)


def kept_transfer(content: bytes) -> Transfer:
    """A transfer that our own store holds. Raises Halt("store_corrupt")."""
    try:
        return Transfer.decode(content)
    except RemoteError as error:
        raise Halt("store_corrupt", f"a transfer in the store cannot be read: {error}") from error


def kept_application(content: bytes) -> Application:
    """An application that our own store holds. Raises Halt("store_corrupt")."""
    try:
        return Application.from_values(*codec.fields(codec.decode(content), 2, "bad_application"))
    except RemoteError as error:
        raise Halt("store_corrupt", f"an application in the store cannot be read: {error}") from error


def number_of_name(name: str) -> int | None:
    """The number in a transfer's id, None if it is none."""
    if len(name) != 32 or not set(name) <= set("0123456789abcdef"):
        return None
    return int(name[:16], 16)


def asked_digest(account: bytes, idempotency_key: str | None) -> bytes:
    """What is kept of a caller's idempotency key: 16 bytes; empty without one.

    Raises LocalError("bad_idempotency_key").
    """
    if idempotency_key is None:
        return b""
    content = idempotency_key.encode("utf-8", "surrogatepass")
    if not 0 < len(content) <= IDEMPOTENCY_KEY_BYTES_MAX:
        raise LocalError("bad_idempotency_key", f"an idempotency key has 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes")
    return h32("asked", account + content)[:16]


def request_digest(*parts: int | bytes | str) -> bytes:
    """What is kept of the request that an idempotency key was used for: 16 bytes."""
    return h32("asked", encode(list(parts)))[:16]


def queued_content(operation: bytes, number: int, asked: bytes, request: bytes) -> bytes:
    """What is kept of an accepted operation until it is sealed: CBOR [operation, number of our transfer or 0, asked,
    request]."""
    return encode([operation, number, asked, request])


def read_queued(content: bytes) -> tuple[bytes, int, bytes, bytes]:
    """The inverse of `queued_content`. Raises Halt("store_corrupt")."""
    try:
        operation, number, asked, request = codec.fields(codec.decode(content), 4, "bad_queued")
        return (
            codec.octets_upto(operation, FRAME_BYTES_MAX, "bad_queued"),
            codec.uint(number, UINT_MAX - 1, "bad_queued"),
            codec.octets_upto(asked, DIGEST_BYTES, "bad_queued"),
            codec.octets_upto(request, DIGEST_BYTES, "bad_queued"),
        )
    except RemoteError as error:
        raise Halt("store_corrupt", f"a queued operation in the store cannot be read: {error}") from error
