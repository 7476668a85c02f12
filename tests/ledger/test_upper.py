"""What a parent takes of its children: every reason to refuse a seal, and what is never sealed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import Header, encode_roster, header_digest, roster_digest, sign_seal, state_digest
from leither_lite.ledger.children import (
    Child,
)
from leither_lite.ledger.committee import Held
from leither_lite.ledger.judge_children import candidates, required, take_child
from leither_lite.ledger.state import MERGE, NOBODY, SPLIT, Offer, State, decode_willing, willing_digest
from leither_lite.ledger.structure import TermEnd
from leither_lite.ledger.tip import Anchor
from leither_lite.ledger.traffic import CYCLE
from leither_lite.ledger.upper import UpperGroup
from leither_lite.ledger.upper_body import UpperBody
from leither_lite.ledger.upper_operations import ChildSeal, Decision, upper_from_value
from leither_lite.tree.node import EMPTY, group, meta, node_sum, pack_node
from tests.ledger.forest import Forest
from tests.ledger.founding import FOUNDER, NETWORK, payment, willingness
from tests.ledger.grove import WHOLE
from tests.ledger.pair import ANNA, LARS, LEFT, LENA, RITA, ROLF, RUTH, two_groups
from tests.ledger.town import Town


@pytest.fixture(name="forest")
def _forest() -> Forest:
    return two_groups()


def root_of(forest: Forest) -> UpperGroup:
    """The parent of both groups."""
    return forest.uppers[2][WHOLE]


def told(forest: Forest, *, shows: bool = False, **parts: Any) -> ChildSeal:
    """The left group's next seal, of a payment, with some `parts` of it others, as its roster would seal that."""
    left, sealers = forest.groups[LEFT], forest.sealers(1, LEFT)
    if left.digest == root_of(forest).children[LEFT].head:
        forest.submit(ANNA.account, payment(ANNA, RITA, 5, 0))
        forest.tick += 1
        forest.seal_group(LEFT, forest.roots.newest)
    seal = ChildSeal.of(left.sealed, (), shows_willing=shows)
    header = Header.decode(seal.header_bytes)
    own = {name: parts.pop(name) for name in list(parts) if hasattr(header, name) and not hasattr(seal, name)}
    seal = replace(seal, **parts)
    opened = meta(roster_digest(seal.roster), seal.outbox, seal.sent_out, seal.settled_in, state_digest(seal.state))
    pulse = own.get("pulse", header.pulse)
    header = replace(header, node=group(1, header.bits, header.prefix, pulse, seal.inner, opened))
    content = replace(header, **own).encode()
    return replace(seal, header_bytes=content, signatures=forest.sign(content, sealers))


def state_of(forest: Forest, **changes: Any) -> bytes:
    """S of the left group's newest header with some fields others."""
    told(forest)
    return forest.groups[LEFT].state._replace(**changes).encode()


def taken(forest: Forest, seal: ChildSeal) -> Child:
    """The child after a seal."""
    return take_child(UpperBody(root_of(forest)).parent(), seal, NETWORK)


def refused(forest: Forest, seal: ChildSeal) -> str:
    """Why the parent does not take a seal."""
    body = UpperBody(root_of(forest))
    before = dict(body.children), body.state, dict(body.shown)
    with pytest.raises(RemoteError) as caught:
        body.take(seal, seal.encode())
    assert (dict(body.children), body.state, dict(body.shown)) == before
    assert body.operations == []
    return caught.value.reason


# -- seals ---------------------------------------------------------------------------------------------------------


def test_a_seal_is_taken(forest: Forest) -> None:
    seal = told(forest)
    assert upper_from_value(codec.decode(seal.encode())) == seal
    left, before = forest.groups[LEFT], root_of(forest).children[LEFT]
    child = taken(forest, seal)
    assert child.node(1) == left.header.node
    assert (child.head, child.term, child.pulse) == (left.digest, left.term, left.header.pulse)
    assert (child.outbox, child.sent_out - before.sent_out) == (left.sealed.outbox, 5)
    assert (child.offer.kind, child.offered, child.called, child.appointed) == (0, 0, 0, b"")
    assert child.willing == before.willing


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"level": 2}, "child_unknown"),
        ({"bits": 2}, "child_unknown"),
        ({"prefix": b"\x40" + bytes(19), "bits": 2}, "child_unknown"),
        ({"network": bytes(20)}, "child_unknown"),
        ({"previous": bytes(32)}, "child_previous"),
        ({"term": 1}, "child_term"),
        ({"pulse": 4}, "child_pulse"),
        ({"node": bytes(36)}, "child_pulse"),
        ({"pulse": 99}, "child_anchor"),
        ({"anchor": bytes(32)}, "child_anchor"),
        ({"settled_in": 1}, "child_sums"),
        ({"sent_out": 4}, "child_sums"),
        ({"inner": EMPTY}, "child_sums"),
        ({"settled_in": 1, "sent_out": 6}, "child_outbox"),
        ({"outbox": EMPTY}, "child_outbox"),
        ({"willing": NOBODY}, "child_willing"),
        ({"roster": b"\x80\x80"}, "cbor_trailing"),
        ({"roster": codec.encode([ANNA.public, LARS.public])}, "roster_size"),
        ({"state": b"\x80"}, "bad_state"),
    ],
    ids=str,
)
def test_a_seal_is_refused(forest: Forest, parts: dict[str, Any], reason: str) -> None:
    assert refused(forest, told(forest, **parts)) == reason


def test_a_term_is_opened_by_the_one_before(forest: Forest) -> None:
    """No child can make its terms so large that its parent cannot count on."""
    for appointed, expected in ((1, 1), (0, 0)):
        assert taken(forest, told(forest, state=state_of(forest, appointed=appointed))).term == expected
    for appointed in (2, 2**64 - 1):
        assert refused(forest, told(forest, state=state_of(forest, appointed=appointed))) == "child_term"


def test_a_seal_that_builds_on_more_than_its_parent(forest: Forest) -> None:
    seal, parent = told(forest), UpperBody(root_of(forest)).parent()
    pulse = Header.decode(seal.header_bytes).pulse - 1
    for newest in (pulse, pulse - 1):
        above = parent._replace(anchor=Anchor(bytes(32), newest, 0))
        if newest == pulse:
            assert take_child(above, seal, NETWORK).pulse == pulse + 1
        else:
            with pytest.raises(RemoteError, match="child_anchor"):
                take_child(above, seal, NETWORK)


def test_it_does_not_open_to_what_is_shown(forest: Forest) -> None:
    good = told(forest)
    others: list[dict[str, Any]] = [
        {"roster": encode_roster([ANNA.public])},
        {"inner": pack_node(1, node_sum(good.inner), bytes(20))},
        {"outbox": EMPTY},
        {"sent_out": 6},
        {"settled_in": 1},
        {"state": state_of(forest, floor=1)},
    ]
    for parts in others:
        assert refused(forest, replace(good, **parts)) == "child_node"


def test_more_comes_in_than_was_sent(forest: Forest) -> None:
    """The root sees that nobody can have sent what a child says it has settled."""
    inner = forest.groups[LEFT].inner
    for gain, expected in ((5, ""), (6, "child_sums")):
        richer = pack_node(9, node_sum(inner) + gain - 5, inner[16:])
        seal = told(forest, inner=richer, settled_in=gain)
        if expected:
            assert refused(forest, seal) == expected
        else:
            assert taken(forest, seal).settled_in == gain


def test_who_is_willing_is_shown_where_it_has_changed(forest: Forest) -> None:
    root, left = root_of(forest), forest.groups[LEFT]
    forest.submit(LENA.account, willingness(LENA, 99, address="x:1"))
    forest.tick += 1
    forest.seal_group(LEFT, forest.roots.newest)
    assert willing_digest(left.sealed.willing) != root.children[LEFT].willing
    for willing in (b"", NOBODY, left.sealed.willing + b"\0"):
        assert refused(forest, told(forest, willing=willing)) == "child_willing"
    body = UpperBody(root)
    seal = told(forest, shows=True)
    assert seal.willing == left.sealed.willing
    assert body.take(seal, seal.encode())
    assert decode_willing(body.shown[body.children[LEFT].willing]) == left.state.willing
    body.close(forest.tick)
    body.seal(())
    assert set(root.shown) == {root.state.willing, *(child.willing for child in root.children.values())}


def test_holders_have_signed(forest: Forest) -> None:
    digest = header_digest(told(forest).header_bytes)
    good = Held.sign(NETWORK, LARS, digest)
    assert taken(forest, told(forest, held=((LARS.public, good),)))
    for key, signature in ((ROLF, Held.sign(NETWORK, ROLF, digest)), (LARS, Held.sign(NETWORK, LARS, bytes(32)))):
        assert refused(forest, told(forest, held=((key.public, signature),))) == "child_held"
    value: Any = codec.decode(told(forest, held=((LARS.public, good),)).encode())
    with pytest.raises(RemoteError, match="bad_operation"):
        upper_from_value([*value[:10], value[10] * 2])


def test_how_many_holders_are_asked_for(forest: Forest) -> None:
    root, seal = root_of(forest), told(forest)
    parent = UpperBody(root).parent()
    willing = decode_willing(root.shown[root.children[LEFT].willing])
    outside = [each.key for each in willing if each.key not in forest.groups[LEFT].roster_keys]
    digest = header_digest(seal.header_bytes)
    awake = tuple(each._replace(silent=0) for each in willing)
    assert set(candidates(awake, seal.roster, digest)) == set(outside)
    assert candidates(tuple(each._replace(silent=1) for each in willing), seal.roster, digest) == ()
    assert required(parent, seal, 2) == 0, "all are silent until they sign"
    assert required(parent, told(forest, bits=2, prefix=b"\x40" + bytes(19)), 2) == 2
    assert len(candidates(awake, encode_roster([]), digest)) == len(willing)


@pytest.mark.parametrize("reason", ["no_quorum", "not_on_roster", "doubled_signer", "bad_signature"])
def test_not_sealed_by_its_roster(forest: Forest, reason: str) -> None:
    seal = told(forest)
    keys = {key.public: key for key in (ANNA, LARS, LENA, FOUNDER, RUTH)}
    pairs = [(key, sign_seal(keys[key], seal.header_bytes)) for key, _ in seal.signatures]
    wrong = {
        "no_quorum": pairs[1:],
        "not_on_roster": [*pairs[1:], (RUTH.public, sign_seal(RUTH, seal.header_bytes))],
        "doubled_signer": [*pairs[1:], pairs[1]],
        "bad_signature": [*pairs[1:], (pairs[0][0], pairs[1][1])],
    }
    assert refused(forest, replace(seal, signatures=tuple(wrong[reason]))) == reason


def test_nobody_on_its_roster(forest: Forest) -> None:
    """Then whoever may seal the parent's header seals."""
    root, seal = root_of(forest), told(forest)
    root.children[LEFT] = root.children[LEFT]._replace(roster=encode_roster([]))
    by_parents = forest.sign(seal.header_bytes, root.roster_keys)
    assert taken(forest, replace(seal, signatures=by_parents)).head == forest.groups[LEFT].digest
    other = ((RUTH.public, sign_seal(RUTH, seal.header_bytes)),)
    assert refused(forest, replace(seal, signatures=other)) == "not_on_roster"


def test_a_group_above_level_1_sends_nothing() -> None:
    town = Town.settled(1, 30, members_max=8, term_ticks=10)
    town.live(130)
    forest = town.forest
    assert forest.levels == 3
    town.distribute(FOUNDER.account, 1)
    forest.tick += 1
    anchor = forest.roots.newest
    below = {place: each for place in forest.groups for each in forest.seal_group(place, anchor)}
    place, sealed = next(iter(forest.seal_level(2, below, anchor, decide=False).items()))
    shows = willing_digest(sealed.willing) != forest.uppers[3][WHOLE].children[place].willing
    good = ChildSeal.of(sealed, (), shows_willing=shows)
    parent = UpperBody(forest.uppers[3][WHOLE]).parent()
    assert take_child(parent, good, NETWORK).node(2) == sealed.header.node
    wrong = replace(good, outbox=pack_node(1, 0, bytes(20)))
    opened = meta(roster_digest(good.roster), wrong.outbox, good.sent_out, good.settled_in, state_digest(good.state))
    header = sealed.header
    node = group(2, header.bits, header.prefix, header.pulse, good.inner, opened)
    with pytest.raises(RemoteError, match="child_outbox"):
        take_child(parent, replace(wrong, header_bytes=replace(header, node=node).encode()), NETWORK)


# -- offers --------------------------------------------------------------------------------------------------------


def test_offers(forest: Forest) -> None:
    """The parts must be the whole: its prefix, its sum and its counters."""
    forest.rule(forest.rules._replace(members_max=4, term_ticks=0))
    left = forest.groups[LEFT]
    forest.submit(LEFT[0], TermEnd(SPLIT))
    forest.tick += 1
    forest.seal_group(LEFT, forest.roots.newest)
    one, other = left.state.offer.successors
    richer = pack_node(1, node_sum(one.inner) + 1, bytes(20))
    wrong = [
        (one, other._replace(bits=3)),
        (one._replace(bits=3), other),
        (one._replace(inner=richer), other),
        (one._replace(sent_out=one.sent_out + 1), other),
        (one, other._replace(settled_in=1)),
        (one, other._replace(prefix=b"\x60" + bytes(19), bits=3)),
    ]
    for successors in wrong:
        state = left.state._replace(offer=Offer(SPLIT, successors)).encode()
        assert refused(forest, told(forest, state=state)) == "child_offer"
    child = taken(forest, told(forest))
    assert (child.offer, child.offered) == (left.state.offer, UpperBody(root_of(forest)).state.date)
    root_of(forest).children[LEFT] = child
    again = told(forest, previous=child.head, term=child.term, pulse=child.pulse + 1)
    assert refused(forest, again) == "child_offers"


def test_the_whole_has_no_buddy(forest: Forest) -> None:
    """A level-1 group without a prefix, the only child: it cannot ask to be merged."""
    root, seal = root_of(forest), told(forest)
    child = root.children[LEFT]._replace(bits=0)
    root.children = {child.place: child}
    header = replace(Header.decode(seal.header_bytes), bits=0)
    state = State.decode(seal.state, forest.groups[LEFT].sealed.willing)._replace(offer=Offer(MERGE)).encode()
    opened = meta(roster_digest(seal.roster), seal.outbox, seal.sent_out, seal.settled_in, state_digest(state))
    content = replace(header, node=group(1, 0, bytes(20), header.pulse, seal.inner, opened)).encode()
    wrong = replace(seal, header_bytes=content, state=state, signatures=forest.sign(content, child.sealers))
    assert refused(forest, wrong) == "child_offer"


# -- operations and sums ------------------------------------------------------------------------------------------


def test_operations_refused(forest: Forest) -> None:
    value: Any = codec.decode(told(forest).encode())
    wrong: list[Any] = [
        [],
        [1],
        [15, 0],
        ["13"],
        value[:-1],
        [*value, 0],
        [14, bytes(20), 1, 4],
        [14, b"\1" * 20, 1, 0],
    ]
    for each in wrong:
        with pytest.raises(RemoteError, match="bad_operation"):
            upper_from_value(each)
    assert upper_from_value([14, bytes(20), 1, 3]) == Decision(LEFT, 3)


def test_not_conserved(forest: Forest) -> None:
    """A table whose sums are not the supply is not sealed."""
    root = root_of(forest)
    child = root.children[LEFT]
    for wrong in (child._replace(sent_out=1), child._replace(settled_in=CYCLE - 1), child._replace(inner=EMPTY)):
        root.children[LEFT] = wrong
        with pytest.raises(Halt, match="not_conserved"):
            UpperBody(root).close(9)
    root.children[LEFT] = child
    assert UpperBody(root).close(9).level == 2
