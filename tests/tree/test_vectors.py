"""The vectors of docs/protocol.md, section 2: hashes, headers, and every good and wrong proof."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

import pytest

from leither_lite import codec
from leither_lite.errors import RemoteError
from leither_lite.header import (
    Header,
    body_digest,
    check_seal,
    decode_roster,
    encode_roster,
    header_digest,
    roster_digest,
    segment_digest,
)
from leither_lite.identity import account_id, h20
from leither_lite.tree import node
from leither_lite.tree.proof import Absence, decode_record, fold_path, verify
from leither_lite.tree.proof_cbor import decode_proof, encode_proof
from leither_lite.tree.proof_json import decode_json, encode_json, proof_object
from tests.vectors.ledger import NETWORK, TRUST, VECTORS, branches, signatures, unhex

PARTS: Final = VECTORS["parts"]

# pulse of the header, pulse of the leaf, age of the trust.
SHOWN: Final = [(10, 9, 6), (31, 13, 27), (31, 13, 11), (10, 9, 0)]

WRONG_PROOFS: Final = {
    "another account's record": "path_not_header",
    "another id": "path_not_header",
    "another pulse": "path_not_header",
    "a sibling changed": "path_not_header",
    "a sibling's sum changed": "path_not_header",
    "a branch at another depth": "path_not_header",
    "no group step": "path_no_group",
    "another meta": "path_not_header",
    "another pulse of the group": "path_pulse_not_header",
    "two of four signatures": "no_quorum",
    "a quorum, and one of it again": "doubled_signer",
    "one signature three times": "doubled_signer",
    "a signer not on the roster": "not_on_roster",
    "signed without the seal's domain": "bad_signature",
    "no handover: sealed by whom the charter does not name": "not_on_roster",
    "a handover to another roster": "handover_node",
    "a handover sealed by its own roster": "not_on_roster",
    "the same handover twice": "handover_order",
    "a header with a byte more": "cbor_trailing",
    "a header that is not the path's": "path_level_not_header",
    "a group of another prefix": "path_prefix",
    "levels swapped": "path_level",
    "a child's header passed off as the root's": "path_level_not_header",
    "a checkpoint that the organization did not sign": "checkpoint_signature",
    "a checkpoint younger than the header": "root_old",
    "sealed all through: a header of a group that is not the root": "root_bits",
    "sealed all through: another version": "header_version",
    "sealed all through: another network": "root_network",
    "sealed all through: a root header with an anchor": "root_anchor",
    "sealed all through: header and node differ in pulse": "root_pulse",
    "sealed all through: header and last group differ in level": "path_level_not_header",
    "sealed all through: a record of four": "record_fields",
    "sealed all through: a record of six": "record_fields",
    "sealed all through: a record with text": "record_fields",
    "sealed all through: one depth twice": "path_depth_order",
    "sealed all through: depths that rise": "path_depth_order",
    "sealed all through: a depth of 160": "path_depth",
    "sealed all through: an empty sibling": "path_sibling_empty",
    "sealed all through: a sum beyond 2^63-1": "header_sum",
    "sealed all through: a group below a branch that it should hold": "path_group_low",
    "sealed all through: a group whose prefix is not the id's": "path_prefix",
    "sealed all through: a branch above a group, within its prefix": "path_group_high",
    "sealed all through: levels 1 and 3": "path_level",
    "sealed all through: a roster of two": "roster_size",
    "sealed all through: a roster with a key twice": "roster_doubled_key",
    "sealed all through: a roster of nobody": "roster_size",
    "sealed all through: handovers whose pulses fall": "handover_order",
    "sealed all through: header as old as its handover": "root_old",
    "sealed all through: a handover of another network": "root_network",
    "the checkpoint's header under another pulse": "no_quorum",
    "no signatures and no checkpoint": "no_quorum",
}
WRONG_ABSENCES: Final = {
    "the account itself under another id": "absence_elsewhere",
    "the account itself": "absence_same_account",
    "empty where it is not": "absence_branch",
    "a leaf on another side": "absence_elsewhere",
}


def text(value: Any) -> bytes:
    """JSON as somebody else might write it."""
    return json.dumps(value, indent=1).encode()


def leaf_of(account: dict[str, Any]) -> bytes:
    """The leaf of an account of a vector's tree."""
    record = bytes.fromhex(account["record"])
    balance, frozen, *_ = decode_record(record)
    return node.leaf(bytes.fromhex(account["id"]), account["pulse"], balance + frozen, node.record_digest(record))


@pytest.mark.parametrize("tree", VECTORS["trees"], ids=lambda tree: str(len(tree["accounts"])))
def test_trees(tree: dict[str, Any]) -> None:
    """Records, leaves, and paths to the root, for who is there and for the leaves in the place of who is not."""
    root = bytes.fromhex(tree["root"])
    accounts = {account["id"]: account for account in tree["accounts"]}
    for account in accounts.values():
        assert codec.encode(account["fields"]).hex() == account["record"]
        assert list(decode_record(bytes.fromhex(account["record"]))) == account["fields"]
        assert leaf_of(account).hex() == account["leaf"]
        assert node.node_sum(leaf_of(account)) == account["sum"]
    for shown in tree["present"]:
        start = leaf_of(accounts[shown["id"]])
        assert fold_path(start, bytes.fromhex(shown["id"]), branches(shown["path"])) == root
    for shown in tree["absent"]:
        other = shown["leaf"]
        start = leaf_of(accounts[other["id"]])
        assert node.record_digest(bytes.fromhex(accounts[other["id"]]["record"])).hex() == other["account"]
        assert fold_path(start, bytes.fromhex(shown["id"]), branches(shown["path"])) == root
    if not accounts:
        assert root == node.EMPTY


def test_network() -> None:
    """The network's id is its organization's."""
    assert account_id(TRUST.organization_key) == NETWORK


def test_genesis() -> None:
    """The genesis header, made from its parts, and its seal."""
    genesis = PARTS["genesis"]
    parts = unhex(genesis)
    roster = decode_roster(parts["roster"])
    assert roster == TRUST.roster
    assert encode_roster(roster) == parts["roster"]

    def account_leaf(account: bytes, balance: int, role: int) -> bytes:
        return node.leaf(account, 0, balance, node.record_digest(codec.encode([balance, 0, 0, role, 0])))

    organization = account_leaf(parts["organization"], genesis["supply"], 3)
    founder = account_leaf(parts["founder"], 0, 2)
    depth = node.shared_bits(parts["organization"], parts["founder"])
    pair = (founder, organization) if node.bit(parts["organization"], depth) else (organization, founder)
    inner = node.branch(depth, *pair)
    meta = node.meta(roster_digest(parts["roster"]), node.EMPTY, 0, 0, parts["state"])
    made = Header(
        network=NETWORK,
        level=1,
        bits=0,
        prefix=bytes(20),
        term=0,
        pulse=0,
        tick=0,
        anchor=node.ZEROS,
        node=node.group(1, 0, bytes(20), 0, inner, meta),
        previous=node.ZEROS,
        body=body_digest([(segment_digest(parts["segment"]), inner, meta)]),
    )
    assert made.encode() == parts["header"]
    assert Header.decode(parts["header"]) == made
    assert header_digest(parts["header"]) == parts["digest"]
    check_seal(parts["header"], signatures(genesis["signatures"]), roster)


def test_meta() -> None:
    """A meta digest with every part other than zero."""
    parts = unhex(PARTS["meta"])
    sent_out, settled_in = (int.from_bytes(parts[name], "big") for name in ("out", "in"))
    made = node.meta(roster_digest(parts["roster"]), parts["outbox"], sent_out, settled_in, parts["state"])
    assert made == parts["meta"]


def test_body() -> None:
    """A body of two segments, and an empty one."""
    body = PARTS["body"]
    after = (bytes.fromhex(body["inner_after"]), bytes.fromhex(body["meta_after"]))
    entries = [(segment_digest(bytes.fromhex(segment)), *after) for segment in body["segments"]]
    assert body_digest(entries).hex() == body["digest"]
    assert body_digest([]).hex() == body["empty"]


def test_receipt() -> None:
    """A receipt's id, and the outbox that holds it alone."""
    receipt = PARTS["receipt"]
    encoded = bytes.fromhex(receipt["cbor"])
    value = codec.decode(encoded)
    assert codec.encode(value) == encoded
    assert isinstance(value, list)
    amount = codec.uint(value[3], 2**63 - 1, "receipt")
    assert h20("receipt", encoded).hex() == receipt["id"]
    assert node.pack_node(9, amount, h20("receipt", encoded)).hex() == receipt["outbox_of_one_at_pulse_9"]


@pytest.mark.parametrize(("shown", "expected"), list(zip(VECTORS["proofs"], SHOWN, strict=True)))
def test_proofs(shown: dict[str, Any], expected: tuple[int, int, int]) -> None:
    """Good proofs hold, in either form, and come back from both."""
    proof = decode_json(text(shown))
    verified = verify(proof, TRUST)
    assert (verified.kind, verified.account.hex()) == ("present", shown["id"])
    assert verified.record == decode_record(bytes.fromhex(shown["record"]))
    assert (verified.pulse, verified.leaf_pulse, verified.age) == expected
    assert proof_object(proof) == shown
    assert decode_json(encode_json(proof)) == proof
    assert verify(decode_proof(encode_proof(proof)), TRUST) == verified


@pytest.mark.parametrize("shown", VECTORS["absence"])
def test_absences(shown: dict[str, Any]) -> None:
    """A good absence holds, in either form."""
    proof = decode_json(text(shown))
    verified = verify(proof, TRUST)
    assert (verified.kind, verified.account.hex(), verified.record) == ("absent", shown["absent"], None)
    assert (verified.pulse, verified.leaf_pulse, verified.age) == (10, None, 6)
    assert proof_object(proof) == shown
    assert decode_proof(encode_proof(proof)) == proof


@pytest.mark.parametrize("wrong", VECTORS["wrong_proofs"], ids=lambda wrong: str(wrong["why"]))
def test_wrong_proofs(wrong: dict[str, Any]) -> None:
    """Each is refused for its own reason, in either form."""
    reason = WRONG_PROOFS[wrong["why"]]
    with pytest.raises(RemoteError, match=f"^{reason}(:|$)"):
        verify(decode_json(text(wrong["proof"])), TRUST)


@pytest.mark.parametrize("wrong", VECTORS["wrong_absence"], ids=lambda wrong: str(wrong["why"]))
def test_wrong_absences(wrong: dict[str, Any]) -> None:
    """Each is refused for its own reason."""
    reason = WRONG_ABSENCES[wrong["why"]]
    with pytest.raises(RemoteError, match=f"^{reason}(:|$)"):
        verify(decode_json(text(wrong["proof"])), TRUST)


def test_wrong_ones_are_all_here() -> None:
    """The reasons above are of these vectors, each of them."""
    assert [wrong["why"] for wrong in VECTORS["wrong_proofs"]] == list(WRONG_PROOFS)
    assert [wrong["why"] for wrong in VECTORS["wrong_absence"]] == list(WRONG_ABSENCES)


def test_absence_of_another_than_its_path_leads_to() -> None:
    """Once the leaf is beside the absent id in every bit asked, only the hash tells whether it is there."""
    proof = decode_json(text(VECTORS["absence"][0]))
    assert isinstance(proof, Absence)
    assert proof.leaf is not None
    for changed in (
        replace(proof.leaf, amount=999),
        replace(proof.leaf, pulse=7),
        replace(proof.leaf, digest=bytes(32)),
    ):
        with pytest.raises(RemoteError, match="^path_not_header"):
            verify(replace(proof, leaf=changed), TRUST)
    with pytest.raises(RemoteError, match="^path_not_header"):
        verify(replace(proof, leaf=None, path=proof.path[2:]), TRUST)
