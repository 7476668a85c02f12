"""Nodes of the ledger tree and their hashes, exact to docs/protocol.md, section 2.

A node is 36 bytes: u64 pulse || u64 sum || hash[20]. Decides only how hashes are formed; never holds a tree.
"""

from __future__ import annotations

import hashlib
from struct import Struct
from typing import Final

from leither_lite.errors import RemoteError
from leither_lite.identity import h32, person
from leither_lite.limits import DIGEST_BYTES, ID_BITS, ID_BYTES, NODE_BYTES, SUM_MAX

EMPTY: Final = bytes(NODE_BYTES)
ZEROS: Final = bytes(DIGEST_BYTES)

NODE: Final = Struct(">QQ20s")
_PAIR: Final = Struct(">QQ")
_U64: Final = Struct(">Q")
pack_node: Final = NODE.pack
unpack_node: Final = NODE.unpack

# Prepared objects: copying one costs half of constructing it.
LEAF_HASH: Final = hashlib.blake2b(digest_size=20, person=person("leaf"))
RECORD_HASH: Final = hashlib.blake2b(digest_size=32, person=person("account"))
BRANCH_HASHES: Final = tuple(
    hashlib.blake2b(bytes([depth]), digest_size=20, person=person("branch")) for depth in range(ID_BITS)
)


def record_digest(record: bytes) -> bytes:
    """H32("leither.account", record CBOR)."""
    hasher = RECORD_HASH.copy()
    hasher.update(record)
    return hasher.digest()


def leaf(account: bytes, pulse: int, amount: int, digest: bytes) -> bytes:
    """The leaf of an account: `pulse` that last touched it, `amount` = balance + frozen, `digest` of its record."""
    head = _PAIR.pack(pulse, amount)
    hasher = LEAF_HASH.copy()
    hasher.update(account + head + digest)
    return head + hasher.digest()


def branch(depth: int, left: bytes, right: bytes) -> bytes:
    """branch(d, L, R). Raises RemoteError("sum_too_large") beyond 2^63-1."""
    left_pulse, left_sum, _ = unpack_node(left)
    right_pulse, right_sum, _ = unpack_node(right)
    total = left_sum + right_sum
    if total > SUM_MAX:
        raise RemoteError("sum_too_large", "a sum beyond 2^63-1")
    hasher = BRANCH_HASHES[depth].copy()
    hasher.update(left + right)
    return pack_node(left_pulse if left_pulse > right_pulse else right_pulse, total, hasher.digest())


def meta(roster_digest: bytes, outbox: bytes, sent_out: int, settled_in: int, state_digest: bytes) -> bytes:
    """The group's meta digest of its roster, outbox, counters (mod 2^64) and state: 32 bytes."""
    return h32("meta", roster_digest + outbox + _PAIR.pack(sent_out, settled_in) + state_digest)


def group(level: int, bits: int, prefix: bytes, pulse: int, inner: bytes, meta_digest: bytes) -> bytes:
    """A node group as its parent sees it: 36 bytes. `prefix` is 20 bytes, zero beyond `bits`."""
    hasher = hashlib.blake2b(
        bytes([level, bits]) + prefix + inner + meta_digest, digest_size=20, person=person("group")
    )
    return _U64.pack(pulse) + inner[8:16] + hasher.digest()


def node_pulse(node: bytes) -> int:
    """The pulse of a node."""
    return int.from_bytes(node[:8], "big")


def node_sum(node: bytes) -> int:
    """The sum of a node."""
    return int.from_bytes(node[8:16], "big")


def bit(account: bytes, depth: int) -> int:
    """Bit `depth` (0 = most significant) of a 20-byte id."""
    return account[depth >> 3] >> (7 - (depth & 7)) & 1


def shared_bits(one: bytes, other: bytes) -> int:
    """In how many leading bits two ids agree: 0 to 160."""
    return ID_BITS - (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_length()


def is_prefix(account: bytes, prefix: bytes, bits: int) -> bool:
    """True if the first `bits` bits of a 20-byte id are those of `prefix` (20 bytes)."""
    return shared_bits(account, prefix) >= bits


def zero_padded(prefix: bytes, bits: int) -> bool:
    """True if a 20-byte prefix is zero beyond its `bits`."""
    return len(prefix) == ID_BYTES and int.from_bytes(prefix, "big") & ((1 << (ID_BITS - bits)) - 1) == 0
