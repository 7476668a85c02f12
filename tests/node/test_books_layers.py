"""The books' layers: the last header, a proposed body on it, the open body above; what waits is in one of them."""

from __future__ import annotations

import pytest

from leither_lite.effects import Effects
from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.ledger.body import Body
from leither_lite.ledger.operations import Operation
from leither_lite.ledger.sealed import BodyEntries
from leither_lite.ledger.signed import Status
from leither_lite.node.books import LEFT_OUT_PULSES_MAX, Books
from tests.ledger.founding import distribution, key_of, payment
from tests.node.net import Net


def books_of(size: int = 3) -> tuple[Net, Books]:
    """The books of a backup, in a network that rests."""
    net = Net(size, size).settled(100)
    return net, net.nodes[1].books


def paid(net: Net, sent: int = 0, amount: int = 1) -> Operation:
    """A payment from node 1 to node 2."""
    return payment(net.keys[1], net.keys[2], amount, sent)


def receive(books: Books, operation: Operation, *, waits: bool = True) -> Status:
    """An operation from a peer."""
    return books.receive(operation, operation.encode(), b"peer", waits=waits)


def proposed(books: Books, tick: int = 50) -> Body:
    """What the books propose."""
    body = books.propose(tick, None)
    assert body is not None
    return body


def test_an_open_body_goes_on_above_the_proposal() -> None:
    net, books = books_of()
    digest = net.nodes[1].group.digest
    assert receive(books, paid(net)) is Status.OK
    first = proposed(books)
    assert [operation for operation, _ in first.operations] == [paid(net)]
    assert books.body.is_empty
    assert receive(books, paid(net, 1)) is Status.OK
    assert books.has_work
    assert [operation for operation, _ in books.body.operations] == [paid(net, 1)]
    entry = books.entry(net.keys[1].account)
    assert entry is not None
    assert entry.record.balance == 100, "as of the last header"
    again = proposed(books)
    assert [operation for operation, _ in again.operations] == [paid(net), paid(net, 1)], "the other one taken back"
    books.drop_proposal()
    assert books.proposed is None
    assert len(books.body.operations) == 2
    assert net.nodes[1].group.digest == digest


def test_somebody_elses_proposal_takes_the_place_of_ours_and_ours_is_not_lost() -> None:
    net, books = books_of()
    other = net.nodes[2].books
    assert receive(books, paid(net)) is Status.OK
    theirs = distribution(net.keys[2].account, 5, 3, net.organization)
    assert receive(other, theirs) is Status.OK
    ours, foreign = proposed(books), proposed(other, 51)
    adopted = books.adopt(foreign.header_bytes, tuple(foreign.entries), list(foreign.segments))
    assert adopted is books.proposed
    assert adopted.digest == foreign.digest != ours.digest
    assert [operation for operation, _ in books.body.operations] == [paid(net)], "it waits above"
    assert books.has_work


def test_a_proposal_that_does_not_hold_changes_nothing() -> None:
    net, books = books_of()
    assert receive(books, paid(net)) is Status.OK
    ours = proposed(books)
    header, entries, segments = ours.header_bytes, tuple(ours.entries), list(ours.segments)
    wrong: list[tuple[bytes, BodyEntries, list[bytes], int | None]] = [
        (header, entries, [], None),
        (header, (), segments, None),
        (header, entries, segments, 7),
        (header[:-1], entries, segments, None),
    ]
    for arguments in wrong:
        with pytest.raises(RemoteError):
            books.adopt(*arguments)
        assert books.proposed is None
        assert [operation for operation, _ in books.body.operations] == [paid(net)]
    assert books.adopt(header, entries, segments).digest == ours.digest


def test_what_waits_is_sealed_by_whoever_proposes_it() -> None:
    net, books = books_of()
    number = len(books.pool)
    assert receive(books, paid(net)) is Status.OK
    body = proposed(books)
    effects = Effects()
    books.seal(effects, (), 50)
    assert net.nodes[1].group.digest == body.digest
    assert len(books.pool) == number == 0
    assert books.body.is_empty
    with pytest.raises(Halt, match="no_proposal"):
        books.seal(effects, (), 50)


def test_what_this_body_cannot_take_waits_only_if_it_may() -> None:
    net, books = books_of()
    later = paid(net, 1)
    assert receive(books, later, waits=False) is Status.WRONG_SENT
    assert len(books.pool) == 0
    assert receive(books, later) is Status.OK
    assert not books.has_work
    assert receive(books, paid(net)) is Status.OK
    proposed(books)
    assert [operation for operation, _ in books.body.operations] == [later], "it has become good"


def test_leaving_out_is_noticed_after_some_pulses() -> None:
    net, books = books_of()
    other = net.nodes[2].books
    assert receive(books, paid(net)) is Status.OK
    assert receive(other, distribution(net.keys[2].account, 5, 3, net.organization)) is Status.OK
    foreign = proposed(other)
    books.adopt(foreign.header_bytes, tuple(foreign.entries), list(foreign.segments))
    assert not books.leaves_out
    for waiting in books.pool:
        waiting.since -= LEFT_OUT_PULSES_MAX
    assert books.leaves_out
    for waiting in books.pool:
        waiting.since += 1
    assert not books.leaves_out
    books.drop_proposal()
    assert not books.leaves_out


def test_a_new_term_takes_everything_up_again() -> None:
    net, books = books_of()
    assert receive(books, paid(net)) is Status.OK
    proposed(books)
    books.enter_term(5)
    assert (books.proposed, books.term, books.body.term) == (None, 5, 5)
    assert [operation for operation, _ in books.body.operations] == [paid(net)]


def test_nothing_to_propose() -> None:
    _, books = books_of()
    assert books.propose(50, None) is None
    assert books.proposed is None


def test_only_the_roster_of_one_seals_alone() -> None:
    _, books = books_of()
    assert not books.seals_alone
    with pytest.raises(Halt, match="not_the_roster"):
        books.seal_alone(Effects(), 50, None)


def test_own_operations_are_bounded_too() -> None:
    net, books = books_of()
    books.pool._bytes_max = 4 * 1_500
    operation = paid(net)
    books.accept(operation, operation.encode())
    assert books.take_accepted() == [operation.encode()]
    assert books.take_accepted() == []
    second = paid(net, 1)
    with pytest.raises(LocalError, match="busy"):
        books.accept(second, second.encode())
    refused = payment(key_of(99), net.keys[2], 1, 0)
    books.pool._bytes_max = 10**6
    with pytest.raises(LocalError, match="unknown_payer"):
        books.accept(refused, refused.encode())
    assert len(books.pool) == 1
    assert len(books.save()) == 1
    assert books.save() == []
