"""A level-1 group of which every account is there, with a past: its pulses as a node keeps them in its store.

The past is made by the ledger's own rules, with signatures by everybody concerned; only the root headers that it builds
on are made up. Its six keys are those of which the ids share 24 bits (`paper_group`), so the same group fits below any
prefix of theirs. Decides nothing about the ledger.
"""

from __future__ import annotations

from itertools import count
from typing import Final, NamedTuple

from leither_lite.effects import Write
from leither_lite.errors import Halt
from leither_lite.header import header_digest
from leither_lite.identity import Key
from leither_lite.ledger.body import Body
from leither_lite.ledger.children import Child
from leither_lite.ledger.committee import Held
from leither_lite.ledger.group import Group, Rules, entry_writes, sealers_write, tree_of
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.payments import Invoice, Payment
from leither_lite.ledger.records import Entry, Record, Role
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import State
from leither_lite.ledger.texts import SignedInvoice
from leither_lite.ledger.tip import Anchor
from leither_lite.limits import DIGEST_BYTES, ID_BITS, ID_BYTES, SETTLED_TICKS_MIN
from leither_lite.sim.founding import key_of
from leither_lite.sim.paper_generated import SINCE, START, TERM, Committee, Opened, Spot, child_of, made_up, seal
from leither_lite.sim.paper_group import NUMBERS
from leither_lite.store import keys
from leither_lite.tree.node import EMPTY, node_sum

KEYS: Final = tuple(key_of(f"paper {number}") for number in NUMBERS)
SHARED_BITS: Final = 24
PAID: Final = 10
BALANCE: Final = 10_000
"""So small that the supply of 2^32 such groups is one that a charter may have."""


class Past(NamedTuple):
    """What lies behind a group: `pulses` that are retained, with so many `payments` in each between its keys, and how
    many `accounts` it has, the six with keys among them."""

    pulses: int = 1_000
    payments: int = 12
    accounts: int = 100


def root_before(pulse: int) -> Anchor:
    """A root header from before the first that is there: a pulse a tick."""
    return Anchor(made_up(f"root {pulse}", DIGEST_BYTES), pulse, pulse)


def cut(prefix: bytes, bits: int) -> bytes:
    """A prefix without what is beyond its bits."""
    kept = int.from_bytes(prefix, "big") >> (ID_BITS - bits) << (ID_BITS - bits)
    return kept.to_bytes(ID_BYTES, "big")


class OwnGroup:
    """The group, with its last seal at pulse `START`; `writes` are what its members keep of it."""

    def __init__(self, network: bytes, bits: int, committee: Committee, past: Past, rules: Rules) -> None:
        self.committee, self.past = committee, past
        self.spot = Spot(network, 1, bits, cut(KEYS[0].account, bits))
        base = START - past.pulses
        entries = self._accounts(past.accounts, base)
        tree = tree_of(entries)
        state = State(base, base - SETTLED_TICKS_MIN, EMPTY, EMPTY, EMPTY, 0, (), 0, SINCE, committee.willing)
        opened = Opened(tree.root(), EMPTY, 0, 0, state.encode())
        before = root_before(base - 1)
        sealed = seal(self.spot, committee, opened, before, base, made_up("level 1 previous", DIGEST_BYTES))
        digest = header_digest(sealed.header_bytes)
        self.sum = node_sum(sealed.inner)
        self.group = Group(
            network,
            self.sum,
            sealed.roster,
            sealed,
            sealed.header,
            digest,
            state,
            bits,
            self.spot.prefix,
            TERM,
            sealed.inner,
            0,
            0,
            rules,
        )
        self.group.tree = tree
        for account, entry in entries.items():
            self.group.insert(account, entry)
        self.numbers = count(1)
        self.writes: list[Write] = [
            (keys.sealed(base), sealed.encode()),
            *entry_writes(base, -1, {}, entries),
            (keys.BASE, base.to_bytes(8, "big")),
        ]
        if bits:
            self.writes.append(sealers_write(base, base - 1, self._roster))
        for _ in range(past.pulses):
            self._seal()

    @property
    def _roster(self) -> tuple[bytes, ...]:
        return tuple(key.public for key in self.committee.roster)

    @property
    def child(self) -> Child:
        """As its parent has it."""
        return child_of(self.group.sealed)

    @staticmethod
    def _accounts(accounts: int, base: int) -> dict[bytes, Entry]:
        """The keys' accounts, and ids of which nobody has the key."""
        found = [key.account for key in KEYS]
        for number in range(accounts - len(found)):
            rest = int.from_bytes(made_up(f"account {number}", ID_BYTES), "big") & ((1 << (ID_BITS - SHARED_BITS)) - 1)
            found.append((int.from_bytes(cut(KEYS[0].account, SHARED_BITS), "big") | rest).to_bytes(ID_BYTES, "big"))
        record = Record(BALANCE, 0, 1_000, Role.MEMBER, 0)
        return {account: Entry(base - 1 - number, record) for number, account in enumerate(sorted(found))}

    def invoice(self, payee: Key, amount: int) -> SignedInvoice:
        """A new one."""
        return SignedInvoice.sign(self.group.network, payee, Invoice(payee.public, amount, next(self.numbers), 0, ""))

    def _payments(self) -> list[Operation]:
        sent = {key.account: self.group.entries[key.account].record.sent for key in KEYS}
        found: list[Operation] = []
        for number in range(self.past.payments):
            payer, payee = KEYS[number % len(KEYS)], KEYS[(number + 1) % len(KEYS)]
            signed = self.invoice(payee, PAID)
            network, content = self.group.network, (signed.content, signed.signature)
            found.append(Payment.make(network, payer, *content, PAID, sent[payer.account]))
            sent[payer.account] += 1
        return found

    def _seal(self) -> None:
        """The next pulse, as a member keeps it."""
        group, before = self.group, self.group.header.pulse
        anchor = None if group.is_root else root_before(before)
        held = Held(group.digest, self.committee.hold(group.network, group.digest), ())
        body = Body(group, anchor=anchor)
        for operation in (held, *self._payments()):
            status = body.take(operation, operation.encode())
            if status is not Status.OK:
                raise Halt("refused", f"{type(operation).__name__}: {status.value}")
        pulse = body.close(before + 1).pulse
        sealed = body.seal(self.committee.sign(body.header_bytes))
        self.writes += [
            (keys.sealed(pulse), sealed.encode()),
            *((keys.segment(pulse, index), segment) for index, segment in enumerate(body.segments)),
            *entry_writes(pulse, before, body.records, group.entries),
        ]
        if not group.is_root:
            self.writes.append(sealers_write(pulse, before, self._roster))
