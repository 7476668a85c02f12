"""The ledger tree against the bare hash calls that each operation needs, and against other packages.

Each round runs a bit of ours, a bit of the bare calls and a bit of the others in turn, so that a busy machine slows
all of them; a ratio is the median over the rounds. Where ours makes the leaf too, its two hashes count as bare. A batch
has two measures: the hashes of the distinct branches that it changes, and those of as many single paths, which it
spares in part. A commit of the store counts with one thousandth for each account changed.
"""

from __future__ import annotations

import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any, NamedTuple

import lmdb
from nacl import bindings

from leither_lite.header import Header, encode_roster, roster_digest, sign_seal
from leither_lite.identity import Key, account_id
from leither_lite.tree.node import (
    BRANCH_HASHES,
    EMPTY,
    LEAF_HASH,
    RECORD_HASH,
    ZEROS,
    group,
    leaf,
    meta,
    record_digest,
)
from leither_lite.tree.proof import BranchStep, GroupStep, Proof, SealedRoot, Trust, fold_path, verify
from leither_lite.tree.proof_cbor import decode_proof, encode_proof
from leither_lite.tree.proof_json import decode_json, encode_json
from leither_lite.tree.tree import SumTree

SIZES = (256, 10_000)
ROUNDS = 15
BATCH = 100
COMMIT_EVERY = 1_000
SPARSE_SIZE = 256  # `trie`'s sparse tree keeps 160 nodes a key, and its speed does not depend on their number.
PULSE = 1_000
RECORD = bytes.fromhex("851903e800010100")

Chunk = Callable[[], float]
Leaves = list[tuple[bytes, bytes]]


class Row(NamedTuple):
    """An operation: how often a second ours, the bare calls and others do it. 0: not applicable."""

    name: str
    ours: float
    bare: float
    ratio: float
    others: dict[str, float]


def compare(name: str, ours: Chunk, bare: Chunk | None = None, others: dict[str, Chunk] | None = None) -> Row:
    """Run chunks, each of which gives its seconds per operation, in turn and in changing order."""
    sides: dict[str, Chunk] = {"ours": ours, **({"bare": bare} if bare else {}), **(others or {})}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for round_number in range(ROUNDS):
        order = list(sides)
        for side in order if round_number % 2 else order[::-1]:
            seconds[side].append(sides[side]())
    ratio = median(b / o for b, o in zip(seconds["bare"], seconds["ours"], strict=True)) if bare else 0.0
    rates = {side: 1 / median(times) for side, times in seconds.items()}
    return Row(name, rates.pop("ours"), rates.pop("bare", 0.0), ratio, rates)


def timed(operation: Callable[[Any], object], items: list[Any]) -> float:
    """Seconds per item."""
    begin = time.perf_counter()
    for item in items:
        operation(item)
    return (time.perf_counter() - begin) / len(items)


def bare_hashes(depths: Iterable[int], leaves: int) -> float:
    """Seconds for the hash calls of these branches and of so many leaves, and nothing else."""
    pair, text = bytes(72), bytes(68)
    depths = list(depths)
    begin = time.perf_counter()
    for depth in depths:
        hasher = BRANCH_HASHES[depth].copy()
        hasher.update(pair)
        hasher.digest()
    for _ in range(leaves):
        hasher = RECORD_HASH.copy()
        hasher.update(RECORD)
        hasher.digest()
        hasher = LEAF_HASH.copy()
        hasher.update(text)
        hasher.digest()
    return time.perf_counter() - begin


def new_leaf(account: bytes) -> bytes:
    """What an operation on an account makes first."""
    return leaf(account, PULSE, 1_000, record_digest(RECORD))


class TreeBench:
    """A tree of `size` accounts, in memory and in LMDB."""

    def __init__(self, size: int, folder: str) -> None:
        self.size = size
        self.rng = random.Random(size)
        self.leaves: Leaves = [(account, new_leaf(account)) for account in self.new_ids(size)]
        self.ids = [account for account, _ in self.leaves]
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        self.tree = SumTree()
        self.tree.put_many(self.leaves)
        self.tree.root()
        self.bytes_per_account = (tracemalloc.get_traced_memory()[0] - before) / size
        tracemalloc.stop()
        self.environment = lmdb.open(folder, map_size=1 << 30)
        nothing: dict[bytes, bytes] = {}
        stored = SumTree(nothing.get)
        stored.put_many(self.leaves)
        self.values = [(key, value) for key, value in stored.writes() if value is not None]
        self.stored_bytes_per_account = sum(len(key) + len(value) for key, value in self.values) / size
        self.fresh = self.new_ids(100 * BATCH)

    def new_ids(self, count: int) -> list[bytes]:
        return [self.rng.randbytes(20) for _ in range(count)]

    def some(self, is_insert: bool, count: int) -> list[bytes]:
        return self.rng.sample(self.fresh if is_insert else self.ids, count)

    def bare(self, is_insert: bool, batch: int, count: int) -> float:
        """Seconds per account of the hashes of leaves and, once for each batch, of the branches that it changes."""
        depths: list[int] = []
        for _ in range(0, count, batch):
            accounts = self.some(is_insert, batch)
            if is_insert:
                self.tree.put_many([(account, EMPTY[:-1] + b"\1") for account in accounts])
            changed = set()
            for account in accounts:
                path = self.tree.path(account)
                number = int.from_bytes(account, "big")
                for depth, _ in path.steps if path else ():
                    changed.add((depth, number >> (160 - depth)))
            if is_insert:
                for account in accounts:
                    self.tree.delete(account)
            depths += [depth for depth, _ in changed]
        return bare_hashes(depths, count) / count

    def in_memory(self, is_insert: bool, batch: int, count: int) -> float:
        """Seconds per account of ours."""
        accounts = self.some(is_insert, count)
        tree = self.tree
        begin = time.perf_counter()
        for at in range(0, count, batch):
            if batch == 1:
                tree.put(accounts[at], new_leaf(accounts[at]))
            else:
                tree.put_many([(account, new_leaf(account)) for account in accounts[at : at + batch]])
            tree.root()
        taken = time.perf_counter() - begin
        if is_insert:
            for account in accounts:
                tree.delete(account)
        return taken / count

    def in_store(self, is_insert: bool, batch: int, count: int) -> float:
        """Seconds per account of ours; every operation reads its paths from LMDB and puts its writes there at once."""
        accounts = self.some(is_insert, count)
        with self.environment.begin(write=True) as restoring:
            restoring.drop(self.environment.open_db(txn=restoring), delete=False)
            for key, value in self.values:
                restoring.put(b"t" + key, value)
        transaction = self.environment.begin(write=True)
        get, put, delete = transaction.get, transaction.put, transaction.delete
        tree = SumTree(lambda key: get(b"t" + key))
        begin = time.perf_counter()
        for at in range(0, count, batch):
            if batch == 1:
                tree.put(accounts[at], new_leaf(accounts[at]))
            else:
                tree.put_many([(account, new_leaf(account)) for account in accounts[at : at + batch]])
            for key, written in tree.writes():
                if written is None:
                    delete(b"t" + key)
                else:
                    put(b"t" + key, written)
        done = time.perf_counter()
        transaction.commit()
        return (done - begin) / count + (time.perf_counter() - done) / COMMIT_EVERY

    def changes(self, others: dict[str, Any]) -> list[Row]:
        """Inserts and updates, one by one and in batches."""
        found = []
        for is_insert in (True, False):
            verb = "insert" if is_insert else "update"
            theirs = {name: (other.insert if is_insert else other.update) for name, other in others.items()}
            theirs = {name: chunk for name, chunk in theirs.items() if chunk is not None}
            for batch, rival in ((1, theirs), (BATCH, {})):
                what = f"{verb}, single" if batch == 1 else f"{verb}, batch of {batch}"
                bare = lambda b=batch, i=is_insert: self.bare(i, b, BATCH)  # noqa: E731
                alone = lambda i=is_insert: self.bare(i, 1, BATCH)  # noqa: E731
                count = min(self.size, COMMIT_EVERY) // batch * batch
                memory = lambda b=batch, i=is_insert: self.in_memory(i, b, BATCH)  # noqa: E731
                store = lambda b=batch, i=is_insert, n=count: self.in_store(i, b, n)  # noqa: E731
                measure = "" if batch == 1 else ": of its distinct branches"
                for where, ours, others_there in (("memory", memory, rival), ("LMDB", store, {})):
                    found.append(compare(f"{what}, {where}{measure}", ours, bare, others_there))
                    if batch > 1:
                        found.append(compare(f"{what}, {where}: of {batch} single paths", ours, alone))
        return found

    def proofs(self, others: dict[str, Any]) -> list[Row]:
        """Paths, their check, and whole proofs."""
        accounts = self.rng.sample(self.ids, 50)
        organization, bookkeeper = Key.from_seed(b"\1" * 32), Key.from_seed(b"\2" * 32)
        network = account_id(organization.public)
        trust = Trust(organization.public, (bookkeeper.public,))
        sealed_meta = meta(roster_digest(encode_roster(trust.roster)), EMPTY, 0, 0, ZEROS)
        node = group(1, 0, bytes(20), PULSE, self.tree.root(), sealed_meta)
        header = Header(network, 1, 0, bytes(20), 1, PULSE, PULSE, ZEROS, node, ZEROS, ZEROS).encode()
        signature = sign_seal(bookkeeper, header)
        root = SealedRoot(header, ((bookkeeper.public, signature),))
        paths, proofs, depths = [], [], []
        for account in accounts:
            path = self.tree.path(account)
            if path is None:
                raise RuntimeError("an account is not in its tree")
            steps = tuple(BranchStep(depth, sibling) for depth, sibling in path.steps)
            depths += [depth for depth, _ in path.steps]
            paths.append((path.leaf, account, steps))
            step = GroupStep(1, 0, bytes(20), PULSE, sealed_meta)
            proofs.append(Proof(account, RECORD, PULSE, (*steps, step), root))
        texts = [encode_json(proof) for proof in proofs]
        binaries = [encode_proof(proof) for proof in proofs]
        signed = signature + bytes(32)

        def bare_check() -> float:
            return bare_hashes(depths, 0) / len(accounts)

        def bare_verify() -> float:
            begin = time.perf_counter()
            for _ in accounts:
                try:
                    bindings.crypto_sign_open(signed, bookkeeper.public)
                except Exception:  # The signature is of another message: libsodium works as long for it.
                    continue
            done = time.perf_counter() - begin
            return (done + bare_hashes(depths, len(accounts))) / len(accounts)

        def check(item: tuple[bytes, bytes, tuple[BranchStep, ...]]) -> None:
            fold_path(*item)

        def rival(question: str) -> dict[str, Chunk]:
            return {name: getattr(other, question) for name, other in others.items()}

        return [
            compare("proof (path)", lambda: timed(self.tree.path, accounts), None, rival("prove")),
            compare("path check", lambda: timed(check, paths), bare_check, rival("check")),
            compare("verify, JSON", lambda: timed(lambda text: verify(decode_json(text), trust), texts), bare_verify),
            compare("verify, CBOR", lambda: timed(lambda it: verify(decode_proof(it), trust), binaries), bare_verify),
        ]


class Hexary:
    """`trie.HexaryTrie`: the tree of Ethereum, over a dict."""

    def __init__(self, leaves: Leaves, fresh: list[bytes]) -> None:
        from trie import HexaryTrie

        self.type = HexaryTrie
        self.tree = HexaryTrie({})
        for account, node in leaves:
            self.tree.set(account, node)
        self.base = self.tree.root_hash
        self.leaves = dict(leaves)
        self.fresh = fresh
        self.rng = random.Random(1)
        self.asked = self.rng.sample(sorted(self.leaves), 10)
        self.proofs = [(account, self.tree.get_proof(account)) for account in self.asked]

    def _set(self, accounts: list[bytes]) -> float:
        self.tree.root_hash = self.base
        taken = timed(lambda account: self.tree.set(account, new_leaf(account)), accounts)
        self.tree.root_hash = self.base
        return taken

    def insert(self) -> float:
        return self._set(self.rng.sample(self.fresh, 10))

    def update(self) -> float:
        return self._set(self.rng.sample(sorted(self.leaves), 10))

    def prove(self) -> float:
        return timed(self.tree.get_proof, self.asked)

    def check(self) -> float:
        return timed(lambda item: self.type.get_from_proof(self.base, *item), self.proofs)


class Sparse:
    """`trie.smt.SparseMerkleTree` with keys of 20 bytes."""

    def __init__(self, leaves: Leaves, fresh: list[bytes]) -> None:
        from trie.smt import SparseMerkleTree, calc_root

        self.calculated = calc_root
        self.tree = SparseMerkleTree(key_size=20)
        self.leaves = dict(leaves[:SPARSE_SIZE])
        for account, node in self.leaves.items():
            self.tree.set(account, node)
        self.fresh = fresh
        self.rng = random.Random(1)
        self.asked = self.rng.sample(sorted(self.leaves), 5)
        self.proofs = [(account, self.leaves[account], self.tree.branch(account)) for account in self.asked]

    def _set(self, accounts: list[bytes]) -> float:
        return timed(lambda account: self.tree.set(account, new_leaf(account)), accounts)

    def insert(self) -> float:
        return self._set(self.rng.sample(self.fresh, 5))

    def update(self) -> float:
        return self._set(self.asked)

    def prove(self) -> float:
        return timed(self.tree.branch, self.asked)

    def check(self) -> float:
        return timed(lambda item: self.calculated(*item), self.proofs)


class Appended:
    """`pymerkle.InmemoryTree`: a tree that is only appended to; without updates."""

    update = None

    def __init__(self, leaves: Leaves, fresh: list[bytes]) -> None:
        from pymerkle import InmemoryTree, verify_inclusion

        self.verified = verify_inclusion
        self.tree = InmemoryTree(algorithm="sha256")
        for _, node in leaves:
            self.tree.append_entry(node)
        self.fresh = fresh
        self.rng = random.Random(1)
        self.asked = [1 + self.rng.randrange(len(leaves)) for _ in range(5)]
        self.state = self.tree.get_root()
        size = self.tree.get_size()
        self.proofs = [(self.tree.get_leaf(at), self.state, self.tree.prove_inclusion(at, size)) for at in self.asked]

    def _append(self, account: bytes) -> None:
        self.tree.append_entry(new_leaf(account))
        self.tree.get_root()

    def insert(self) -> float:
        return timed(self._append, self.rng.sample(self.fresh, 5))

    def prove(self) -> float:
        return timed(self.tree.prove_inclusion, self.asked)

    def check(self) -> float:
        return timed(lambda item: self.verified(*item), self.proofs)


def others_with(bench: TreeBench) -> dict[str, Any]:
    """The other packages with the same leaves; those that cannot be imported are left out."""
    found = {}
    for name, make in (("trie hexary", Hexary), ("trie sparse", Sparse), ("pymerkle", Appended)):
        try:
            found[name] = make(bench.leaves, bench.fresh)
        except ImportError as error:
            print(f"{name} is left out: {error}")
    return found


def rows() -> list[Row]:
    """All of it; names begin with the number of accounts."""
    found = []
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="leither-bench-", dir=".") as folder:
            bench = TreeBench(size, folder)
            others = others_with(bench)
            found += [row._replace(name=f"{size}: {row.name}") for row in bench.changes(others) + bench.proofs(others)]
            memory, store = bench.bytes_per_account, bench.stored_bytes_per_account
            print(f"{size}: {memory:.0f} bytes an account in memory beside ids and leaves, {store:.0f} in the store")
            bench.environment.close()
    return found


if __name__ == "__main__":
    for row in rows():
        ratio = f"{row.ratio:5.1%}" if row.bare else "     "
        rivals = "  ".join(f"{name} {rate:,.0f}/s" for name, rate in row.others.items())
        print(f"{row.name:62} {row.ours:9,.0f}/s  bare {row.bare:9,.0f}/s  {ratio}  {rivals}")
