"""The paper's path: what must hold of it, and that what is counted is what is done."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import nacl.bindings
import pytest

from leither_lite import cli, identity
from leither_lite.errors import RemoteError
from leither_lite.header import header_digest
from leither_lite.ledger.upper_operations import ChildSeal
from leither_lite.limits import GROUP_MEMBERS_MAX, PAGE_BYTES_MAX
from leither_lite.sim import command, paper
from leither_lite.sim.founding import key_of
from leither_lite.sim.paper_generated import HOLDERS
from leither_lite.sim.paper_path import LEVELS, Path, Scale
from leither_lite.sim.tally import Tally, Work, tallied
from leither_lite.tree import node
from leither_lite.tree.node import node_sum
from leither_lite.tree.proof import Trust, verify
from leither_lite.tree.tree import SumTree

SMALL = Scale(bits=3, accounts=40, settled=30)
ALL = {2: 8, 3: 8, 4: 8}


@pytest.fixture(name="tally")
def _tally() -> Iterator[Tally]:
    with tallied() as tally:
        yield tally


@pytest.fixture(name="path")
def _path(tally: Tally) -> Path:
    path = Path(tally, SMALL)
    for _ in range(paper.PULSES):
        path.pulse(2, ALL)
    return path


def under_way(path: Path) -> int:
    """out - in at the root."""
    root = path.uppers[LEVELS].sealed
    return root.sent_out - root.settled_in


def test_pages_of_full_groups_are_within_the_bound(tally: Tally) -> None:
    """256 children, or as many accounts as a page counts room for: 10,240 bytes at most."""
    path = Path(tally, Scale(settled=10))
    assert all(len(upper.children) == GROUP_MEMBERS_MAX for upper in path.uppers.values())
    assert max(path.pages.values()) <= path.leaf.group.page_bytes <= PAGE_BYTES_MAX
    assert path.leaf.group.page_bytes + 44 > PAGE_BYTES_MAX
    assert path.pages[LEVELS] == 9_479


def test_sums_are_the_supply(path: Path) -> None:
    """After every pulse, whatever has moved; so the generated nodes add up, too."""
    for _ in range(2):
        path.pulse(2, ALL)
        root = path.uppers[LEVELS]
        assert node_sum(root.sealed.inner) + under_way(path) == path.supply
        assert node_sum(root.sealed.inner) == sum(node_sum(child.inner) for child in root.children.values())
        assert 0 < under_way(path) < path.supply
    assert path.leaf.group.tree.root() == path.uppers[2].children[path.leaf.child.place].inner


def test_the_path_is_proved_to_the_root_header(path: Path) -> None:
    """From the roster alone; not from another one."""
    roster = tuple(key.public for key in path.uppers[LEVELS].committee.roster)
    account = path.leaf.keys[0].account
    verified = verify(path.proof(account), Trust(key_of("organization").public, roster))
    assert verified.record is not None
    assert (verified.record[0], verified.pulse) == (
        path.leaf.group.entries[account].record.balance,
        path.uppers[LEVELS].sealed.header.pulse,
    )
    with pytest.raises(RemoteError, match="not_on_roster"):
        verify(path.proof(account), Trust(key_of("organization").public, roster[:2] + roster[:1]))
    assert path.branch.check(account) == path.leaf.group.header.node


@pytest.mark.parametrize("level", [2, 3, 4])
def test_generated_seals_are_judged(path: Path, level: int) -> None:
    """The node's own books take the next seal of a generated child, and none whose sum is wrong."""
    upper, books = path.uppers[level], path.uppers[level].books[0]
    place = next(place for place, each in upper.siblings.items() if each is not path.beside)
    group = upper.siblings[place]
    made = group.go_on(path.anchor, path.tick + 1, (), 0, 0)
    held = group.committee.hold(upper.network, header_digest(made.header_bytes)) if level == 2 else ()
    seal = ChildSeal.of(made, held, shows_willing=True)
    with pytest.raises(RemoteError, match="child_node"):
        books.take(replace(seal, settled_in=seal.settled_in + 1))
    first, *others = seal.signatures
    with pytest.raises(RemoteError, match="bad_signature"):
        books.take(replace(seal, signatures=((first[0], bytes(64)), *others)))
    assert books.take(seal)


def test_money_that_comes_from_nowhere_is_refused(path: Path) -> None:
    """A generated group whose inner sum is not what came in less what went out."""
    upper = path.uppers[3]
    group = next(iter(upper.siblings.values()))
    before = group.sealed
    group.sealed = replace(before, inner=node.pack_node(1, node_sum(before.inner) + 1, bytes(20)))
    made = group.go_on(path.anchor, path.tick + 1, (), 0, 0)
    with pytest.raises(RemoteError, match="child_sums"):
        upper.books[0].take(ChildSeal.of(made, (), shows_willing=True))


def test_counts_are_those_of_libsodium(tally: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted as checked and signed is what libsodium was asked for."""
    asked = {"crypto_sign_open": 0, "crypto_sign": 0}

    def counted(name: str) -> Any:
        does = getattr(nacl.bindings, name)

        def ask(*given: bytes) -> bytes:
            asked[name] += 1
            result: bytes = does(*given)
            return result

        return ask

    for name in asked:
        monkeypatch.setattr(nacl.bindings, name, counted(name))
    before = tally.now()
    path = Path(tally, SMALL)
    path.pulse(2, ALL)
    assert (tally.checked - before[0], tally.signed - before[1]) == tuple(asked.values())
    assert tally.checked > 0


def test_counts_of_a_role(path: Path) -> None:
    """A backup checks three signatures of each child, and its holders' at level 2, as they come and in the body; of its
    own committee a proposal, and of three others prevote, precommit and seal as far as they are of use; the root
    header's seal once."""
    for level in (2, 3, 4):
        work = path.works[level][1]
        each = 3 + (HOLDERS if level == 2 else 0)
        assert work.what["children's seals, as they come"] == 8 * each
        assert work.what["children's seals, in the body"] == 8 * each
        assert work.what["votes"] == 9
        assert work.what.get("the root header", 0) == (3 if level < LEVELS else 0)
        assert sum(work.what.values()) == work.checked
    assert path.works[1][1].what["operations, as they come"] == 2 * 2


def test_counts_of_hashes(tally: Tally) -> None:
    """As many as the tree has branches; a block for every 128 bytes, one at least."""
    work = Work()
    tree = SumTree()
    tree.put_many([(bytes([number]) * 20, node.pack_node(1, 1, bytes([number]) * 20)) for number in range(20)])
    with work.doing(tally, "a tree"):
        tree.root()
    assert (work.hashes, work.blocks) == (19, 19)
    with work.doing(tally, "more"):
        node.leaf(bytes(20), 1, 1, node.record_digest(bytes(5)))
        node.group(1, 0, bytes(20), 1, node.EMPTY, bytes(32))
        identity.h32("state", bytes(300))
        identity.h20("receipt", b"")
    assert (work.hashes, work.blocks) == (24, 26)
    assert work.checked == 0


def test_nothing_is_counted_after() -> None:
    """What was replaced is back, and trees of before give the same roots."""
    before = vars(identity)["bindings"], node.BRANCH_HASHES, node.LEAF_HASH
    leaves = [(bytes([number]) * 20, node.pack_node(1, 1, bytes([number]) * 20)) for number in range(5)]
    with tallied() as tally:
        counted = SumTree()
        counted.put_many(leaves)
        root = counted.root()
    tree = SumTree()
    tree.put_many(leaves)
    assert tree.root() == root
    assert tally.hashes == 4
    assert (vars(identity)["bindings"], node.BRANCH_HASHES, node.LEAF_HASH) == before


def test_the_same_figures_in_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """But for what is measured; and a payment to another group is settled in the second pulse."""
    first, lines, code = paper.report(SMALL)
    second, _, _ = paper.report(SMALL)
    assert code == 0
    assert first.pop("measured").keys() == second.pop("measured").keys()
    assert first == second
    assert first["levels"] == LEVELS
    assert first["pulses_until_settled"] == 2
    assert list(first["roles"]) == ["root", "level 3", "level 2", "level 1", "branch"]
    assert first["summary_bytes"] == first["roles"]["root"]["page_bytes"]
    assert any("26,880" in line for line in lines)
    monkeypatch.setattr(paper, "Scale", lambda: SMALL)
    told, _, _ = command.simulate(Namespace(paper=True))
    assert told["roles"] == first["roles"]


def test_rates() -> None:
    """Of 1,000,000 transfers a second over 2^24 groups of level 1."""
    full = Scale()
    assert [paper.groups_of(level, full) for level in (1, 2, 3, 4)] == [2**24, 2**16, 2**8, 1]
    assert [paper.active_of(level, full) for level in (2, 3, 4)] == [42, 256, 256]
    assert cli.parser().parse_args(["simulate", "--paper"]).paper
