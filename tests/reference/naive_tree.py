"""The tree of docs/protocol.md, section 2, word for word: recursive and made anew for each question."""

from __future__ import annotations

import hashlib
import struct

Leaves = dict[bytes, bytes]


def id_bit(account: bytes, depth: int) -> int:
    return account[depth // 8] >> (7 - depth % 8) & 1


def branch(depth: int, left: bytes, right: bytes, modular: bool) -> bytes:
    left_pulse, left_sum = struct.unpack(">QQ", left[:16])
    right_pulse, right_sum = struct.unpack(">QQ", right[:16])
    total = left_sum + right_sum
    if modular:
        total %= 2**64
    elif total > 2**63 - 1:
        raise OverflowError("a sum beyond 2^63-1")
    digest = hashlib.blake2b(struct.pack(">B", depth) + left + right, digest_size=20, person=b"leither.branch\0\0")
    return struct.pack(">QQ", max(left_pulse, right_pulse), total) + digest.digest()


def split(leaves: Leaves, start: int) -> tuple[int, Leaves, Leaves]:
    """The first bit from `start` on in which the ids differ, and the leaves with that bit 0 and 1."""
    for depth in range(start, 160):
        if len({id_bit(account, depth) for account in leaves}) == 2:
            left = {account: leaf for account, leaf in leaves.items() if id_bit(account, depth) == 0}
            return depth, left, {account: leaf for account, leaf in leaves.items() if account not in left}
    raise ValueError("no two ids differ")


def root(leaves: Leaves, modular: bool = False, start: int = 0) -> bytes:
    """tree(ids): EMPTY for none, the leaf for one, else the branch at the first differing bit."""
    if not leaves:
        return bytes(36)
    if len(leaves) == 1:
        return next(iter(leaves.values()))
    depth, left, right = split(leaves, start)
    return branch(depth, root(left, modular, depth + 1), root(right, modular, depth + 1), modular)


def path(
    leaves: Leaves, account: bytes, modular: bool = False, start: int = 0
) -> tuple[bytes, list[tuple[int, bytes]]]:
    """Of a set that is not empty: the id to which the account's bits lead, and (depth, sibling) from it upward."""
    if len(leaves) == 1:
        return next(iter(leaves)), []
    depth, left, right = split(leaves, start)
    own, other = (right, left) if id_bit(account, depth) else (left, right)
    found, steps = path(own, account, modular, depth + 1)
    return found, [*steps, (depth, root(other, modular, depth + 1))]


def fold(account: bytes, node: bytes, steps: list[tuple[int, bytes]], modular: bool = False) -> bytes:
    """The root to which a path leads."""
    for depth, sibling in steps:
        left, right = (sibling, node) if id_bit(account, depth) else (node, sibling)
        node = branch(depth, left, right, modular)
    return node
