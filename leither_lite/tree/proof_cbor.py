"""The binary form of proofs: deterministic CBOR arrays that nodes send and keep (docs/protocol.md, section 2).

    presence    [0, id[20], record (CBOR), pulse, path, root]
    absence     [1, id[20], leaf, path, root]
    leaf        [id[20], pulse, sum, digest of the record[32]], or [] for an empty group
    path        [step, ...] from the leaf upward, at most 320
    step        [depth, sibling[36]] of a branch, [level, bits, prefix[20], pulse, meta[32]] of a group
    root        [header (CBOR), signatures, [handover, ...] (at most 4,096, oldest first), checkpoint]
    signatures  [[public key[32], signature[64]], ...], at most 7
    handover    [header (CBOR), inner[36], outbox[36], out, in, digest of S[32], R (CBOR), signatures]
    checkpoint  [pulse, digest[32], R (CBOR), signature[64]], or [] for none

CBOR inside CBOR is a byte string. A value has one encoding. Decoding checks form only: `proof.verify` does the rest.
"""

from __future__ import annotations

from typing import Final

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import RemoteError
from leither_lite.header import (
    HEADER_BYTES_MAX,
    LEVEL_MAX,
    ROSTER_BYTES_MAX,
    Checkpoint,
    signatures_value,
    take_signatures,
)
from leither_lite.limits import (
    DIGEST_BYTES,
    HANDOVERS_MAX,
    ID_BITS,
    ID_BYTES,
    NODE_BYTES,
    PATH_STEPS_MAX,
    PROOF_BYTES_MAX,
    UINT_MAX,
)
from leither_lite.tree.proof import (
    RECORD_BYTES_MAX,
    Absence,
    BranchStep,
    GroupStep,
    Handover,
    OtherLeaf,
    Path,
    Proof,
    SealedRoot,
    Step,
)

_PRESENT: Final = 0
_ABSENT: Final = 1
_REASON: Final = "proof_fields"
_BRANCH_FIELDS: Final = 2
_GROUP_FIELDS: Final = 5


def encode_proof(proof: Proof | Absence) -> bytes:
    """The binary form of a proof."""
    path = path_value(proof.path)
    root = root_value(proof.root)
    if isinstance(proof, Proof):
        return codec.encode([_PRESENT, proof.account, proof.record, proof.pulse, path, root])
    other = proof.leaf
    leaf: Value = [] if other is None else [other.account, other.pulse, other.amount, other.digest]
    return codec.encode([_ABSENT, proof.account, leaf, path, root])


def decode_proof(data: bytes) -> Proof | Absence:
    """The proof that `data` encodes, its form alone checked.

    Raises RemoteError: proof_size, proof_fields, a reason of `codec.scan` or of `Checkpoint.take`.
    """
    if len(data) > PROOF_BYTES_MAX:
        raise RemoteError("proof_size", f"{len(data)} bytes")
    value = codec.decode(data)
    if type(value) is not list or not value:
        raise RemoteError(_REASON, "an array is expected")
    if codec.uint(value[0], _ABSENT, _REASON) == _PRESENT:
        _, account, record, pulse, path, root = codec.fields(value, 6, _REASON)
        return Proof(
            codec.octets(account, ID_BYTES, _REASON),
            codec.octets_upto(record, RECORD_BYTES_MAX, _REASON),
            codec.uint(pulse, UINT_MAX, _REASON),
            take_path(path),
            take_root(root),
        )
    _, account, other, path, root = codec.fields(value, 5, _REASON)
    return Absence(codec.octets(account, ID_BYTES, _REASON), _take_leaf(other), take_path(path), take_root(root))


def root_value(root: SealedRoot) -> Value:
    """A sealed root as a CBOR value."""
    return [
        root.header,
        signatures_value(root.signatures),
        [handover_value(handover) for handover in root.handovers],
        [] if root.checkpoint is None else root.checkpoint.value(),
    ]


def take_root(value: Value) -> SealedRoot:
    """The sealed root in a CBOR value, unchecked. Raises RemoteError: proof_fields, a reason of `Checkpoint.take`."""
    header, signatures, handovers, checkpoint = codec.fields(value, 4, _REASON)
    return SealedRoot(
        codec.octets_upto(header, HEADER_BYTES_MAX, _REASON),
        take_signatures(signatures, _REASON),
        tuple(take_handover(handover) for handover in codec.items(handovers, HANDOVERS_MAX, _REASON)),
        None if checkpoint == [] else Checkpoint.take(checkpoint),
    )


def path_value(path: Path) -> Value:
    """The steps of a path as a CBOR value."""
    return [_step_value(step) for step in path]


def _step_value(step: Step) -> Value:
    if isinstance(step, BranchStep):
        return [step.depth, step.sibling]
    return [step.level, step.bits, step.prefix, step.pulse, step.meta]


def take_path(value: Value) -> Path:
    """The path in a CBOR value, unchecked. Raises RemoteError("proof_fields")."""
    return tuple(_take_step(step) for step in codec.items(value, PATH_STEPS_MAX, _REASON))


def _take_step(value: Value) -> Step:
    if type(value) is list and len(value) == _BRANCH_FIELDS:
        depth, sibling = value
        return BranchStep(codec.uint(depth, LEVEL_MAX, _REASON), codec.octets(sibling, NODE_BYTES, _REASON))
    level, bits, prefix, pulse, meta = codec.fields(value, _GROUP_FIELDS, _REASON)
    return GroupStep(
        codec.uint(level, LEVEL_MAX, _REASON),
        codec.uint(bits, ID_BITS, _REASON),
        codec.octets(prefix, ID_BYTES, _REASON),
        codec.uint(pulse, UINT_MAX, _REASON),
        codec.octets(meta, DIGEST_BYTES, _REASON),
    )


def _take_leaf(value: Value) -> OtherLeaf | None:
    if value == []:
        return None
    account, pulse, amount, digest = codec.fields(value, 4, _REASON)
    return OtherLeaf(
        codec.octets(account, ID_BYTES, _REASON),
        codec.uint(pulse, UINT_MAX, _REASON),
        codec.uint(amount, UINT_MAX, _REASON),
        codec.octets(digest, DIGEST_BYTES, _REASON),
    )


def handover_value(handover: Handover) -> Value:
    """A handover as a CBOR value."""
    return [
        handover.header,
        handover.inner,
        handover.outbox,
        handover.sent_out,
        handover.settled_in,
        handover.state,
        handover.roster,
        signatures_value(handover.signatures),
    ]


def take_handover(value: Value) -> Handover:
    """The handover in a CBOR value, unchecked. Raises RemoteError("proof_fields")."""
    header, inner, outbox, sent_out, settled_in, state, roster, signatures = codec.fields(value, 8, _REASON)
    return Handover(
        codec.octets_upto(header, HEADER_BYTES_MAX, _REASON),
        codec.octets(inner, NODE_BYTES, _REASON),
        codec.octets(outbox, NODE_BYTES, _REASON),
        codec.uint(sent_out, UINT_MAX, _REASON),
        codec.uint(settled_in, UINT_MAX, _REASON),
        codec.octets(state, DIGEST_BYTES, _REASON),
        codec.octets_upto(roster, ROSTER_BYTES_MAX, _REASON),
        take_signatures(signatures, _REASON),
    )
