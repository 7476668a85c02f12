"""Whoever has the state before a header executes its body again: the same header, or a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from leither_lite import codec
from leither_lite.errors import RemoteError
from leither_lite.header import Header, body_digest, segment_digest
from leither_lite.ledger.body import Body
from leither_lite.ledger.group import Group
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.replay import execute_again
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.signed import Status
from leither_lite.limits import BODY_SEGMENTS_MAX, SEGMENT_BYTES_MAX, SEGMENT_SET_ITEMS_MAX
from tests.ledger.founding import (
    FOUNDER,
    admission,
    appointment,
    distribution,
    founded_group,
    held,
    invited,
    key_of,
    payment,
    pulse,
    role_change,
    take,
)

ALICE: Final = key_of(10)
BOB: Final = key_of(11)
OPERATIONS: Final[tuple[Operation, ...]] = (
    invited(BOB, 1_000),
    distribution(ALICE.account, 70, 1),
    payment(ALICE, BOB, 30, 0),
    payment(ALICE, BOB, 31, 1),
    payment(BOB, ALICE, 60, 0, valid_until=5),
    role_change(ALICE.account, 2, 0),
)


def before() -> Group:
    """The state that the body starts from."""
    group = founded_group()
    pulse(group, admission(ALICE), distribution(FOUNDER.account, 100, 0), tick=5)
    return group


@pytest.fixture(name="sealed", scope="module")
def _sealed() -> tuple[SealedPulse, list[bytes]]:
    return pulse(before(), *OPERATIONS, tick=9)


Sealed = tuple[SealedPulse, list[bytes]]


def reason(sealed: SealedPulse, segments: list[bytes], group: Group | None = None) -> str:
    """Why a body is refused."""
    with pytest.raises(RemoteError) as caught:
        execute_again(before() if group is None else group, sealed, segments)
    return caught.value.reason


def with_header(sealed: SealedPulse, **changes: object) -> SealedPulse:
    """The same with another header."""
    return replace(sealed, header_bytes=replace(sealed.header, **changes).encode())  # type: ignore[arg-type]


def with_segments(sealed: SealedPulse, segments: list[bytes]) -> SealedPulse:
    """The same, its list and header naming other segments: what a liar would sign."""
    entries = tuple(
        (segment_digest(segment), *sealed.entries[min(index, len(sealed.entries) - 1)][1:])
        for index, segment in enumerate(segments)
    )
    return with_header(replace(sealed, entries=entries), body=body_digest(entries))


def array(*operations: Operation) -> bytes:
    """A segment."""
    return codec.encode([codec.decode(operation.encode()) for operation in operations])


def test_same_header(sealed: Sealed) -> None:
    group = before()
    execute_again(group, *sealed)
    assert group.header == sealed[0].header
    assert group.sealed == sealed[0]
    assert (group.state.encode(), group.state.encode_willing()) == (sealed[0].state, sealed[0].willing)
    other = before()
    pulse(other, *OPERATIONS, tick=9)
    execute_again(group, *pulse(other, payment(ALICE, BOB, 1, 2), tick=9))


def test_empty_body_leads_to_a_header_too() -> None:
    group = before()
    sealed, segments = pulse(group, tick=6)
    assert segments == []
    assert sealed.header.body == body_digest([])
    execute_again(before(), sealed, segments)


def test_each_changed_byte(sealed: Sealed) -> None:
    """Whatever byte of the segment is changed, and whoever signs the new digest: it is refused."""
    told, [segment] = sealed
    reasons = set()
    for at in range(0, len(segment), 7):
        changed = bytearray(segment)
        changed[at] ^= 1 << at % 8
        reasons.add(reason(with_segments(told, [bytes(changed)]), [bytes(changed)]))
    assert {"body_operation", "bad_operation"} <= reasons


def test_changed_segment_under_the_true_digest(sealed: Sealed) -> None:
    told, _ = sealed
    assert reason(told, [array(*OPERATIONS[:2])]) == "body_state"


@pytest.mark.parametrize("dropped", range(len(OPERATIONS)))
def test_dropped_operation(sealed: Sealed, dropped: int) -> None:
    segment = array(*OPERATIONS[:dropped], *OPERATIONS[dropped + 1 :])
    assert reason(with_segments(sealed[0], [segment]), [segment]) in {"body_state", "body_operation"}


def test_swapped_order(sealed: Sealed) -> None:
    one, two, three, four, *others = OPERATIONS
    assert reason(sealed[0], [array(two, one, three, four, *others)]) == "body_state"
    segment = array(one, two, four, three, *others)
    assert reason(with_segments(sealed[0], [segment]), [segment]) == "body_operation"


def test_another_split(sealed: Sealed) -> None:
    segments = [array(*OPERATIONS[:3]), array(*OPERATIONS[3:])]
    assert reason(sealed[0], segments) == "body_segments"
    assert reason(with_segments(sealed[0], segments), segments) == "body_state"


def test_wrong_signature_inside(sealed: Sealed) -> None:
    operation = OPERATIONS[2].encode()
    segment = array(*OPERATIONS).replace(operation, operation[:-1] + bytes([operation[-1] ^ 1]))
    with pytest.raises(RemoteError, match="body_operation: bad_signature"):
        execute_again(before(), with_segments(sealed[0], [segment]), [segment])


def test_operation_that_the_state_refuses(sealed: Sealed) -> None:
    segment = array(*OPERATIONS, OPERATIONS[2])
    with pytest.raises(RemoteError, match="body_operation: wrong_sent"):
        execute_again(before(), with_segments(sealed[0], [segment]), [segment])


def test_wrong_state_entry(sealed: Sealed) -> None:
    told, segments = sealed
    [(digest, inner, meta)] = told.entries
    for entry in ((digest, inner[:-1] + b"\0", meta), (digest, inner, bytes(32)), (bytes(32), inner, meta)):
        changed = with_header(replace(told, entries=(entry,)), body=body_digest([entry]))
        assert reason(changed, segments) == "body_state"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("tick", 4, "header_mismatch"),
        ("term", 2, "header_term"),
        ("node", bytes(36), "header_mismatch"),
        ("previous", bytes(32), "header_mismatch"),
        ("pulse", 3, "header_mismatch"),
        ("anchor", b"\1" * 32, "header_mismatch"),
        ("body", bytes(32), "header_mismatch"),
        ("level", 2, "header_mismatch"),
        ("network", bytes(20), "header_mismatch"),
    ],
)
def test_wrong_header(sealed: Sealed, name: str, value: object, expected: str) -> None:
    assert reason(with_header(sealed[0], **{name: value}), sealed[1]) == expected


def test_term_rises_by_one_at_most(sealed: Sealed) -> None:
    other = before()
    next_one = Body(other, 1)
    take(next_one, *OPERATIONS)
    next_one.close(9)
    told = next_one.seal(())
    assert told.header.term == 1
    execute_again(before(), told, next_one.segments)
    assert other.state.since == 5, "with a term begins its date"
    assert reason(with_header(sealed[0], term=1), sealed[1]) == "body_state", "S says when the term began"
    group = before()
    pulse_in_term_1 = Body(group, 1)
    pulse_in_term_1.close(5)
    pulse_in_term_1.seal(())
    later = Body(group, 0).close(5)
    told = replace(group.sealed, header_bytes=later.encode(), signatures=(), entries=())
    assert reason(told, [], group) == "header_term"


def test_wrong_state_before(sealed: Sealed) -> None:
    assert reason(*sealed, founded_group()) in {"body_operation", "body_state"}


def rejected(segments: list[bytes], count: int | None = None) -> str:
    """Why segments are refused, whatever they lead to."""
    entries = tuple((segment_digest(segment), bytes(36), bytes(32)) for segment in segments)
    with pytest.raises(RemoteError) as caught:
        Body(before()).replay(segments, entries[:count])
    return caught.value.reason


def test_bounds_of_a_body() -> None:
    one = array(payment(FOUNDER, ALICE, 1, 0))
    assert rejected([one] * (BODY_SEGMENTS_MAX + 1)) == "body_segments"
    assert rejected([one, one], 1) == "body_segments"
    assert rejected([bytes(SEGMENT_BYTES_MAX + 1)]) == "body_segment_size"
    assert rejected([b"\x80"]) == "body_segments"
    assert rejected([b"\x01"]) == "body_segments"
    assert rejected([b"\x81\x01"]) == "bad_operation"
    assert rejected([b"\x9f\xff"]) == "cbor_indefinite"


def test_17_items_of_sets_in_one_segment() -> None:
    joins = [invited(key_of(100 + number), 1_000 + number) for number in range(SEGMENT_SET_ITEMS_MAX + 1)]
    assert rejected([array(*joins)]) == "body_set_items"
    group = before()
    sealed, segments = pulse(group, *joins[:-1])
    assert len(segments) == 1
    execute_again(before(), sealed, segments)


def test_a_split_of_ones_own_is_no_fraud() -> None:
    """Where segments end is the proposer's to say, within the bounds: whoever re-executes follows it."""
    whole, parts = Body(before()), Body(before())
    take(whole, *OPERATIONS)
    expected = whole.close(9)
    entries: list[tuple[bytes, bytes, bytes]] = []
    segments = [array(operation) for operation in OPERATIONS]
    walk = Body(before())
    for segment, operation in zip(segments, OPERATIONS, strict=True):
        take(walk, operation)
        walk._close(segment)
        entries.append(walk.entries[-1])
    parts.replay(segments, tuple(entries))
    header: Header = parts.close(9)
    assert header == replace(expected, body=header.body)
    assert header.body != expected.body


def whole(group: Group) -> tuple[object, ...]:
    """What a refused body must leave as it was."""
    return (
        list(group.entries.items()),
        list(group.tree.leaves()),
        group.tree.root(),
        group.invites.root(),
        group.page_bytes,
        group.state,
        group.roster,
        group.digest,
        group.ahead,
    )


def test_after_an_error_the_group_is_as_it_was(sealed: Sealed) -> None:
    told, segments = sealed
    group = before()
    start = whole(group)
    [(digest, inner, _)] = told.entries
    entry = (digest, inner, bytes(32))
    assert reason(with_header(told, node=bytes(36)), segments, group) == "header_mismatch"
    assert reason(with_header(replace(told, entries=(entry,)), body=body_digest([entry])), segments, group)
    assert reason(with_segments(told, [array(*OPERATIONS, OPERATIONS[2])]), [array(*OPERATIONS, OPERATIONS[2])], group)
    assert whole(group) == start
    assert execute_again(group, told, segments).operations == [(made, made.encode()) for made in OPERATIONS]


def test_signatures_that_were_checked_before(sealed: Sealed) -> None:
    """Only of what is known, to the byte, is the signature not looked at."""
    operation = OPERATIONS[2].encode()
    forged = operation[:-1] + bytes([operation[-1] ^ 1])
    other = before()
    body = Body(other)
    for made in OPERATIONS:
        content = forged if made is OPERATIONS[2] else made.encode()
        assert body.take(made, content) is Status.OK
    body.close(9)
    asked: list[bytes] = []

    def known(content: bytes) -> bool:
        asked.append(content)
        return content == forged

    told = body.seal(())
    execute_again(before(), told, body.segments, known)
    assert asked == [content for _, content in body.operations]
    for says in ((lambda content: content == operation), (lambda content: False)):
        with pytest.raises(RemoteError, match="body_operation: bad_signature"):
            execute_again(before(), told, body.segments, says)


def test_two_appointments_in_one_body() -> None:
    named = [appointment(ALICE), appointment(ALICE, number=1)]
    segment = array(*named)
    with pytest.raises(RemoteError, match="body_operation: body_full"):
        Body(before()).replay([segment], ((segment_digest(segment), bytes(36), bytes(32)),))


def test_held_in_the_second_place() -> None:
    segment = array(payment(FOUNDER, ALICE, 1, 0), held(before().digest, []))
    with pytest.raises(RemoteError, match="body_operation: misplaced"):
        Body(before()).replay([segment], ((segment_digest(segment), bytes(36), bytes(32)),))


def test_terms_after_an_appointment() -> None:
    """The next term is the one it opens, or, after a checkpoint, the one after that; never the old one."""
    for term, expected in ((0, "header_term"), (1, ""), (2, ""), (3, "header_term")):
        group, other = before(), before()
        for chain in (group, other):
            pulse(chain, appointment(FOUNDER))
        body = Body(other, term)
        take(body, payment(FOUNDER, ALICE, 1, 0))
        body.close(9)
        told = body.seal(())
        if expected:
            assert reason(told, body.segments, group) == expected
        else:
            execute_again(group, told, body.segments)
