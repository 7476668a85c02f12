"""Ends of terms: who is drawn, what a group is split into, and what two that are merged become."""

from __future__ import annotations

from typing import Final

import pytest

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import decode_roster, encode_roster, state_digest
from leither_lite.identity import account_id, h32
from leither_lite.ledger import group as ledger
from leither_lite.ledger.body import Body
from leither_lite.ledger.children import Place
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.group import Rules
from leither_lite.ledger.judge_children import joined
from leither_lite.ledger.operations import from_value
from leither_lite.ledger.signed import Status
from leither_lite.ledger.state import MERGE, NOTHING, SPLIT, Offer
from leither_lite.ledger.structure import (
    END,
    MERGE_BYTES,
    SPLIT_BYTES,
    TermEnd,
    draw,
    is_large,
    is_small,
    part_of,
    prefixes,
    willing_of_both,
    willing_under,
)
from leither_lite.ledger.succession import parts_of
from leither_lite.limits import WILLING_MAX
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore
from leither_lite.tree.node import branch, is_prefix
from tests.ledger.forest import Forest
from tests.ledger.founding import (
    FOUNDER,
    NETWORK,
    SUPPLY,
    admission,
    founded_store,
    held,
    invited,
    key_of,
    payment,
    willingness,
)
from tests.ledger.pair import (
    ANNA,
    LARS,
    LEFT,
    LENA,
    RIGHT,
    RITA,
    STRANGERS,
    body_on,
    outcome,
    run,
    sent,
    two_groups,
    wake,
)

LOW: Final[Place] = (bytes(20), 2)
HIGH: Final[Place] = (b"\x40" + bytes(19), 2)
SMALL: Final = Rules(members_max=4, term_ticks=3)
PEOPLE: Final = (ANNA, LARS, LENA, FOUNDER)


def nodes(count: int, silent: int = 0) -> tuple[Willing, ...]:
    """So many that are willing, the first of them silent."""
    return tuple(Willing(key_of(number).public, "a:1", 1, int(number < silent)) for number in range(count))


def who(forest: Forest, place: Place) -> list[bytes]:
    """The ids of a group."""
    return sorted(forest.groups[place].entries)


# -- drawing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "most", "size"),
    [
        (0, 7, 0),
        (1, 7, 1),
        (2, 7, 1),
        (3, 7, 3),
        (4, 7, 4),
        (6, 7, 4),
        (7, 7, 7),
        (24, 7, 7),
        (24, 4, 4),
        (5, 3, 3),
        (9, 2, 1),
    ],
)
def test_sizes_of_rosters(count: int, most: int, size: int) -> None:
    assert len(draw(nodes(count), bytes(32), most)) == size


def test_drawn_by_the_seed_alone() -> None:
    seeds = [bytes([number]) * 32 for number in range(40)]
    drawn = [draw(nodes(9), seed, 4) for seed in seeds]
    assert drawn == [draw(nodes(9)[::-1], seed, 4) for seed in seeds]
    assert {keys[0] for keys in drawn} == {each.key for each in nodes(9)}, "everybody is chief once"
    order = sorted(nodes(9), key=lambda each: h32("draw", seeds[0] + each.key))
    assert drawn[0] == tuple(each.key for each in order[:4])


def test_drawn_from_each_child_in_turn() -> None:
    """With one child gone, as few of a committee as can be are gone."""
    willing = [Willing(key_of(number).public, "a:1", 0, 0) for number in range(40)]
    places = [(bytes([side << 6]) + bytes(19), 2) for side in range(4)]
    for seed in (bytes(32), b"\1" * 32, b"\2" * 32):
        for size in (4, 7):
            drawn = draw(willing, seed, size, places)
            counts = [sum(is_prefix(account_id(key), *place) for key in drawn) for place in places]
            assert len(drawn) == size
            assert max(counts) - min(counts) <= 1
            firsts = [
                next(key for key in draw(willing, seed, 7, [place]) if is_prefix(account_id(key), *place))
                for place in places
            ]
            assert set(firsts) <= set(drawn)
            assert drawn[0] == min(firsts, key=lambda key: h32("draw", seed + key))


def test_the_silent_are_drawn_where_there_are_no_others() -> None:
    awake = {each.key for each in nodes(9) if not each.silent}
    for number in range(9):
        seed = bytes([number]) * 32
        assert set(draw(nodes(9, silent=8), seed, 7)) == {nodes(9)[8].key}
        assert set(draw(nodes(9, silent=6), seed, 7)) <= awake
        assert len(draw(nodes(9, silent=9), seed, 7)) == 7


def test_the_willing_of_a_part_and_of_both() -> None:
    everybody = tuple(sorted(nodes(40, silent=10)))
    one, other = (willing_under(everybody, 1, prefix) for prefix in (LEFT[0], RIGHT[0]))
    assert sorted(one + other) == list(everybody)
    assert all(is_prefix(account_id(each.key), *LEFT) for each in one)
    both = willing_of_both(one, other, b"\1" * 32)
    assert len(both) == WILLING_MAX
    assert [each.key for each in both] == sorted(each.key for each in both)
    assert not any(each.silent for each in both), "there are 30 others"
    assert both == willing_of_both(other, one, b"\1" * 32) != willing_of_both(one, other, b"\2" * 32)
    assert willing_of_both(nodes(3), nodes(3), b"") == tuple(sorted(nodes(3)))


# -- sizes and prefixes --------------------------------------------------------------------------------------------


def test_large_and_small() -> None:
    assert [is_large(6, 0, 8), is_large(7, 0, 8), is_large(0, SPLIT_BYTES, 8), is_large(0, SPLIT_BYTES + 1, 8)] == [
        0,
        1,
        0,
        1,
    ]
    half = MERGE_BYTES // 2
    assert [is_small(2, 0, 8), is_small(3, 0, 8), is_small(0, half - 1, 8), is_small(0, half, 8)] == [
        1,
        0,
        1,
        0,
    ]


def ids(*starts: int) -> dict[bytes, int]:
    """Three ids of 50 bytes under each first byte."""
    return {bytes([start, number, *[0] * 18]): 50 for start in starts for number in range(3)}


def test_split_by_several_bits_at_once() -> None:
    """Again where a half is still too large, three bits at most."""
    members = ids(0b00000000, 0b00100000, 0b00110000, 0b01000000)
    found = [(1 + 2, 0), (3, 0x20), (2, 0x40), (1, 0x80)]
    assert [(bits, prefix[0]) for bits, prefix in prefixes(members, 0, bytes(20), 8, 3)] == found
    assert [(bits, prefix[0]) for bits, prefix in prefixes(members, 0, bytes(20), 8, 2)] == [
        (2, 0),
        (2, 0x40),
        (1, 0x80),
    ]
    assert [(bits, prefix[0]) for bits, prefix in prefixes(members, 0, bytes(20), 16, 3)] == [(1, 0), (1, 0x80)]
    bytes_too = dict.fromkeys(members, 800)
    assert [bits for bits, _ in prefixes(bytes_too, 0, bytes(20), 256, 3)] == [2, 2, 1]
    below = {bytes([0x80 | account[0] >> 1, *account[1:]]): size for account, size in members.items()}
    assert [(bits, prefix[0]) for bits, prefix in prefixes(below, 1, b"\x80" + bytes(19), 8, 4)] == [
        (4, 0x80),
        (4, 0x90),
        (3, 0xA0),
        (2, 0xC0),
    ]


# -- last headers --------------------------------------------------------------------------------------------------


def test_the_bytes_of_an_end() -> None:
    for kind in (END, SPLIT, MERGE):
        assert from_value(codec.decode(TermEnd(kind).encode())) == TermEnd(kind)
    wrong: list[codec.Value] = [[12], [12, 3], [12, 0, 0], [12, b""]]
    for each in wrong:
        with pytest.raises(RemoteError, match="bad_operation"):
            from_value(each)


@pytest.mark.parametrize(
    ("kind", "members_max", "expected"),
    [
        (END, 256, Status.OK),
        (SPLIT, 5, Status.OK),
        (SPLIT, 6, Status.NOT_PERMITTED),
        (MERGE, 16, Status.OK),
        (MERGE, 15, Status.NOT_PERMITTED),
    ],
)
def test_when_a_term_may_end(kind: int, members_max: int, expected: Status) -> None:
    """Four accounts: large where at most five may be, small where sixteen may."""
    forest = two_groups(Rules(members_max=members_max, term_ticks=3))
    left, early = forest.groups[LEFT], []
    while left.state.date < left.state.since + 2:
        wake(forest)
    while body_on(forest, LEFT).state.date < left.state.since + 3:
        early.append(outcome(body_on(forest, LEFT), TermEnd(kind)))
        wake(forest)
    assert set(early) <= {Status.TOO_EARLY}
    assert outcome(body_on(forest, LEFT), TermEnd(kind)) is expected


def test_a_term_has_1800_ticks() -> None:
    forest = two_groups()
    left, newest = forest.groups[LEFT], forest.roots.newest
    assert newest is not None
    for ticks, expected in ((1_799, Status.TOO_EARLY), (1_800, Status.OK)):
        body = Body(left, anchor=newest._replace(tick=left.state.since + ticks))
        assert outcome(body, TermEnd(END)) is expected
        body.undo()


def test_a_root_at_level_1_ends_its_terms_to_be_split_only() -> None:
    group = ledger.load(founded_store(), NETWORK, SUPPLY, rules=Rules(members_max=256, term_ticks=0))
    for kind in (END, SPLIT, MERGE):
        assert outcome(Body(group), TermEnd(kind)) is Status.NOT_PERMITTED
    group.rules = Rules(members_max=2, term_ticks=0)
    assert outcome(Body(group), TermEnd(SPLIT)) is Status.OK


def due(rules: Rules = SMALL) -> Forest:
    """Two groups, the left of which may be split."""
    forest = two_groups(rules)
    wake(forest)
    wake(forest)
    return forest


def test_after_the_end_nothing_more() -> None:
    forest = due()
    body = body_on(forest, LEFT)
    assert outcome(body, payment(ANNA, LARS, 5, 0)) is Status.OK
    assert outcome(body, TermEnd(END)) is Status.OK
    for operation in (payment(ANNA, LARS, 5, 1), TermEnd(END), admission(STRANGERS[0][0], supervisor=ANNA)):
        assert outcome(body, operation) is Status.BODY_FULL
    assert outcome(body, held(body.previous, [])) is Status.MISPLACED
    assert body.state.appointed == body.term + 1


def test_the_next_term() -> None:
    """A last header draws by the root header that it builds on; the next one opens a term."""
    forest = due()
    left, newest = forest.groups[LEFT], forest.roots.newest
    assert newest is not None
    assert run(forest, ANNA.account, TermEnd(END)) == [Status.OK]
    assert left.roster_keys == draw(left.state.willing, newest.digest, 7)
    assert (left.header.term, left.term, left.state.offer) == (0, 1, NOTHING)
    wake(forest)
    assert (left.header.term, left.term) == (1, 1)
    assert left.state.since == left.state.date - 1
    forest.check()


# -- splits --------------------------------------------------------------------------------------------------------


def test_what_a_split_offers() -> None:
    forest = due()
    left = forest.groups[LEFT]
    run(
        forest,
        ANNA.account,
        *(payment(key, RITA, 5, 0) for key in (ANNA, LENA)),
        invited(STRANGERS[1][0], 1, supervisor=ANNA),
    )
    left.state = left.state._replace(frozen=tuple(sorted((ANNA.account, FOUNDER.account))))
    before = left.state
    body = body_on(forest, LEFT)
    assert outcome(body, TermEnd(SPLIT)) is Status.OK
    body.close(forest.tick)
    body.seal(())
    told = left.state.offer.successors
    assert [(each.bits, each.prefix) for each in told] == [(2, LOW[0]), (2, HIGH[0])]
    assert joined(1, told[0].inner, told[1].inner) == left.inner == branch(1, told[0].inner, told[1].inner)
    assert [(each.sent_out, each.settled_in) for each in told] == [(left.sent_out, left.settled_in), (0, 0)]
    assert left.sent_out == 10
    parts = parts_of(left)
    assert tuple(part.successor for part in parts) == told
    for part, place in zip(parts, (LOW, HIGH), strict=True):
        state = part.state
        assert part.successor.state == state_digest(state.encode())
        assert state.pending == part.pending.tree.root()
        assert all(is_prefix(receipt.payer, *place) for receipt, _ in part.pending.items.values())
        assert state.willing == willing_under(before.willing, 2, place[0])
        assert decode_roster(part.successor.roster, True) == draw(state.willing, left.header.anchor, 7)
        assert all(is_prefix(each, *place) for each in state.frozen)
        assert (state.settled, state.invites, state.floor) == (before.settled, before.invites, before.floor)
        assert (state.appointed, state.since, state.offer) == (0, 0, NOTHING)
    assert sorted((*parts[0].pending.items, *parts[1].pending.items)) == sorted(left.pending.items)
    assert sorted(parts[0].state.frozen + parts[1].state.frozen) == list(before.frozen)
    assert part_of(parts, ANNA.account).successor.prefix == (LOW if is_prefix(ANNA.account, *LOW) else HIGH)[0]
    with pytest.raises(RemoteError, match="no_part"):
        part_of(parts, RITA.account)
    left.state = left.state._replace(offer=Offer(SPLIT, told[::-1]))
    with pytest.raises(Halt, match="store_corrupt"):
        parts_of(left)


def test_nobody_in_a_part() -> None:
    """Its R is empty: whoever may seal the parent's header seals its own."""
    forest = due()
    left = forest.groups[LEFT]
    left.state = left.state._replace(willing=willing_under(left.state.willing, *LOW[::-1]))
    body = body_on(forest, LEFT)
    assert outcome(body, TermEnd(SPLIT)) is Status.OK
    assert body.state.offer.successors[1].roster == encode_roster([])
    assert body.state.offer.successors[0].roster != encode_roster([])


def split_left(forest: Forest) -> None:
    """Split the left group in two."""
    forest.submit(LEFT[0], TermEnd(SPLIT))
    forest.pulse()
    forest.pulse()
    assert sorted(forest.groups) == [LOW, HIGH, RIGHT]
    forest.statuses.clear()


def test_a_part_is_a_group() -> None:
    forest = due()
    pay = sent(forest, ANNA, RITA, 5)
    left = forest.groups[LEFT]
    forest.submit(LEFT[0], TermEnd(SPLIT))
    forest.pulse()
    origin, accounts = left.digest, sorted(left.entries)
    assert left.header.term == 0
    forest.submit(ANNA.account, payment(ANNA, LARS, 5, 1))
    forest.pulse(decide=False)
    assert left.digest == origin, "it waits for what its parent says"
    forest.pulse()
    assert sorted(who(forest, LOW) + who(forest, HIGH)) == accounts
    for place in (LOW, HIGH):
        group = forest.groups[place]
        assert forest.stores[place].get(keys.TIP) is not None
        assert (group.digest, group.term, group.prefix, group.bits) == (origin, 0, *place)
        assert (group.header.bits, group.inner) == (1, group.tree.root())
    forest.check()
    for place, key in ((LOW, ANNA), (HIGH, FOUNDER)):
        assert is_prefix(key.account, *place)
        forest.submit(key.account, willingness(key, forest.tick, address="c:3"))
    forest.pulse()
    for place in (LOW, HIGH):
        header = forest.groups[place].header
        assert (header.previous, header.term, header.bits, header.prefix) == (origin, 0, 2, place[0])
        assert forest.stores[place].get(keys.TIP) is None
        assert forest.load(place).header == header
    assert run(forest, RITA.account, pay) == [Status.OK]
    forest.check()


def test_a_part_whose_store_lacks_something() -> None:
    forest = due()
    sent(forest, ANNA, RITA, 5)
    split_left(forest)
    store = forest.stores[LOW]
    for table in (keys.PENDING[0], keys.TIP):
        copy = MemoryStore()
        copy.write([(key, value) for key, value in store.content().items() if key[: len(table)] != table])
        with pytest.raises(Halt, match="store_corrupt"):
            ledger.load(copy, NETWORK, SUPPLY, rules=SMALL)
