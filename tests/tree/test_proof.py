"""Proofs: what the vectors leave open, and every flipped bit."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

import pytest

from leither_lite import codec
from leither_lite.errors import RemoteError
from leither_lite.header import Checkpoint, Header, encode_roster, header_digest, roster_digest, sign_seal
from leither_lite.identity import Key
from leither_lite.limits import SUM_MAX
from leither_lite.tree import node
from leither_lite.tree.proof import (
    Absence,
    BranchStep,
    GroupStep,
    Handover,
    OtherLeaf,
    Proof,
    SealedRoot,
    Step,
    Trust,
    fold_path,
    verify,
)
from leither_lite.tree.proof_cbor import decode_proof, encode_proof
from leither_lite.tree.proof_json import decode_json
from tests.vectors.ledger import TRUST, VECTORS

ORGANIZATION: Final = Key.from_seed(b"\1" * 32)
CHARTERED: Final = (Key.from_seed(b"\2" * 32),)
ELECTED: Final = tuple(Key.from_seed(bytes([number]) * 32) for number in range(3, 6))
LATER: Final = tuple(Key.from_seed(bytes([number]) * 32) for number in range(6, 10))
OURS: Final = Trust(ORGANIZATION.public, tuple(key.public for key in CHARTERED))

ACCOUNT: Final = b"\x80" + bytes(19)
RECORD: Final = codec.encode([700, 50, 2, 1, 0])
LEAF: Final = node.leaf(ACCOUNT, 3, 750, node.record_digest(RECORD))
META: Final = b"\7" * 32
WHOLE: Final = GroupStep(1, 0, bytes(20), 9, META)


def roster(keys: tuple[Key, ...]) -> bytes:
    """R of these keys."""
    return encode_roster([key.public for key in keys])


def root_header(pulse: int, root: bytes, level: int = 1) -> bytes:
    """CBOR of a root header over a node."""
    zeros = bytes(32)
    made = Header(ORGANIZATION.account, level, 0, bytes(20), 0, pulse, 100, zeros, root, zeros, zeros)
    return made.encode()


def seal(header: bytes, keys: tuple[Key, ...]) -> tuple[tuple[bytes, bytes], ...]:
    """Signatures of a header by all of these keys."""
    return tuple((key.public, sign_seal(key, header)) for key in keys)


def handover(pulse: int, old: tuple[Key, ...], new: tuple[Key, ...]) -> Handover:
    """A sealed header by which the old roster hands over to the new one."""
    opened = node.meta(roster_digest(roster(new)), node.EMPTY, 5, 5, META)
    header = root_header(pulse, node.group(1, 0, bytes(20), pulse, LEAF, opened))
    return Handover(header, LEAF, node.EMPTY, 5, 5, META, roster(new), seal(header, old))


def proof_at(pulse: int, keys: tuple[Key, ...], *handovers: Handover, checkpoint: Checkpoint | None = None) -> Proof:
    """A proof of ACCOUNT, alone in its network, under a header at `pulse` that these keys seal."""
    step = replace(WHOLE, pulse=pulse)
    header = root_header(pulse, fold_path(LEAF, ACCOUNT, [step]))
    return Proof(ACCOUNT, RECORD, 3, (step,), SealedRoot(header, seal(header, keys), handovers, checkpoint))


def vector(index: int) -> Proof | Absence:
    """A good proof of the vectors; the last is an absence."""
    return decode_json(json.dumps([*VECTORS["proofs"], *VECTORS["absence"]][index]).encode())


def refused(proof: Proof | Absence, reason: str, trust: Trust = OURS) -> None:
    """Asserts that the proof is refused for that reason."""
    with pytest.raises(RemoteError, match=f"^{reason}(:|$)"):
        verify(proof, trust)


def test_age_of_trust() -> None:
    """From the charter, the last handover, the last handover after a checkpoint, the checkpoint, none at its header."""
    first, second = handover(10, CHARTERED, ELECTED), handover(20, ELECTED, LATER)
    checkpoint = Checkpoint.sign(ORGANIZATION, ORGANIZATION.account, 15, bytes(32), roster(ELECTED))
    assert verify(proof_at(0, CHARTERED), OURS).age == 0
    assert verify(proof_at(31, CHARTERED), OURS).age == 31
    assert verify(proof_at(31, ELECTED, first), OURS).age == 21
    assert verify(proof_at(31, LATER, first, second), OURS).age == 11
    assert verify(proof_at(31, LATER, second, checkpoint=checkpoint), OURS).age == 11
    assert verify(proof_at(31, ELECTED, checkpoint=checkpoint), OURS).age == 16
    bare = proof_at(31, ())
    own = Checkpoint.sign(ORGANIZATION, ORGANIZATION.account, 31, header_digest(bare.root.header), roster(ELECTED))
    assert verify(replace(bare, root=replace(bare.root, checkpoint=own)), OURS).age == 0


def test_checkpoint_ends_what_came_before() -> None:
    """A roster that had its turn before the checkpoint cannot come back by its old handover."""
    checkpoint = Checkpoint.sign(ORGANIZATION, ORGANIZATION.account, 15, bytes(32), roster(ELECTED))
    for pulse in (14, 15):
        refused(proof_at(31, LATER, handover(pulse, ELECTED, LATER), checkpoint=checkpoint), "handover_order")
    assert verify(proof_at(31, LATER, handover(16, ELECTED, LATER), checkpoint=checkpoint), OURS).age == 15


def test_checkpoint_of_this_header_stands_alone() -> None:
    """Neither signatures nor handovers beside it; another digest at its pulse is refused."""
    proof = proof_at(31, ELECTED)
    digest = header_digest(proof.root.header)
    own = Checkpoint.sign(ORGANIZATION, ORGANIZATION.account, 31, digest, roster(ELECTED))
    other = Checkpoint.sign(ORGANIZATION, ORGANIZATION.account, 31, bytes(32), roster(ELECTED))
    refused(replace(proof, root=replace(proof.root, checkpoint=own)), "checkpoint_extra")
    handovers = (handover(10, CHARTERED, ELECTED),)
    refused(replace(proof, root=SealedRoot(proof.root.header, (), handovers, own)), "checkpoint_extra")
    refused(replace(proof, root=replace(proof.root, checkpoint=other)), "root_old")
    stranger = replace(own, signature=Checkpoint.sign(LATER[0], ORGANIZATION.account, 31, digest, own.roster).signature)
    refused(replace(proof, root=SealedRoot(proof.root.header, (), (), stranger)), "checkpoint_signature")


def test_handovers_are_checked_one_by_one() -> None:
    """Each is sealed by the roster that the last one named, and opens to the next."""
    first, second = handover(10, CHARTERED, ELECTED), handover(20, ELECTED, LATER)
    refused(proof_at(31, LATER, second), "not_on_roster")
    refused(proof_at(31, ELECTED, first, second), "not_on_roster")
    refused(proof_at(31, LATER, first, replace(second, signatures=second.signatures[:1])), "no_quorum")
    refused(proof_at(20, LATER, first, second), "root_old")
    for wrong in (
        replace(first, inner=node.EMPTY),
        replace(first, outbox=LEAF),
        replace(first, sent_out=6),
        replace(first, settled_in=6),
        replace(first, state=bytes(32)),
        replace(first, roster=roster(LATER)),
    ):
        refused(proof_at(31, LATER, wrong, second), "handover_node")


def test_absence_in_an_empty_group() -> None:
    """EMPTY is shown by null; only right below a group, and only of an id in that group."""
    lower = GroupStep(1, 1, bytes(20), 8, META)
    beside = BranchStep(0, LEAF)
    upper = GroupStep(2, 0, bytes(20), 9, META)
    absent = b"\x40" + bytes(19)
    header = root_header(9, fold_path(node.EMPTY, absent, (lower, beside, upper)), level=2)
    root = SealedRoot(header, seal(header, CHARTERED))
    assert verify(Absence(absent, None, (lower, beside, upper), root), OURS).kind == "absent"
    refused(Absence(ACCOUNT, None, (lower, beside, upper), root), "path_prefix")
    refused(Absence(absent, None, (beside, lower, upper), root), "absence_branch")
    refused(Absence(absent, None, (), root), "path_no_group")


def test_absence_leaf_of_another_group() -> None:
    """The leaf in the place of the absent id stands in every group of the path."""
    lower = GroupStep(1, 1, b"\x80" + bytes(19), 8, META)
    upper = GroupStep(2, 0, bytes(20), 9, META)
    other = OtherLeaf(b"\x40" + bytes(19), 3, 750, bytes(32))
    start = node.leaf(other.account, 3, 750, other.digest)
    header = root_header(9, fold_path(start, ACCOUNT, (lower, upper)), level=2)
    root = SealedRoot(header, seal(header, CHARTERED))
    refused(Absence(ACCOUNT, other, (lower, upper), root), "absence_elsewhere")
    refused(Absence(ACCOUNT, replace(other, amount=SUM_MAX + 1), (lower, upper), root), "path_sum")


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([BranchStep(160, LEAF)], "path_depth"),
        ([BranchStep(255, LEAF)], "path_depth"),
        ([BranchStep(7, LEAF), BranchStep(7, LEAF)], "path_depth_order"),
        ([BranchStep(7, LEAF), BranchStep(8, LEAF)], "path_depth_order"),
        ([BranchStep(7, node.EMPTY)], "path_sibling_empty"),
        ([BranchStep(7, node.pack_node(0, SUM_MAX - 749, bytes(20)))], "path_sum"),
        ([replace(WHOLE, level=0)], "path_level"),
        ([replace(WHOLE, level=2)], "path_level"),
        ([WHOLE, WHOLE], "path_level"),
        ([replace(WHOLE, bits=1)], "path_prefix"),
        ([replace(WHOLE, prefix=ACCOUNT)], "path_prefix"),
        ([replace(WHOLE, bits=161)], "path_group_low"),
        ([BranchStep(3, LEAF), replace(WHOLE, bits=4, prefix=ACCOUNT)], "path_group_low"),
        ([BranchStep(8, LEAF), replace(WHOLE, bits=4, prefix=ACCOUNT), BranchStep(4, LEAF)], "path_group_high"),
        (
            [
                *[replace(WHOLE, bits=2, prefix=ACCOUNT), replace(WHOLE, level=2, bits=4, prefix=ACCOUNT)],
                BranchStep(2, LEAF),
            ],
            "path_group_high",
        ),
    ],
)
def test_path_refused(steps: list[Step], reason: str) -> None:
    """What no tree has."""
    with pytest.raises(RemoteError, match=f"^{reason}:"):
        fold_path(LEAF, ACCOUNT, steps)


def test_path_edges() -> None:
    """What is just within: the deepest branch, the largest sum, a group right at its branches' depths."""
    top = node.pack_node(0, SUM_MAX - 750, bytes(20))
    group = replace(WHOLE, bits=4, prefix=ACCOUNT)
    assert node.node_sum(fold_path(LEAF, ACCOUNT, [BranchStep(159, top)])) == SUM_MAX
    assert fold_path(LEAF, ACCOUNT, [BranchStep(4, LEAF), group, BranchStep(3, LEAF)])[:8] == (9).to_bytes(8, "big")
    assert fold_path(LEAF, ACCOUNT, []) == LEAF


def test_sums_of_records() -> None:
    """Balance and frozen together stay within 2^63-1."""
    proof = proof_at(9, CHARTERED)
    refused(replace(proof, record=codec.encode([SUM_MAX, 1, 0, 0, 0])), "record_sum")
    refused(replace(proof, record=codec.encode([SUM_MAX, 0, 0, 0, 0])), "path_not_header")


def test_every_flipped_bit_is_refused() -> None:
    """Of a binary proof with a handover: there is no bit that does not matter."""
    encoded = encode_proof(vector(0))
    whole = int.from_bytes(encoded, "big")
    assert verify(decode_proof(encoded), TRUST).kind == "present"
    taken = []
    for place in range(8 * len(encoded)):
        try:
            verify(decode_proof((whole ^ 1 << place).to_bytes(len(encoded), "big")), TRUST)
        except RemoteError:
            continue
        taken.append(place)
    assert taken == []


def test_a_flipped_bit_of_an_absence_shows_another_absence_or_nothing() -> None:
    """Ids that share the absent one's place are absent too; no other bit can change."""
    proof = vector(-1)
    encoded = encode_proof(proof)
    whole = int.from_bytes(encoded, "big")
    others = 0
    for place in range(8 * len(encoded)):
        try:
            changed = decode_proof((whole ^ 1 << place).to_bytes(len(encoded), "big"))
            verify(changed, TRUST)
        except RemoteError:
            continue
        assert changed.account != proof.account
        assert replace(changed, account=proof.account) == proof
        others += 1
    assert others == 158  # all of the id's bits but the two that the path's branches ask for


def test_the_last_group_is_the_header_s() -> None:
    """In prefix too, even where the root's roster sealed another."""
    step = replace(WHOLE, bits=1, prefix=ACCOUNT)
    header = root_header(9, fold_path(LEAF, ACCOUNT, [step]))
    refused(Proof(ACCOUNT, RECORD, 3, (step,), SealedRoot(header, seal(header, CHARTERED))), "path_prefix_not_header")
