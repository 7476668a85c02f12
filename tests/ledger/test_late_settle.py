"""Receipts that wait in their group, shown to be settled without the outbox that sent them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leither_lite import codec
from leither_lite.errors import RemoteError
from leither_lite.ledger.asked import Ask, LateSettle
from leither_lite.ledger.children import Place
from leither_lite.ledger.showing import outbox_of
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import State
from tests.ledger.forest import Forest
from tests.ledger.founding import NETWORK
from tests.ledger.pair import (
    ANNA,
    HAVE,
    LARS,
    LEFT,
    RIGHT,
    RITA,
    ROLF,
    body_on,
    forged,
    outcome,
    run,
    sent,
    two_groups,
    wake,
)


@pytest.fixture(name="forest")
def _forest() -> Forest:
    return two_groups()


def late(forest: Forest, place: Place, *items: bytes, pulse: int | None = None) -> LateSettle:
    """What shows that receipts still wait in a group, `pulse` being said to be that of the header that sent them."""
    group = forest.groups[place]
    ask = Ask.of(forest.shown(place), group.sealed.state, group.pending, items)
    if pulse is not None:
        ask = replace(ask, receipts=tuple((receipt, pulse, steps) for receipt, _, steps in ask.receipts))
    return LateSettle.from_values(codec.items(codec.decode(LateSettle.of(ask).encode()), 4, "bad"))


def test_what_still_waits_is_settled_as_well(forest: Forest) -> None:
    """Once, whatever shows it; also after its group has gone on, when nothing shows its outbox any more."""
    settle = sent(forest, ANNA, RITA, 10)
    receipt, pulse = settle.receipts[0][0], forest.groups[LEFT].header.pulse
    other = sent(forest, LARS, ROLF, 7).receipts[0][0]
    wake(forest)
    assert forest.groups[LEFT].header.pulse > pulse
    again = late(forest, LEFT, receipt.id)
    assert again.sent == ((receipt, pulse),)
    for first, second in ((settle, again), (again, settle), (again, again)):
        body = body_on(forest, RIGHT)
        assert outcome(body, first) is Status.OK
        assert forest.groups[RIGHT].settled.get(receipt.id) == (receipt, pulse)
        assert forest.groups[RIGHT].entries[RITA.account].record.balance == HAVE + 10
        assert outcome(body, second) is Status.RECEIPTS_SETTLED
        body.undo()
    assert run(forest, ROLF.account, late(forest, LEFT, receipt.id, other.id)) == [Status.OK]
    assert forest.balance(RITA.account) == HAVE + 10
    assert forest.balance(ROLF.account) == HAVE + 7
    forest.check()


def test_what_waits_otherwise_is_not_shown(forest: Forest) -> None:
    """Of another header, from another S, over another way, in another group, or resolved already."""
    settle = sent(forest, ANNA, RITA, 10)
    receipt = settle.receipts[0][0]
    good = late(forest, LEFT, receipt.id)
    ask, [(_, pulse, _)] = good.ask, good.ask.receipts
    state = State.decode_alone(ask.state)[0]
    wrong = [
        late(forest, LEFT, receipt.id, pulse=pulse + 1),
        LateSettle.of(replace(ask, state=state._replace(date=state.date + 1).encode())),
        LateSettle.of(replace(ask, receipts=((receipt._replace(amount=11), pulse, ()),))),
        LateSettle.of(replace(ask, receipts=((receipt, pulse, ((0, receipt.leaf(1)),)),))),
        LateSettle.of(replace(ask, shown=forest.shown(RIGHT), state=forest.groups[RIGHT].sealed.state)),
    ]
    assert [each.check_signatures(NETWORK) for each in wrong] == [Status.NOT_SHOWN] * len(wrong)
    assert good.check_signatures(NETWORK) is Status.OK
    assert LateSettle.from_values(codec.items(codec.decode(good.encode()), 4, "bad")) == good
    with pytest.raises(RemoteError, match="bad_operation"):
        LateSettle.from_values([LateSettle.CODE, ask.shown.value(), ask.state, []])


def test_what_was_sent_later_than_its_root_header_is_not_shown(forest: Forest) -> None:
    """A receipt's date is at most the tick of the root header that it is shown under."""
    receipt = sent(forest, ANNA, RITA, 10).receipts[0][0]
    statuses = []
    for date in (0, 1):  # the tick of such a root header is 0
        waits = receipt._replace(date=date)
        state = forest.groups[LEFT].state._replace(pending=outbox_of([waits], 5).root())
        ask = Ask(forged(LEFT, 9, [], state), state.encode(), ((waits, 5, ()),))
        statuses.append(LateSettle.of(ask).check_signatures(NETWORK))
    assert statuses == [Status.OK, Status.NOT_SHOWN]
