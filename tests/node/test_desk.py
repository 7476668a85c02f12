"""What the owner asks for, and the code with which the node refuses what cannot be."""

from __future__ import annotations

from typing import Any, Final

import pytest

from leither_lite.board import Board
from leither_lite.errors import LocalError, RemoteError
from leither_lite.identity import Key
from leither_lite.ledger.joins import Application
from leither_lite.ledger.payments import Invoice
from leither_lite.ledger.records import Role
from leither_lite.ledger.signed import Status
from leither_lite.ledger.texts import SecretInvite, SignedInvoice
from leither_lite.limits import INVITE_TICKS_MAX, SUPPLY_MAX
from leither_lite.node import events as ev
from leither_lite.node.wallet import Keyring
from leither_lite.store import keys
from tests.ledger.founding import FOUNDER, NETWORK, ORGANIZATION, SUPPLY, admission, invite, key_of, payment
from tests.node.seat import Seat, refusal

ALICE: Final = key_of(10)
OTHER_NETWORK: Final = key_of(90).account


@pytest.fixture(name="seat")
def _seat() -> Seat:
    return Seat()


@pytest.fixture(name="account")
def _account(seat: Seat) -> bytes:
    return seat.open(1_000)


def texts(invoice: Invoice, network: bytes = NETWORK, payee: Key = ALICE) -> str:
    """An invoice that this node has not made."""
    return SignedInvoice.sign(network, payee, invoice).encode()


def asked(account: bytes | None, invoice: str, amount: int | None = None, key: str | None = None) -> ev.PayInvoice:
    """A request to pay."""
    return ev.PayInvoice(0, account, invoice, amount, key)


def waiting(seat: Seat) -> list[bytes]:
    """The applications that are kept."""
    return [key for key, _ in seat.store.scan(*keys.APPLICATIONS)]


def test_pay(seat: Seat, account: bytes) -> None:
    answer = seat.pay(account, seat.invoice(FOUNDER.account, 30))
    assert answer["state"] == "pending"
    assert answer["repeated"] is False
    seat.tick()
    shown = seat.view.transfer(answer["id"])
    assert (shown["state"], shown["pulse"], shown["amount"], shown["text"]) == ("credited", 2, 30, "tea")
    assert (shown["payer"], shown["payee"]) == (account.hex(), FOUNDER.account.hex())
    assert (seat.balance(account), seat.balance(FOUNDER.account)) == (970, 30)


def test_a_fixed_invoice_is_paid_once(seat: Seat, account: bytes) -> None:
    invoice = seat.invoice(FOUNDER.account, 30)
    first = seat.pay(account, invoice)
    for state in ("pending", "credited"):
        for _ in range(2):
            assert seat.pay(account, invoice) == {"id": first["id"], "state": state, "repeated": True}
            assert seat.pay(account, invoice, 30, "a key")["id"] == first["id"]
            seat.start()
        seat.tick()
    assert seat.balance(account) == 970
    other = seat.open(100)
    assert seat.pay(other, invoice)["repeated"] is False, "another account pays it if it is asked to"


def test_an_open_invoice_is_paid_as_often_as_asked(seat: Seat, account: bytes) -> None:
    invoice = seat.invoice(FOUNDER.account, 0)
    names = {seat.pay(account, invoice, 5)["id"] for _ in range(3)}
    assert len(names) == 3
    seat.tick()
    assert seat.balance(account) == 985
    assert refusal(seat, asked(account, invoice)) == "amount_required"


def test_idempotency_keys(seat: Seat, account: bytes) -> None:
    invoice, second = seat.invoice(FOUNDER.account, 0), seat.invoice(FOUNDER.account, 0)
    first = seat.pay(account, invoice, 5, "order 1")
    other = seat.open(50)
    for _ in range(2):
        assert seat.pay(account, invoice, 5, "order 1")["id"] == first["id"]
        for event in (asked(account, invoice, 6, "order 1"), asked(account, second, 5, "order 1")):
            assert refusal(seat, event) == "idempotency_conflict"
        seat.tick()
        seat.start()
    assert seat.pay(account, invoice, 5, "order 1") == {**first, "state": "credited", "repeated": True}
    assert seat.pay(account, invoice, 5, "order 2")["id"] != first["id"]
    assert seat.pay(other, invoice, 5, "order 1")["id"] != first["id"], "keys are each account's own"
    for key in ("", "x" * 257, "ü" * 129):
        assert refusal(seat, asked(account, invoice, 5, key)) == "bad_idempotency_key"


def test_idempotency_keys_of_distributions(seat: Seat, account: bytes) -> None:
    event = ev.Distribute(0, account, 5, "prize", "prize 1")
    first = seat.ask(event)
    assert seat.ask(event) == {**first, "repeated": True}
    seat.tick()
    seat.start()
    assert seat.ask(event)["id"] == first["id"]
    assert refusal(seat, ev.Distribute(0, account, 6, "prize", "prize 1")) == "idempotency_conflict"
    assert refusal(seat, ev.Distribute(0, account, 5, "price", "prize 1")) == "idempotency_conflict"
    seat.tick()
    assert seat.balance(account) == 1_005


def test_expired_by_the_nodes_own_count(seat: Seat, account: bytes) -> None:
    """Nothing is sealed meanwhile, so the ledger's date stands still."""
    invoice = seat.invoice(FOUNDER.account, 5, ticks=10)
    operation = payment(ALICE, FOUNDER, 5, 0, valid_until=seat.node.tick(seat.now_ms) + 10)
    text = seat.ask(ev.CreateInvite(0, Role.MEMBER, 10))["invite"]
    seat.tick(10)
    assert refusal(seat, ev.OperationReceived(0, operation, operation.encode())) == "unknown_payer"
    seat.tick()
    assert seat.node.books.body.state.date == 1
    assert refusal(seat, asked(account, invoice)) == "expired"
    assert refusal(seat, ev.OperationReceived(0, operation, operation.encode())) == "expired"
    with pytest.raises(LocalError, match="expired"):
        seat.apply(ALICE, text)
    seat.pay(account, seat.invoice(FOUNDER.account, 5, ticks=1))


def test_what_is_paid_already_does_not_expire(seat: Seat, account: bytes) -> None:
    invoice = seat.invoice(FOUNDER.account, 5, ticks=10)
    first = seat.pay(account, invoice)
    seat.tick(20)
    assert seat.pay(account, invoice)["id"] == first["id"]


@pytest.mark.parametrize(
    ("invoice", "amount", "code"),
    [
        (texts(Invoice(ALICE.public, 5, 0, 0, ""), OTHER_NETWORK), None, Status.OTHER_NETWORK.value),
        (texts(Invoice(ALICE.public, 5, 0, 0, ""), payee=FOUNDER), None, "bad_signature"),
        (texts(Invoice(ALICE.public, 5, 0, 0, "")), None, "unknown_payee"),
        (texts(Invoice(FOUNDER.public, 5, 0, 0, ""), payee=FOUNDER), 6, "amount_mismatch"),
        (texts(Invoice(FOUNDER.public, 1_001, 0, 0, ""), payee=FOUNDER), None, "insufficient_balance"),
        (texts(Invoice(FOUNDER.public, 0, 0, 0, ""), payee=FOUNDER), 0, "amount_zero"),
        (texts(Invoice(FOUNDER.public, 0, 0, 0, ""), payee=FOUNDER), -1, "bad_amount"),
        (texts(Invoice(FOUNDER.public, 0, 0, 0, ""), payee=FOUNDER), SUPPLY_MAX + 1, "bad_amount"),
        (texts(Invoice(FOUNDER.public, 5, 0, 0, ""), payee=FOUNDER)[:-9], None, "bad_invoice"),
        ("leither:invoice/", None, "bad_invoice"),
        ("hello", None, "bad_invoice"),
    ],
)
def test_refused_payments(seat: Seat, account: bytes, invoice: str, amount: int | None, code: str) -> None:
    before = seat.store.content()
    assert refusal(seat, asked(account, invoice, amount)) == code
    assert seat.store.content() == before


def test_own_invoice_and_foreign_account(seat: Seat, account: bytes) -> None:
    assert refusal(seat, asked(account, seat.invoice(account, 5))) == "payer_is_payee"
    assert refusal(seat, asked(ALICE.account, seat.invoice(account, 5))) == "not_own_account"
    assert refusal(seat, ev.CreateInvoice(0, ALICE.account, 5, "", 0)) == "not_own_account"


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (ev.CreateInvoice(0, None, -1, "", 0), "bad_amount"),
        (ev.CreateInvoice(0, None, SUPPLY_MAX + 1, "", 0), "bad_amount"),
        (ev.CreateInvoice(0, None, 1, "x" * 65, 0), "bad_memo"),
        (ev.CreateInvoice(0, None, 1, "\ud800", 0), "bad_memo"),
        (ev.CreateInvoice(0, None, 1, "", -1), "bad_ticks"),
        (ev.CreateInvoice(0, None, 1, "", 2**40 + 1), "bad_ticks"),
        (ev.Distribute(0, FOUNDER.account, 0, "x", None), "amount_zero"),
        (ev.Distribute(0, FOUNDER.account, -1, "x", None), "bad_amount"),
        (ev.Distribute(0, FOUNDER.account, SUPPLY + 1, "x", None), "insufficient_balance"),
        (ev.Distribute(0, FOUNDER.account, 1, "", None), "bad_reason"),
        (ev.Distribute(0, FOUNDER.account, 1, "x" * 257, None), "bad_reason"),
        (ev.Distribute(0, ALICE.account, 1, "x", None), "unknown_payee"),
        (ev.Distribute(0, NETWORK, 1, "x", None), "payer_is_payee"),
        (ev.OpenAccount(0, "x" * 65), "bad_memo"),
        (ev.CreateInvite(0, Role.SUPERVISOR, 5), "bad_role"),
        (ev.CreateInvite(0, -1, 5), "bad_role"),
        (ev.CreateInvite(0, Role.MEMBER, 0), "bad_ticks"),
        (ev.CreateInvite(0, Role.MEMBER, INVITE_TICKS_MAX + 1), "bad_ticks"),
        (ev.ChangeRole(0, FOUNDER.account, Role.ORGANIZATION), "bad_role"),
        (ev.ChangeRole(0, NETWORK, Role.GUEST), "role_fixed"),
        (ev.ChangeRole(0, ALICE.account, Role.GUEST), "unknown_account"),
        (ev.ApproveApplication(0, ALICE.account, Role.MEMBER), "unknown_application"),
        (ev.ApproveApplication(0, ALICE.account, Role.ORGANIZATION), "bad_role"),
        (ev.RefuseApplication(0, ALICE.account), "unknown_application"),
        (ev.ChangeRoster(0, (ALICE.public,)), "bad_roster"),
        (ev.ChangeRoster(0, (FOUNDER.public, ALICE.public)), "bad_roster"),
        (ev.ChangeRoster(0, (ALICE.account,)), "unknown_node"),
        (ev.Apply(0, b"\x80", bytes(64), None), "bad_application"),
        (ev.Apply(0, b"\xa0", bytes(64), None), "bad_application"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_refused(seat: Seat, event: ev.Event, code: str) -> None:
    seat.turn()
    before = seat.store.content()
    assert refusal(seat, event) == code
    assert seat.store.content() == before
    assert seat.node.books.has_work is False


def test_apply_and_approve(seat: Seat) -> None:
    assert seat.apply(ALICE)["state"] == "applied"
    seat.apply(ALICE)
    assert seat.view.applications() == [{"id": ALICE.account.hex(), "public_key": ALICE.public.hex(), "memo": "please"}]
    seat.start()
    seat.ask(ev.ApproveApplication(0, ALICE.account, Role.SUPERVISOR))
    assert seat.view.applications() == []
    seat.tick()
    assert seat.view.account(ALICE.account)["role"] == "supervisor"
    with pytest.raises(LocalError, match="account_exists"):
        seat.apply(ALICE)


def test_forged_application(seat: Seat) -> None:
    application = Application.make(OTHER_NETWORK, ALICE, "")
    assert refusal(seat, ev.Apply(0, application.content, application.signature, None)) == "bad_signature"


def test_applications_are_bounded() -> None:
    seat = Seat(board=Board(applications_max=2))
    seat.apply(key_of(10))
    events = [Application.make(NETWORK, key_of(number), "") for number in (11, 12)]
    effects = seat.turn(*(ev.Apply(0, made.content, made.signature, None) for made in events))
    codes = [reply.value.code if isinstance(reply.value, LocalError) else "ok" for reply in effects.replies]
    assert codes == ["ok", "applications_full"]
    seat.apply(key_of(10))
    assert len(waiting(seat)) == 2


def test_an_application_whose_account_came_otherwise_goes_away(seat: Seat) -> None:
    seat.apply(ALICE)
    seat.receive(admission(ALICE))
    assert refusal(seat, ev.ApproveApplication(0, ALICE.account, Role.MEMBER)) == "account_exists"
    assert waiting(seat) == []
    bob = key_of(11)
    seat.apply(bob)
    seat.apply(bob, seat.ask(ev.CreateInvite(0, Role.MEMBER, 10))["invite"])
    assert waiting(seat) == []


def test_invites(seat: Seat) -> None:
    text = seat.ask(ev.CreateInvite(0, Role.GUEST, 10))["invite"]
    assert seat.apply(ALICE, text)["state"] == "pending"
    for _ in range(2):
        with pytest.raises(LocalError, match="invite_used"):
            seat.apply(key_of(11), text)
        seat.tick()
        seat.start()
    assert seat.view.account(ALICE.account)["role"] == "guest"
    with pytest.raises(LocalError, match="account_exists"):
        seat.apply(ALICE, seat.ask(ev.CreateInvite(0, Role.GUEST, 10))["invite"])
    other = SecretInvite(OTHER_NETWORK, invite(1_000), key_of(1_000).seed).encode()
    with pytest.raises(LocalError, match="other_network"):
        seat.apply(key_of(11), other)
    forged = SecretInvite(NETWORK, invite(1_000, supervisor=ALICE), key_of(1_000).seed).encode()
    with pytest.raises(LocalError, match="not_permitted"):
        seat.apply(key_of(11), forged)
    with pytest.raises(LocalError, match="bad_invite"):
        seat.apply(key_of(11), text[:-1])


def test_roles(seat: Seat, account: bytes) -> None:
    seat.ask(ev.ChangeRole(0, account, Role.SUPERVISOR))
    seat.ask(ev.ChangeRole(0, account, Role.GUEST))
    seat.ask(ev.ChangeRole(0, FOUNDER.account, Role.MEMBER))
    seat.tick()
    assert seat.view.account(account)["role"] == "guest"
    for event in (ev.ChangeRole(0, account, Role.MEMBER), ev.OpenAccount(0, ""), ev.CreateInvite(0, Role.MEMBER, 5)):
        assert refusal(seat, event) == "not_permitted"


def test_open_accounts(seat: Seat) -> None:
    effects = seat.turn(ev.OpenAccount(0, ""), ev.OpenAccount(1, ""))
    found = [reply.value for reply in effects.replies if not isinstance(reply.value, LocalError)]
    assert [bytes.fromhex(answer["account"]) for answer in found] == [
        FOUNDER.derive(1).account,
        FOUNDER.derive(2).account,
    ]
    assert seat.view.account(FOUNDER.derive(1).account)["role"] == "applied"
    seat.start()
    seat.tick()
    assert [shown["role"] for shown in seat.view.accounts()] == ["supervisor", "member", "member"]
    seat.board = Board(accounts_max=3)
    seat.start()
    assert refusal(seat, ev.OpenAccount(0, "")) == "accounts_full"


def test_organization_key_may_be_elsewhere(seat: Seat, account: bytes) -> None:
    seat.keyring = Keyring(FOUNDER, None)
    seat.start()
    assert refusal(seat, ev.Distribute(0, account, 1, "x", None)) == "organization_key_absent"
    seat.receive(payment(ORGANIZATION, FOUNDER, 7, 1))
    seat.tick()
    assert seat.balance(FOUNDER.account) == 7


def test_frames(seat: Seat, account: bytes) -> None:
    made = payment(ORGANIZATION, FOUNDER, 7, 1)
    event = ev.OperationReceived.from_frame(3, NETWORK, b"\x82\x01" + made.encode())
    assert event == ev.OperationReceived(3, made, made.encode())
    for content, reason in (
        (b"\x82\x02" + made.encode(), "bad_frame"),
        (b"\x81\x01", "bad_frame"),
        (b"\x01", "bad_frame"),
        (b"\x82\x01\x80", "bad_operation"),
        (b"\x82\x18\x01" + made.encode(), "cbor_long_form"),
    ):
        with pytest.raises(RemoteError, match=reason):
            ev.OperationReceived.from_frame(3, NETWORK, content)
    with pytest.raises(RemoteError, match="invoice_mismatch"):
        ev.OperationReceived.from_frame(3, OTHER_NETWORK, b"\x82\x01" + made.encode())


def test_incoming_transfers_are_kept(seat: Seat, account: bytes) -> None:
    """What others pay us is shown, what they pay each other is not."""
    seat.receive(admission(ALICE))
    seat.receive(admission(key_of(11)))
    seat.ask(ev.Distribute(0, ALICE.account, 100, "x", None))
    incoming: dict[str, Any] = seat.receive(payment(ALICE, FOUNDER, 7, 0))
    assert seat.receive(payment(ALICE, key_of(11), 8, 1)) == {"state": "pending"}
    with pytest.raises(LocalError, match="wrong_sent"):
        seat.receive(payment(ALICE, FOUNDER, 7, 0))
    seat.tick()
    assert [shown["amount"] for shown in seat.view.transfers(None, 10)] == [7, 100, 1_000]
    assert seat.view.transfer(incoming["id"])["state"] == "credited"
