"""Proofs of presence and of absence under a sealed root header, and their check (docs/protocol.md, section 2).

Decides whether a proof holds, from the proof and the verifier's own trust alone: no node, no network, no clock. The two
encodings are in `proof_json` (for people and other programs) and `proof_cbor` (what nodes send each other). Never makes
a proof: trees do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final, Literal, TypeAlias

from leither_lite import codec
from leither_lite.errors import RemoteError
from leither_lite.header import (
    Checkpoint,
    Header,
    Signatures,
    check_seal,
    decode_roster,
    header_digest,
    roster_digest,
)
from leither_lite.identity import account_id
from leither_lite.limits import ID_BITS, SUM_MAX, UINT_MAX
from leither_lite.tree.node import (
    BRANCH_HASHES,
    EMPTY,
    ZEROS,
    bit,
    group,
    is_prefix,
    leaf,
    meta,
    node_pulse,
    pack_node,
    record_digest,
)

_RECORD_FIELDS: Final = 5
RECORD_BYTES_MAX: Final = 1 + 9 * _RECORD_FIELDS
_LAST_DEPTH: Final = ID_BITS - 1
_unpack_head: Final = Struct(">QQ20x").unpack  # pulse and sum of a node, without a copy of its hash

Record: TypeAlias = tuple[int, int, int, int, int]
"""balance, frozen, sent, role, votes"""


@dataclass(frozen=True, slots=True)
class BranchStep:
    """A step up through a branch: its depth (0 to 159) and the node on its other side (36 bytes)."""

    depth: int
    sibling: bytes


@dataclass(frozen=True, slots=True)
class GroupStep:
    """A step up out of a node group: its level (1 to 255), prefix (20 bytes, zero beyond `bits`), and meta (32 bytes).

    `pulse` is that of the group's last seal.
    """

    level: int
    bits: int
    prefix: bytes
    pulse: int
    meta: bytes


Step: TypeAlias = BranchStep | GroupStep
Path: TypeAlias = tuple[Step, ...]
"""From the leaf upward; the last step is the root group's."""


@dataclass(frozen=True, slots=True)
class Handover:
    """A sealed root header (CBOR) whose node opens to the roster (CBOR) of the next.

    It opens with the nodes `inner` and `outbox` (36 bytes), the counters (u64) and the digest of the state (32 bytes).
    """

    header: bytes
    inner: bytes
    outbox: bytes
    sent_out: int
    settled_in: int
    state: bytes
    roster: bytes
    signatures: Signatures


@dataclass(frozen=True, slots=True)
class SealedRoot:
    """A root header with what leads to it from the verifier's trust: the same for every proof under that header."""

    header: bytes
    signatures: Signatures
    handovers: tuple[Handover, ...] = ()
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """That `account` (20 bytes) has `record` (CBOR), last touched at `pulse`, under `root`."""

    account: bytes
    record: bytes
    pulse: int
    path: Path
    root: SealedRoot


@dataclass(frozen=True, slots=True)
class OtherLeaf:
    """The leaf that stands where an absent account would: its id, pulse, sum, and the digest of its record."""

    account: bytes
    pulse: int
    amount: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Absence:
    """That there is no `account` (20 bytes) under `root`: another leaf is in its place, or (None) the group is empty.

    Only members of that group may have it: its siblings show sums.
    """

    account: bytes
    leaf: OtherLeaf | None
    path: Path
    root: SealedRoot


@dataclass(frozen=True, slots=True)
class Trust:
    """What a verifier starts from: the organization's public key, and the public keys of its charter's roster."""

    organization_key: bytes
    roster: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """What a proof shows; an absent account has neither record nor leaf pulse.

    `pulse` is the sealed header's, `leaf_pulse` the one that last touched the account. `age` counts the pulses between
    the header and the last handover or checkpoint before it; the charter's roster counts from pulse 0.
    """

    kind: Literal["present", "absent"]
    account: bytes
    record: Record | None
    pulse: int
    leaf_pulse: int | None
    age: int


def verify(proof: Proof | Absence, trust: Trust) -> Verified:
    """What `proof` shows to whoever has `trust`.

    Raises RemoteError with the reason of the first check that fails: those of the header, the path and the rosters
    come first, signatures last, so that a forger cannot make a verifier compute more than it sends.
    """
    header = _root_header(proof.root.header, account_id(trust.organization_key))
    record: Record | None = None
    if isinstance(proof, Proof):
        record = decode_record(proof.record)
        start = leaf(proof.account, proof.pulse, record[0] + record[1], record_digest(proof.record))
    else:
        start = _absence_start(proof)
    last = proof.path[-1] if proof.path else None
    if not isinstance(last, GroupStep):
        raise RemoteError("path_no_group", "the last step is not a group's")
    if last.level != header.level:
        raise RemoteError("path_level_not_header", f"{last.level}, not {header.level}")
    if last.bits != header.bits or last.prefix != header.prefix:
        raise RemoteError("path_prefix_not_header", "the last group is not the header's")
    if last.pulse != header.pulse:
        raise RemoteError("path_pulse_not_header", f"{last.pulse}, not {header.pulse}")
    if fold_path(start, proof.account, proof.path) != header.node:
        raise RemoteError("path_not_header", "the path leads to another node than the header's")
    age = verify_root(proof.root, trust)
    if record is None:
        return Verified("absent", proof.account, None, header.pulse, None, age)
    return Verified("present", proof.account, record, header.pulse, node_pulse(start), age)


def fold_path(node: bytes, account: bytes, steps: Sequence[Step]) -> bytes:
    """The node reached from a leaf, or from EMPTY, of `account` (20 bytes) by the steps up from it.

    Raises RemoteError: path_depth (160 or more), path_depth_order (not falling), path_sibling_empty, path_sum (beyond
    2^63-1), path_level (not 1, 2, ...), path_prefix (not the account's, or not zero beyond its bits), path_group_low (a
    group below a branch that it should hold), path_group_high (a branch above a group but within its prefix).
    """
    number = int.from_bytes(account, "big")
    pulse, total = _unpack_head(node)
    depth = ceiling = ID_BITS  # the last branch's depth; what the next one must be below
    level = 0
    for step in steps:
        if type(step) is BranchStep:
            sibling = step.sibling
            if step.depth >= ceiling or sibling == EMPTY:
                raise _branch_refusal(step, depth)
            depth = ceiling = step.depth
            other_pulse, other_sum = _unpack_head(sibling)
            total += other_sum
            if total > SUM_MAX:
                raise RemoteError("path_sum", "a sum beyond 2^63-1")
            if other_pulse > pulse:
                pulse = other_pulse
            hasher = BRANCH_HASHES[depth].copy()
            hasher.update(sibling + node if number >> (_LAST_DEPTH - depth) & 1 else node + sibling)
            node = pack_node(pulse, total, hasher.digest())
        elif isinstance(step, GroupStep):
            level += 1
            if step.level != level:
                raise RemoteError("path_level", f"{step.level} where {level} is due")
            if step.bits > depth:
                raise RemoteError("path_group_low", f"{step.bits} bits over a branch at {depth}")
            shift = ID_BITS - step.bits
            if int.from_bytes(step.prefix, "big") != number >> shift << shift:
                raise RemoteError("path_prefix", "not the account's")
            ceiling = min(ceiling, step.bits)
            pulse = step.pulse
            node = group(level, step.bits, step.prefix, pulse, node, step.meta)
    return node


def _branch_refusal(step: BranchStep, depth: int) -> RemoteError:
    if step.depth >= ID_BITS:
        return RemoteError("path_depth", f"a branch at depth {step.depth}")
    if step.sibling == EMPTY:
        return RemoteError("path_sibling_empty", f"at depth {step.depth}")
    if step.depth >= depth:
        return RemoteError("path_depth_order", f"depth {step.depth} above depth {depth}")
    return RemoteError("path_group_high", f"depth {step.depth} above a group of more bits")


def decode_record(record: bytes) -> Record:
    """The five fields of an account's record.

    Raises RemoteError: a reason of `codec.scan`, record_fields (not five unsigned integers), record_sum (balance and
    frozen beyond 2^63-1).
    """
    balance, frozen, sent, role, votes = (
        codec.uint(field, UINT_MAX, "record_fields")
        for field in codec.fields(codec.decode(record), _RECORD_FIELDS, "record_fields")
    )
    if balance + frozen > SUM_MAX:
        raise RemoteError("record_sum", "a sum beyond 2^63-1")
    return balance, frozen, sent, role, votes


def _absence_start(absence: Absence) -> bytes:
    """The node from which an absence's path starts, if that path would lead a search for the absent id to it."""
    other = absence.leaf
    if other is None:
        if absence.path and isinstance(absence.path[0], BranchStep):
            raise RemoteError("absence_branch", "a branch holds no empty place")
        return EMPTY
    if other.account == absence.account:
        raise RemoteError("absence_same_account", "the leaf is the account's own")
    if other.amount > SUM_MAX:
        raise RemoteError("path_sum", "a sum beyond 2^63-1")
    for step in absence.path:
        if isinstance(step, GroupStep):
            if not is_prefix(other.account, step.prefix, step.bits):
                raise RemoteError("absence_elsewhere", "the leaf is not of the group")
        elif step.depth < ID_BITS and bit(other.account, step.depth) != bit(absence.account, step.depth):
            raise RemoteError("absence_elsewhere", f"the leaf is on the other side at depth {step.depth}")
    return leaf(other.account, other.pulse, other.amount, other.digest)


def verify_root(root: SealedRoot, trust: Trust) -> int:
    """Check that `root` follows from `trust`, and tell the age of that trust in pulses.

    Raises RemoteError: a reason of `Header.decode`, `decode_roster`, `Checkpoint.verify` or `check_seal`; of root
    headers: root_bits, root_network, root_anchor, root_pulse (node and header differ); handover_node (does not open to
    the next roster), handover_order (pulses do not rise), root_old (not above what the trust starts from),
    checkpoint_extra (handovers or signatures beside a checkpoint of this very header).
    """
    network = account_id(trust.organization_key)
    header = _root_header(root.header, network)
    checkpoint = root.checkpoint
    roster = trust.roster
    start: int | None = None  # the pulse of what vouches for `roster`; the charter's own is bound to none
    at_checkpoint = False
    if checkpoint is not None:
        roster = decode_roster(checkpoint.roster)
        start = checkpoint.pulse
        at_checkpoint = start == header.pulse and checkpoint.digest == header_digest(root.header)
        if at_checkpoint and (root.handovers or root.signatures):
            raise RemoteError("checkpoint_extra", "the checkpoint's own header needs nothing else")
    seals: list[tuple[bytes, Signatures, tuple[bytes, ...]]] = []
    for handover in root.handovers:
        changed = _root_header(handover.header, network)
        if start is not None and changed.pulse <= start:
            raise RemoteError("handover_order", f"pulse {changed.pulse} after {start}")
        if _handover_node(changed, handover) != changed.node:
            raise RemoteError("handover_node", f"pulse {changed.pulse} does not open to the next roster")
        seals.append((handover.header, handover.signatures, roster))
        roster = decode_roster(handover.roster)
        start = changed.pulse
    if not at_checkpoint:
        if start is not None and header.pulse <= start:
            raise RemoteError("root_old", f"pulse {header.pulse} is not above {start}")
        seals.append((root.header, root.signatures, roster))
    if checkpoint is not None:
        checkpoint.verify(network, trust.organization_key)
    for sealed, signatures, keys in seals:
        check_seal(sealed, signatures, keys)
    return header.pulse - (start or 0)


def _root_header(data: bytes, network: bytes) -> Header:
    header = Header.decode(data)
    if header.network != network:
        raise RemoteError("root_network", "of another network")
    if header.bits:
        raise RemoteError("root_bits", f"a header of {header.bits} bits is not the root's")
    if header.anchor != ZEROS:
        raise RemoteError("root_anchor", "a root header has no anchor")
    if node_pulse(header.node) != header.pulse:
        raise RemoteError("root_pulse", "header and node differ in pulse")
    return header


def _handover_node(header: Header, handover: Handover) -> bytes:
    opened = meta(
        roster_digest(handover.roster), handover.outbox, handover.sent_out, handover.settled_in, handover.state
    )
    return group(header.level, header.bits, header.prefix, header.pulse, handover.inner, opened)
