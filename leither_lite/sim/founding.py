"""The organization of a simulated world: its keys, its charter, and a ledger in which all accounts are already.

Decides what every machine's store begins with: the genesis, and a first pulse that admits everybody and gives them
something to pay with. Keys are the same in every world: what differs comes from the seed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Final

from leither_lite.effects import Write
from leither_lite.errors import Halt
from leither_lite.header import sign_seal
from leither_lite.identity import Key
from leither_lite.ledger import group as ledger
from leither_lite.ledger.body import Body
from leither_lite.ledger.joins import Admission, Application
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.payments import Distribution
from leither_lite.ledger.records import Role
from leither_lite.ledger.signed import Status
from leither_lite.limits import QUORUM
from leither_lite.organization import Charter, SignedCharter, first_writes, usual_parameters
from leither_lite.sim.disk import Disk
from leither_lite.store import keys

SUPPLY: Final = 10_000_000
GIVEN: Final = 100_000
"""What each account has to begin with."""
PULSE_MS: Final = 1_000
ACCOUNTS: Final = 2
"""Of each machine: its own, and one derived from it."""


def key_of(name: str) -> Key:
    """A key that everybody may know."""
    return Key.from_seed(hashlib.blake2b(name.encode(), digest_size=32, person=b"simulated").digest())


@dataclass(frozen=True, slots=True)
class Founded:
    """An organization, and what every store of it begins with, but for the place of the machine.

    `own_writes`: for each machine, what its store has beside that; none where all have the same.
    """

    organization: Key
    nodes: tuple[Key, ...]
    roster: tuple[Key, ...]
    writes: tuple[Write, ...]
    accounts_each: int = ACCOUNTS
    supply: int = SUPPLY
    own_writes: tuple[tuple[Write, ...], ...] = ()

    @property
    def network(self) -> bytes:
        """The organization's id."""
        return self.organization.account

    def store(self, node: int) -> list[Write]:
        """What a machine's store begins with."""
        own = self.own_writes[node] if self.own_writes else ()
        return [*self.writes, *own, (keys.PLACE, b"\0%d" % node)]

    def accounts(self, node: int) -> tuple[Key, ...]:
        """The keys of a machine's accounts."""
        key = self.nodes[node]
        return (key, *(key.derive(index) for index in range(1, self.accounts_each)))


def found(nodes: int, roster: int, accounts: int = ACCOUNTS, **parameters: int) -> Founded:
    """An organization of so many machines, the first of them its committee, the founder's as chief.

    `accounts`: of each machine. `parameters`: what the charter says otherwise than usual.
    """
    organization = key_of("organization")
    node_keys = tuple(key_of(f"node {number}") for number in range(nodes))
    roster_keys = node_keys[:roster]
    founder = node_keys[0]
    supply = max(SUPPLY, 2 * GIVEN * nodes * accounts)
    charter = Charter(
        organization.public,
        "Simulated",
        supply,
        PULSE_MS,
        tuple(key.public for key in roster_keys),
        founder.public,
        usual_parameters(**{"roster_max": max(QUORUM), **parameters}),
    )
    writes = first_writes(SignedCharter.sign(organization, charter), roster_keys)
    founded = Founded(organization, node_keys, roster_keys, tuple(writes), accounts, supply)
    return replace(founded, writes=(*writes, *_first_pulse(founded)))


def _operations(founded: Founded) -> list[Operation]:
    network, founder = founded.network, founded.nodes[0]
    accounts = [key for node in range(len(founded.nodes)) for key in founded.accounts(node)]
    operations: list[Operation] = [
        Admission.make(network, founder, Application.make(network, key, ""), Role.MEMBER)
        for key in accounts
        if key.account != founder.account
    ]
    operations += [
        Distribution.make(network, founded.organization, sent, key.account, GIVEN, "to begin with")
        for sent, key in enumerate(accounts)
    ]
    return operations


def _first_pulse(founded: Founded) -> list[Write]:
    disk = Disk(founded.writes)
    group = ledger.load(disk, founded.network, founded.supply)
    body = Body(group)
    for operation in _operations(founded):
        if body.take(operation, operation.encode()) is not Status.OK:
            raise Halt("not_founded", "the ledger refuses an account of the simulated world")
    body.close(0)
    signers = founded.roster[: QUORUM[len(founded.roster)]]
    sealed = body.seal(tuple((key.public, sign_seal(key, body.header_bytes)) for key in signers))
    return [
        (keys.sealed(1), sealed.encode()),
        *((keys.segment(1, index), segment) for index, segment in enumerate(body.segments)),
        *ledger.entry_writes(1, 0, body.records, group.entries),
        (keys.WALLET, (founded.accounts_each - 1).to_bytes(8, "big")),
    ]
