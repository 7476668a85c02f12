"""The JSON form of proofs: for people and other programs, exact to docs/protocol.md, section 2.

Decides form only (`proof.verify` does the rest), and that strictly: unknown, doubled and missing keys, null where there
is no null, booleans and floats for integers, and hex that is not lower-case are refused, so that no two readers can
take one text for different proofs.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn, TypeAlias

from leither_lite.errors import RemoteError
from leither_lite.header import (
    HEADER_BYTES_MAX,
    LEVEL_MAX,
    ROSTER_BYTES_MAX,
    SIGNATURES_MAX,
    Checkpoint,
    Signatures,
    decode_roster,
)
from leither_lite.identity import from_hex
from leither_lite.limits import (
    DIGEST_BYTES,
    HANDOVERS_MAX,
    ID_BITS,
    ID_BYTES,
    KEY_BYTES,
    NODE_BYTES,
    PATH_STEPS_MAX,
    PROOF_BYTES_MAX,
    SIGNATURE_BYTES,
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

JsonObject: TypeAlias = dict[str, Any]

_ROOT_KEYS: Final = ("path", "header", "signatures", "handovers")
_HANDOVER_KEYS: Final = ("header", "inner", "outbox", "out", "in", "state", "roster", "signatures")
_CHECKPOINT_KEYS: Final = ("pulse", "digest", "roster", "signature")
_COUNTER_BYTES: Final = 8
_DIGITS_MAX: Final = len(str(UINT_MAX))
_DETAIL_MAX: Final = 40


def encode_json(proof: Proof | Absence) -> bytes:
    """A proof as JSON on one line, ASCII."""
    return json.dumps(proof_object(proof), separators=(",", ":")).encode("ascii")


COMMAS_MAX: Final = 32 * HANDOVERS_MAX
"""No proof has more: a handover has 21 with seven signatures. Small items in their millions would take memory."""


def decode_json(data: bytes) -> Proof | Absence:
    """The proof in a JSON text, its form alone checked.

    Raises RemoteError: json_size, json_many, json_syntax (not UTF-8 too), json_deep, json_number (a float, a negative
    or too large number), json_doubled_key, and the reasons of `read_proof`.
    """
    if len(data) > PROOF_BYTES_MAX:
        raise RemoteError("json_size", f"{len(data)} bytes")
    if data.count(b",") > COMMAS_MAX:
        raise RemoteError("json_many", "more items than any proof has")
    try:
        value = json.loads(
            data.decode(),
            object_pairs_hook=_distinct,
            parse_int=_unsigned,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except ValueError as error:
        raise RemoteError("json_syntax", str(error)[:_DETAIL_MAX]) from None
    except RecursionError:
        raise RemoteError("json_deep", "nested beyond reason") from None
    return read_proof(value)


def proof_object(proof: Proof | Absence) -> JsonObject:
    """A proof as the object that `json.dumps` takes."""
    made: JsonObject
    if isinstance(proof, Proof):
        made = {"id": proof.account.hex(), "record": proof.record.hex(), "pulse": proof.pulse}
    else:
        other = proof.leaf
        made = {"absent": proof.account.hex(), "leaf": None}
        if other is not None:
            made["leaf"] = {
                "id": other.account.hex(),
                "pulse": other.pulse,
                "sum": other.amount,
                "account": other.digest.hex(),
            }
    root = proof.root
    made["path"] = [_step_object(step) for step in proof.path]
    made["header"] = root.header.hex()
    made["signatures"] = _pairs(root.signatures)
    made["handovers"] = [_handover_object(handover) for handover in root.handovers]
    if root.checkpoint is not None:
        made["checkpoint"] = {
            "pulse": root.checkpoint.pulse,
            "digest": root.checkpoint.digest.hex(),
            "roster": root.checkpoint.roster.hex(),
            "signature": root.checkpoint.signature.hex(),
        }
    return made


def read_proof(value: object) -> Proof | Absence:
    """The proof in an object that `json.loads` made, its form alone checked. (Doubled keys are gone by then.)

    Raises RemoteError: proof_keys (unknown or missing), proof_fields (kind, range or size of a value), bad_hex, and of
    a checkpoint's roster a reason of `decode_roster`.
    """
    if isinstance(value, dict) and "absent" in value:
        fields = _keys(value, ("absent", "leaf", *_ROOT_KEYS), optional="checkpoint")
        account = from_hex(fields["absent"], ID_BYTES)
        return Absence(account, _read_leaf(fields["leaf"]), _read_path(fields["path"]), _read_root(fields))
    fields = _keys(value, ("id", "record", "pulse", *_ROOT_KEYS), optional="checkpoint")
    return Proof(
        from_hex(fields["id"], ID_BYTES),
        _hex_upto(fields["record"], RECORD_BYTES_MAX),
        _uint(fields["pulse"], UINT_MAX),
        _read_path(fields["path"]),
        _read_root(fields),
    )


def _distinct(pairs: list[tuple[str, Any]]) -> JsonObject:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise RemoteError("json_doubled_key")
    return made


def _unsigned(digits: str) -> int:
    if digits.startswith("-") or len(digits) > _DIGITS_MAX:
        raise RemoteError("json_number", digits[:_DETAIL_MAX])
    return int(digits)


def _no_number(digits: str) -> NoReturn:
    raise RemoteError("json_number", digits[:_DETAIL_MAX])


def _keys(value: object, keys: tuple[str, ...], optional: str | None = None) -> JsonObject:
    if not isinstance(value, dict):
        raise RemoteError("proof_fields", "an object is expected")
    for key in value:
        if key not in keys and key != optional:
            raise RemoteError("proof_keys", f"unknown: {str(key)[:_DETAIL_MAX]!a}")
    for key in keys:
        if key not in value:
            raise RemoteError("proof_keys", f"missing: {key}")
    return value


def _uint(value: object, maximum: int) -> int:
    if type(value) is not int or not 0 <= value <= maximum:
        raise RemoteError("proof_fields", f"an integer from 0 to {maximum} is expected")
    return value


def _items(value: object, maximum: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > maximum:
        raise RemoteError("proof_fields", f"an array of at most {maximum} is expected")
    return value


def _hex_upto(value: object, maximum: int) -> bytes:
    taken = from_hex(value)
    if len(taken) > maximum:
        raise RemoteError("bad_hex", f"at most {maximum} bytes are expected")
    return taken


def _pairs(signatures: Signatures) -> list[list[str]]:
    return [[key.hex(), signature.hex()] for key, signature in signatures]


def _read_signatures(value: object) -> Signatures:
    taken = []
    for pair in _items(value, SIGNATURES_MAX):
        if len(_items(pair, 2)) != 2:
            raise RemoteError("proof_fields", "a signature is a pair")
        taken.append((from_hex(pair[0], KEY_BYTES), from_hex(pair[1], SIGNATURE_BYTES)))
    return tuple(taken)


def _step_object(step: Step) -> JsonObject:
    if isinstance(step, BranchStep):
        return {"branch": step.depth, "sibling": step.sibling.hex()}
    bits = f"{int.from_bytes(step.prefix, 'big'):0{ID_BITS}b}"[: step.bits]
    return {"group": step.level, "prefix": bits, "pulse": step.pulse, "meta": step.meta.hex()}


def _read_path(value: object) -> Path:
    return tuple(_read_step(step) for step in _items(value, PATH_STEPS_MAX))


def _read_step(value: object) -> Step:
    if isinstance(value, dict) and "branch" in value:
        fields = _keys(value, ("branch", "sibling"))
        return BranchStep(_uint(fields["branch"], LEVEL_MAX), from_hex(fields["sibling"], NODE_BYTES))
    fields = _keys(value, ("group", "prefix", "pulse", "meta"))
    level = _uint(fields["group"], LEVEL_MAX)
    bits, prefix = _read_prefix(fields["prefix"])
    return GroupStep(level, bits, prefix, _uint(fields["pulse"], UINT_MAX), from_hex(fields["meta"], DIGEST_BYTES))


def _read_prefix(value: object) -> tuple[int, bytes]:
    if not isinstance(value, str) or len(value) > ID_BITS or value.strip("01"):
        raise RemoteError("proof_fields", f"a prefix of at most {ID_BITS} binary digits is expected")
    return len(value), int(value.ljust(ID_BITS, "0"), 2).to_bytes(ID_BYTES, "big")


def _read_leaf(value: object) -> OtherLeaf | None:
    if value is None:
        return None
    fields = _keys(value, ("id", "pulse", "sum", "account"))
    return OtherLeaf(
        from_hex(fields["id"], ID_BYTES),
        _uint(fields["pulse"], UINT_MAX),
        _uint(fields["sum"], UINT_MAX),
        from_hex(fields["account"], DIGEST_BYTES),
    )


def _read_root(fields: JsonObject) -> SealedRoot:
    return SealedRoot(
        _hex_upto(fields["header"], HEADER_BYTES_MAX),
        _read_signatures(fields["signatures"]),
        tuple(_read_handover(handover) for handover in _items(fields["handovers"], HANDOVERS_MAX)),
        _read_checkpoint(fields["checkpoint"]) if "checkpoint" in fields else None,
    )


def _handover_object(handover: Handover) -> JsonObject:
    return {
        "header": handover.header.hex(),
        "inner": handover.inner.hex(),
        "outbox": handover.outbox.hex(),
        "out": handover.sent_out.to_bytes(_COUNTER_BYTES, "big").hex(),
        "in": handover.settled_in.to_bytes(_COUNTER_BYTES, "big").hex(),
        "state": handover.state.hex(),
        "roster": handover.roster.hex(),
        "signatures": _pairs(handover.signatures),
    }


def _read_handover(value: object) -> Handover:
    fields = _keys(value, _HANDOVER_KEYS)
    return Handover(
        _hex_upto(fields["header"], HEADER_BYTES_MAX),
        from_hex(fields["inner"], NODE_BYTES),
        from_hex(fields["outbox"], NODE_BYTES),
        int.from_bytes(from_hex(fields["out"], _COUNTER_BYTES), "big"),
        int.from_bytes(from_hex(fields["in"], _COUNTER_BYTES), "big"),
        from_hex(fields["state"], DIGEST_BYTES),
        _hex_upto(fields["roster"], ROSTER_BYTES_MAX),
        _read_signatures(fields["signatures"]),
    )


def _read_checkpoint(value: object) -> Checkpoint:
    fields = _keys(value, _CHECKPOINT_KEYS)
    checkpoint = Checkpoint(
        _uint(fields["pulse"], UINT_MAX),
        from_hex(fields["digest"], DIGEST_BYTES),
        _hex_upto(fields["roster"], ROSTER_BYTES_MAX),
        from_hex(fields["signature"], SIGNATURE_BYTES),
    )
    decode_roster(checkpoint.roster)
    return checkpoint
