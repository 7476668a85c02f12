"""The decoders that the fuzzer runs: each with its encoder, valid seeds, and the mutation that knows its form.

A row: `Decoder(name, decode, encode, seeds)` for CBOR; JSON adds `mutate_json` and, since one value has many texts,
`exact=False`. `sound` is what any value that was taken must be, said without the decoder's own means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from leither_lite import codec
from leither_lite.errors import RemoteError
from leither_lite.header import Checkpoint, Header, Seal, decode_roster, encode_roster
from leither_lite.limits import CBOR_DEPTH_MAX
from leither_lite.tree.proof import Absence, Proof, verify
from leither_lite.tree.proof_cbor import decode_proof, encode_proof
from leither_lite.tree.proof_json import decode_json, encode_json, read_proof
from tests.fuzz.mutations import Mutation, mutate_cbor, mutate_json
from tests.vectors.ledger import TRUST, VECTORS, signatures

Made = TypeVar("Made")


def _anything(value: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Decoder:
    """What is fuzzed. `decode` gives a value or a RemoteError, and `encode` undoes it: to the byte if `exact`."""

    name: str
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]
    seeds: tuple[bytes, ...]
    mutate: Mutation = mutate_cbor
    exact: bool = True
    sound: Callable[[Any], bool] = _anything


def _is_ours(value: Any) -> bool:
    """True for CBOR of the four kinds, arrays nested at most 16 deep."""
    stack = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        if type(item) is list and depth < CBOR_DEPTH_MAX:
            stack.extend((inner, depth + 1) for inner in item)
        elif type(item) not in (int, bytes, str):
            return False
    return True


def _hexes(texts: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(text) for text in texts)


def _encoded(encode: Callable[[Made], bytes], values: Iterable[Made]) -> tuple[bytes, ...]:
    return tuple(encode(value) for value in values)


# Wrong proofs that are well formed are good seeds: they lead to checks that good ones pass.
_WRONG: Final = [wrong["proof"] for wrong in VECTORS["wrong_proofs"] if wrong["why"].startswith("sealed all through")]
_ABSENT: Final = [*VECTORS["absence"], {**VECTORS["absence"][0], "leaf": None}]
_SHOWN: Final = VECTORS["proofs"] + VECTORS["absence"]
_HANDOVERS: Final = [handover for shown in VECTORS["proofs"] for handover in shown["handovers"]]
_GENESIS: Final = VECTORS["parts"]["genesis"]

_PRESENCES: Final = [read_proof(shown) for shown in VECTORS["proofs"] + _WRONG]
_ABSENCES: Final = [read_proof(shown) for shown in _ABSENT]
_CHECKPOINTS: Final = [proof.root.checkpoint for proof in _PRESENCES if proof.root.checkpoint is not None]
_SEALED: Final = [
    Seal(bytes.fromhex(shown["header"]), signatures(shown["signatures"])) for shown in (_GENESIS, *_SHOWN)
]

_VALUES: Final = (*_hexes(VECTORS["taken_cbor"].values()), _hexes([VECTORS["parts"]["receipt"]["cbor"]])[0])
_HEADERS: Final = _hexes(shown["header"] for shown in [_GENESIS, *_SHOWN, *_HANDOVERS])
_ROSTERS: Final = _hexes(shown["roster"] for shown in [_GENESIS, *_HANDOVERS])


def _shown_after(decode: Callable[[bytes], Proof | Absence]) -> Callable[[bytes], Proof | Absence]:
    """A decoder of proofs that checks each one too, so that the check sees all that it may be given."""

    def decode_and_verify(encoded: bytes) -> Proof | Absence:
        proof = decode(encoded)
        with suppress(RemoteError):
            verify(proof, TRUST)
        return proof

    return decode_and_verify


_text: Final = _shown_after(decode_json)
_binary: Final = _shown_after(decode_proof)

# A method is looked up when it is called, so that what is planted in its place is met.
DECODERS: Final = (
    Decoder("cbor", codec.decode, codec.encode, _VALUES, sound=_is_ours),
    Decoder("header", lambda encoded: Header.decode(encoded), Header.encode, _HEADERS),
    Decoder("roster", decode_roster, encode_roster, _ROSTERS),
    Decoder("seal", Seal.decode, Seal.encode, _encoded(Seal.encode, _SEALED)),
    Decoder("checkpoint", Checkpoint.decode, Checkpoint.encode, _encoded(Checkpoint.encode, _CHECKPOINTS)),
    Decoder("proof-json", _text, encode_json, _encoded(encode_json, _PRESENCES), mutate_json, exact=False),
    Decoder("absence-json", _text, encode_json, _encoded(encode_json, _ABSENCES), mutate_json, exact=False),
    Decoder("proof-binary", _binary, encode_proof, _encoded(encode_proof, [*_PRESENCES, *_ABSENCES])),
)
