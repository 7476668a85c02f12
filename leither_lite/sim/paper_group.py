"""The level-1 group of the paper's path: accounts with real records, and what comes and goes.

A few accounts have keys, found by making millions and keeping those whose ids share 24 bits. The others are ids without
a key. The group pays one neighbor, a generated group, which settles what was sent to it and sends as much back. Decides
nothing about the ledger.
"""

from __future__ import annotations

from itertools import count
from typing import Final, Protocol

from leither_lite.errors import Halt
from leither_lite.header import header_digest
from leither_lite.identity import Key
from leither_lite.ledger.body import Body
from leither_lite.ledger.branch import Branch
from leither_lite.ledger.children import Child
from leither_lite.ledger.committee import Held
from leither_lite.ledger.group import Group, entry_writes, sealers_write
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.payments import Invoice, Payment
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.records import Entry, Record, Role, encode_page
from leither_lite.ledger.replay import check_proposal
from leither_lite.ledger.roots import Roots
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.sets import PendingSet, SettledSet
from leither_lite.ledger.showing import outbox_of, resolve_of, settle_of
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import State
from leither_lite.ledger.texts import SignedInvoice
from leither_lite.ledger.tip import Anchor
from leither_lite.limits import DIGEST_BYTES, ID_BITS, ID_BYTES, SETTLED_TICKS_MIN
from leither_lite.node import frames
from leither_lite.pulse.votes import Place as Seat
from leither_lite.sim.founding import key_of
from leither_lite.sim.paper_committee import BACKUP, CHIEF, Closed, Table
from leither_lite.sim.paper_generated import (
    SINCE,
    START,
    TERM,
    Committee,
    Generated,
    Opened,
    Spot,
    child_of,
    made_up,
    seal,
)
from leither_lite.sim.tally import Tally, Work
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore
from leither_lite.tree.node import EMPTY, is_prefix, node_sum
from leither_lite.tree.tree import SumTree

PAID: Final = 1_000
BALANCE: Final = 2_000_000
AUDIENCE: Final = 16
"""How many members each one tells what it says and hears: the protocol's width."""
NUMBERS: Final = (256_755, 271_011, 1_354_513, 1_439_417, 1_620_970, 1_994_843)
"""Of 2,500,000 keys, six whose ids share 24 bits."""
BESIDE: Final = 232_711
"""One whose id shares 16 bits with them, and no more."""


class Way(Protocol):
    """What the group needs to know of the path that it is on."""

    tally: Tally
    tick: int
    branch: Branch
    works: dict[int, list[Work]]
    bytes: dict[str, int]

    @property
    def beside(self) -> Generated:
        """The neighbor's group."""

    def told_parent(self, sealed: SealedPulse) -> int:
        """Bytes that a member sends so that everybody of the committee above has a seal."""


def _key(number: int) -> Key:
    return key_of(f"paper {number}")


def _remembered(place: str, payee: bytes, size: int) -> tuple[SettledSet, MemoryStore]:
    """So many receipts that were settled in the last day."""
    store = MemoryStore()
    found = SettledSet(store)
    for number in range(size):
        date = START - SETTLED_TICKS_MIN + 1 + number * SETTLED_TICKS_MIN // (size + 1)
        payer, ref = made_up(f"{place} payer {number}", ID_BYTES), made_up(f"{place} ref {number}", DIGEST_BYTES)
        found.put(Receipt(payer, number, payee, PAID, ReceiptKind.PAYMENT, ref, date), date)
    store.write(found.writes())
    found.performed()
    return found, store


class Leaf:
    """The group, its keys, and its neighbor's. `operations` counts those of the last body by kind, `arrived` the
    payments that the neighbor has settled."""

    def __init__(self, bits: int, accounts: int, settled: int, first: Anchor) -> None:
        """A group of `accounts` under `bits` bits, which remembers so many receipts as settled."""
        self.network = key_of("organization").account
        self.keys = [_key(number) for number in NUMBERS]
        beyond = ID_BITS - bits
        prefix = (int.from_bytes(self.keys[0].account, "big") >> beyond << beyond).to_bytes(ID_BYTES, "big")
        self.committee = Committee.named("level 1")
        self.beside = self._beside(prefix, bits)
        self.entries = self._accounts(prefix, bits, accounts)
        tree = SumTree()
        tree.put_many([(account, entry.leaf(account)) for account, entry in self.entries.items()])
        own, self._store = _remembered("own", self.keys[0].account, settled)
        self.theirs, _ = _remembered("theirs", self.beside.account, settled)
        floor = START - SETTLED_TICKS_MIN
        state = State(START, floor, own.tree.root(), EMPTY, EMPTY, 0, (), 0, SINCE, self.committee.willing)
        spot = Spot(self.network, 1, bits, prefix)
        opened = Opened(tree.root(), EMPTY, 0, 0, state.encode())
        sealed = seal(spot, self.committee, opened, first, START, made_up("level 1 previous", DIGEST_BYTES))
        self.sum = node_sum(sealed.inner)
        digest = header_digest(sealed.header_bytes)
        self.group = Group(
            self.network, 0, sealed.roster, sealed, sealed.header, digest, state, bits, prefix, TERM, sealed.inner, 0, 0
        )
        self.group.tree, self.group.pending, self.group.settled = tree, PendingSet(), own
        for account, entry in self.entries.items():
            self.group.insert(account, entry)
        self._numbers = count()
        self._sent: list[Receipt] = []
        self._gone: list[Receipt] = []
        self._coming: list[Receipt] = []
        self.operations: dict[str, int] = {}
        self.arrived = 0

    @staticmethod
    def _beside(prefix: bytes, bits: int) -> Key:
        """A key of a neighbor: of another group under the same parent."""
        above = bits * 2 // 3
        for number in (BESIDE, *range(10**6)):
            key = _key(number)
            if is_prefix(key.account, prefix, above) and not is_prefix(key.account, prefix, bits):
                return key
        raise Halt("no_neighbor", "no key beside the group was found")

    def _accounts(self, prefix: bytes, bits: int, accounts: int) -> dict[bytes, Entry]:
        """The keys' accounts, and ids of which nobody has the key; each with the record of a member who pays."""
        beyond = ID_BITS - bits
        found = [key.account for key in self.keys]
        for number in range(accounts - len(found)):
            rest = int.from_bytes(made_up(f"account {number}", ID_BYTES), "big") & ((1 << beyond) - 1)
            found.append((int.from_bytes(prefix, "big") | rest).to_bytes(ID_BYTES, "big"))
        record = Record(BALANCE, 0, 1_000, Role.MEMBER, 0)
        return {account: Entry(START - 1 - number, record) for number, account in enumerate(sorted(found))}

    def stand(self, supply: int, roots: Roots) -> None:
        """Go by this supply and these root headers."""
        self.group.supply, self.group.vouch = supply, roots.vouch

    @property
    def child(self) -> Child:
        """As its parent has it."""
        return child_of(self.group.sealed)

    @property
    def page_bytes(self) -> int:
        """Its page, as it is."""
        entries = self.group.entries.items()
        return len(encode_page((account, entry.pulse, entry.record.encode()) for account, entry in entries))

    def answer(self, group: Generated, anchor: Anchor, tick: int, sent: int) -> SealedPulse:
        """The neighbor's next seal: it settles what was under the root when it began, and sends as much as `sent`."""
        arrived, self._gone, self._sent = self._gone, self._sent, []
        self.arrived += len(arrived)
        for receipt in arrived:
            self.theirs.put(receipt, anchor.pulse)
        group.settled = self.theirs.tree.root()
        self._coming = []
        for _ in range(sent):
            number = next(self._numbers)
            payer = self.beside.account[:-8] + made_up(f"payer {number}", 8)
            payee, ref = self.keys[number % len(self.keys)].account, made_up(f"ref {number}", DIGEST_BYTES)
            self._coming.append(Receipt(payer, number, payee, PAID, ReceiptKind.PAYMENT, ref, anchor.tick))
        settled = sum(receipt.amount for receipt in arrived)
        return group.go_on(anchor, tick, self._coming, 0, settled)

    # -- operations ---------------------------------------------------------------------------------------------------

    def _operations(self, path: Way, sent: int) -> list[Operation]:
        """What waits for the next body: payments, what has come, and what has arrived elsewhere."""
        found: list[Operation] = []
        paid = {key.account: self.group.entries[key.account].record.sent for key in self.keys}
        for number in range(sent):
            payer = self.keys[number % len(self.keys)]
            invoice = Invoice(self.beside.public, PAID, next(self._numbers), 0, "")
            signed = SignedInvoice.sign(self.network, self.beside, invoice)
            content = signed.content, signed.signature
            found.append(Payment.make(self.network, payer, *content, PAID, paid[payer.account]))
            paid[payer.account] += 1
        neighbor = path.beside
        coming, arrived = self._coming, [each for each in self.group.pending.items if each in self.theirs]
        if coming or arrived:
            shown = path.branch.shown(neighbor.sealed)
            outbox = outbox_of(coming, neighbor.sealed.header.pulse)
            found += [settle_of(shown, outbox, [receipt]) for receipt in coming]
            found += [resolve_of(shown, neighbor.sealed.state, self.theirs, [item]) for item in arrived]
        return found

    def seal(self, path: Way, sent: int, anchor: Anchor) -> SealedPulse:
        """The next header: operations are heard by every member, agreed on, and sealed."""
        tally, works, group = path.tally, path.works[1], self.group
        operations = self._operations(path, sent)
        contents = [operation.encode() for operation in operations]
        self.operations = {}
        for operation, content in zip(operations, contents, strict=True):
            name = type(operation).__name__
            self.operations[name] = self.operations.get(name, 0) + 1
            path.bytes[name] = len(content)
            for work in works:
                work.received += len(frames.operation_frame(content))
                work.sent += (AUDIENCE - 1) * len(frames.operation_frame(content))
                with work.doing(tally, "operations, as they come"):
                    if operation.check_signatures(self.network) is not Status.OK:
                        raise Halt("bad_signature", f"of a {name} of the paper's path")
        held = Held(group.digest, self.committee.hold(self.network, group.digest), ())
        for work in works:
            with work.doing(tally, "holders"):
                for key, signature in held.signatures:
                    Held.is_signed(self.network, key, signature, group.digest)
        with works[CHIEF].doing(tally, "the body"):
            body = Body(group, anchor=anchor)
            for operation, content in [(held, held.encode()), *zip(operations, contents, strict=True)]:
                status = body.take(operation, content)
                if status is not Status.OK:
                    raise Halt("refused", f"{type(operation).__name__}: {status.value}")
            body.close(path.tick)
        closed = Closed(
            Seat(1, group.bits, group.prefix, group.term, group.digest),
            body.header_bytes,
            tuple(body.entries),
            list(body.segments),
        )
        body.undo()
        return self._agree(path, closed, frozenset(contents), anchor)

    def _agree(self, path: Way, closed: Closed, known: frozenset[bytes], anchor: Anchor) -> SealedPulse:
        tally, works, group = path.tally, path.works[1], self.group
        judged: list[Body] = []

        def judge() -> None:
            with works[BACKUP].doing(tally, "the body"):
                body = check_proposal(
                    group, closed.header, closed.entries, closed.segments, group.term, known.__contains__, anchor=anchor
                )
            judged.append(body)

        signatures = Table(self.network, self.committee.roster, closed, tally, works, AUDIENCE).agree(judge)
        before, sent = group.header.pulse, list(judged[0].traffic.sent)
        with works[BACKUP].doing(tally, "the body"):
            sealed = judged[0].seal(signatures)
        pulse, roster = judged[0].pulse, tuple(key.public for key in self.committee.roster)
        moved = judged[0].traffic.writes()
        writes = [
            (keys.sealed(pulse), sealed.encode()),
            *((keys.segment(pulse, index), segment) for index, segment in enumerate(closed.segments)),
            *entry_writes(pulse, before, judged[0].records, group.entries),
            sealers_write(pulse, before, roster),
            *moved,
        ]
        self._store.write(moved)
        group.settled.performed()
        for work in works:
            work.stored += sum(len(key) + len(value or b"") for key, value in writes)
            work.sent += path.told_parent(sealed)
        path.bytes["body 1"] = sum(map(len, closed.segments))
        self._sent += sent
        return sealed
