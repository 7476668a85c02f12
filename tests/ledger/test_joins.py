"""Applications, admissions, invites and changes of role: their bytes, and who must have signed."""

from __future__ import annotations

from typing import Any, Final

import pytest

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import RemoteError
from leither_lite.identity import h32
from leither_lite.ledger import operations
from leither_lite.ledger.joins import Admission, Application, Invite, InvitedJoin, RoleChange
from leither_lite.ledger.records import Role
from leither_lite.ledger.signed import Status
from tests.ledger.founding import FOUNDER, NETWORK, admission, invited, key_of, role_change

ALICE: Final = key_of(10)
SECRET: Final = key_of(11)
OTHER: Final = bytes(20)
APPLIED: Final = codec.encode([ALICE.public, "Alice"])
GRANTED: Final = codec.encode([FOUNDER.public, ALICE.account, 1])
INVITED: Final = codec.encode([FOUNDER.public, SECRET.public, 1, 77])
CHANGED: Final = codec.encode([FOUNDER.public, ALICE.account, 2, 5])


def test_bytes_of_an_admission() -> None:
    application = Application.make(NETWORK, ALICE, "Alice")
    made = Admission.make(NETWORK, FOUNDER, application, Role.MEMBER)
    applied, granted = ALICE.sign(h32("apply", NETWORK + APPLIED)), FOUNDER.sign(h32("grant", NETWORK + GRANTED))
    assert made.encode() == codec.encode([3, APPLIED, applied, GRANTED, granted])
    assert operations.decode(made.encode()) == made
    assert made.check_signatures(NETWORK) is Status.OK


def test_bytes_of_a_join_by_invite() -> None:
    invite = Invite.make(NETWORK, FOUNDER, SECRET.public, Role.MEMBER, 77)
    made = InvitedJoin.make(NETWORK, Application.make(NETWORK, ALICE, "Alice"), invite, SECRET)
    digest = h32("apply", NETWORK + APPLIED)
    invited_by = FOUNDER.sign(h32("invite", NETWORK + INVITED))
    assert made.encode() == codec.encode([4, APPLIED, ALICE.sign(digest), INVITED, invited_by, SECRET.sign(digest)])
    assert operations.decode(made.encode()) == made
    assert made.check_signatures(NETWORK) is Status.OK


def test_bytes_of_a_role_change() -> None:
    made = RoleChange.make(NETWORK, FOUNDER, ALICE.account, Role.SUPERVISOR, 5)
    assert made.encode() == codec.encode([5, CHANGED, FOUNDER.sign(h32("role", NETWORK + CHANGED))])
    assert operations.decode(made.encode()) == made
    assert made.check_signatures(NETWORK) is Status.OK


@pytest.mark.parametrize("made", [admission(ALICE), invited(ALICE, 11), role_change(ALICE.account, 1, 0)])
def test_every_signature_counts(made: operations.Operation) -> None:
    assert made.check_signatures(OTHER) is Status.BAD_SIGNATURE
    value = codec.decode(made.encode())
    assert type(value) is list
    signatures = [index for index, part in enumerate(value) if isinstance(part, bytes) and len(part) == 64]
    assert len(signatures) == {3: 2, 4: 3, 5: 1}[made.encode()[1]]
    for index in signatures:
        part = value[index]
        assert type(part) is bytes
        wrong = [*value[:index], part[:-1] + bytes([part[-1] ^ 1]), *value[index + 1 :]]
        assert operations.from_value(wrong).check_signatures(NETWORK) is Status.BAD_SIGNATURE


def test_an_invite_seen_on_its_way_serves_nobody_else() -> None:
    """The invite's own key signs the application of the one guest who holds it."""
    seen = invited(ALICE, 11)
    thief = Application.make(NETWORK, key_of(12), "")
    stolen = InvitedJoin(thief, seen.invite, seen.proof)
    assert stolen.check_signatures(NETWORK) is Status.BAD_SIGNATURE


def test_grant_of_another_account() -> None:
    granted = codec.encode([FOUNDER.public, SECRET.account, 1])
    with pytest.raises(RemoteError, match="bad_operation"):
        operations.from_value([3, APPLIED, bytes(64), granted, bytes(64)])


@pytest.mark.parametrize(("index", "value"), [(0, bytes(20)), (0, 0), (1, b"Alice"), (1, "x" * 65)])
def test_bad_application(index: int, value: Any) -> None:
    fields: list[Value] = [ALICE.public, "Alice"]
    fields[index] = value
    with pytest.raises(RemoteError, match="bad_operation"):
        operations.from_value([3, codec.encode(fields), bytes(64), GRANTED, bytes(64)])


@pytest.mark.parametrize(("index", "value"), [(0, bytes(20)), (1, bytes(32)), (2, 3), (2, 4), (2, b"\1")])
def test_bad_grant(index: int, value: Any) -> None:
    fields: list[Value] = [FOUNDER.public, ALICE.account, 1]
    fields[index] = value
    with pytest.raises(RemoteError, match="bad_operation"):
        operations.from_value([3, APPLIED, bytes(64), codec.encode(fields), bytes(64)])


@pytest.mark.parametrize(("index", "value"), [(0, bytes(20)), (1, bytes(20)), (2, 2), (2, b"\1"), (3, "1")])
def test_bad_invite(index: int, value: Any) -> None:
    fields: list[Value] = [FOUNDER.public, SECRET.public, 1, 77]
    fields[index] = value
    with pytest.raises(RemoteError, match="bad_operation"):
        operations.from_value([4, APPLIED, bytes(64), codec.encode(fields), bytes(64), bytes(64)])


@pytest.mark.parametrize(("index", "value"), [(0, bytes(20)), (1, bytes(32)), (2, 3), (3, b"\1")])
def test_bad_role_change(index: int, value: Any) -> None:
    fields: list[Value] = [FOUNDER.public, ALICE.account, 1, 0]
    fields[index] = value
    with pytest.raises(RemoteError, match="bad_operation"):
        operations.from_value([5, codec.encode(fields), bytes(64)])
