"""The tree over ids that are known and in order, as a flat list of its nodes (docs/protocol.md, section 2).

Decides only where a node lies: those of a tree of n leaves are 2n - 1, a branch directly after all that is under it,
left before right. So no pointers are needed: the ids alone tell how many leaves are on each side. For trees that are
made once, kept as bytes and read by their paths; one that changes is `tree.SumTree`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from leither_lite.limits import ID_BITS, NODE_BYTES
from leither_lite.tree.node import branch
from leither_lite.tree.proof import BranchStep

_NO_BIT = -1


def flat_bytes(count: int) -> int:
    """How many bytes the nodes over `count` leaves have; `count` is not 0."""
    return (2 * count - 1) * NODE_BYTES


def flat_nodes(ids: Sequence[int], leaves: Sequence[bytes]) -> bytes:
    """The nodes over leaves of 36 bytes, each after those under it; the last is the root. b"" for none.

    `ids`: of each leaf its 20-byte id as an integer, rising. Raises RemoteError("sum_too_large") beyond 2^63-1.
    """
    found: list[bytes] = []
    left: list[bytes] = []  # nodes that wait for what is to the right of them
    depths: list[int] = []  # and the depth of the branch over each but the last
    last = len(ids) - 1
    for at, node in enumerate(leaves):
        found.append(node)
        due = ID_BITS - (ids[at] ^ ids[at + 1]).bit_length() if at < last else _NO_BIT
        while depths and depths[-1] > due:
            node = branch(depths.pop(), left.pop(), node)
            found.append(node)
        left.append(node)
        depths.append(due)
    return b"".join(found)


def flat_path(ids: Sequence[int], nodes: bytes, number: int) -> tuple[int, list[BranchStep]]:
    """The place among `ids` of the leaf to which the bits of an id lead, and the steps up from it to the root.

    `nodes`: of `flat_nodes` over these ids, of which there is at least one. `number`: the id as an integer; if it is
    absent, the leaf agrees with it in the bit of every branch on the way.
    """
    low, high, first = 0, len(ids), 0
    steps: list[BranchStep] = []
    while high - low > 1:
        width = (ids[low] ^ ids[high - 1]).bit_length()  # of the ids' ends in which they differ
        middle = bisect_left(ids, ids[high - 1] >> (width - 1) << (width - 1), low, high)
        after_left = first + 2 * (middle - low) - 1
        if number >> (width - 1) & 1:
            beside = after_left - 1
            low, first = middle, after_left
        else:
            beside = first + 2 * (high - low) - 3
            high = middle
        steps.append(BranchStep(ID_BITS - width, nodes[beside * NODE_BYTES : (beside + 1) * NODE_BYTES]))
    steps.reverse()
    return low, steps
