"""A level-1 group shown under a root header: what its node opens to, and the way up (docs/protocol.md, section 5.6).

Decides whether a group's parts, and items of its sets, lead to a root header. Whether that header is one of the root
chain is for its caller to say. Never makes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import RemoteError
from leither_lite.header import HEADER_BYTES_MAX, Header, Signatures, header_digest, signatures_value, take_signatures
from leither_lite.limits import DIGEST_BYTES, ID_BITS, ID_BYTES, NODE_BYTES, UINT_MAX
from leither_lite.tree.branches import SUM_CYCLE
from leither_lite.tree.node import BRANCH_HASHES, EMPTY, is_prefix, meta, pack_node, unpack_node, zero_padded
from leither_lite.tree.proof import GroupStep, Path, fold_path
from leither_lite.tree.proof_cbor import path_value, take_path


@dataclass(frozen=True, slots=True)
class Shown:
    """A level-1 group's opening under a sealed root header (CBOR, with its signatures).

    `prefix` is 20 bytes, zero beyond `bits`; `pulse` that of the group's last seal; `roster` and `state` are the
    digests of R and S; `above` the steps from the group's node upward.
    """

    root: bytes
    signatures: Signatures
    bits: int
    prefix: bytes
    pulse: int
    inner: bytes
    roster: bytes
    outbox: bytes
    sent_out: int
    settled_in: int
    state: bytes
    above: Path

    @property
    def root_digest(self) -> bytes:
        """The digest of the root header."""
        return header_digest(self.root)

    def check(self, network: bytes) -> Header:
        """The root header that the group leads to; whether it is sealed is not looked at.

        Raises RemoteError: shown_root (no root header of this network), shown_mismatch, or a reason of `fold_path`.
        """
        header = Header.decode(self.root)
        if header.network != network or header.bits:
            raise RemoteError("shown_root", "no root header of this network")
        opened = meta(self.roster, self.outbox, self.sent_out, self.settled_in, self.state)
        first = GroupStep(1, self.bits, self.prefix, self.pulse, opened)
        if fold_path(self.inner, self.prefix, (first, *self.above)) != header.node:
            raise RemoteError("shown_mismatch", "the group does not lead to the root header")
        last = self.above[-1] if self.above else first
        if not isinstance(last, GroupStep) or (last.level, last.bits) != (header.level, 0):
            raise RemoteError("shown_mismatch", "the last step is not the root group's")
        return header

    def holds(self, account: bytes) -> bool:
        """True if an id (20 bytes) is of this group."""
        return is_prefix(account, self.prefix, self.bits)

    def value(self) -> Value:
        """[root header, signatures, bits, prefix, pulse, inner, digest of R, outbox, out, in, digest of S, steps]"""
        return [
            self.root,
            signatures_value(self.signatures),
            self.bits,
            self.prefix,
            self.pulse,
            self.inner,
            self.roster,
            self.outbox,
            self.sent_out,
            self.settled_in,
            self.state,
            path_value(self.above),
        ]

    @classmethod
    def take(cls, value: Value, reason: str) -> Shown:
        """The inverse of `value`, unchecked. Raises RemoteError(reason)."""
        root, signatures, bits, prefix, pulse, inner, roster, outbox, sent_out, settled_in, state, above = codec.fields(
            value, 12, reason
        )
        shown = cls(
            codec.octets_upto(root, HEADER_BYTES_MAX, reason),
            take_signatures(signatures, reason),
            codec.uint(bits, ID_BITS, reason),
            codec.octets(prefix, ID_BYTES, reason),
            codec.uint(pulse, UINT_MAX, reason),
            codec.octets(inner, NODE_BYTES, reason),
            codec.octets(roster, DIGEST_BYTES, reason),
            codec.octets(outbox, NODE_BYTES, reason),
            codec.uint(sent_out, UINT_MAX, reason),
            codec.uint(settled_in, UINT_MAX, reason),
            codec.octets(state, DIGEST_BYTES, reason),
            take_path(above),
        )
        if not zero_padded(shown.prefix, shown.bits):
            raise RemoteError(reason, "a prefix is not zero beyond its bits")
        return shown


def fold_set(leaf: bytes, item: bytes, steps: Sequence[tuple[int, bytes]]) -> bytes:
    """The root of a set reached from the leaf of `item` (20 bytes): steps are depth and sibling (36 bytes), upward.

    Sums are mod 2^64. Raises RemoteError("set_path") for depths that do not fall, and siblings that are empty.
    """
    number, before, node = int.from_bytes(item, "big"), ID_BITS, leaf
    for depth, sibling in steps:
        if depth >= before or sibling == EMPTY:
            raise RemoteError("set_path", f"depth {depth} after {before}")
        before = depth
        pulse, total, _ = unpack_node(node)
        other_pulse, other_total, _ = unpack_node(sibling)
        hasher = BRANCH_HASHES[depth].copy()
        is_right = number >> (ID_BITS - 1 - depth) & 1
        hasher.update(sibling + node if is_right else node + sibling)
        node = pack_node(max(pulse, other_pulse), (total + other_total) % SUM_CYCLE, hasher.digest())
    return node


def take_steps(value: Value, reason: str) -> tuple[tuple[int, bytes], ...]:
    """The steps of a set's path in a CBOR value: [[depth, sibling], ...]. Raises RemoteError(reason)."""
    steps = []
    for each in codec.items(value, ID_BITS, reason):
        depth, sibling = codec.fields(each, 2, reason)
        steps.append((codec.uint(depth, ID_BITS - 1, reason), codec.octets(sibling, NODE_BYTES, reason)))
    return tuple(steps)


def steps_value(steps: Sequence[tuple[int, bytes]]) -> Value:
    """The inverse of `take_steps`."""
    return [[depth, sibling] for depth, sibling in steps]
