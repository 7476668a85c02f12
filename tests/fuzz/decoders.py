"""The decoders that the fuzzer runs: each with its encoder, valid seeds, and the mutation that knows its form.

A row: `Decoder(name, decode, encode, seeds)` for CBOR; JSON adds `mutate_json` and, since one value has many texts,
`exact=False`. `sound` is what any value that was taken must be, said without the decoder's own means.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Final, TypeVar

from leither_lite import codec
from leither_lite.edge import keyfile
from leither_lite.errors import RemoteError
from leither_lite.header import Checkpoint, Header, Seal, decode_roster, encode_roster
from leither_lite.ledger import operations
from leither_lite.ledger.committee import Willing, Willingness
from leither_lite.ledger.joins import Application
from leither_lite.ledger.payments import Invoice
from leither_lite.ledger.records import Entry, Record, decode_page, encode_page
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import (
    GENESIS_STATE,
    MERGE,
    SPLIT,
    WILLING_BYTES_MAX,
    Offer,
    State,
    Successor,
    decode_willing,
    encode_willing,
    willing_digest,
)
from leither_lite.ledger.texts import SecretInvite, SignedInvoice
from leither_lite.ledger.tip import Tip
from leither_lite.limits import CBOR_DEPTH_MAX, STATE_BYTES_MAX
from leither_lite.node.events import FRAME_OPERATION, OperationReceived
from leither_lite.node.transfers import Transfer
from leither_lite.organization import Charter, SignedCharter
from leither_lite.store import keys
from leither_lite.tree import node
from leither_lite.tree.proof import Absence, Proof, verify
from leither_lite.tree.proof_cbor import decode_proof, encode_proof
from leither_lite.tree.proof_json import decode_json, encode_json, read_proof
from tests.fuzz import receipts
from tests.fuzz.mutations import Mutation, mutate_bytes, mutate_cbor, mutate_json
from tests.ledger.founding import (
    FOUNDER,
    NETWORK,
    ORGANIZATION,
    admission,
    appointment,
    charter_of,
    distribution,
    held,
    invite,
    invited,
    key_of,
    payment,
    role_change,
    willingness,
)
from tests.node.seat import grown
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


def _is_array(part: Any) -> bool:
    """True for a byte string that holds an array of ours: a signed object, a header."""
    with suppress(RemoteError):
        return type(part) is bytes and type(codec.decode(part)) is list
    return False


def _mutate_inside(rng: Random, encoded: bytes, corpus: Sequence[bytes]) -> bytes:
    """A change of a seed, more often than not within what it holds as bytes."""
    value = codec.decode(encoded)
    inside = [at for at, part in enumerate(value) if _is_array(part)] if isinstance(value, list) else []
    if isinstance(value, list) and inside and rng.randrange(3):
        at = rng.choice(inside)
        part = value[at]
        if isinstance(part, bytes):
            value[at] = mutate_cbor(rng, part, [part])
            return codec.encode(value)
    return mutate_cbor(rng, encoded, corpus)


def _mutate_text(rng: Random, encoded: bytes, corpus: Sequence[bytes]) -> bytes:
    """A change of the CBOR that a text holds, written as a text."""
    head, _, body = encoded.rpartition(b"/")
    content = base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4))
    return head + b"/" + base64.urlsafe_b64encode(_mutate_inside(rng, content, [content])).rstrip(b"=")


def _rows_of(span: tuple[bytes, bytes]) -> tuple[bytes, ...]:
    """The values of a table of that store."""
    return tuple(content for _, content in _GROWN.scan(*span))


def _encode_page(entries: list[tuple[bytes, Entry]]) -> bytes:
    return encode_page([(account, entry.pulse, entry.record.encode()) for account, entry in entries])


def _decode_application(encoded: bytes) -> Application:
    content, signature = codec.fields(codec.decode(encoded), 2, "bad_application")
    return Application.from_values(content, signature)


def _decode_address(encoded: bytes) -> Willingness:
    content, signature = codec.fields(codec.decode(encoded), 2, "bad_address")
    return Willingness.decode(content, signature)


def _decode_state(encoded: bytes) -> State:
    state, willing = codec.fields(codec.decode(encoded), 2, "bad_state")
    return State.decode(
        codec.octets_upto(state, STATE_BYTES_MAX, "bad_state"),
        codec.octets_upto(willing, WILLING_BYTES_MAX, "bad_state"),
    )


def _encode_state(state: State) -> bytes:
    return codec.encode([state.encode(), state.encode_willing()])


def _encode_alone(decoded: tuple[State, bytes]) -> bytes:
    """S, with the digest that was read of those willing, who were not."""
    state, digest = decoded
    fields = codec.items(codec.decode(state.encode()), 16, "bad_state")
    fields[9] = digest
    return codec.encode(fields)


def _mutate_state(rng: Random, encoded: bytes, corpus: Sequence[bytes]) -> bytes:
    """A change of S and W, more often than not under the digest that is right again."""
    changed = _mutate_inside(rng, encoded, corpus)
    with suppress(RemoteError):
        state, willing = codec.fields(codec.decode(changed), 2, "bad_state")
        fields = codec.items(codec.decode(codec.octets_upto(state, len(changed), "bad_state")), 16, "bad_state")
        if rng.randrange(4) and type(willing) is bytes and len(fields) > 9:
            fields[9] = willing_digest(willing)
            return codec.encode([codec.encode(fields), willing])
    return changed


def _encode_address(address: Willingness) -> bytes:
    return codec.encode([address.content, address.signature])


def _encode_application(application: Application) -> bytes:
    return codec.encode([application.content, application.signature])


# What the store of a node holds that has done all that a node can do.
_GROWN: Final = grown().store
_SEALED_PULSES: Final = tuple(_GROWN.content()[keys.sealed(pulse)] for pulse in range(3))
_PAGES: Final = tuple(_GROWN.content()[key] for key in (keys.snapshot(0), keys.changes(1), keys.changes(2)))
_WILLING: Final = (Willing(b"\1" * 32, "a.example:7000", 5, 1), Willing(b"\2" * 32, "", 6, 0))
_PARTS: Final = (
    Successor(1, bytes(20), node.EMPTY, 5, 6, encode_roster([FOUNDER.public]), b"\7" * 32),
    Successor(2, b"\x80" + bytes(19), b"\x08" * 36, 0, 0, encode_roster([]), b"\x09" * 32),
)
_STATE: Final = State(7, 3, bytes(36), b"\2" * 36, b"\3" * 36, 9, (b"\4" * 20, b"\5" * 20))
_STATES: Final = (
    _STATE,
    _STATE._replace(appointed=3, since=4, willing=_WILLING),
    _STATE._replace(offer=Offer(MERGE), willing=_WILLING[:1]),
    _STATE._replace(offer=Offer(SPLIT, _PARTS)),
    GENESIS_STATE,
)
_TIPS: Final = (
    Tip(b"\1" * 32, encode_roster([FOUNDER.public]), _STATES[1], 1, b"\x80" + bytes(19), 2, b"\3" * 36, 4, 5),
    Tip(bytes(32), encode_roster([]), _STATES[3], 0, bytes(20), 1, node.EMPTY, 0, 0),
)
_ADDRESS: Final = willingness(FOUNDER, 7, address="a.example:7000")
_OPERATIONS: Final = tuple(
    made.encode()
    for made in (
        payment(FOUNDER, ORGANIZATION, 5, 6, 5, 7),
        distribution(FOUNDER.account, 5, 6),
        admission(ORGANIZATION),
        invited(ORGANIZATION, 3),
        role_change(FOUNDER.account, 1, 2),
        appointment(FOUNDER, ORGANIZATION, key_of(3), number=2),
        willingness(FOUNDER, 7, address="a.example:7000"),
        held(bytes(32), [FOUNDER, ORGANIZATION], [key_of(3), key_of(4)]),
        *receipts.examples(),
    )
)
_INVOICE: Final = SignedInvoice.sign(NETWORK, FOUNDER, Invoice(FOUNDER.public, 5, 6, 7, "tea ☕"))
_INVITE: Final = SecretInvite(NETWORK, invite(3), key_of(3).seed)

_FRAMES: Final = tuple(codec.encode([FRAME_OPERATION, codec.decode(operation)]) for operation in _OPERATIONS)
_EXPORT: Final = keyfile.Export(FOUNDER.public, keyfile.COST_MIN, b"\1" * 16, b"\2" * 72)


def _encode_frame(event: OperationReceived) -> bytes:
    return codec.encode([FRAME_OPERATION, codec.decode(event.operation.encode())])


def _mutate_export(rng: Random, encoded: bytes, corpus: Sequence[bytes]) -> bytes:
    """A change of an export's lines, more often than not under a checksum that is right again."""
    lines = mutate_bytes(rng, encoded.rpartition(b"checksum")[0], corpus)
    if not rng.randrange(3):
        return lines + encoded[encoded.rindex(b"checksum") :]
    return lines + b"checksum " + keyfile.checksum(lines, keyfile.EXPORT_SUM_BYTES).encode("ascii") + b"\n"


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
    Decoder("operation", operations.decode, lambda made: made.encode(), _OPERATIONS, _mutate_inside),
    Decoder("record", Record.decode, Record.encode, (Record(5, 4, 3, 2, 1).encode(), Record(0, 0, 0, 0, 0).encode())),
    Decoder("page", decode_page, _encode_page, _PAGES),
    Decoder("state", _decode_state, _encode_state, _encoded(_encode_state, _STATES), _mutate_state),
    Decoder("state-alone", State.decode_alone, _encode_alone, _encoded(State.encode, _STATES)),
    Decoder("willing", decode_willing, encode_willing, _encoded(encode_willing, [_WILLING, _WILLING[:1], ()])),
    Decoder("tip", lambda encoded: Tip.decode(encoded), Tip.encode, _encoded(Tip.encode, _TIPS), _mutate_inside),
    Decoder("sealed-pulse", SealedPulse.decode, SealedPulse.encode, _SEALED_PULSES, _mutate_inside),
    Decoder("charter", Charter.decode, Charter.encode, (charter_of().content,)),
    Decoder("signed-charter", SignedCharter.decode, SignedCharter.encode, (charter_of().encode(),), _mutate_inside),
    Decoder(
        "invoice-text",
        lambda encoded: SignedInvoice.decode(encoded.decode("latin-1")),
        lambda made: made.encode().encode("ascii"),
        (_INVOICE.encode().encode("ascii"),),
        _mutate_text,
    ),
    Decoder(
        "invite-text",
        lambda encoded: SecretInvite.decode(encoded.decode("latin-1")),
        lambda made: made.encode().encode("ascii"),
        (_INVITE.encode().encode("ascii"),),
        _mutate_text,
    ),
    Decoder("transfer", Transfer.decode, Transfer.encode, _rows_of(keys.TRANSFERS)),
    Decoder("application", _decode_application, _encode_application, _rows_of(keys.APPLICATIONS), _mutate_inside),
    Decoder("address", _decode_address, _encode_address, (_encode_address(_ADDRESS),), _mutate_inside),
    Decoder("frame", lambda encoded: OperationReceived.from_frame(0, NETWORK, encoded), _encode_frame, _FRAMES),
    Decoder("key-file", keyfile.decode_key, keyfile.encode_key, (keyfile.encode_key(FOUNDER),), mutate_bytes),
    Decoder("key-export", keyfile.Export.decode, keyfile.Export.encode, (_EXPORT.encode(),), _mutate_export),
)
