"""Bodies in layers, and undone: whatever was tried between, the group is that of straight execution."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.ledger.body import Body
from leither_lite.ledger.group import Group, tree_of
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.records import PAGE_HEAD_BYTES, counted_bytes
from leither_lite.ledger.signed import Status
from tests.ledger.founding import (
    FOUNDER,
    NETWORK,
    ORGANIZATION,
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
    willingness,
)

ALICE: Final = key_of(10)
BOB: Final = key_of(11)
PEOPLE: Final = tuple(key_of(number) for number in range(10, 16))


def village() -> Group:
    """The founder and Alice with 100 each, and Bob."""
    group = founded_group()
    to_both = distribution(ALICE.account, 100, 0), distribution(FOUNDER.account, 100, 1)
    pulse(group, admission(ALICE), admission(BOB), *to_both, tick=5)
    return group


def everything(group: Group) -> tuple[Any, ...]:
    """All that a body may change in its group, the order of the entries too."""
    return (
        list(group.entries.items()),
        group.tree.root(),
        list(group.tree.leaves()),
        group.invites.root(),
        group.page_bytes,
        group.roster,
        group.state,
        group.digest,
        group.header,
        group.sealed,
        group.ahead,
    )


def committed(group: Group) -> tuple[Any, ...]:
    """The same without what hangs on the way there."""
    entries, root, leaves, *others = everything(group)
    return sorted(entries), root, leaves, *others


def result_of(body: Body) -> tuple[Any, ...]:
    """What a closed body leads to."""
    return body.header, body.digest, body.state, body.roster, body.segments, body.entries, body.records


def drawn(rng: Random, body: Body) -> Operation:
    """An operation that is likely to be good."""
    group = body.group
    one, other = rng.choice((FOUNDER, *PEOPLE)), rng.choice((FOUNDER, *PEOPLE))
    entry = group.entries.get(one.account)
    match rng.randrange(9):
        case 0:
            return admission(one)
        case 1:
            return invited(one, 1_000 + rng.randrange(9))
        case 2:
            return distribution(one.account, 5, group.entries[NETWORK].record.sent)
        case 3:
            return role_change(other.account, rng.randrange(3), body.state.role_changes, ORGANIZATION)
        case 4:
            return appointment(one, number=body.state.role_changes, supervisor=ORGANIZATION)
        case 5:
            return willingness(one, rng.randrange(1, 9), rng.randrange(4) and 1)
        case 6:
            return held(body.previous, [one])
    return payment(one, other, rng.randrange(1, 4), 0 if entry is None else entry.record.sent)


def segment_of(body: Body) -> bytes:
    """The open segment."""
    return codec.encode_array(body._contents)


class Layers:
    """A group with layers above its last header, and what straight execution needs to come to the same."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.group = village()
        self.layers = [Body(self.group)]
        self.starts = [everything(self.group)]
        self.sealed: list[Body] = []

    def take(self) -> None:
        """A few operations in the open body, now and then in a new segment."""
        body = self.layers[-1]
        if self.rng.randrange(4) == 0 and body._contents:
            body._close(segment_of(body))
        for _ in range(self.rng.randrange(1, 6)):
            take(body, drawn(self.rng, body))

    def close(self) -> None:
        """Another layer."""
        if len(self.layers) < 4:
            body = self.layers[-1]
            body.close(self.group.header.tick + self.rng.randrange(3))
            self.starts.append(everything(self.group))
            self.layers.append(Body(self.group, under=body))

    def undo(self) -> None:
        """The topmost layer goes, and a new one is opened in its place."""
        body = self.layers.pop()
        body.undo()
        assert everything(self.group)[:-1] == self.starts[-1][:-1]
        self.layers.append(Body(self.group, under=body.under))

    def drop(self) -> None:
        """The topmost layer goes, and the one under it is undone and executed again in part."""
        if len(self.layers) > 1:
            self.layers.pop().undo()
            self.starts.pop()
            body = self.layers.pop()
            body.undo()
            assert everything(self.group)[:-1] == self.starts[-1][:-1]
            again = Body(self.group, under=body.under)
            for operation, content in body.operations[: self.rng.randrange(len(body.operations) + 1)]:
                assert again.take(operation, content) is Status.OK
            self.layers.append(again)

    def seal(self) -> None:
        """The lowest layer is sealed."""
        if len(self.layers) > 1:
            body = self.layers.pop(0)
            body.seal(())
            self.starts.pop(0)
            self.sealed.append(body)
            # What a layer goes back to has another tip now.
            self.starts = [(*start[:5], *everything(self.group)[5:]) for start in self.starts]
            assert self.layers[0].under is None


@given(st.integers(0, 2**32), st.lists(st.sampled_from(("take", "take", "close", "undo", "drop", "seal")), max_size=25))
def test_like_straight_execution(seed: int, steps: list[str]) -> None:
    tried = Layers(Random(seed))
    for step in steps:
        getattr(tried, step)()
    top = tried.layers[-1]
    touched = sorted({account for body in tried.layers for account in body.before})
    before = {account: top.entry_before(account) for account in touched}
    straight = village()
    for made in tried.sealed:
        repeated(straight, made).seal(())
    assert before == {account: straight.entries.get(account) for account in touched}
    assert everything(straight)[5:10] == everything(tried.group)[5:10]
    under: Body | None = None
    for layer in tried.layers:
        under = repeated(straight, layer, under)
    top.close(99)
    assert under is not None
    under.close(99)
    assert result_of(under) == result_of(top)
    assert committed(straight) == committed(tried.group)
    assert straight.page_bytes == PAGE_HEAD_BYTES + sum(counted_bytes(e.record) for e in straight.entries.values())
    assert straight.tree.root() == tree_of(straight.entries).root()


def repeated(group: Group, made: Body, under: Body | None = None) -> Body:
    """What a body has done, on another group."""
    body = Body(group, under=under)
    body.replay(made.segments, tuple(made.entries), lambda content: True)
    for operation, content in made.operations[len(body.operations) :]:
        assert body.take(operation, content) is Status.OK
    if made.header is not None:
        body.close(made.header.tick)
        assert result_of(body) == result_of(made)
    assert (body.term, body.pulse, body.state, body.operations) == (made.term, made.pulse, made.state, made.operations)
    return body


def layered() -> tuple[Group, Body, Body]:
    """A closed body that has paid Bob, and an open one above it."""
    group = village()
    under = Body(group)
    assert take(under, payment(ALICE, BOB, 7, 0), invited(key_of(20), 1_000)) == [Status.OK] * 2
    under.close(9)
    return group, under, Body(group, under=under)


def test_above_a_proposal() -> None:
    group, under, above = layered()
    assert (above.pulse, above.state.date, above.previous) == (under.pulse + 1, 9, under.digest)
    assert take(above, payment(BOB, ALICE, 7, 0), invited(key_of(21), 1_000)) == [Status.OK, Status.INVITE_USED]
    entry = above.entry_before(BOB.account)
    assert entry is not None
    assert entry.record.balance == 0
    assert above.entry_before(key_of(20).account) is None
    header = above.close(9)
    under.seal(())
    assert group.digest == header.previous
    above.seal(())
    straight = village()
    pulse(straight, *(operation for operation, _ in under.operations), tick=9)
    pulse(straight, payment(BOB, ALICE, 7, 0), tick=9)
    assert straight.header == group.header
    assert committed(straight)[:5] == committed(group)[:5]


def halted(code: str = "body_layers") -> Any:
    """Expects the end of a node that has mixed up its layers."""
    return pytest.raises(Halt, match=code)


def test_layers_in_the_wrong_order() -> None:
    group, under, above = layered()
    take(above, payment(BOB, ALICE, 7, 0))
    before = everything(group)
    with halted():
        under.undo()
    with halted():
        take(under, payment(BOB, ALICE, 1, 0))
    with halted():
        Body(group, under=above)
    with halted():
        above.seal(())
    other = Body(group)
    with halted():
        take(other, payment(ALICE, BOB, 1, 1))
    assert everything(group) == before
    above.close(9)
    with halted():
        above.seal(())
    above.undo()
    with halted():
        above.undo()
    under.seal(())
    with halted():
        under.undo()
    with halted():
        under.seal(())


def test_an_empty_body_can_be_undone_too() -> None:
    group = village()
    before = everything(group)
    body = Body(group)
    body.undo()
    body.close(5)
    body.undo()
    assert everything(group) == before


def test_a_body_above_an_undone_one_is_found_out() -> None:
    group, under, above = layered()
    above.undo()
    under.undo()
    other = Body(group)
    take(other, payment(ALICE, BOB, 1, 0))
    with halted():
        take(above, payment(FOUNDER, ALICE, 1, 0))


@given(st.integers(0, 2**32), st.integers(0, 5), st.integers(0, 3))
def test_a_failed_replay_undone(seed: int, good: int, kind: int) -> None:
    rng = Random(seed)
    other = village()
    body = Body(other)
    take(body, payment(ALICE, BOB, 1, 0))
    for _ in range(6):
        for _ in range(rng.randrange(1, 6)):
            take(body, drawn(rng, body))
        if body._contents:
            body._close(segment_of(body))
    body.close(9)
    group = village()
    before = everything(group)
    segments, entries = list(body.segments), list(body.entries)
    at = min(good, len(segments) - 1)
    digest, inner, _ = entries[at]
    if kind == 0:
        entries[at] = (digest, inner, bytes(32))
    elif kind == 1:
        segments[at] = segments[at][:-1] + bytes([segments[at][-1] ^ 1])
    elif kind == 2:
        entries.pop()
    else:
        segments[at] = b"\x81\x82\x01\x02"
    again = Body(group)
    with pytest.raises(RemoteError):
        again.replay(segments, tuple(entries))
    again.undo()
    assert everything(group) == before
    follower = Body(group)
    follower.replay(body.segments, tuple(body.entries))
    follower.close(9)
    assert result_of(follower) == result_of(body)
    assert follower.operations == body.operations
