"""What a parent decides of its children, how it ends its own terms, and that its bodies can be executed again."""

from __future__ import annotations

from typing import Any, Final
from unittest.mock import patch

import pytest

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import decode_roster, encode_roster
from leither_lite.ledger import upper
from leither_lite.ledger.children import Child, Place
from leither_lite.ledger.committee import Held, Willing
from leither_lite.ledger.group import Rules
from leither_lite.ledger.judge_children import CALLED_TICKS, KEPT_TICKS, Parent, buddy_of, judge_decision
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import (
    MERGE,
    NOBODY,
    NOTHING,
    SPLIT,
    Offer,
    Successor,
    decode_willing,
    encode_willing,
    willing_digest,
)
from leither_lite.ledger.structure import END, TermEnd, draw, willing_under
from leither_lite.ledger.upper import UpperGroup, upper_willing
from leither_lite.ledger.upper_body import UpperBody
from leither_lite.ledger.upper_operations import APPOINT, CALL, CHANGED, KEPT, ChildSeal, Decision, UpperOperation
from leither_lite.limits import SEGMENT_BYTES_MAX
from leither_lite.tree.node import EMPTY
from tests.ledger.forest import Forest
from tests.ledger.founding import NETWORK, held, key_of, payment
from tests.ledger.grove import WHOLE
from tests.ledger.pair import ANNA, LARS, LEFT, RIGHT, RITA, ROLF, two_groups, wake

NOWHERE: Final[Place] = (b"\x20" + bytes(19), 3)
PART: Final = Successor(2, bytes(20), EMPTY, 0, 0, encode_roster([]), bytes(32))
HALVES: Final = Offer(SPLIT, (PART, PART._replace(prefix=b"\x40" + bytes(19))))


@pytest.fixture(name="forest")
def _forest() -> Forest:
    return two_groups()


def root_of(forest: Forest) -> UpperGroup:
    """The parent of both groups."""
    return forest.uppers[2][WHOLE]


def parent_of(forest: Forest, date: int = 1_000, **changes: Any) -> Parent:
    """What the root judges by, its left child with some fields others."""
    root = root_of(forest)
    children = {**root.children, LEFT: root.children[LEFT]._replace(**changes)}
    return UpperBody(root).parent()._replace(children=children, date=date)


def third(parent: Parent) -> Parent:
    """The same with another child; it need not fit."""
    other = parent.children[RIGHT]._replace(prefix=b"\xff" + bytes(19), bits=8)
    return parent._replace(children={**parent.children, other.place: other})


# -- what may be decided -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        (CALL, {}, ""),
        (CALL, {"called": 1}, "called_already"),
        (CALL, {"offer": HALVES}, "called_already"),
        (APPOINT, {}, "too_early"),
        (APPOINT, {"called": 1_000 - CALLED_TICKS + 1}, "too_early"),
        (APPOINT, {"called": 1_000 - CALLED_TICKS}, ""),
        (APPOINT, {"called": 1, "willing": willing_digest(NOBODY)}, "nobody"),
        (CHANGED, {}, "no_offer"),
        (KEPT, {}, "no_offer"),
        (KEPT, {"offer": HALVES, "offered": 1_000 - KEPT_TICKS + 1}, "too_early"),
        (KEPT, {"offer": HALVES, "offered": 1_000 - KEPT_TICKS}, ""),
        (KEPT, {"offer": Offer(MERGE), "offered": 0}, ""),
        (CHANGED, {"offer": HALVES}, ""),
        (CHANGED, {"offer": Offer(MERGE)}, "no_buddy"),
    ],
    ids=str,
)
def test_decisions(forest: Forest, kind: int, changes: dict[str, Any], reason: str) -> None:
    assert judge_decision(parent_of(forest, **changes), Decision(LEFT, kind)) == reason
    assert judge_decision(parent_of(forest, **changes), Decision(NOWHERE, kind)) == "child_unknown"


def test_a_merge_takes_two_and_leaves_another(forest: Forest) -> None:
    """Both have offered it, the lower one is named, and the parent keeps two children."""
    alone = parent_of(forest, offer=Offer(MERGE))
    both = alone._replace(children={**alone.children, RIGHT: alone.children[RIGHT]._replace(offer=Offer(MERGE))})
    assert judge_decision(both, Decision(LEFT, CHANGED)) == "no_buddy"
    assert judge_decision(third(both), Decision(LEFT, CHANGED)) == ""
    assert judge_decision(third(both), Decision(RIGHT, CHANGED)) == "no_buddy"
    assert judge_decision(third(alone), Decision(LEFT, CHANGED)) == "no_buddy"
    assert (buddy_of(LEFT), buddy_of(RIGHT), buddy_of(NOWHERE)) == (RIGHT, LEFT, (bytes(20), 3))


def test_too_many_children(forest: Forest) -> None:
    """Then the group is kept as it is at once: what is below it goes on."""
    for most, reason, kept in ((3, "", "too_early"), (2, "too_many", "")):
        forest.rule(Rules(members_max=most))
        parent = parent_of(forest, offer=HALVES, offered=1_000)
        assert judge_decision(parent, Decision(LEFT, CHANGED)) == reason
        assert judge_decision(parent, Decision(LEFT, KEPT)) == kept


def decide(forest: Forest, kind: int, **changes: Any) -> UpperBody:
    """A body of the root with a decision on its left child, some fields of which are others before."""
    root = root_of(forest)
    root.children[LEFT] = root.children[LEFT]._replace(**changes)
    body = UpperBody(root)
    decision = Decision(LEFT, kind)
    assert body.take(decision, decision.encode())
    return body


def test_a_refused_decision_changes_nothing(forest: Forest) -> None:
    body = UpperBody(root_of(forest))
    before = dict(body.children), body.state
    for kind, reason in ((KEPT, "no_offer"), (APPOINT, "too_early")):
        with pytest.raises(RemoteError, match=reason):
            body.take(Decision(LEFT, kind), Decision(LEFT, kind).encode())
    assert (body.children, body.state) == before
    assert body.is_empty


def test_kept_and_called(forest: Forest) -> None:
    before = root_of(forest).children[LEFT]
    assert decide(forest, CALL).children[LEFT] == before._replace(called=root_of(forest).header.tick)
    with pytest.raises(RemoteError, match="too_early"):
        decide(forest, KEPT, offer=HALVES, offered=root_of(forest).header.tick)
    root_of(forest).children[LEFT] = before
    wake(forest, KEPT_TICKS)
    before = root_of(forest).children[LEFT]
    kept = decide(forest, KEPT, offer=HALVES, offered=0).children[LEFT]
    assert kept == before._replace(called=root_of(forest).header.tick)


def test_changed(forest: Forest) -> None:
    """The parts come in the place of the whole, each with its own willing."""
    before = root_of(forest).children[LEFT]
    body = decide(forest, CHANGED, offer=HALVES)
    assert list(body.children) == [(bytes(20), 2), (b"\x40" + bytes(19), 2), RIGHT]
    willing = decode_willing(root_of(forest).shown[before.willing])
    for place in list(body.children)[:2]:
        child = body.children[place]
        assert (child.head, child.term, child.pulse, child.outbox) == (before.head, 0, before.pulse, EMPTY)
        assert decode_willing(body.shown[child.willing]) == willing_under(willing, 2, place[0])


def test_appointed(forest: Forest) -> None:
    """By another roster, of others where there are any, in another term; until the child's next seal."""
    root = root_of(forest)
    wake(forest, CALLED_TICKS + 1)
    body = decide(forest, APPOINT, called=1)
    child, willing = body.children[LEFT], decode_willing(root.shown[root.children[LEFT].willing])
    old = decode_roster(child.roster)
    others = tuple(each for each in willing if each.key not in old)
    assert child.sealers == draw(others or willing, root.digest, 7)
    alone = decide(forest, APPOINT, called=1, roster=encode_roster([ANNA.public]))
    assert len(alone.children[LEFT].sealers) == 3
    assert ANNA.public not in alone.children[LEFT].sealers
    root.children[LEFT] = root.children[LEFT]._replace(roster=child.roster)
    body = decide(forest, APPOINT)
    assert (child.term, child.called) == (root.children[LEFT].term + 1, 0)
    body.close(forest.tick)
    body.seal(())
    left = forest.groups[LEFT]
    forest.submit(ANNA.account, payment(ANNA, RITA, 5, 0))
    forest.tick += 1
    forest.roots.remember(root.digest, root.header.pulse, root.header.tick)
    forest.seal_group(LEFT, forest.roots.newest)
    late = ChildSeal.of(left.sealed, (), shows_willing=False)
    taken = UpperBody(root)
    assert taken.take(late, late.encode()), "those who sealed before they heard of it are heard, until the others have"
    after = taken.children[LEFT]
    assert (after.head, after.appointed, after.term) == (left.digest, b"", left.sealed.header.term)
    root.children[LEFT] = root.children[LEFT]._replace(roster=encode_roster([key_of(99).public]))
    with pytest.raises(RemoteError, match="not_on_roster"):
        UpperBody(root).take(late, late.encode())
    root.children[LEFT] = root.children[LEFT]._replace(appointed=b"")
    with pytest.raises(RemoteError, match="child_term"):
        UpperBody(root).take(late, late.encode())


def test_who_is_willing_when_it_is_split(forest: Forest) -> None:
    """Some of each part, however many the other has."""
    forest.rule(Rules(members_max=2, term_ticks=0))
    root = root_of(forest)
    for child in root.children.values():
        shown = decode_willing(root.shown[child.willing])
        root.shown[child.willing] = encode_willing([each._replace(silent=0) for each in shown])
    group = ending(forest, SPLIT)
    assert all(decode_roster(part.roster) for part in group.state.offer.successors)
    with patch.object(upper, "WILLING_MAX", len(group.state.offer.successors)):
        split = ending(forest, SPLIT)
        assert all(decode_roster(part.roster) for part in split.state.offer.successors)
        assert len(decode_willing(split.shown[split.state.willing])) == len(split.state.offer.successors)


# -- its own terms -------------------------------------------------------------------------------------------------


def ending(forest: Forest, kind: int) -> UpperBody:
    """A body of the root that ends a term."""
    body = UpperBody(root_of(forest))
    body.take(TermEnd(kind), TermEnd(kind).encode())
    return body


def test_when_a_term_may_end(forest: Forest) -> None:
    with pytest.raises(RemoteError, match="too_early"):
        ending(forest, END)
    forest.rule(Rules(term_ticks=0))
    for kind in (SPLIT, MERGE):
        with pytest.raises(RemoteError, match="not_permitted"):
            ending(forest, kind)
    forest.rule(Rules(members_max=2, term_ticks=0))
    assert ending(forest, SPLIT).state.offer.kind == SPLIT
    assert ending(forest, END).state.offer == NOTHING


def test_the_next_term(forest: Forest) -> None:
    """The next roster is drawn from the children's; then nothing more is taken, and another term begins."""
    root = root_of(forest)
    forest.rule(Rules(term_ticks=0))
    for child in root.children.values():
        shown = decode_willing(root.shown[child.willing])
        root.shown[child.willing] = encode_willing([each._replace(silent=0) for each in shown])
    expected = upper_willing(root.children.values(), root.shown, root.digest)
    assert {each.key for each in expected} <= {key for child in root.children.values() for key in child.sealers}
    body, seed = ending(forest, END), root.digest
    for operation in (TermEnd(END), Decision(LEFT, CALL)):
        with pytest.raises(RemoteError, match="misplaced"):
            body.take(operation, operation.encode())
    first = body.close(forest.tick)
    body.seal(())
    assert root.term == first.term + 1
    assert root.willing == expected
    assert root.roster_keys == draw(expected, seed, 7)
    after = UpperBody(root)
    assert after.close(forest.tick).term == first.term + 1
    assert after.state.since == after.state.date == first.tick


def test_the_willing_above_level_1() -> None:
    """Of the children's rosters, who is not silent and has said where it listens."""
    nodes = [Willing(key_of(number).public, "a:1", 1, int(number == 2)) for number in range(1, 5)]
    content = encode_willing(sorted(nodes))
    roster = encode_roster([each.key for each in nodes[:3]])
    child = Child(1, bytes(20), 0, bytes(32), 0, roster, EMPTY, EMPTY, 0, 0, bytes(32), willing_digest(content))
    shown = {child.willing: content}
    assert upper_willing([child], shown, b"") == tuple(sorted((nodes[0], nodes[2])))
    appointed = child._replace(appointed=encode_roster([nodes[3].key]))
    assert upper_willing([appointed], shown, b"") == (nodes[3],)
    assert upper_willing([child], {}, b"") == ()


def test_who_is_known_to_be_away_is_not_drawn() -> None:
    """Those of children that have sealed lately; where these are too few, of all that the parent has not called for,
    nor named others in their place; and where those are too few, of all."""
    nodes = [Willing(key_of(number).public, "a:1", 1, 0) for number in range(8)]
    rosters = {"lately": nodes[:3], "long ago": nodes[3:4], "called": nodes[4:7], "appointed": nodes[7:]}
    shown: dict[bytes, bytes] = {}
    children: dict[str, Child] = {}
    for number, (name, found) in enumerate(rosters.items()):
        content = encode_willing(sorted(found))
        shown[willing_digest(content)] = content
        roster, prefix, pulse = encode_roster([each.key for each in found]), bytes([number << 6, *bytes(19)]), 9
        child = Child(2, prefix, pulse, bytes(32), 0, roster, EMPTY, EMPTY, 0, 0, bytes(32), willing_digest(content))
        children[name] = child
    children["long ago"] = children["long ago"]._replace(pulse=1)
    children["called"] = children["called"]._replace(called=5)
    children["appointed"] = children["appointed"]._replace(appointed=children["appointed"].roster)
    for roster_max, count in ((3, 3), (4, 4), (7, 8)):
        drawn = upper_willing(children.values(), shown, b"", roster_max, 5)
        assert drawn == tuple(sorted(nodes[:count])), f"{roster_max} for a roster"


# -- bodies --------------------------------------------------------------------------------------------------------


def seals(forest: Forest) -> list[SealedPulse]:
    """Both groups' next headers."""
    forest.submit(ANNA.account, payment(ANNA, RITA, 5, 0))
    forest.submit(ROLF.account, payment(ROLF, LARS, 6, 0))
    forest.tick += 1
    return [sealed for place in (LEFT, RIGHT) for sealed in forest.seal_group(place, forest.roots.newest)]


def operations(forest: Forest) -> list[UpperOperation]:
    """What a body of the root consists of, of every kind."""
    forest.rule(Rules(term_ticks=0))
    told: list[UpperOperation] = [ChildSeal.of(each, (), shows_willing=False) for each in seals(forest)]
    return [Held(root_of(forest).digest, (), ()), Decision(RIGHT, CALL), *told, Decision(LEFT, CALL), TermEnd(END)]


def test_executed_again(forest: Forest) -> None:
    """At once or one by one: the same header, and the parent is as it was until it is sealed."""
    root = root_of(forest)
    body, all_of_it = UpperBody(root), operations(forest)
    before = root.inner, root.counters, root.state, root.digest
    for operation in all_of_it:
        assert body.take(operation, operation.encode())
    header = body.close(forest.tick)
    assert before == (root.inner, root.counters, root.state, root.digest)
    again = UpperBody(root)
    again.replay(body.segments, tuple(body.entries))
    assert again.close(forest.tick) == header
    assert [operation for operation, _ in again.operations] == all_of_it
    body.seal(())
    assert (root.header, root.counters) == (header, (11, 0))
    with pytest.raises(Halt, match="body_layers"):
        again.seal(())
    with pytest.raises(Halt, match="body_layers"):
        UpperBody(root).seal(())


def test_not_the_body_that_was_sealed(forest: Forest) -> None:
    root = root_of(forest)
    body = UpperBody(root)
    for operation in operations(forest):
        body.take(operation, operation.encode())
    body.close(forest.tick)
    digest, inner, meta = body.entries[0]
    wrong: list[tuple[list[bytes], list[tuple[bytes, bytes, bytes]], str]] = [
        (body.segments, [], "body_segments"),
        ([], body.entries, "body_segments"),
        ([b"\x80"], body.entries, "body_segments"),
        ([bytes(SEGMENT_BYTES_MAX + 1)], body.entries, "body_segment_size"),
        (body.segments, [(digest, EMPTY, meta)], "body_state"),
        (body.segments, [(digest, inner, bytes(32))], "body_state"),
        (body.segments, [(bytes(32), inner, meta)], "body_state"),
        ([codec.encode_array([content for _, content in body.operations[:-1]])], body.entries, "body_state"),
        (body.segments * 2, body.entries * 2, "misplaced"),
        (body.segments * 33, body.entries * 33, "body_segments"),
    ]
    for segments, entries, reason in wrong:
        with pytest.raises(RemoteError, match=reason):
            UpperBody(root).replay(segments, tuple(entries))


def test_several_segments(forest: Forest) -> None:
    """Decisions that fill more than one; each has an entry."""
    body = UpperBody(root_of(forest))
    for _ in range(800):
        body.children[LEFT] = body.children[LEFT]._replace(called=0)
        assert body.take(Decision(LEFT, CALL), Decision(LEFT, CALL).encode())
    body.close(forest.tick)
    assert len(body.segments) == len(body.entries) == 2
    assert all(len(segment) <= SEGMENT_BYTES_MAX for segment in body.segments)


# -- those who hold ------------------------------------------------------------------------------------------------


def test_who_holds_the_parents_page(forest: Forest) -> None:
    root = root_of(forest)
    nodes = sorted(Willing(key.public, "a:1", 1, 1) for key in (ANNA, LARS, RITA))
    content = encode_willing(nodes)
    root.shown[willing_digest(content)] = content
    root.state = root.state._replace(willing=willing_digest(content))
    good = held(root.digest, [ANNA, LARS], [RITA])
    body = UpperBody(root)
    assert body.take(good, good.encode())
    assert body.is_empty
    silent = {each.key: each.silent for each in decode_willing(body.shown[body.state.willing])}
    assert silent == {ANNA.public: 0, LARS.public: 0, RITA.public: 1}
    assert set(body.holders()) == {key.public for key in (ANNA, LARS)} - set(root.roster_keys)
    with pytest.raises(RemoteError, match="misplaced"):
        body.take(good, good.encode())
    forged = Held(root.digest, ((ANNA.public, Held.sign(NETWORK, LARS, root.digest)),), ())
    for wrong, reason in (
        (held(bytes(32), [ANNA]), "not_permitted"),
        (held(root.digest, [ROLF]), "not_permitted"),
        (held(root.digest, [], [ROLF]), "not_permitted"),
        (held(root.digest, [ANNA], [ANNA]), "not_permitted"),
        (forged, "bad_signature"),
    ):
        with pytest.raises(RemoteError, match=reason):
            UpperBody(root).take(wrong, wrong.encode())
