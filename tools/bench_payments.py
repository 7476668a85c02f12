"""Payments from frames to the disk, against libsodium verifying two signatures a payment.

Each round runs some pulses of ours and as many bare verifications in turn, so that a busy machine slows both.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from statistics import median

from nacl import bindings

from leither_lite.board import Board
from leither_lite.codec import encode
from leither_lite.edge import machine
from leither_lite.edge.lmdb import Store, schema_write
from leither_lite.effects import Write
from leither_lite.identity import Key, signed_digest
from leither_lite.ledger.joins import Admission, Application
from leither_lite.ledger.payments import Distribution, Invoice, Payment
from leither_lite.ledger.texts import SignedInvoice
from leither_lite.limits import BODY_SEGMENTS_MAX, SEGMENT_BYTES_MAX
from leither_lite.node.events import FRAME_OPERATION, OperationReceived
from leither_lite.node.turn import Node
from leither_lite.node.wallet import Keyring
from leither_lite.organization import Charter, SignedCharter, first_writes, usual_parameters

ACCOUNTS = 200


def key_of(number: int) -> Key:
    """The bench's own keys: a seed from a number."""
    return Key.from_seed(number.to_bytes(32, "big"))


class Bench:
    """A node on a store on the disk, with 200 funded accounts that are not its own, and ready-made frames."""

    def __init__(self, folder: Path) -> None:
        organization, founder = key_of(1), key_of(2)
        charter = Charter(
            organization.public, "bench", 10**12, 1000, (founder.public,), founder.public, usual_parameters()
        )
        self.network = charter.network
        self.store = Store(folder / "ledger.mdb", 1 << 30, create=True)
        self.store.write([schema_write(), *first_writes(SignedCharter.sign(organization, charter), [founder])])
        self.store.renew()
        self.node = Node(self.store, Keyring(founder, organization), Board(), os.urandom, 0)
        self.now_ms = 0
        self.writer = ThreadPoolExecutor(1)
        self.keys = [key_of(1000 + number) for number in range(ACCOUNTS)]
        self.sent = [0] * ACCOUNTS
        operations = [
            Admission.make(self.network, founder, Application.make(self.network, key, ""), 1) for key in self.keys
        ]
        self.pulses([[self.frame(operation.encode()) for operation in operations]])
        grants = [
            Distribution.make(self.network, organization, number, key.account, 10**9, "bench")
            for number, key in enumerate(self.keys)
        ]
        self.pulses([[self.frame(grant.encode()) for grant in grants]])
        self.serial = 0

    @staticmethod
    def frame(operation: bytes) -> bytes:
        """CBOR [1, operation]."""
        return encode([FRAME_OPERATION, []])[:-1] + operation

    def payment(self) -> bytes:
        """The next payment's frame: from one account to the one seven places on."""
        serial = self.serial
        self.serial += 1
        payer, payee = serial % ACCOUNTS, (serial * 7 + 3) % ACCOUNTS
        if payer == payee:
            payee = (payee + 1) % ACCOUNTS
        invoice = Invoice(self.keys[payee].public, 0, serial, 0, "")
        signed = SignedInvoice.sign(self.network, self.keys[payee], invoice)
        payment = Payment.make(
            self.network, self.keys[payer], signed.content, signed.signature, 1 + serial % 9, self.sent[payer]
        )
        self.sent[payer] += 1
        return self.frame(payment.encode())

    def pulses(self, batches: list[list[bytes]]) -> int:
        """Pulses back to back, each committed on its own: the turn that takes a batch ends with its seal.

        Frames of the next pulse are decoded and their signatures checked while a commit is on its way to the disk, as
        the node does. Returns the bytes that were written.
        """
        written = 0
        commit: Future[int] | None = None
        for batch in batches:
            events = [OperationReceived.from_frame(number, self.network, frame) for number, frame in enumerate(batch)]
            if commit is not None:
                written += commit.result()
                self.store.renew()
            self.now_ms += 1000
            effects = self.node.turn(events, self.now_ms)
            commit = self.writer.submit(self._write, effects.writes)
            refused = [reply.value for reply in effects.replies if isinstance(reply.value, Exception)]
            if refused:
                raise RuntimeError(f"refused: {refused[0]}")
        if commit is not None:
            written += commit.result()
            self.store.renew()
        return written

    def _write(self, writes: list[Write]) -> int:
        before = machine.thread_written_bytes()
        self.store.write(writes)
        return machine.thread_written_bytes() - before


def signatures(network: bytes, frames: list[bytes]) -> list[tuple[bytes, bytes]]:
    """What libsodium is given for the two signatures of each payment: signature || message, and the public key."""
    found = []
    for frame in frames:
        payment = OperationReceived.from_frame(0, network, frame).operation
        if isinstance(payment, Payment):
            digest = signed_digest("payment", network, payment.payment_content)
            found.append((payment.invoice_signature + payment.invoice_digest, payment.invoice.payee_key))
            found.append((payment.payment_signature + digest, payment.payer_key))
    return found


def verify_all(pairs: list[tuple[bytes, bytes]]) -> float:
    """Seconds for libsodium alone to verify signatures."""
    begin = time.perf_counter()
    for signed, public in pairs:
        bindings.crypto_sign_open(signed, public)
    return time.perf_counter() - begin


def rows(rounds: int = 7) -> list[tuple[str, float, float, float, float]]:
    """(payments a pulse, ours per second, two verifications per second, ratio, bytes written a payment)."""
    found = []
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core for everything
    with tempfile.TemporaryDirectory(prefix="leither-bench-", dir=".") as folder:
        bench = Bench(Path(folder))
        full = BODY_SEGMENTS_MAX * (SEGMENT_BYTES_MAX // (len(bench.payment()) - 2)) - BODY_SEGMENTS_MAX
        bench.sent[0] -= 1
        bench.serial -= 1
        for size, pulses in ((10, 20), (100, 5), (full, 1)):
            times, bare, written = [], [], []
            for _ in range(rounds):
                batches = [[bench.payment() for _ in range(size)] for _ in range(pulses)]
                begin = time.perf_counter()
                written.append(bench.pulses(batches))
                times.append(time.perf_counter() - begin)
                pairs = signatures(bench.network, [frame for batch in batches for frame in batch][:500])
                bare.append(2 * verify_all(pairs) / len(pairs))
            count = size * pulses
            ratio = median(each / (time_ / count) for each, time_ in zip(bare, times, strict=True))
            found.append((str(size), count / median(times), 1 / median(bare), ratio, median(written) / count))
        bench.store.close()
    return found


if __name__ == "__main__":
    print(f"{'payments a pulse':>16} {'ours/s':>8} {'two verifications/s':>20} {'ratio':>6} {'bytes written each':>19}")
    for size_, ours, bound, share, each in rows():
        print(f"{size_:>16} {ours:8.0f} {bound:20.0f} {share:6.2f} {each:19.0f}")
