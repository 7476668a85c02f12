"""The pages from a group to the root, what differs between two of them, and the root chain as others follow it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, Final

import pytest

from leither_lite import codec
from leither_lite.errors import RemoteError
from leither_lite.header import Header, encode_roster, header_digest, sign_seal
from leither_lite.identity import Key
from leither_lite.ledger import roots as roots_module
from leither_lite.ledger.branch import Branch, apply, difference
from leither_lite.ledger.roots import Roots, RootSeal
from leither_lite.ledger.tip import Anchor
from leither_lite.limits import PAGE_BYTES_MAX
from leither_lite.tree.node import EMPTY, ZEROS, group, meta, pack_node
from leither_lite.tree.proof import Handover
from tests.ledger.founding import FOUNDER, NETWORK, ORGANIZATION, key_of
from tests.ledger.town import Town

OTHER: Final = key_of(77)
SOMEBODY: Final = FOUNDER.account


@pytest.fixture(name="town", scope="module")
def _town() -> Town:
    """Three levels; nobody changes it."""
    town = Town.settled(1, 30, members_max=8, term_ticks=10)
    town.live(130, payments=2)
    assert town.forest.levels == 3
    return town


@pytest.fixture(name="branch", scope="module")
def _branch(town: Town) -> Branch:
    return town.forest.branch(SOMEBODY)


def refused(branch: Branch, account: bytes = SOMEBODY) -> str:
    """Why a branch is not the one to an account's group."""
    with pytest.raises(RemoteError) as caught:
        branch.check(account)
    return caught.value.reason


def floor_with(branch: Branch, index: int, **changes: Any) -> Branch:
    """A branch, one floor of which is another."""
    floors = list(branch.floors)
    floors[index] = floors[index]._replace(**changes)
    return Branch(branch.seal, tuple(floors))


# -- branches ------------------------------------------------------------------------------------------------------


def test_a_branch_leads_to_every_group(town: Town) -> None:
    forest = town.forest
    for place, held in forest.groups.items():
        branch = forest.branch(place[0])
        assert [floor.level for floor in branch.floors] == [3, 2]
        assert branch.check(place[0]) == held.header.node
        assert branch.place(place[0]) == place
        assert branch.header.level == 3
        assert all(len(floor.page()) <= PAGE_BYTES_MAX for floor in branch.floors)
        assert branch.shown(held.sealed).check(NETWORK) == branch.header
        assert branch.under(*place[::-1]) == branch
        assert branch.is_whole
        branch.verify()


def test_another_branch(town: Town, branch: Branch) -> None:
    top, below = branch.floors
    elsewhere = next(
        place[0] for place in town.forest.groups if town.forest.branch(place[0]).floors[1].prefix != below.prefix
    )
    assert refused(branch, elsewhere) == "bad_branch"
    wrong: list[tuple[Any, ...]] = [(), (top,), (below,), (below, top), (top, top), (top, below, below)]
    for floors in wrong:
        assert refused(Branch(branch.seal, floors)) == "bad_branch"
    shared = branch.under(town.forest.groups[town.forest.place_of(elsewhere)].bits, elsewhere)
    assert shared.floors == (top,)
    shared.verify()
    assert not shared.is_whole


@pytest.mark.parametrize("index", [0, 1])
def test_a_floor_that_is_another(branch: Branch, index: int) -> None:
    floor = branch.floors[index]
    place, node = next(iter(floor.nodes.items()))
    changes: list[dict[str, Any]] = [
        {"level": floor.level + 1},
        {"bits": floor.bits + 1},
        {"pulse": floor.pulse + 1},
        {"roster": encode_roster([OTHER.public])},
        {"sent_out": floor.sent_out + 1},
        {"settled_in": floor.settled_in + 1},
        {"state": bytes(32)},
        {"nodes": {**floor.nodes, place: pack_node(1, 1, bytes(20))}},
        {"nodes": {other: each for other, each in floor.nodes.items() if other != place}},
        {"nodes": {**floor.nodes, place: node[:-1] + bytes([node[-1] ^ 1])}},
    ]
    for change in changes:
        wrong = floor_with(branch, index, **change)
        assert refused(wrong) == "bad_branch"
        with pytest.raises(RemoteError, match="bad_branch"):
            wrong.verify()


def test_under_another_root(town: Town, branch: Branch) -> None:
    header = replace(branch.header, node=bytes(36)).encode()
    assert refused(Branch(RootSeal(header, ()), branch.floors)) == "bad_branch"
    sealed = town.forest.groups[town.forest.place_of(SOMEBODY)].sealed
    assert refused(Branch(RootSeal(sealed.header_bytes, ()), branch.floors)) == "bad_branch"


# -- differences ---------------------------------------------------------------------------------------------------


def carried(values: list[codec.Value]) -> Any:
    """As they come over the wire."""
    return codec.decode(codec.encode(values))


def test_differences_lead_to_the_next_branch() -> None:
    """Whole pages at first, and where children have come; else the nodes that are others."""
    town = Town.settled(2, 30, members_max=8, term_ticks=10)
    before: Branch | None = None
    whole = 0
    for _ in range(130):
        town.live(1, payments=1)
        if not town.forest.uppers or not town.forest.is_whole:
            continue
        after = town.forest.branch(SOMEBODY)
        values = carried(difference(before, after))
        found = apply(before, after.seal, values)
        assert found == after
        found.check(SOMEBODY)
        sizes = [len(codec.encode(value)) for value in values]
        whole += sum(isinstance(value[9], bytes) for value in values)
        assert max(sizes) <= PAGE_BYTES_MAX + 512
        before = found
    assert before is not None
    assert len(before.floors) == 2
    assert 2 <= whole < 40
    same = carried(difference(before, before))
    assert [value[9] for value in same] == [[], []]
    assert apply(before, before.seal, same) == before


def test_from_another_page(branch: Branch) -> None:
    values = carried(difference(branch, branch))
    for index in (0, 1):
        older = floor_with(branch, index, pulse=branch.floors[index].pulse - 1)
        for wrong in (older, Branch(branch.seal, ()), None):
            with pytest.raises(RemoteError, match="branch_base"):
                apply(wrong, branch.seal, values)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 256),
        (0, b""),
        (1, 161),
        (2, b""),
        (2, b"\1" * 20),
        (3, b""),
        (4, b"\x80\x80"),
        (4, codec.encode([bytes(32)] * 3)),
        (5, b""),
        (6, b""),
        (7, bytes(31)),
        (8, b""),
        (9, 0),
        (9, bytes(PAGE_BYTES_MAX + 1)),
        (9, codec.encode([bytes([1]), b"\1" * 36])),
        (9, codec.encode([bytes([1, 1]), bytes(72)])),
        (9, codec.encode([bytes([1, 1]), b"\1" * 71])),
    ],
)
def test_wrong_pages(branch: Branch, at: int, value: codec.Value) -> None:
    values = carried(difference(None, branch))
    values[0][at] = value
    with pytest.raises(RemoteError, match="bad_branch|bad_page|cbor_|roster_"):
        apply(None, branch.seal, values)


def test_wrong_changes(branch: Branch) -> None:
    values, node = carried(difference(branch, branch)), b"\1" * 36
    count = len(branch.floors[0].nodes)
    wrong: list[Any] = [b"", 0, [[count, node]], [[0]], [[0, node, 0]], [[0, b""]], [["0", node]], [[2**64 - 1, node]]]
    for each in wrong:
        values[0][9] = each
        with pytest.raises(RemoteError, match="bad_branch"):
            apply(branch, branch.seal, values)
    for value in ([], values[0][:9], [*values[0], 0]):
        with pytest.raises(RemoteError, match="bad_branch"):
            apply(branch, branch.seal, [value])
    values[0][9] = [[count - 1, node]]
    assert refused(apply(branch, branch.seal, values)) == "bad_branch", "what leads elsewhere is for `check` to find"


def test_one_byte_flipped(branch: Branch) -> None:
    """Whatever comes, it is refused with a reason, or is the branch of something else."""
    rng, content = random.Random(3), codec.encode(difference(None, branch))
    for _ in range(400):
        at = rng.randrange(len(content))
        wrong = content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
        with pytest.raises(RemoteError):
            apply(None, branch.seal, codec.items(codec.decode(wrong), 9, "bad")).check(SOMEBODY)


# -- the root chain ------------------------------------------------------------------------------------------------

OPENED: Final = (b"\5" * 20, 0, 0, b"\6" * 32)


def root_header(pulse: int, roster: bytes = b"\x80", **changes: Any) -> Header:
    """A root header that opens to a roster."""
    opened = meta(roots_module.roster_digest(roster), EMPTY, 0, 0, bytes(32))  # type: ignore[attr-defined]
    node = group(1, 0, bytes(20), pulse, EMPTY, opened)
    header = Header(NETWORK, 1, 0, bytes(20), 0, pulse, 10 * pulse, ZEROS, node, bytes(32), bytes(32))
    return replace(header, **changes)


def sealed(header: Header, key: Key = FOUNDER) -> RootSeal:
    """A header sealed by a roster of one."""
    content = header.encode()
    return RootSeal(content, ((key.public, sign_seal(key, content)),))


def handover(pulse: int, key: Key, by: Key = FOUNDER) -> Handover:
    """A root header that hands over to a roster of one."""
    roster = encode_roster([key.public])
    seal = sealed(root_header(pulse, roster), by)
    return Handover(seal.header, EMPTY, EMPTY, 0, 0, bytes(32), roster, seal.signatures)


@pytest.fixture(name="roots")
def _roots() -> Roots:
    return Roots(NETWORK, 4, (FOUNDER.public,))


def reason_of(roots: Roots, seal: RootSeal) -> str:
    """Why a root header is not taken."""
    before = roots.newest, roots.seal
    with pytest.raises(RemoteError) as caught:
        roots.take(seal)
    assert (roots.newest, roots.seal) == before
    return caught.value.reason


def test_signatures_that_are_kept_were_looked_at(roots: Roots) -> None:
    """Though the root header is known: who tells it goes on with them to those who do not know it."""
    good, other = sealed(root_header(6)), sealed(root_header(7))
    bare = RootSeal(good.header, ())
    roots.remember(header_digest(good.header), 6, 60)
    assert roots.check(bare).pulse == 6
    with pytest.raises(RemoteError, match="no_quorum"):
        roots.checked(bare)
    assert roots.checked(good) == good
    assert roots.checked(bare) == good
    assert roots.checked(other) == other
    with pytest.raises(RemoteError, match="no_quorum"):
        roots.checked(bare)


def test_newer_and_older(roots: Roots) -> None:
    seals = {pulse: sealed(root_header(pulse)) for pulse in (5, 6, 9)}
    assert [roots.take(seals[pulse]) for pulse in (6, 5, 6, 9)] == [True, False, False, True]
    digest = header_digest(seals[9].header)
    assert (roots.newest, roots.seal) == (Anchor(digest, 9, 90), seals[9])
    assert [anchor.pulse for anchor in roots.anchors(5)] == [6, 9]
    assert roots.knows(digest, 9)
    assert not roots.knows(digest, 8)
    assert not roots.knows(header_digest(seals[5].header), 6)
    assert roots.anchor(digest, 9) == roots.newest
    assert roots.anchor(digest, 6) is None


def test_not_of_the_root_chain(roots: Roots) -> None:
    wrong = [
        root_header(5, network=ORGANIZATION.account[::-1]),
        root_header(5, bits=1),
        root_header(5, anchor=b"\1" * 32),
        root_header(5, node=b"\1" * 36),
    ]
    assert [reason_of(roots, sealed(header)) for header in wrong] == ["root_header"] * 4
    assert reason_of(roots, sealed(root_header(5), OTHER)) == "not_on_roster"
    assert reason_of(roots, RootSeal(root_header(5).encode(), ())) == "no_quorum"
    flipped = sealed(root_header(5))
    assert reason_of(roots, RootSeal(root_header(6).encode(), flipped.signatures)) == "bad_signature"
    assert reason_of(roots, sealed(root_header(4))) == "roster_size", "who sealed that is not known here"


def test_handed_over(roots: Roots) -> None:
    assert roots.hand_over(handover(6, OTHER))
    assert not roots.hand_over(handover(6, OTHER))
    assert roots.roster == (OTHER.public,)
    assert [roots.roster_of(pulse) for pulse in (4, 5, 6, 7)] == [
        (),
        (FOUNDER.public,),
        (FOUNDER.public,),
        (OTHER.public,),
    ]
    assert roots.take(sealed(root_header(7), OTHER))
    assert reason_of(roots, sealed(root_header(8), FOUNDER)) == "not_on_roster"
    assert not roots.take(sealed(root_header(5), FOUNDER)), "older ones are still the founder's"
    assert not roots.hand_over(handover(5, key_of(9)))
    assert roots.roster == (OTHER.public,)


def test_handed_over_wrongly(roots: Roots) -> None:
    good = handover(6, OTHER)
    for wrong in (
        replace(good, roster=encode_roster([FOUNDER.public])),
        replace(good, outbox=b"\1" * 36),
        replace(good, inner=b"\1" * 36),
        replace(good, sent_out=1),
        replace(good, settled_in=1),
        replace(good, state=b"\1" * 32),
    ):
        with pytest.raises(RemoteError, match="handover_node"):
            roots.hand_over(wrong)
    with pytest.raises(RemoteError, match="not_on_roster"):
        roots.hand_over(handover(6, OTHER, by=OTHER))
    with pytest.raises(RemoteError, match="no_quorum"):
        roots.hand_over(replace(good, signatures=()))
    assert (roots.roster, roots.newest) == ((FOUNDER.public,), None)


def test_followed_without_a_check(roots: Roots) -> None:
    roots.follow([handover(6, OTHER), handover(5, key_of(9)), handover(8, key_of(9), OTHER)])
    assert [roots.roster_of(pulse) for pulse in (6, 7, 9)] == [(FOUNDER.public,), (OTHER.public,), (key_of(9).public,)]
    assert roots.newest is None


def test_vouched_for(town: Town) -> None:
    forest = town.forest
    place = forest.place_of(SOMEBODY)
    shown = forest.shown(place)
    assert forest.roots.vouch(shown)
    assert not forest.roots.vouch(replace(shown, root=replace(Header.decode(shown.root), tick=1).encode()))
    assert not Roots(NETWORK, 10**6, forest.roots.roster).vouch(shown)
    fresh = Roots(NETWORK, -1, (FOUNDER.public,))
    assert not fresh.vouch(shown)
    fresh.follow(forest.handovers)
    assert fresh.vouch(shown)
    assert not fresh.vouch(replace(shown, signatures=()))
    assert fresh.newest is None, "what is shown is not remembered"


def test_so_many_are_remembered(roots: Roots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots_module, "KNOWN_MAX", 3)
    for pulse in range(5, 10):
        roots.take(sealed(root_header(pulse)))
    assert [anchor.pulse for anchor in roots.anchors(0)] == [7, 8, 9]
