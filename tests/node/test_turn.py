"""The node's turn: its effects, its clock, what a stop at any moment leaves, and what a restored copy may do."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import pytest

from leither_lite.effects import Effects
from leither_lite.errors import Halt, LocalError
from leither_lite.header import Checkpoint, header_digest
from leither_lite.identity import Key
from leither_lite.ledger import group as ledger
from leither_lite.node import events as ev
from leither_lite.store import keys
from leither_lite.tree.proof import Trust, verify
from tests.ledger.founding import FOUNDER, NETWORK, ORGANIZATION, admission, key_of, payment
from tests.node.seat import PULSE_MS, Seat, refusal

TRUST: Final = Trust(ORGANIZATION.public, (FOUNDER.public,))


def rows(effects: Effects) -> list[bytes]:
    """The tables that a turn writes to."""
    return [key[:1] for key, _ in effects.writes]


def test_effects_of_turns() -> None:
    seat = Seat()
    assert seat.node.deadline_ms() == PULSE_MS
    effects = seat.turn(ev.OpenAccount(3, ""), ev.OpenAccount(4, ""))
    assert [reply.token for reply in effects.replies] == [3, 4]
    assert sorted(rows(effects)) == [b"m", b"m", b"m", b"q", b"q"], "place, number of accounts twice, two operations"
    assert not effects.sends
    assert not effects.notes
    effects = seat.turn(after_ms=PULSE_MS)
    assert [note.kind for note in effects.notes] == ["pulse", "tick"]
    assert sum(1 for key, value in effects.writes if key[:1] == b"q" and value is None) == 2
    assert seat.node.deadline_ms() == 2 * PULSE_MS


def test_what_is_accepted_and_sealed_in_one_turn_never_waits_in_the_store() -> None:
    seat = Seat()
    effects = seat.turn(ev.OpenAccount(0, ""), after_ms=PULSE_MS)
    assert b"q" not in rows(effects)
    assert seat.node.group.header.pulse == 1


def test_idle_turns_write_nothing() -> None:
    seat = Seat()
    seat.open(5)
    before = seat.store.content()
    for number in range(1_000):
        effects = seat.turn(after_ms=PULSE_MS)
        assert not effects.writes
        assert not effects.sends
        assert not effects.replies
        assert [note.kind for note in effects.notes] == ["tick"]
        assert seat.node.tick(seat.now_ms) == number + 2
    assert seat.store.content() == before
    assert seat.node.group.header.pulse == 1


def test_a_late_turn_seals_once_and_the_tick_goes_on() -> None:
    seat = Seat()
    seat.ask(ev.OpenAccount(0, ""))
    seat.turn(after_ms=10 * PULSE_MS + 1)
    header = seat.node.group.header
    assert (header.pulse, header.tick) == (1, 10)
    assert seat.node.deadline_ms() == 11 * PULSE_MS
    seat.ask(ev.OpenAccount(0, ""))
    seat.turn(after_ms=PULSE_MS)
    assert (seat.node.group.header.pulse, seat.node.group.header.tick) == (2, 11)


def test_tick_goes_on_from_the_last_header_or_the_count_of_the_process() -> None:
    seat = Seat()
    seat.tick(7)
    seat.open()
    seat.tick(5)
    assert seat.node.tick(seat.now_ms) == 13
    seat.start()
    assert seat.node.tick(seat.now_ms) == 8


class Script:
    """A random history that asks the same of every node."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.accounts: list[bytes] = []
        self.invoices: list[str] = []

    def next(self, seat: Seat) -> list[ev.Event]:
        """The events of a turn."""
        return [self._event() for _ in range(self.rng.randrange(4))]

    def _event(self) -> ev.Event:
        rng = self.rng
        kind = rng.randrange(8)
        if kind == 0 or len(self.accounts) < 3:
            return ev.OpenAccount(0, "")
        one, other = rng.choice(self.accounts), rng.choice(self.accounts)
        if kind in (1, 2):
            return ev.Distribute(0, one, rng.randrange(50), "why not", rng.choice((None, "again")))
        if kind == 3 or not self.invoices:
            return ev.CreateInvoice(0, other, rng.randrange(9), "", rng.choice((0, 0, 3)))
        if kind == 4:
            return ev.ChangeRole(0, one, rng.randrange(2))
        if kind == 5:
            return ev.CreateInvite(0, 1, 100)
        return ev.PayInvoice(0, one, rng.choice(self.invoices), rng.choice((None, 3)), rng.choice((None, "key")))

    def hear(self, effects: Effects) -> list[Any]:
        """Takes up what was answered; the answers in a form that can be compared."""
        heard: list[Any] = []
        for reply in effects.replies:
            if isinstance(reply.value, LocalError):
                heard.append(reply.value.code)
                continue
            heard.append(reply.value)
            if "public_key" in reply.value:
                self.accounts.append(bytes.fromhex(reply.value["account"]))
            if "number" in reply.value:
                self.invoices.append(reply.value["invoice"])
        return [*heard, *effects.notes]


@pytest.mark.parametrize("seed", range(4))
def test_a_restart_at_every_turn_changes_nothing(seed: int) -> None:
    print(f"seed {seed}")
    one, other = Seat(seed=seed), Seat(seed=seed)
    scripts = Script(seed), Script(seed)
    late = Random(seed)
    for _ in range(60):
        after_ms = late.choice((0, 0, PULSE_MS, PULSE_MS))
        heard = [
            script.hear(seat.turn(*script.next(seat), after_ms=after_ms))
            for script, seat in zip(scripts, (one, other), strict=True)
        ]
        assert heard[0] == heard[1]
        # As the process does that begins again from the store: with the count and the beat that it had.
        tick, deadline_ms = other.node.tick(other.now_ms), other.node.deadline_ms()
        now_ms, other.now_ms = other.now_ms, deadline_ms - PULSE_MS
        other.start()
        other.now_ms = now_ms
        other.node.clock._base_tick += tick - other.node.tick(now_ms)
        assert other.node.group.digest == one.node.group.digest
        assert other.node.term == one.node.term
        assert other.node.wallet.pending.keys() >= one.node.wallet.pending.keys() - set(one.node.wallet._settled)
    contents = [{key: value for key, value in seat.store.content().items() if key[:1] != b"q"} for seat in (one, other)]
    assert contents[0] == contents[1]
    assert one.node.group.header.pulse > 10
    assert one.view.transfers(None, 500) == other.view.transfers(None, 500) != []


@pytest.mark.parametrize("seed", range(3))
def test_stops_before_the_commit_lose_the_turn_and_nothing_else(seed: int) -> None:
    """No two headers for one (term, previous) ever leave the process, and what was acknowledged is there, once."""
    print(f"seed {seed}")
    rng, seat, script = Random(seed), Seat(seed=seed), Script(seed)
    sealed: dict[tuple[int, bytes], bytes] = {}
    told: dict[str, dict[str, Any]] = {}
    for _ in range(150):
        seat.now_ms += rng.choice((0, PULSE_MS))
        effects = seat.node.turn(script.next(seat), seat.now_ms)
        if rng.random() < 0.3:
            seat.start()
            continue
        seat.store.write(effects.writes)
        script.hear(effects)
        for reply in effects.replies:
            if not isinstance(reply.value, LocalError) and "id" in reply.value:
                told[reply.value["id"]] = reply.value
        header = seat.node.group.sealed.header
        assert sealed.setdefault((header.term, header.previous), header.encode()) == header.encode()
        if rng.random() < 0.2:
            seat.start()
    seat.tick()
    seat.start()
    assert len(told) > 10
    assert {seat.view.transfer(name)["state"] for name in told} == {"credited"}
    amounts = [(transfer["payer"], transfer["sent"]) for transfer in seat.view.transfers(None, 500)]
    assert len(set(amounts)) == len(amounts) == len(told)
    before = None
    for pulse in range(seat.node.group.header.pulse + 1):
        kept = ledger.sealed_at(seat.store, pulse)
        assert kept is not None
        assert before is None or kept.header.previous == header_digest(before)
        before = kept.header_bytes


def test_accepted_operations_survive_a_restart_and_are_sealed_once() -> None:
    seat = Seat()
    account = seat.open(100)
    answer = seat.pay(account, seat.invoice(FOUNDER.account, 30))
    for _ in range(2):
        seat.start()
        assert seat.view.transfer(answer["id"])["state"] == "pending"
        assert seat.balance(account) == 100
    assert refusal(seat, ev.PayInvoice(0, account, seat.invoice(FOUNDER.account, 71), None, None)) == (
        "insufficient_balance"
    ), "what waits counts"
    seat.tick()
    assert seat.view.transfer(answer["id"])["pulse"] == seat.node.group.header.pulse == 2
    assert seat.balance(account) == 70
    seat.start()
    seat.tick(3)
    assert seat.balance(account) == 70
    assert seat.node.group.header.pulse == 2
    assert next(seat.store.scan(*keys.QUEUED), None) is None


def copied(seat: Seat) -> Seat:
    """The same store in another place, not started."""
    seat.place = b"elsewhere"
    return seat


def test_a_copy_waits_for_a_checkpoint_and_then_opens_the_next_term() -> None:
    seat = Seat()
    account = seat.open(100)
    invoice = seat.invoice(FOUNDER.account, 5)
    waiting = seat.pay(account, invoice)
    copied(seat)
    with pytest.raises(Halt, match="store_restored"):
        seat.start()
    before = seat.store.content()
    seat.start(restored=True)
    assert seat.store.content() == before, "looking writes nothing"
    for event in (
        ev.Distribute(0, account, 1, "why not", None),
        ev.OpenAccount(0, ""),
        ev.PayInvoice(0, account, seat.invoice(FOUNDER.account, 1), None, None),
        ev.OperationReceived(0, admission(key_of(50)), admission(key_of(50)).encode()),
        ev.ChangeRole(0, account, 0),
    ):
        assert refusal(seat, event) == "awaiting_checkpoint"
    assert seat.pay(account, invoice) == {**waiting, "repeated": True}, "asking shows what there is"
    seat.tick(3)
    seat.start()
    seat.tick(3)
    assert refusal(seat, ev.OpenAccount(0, "")) == "awaiting_checkpoint", "a restart is no way around"
    assert (seat.node.group.header.pulse, seat.node.group.header.term) == (1, 0)

    checkpoint = seat.checkpoint()
    assert seat.ask(ev.TakeCheckpoint(0, checkpoint))["term"] == 1
    seat.start()
    assert seat.node.term == 1
    seat.tick()
    header = seat.node.group.header
    assert (header.pulse, header.term) == (2, 1)
    assert seat.view.transfer(waiting["id"])["state"] == "credited"
    seat.open()
    assert (seat.node.group.header.pulse, seat.node.group.header.term) == (3, 1)
    seat.start()
    assert seat.node.term == 1
    for pulse, age in ((0, 0), (1, 0), (2, 1), (3, 2)):
        shown = seat.view.proof(FOUNDER.account, pulse)
        assert (shown.root.checkpoint is not None) == (pulse >= 1)
        assert verify(shown, TRUST).age == age
        if pulse == 1:
            assert shown.root.signatures == ()
    with_checkpoint_alone = Trust(ORGANIZATION.public, (key_of(99).public,))
    assert verify(seat.view.proof(account, 3), with_checkpoint_alone).record == (95, 0, 1, 1, 0)


def test_a_checkpoint_opens_a_term_without_a_copy_too() -> None:
    seat = Seat()
    seat.ask(ev.TakeCheckpoint(0, seat.checkpoint()))
    seat.ask(ev.TakeCheckpoint(0, seat.checkpoint()))
    seat.open()
    assert (seat.node.group.header.pulse, seat.node.group.header.term) == (1, 1)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"pulse": 0}, "checkpoint_not_newest"),
        ({"digest": bytes(32)}, "checkpoint_not_newest"),
        ({"roster": b"\x81\x58\x20" + bytes(32)}, "bad_roster"),
        ({"key": FOUNDER}, "checkpoint_signature"),
        ({"network": bytes(20)}, "checkpoint_signature"),
    ],
    ids=str,
)
def test_checkpoint_refused(change: dict[str, Any], code: str) -> None:
    seat = Seat()
    seat.open()
    group = seat.node.group
    told: dict[str, Any] = {
        "key": ORGANIZATION,
        "network": NETWORK,
        "pulse": group.header.pulse,
        "digest": group.digest,
        "roster": group.roster,
        **change,
    }
    assert refusal(seat, ev.TakeCheckpoint(0, Checkpoint.sign(**told))) == code
    assert seat.node.term == 0


def test_a_key_without_an_account_keeps_no_books() -> None:
    """The founder's store under somebody else's key can be read, and says so before anything is promised."""
    seat = Seat()
    account = seat.open(50)
    other: Key = key_of(77)
    seat.keyring = type(seat.keyring)(other, None)
    seat.start()
    operation = payment(key_of(3), FOUNDER, 1, 0)
    assert refusal(seat, ev.OperationReceived(0, operation, operation.encode())) == "not_a_member"
    assert refusal(seat, ev.Distribute(0, account, 1, "x", None)) == "organization_key_absent"
    seat.tick()
    assert seat.node.group.header.pulse == 1
    with pytest.raises(LocalError, match="not_permitted"):
        seat.view.account(account)
    with pytest.raises(LocalError, match="not_permitted"):
        seat.view.summary()


def test_a_state_put_back_in_its_own_place_waits_when_told_so() -> None:
    """The image of a card, put back onto the same card, cannot be told from the original: whoever did it says so."""
    seat = Seat()
    seat.tick()
    seat.open()
    term = seat.node.term
    seat.start(restored=True)
    seat.turn()
    assert refusal(seat, ev.OpenAccount(0, "")) == "awaiting_checkpoint"
    seat.start()
    assert refusal(seat, ev.OpenAccount(0, "")) == "awaiting_checkpoint", "the store remembers it"
    seat.ask(ev.TakeCheckpoint(0, seat.checkpoint()))
    seat.open()
    assert seat.node.group.header.term == term + 1
