"""Networks that have split twice while payments went on come to rest, whoever kept which group's books meanwhile."""

from __future__ import annotations

from random import Random

import pytest

from leither_lite import codec
from leither_lite.errors import LocalError
from leither_lite.header import Header
from leither_lite.ledger.branch import LEVELS_MAX
from leither_lite.ledger.group import Group
from leither_lite.ledger.judge_children import KEPT_TICKS
from leither_lite.ledger.structure import is_large
from leither_lite.limits import QUORUM
from leither_lite.node import frames
from leither_lite.node.events import FrameReceived, OpenAccount
from leither_lite.node.frames import Status
from leither_lite.node.network import STATUS_MS
from leither_lite.node.upper_books import UpperBooks
from leither_lite.pulse.votes import PRECOMMIT, PREVOTE, Vote
from leither_lite.sim.founding import GIVEN, PULSE_MS
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys
from leither_lite.tree.node import is_prefix
from tests.node.groups import TERM_TICKS, Groups

DEEP = 4
"""So small a group max that there are three levels."""
PAYMENTS = 14
SEEDS = {
    12: "who sealed before it was split keeps an old state of the group above",
    14: "who sealed the last header before a split is on no roster after it",
    38: "of a group that was split nobody has told the new page, and one that was told of is still shown",
    41: "who is on the root's committee hears nothing from its own",
    100: "of those who were willing nobody is in one of the parts",
    117: "the page of a part is there only after the branch that shows it",
    121: "somebody is asked in the turn in which its group is split",
}


def pay(world: Groups, payer: int, payee: int) -> None:
    """Asked again each pulse while the group is being split."""
    for _ in range(60):
        try:
            world.pay(payer, payee, 1)
        except LocalError as error:
            if error.code not in ("busy", "unknown_payee"):
                raise
            world.run(PULSE_MS)
        else:
            return
    pytest.fail("nobody takes the payment")


@pytest.mark.parametrize("seed", SEEDS, ids=SEEDS.get)
def test_a_network_comes_to_rest(seed: int) -> None:
    """And everybody has what the others have paid."""
    random = Random(seed)
    with checked_once():
        world = Groups(seed, group_max=DEEP)
        world.grown()
        expected = [GIVEN] * len(world.keys)
        expected[0], expected[1] = GIVEN - 2, GIVEN + 2  # what made it grow
        for _ in range(PAYMENTS):
            payer, payee = random.sample(range(len(world.keys)), 2)
            pay(world, payer, payee)
            expected[payer] -= 1
            expected[payee] += 1
            world.run(PULSE_MS)
        world.until(world.is_at_rest, 120_000)
    assert max(node.between.trunk.levels for node in world.nodes) == 3
    assert [
        node.group.entries[key.account].record.balance for node, key in zip(world.nodes, world.keys, strict=True)
    ] == expected


def test_nobody_is_left_to_nobody() -> None:
    """Three nodes whose accounts all begin with the same bit, and the organization's does not: the group is too large,
    and is not split, since its other part would have nobody to keep its books."""
    with checked_once():
        world = Groups(machines=3, group_max=DEEP)
        accounts = [key.account for key in world.keys]
        assert {account[0] >> 7 for account in accounts} == {0}
        for turn in range(3):
            world.run(TERM_TICKS * PULSE_MS)
            pay(world, turn, (turn + 1) % 3)
        world.run(TERM_TICKS * PULSE_MS)
        for node in world.nodes:
            assert is_large(len(node.group.entries), node.group.page_bytes, DEEP)
            assert (node.group.bits, node.group.state.offer.kind) == (0, 0)
            assert [node.group.entries[account].record.balance for account in accounts] == [GIVEN] * 3


def test_further_accounts_lie_where_their_node_is() -> None:
    """In the group whose books it has, so that what they hold is in its reach; also after a new start."""
    with checked_once():
        world = Groups(group_max=12)
        world.grown()
        made = [bytes.fromhex(world.ask(0, lambda token: OpenAccount(token, ""))["account"]) for _ in range(3)]
        assert len(set(made)) == 3
        assert all(world.nodes[0].group.holds(account) for account in made)
        world.until(world.is_at_rest)
        world.machines[0].stop()
        world.machines[0].start()
        world.until(world.is_at_rest)
    assert [each["account"] for each in world.view(0).accounts()[1:]] == [account.hex() for account in made]
    assert {each["role"] for each in world.view(0).accounts()[1:]} == {"member"}


def test_what_is_over_is_not_begun_again() -> None:
    """Whoever hears late of a group's last header before a split takes no seat in parts that have gone on since."""
    told: dict[bytes, int] = {}

    def passes(source: int, peer: bytes, content: bytes) -> bool:
        if frames.kind_of(content) == frames.UPPER:
            told.setdefault(content, source)
        return True

    with checked_once():
        world = Groups(group_max=DEEP)
        world.passes = passes
        world.grown()
        for turn in range(50):
            pay(world, turn % len(world.keys), (turn * 5 + 3) % len(world.keys))
            world.run(PULSE_MS)
        world.until(world.is_at_rest)
        kept = [{seat.place: seat.books.group.header.pulse for seat in node.between.seats} for node in world.nodes]
        for content, source in list(told.items()):
            for machine in world.machines:
                machine.put(FrameReceived(world.keys[source].public, content))
            world.run(PULSE_MS // 10)
        for node, before in zip(world.nodes, kept, strict=True):
            for seat in node.between.seats:
                header, floor = seat.books.group.header, node.between.trunk.floor(seat.books.group.level)
                if before.get(seat.place) != header.pulse:
                    assert floor is not None
                    assert (header.bits, header.prefix, header.pulse) == (floor.bits, floor.prefix, floor.pulse)
    assert len(told) > 20


def test_an_offer_waits_for_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long its parent takes to decide: what a group seals meanwhile would be void if it is split then."""
    decisions, is_slow = UpperBooks._decisions, True
    monkeypatch.setattr(UpperBooks, "_decisions", lambda books: [] if is_slow else decisions(books))
    with checked_once():
        world = Groups(group_max=DEEP)
        world.run((TERM_TICKS + 2) * PULSE_MS)
        offers: list[Group] = []
        for turn in range(60):
            pay(world, turn % len(world.keys), (turn + 1) % len(world.keys))
            world.run(PULSE_MS)
            offers = [node.group for node in world.nodes if node.group.bits and node.group.state.offer.kind]
            if offers:
                break
        group = offers[0]
        pulse, bits = group.header.pulse, group.bits
        members = [index for index, key in enumerate(world.keys) if group.holds(key.account)]
        world.pay(members[0], members[-1], 1)
        for turn in range(KEPT_TICKS + 30):  # others go on, so that there are root headers
            others = [index for index in range(len(world.keys)) if index not in members]
            pay(world, others[turn % len(others)], others[(turn + 1) % len(others)])
            world.run(PULSE_MS)
        assert {world.nodes[index].group.header.pulse for index in members} == {pulse}
        is_slow = False
        world.until(world.is_at_rest, 120_000)
    assert all(world.nodes[index].group.bits > bits for index in members)


def test_pages_of_other_ways_are_not_kept() -> None:
    """Of branches that lead elsewhere, good as they are, a node keeps only the floors above its own account."""
    told: dict[bytes, int] = {}

    def passes(source: int, peer: bytes, content: bytes) -> bool:
        if frames.kind_of(content) == frames.BRANCH:
            told.setdefault(content, source)
        return True

    with checked_once():
        world = Groups(group_max=DEEP)
        world.passes = passes
        world.grown()
        for turn in range(24):
            pay(world, turn % len(world.keys), (turn * 5 + 3) % len(world.keys))
            world.run(PULSE_MS)
        for content, source in list(told.items()):
            for machine in world.machines:
                machine.put(FrameReceived(world.keys[source].public, content))
        world.until(world.is_at_rest)
    for node, key in zip(world.nodes, world.keys, strict=True):
        kept = list(node.between.trunk._branches)
        assert kept
        assert [each for each in kept if not is_prefix(key.account, each[2], each[1])] == []


def test_a_branch_that_is_here_is_not_asked_for_again() -> None:
    """What several tell of one root header is taken once: a difference from a page that is gone makes nobody ask."""
    told: dict[bytes, int] = {}
    told_again = 0

    def passes(source: int, peer: bytes, content: bytes) -> bool:
        if frames.kind_of(content) == frames.BRANCH:
            told[content] = source
        return True

    with checked_once():
        world = Groups(group_max=DEEP)
        world.passes = passes
        world.grown()
        pay(world, 1, 2)
        world.until(world.is_at_rest)
        world.run(PULSE_MS)  # nobody has asked just before
        for index, (node, key) in enumerate(zip(world.nodes, world.keys, strict=True)):
            branch = node.between.trunk.branch
            assert branch is not None
            place = [branch.floors[-1].level, branch.floors[-1].bits, branch.floors[-1].prefix]
            for content, source in told.items():
                _, header, _, _, floors, _, _ = frames.values_of(content)
                lowest = codec.items(codec.items(floors, LEVELS_MAX, "")[-1], 10, "")
                if header == branch.seal.header and lowest[:3] == place and lowest[8]:
                    told_again += 1
                    event = FrameReceived(world.keys[source].public, content)
                    sends = node.turn([event], world.machines[index].now_ms).sends
                    assert frames.WANT_BRANCH not in [frames.kind_of(each) for _, each in sends], key.account.hex()
    assert told_again


@pytest.mark.parametrize("step", [PREVOTE, PRECOMMIT])
def test_who_has_voted_knows_what_it_built_on(step: int) -> None:
    """All who voted lose their power before anybody has heard it: by then the root header that the proposal builds on
    is not the newest any more, and nobody tells it again."""
    with checked_once():
        world = Groups().grown()
        payer, payee = world.apart()
        place = world.nodes[payer].group.prefix
        members = [index for index, node in enumerate(world.nodes) if node.group.prefix == place]
        others = [index for index in range(len(world.keys)) if index not in (*members, payee)]

        def passes(source: int, peer: bytes, content: bytes) -> bool:
            if source not in members or frames.kind_of(content) != frames.VOTE:
                return True
            vote = Vote.take(frames.one(content, ""))
            return vote.place.level > 1 or vote.step != step

        def built_on() -> dict[int, int]:
            """The root pulses that those have voted on who have."""
            found = {}
            for at in sealers:
                engine = world.nodes[at].committee.engine
                vote = engine.agreement.vote(0, step, world.keys[at].public)
                proposal = None if vote is None else engine.proposal(vote.digest)
                if proposal is not None:
                    found[at] = Header.decode(proposal.header).pulse - 1
            return found

        for _ in range(3):
            pay(world, *others[:2])
            world.run(2 * PULSE_MS)
        world.passes = passes
        pay(world, payer, payee)
        sealers = [index for index in members if world.keys[index].public in world.nodes[payer].group.roster_keys]
        world.until(lambda: len(built_on()) >= QUORUM[len(sealers)])
        pulses = built_on()
        for _ in range(2):
            pay(world, *others[:2])
            world.run(2 * PULSE_MS)
        for at, pulse in pulses.items():
            assert world.nodes[at].between.trunk.pulse > pulse
            assert world.machines[at].disk.get(keys.root(pulse)) is not None
        for index in members:
            world.machines[index].stop()
            world.machines[index].start()
        world.passes = lambda source, peer, content: True
        world.until(world.is_at_rest)
    assert world.nodes[payee].group.entries[world.keys[payee].account].record.balance > GIVEN


def test_a_root_header_that_was_missed_is_asked_for() -> None:
    """It was the last one for now: who missed it learns so from what its peers say of themselves."""
    with checked_once():
        world = Groups().grown()
        behind = next(at for at, node in enumerate(world.nodes) if not list(node.between.seats))
        place = world.nodes[behind].group.prefix
        payer, payee = [at for at, node in enumerate(world.nodes) if node.group.prefix != place][:2]

        def passes(source: int, peer: bytes, content: bytes) -> bool:
            return peer != world.keys[behind].public or frames.kind_of(content) != frames.BRANCH

        world.passes = passes
        before = world.nodes[behind].between.trunk.pulse
        pay(world, payer, payee)
        world.until(lambda: all(not node.books.has_work and not node.group.pending.items for node in world.nodes))
        world.run(3 * PULSE_MS)
        newest = world.nodes[payer].between.trunk.pulse
        assert world.nodes[behind].between.trunk.pulse == before < newest
        world.passes = lambda source, peer, content: True
        world.until(lambda: world.nodes[behind].between.trunk.pulse >= newest, 2 * STATUS_MS)


def test_who_says_to_be_ahead_is_asked_once() -> None:
    """A liar does not keep a node from asking others."""
    with checked_once():
        world = Groups().grown()
        node, machine = world.nodes[1], world.machines[1]
        liar = next(iter(node.peers.connected))
        asked = 0
        for _ in range(4):
            world.run(3 * PULSE_MS)
            status = Status(node.group.header.pulse, node.group.digest, 0, 0, root=10**9).encode()
            sends = node.turn([FrameReceived(liar, status)], machine.now_ms).sends
            asked += sum(peer == liar and frames.kind_of(each) == frames.WANT_BRANCH for peer, each in sends)
    assert asked == 1
