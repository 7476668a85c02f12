"""The flat tree against the naive one: every node's place, every path, for ids of any closeness."""

from __future__ import annotations

import random

import pytest

from leither_lite.errors import RemoteError
from leither_lite.limits import ID_BITS, ID_BYTES, NODE_BYTES, SUM_MAX
from leither_lite.tree.flat import flat_bytes, flat_nodes, flat_path
from leither_lite.tree.node import pack_node
from tests.reference import naive_tree

SIZES = (1, 2, 3, 7, 40, 256)


def drawn(seed: int, size: int, spread_bits: int) -> list[int]:
    """Ids that differ in their last bits only, or in bits anywhere."""
    draw = random.Random(seed)
    shift = draw.randrange(ID_BITS - spread_bits + 1)
    stem = draw.getrandbits(ID_BITS) >> (shift + spread_bits) << (shift + spread_bits)
    return sorted(stem | number << shift for number in draw.sample(range(1 << min(spread_bits, 62)), size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spread_bits", [8, 20, 160])
def test_like_the_naive_tree(size: int, spread_bits: int) -> None:
    """The root comes last; the path of each id, and of those that are absent, is the naive one's."""
    ids = drawn(size, size, spread_bits)
    draw = random.Random(size)
    leaves = [pack_node(draw.randrange(9), draw.randrange(2**40), draw.randbytes(20)) for _ in ids]
    nodes = flat_nodes(ids, leaves)
    assert len(nodes) == flat_bytes(size)
    tree = {number.to_bytes(ID_BYTES, "big"): leaf for number, leaf in zip(ids, leaves, strict=True)}
    assert nodes[-NODE_BYTES:] == naive_tree.root(tree)
    absent = [draw.getrandbits(ID_BITS), ids[0] ^ 1 << draw.randrange(ID_BITS)]
    for number in [*draw.sample(ids, min(size, 8)), *absent]:
        at, steps = flat_path(ids, nodes, number)
        account, path = naive_tree.path(tree, number.to_bytes(ID_BYTES, "big"))
        assert ids[at].to_bytes(ID_BYTES, "big") == account
        assert [(step.depth, step.sibling) for step in steps] == path


def test_none() -> None:
    """No leaves, no nodes."""
    assert flat_nodes([], []) == b""


def test_sums() -> None:
    """A sum beyond the bound is refused, the bound itself is not."""
    leaf, rest = pack_node(0, 1, bytes(20)), pack_node(0, SUM_MAX - 1, bytes(20))
    assert flat_nodes([1, 2], [leaf, rest])[-NODE_BYTES:][8:16] == SUM_MAX.to_bytes(8, "big")
    with pytest.raises(RemoteError, match="sum_too_large"):
        flat_nodes([1, 2, 3], [leaf, rest, leaf])
