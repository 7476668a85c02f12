"""The tree in memory and through a store against the naive tree, and the properties that hold of any set."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from leither_lite.errors import Halt, RemoteError
from leither_lite.limits import SUM_MAX
from leither_lite.tree.node import EMPTY, pack_node
from leither_lite.tree.tree import SumTree, TreePath
from tests.reference import naive_tree

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "ledger.json").read_text())
SEEDS = range(8)
SIZES = (0, 1, 2, 3, 7, 40, 300)

Leaves = dict[bytes, bytes]


class Store:
    """A dict that takes a tree's writes, as LMDB would."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def tree(self, modular: bool = False) -> SumTree:
        return SumTree(self.values.get, modular=modular)

    def take(self, tree: SumTree) -> None:
        for key, value in tree.writes():
            assert len(key) <= 21
            if value is None:
                del self.values[key]
            else:
                self.values[key] = value


def spread_id(rng: random.Random) -> bytes:
    return rng.randbytes(20)


def crowded_id(rng: random.Random) -> bytes:
    """One of the ids that share long prefixes: a few stems, each with a bit or two flipped anywhere up to the last."""
    stem = int.from_bytes(random.Random(rng.randrange(3)).randbytes(20), "big")
    for _ in range(rng.randrange(3)):
        stem ^= 1 << (rng.randrange(8) if rng.random() < 0.3 else rng.randrange(160))
    return stem.to_bytes(20, "big")


KINDS: tuple[Callable[[random.Random], bytes], ...] = (spread_id, crowded_id)


def some_leaf(rng: random.Random) -> bytes:
    pulse, amount = rng.randrange(1 << rng.randrange(1, 64)), rng.randrange(1 << rng.randrange(1, 53))
    return pack_node(pulse, amount, rng.randbytes(20))


def some_leaves(rng: random.Random, size: int, kind: Callable[[random.Random], bytes]) -> Leaves:
    leaves: Leaves = {}
    while len(leaves) < size:
        leaves[kind(rng)] = some_leaf(rng)
    return leaves


def check_against_naive(tree: SumTree, leaves: Leaves, asked: list[bytes], modular: bool = False) -> None:
    assert tree.root() == naive_tree.root(leaves, modular)
    assert len(tree) == len(leaves)
    assert list(tree) == sorted(leaves)
    assert list(tree.leaves()) == sorted(leaves.items())
    for account in asked:
        assert tree.get(account) == leaves.get(account)
        assert (account in tree) == (account in leaves)
        path = tree.path(account)
        if not leaves:
            assert path is None
            continue
        assert path is not None
        found, steps = naive_tree.path(leaves, account, modular)
        assert path == TreePath(found, leaves[found], tuple(steps))
        # What the absence proof says: the neighbour's path leads to the root along the absent id's own bits.
        assert naive_tree.fold(account, path.leaf, list(path.steps), modular) == tree.root()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_naive_tree_in_memory_and_reopened_from_a_store(
    kind: Callable[[random.Random], bytes], size: int
) -> None:
    seed = size * 7 + KINDS.index(kind)
    print("seed", seed)
    rng = random.Random(seed)
    leaves = some_leaves(rng, size, kind)
    asked = rng.sample(sorted(leaves), min(size, 12)) + [kind(rng) for _ in range(12)] + [spread_id(rng)]
    memory, store = SumTree(), Store()
    stored = store.tree()
    for tree in (memory, stored):
        tree.put_many(leaves.items())
        check_against_naive(tree, leaves, asked)
    store.take(stored)
    check_against_naive(stored, leaves, asked)
    check_against_naive(store.tree(), leaves, asked)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_long_mixed_history_equals_the_naive_tree_at_each_step(
    kind: Callable[[random.Random], bytes], seed: int
) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    leaves: Leaves = {}
    memory, store = SumTree(), Store()
    stored = store.tree()
    for _ in range(40):
        batch = some_leaves(rng, rng.choice((0, 1, 1, 2, 9)), kind)
        batch.update({account: some_leaf(rng) for account in rng.sample(sorted(leaves), min(len(leaves), 2))})
        gone = rng.sample(sorted(leaves), min(len(leaves), rng.randrange(6)))
        for tree in (memory, stored):
            tree.put_many(batch.items())
            for account in gone:
                tree.delete(account)
        leaves.update(batch)
        for account in gone:
            del leaves[account]
        if rng.random() < 0.5:
            store.take(stored)
        asked = [kind(rng), spread_id(rng), *rng.sample(sorted(leaves), min(len(leaves), 2))]
        check_against_naive(memory, leaves, asked)
        check_against_naive(stored, leaves, asked)
    store.take(stored)
    fresh = Store()
    rebuilt = fresh.tree()
    rebuilt.put_many(leaves.items())
    fresh.take(rebuilt)
    assert store.values == fresh.values


@pytest.mark.parametrize("kind", KINDS)
def test_batch_equals_loop_in_any_order(kind: Callable[[random.Random], bytes]) -> None:
    rng = random.Random(11)
    leaves = some_leaves(rng, 120, kind)
    batch_store, loop_store = Store(), Store()
    batch, loop = batch_store.tree(), loop_store.tree()
    batch.put_many(leaves.items())
    batch_store.take(batch)
    for account in rng.sample(sorted(leaves), len(leaves)):
        loop.put(account, leaves[account])
        loop.root()
        loop_store.take(loop)
    assert batch.root() == loop.root() == naive_tree.root(leaves)
    assert batch_store.values == loop_store.values


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS)
def test_deleting_undoes_inserting_to_the_byte(kind: Callable[[random.Random], bytes], seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    leaves = some_leaves(rng, rng.choice((0, 1, 2, 30, 150)), kind)
    store = Store()
    tree = store.tree()
    tree.put_many(leaves.items())
    store.take(tree)
    root, values = tree.root(), dict(store.values)
    added = {account: leaf for account, leaf in some_leaves(rng, 12, kind).items() if account not in leaves}
    for account, leaf in added.items():
        tree.put(account, leaf)
        store.take(tree)
    for account in rng.sample(sorted(added), len(added)):
        tree.delete(account)
        store.take(tree)
    assert tree.root() == root
    assert store.values == values


def test_deleting_all_leaves_nothing_in_the_store() -> None:
    rng = random.Random(5)
    leaves = some_leaves(rng, 90, crowded_id)
    store = Store()
    tree = store.tree()
    tree.put_many(leaves.items())
    store.take(tree)
    for account in leaves:
        tree.delete(account)
    store.take(tree)
    assert store.values == {}
    assert tree.root() == EMPTY
    assert len(tree) == 0


def test_what_the_vectors_say() -> None:
    for vector in VECTORS["trees"]:
        store = Store()
        for tree in (SumTree(), store.tree()):
            tree.put_many((bytes.fromhex(entry["id"]), bytes.fromhex(entry["leaf"])) for entry in vector["accounts"])
            store.take(tree)
            assert tree.root().hex() == vector["root"]
            for case in (*vector["present"], *vector["absent"]):
                path = tree.path(bytes.fromhex(case["id"]))
                if not vector["accounts"]:
                    assert path is None
                    continue
                assert path is not None
                assert path.account.hex() == (case["leaf"]["id"] if "leaf" in case else case["id"])
                assert [{"branch": depth, "sibling": sibling.hex()} for depth, sibling in path.steps] == case["path"]


def amount_leaf(amount: int) -> bytes:
    return pack_node(1, amount, b"\1" * 20)


FIRST, SECOND, THIRD = (bytes([byte]) * 20 for byte in (0x11, 0x13, 0x80))


def replace_beyond(tree: SumTree) -> None:
    tree.put(SECOND, amount_leaf(11))


def put_beyond(tree: SumTree) -> None:
    tree.put(THIRD, amount_leaf(1))


def put_many_beyond(tree: SumTree) -> None:
    tree.put_many([(THIRD, amount_leaf(1)), (bytes(20), amount_leaf(0))])


@pytest.mark.parametrize("attempt", [replace_beyond, put_beyond, put_many_beyond])
def test_a_sum_beyond_the_limit_is_refused_and_changes_nothing(attempt: Callable[[SumTree], None]) -> None:
    store = Store()
    for tree in (SumTree(), store.tree()):
        tree.put_many([(FIRST, amount_leaf(SUM_MAX - 10)), (SECOND, amount_leaf(10))])
        store.take(tree)
        root, values = tree.root(), dict(store.values)
        with pytest.raises(RemoteError) as caught:
            attempt(tree)
        assert caught.value.reason == "sum_too_large"
        assert tree.writes() == []
        assert (tree.root(), len(tree), store.values) == (root, 2, values)
        tree.put_many([(FIRST, amount_leaf(10)), (SECOND, amount_leaf(SUM_MAX - 10))])
        assert tree.root()[8:16] == SUM_MAX.to_bytes(8, "big")


def test_a_single_leaf_beyond_the_limit_is_refused() -> None:
    tree = SumTree()
    with pytest.raises(RemoteError) as caught:
        tree.put(bytes(20), amount_leaf(SUM_MAX + 1))
    assert caught.value.reason == "sum_too_large"
    assert tree.root() == EMPTY


def test_a_modular_tree_takes_sums_around() -> None:
    rng = random.Random(9)
    leaves = {rng.randbytes(20): pack_node(7, rng.randrange(2**64), rng.randbytes(20)) for _ in range(50)}
    store = Store()
    for tree in (SumTree(modular=True), store.tree(modular=True)):
        tree.put_many(leaves.items())
        check_against_naive(tree, leaves, sorted(leaves)[:5], modular=True)


def test_deleting_an_absent_id_is_a_key_error_and_changes_nothing() -> None:
    rng = random.Random(4)
    leaves = some_leaves(rng, 20, crowded_id)
    store = Store()
    for tree in (SumTree(), store.tree()):
        with pytest.raises(KeyError):
            tree.delete(bytes(20))
        tree.put_many(leaves.items())
        store.take(tree)
        values = dict(store.values)
        with pytest.raises(KeyError):
            tree.delete(spread_id(rng))
        assert tree.writes() == []
        assert store.values == values
        assert tree.root() == naive_tree.root(leaves)


@pytest.mark.parametrize(
    ("account", "leaf"), [(bytes(19), amount_leaf(1)), (bytes(20), bytes(35)), (bytes(20), EMPTY), (b"", b"")]
)
def test_bad_sizes_are_refused(account: bytes, leaf: bytes) -> None:
    tree = SumTree()
    with pytest.raises(ValueError, match="20 bytes"):
        tree.put(account, leaf)
    with pytest.raises(ValueError, match="20 bytes"):
        tree.put_many([(bytes([1]) * 20, amount_leaf(1)), (account, leaf)])
    assert len(tree) == 0


def test_memory_of_a_stored_tree_is_empty_after_its_writes() -> None:
    rng = random.Random(8)
    store = Store()
    tree = store.tree()
    tree.put_many(some_leaves(rng, 300, spread_id).items())
    store.take(tree)
    reads: list[bytes] = []

    def read(key: bytes) -> bytes | None:
        reads.append(key)
        return store.values.get(key)

    tree = SumTree(read)
    tree.put(spread_id(rng), some_leaf(rng))
    first = tree.writes()
    # Only the values on one path are read and written, however large the tree.
    assert len(first) <= len(reads) + 1 <= 4
    reads.clear()
    store.values.update({key: value for key, value in first if value is not None})
    tree.root()
    assert reads == [b""]
    assert tree.writes() == []


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "circle"])
def test_a_damaged_store_halts(damage: str) -> None:
    rng = random.Random(2)
    leaves = some_leaves(rng, 300, spread_id)
    store = Store()
    tree = store.tree()
    tree.put_many(leaves.items())
    store.take(tree)
    key = max(store.values, key=len)
    if damage == "missing":
        del store.values[key]
    elif damage == "empty":
        store.values[key] = b""
    elif damage == "cut":
        store.values[key] = store.values[key][:40]
    else:
        prefix = key[1:].ljust(20, b"\0")
        reference = bytes([161 + key[0]]) + prefix
        store.values[key] = bytes([key[0] * 8, 0, 21]) + bytes(72) + reference + reference
    with pytest.raises(Halt) as caught:
        list(map(store.tree().get, leaves))
    assert caught.value.code == "tree_corrupt"
