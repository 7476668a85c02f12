"""Handovers, and stores that begin with a jump: what is kept leads to the same group, and damage to it is found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from leither_lite import codec
from leither_lite.board import Board
from leither_lite.errors import Halt
from leither_lite.header import encode_roster, sign_seal
from leither_lite.identity import Key
from leither_lite.ledger import group as ledger
from leither_lite.ledger.body import Body
from leither_lite.ledger.group import SNAPSHOT_PULSES, Group
from leither_lite.ledger.handovers import handover_of, handover_writes, handovers, jump_writes
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.signed import Status
from leither_lite.node import retention
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore
from leither_lite.tree.proof import BranchStep, GroupStep, Path, Proof, SealedRoot, Trust, verify
from leither_lite.tree.proof_cbor import take_handover
from tests.ledger.founding import (
    FOUNDER,
    NETWORK,
    ORGANIZATION,
    SUPPLY,
    admission,
    appointment,
    distribution,
    founded_store,
    invited,
    key_of,
    payment,
    take,
)

ALICE: Final = key_of(10)
BOB: Final = key_of(11)
CAROL: Final = key_of(12)
TRUST: Final = Trust(ORGANIZATION.public, (FOUNDER.public,))


class Chain:
    """A store, and the group that its seals have led to."""

    def __init__(self) -> None:
        self.store = founded_store()
        self.group = self.loaded()

    def loaded(self, pulse: int | None = None, store: MemoryStore | None = None) -> Group:
        """The group as of a pulse, from a store."""
        return ledger.load(self.store if store is None else store, NETWORK, SUPPLY, pulse)

    def seal(self, *operations: Any, by: tuple[Key, ...] = (FOUNDER,), tick: int = 0) -> SealedPulse:
        """Seal operations, and keep the pulse as a node would."""
        body = Body(self.group)
        assert set(take(body, *operations)) <= {Status.OK}
        pulse = body.close(tick).pulse
        sealed = body.seal(tuple((key.public, sign_seal(key, body.header_bytes)) for key in by))
        self.store.write([(keys.sealed(pulse), sealed.encode())])
        self.store.write(ledger.entry_writes(pulse, pulse - 1, body.records, self.group.entries))
        self.store.write([(keys.invite(item), pulse.to_bytes(8, "big")) for item in body.used_invites])
        self.store.write([(keys.segment(pulse, index), segment) for index, segment in enumerate(body.segments)])
        if body.changes_roster:
            self.store.write(handover_writes(sealed))
        return sealed

    def pay(self, count: int, by: tuple[Key, ...]) -> None:
        """That many pulses with one payment each."""
        for _ in range(count):
            sent = self.group.entries[ALICE.account].record.sent
            self.seal(payment(ALICE, BOB, 1, sent), by=by)

    def jumped(self, pulse: int) -> MemoryStore:
        """The store of a node that has jumped to a pulse, and has applied what came after it."""
        base = self.loaded(pulse)
        uses = {
            key[1:]: int.from_bytes(value, "big")
            for key, value in self.store.scan(*keys.INVITES)
            if int.from_bytes(value, "big") <= pulse
        }
        store = founded_store()
        store.write(jump_writes(base.sealed, base.entries, uses))
        newest = ledger.last_pulse(self.store)
        store.write(list(self.store.scan(*keys.pulses(pulse + 1, newest + 1))))
        store.write(list(self.store.scan(*keys.INVITES)))
        store.write(list(self.store.scan(*keys.HANDOVERS)))
        return store


@pytest.fixture(name="chain", scope="module")
def _chain() -> Chain:
    chain = Chain()
    chain.seal(admission(ALICE), invited(BOB, 1_000), admission(CAROL), distribution(ALICE.account, 500, 0))
    chain.seal(appointment(ALICE, BOB, CAROL))
    chain.pay(40, (ALICE, BOB))
    chain.seal(invited(key_of(20), 1_001), by=(BOB, CAROL))
    chain.seal(appointment(CAROL, number=1), by=(BOB, CAROL))
    chain.pay(SNAPSHOT_PULSES, (CAROL,))
    return chain


FIRST: Final = 2
SECOND: Final = 44


def test_rows_of_handovers(chain: Chain) -> None:
    found = [keys.sequence_of(key) for key, _ in chain.store.scan(*keys.HANDOVERS)]
    assert found == [FIRST, SECOND]
    sealed = ledger.sealed_at(chain.store, FIRST)
    assert sealed is not None
    assert sealed.roster == encode_roster([ALICE.public, BOB.public, CAROL.public])
    [(key, content)] = handover_writes(sealed)
    assert key == keys.handover(FIRST)
    assert content is not None
    assert take_handover(codec.decode(content)) == handover_of(sealed) == handovers(chain.store, 0, SECOND)[0]
    assert len(handovers(chain.store, 0, SECOND + 1)) == 2
    assert handovers(chain.store, FIRST + 1, SECOND) == ()


def proof_at(chain: Chain, pulse: int) -> Proof:
    """A proof of Alice's account at a pulse, by handovers from the charter's roster."""
    group = chain.loaded(pulse)
    found = group.tree.path(ALICE.account)
    assert found is not None
    sealed, header = group.sealed, group.header
    step = GroupStep(header.level, header.bits, header.prefix, header.pulse, sealed.meta)
    path: Path = (*(BranchStep(depth, sibling) for depth, sibling in found.steps), step)
    root = SealedRoot(sealed.header_bytes, sealed.signatures, handovers(chain.store, 0, pulse))
    entry = group.entries[ALICE.account]
    return Proof(ALICE.account, entry.record.encode(), entry.pulse, path, root)


@pytest.mark.parametrize("pulse", [1, FIRST, FIRST + 1, SECOND, SECOND + 1, SECOND + SNAPSHOT_PULSES])
def test_handovers_lead_a_stranger_to_each_pulse(chain: Chain, pulse: int) -> None:
    shown = verify(proof_at(chain, pulse), TRUST)
    assert shown.pulse == pulse
    assert len(handovers(chain.store, 0, pulse)) == (pulse > FIRST) + (pulse > SECOND)


def test_a_damaged_handover(chain: Chain) -> None:
    store = MemoryStore()
    store.write([(keys.handover(5), b"\x80")])
    with pytest.raises(Halt, match="store_corrupt"):
        handovers(store, 0, 9)


@pytest.mark.parametrize("base", [1, FIRST, FIRST + 1, 40, SECOND, SECOND + 1, SNAPSHOT_PULSES, SNAPSHOT_PULSES + 1])
def test_a_store_that_begins_with_a_jump(chain: Chain, base: int) -> None:
    store = chain.jumped(base)
    assert ledger.base_pulse(store) == ledger.first_pulse(store) == base
    newest = ledger.last_pulse(store)
    assert newest == SECOND + SNAPSHOT_PULSES
    for pulse in range(base, newest + 1):
        expected, group = chain.loaded(pulse), chain.loaded(pulse, store)
        assert (group.entries, group.state, group.roster) == (expected.entries, expected.state, expected.roster)
        assert group.invites.root() == expected.invites.root()
        assert list(group.entries) == sorted(group.entries)
    with pytest.raises(Halt, match="store_corrupt"):
        ledger.entries_at(store, base - 1)


def test_no_base_is_the_genesis(chain: Chain) -> None:
    assert ledger.base_pulse(chain.store) == ledger.first_pulse(chain.store) == 0
    assert ledger.first_pulse(MemoryStore()) == 0


def test_a_base_that_cannot_be_read(chain: Chain) -> None:
    store = chain.jumped(40)
    for wrong in (b"", bytes(7), bytes(9)):
        store.write([(keys.BASE, wrong)])
        with pytest.raises(Halt, match="store_corrupt"):
            chain.loaded(None, store)


def test_a_jump_without_its_page(chain: Chain) -> None:
    store = chain.jumped(40)
    store.write([(keys.snapshot(40), None)])
    for pulse in (40, 41):
        with pytest.raises(Halt, match="store_corrupt"):
            chain.loaded(pulse, store)


def test_the_oldest_pulse_here_is_checked_against_the_handover_before(chain: Chain) -> None:
    """Of a pulse that changed the roster, its own R had no say."""
    store = chain.jumped(SECOND)
    assert chain.loaded(SECOND, store).roster == encode_roster([CAROL.public])
    sealed = ledger.sealed_at(store, SECOND)
    assert sealed is not None
    by_new = ((CAROL.public, sign_seal(CAROL, sealed.header_bytes)),)
    told = replace(sealed, signatures=by_new)
    store.write([(keys.sealed(SECOND), told.encode())])
    with pytest.raises(Halt, match="no_quorum"):
        chain.loaded(SECOND, store)


def test_the_first_handover_as_the_oldest_pulse(chain: Chain) -> None:
    """The roster before it is the charter's, which the ledger does not know: every signature must be good."""
    store = chain.jumped(FIRST)
    assert chain.loaded(FIRST, store).header.pulse == FIRST
    sealed = ledger.sealed_at(store, FIRST)
    assert sealed is not None
    [(key, signature)] = sealed.signatures
    for wrong in ((), ((key, signature[:-1] + bytes([signature[-1] ^ 1])),)):
        told = replace(sealed, signatures=wrong)
        store.write([(keys.sealed(FIRST), told.encode())])
        with pytest.raises(Halt, match="bad_signature"):
            chain.loaded(FIRST, store)


def test_going_on_after_a_jump(chain: Chain) -> None:
    """A node that jumped comes to the same headers."""
    store = chain.jumped(SECOND + 1)
    newest = ledger.last_pulse(store)
    store.write([(key, None) for key, _ in store.scan(*keys.pulses(SECOND + 2, newest + 1))])
    other = Chain()
    other.store, other.group = store, chain.loaded(SECOND + 1, store)
    other.pay(SNAPSHOT_PULSES - 1, (CAROL,))
    assert other.group.header == chain.group.header
    assert other.loaded().entries == chain.loaded().entries


def test_what_lies_below_a_jump_goes_in_parts(chain: Chain) -> None:
    """An older stretch of the chain, left behind, is deleted with later seals, and nothing else."""
    store = chain.jumped(SECOND + 1)
    left = list(chain.store.scan(*keys.pulses(0, 30)))
    store.write(left)
    kept = dict(store.scan(*keys.pulses(SECOND + 1, 2**40)))
    board = Board(retention_pulses=10**6)
    writes = retention.old_pulses(store, board, ledger.last_pulse(store))
    assert [key for key, _ in writes] == [key for key, _ in store.scan(*keys.pulses(0, SECOND + 1))]
    store.write(writes)
    assert retention.old_pulses(store, board, ledger.last_pulse(store)) == []
    assert dict(store.scan(*keys.PULSES)) == kept
    assert chain.loaded(None, store).header == chain.group.header
