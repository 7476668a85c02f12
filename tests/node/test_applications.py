"""Who waits for an account: what lies on the disk, what only in memory, what is refused, how much one peer fills."""

from __future__ import annotations

from typing import Final

import pytest

from leither_lite.board import Board
from leither_lite.codec import encode
from leither_lite.errors import LocalError
from leither_lite.ledger.joins import Application
from leither_lite.ledger.records import Role
from leither_lite.node import events as ev, frames
from leither_lite.node.applications import REFUSED_MAX
from leither_lite.node.network import STATUS_MS
from leither_lite.node.reception import RELAYS_MAX, RELAYS_OF_MEMBER_MAX, RELAYS_OF_STRANGER_MAX
from leither_lite.store import keys
from tests.ledger.founding import NETWORK, key_of
from tests.node.net import Net
from tests.node.seat import Seat, refusal

ALICE: Final = key_of(100)
BOB: Final = key_of(101)
MAX: Final = 4


@pytest.fixture(name="seat")
def _seat() -> Seat:
    return Seat(board=Board(applications_max=MAX))


def application(number: int, network: bytes = NETWORK) -> Application:
    """Of the key with this number."""
    return Application.make(network, key_of(number), "")


def heard(seat: Seat, *numbers: int) -> list[bool]:
    """Peers pass applications on; whether each would go further."""
    return [seat.node.desk.keep_application(application(number)) for number in numbers]


def listed(seat: Seat) -> list[str]:
    """The ids that the owner is shown."""
    return [each["id"] for each in seat.view.applications()]


def ids(*numbers: int) -> list[str]:
    """Of the keys with these numbers."""
    return [key_of(number).account.hex() for number in numbers]


def frame(net: Net, number: int) -> bytes:
    """As it goes over the network."""
    made = application(number, net.network)
    return encode([frames.APPLICATION, made.content, made.signature])


def test_what_comes_over_the_network_is_not_written(seat: Seat) -> None:
    seat.turn()
    before = seat.store.content()
    assert heard(seat, 100, 101) == [True, True]
    assert seat.turn().writes == []
    assert seat.store.content() == before
    assert listed(seat) == ids(100, 101)
    seat.start()
    assert listed(seat) == [], "it is heard again"


def test_what_the_api_was_given_is_listed_first_and_once(seat: Seat) -> None:
    heard(seat, 100, 101)
    seat.apply(key_of(101))
    heard(seat, 101)
    assert listed(seat) == ids(101, 100)
    seat.start()
    assert listed(seat) == ids(101)


def test_the_oldest_heard_goes_and_what_is_repeated_stays(seat: Seat) -> None:
    seat.apply(key_of(99))
    heard(seat, *range(100, 100 + MAX))
    heard(seat, 100)
    heard(seat, 200)
    assert listed(seat) == ids(99, 102, 103, 100, 200)
    heard(seat, *range(300, 350))
    assert listed(seat) == ids(99, *range(346, 350))
    for number in range(3):
        seat.apply(key_of(400 + number))
    with pytest.raises(LocalError, match="applications_full"):
        seat.apply(key_of(403))


def test_what_was_heard_is_approved(seat: Seat) -> None:
    heard(seat, 100, 101)
    seat.ask(ev.ApproveApplication(0, ALICE.account, Role.GUEST))
    assert listed(seat) == ids(101)
    seat.tick()
    assert seat.view.account(ALICE.account)["role"] == "guest"
    assert refusal(seat, ev.ApproveApplication(0, ALICE.account, Role.GUEST)) == "unknown_application"


def test_who_got_an_account_otherwise_is_not_listed(seat: Seat) -> None:
    heard(seat, 100, 101)
    seat.apply(ALICE, seat.ask(ev.CreateInvite(0, Role.MEMBER, 10))["invite"])
    assert listed(seat) == ids(101)
    assert refusal(seat, ev.ApproveApplication(0, ALICE.account, Role.GUEST)) == "unknown_application"


@pytest.mark.parametrize("given", [True, False])
def test_who_is_refused_does_not_come_back_over_the_network(seat: Seat, given: bool) -> None:
    if given:
        seat.apply(ALICE)
    else:
        heard(seat, 100)
    assert seat.ask(ev.RefuseApplication(0, ALICE.account)) == {"account": ALICE.account.hex(), "state": "refused"}
    assert heard(seat, 100, 101) == [False, True]
    assert listed(seat) == ids(101)
    assert list(seat.store.scan(*keys.APPLICATIONS)) == []
    for event in (ev.RefuseApplication(0, ALICE.account), ev.ApproveApplication(0, ALICE.account, Role.MEMBER)):
        assert refusal(seat, event) == "unknown_application"
    seat.apply(ALICE)
    assert listed(seat) == ids(100, 101), "the owner may put it back"
    seat.ask(ev.RefuseApplication(0, ALICE.account))
    seat.start()
    assert heard(seat, 100) == [True]


def test_the_refused_are_remembered_within_bounds(seat: Seat) -> None:
    for number in range(100, 100 + REFUSED_MAX + 1):
        heard(seat, number)
        seat.node.desk.refuse(ev.RefuseApplication(0, key_of(number).account), seat.effects)
    assert heard(seat, 101, 100) == [False, True]


def test_who_is_no_supervisor_keeps_nothing_and_passes_on(seat: Seat) -> None:
    seat.ask(ev.ChangeRole(0, seat.keyring.node.account, Role.MEMBER))
    seat.tick()
    assert heard(seat, 100) == [True]
    assert listed(seat) == []


def test_one_stranger_does_not_use_up_all() -> None:
    net = Net(2, 1).settled()
    stranger, other = net.newcomer(), net.newcomer()
    for index in (stranger, other):
        net.link(index, 0)
    numbers = iter(range(100, 1_000))
    for _ in range(2 * RELAYS_MAX):
        net.hear(0, stranger, frame(net, next(numbers)))
    waiting = net.nodes[0].desk.applications.waiting
    assert len(waiting()) == RELAYS_OF_STRANGER_MAX
    net.hear(0, other, frame(net, 5_000))
    assert key_of(5_000).account in [each.account for each in waiting()]
    for _ in range(2 * RELAYS_MAX):
        net.hear(0, 1, frame(net, next(numbers)))
    assert len(waiting()) == RELAYS_OF_STRANGER_MAX + 1 + RELAYS_OF_MEMBER_MAX
    net.run(STATUS_MS)
    net.hear(0, stranger, frame(net, next(numbers)))
    assert len(waiting()) == RELAYS_OF_STRANGER_MAX + 2 + RELAYS_OF_MEMBER_MAX
    assert net.blamed == []
