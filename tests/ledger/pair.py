"""Two level-1 groups under a root: who is in which, and operations between them."""

from __future__ import annotations

from typing import Final

from leither_lite.header import Header, state_digest
from leither_lite.identity import Key
from leither_lite.ledger.body import Body
from leither_lite.ledger.children import Place
from leither_lite.ledger.group import USUAL, Group, Rules
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.records import Role
from leither_lite.ledger.settling import Settle
from leither_lite.ledger.showing import outbox_of
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import GENESIS_STATE, SPLIT, State
from leither_lite.ledger.structure import TermEnd
from leither_lite.tree.node import EMPTY, ZEROS, bit, group, meta
from leither_lite.tree.proof import GroupStep
from leither_lite.tree.shown import Shown
from tests.ledger.forest import Forest, planted
from tests.ledger.founding import (
    FOUNDER,
    NETWORK,
    ORGANIZATION,
    admission,
    distribution,
    key_of,
    payment,
    willingness,
)

LEFT: Final[Place] = (bytes(20), 1)
RIGHT: Final[Place] = (b"\x80" + bytes(19), 1)
_KEYS: Final = [key_of(number) for number in range(50, 90)]
_LEFT_KEYS: Final = [key for key in _KEYS if not bit(key.account, 0)]
_RIGHT_KEYS: Final = [key for key in _KEYS if bit(key.account, 0)]
ANNA, LARS, LENA, LOU = _LEFT_KEYS[:4]
"""In the left group, with the founder; Anna is a supervisor, Lou has no account."""
RITA, ROLF, RUTH = _RIGHT_KEYS[:3]
"""In the right group, with the organization; Ruth has no account."""
STRANGERS: Final = (_LEFT_KEYS[4:], _RIGHT_KEYS[3:])
HAVE: Final = 1_000
"""What everybody with an account has."""


def two_groups(rules: Rules = USUAL) -> Forest:
    """A root that was split in two, a quarter of a term ago; then `rules` come into force."""
    forest = planted(members_max=8, term_ticks=2)
    known = {key.public: key for key in (ORGANIZATION, FOUNDER, *_KEYS)}
    forest.key_of = known.__getitem__
    people = (ANNA, LARS, LENA, RITA, ROLF)
    roles = {ANNA: Role.SUPERVISOR}
    forest.submit(NETWORK, *(admission(key, roles.get(key, Role.MEMBER)) for key in people))
    forest.submit(NETWORK, *(distribution(key.account, HAVE, number) for number, key in enumerate(people)))
    forest.submit(NETWORK, *(willingness(key, address="a:1") for key in people))
    for _ in range(3):
        forest.submit(NETWORK, willingness(FOUNDER, forest.tick + 1, address="a:1"))
        forest.pulse()
    forest.submit(NETWORK, TermEnd(SPLIT))
    forest.pulse()
    forest.rule(rules)
    wake(forest)
    return forest


def wake(forest: Forest, ticks: int = 1) -> None:
    """Both groups seal something, `ticks` later; then both know of the root header that says so."""
    for later in (ticks, 1):
        for key in (LARS, ROLF):
            forest.submit(key.account, willingness(key, forest.tick + later, address="b:2"))
        forest.pulse(later)
    forest.statuses.clear()


def body_on(forest: Forest, place: Place) -> Body:
    """A body on one of the groups."""
    return Body(forest.groups[place], anchor=forest.roots.newest)


def outcome(body: Body, operation: Operation) -> Status:
    """What becomes of an operation; if it is good it is taken."""
    status = operation.check_signatures(NETWORK)
    return body.take(operation, operation.encode()) if status is Status.OK else status


def sent(forest: Forest, payer: Key, payee: Key, amount: int, number: int = 0) -> Settle:
    """A payment across groups, sealed; what would settle it."""
    return shown_to(
        forest, payer.account, payee.account, payment(payer, payee, amount, sent_of(forest, payer), number=number)
    )


def sent_of(forest: Forest, payer: Key) -> int:
    """The number of an account's next payment."""
    return forest.group_of(payer.account).entries[payer.account].record.sent


def shown_to(forest: Forest, at: bytes, payee: bytes, *operations: Operation) -> Settle:
    """Seal operations in the group of `at`; what settles the receipt to `payee` that comes of them."""
    forest.submit(at, *operations)
    forest.pulse()
    if any(status is not Status.OK for _, status in forest.statuses):
        raise ValueError(f"{forest.statuses}")
    forest.statuses.clear()
    settle = forest.queues.pop(payee)[0]
    if not isinstance(settle, Settle):
        raise ValueError(f"{settle}")
    return settle


def run(forest: Forest, at: bytes, *operations: Operation) -> list[Status]:
    """Seal operations in the group of `at`; their statuses. Nothing that was shown by it is carried further."""
    forest.submit(at, *operations)
    forest.pulse()
    found = [status for operation, status in forest.statuses if operation in operations]
    forest.statuses.clear()
    forest.queues.clear()
    return found


def forged(
    place: Place, pulse: int, receipts: list[Receipt], state: State = GENESIS_STATE, root: Header | None = None
) -> Shown:
    """A group that would have sent these receipts, as the only one under a root header that nobody has sealed."""
    prefix, bits = place
    outbox = outbox_of(receipts, pulse).root()
    opened = meta(bytes(32), outbox, 0, 0, state_digest(state.encode()))
    node = group(1, bits, prefix, pulse, EMPTY, opened)
    upper = GroupStep(2, 0, bytes(20), pulse, bytes(32))
    top = group(2, 0, bytes(20), pulse, node, upper.meta)
    header = Header(NETWORK, 2, 0, bytes(20), 0, pulse, 0, ZEROS, top, bytes(32), bytes(32))
    content = header.encode()
    return Shown(
        content, (), bits, prefix, pulse, EMPTY, bytes(32), outbox, 0, 0, state_digest(state.encode()), (upper,)
    )


def facts(held: Group) -> tuple[object, ...]:
    """All that a body may change of a group."""
    leaves = (list(held.settled.tree.leaves()), list(held.pending.tree.leaves()), list(held.tree.leaves()))
    roots = (held.settled.tree.root(), held.pending.tree.root(), held.tree.root(), held.invites.root())
    rest = (dict(held.entries), held.page_bytes, held.ahead, held.state, dict(held.pending.items))
    return (*leaves, *roots, *rest)
