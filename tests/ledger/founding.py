"""An organization as the tests found it: its keys, its group, and operations that are signed as they should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from leither_lite.header import Header, sign_seal
from leither_lite.identity import Key
from leither_lite.ledger import group as ledger
from leither_lite.ledger.body import Body
from leither_lite.ledger.committee import Appointment, Held, Willingness
from leither_lite.ledger.group import Group
from leither_lite.ledger.joins import Admission, Application, Invite, InvitedJoin, RoleChange
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.payments import Distribution, Invoice, Payment
from leither_lite.ledger.records import Role
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.signed import Status
from leither_lite.ledger.texts import SignedInvoice
from leither_lite.organization import Charter, SignedCharter, first_writes, usual_parameters
from leither_lite.store.reader import MemoryStore


def key_of(number: int) -> Key:
    """The tests' own keys: the seed is a number."""
    return Key.from_seed(number.to_bytes(32, "big"))


ORGANIZATION: Final = key_of(1)
FOUNDER: Final = key_of(2)
NETWORK: Final = ORGANIZATION.account
SUPPLY: Final = 1_000_000


def charter_of(supply: int = SUPPLY, **parameters: int) -> SignedCharter:
    """A charter with the founder as its roster of one."""
    founder = FOUNDER.public
    charter = Charter(ORGANIZATION.public, "Test", supply, 1_000, (founder,), founder, usual_parameters(**parameters))
    return SignedCharter.sign(ORGANIZATION, charter)


def founded_store(supply: int = SUPPLY, **parameters: int) -> MemoryStore:
    """The store of an organization at its genesis."""
    store = MemoryStore()
    store.write(first_writes(charter_of(supply, **parameters), [FOUNDER]))
    return store


def founded_group(supply: int = SUPPLY) -> Group:
    """The group of an organization at its genesis."""
    return ledger.load(founded_store(supply), NETWORK, supply)


def admission(applicant: Key, role: int = Role.MEMBER, supervisor: Key = FOUNDER) -> Admission:
    """A confirmed application."""
    return Admission.make(NETWORK, supervisor, Application.make(NETWORK, applicant, ""), role)


def invite(number: int, valid_until: int = 10**6, role: int = Role.MEMBER, supervisor: Key = FOUNDER) -> Invite:
    """An invite whose secret is key number `number`."""
    return Invite.make(NETWORK, supervisor, key_of(number).public, role, valid_until)


def invited(applicant: Key, number: int, valid_until: int = 10**6, supervisor: Key = FOUNDER) -> InvitedJoin:
    """A join by the invite number `number`."""
    application = Application.make(NETWORK, applicant, "")
    return InvitedJoin.make(NETWORK, application, invite(number, valid_until, supervisor=supervisor), key_of(number))


def distribution(payee: bytes, amount: int, sent: int, organization: Key = ORGANIZATION) -> Distribution:
    """A distribution."""
    return Distribution.make(NETWORK, organization, sent, payee, amount, "a reason")


def role_change(account: bytes, role: int, number: int, supervisor: Key = FOUNDER) -> RoleChange:
    """A change of role."""
    return RoleChange.make(NETWORK, supervisor, account, role, number)


def appointment(*roster: Key, number: int = 0, supervisor: Key = FOUNDER) -> Appointment:
    """The appointment of who seals next."""
    return Appointment.make(NETWORK, supervisor, [key.public for key in roster], number)


def willingness(key: Key, number: int = 1, willing: int = 1, address: str = "") -> Willingness:
    """A node's word that it holds, or does not hold any more."""
    return Willingness.make(NETWORK, key, address, willing, number)


def held(digest: bytes, signers: Sequence[Key], silent: Sequence[Key] = ()) -> Held:
    """That signers hold page and body of the header with that digest, and others did not say so."""
    pairs = sorted((key.public, Held.sign(NETWORK, key, digest)) for key in signers)
    return Held(digest, tuple(pairs), tuple(sorted(key.public for key in silent)))


def payment(
    payer: Key, payee: Key, amount: int, sent: int, asked: int = 0, valid_until: int = 0, number: int = 0
) -> Payment:
    """A payment of an invoice for `asked` (0: open)."""
    signed = SignedInvoice.sign(NETWORK, payee, Invoice(payee.public, asked, number, valid_until, ""))
    return Payment.make(NETWORK, payer, signed.content, signed.signature, amount, sent)


def take(body: Body, *operations: Operation) -> list[Status]:
    """The statuses of operations on a body."""
    return [body.take(operation, operation.encode()) for operation in operations]


def seal(body: Body, tick: int = 0) -> tuple[SealedPulse, Header]:
    """Close a body and seal it by the founder."""
    header = body.close(tick)
    return body.seal(((FOUNDER.public, sign_seal(FOUNDER, body.header_bytes)),)), header


def pulse(group: Group, *operations: Operation, tick: int = 0) -> tuple[SealedPulse, list[bytes]]:
    """Seal operations that must all be good; what is sealed, and the segments of the body."""
    body = Body(group)
    statuses = take(body, *operations)
    if any(status is not Status.OK for status in statuses):
        raise ValueError(f"statuses {statuses}")
    return seal(body, tick)[0], body.segments
