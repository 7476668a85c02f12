"""The two forms of a proof: each is the other, and neither lets anything through that is not exactly of its form."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from leither_lite import codec
from leither_lite.errors import RemoteError
from leither_lite.header import Checkpoint, encode_roster
from leither_lite.identity import Key
from leither_lite.limits import HANDOVERS_MAX, PATH_STEPS_MAX, PROOF_BYTES_MAX, UINT_MAX
from leither_lite.tree.proof import (
    Absence,
    BranchStep,
    GroupStep,
    Handover,
    OtherLeaf,
    Proof,
    SealedRoot,
    verify,
)
from leither_lite.tree.proof_cbor import decode_proof, encode_proof
from leither_lite.tree.proof_json import decode_json, encode_json, proof_object, read_proof
from tests.vectors.ledger import TRUST, VECTORS

KEYS: Final = tuple(Key.from_seed(bytes([number]) * 32).public for number in range(7))

u64 = st.integers(0, UINT_MAX)


def some(size: int) -> st.SearchStrategy[bytes]:
    """Bytes of one size."""
    return st.binary(min_size=size, max_size=size)


signatures = st.lists(st.tuples(some(32), some(64)), max_size=7).map(tuple)
rosters = st.sampled_from([encode_roster(KEYS[:size]) for size in (1, 3, 4, 7)])
groups = st.integers(0, 160).flatmap(
    lambda bits: st.builds(
        GroupStep,
        level=st.integers(0, 255),
        bits=st.just(bits),
        prefix=st.integers(0, 2**bits - 1).map(lambda prefix: (prefix << 160 - bits).to_bytes(20, "big")),
        pulse=u64,
        meta=some(32),
    )
)
paths = st.lists(st.builds(BranchStep, st.integers(0, 255), some(36)) | groups, max_size=8).map(tuple)
handovers = st.builds(Handover, st.binary(max_size=215), some(36), some(36), u64, u64, some(32), rosters, signatures)
roots = st.builds(
    SealedRoot,
    st.binary(max_size=215),
    signatures,
    st.lists(handovers, max_size=3).map(tuple),
    st.none() | st.builds(Checkpoint, u64, some(32), rosters, some(64)),
)
proofs = st.builds(Proof, some(20), st.binary(max_size=46), u64, paths, roots)
leaves = st.none() | st.builds(OtherLeaf, some(20), u64, u64, some(32))


@given(proofs | st.builds(Absence, some(20), leaves, paths, roots))
def test_both_forms_round_trip(proof: Proof | Absence) -> None:
    """Whatever has the form of a proof comes back from either form as it was, and can only be refused or shown."""
    encoded = encode_proof(proof)
    assert decode_proof(encoded) == proof
    assert decode_json(encode_json(proof)) == proof
    assert read_proof(proof_object(proof)) == proof
    with pytest.raises(RemoteError):
        verify(proof, TRUST)


def changed(change: Callable[[Any], object]) -> bytes:
    """JSON of a good proof, with a change made to its object."""
    made = json.loads(json.dumps(VECTORS["proofs"][2 if "checkpoint" in change.__code__.co_consts else 0]))
    change(made)
    return json.dumps(made).encode()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda made: made.update(note=""), "proof_keys"),
        (lambda made: made.update(checkpoint=None), "proof_fields"),
        (lambda made: made.update(leaf=None), "proof_keys"),
        (lambda made: made.update(absent="00" * 20), "proof_keys"),
        (lambda made: made.pop("header"), "proof_keys"),
        (lambda made: made.pop("handovers"), "proof_keys"),
        (lambda made: made.update(pulse=None), "proof_fields"),
        (lambda made: made.update(pulse=True), "proof_fields"),
        (lambda made: made.update(pulse="9"), "proof_fields"),
        (lambda made: made.update(pulse=9.0), "json_number"),
        (lambda made: made.update(pulse=-1), "json_number"),
        (lambda made: made.update(pulse=2**64), "proof_fields"),
        (lambda made: made.update(pulse=10**20), "json_number"),
        (lambda made: made.update(pulse=float("nan")), "json_number"),
        (lambda made: made.update(pulse=float("inf")), "json_number"),
        (lambda made: made.update(id=made["id"].upper()), "bad_hex"),
        (lambda made: made.update(id=made["id"] + " "), "bad_hex"),
        (lambda made: made.update(id=made["id"][2:]), "bad_hex"),
        (lambda made: made.update(id=None), "bad_hex"),
        (lambda made: made.update(record="00" * 47), "bad_hex"),
        (lambda made: made.update(header="00" * 216), "bad_hex"),
        (lambda made: made.update(path={}), "proof_fields"),
        (lambda made: made.update(path=[[]]), "proof_fields"),
        (lambda made: made.update(path=made["path"] * PATH_STEPS_MAX), "proof_fields"),
        (lambda made: made["path"][0].update(branch=False), "proof_fields"),
        (lambda made: made["path"][0].update(branch=256), "proof_fields"),
        (lambda made: made["path"][0].update(group=1), "proof_keys"),
        (lambda made: made["path"][0].pop("branch"), "proof_keys"),
        (lambda made: made["path"][0].update(sibling="00" * 35), "bad_hex"),
        (lambda made: made["path"][2].update(prefix="2"), "proof_fields"),
        (lambda made: made["path"][2].update(prefix="0" * 161), "proof_fields"),
        (lambda made: made["path"][2].update(prefix="٠"), "proof_fields"),
        (lambda made: made["path"][2].update(prefix=[]), "proof_fields"),
        (lambda made: made["path"][2].update(group=256), "proof_fields"),
        (lambda made: made["path"][2].update(bits=0), "proof_keys"),
        (lambda made: made["signatures"][0].append("00"), "proof_fields"),
        (lambda made: made["signatures"][0].pop(), "proof_fields"),
        (lambda made: made.update(signatures=made["signatures"] * 3), "proof_fields"),
        (lambda made: made["handovers"][0].update({"out": 0}), "bad_hex"),
        (lambda made: made["handovers"][0].update({"in": "00"}), "bad_hex"),
        (lambda made: made["handovers"][0].update({"outer": "00"}), "proof_keys"),
        (lambda made: made["handovers"][0].pop("state"), "proof_keys"),
        (lambda made: made.update(handovers=None), "proof_fields"),
        (lambda made: made["checkpoint"].update(pulse=None), "proof_fields"),
        (lambda made: made["checkpoint"].update(roster="80"), "roster_size"),
        (lambda made: made["checkpoint"].pop("digest"), "proof_keys"),
    ],
)
def test_json_is_strict(change: Callable[[Any], object], reason: str) -> None:
    """Keys, kinds, ranges, hex."""
    with pytest.raises(RemoteError, match=f"^{reason}(:|$)"):
        decode_json(changed(change))


GOOD: Final = encode_json(read_proof(VECTORS["proofs"][0]))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD[:-1], "json_syntax"),
        (GOOD + b"x", "json_syntax"),
        (GOOD + GOOD, "json_syntax"),
        (b"\xef\xbb\xbf" + GOOD, "json_syntax"),
        (GOOD.decode().encode("utf-16"), "json_syntax"),
        (GOOD.replace(b"id", b"\xff"), "json_syntax"),
        (b"", "json_syntax"),
        (GOOD.replace(b'"pulse":9,', b'"pulse":09,'), "json_syntax"),
        (GOOD.replace(b'"pulse":9,', b'"pulse":9,"pulse":9,'), "json_doubled_key"),
        (GOOD.replace(b'"pulse":9,', b'"pulse":9,"pul\\u0073e":9,'), "json_doubled_key"),
        (GOOD.replace(b'"branch":2', b'"branch":2,"branch":2'), "json_doubled_key"),
        (GOOD.replace(b'"branch":2', b'"branch":-0'), "json_number"),
        (GOOD.replace(b'"branch":2', b'"branch":2e0'), "json_number"),
        (GOOD.replace(b'"branch":2', b'"branch":' + b"9" * 100_000), "json_number"),
        (GOOD.replace(b'"branch":2', b'"\\ud800":2'), "proof_keys"),
        (GOOD.replace(b'"branch":2', b'"branch":' + b"[" * 100_000 + b"]" * 100_000), "json_deep"),
        (b"[" * PROOF_BYTES_MAX, "json_deep"),
        (GOOD + b" " * PROOF_BYTES_MAX, "json_size"),
        (b"[" + b"[]," * 1_000_000 + b"[]]", "json_many"),
        (b"[]", "proof_fields"),
        (b"null", "proof_fields"),
        (b'"absent"', "proof_fields"),
    ],
)
def test_json_text_is_strict(text: bytes, reason: str) -> None:
    """What `json` would let through, or fall over."""
    assert text != GOOD
    with pytest.raises(RemoteError, match=f"^{reason}(:|$)") as caught:
        decode_json(text)
    assert len(str(caught.value)) < 100
    str(caught.value).encode("ascii")


def test_json_may_be_spaced() -> None:
    """Blanks between values are anybody's."""
    assert decode_json(json.dumps(json.loads(GOOD), indent=4).encode()) == decode_json(GOOD)


def test_json_absence_is_strict() -> None:
    """The leaf is an object of four, or null."""
    made = dict(VECTORS["absence"][0])
    assert isinstance(read_proof({**made, "leaf": None}), Absence)
    for leaf, reason in (
        ({**made["leaf"], "sum": None}, "proof_fields"),
        ({**made["leaf"], "record": ""}, "proof_keys"),
        ({**made["leaf"], "id": "00"}, "bad_hex"),
        ({}, "proof_keys"),
        ([], "proof_fields"),
        (False, "proof_fields"),
    ):
        with pytest.raises(RemoteError, match=f"^{reason}:"):
            read_proof({**made, "leaf": leaf})


ROOT: Final[codec.Value] = [b"", [], [], []]
STEP: Final[codec.Value] = [1, 0, bytes(20), 0, bytes(32)]
HANDOVER: Final[codec.Value] = [b"", bytes(36), bytes(36), 0, 0, bytes(32), b"", []]
NO_PROOFS: Final[list[Any]] = [
    0,
    [],
    [2, bytes(20), [], [], ROOT],
    [b"", bytes(20), [], [], ROOT],
    [0, bytes(20), b"", 0, []],
    [0, bytes(20), b"", 0, [], ROOT, 0],
    [0, bytes(19), b"", 0, [], ROOT],
    [0, bytes(20), bytes(47), 0, [], ROOT],
    [0, bytes(20), b"", b"", [], ROOT],
    [0, bytes(20), b"", 0, b"", ROOT],
    [0, bytes(20), b"", 0, [STEP] * (PATH_STEPS_MAX + 1), ROOT],
    [0, bytes(20), b"", 0, [[256, bytes(36)]], ROOT],
    [0, bytes(20), b"", 0, [[1, bytes(35)]], ROOT],
    [0, bytes(20), b"", 0, [[1]], ROOT],
    [0, bytes(20), b"", 0, [[256, 0, bytes(20), 0, bytes(32)]], ROOT],
    [0, bytes(20), b"", 0, [[1, 161, bytes(20), 0, bytes(32)]], ROOT],
    [0, bytes(20), b"", 0, [[1, 0, bytes(19), 0, bytes(32)]], ROOT],
    [0, bytes(20), b"", 0, [], [bytes(216), [], [], []]],
    [0, bytes(20), b"", 0, [], [b"", [[b"", b""]], [], []]],
    [0, bytes(20), b"", 0, [], [b"", [[bytes(32), bytes(64)]] * 8, [], []]],
    [0, bytes(20), b"", 0, [], [b"", [], [[]], []]],
    [0, bytes(20), b"", 0, [], [b"", [], [HANDOVER] * (HANDOVERS_MAX + 1), []]],
    [0, bytes(20), b"", 0, [], [b"", [], []]],
    [1, bytes(20), [], [], ROOT, 0],
    [1, bytes(20), b"", [], ROOT],
    [1, bytes(20), [bytes(20), 0, 0], [], ROOT],
    [1, bytes(20), [bytes(20), 0, 0, bytes(31)], [], ROOT],
]


@pytest.mark.parametrize("value", NO_PROOFS)
def test_binary_is_strict(value: Any) -> None:
    """Number, kinds, sizes, ranges."""
    with pytest.raises(RemoteError, match="^proof_fields:"):
        decode_proof(codec.encode(value))


def test_binary_is_bounded() -> None:
    """By size before anything is read; a checkpoint has its own reasons."""
    with pytest.raises(RemoteError, match="^proof_size:"):
        decode_proof(bytes(PROOF_BYTES_MAX + 1))
    with pytest.raises(RemoteError, match="^checkpoint_fields:"):
        decode_proof(codec.encode([0, bytes(20), b"", 0, [], [b"", [], [], [0]]]))
    assert decode_proof(codec.encode([0, bytes(20), b"", 0, [STEP], [b"", [], [HANDOVER], []]])).account == bytes(20)
