"""A member executes what is proposed: the header that follows is the one proposed, or the group is as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leither_lite.errors import RemoteError
from leither_lite.header import Header, header_digest
from leither_lite.ledger.body import Body
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.replay import check_proposal
from leither_lite.ledger.signed import Status
from tests.ledger.founding import held, payment, take
from tests.ledger.test_body_replay import ALICE, BOB, OPERATIONS, array, before, whole

Proposed = tuple[bytes, tuple[tuple[bytes, bytes, bytes], ...], list[bytes]]


def proposed(*operations: Operation, tick: int = 9, term: int = 0) -> Proposed:
    """A body as its proposer shows it."""
    body = Body(before(), term)
    assert set(take(body, *operations)) <= {Status.OK}
    body.close(tick)
    return body.header_bytes, tuple(body.entries), body.segments


def test_proposal() -> None:
    header_bytes, entries, segments = proposed(*OPERATIONS)
    group = before()
    start = whole(group)
    body = check_proposal(group, header_bytes, entries, segments, 0)
    assert (body.header_bytes, body.digest) == (header_bytes, header_digest(header_bytes))
    assert [content for _, content in body.operations] == [made.encode() for made in OPERATIONS]
    body.undo()
    assert whole(group) == start
    body = check_proposal(group, header_bytes, entries, segments, 0, lambda content: True)
    above = Body(group, under=body)
    take(above, payment(ALICE, BOB, 1, 2))
    body.seal(())
    assert group.header == Header.decode(header_bytes)
    assert above.close(9).previous == group.digest


def with_header(shown: Proposed, **changes: object) -> Proposed:
    """The same with another header."""
    return replace(Header.decode(shown[0]), **changes).encode(), *shown[1:]  # type: ignore[arg-type]


def refused(shown: Proposed, term: int = 0) -> str:
    """Why a proposal is refused; the group is as it was."""
    header_bytes, entries, segments = shown
    group = before()
    start = whole(group)
    with pytest.raises(RemoteError) as caught:
        check_proposal(group, header_bytes, entries, segments, term)
    assert whole(group) == start
    return caught.value.reason


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("tick", 4, "header_tick"),
        ("term", 1, "header_term"),
        ("node", bytes(36), "header_mismatch"),
        ("previous", bytes(32), "header_mismatch"),
        ("pulse", 3, "header_mismatch"),
        ("anchor", b"\1" * 32, "header_mismatch"),
        ("body", bytes(32), "header_mismatch"),
        ("level", 2, "header_mismatch"),
        ("network", bytes(20), "header_mismatch"),
    ],
)
def test_proposal_with_a_wrong_header(name: str, value: object, expected: str) -> None:
    assert refused(with_header(proposed(*OPERATIONS), **{name: value})) == expected


def test_proposal_of_another_term() -> None:
    shown = proposed(*OPERATIONS, term=1)
    assert refused(shown) == "header_term"
    assert check_proposal(before(), *shown, 1).term == 1


def test_proposal_with_an_early_tick_or_a_later() -> None:
    assert check_proposal(before(), *proposed(*OPERATIONS, tick=5), 0).closed_header.tick == 5
    assert check_proposal(before(), *proposed(*OPERATIONS, tick=10**9), 0).closed_header.tick == 10**9


def test_proposal_of_nothing() -> None:
    assert refused(proposed()) == "body_empty"
    assert refused(proposed(held(before().digest, []))) == "body_empty"


def test_proposal_with_a_wrong_body() -> None:
    header_bytes, entries, segments = proposed(*OPERATIONS)
    assert refused((header_bytes, entries, [array(*OPERATIONS[:2])])) == "body_state"
    assert refused((header_bytes, entries, [*segments, *segments])) == "body_segments"
    assert refused((header_bytes, (*entries, *entries), segments)) == "header_mismatch"
    assert refused((header_bytes[:-1], entries, segments)) == "cbor_truncated"
