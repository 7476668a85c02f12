"""Appointments, willing nodes and holders: their bytes, who must have signed, and what they change."""

from __future__ import annotations

from typing import Any, Final

import pytest

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import RemoteError
from leither_lite.header import check_seal, decode_roster, encode_roster, roster_digest, sign_seal, state_digest
from leither_lite.identity import Key, h32
from leither_lite.ledger import operations
from leither_lite.ledger.body import Body, next_term
from leither_lite.ledger.committee import Appointment, Held, Willing, Willingness
from leither_lite.ledger.group import Group
from leither_lite.ledger.records import Role
from leither_lite.ledger.replay import execute_again
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.signed import Status
from leither_lite.limits import HELD_SIGNATURES_MAX, QUORUM, RECEIPT_TICKS_MAX, WILLING_MAX
from leither_lite.tree import node
from tests.ledger.founding import (
    FOUNDER,
    NETWORK,
    ORGANIZATION,
    admission,
    appointment,
    founded_group,
    held,
    key_of,
    payment,
    pulse,
    role_change,
    take,
    willingness,
)

ALICE: Final = key_of(10)
BOB: Final = key_of(11)
CAROL: Final = key_of(12)
PEOPLE: Final = tuple(key_of(number) for number in range(10, 16))
NAMED: Final = codec.encode([FOUNDER.public, [ALICE.public, BOB.public, CAROL.public], 5])
TOLD: Final = codec.encode([ALICE.public, "a.example:7000", 1, 9])
DIGEST: Final = b"\7" * 32


def village(tick: int = 0) -> Group:
    """Six members, a last header at `tick`."""
    group = founded_group()
    pulse(group, *(admission(key) for key in PEOPLE), tick=tick)
    return group


def sealed_by(body: Body, *keys: Key, tick: int = 0) -> SealedPulse:
    """Close a body and seal it."""
    body.close(tick)
    return body.seal(tuple((key.public, sign_seal(key, body.header_bytes)) for key in keys))


def test_bytes_of_an_appointment() -> None:
    made = Appointment.make(NETWORK, FOUNDER, [ALICE.public, BOB.public, CAROL.public], 5)
    assert made.encode() == codec.encode([6, NAMED, FOUNDER.sign(h32("appoint", NETWORK + NAMED))])
    assert operations.decode(made.encode()) == made
    assert made.check_signatures(NETWORK) is Status.OK


def test_bytes_of_willingness() -> None:
    made = Willingness.make(NETWORK, ALICE, "a.example:7000", 1, 9)
    signature = ALICE.sign(h32("address", NETWORK + TOLD))
    assert made.encode() == codec.encode([7, TOLD, signature])
    assert operations.decode(made.encode()) == made == Willingness.decode(TOLD, signature)
    assert made.check_signatures(NETWORK) is Status.OK
    assert made.account == ALICE.account


def test_bytes_of_held() -> None:
    signature = ALICE.sign(h32("held", NETWORK + codec.encode([DIGEST])))
    made = Held(DIGEST, ((ALICE.public, signature),), (BOB.public,))
    assert made == held(DIGEST, [ALICE], [BOB])
    assert made.encode() == codec.encode([8, DIGEST, [[ALICE.public, signature]], [BOB.public]])
    assert operations.decode(made.encode()) == made
    assert made.check_signatures(NETWORK) is Status.OK
    assert Held.is_signed(NETWORK, ALICE.public, signature, DIGEST)
    assert not Held.is_signed(NETWORK, ALICE.public, signature, bytes(32))
    assert not Held.is_signed(bytes(20), ALICE.public, signature, DIGEST)


@pytest.mark.parametrize("made", [appointment(ALICE), willingness(ALICE)])
def test_every_signature_counts(made: Appointment | Willingness) -> None:
    assert made.check_signatures(bytes(20)) is Status.BAD_SIGNATURE
    wrong = made.signature[:-1] + bytes([made.signature[-1] ^ 1])
    value: list[Value] = [made.CODE, made.content, wrong]
    assert operations.from_value(value).check_signatures(NETWORK) is Status.BAD_SIGNATURE


def test_every_holders_signature_counts() -> None:
    made = held(DIGEST, PEOPLE)
    assert made.check_signatures(NETWORK) is Status.OK
    assert made.check_signatures(bytes(20)) is Status.BAD_SIGNATURE
    for at, (key, signature) in enumerate(made.signatures):
        pairs = (*made.signatures[:at], (key, signature[:-1] + bytes([signature[-1] ^ 1])), *made.signatures[at + 1 :])
        assert Held(DIGEST, pairs, ()).check_signatures(NETWORK) is Status.BAD_SIGNATURE
    assert Held(bytes(32), made.signatures, ()).check_signatures(NETWORK) is Status.BAD_SIGNATURE


@pytest.mark.parametrize(
    "content",
    [
        [FOUNDER.public, [bytes(31)], 0],
        [FOUNDER.public, [bytes(32)] * (max(QUORUM) + 1), 0],
        [bytes(31), [], 0],
        [FOUNDER.public, 0, 0],
        [FOUNDER.public, []],
        [FOUNDER.public, [], "0"],
    ],
    ids=str,
)
def test_no_appointment(content: Any) -> None:
    with pytest.raises(RemoteError, match="bad_operation"):
        operations.from_value([6, codec.encode(content), bytes(64)])


@pytest.mark.parametrize(
    "content",
    [
        [ALICE.public, "x" * 65, 1, 0],
        [ALICE.public, b"", 1, 0],
        [ALICE.public, "", 2, 0],
        [ALICE.public, "", 1],
        [bytes(33), "", 1, 0],
    ],
    ids=str,
)
def test_no_willingness(content: Any) -> None:
    with pytest.raises(RemoteError, match="bad_operation"):
        operations.from_value([7, codec.encode(content), bytes(64)])


def rising(count: int) -> list[Value]:
    """Keys in their order."""
    return [number.to_bytes(32, "big") for number in range(count)]


@pytest.mark.parametrize(
    ("digest", "pairs", "silent"),
    [
        (bytes(31), [], []),
        (DIGEST, [[key, bytes(64)] for key in rising(HELD_SIGNATURES_MAX + 1)], []),
        (DIGEST, [], rising(WILLING_MAX + 1)),
        (DIGEST, [[key, bytes(64)] for key in reversed(rising(2))], []),
        (DIGEST, [[bytes(32), bytes(64)]] * 2, []),
        (DIGEST, [], [*reversed(rising(2))]),
        (DIGEST, [], [bytes(32)] * 2),
        (DIGEST, [[bytes(32), bytes(63)]], []),
        (DIGEST, [[bytes(32)]], []),
        (DIGEST, 0, []),
    ],
)
def test_no_held(digest: bytes, pairs: Any, silent: Any) -> None:
    with pytest.raises(RemoteError, match="bad_operation"):
        operations.from_value([8, digest, pairs, silent])


def test_held_with_all_that_it_may_have() -> None:
    made = operations.from_value([8, DIGEST, [[key, bytes(64)] for key in rising(16)], rising(24)])
    assert operations.decode(made.encode()) == made


def test_the_appointed_seal_the_next_header_in_a_new_term() -> None:
    group, auditor = village(), village()
    founders = group.roster
    body = Body(group)
    assert take(body, appointment(ALICE, BOB, CAROL), payment(ALICE, BOB, 0, 0)) == [Status.OK, Status.AMOUNT_ZERO]
    assert group.roster == founders, "until the seal"
    assert body.changes_roster
    sealed = sealed_by(body, FOUNDER)
    roster = encode_roster([ALICE.public, BOB.public, CAROL.public])
    assert group.roster == sealed.roster == roster
    assert (group.header.term, group.state.appointed, group.state.role_changes) == (0, 1, 1)
    assert sealed.meta == node.meta(roster_digest(roster), node.EMPTY, 0, 0, state_digest(group.state.encode()))
    execute_again(auditor, sealed, body.segments)
    assert auditor.roster == roster
    assert next_term(group) == 1
    later = Body(group)
    take(later, role_change(BOB.account, Role.GUEST, 1))
    assert not later.changes_roster
    sealed = sealed_by(later, BOB, CAROL)
    assert sealed.header.term == 1
    check_seal(sealed.header_bytes, sealed.signatures, decode_roster(roster))
    execute_again(auditor, sealed, later.segments)
    assert auditor.header == group.header
    assert next_term(group) == 1, "the term goes on"


def test_rosters_of_every_size() -> None:
    for size in QUORUM:
        group = village()
        keys = (*PEOPLE, FOUNDER)[-size:]
        for supervisor in (FOUNDER, ORGANIZATION):
            body = Body(group)
            group.rules = group.rules._replace(roster_max=size)
            assert take(body, appointment(*keys, supervisor=supervisor)) == [Status.OK]
            assert body.roster == encode_roster([key.public for key in keys])
            body.undo()


def test_one_appointment_a_body() -> None:
    body = Body(village())
    statuses = take(
        body, appointment(ALICE), appointment(BOB), appointment(BOB, number=1), role_change(BOB.account, 2, 1)
    )
    assert statuses == [Status.OK, Status.WRONG_NUMBER, Status.BODY_FULL, Status.OK]
    assert body.roster == encode_roster([ALICE.public])


def test_appointing_the_same_roster_opens_a_term_too() -> None:
    group = village()
    body = Body(group)
    assert take(body, appointment(FOUNDER)) == [Status.OK]
    assert not body.changes_roster
    sealed_by(body, FOUNDER)
    assert next_term(group) == 1


def test_a_checkpoints_term_is_above_an_appointments() -> None:
    group = village()
    body = Body(group, 6)
    take(body, appointment(ALICE))
    assert (body.state.appointed, body.term) == (7, 6)
    sealed_by(body, FOUNDER)
    assert (group.header.term, next_term(group)) == (6, 7)


def test_willing_nodes() -> None:
    group = village(tick=50)
    body = Body(group)
    statuses = take(
        body,
        willingness(BOB, 3, address="b"),
        willingness(ALICE, 50),
        willingness(FOUNDER, 2**64 - 1),
        willingness(BOB, 3, address="c"),
        willingness(BOB, 4, address="d"),
        willingness(ALICE, 51, willing=0),
        willingness(ALICE, 51, willing=0),
        willingness(FOUNDER, 2**64 - 1, willing=0),
    )
    number, ok = Status.WRONG_NUMBER, Status.OK
    assert statuses == [ok, ok, ok, number, ok, ok, number, number]
    nodes = sorted([Willing(BOB.public, "d", 4, 1), Willing(FOUNDER.public, "", 2**64 - 1, 1)])
    assert body.state.willing == tuple(nodes)
    assert not body.is_empty
    sealed = sealed_by(body, FOUNDER)
    auditor = village(tick=50)
    execute_again(auditor, sealed, body.segments)
    assert auditor.state.willing == tuple(nodes)


def test_willingness_of_3600_ticks_ago() -> None:
    for late, expected in ((0, Status.OK), (1, Status.EXPIRED)):
        assert take(Body(village(tick=RECEIPT_TICKS_MAX + 7 + late)), willingness(ALICE, 7)) == [expected]


def test_where_24_are_willing_each_may_change_its_word() -> None:
    group = founded_group()
    keys = [key_of(number) for number in range(100, 101 + WILLING_MAX)]
    pulse(group, *(admission(key) for key in keys))
    body = Body(group)
    assert take(body, *(willingness(key) for key in keys)) == [Status.OK] * WILLING_MAX + [Status.WILLING_FULL]
    told = [
        willingness(keys[0], 2, address="x"),
        willingness(keys[1], 2, willing=0),
        willingness(keys[-1]),
        willingness(keys[1], 3),
    ]
    assert take(body, *told) == [Status.OK, Status.OK, Status.OK, Status.WILLING_FULL]
    assert len(body.state.willing) == WILLING_MAX


def holding(silent: int = 0) -> Group:
    """The village, in which Alice, Bob and Carol are willing."""
    group = village()
    body = Body(group)
    take(body, *(willingness(key, 1) for key in (ALICE, BOB, CAROL)))
    sealed_by(body, FOUNDER)
    nodes = tuple(node._replace(silent=silent) for node in group.state.willing)
    group.state = group.state._replace(willing=nodes)
    return group


def silent_ones(body: Body) -> set[bytes]:
    """Whom S has as silent."""
    return {node.key for node in body.state.willing if node.silent}


@pytest.mark.parametrize("silent", [0, 1])
def test_held_marks(silent: int) -> None:
    group = holding(silent)
    body = Body(group)
    before = dict(group.entries)
    assert take(body, held(group.digest, [BOB], [CAROL])) == [Status.OK]
    assert silent_ones(body) == {CAROL.public} | ({ALICE.public} if silent else set())
    assert body.is_empty
    assert group.entries == before
    assert take(body, willingness(CAROL, 2)) == [Status.OK]
    assert CAROL.public in silent_ones(body), "a new word is no signature"
    assert not body.is_empty


def test_held_comes_first_and_once() -> None:
    group = holding()
    said = held(group.digest, [BOB])
    body = Body(group)
    assert take(body, said, said, role_change(BOB.account, 2, 0), said) == [
        Status.OK,
        Status.MISPLACED,
        Status.OK,
        Status.MISPLACED,
    ]
    body.undo()
    assert take(Body(group), role_change(BOB.account, 2, 0), said, held(bytes(32), [])) == [
        Status.OK,
        Status.MISPLACED,
        Status.MISPLACED,
    ]


def test_held_above_a_proposal_is_about_that() -> None:
    group = holding()
    under = Body(group)
    take(under, role_change(BOB.account, 2, 0))
    under.close(0)
    above = Body(group, under=under)
    assert take(above, held(group.digest, [BOB]), held(under.digest, [BOB])) == [Status.WRONG_HEADER, Status.OK]


def test_held_by_the_roster_that_seals() -> None:
    """Those whom the predecessor appointed are the present roster; those whom this body appoints are not yet."""
    group = holding()
    under = Body(group)
    take(under, appointment(BOB))
    under.close(0)
    above = Body(group, under=under)
    assert take(above, held(under.digest, [BOB]), held(under.digest, [ALICE], [CAROL])) == [
        Status.NOT_PERMITTED,
        Status.OK,
    ]
