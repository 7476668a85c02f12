"""The charter's bytes, what is wrong with one, and the genesis that follows from it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import RemoteError
from leither_lite.header import body_digest, check_seal, roster_digest, segment_digest, state_digest
from leither_lite.identity import Key, h32
from leither_lite.ledger import group as ledger
from leither_lite.ledger.records import Entry, Record, Role
from leither_lite.ledger.state import State
from leither_lite.limits import SUPPLY_MAX
from leither_lite.organization import (
    PARAMETERS,
    Charter,
    SignedCharter,
    first_writes,
    genesis,
    usual_parameters,
)
from leither_lite.store.reader import MemoryStore
from leither_lite.tree import node
from leither_lite.tree.tree import SumTree
from tests.vectors.ledger import VECTORS, unhex

KEYS: Final = tuple(Key.from_seed(bytes([number]) * 32) for number in range(1, 9))
ORGANIZATION, FOUNDER, *OTHERS = KEYS
CHARTER: Final = Charter(
    ORGANIZATION.public, "Village", 10**6, 1_000, (FOUNDER.public,), FOUNDER.public, usual_parameters()
)
SIGNED: Final = SignedCharter.sign(ORGANIZATION, CHARTER)


def fields() -> list[Value]:
    """The charter as an array."""
    value = codec.decode(CHARTER.encode())
    if type(value) is not list:
        raise TypeError("a charter is an array")
    return value


def test_bytes_of_a_charter() -> None:
    expected: list[Value] = [
        1,
        ORGANIZATION.public,
        "Village",
        10**6,
        1_000,
        [FOUNDER.public],
        FOUNDER.public,
        [2, 86_400, 4, 1_800, 30 * 86_400, 256],
    ]
    content = codec.encode(expected)
    assert CHARTER.encode() == content
    signature = ORGANIZATION.sign(h32("charter", ORGANIZATION.account + content))
    assert SIGNED.encode() == codec.encode([content, signature])
    assert SignedCharter.decode(SIGNED.encode()) == SIGNED
    assert CHARTER.network == ORGANIZATION.account
    assert [CHARTER.parameter(row[0]) for row in PARAMETERS] == expected[7]


@given(
    st.text(min_size=1, max_size=16),
    st.integers(1, SUPPLY_MAX),
    st.integers(10, 60_000),
    st.sampled_from([1, 3]),
    st.tuples(*(st.integers(row[1], row[2]) for row in PARAMETERS)),
)
def test_round_trip(name: str, supply: int, pulse_ms: int, size: int, parameters: tuple[int, ...]) -> None:
    parameters = (*parameters[:2], max(parameters[2], size), *parameters[3:])
    roster = tuple(key.public for key in OTHERS[:size])
    charter = Charter(ORGANIZATION.public, name, supply, pulse_ms, roster, FOUNDER.public, parameters)
    assert Charter.decode(charter.encode()) == charter


@pytest.mark.parametrize(
    ("index", "value", "reason"),
    [
        (0, 2, "bad_charter"),
        (0, b"\1", "bad_charter"),
        (1, bytes(31), "bad_charter"),
        (2, "", "bad_charter"),
        (2, "x" * 65, "bad_charter"),
        (2, b"Village", "bad_charter"),
        (3, 0, "bad_charter"),
        (3, SUPPLY_MAX + 1, "bad_charter"),
        (4, 9, "bad_charter"),
        (4, 60_001, "bad_charter"),
        (5, [], "roster_size"),
        (5, [FOUNDER.public, ORGANIZATION.public], "roster_size"),
        (5, [key.public for key in KEYS[:7]], "bad_charter"),
        (5, [FOUNDER.public] * 3, "roster_doubled_key"),
        (5, [b"\1"], "roster_fields"),
        (5, 1, "bad_charter"),
        (6, ORGANIZATION.public, "bad_charter"),
        (6, bytes(20), "bad_charter"),
        (7, [2, 86_400, 4, 1_800], "bad_charter"),
        (7, [2, 86_400, 4, 1_800, 30 * 86_400], "bad_charter"),
        (7, [2, 86_400, 4, 1_800, 30 * 86_400, 256, 0], "bad_charter"),
        (7, [17, 86_400, 4, 1_800, 30 * 86_400, 256], "bad_charter"),
        (7, [2, 59, 4, 1_800, 30 * 86_400, 256], "bad_charter"),
        (7, [2, 86_400, 0, 1_800, 30 * 86_400, 256], "bad_charter"),
        (7, [2, 86_400, 8, 1_800, 30 * 86_400, 256], "bad_charter"),
        (7, [2, 86_400, 4, 9, 30 * 86_400, 256], "bad_charter"),
        (7, [2, 86_400, 4, 30 * 86_400 + 1, 30 * 86_400, 256], "bad_charter"),
        (7, [2, 86_400, 4, 1_800, 86_399, 256], "bad_charter"),
        (7, [2, 86_400, 4, 1_800, 30 * 86_400, 3], "bad_charter"),
        (7, [2, 86_400, 4, 1_800, 30 * 86_400, 257], "bad_charter"),
        (7, ["2", 86_400, 4, 1_800, 30 * 86_400, 256], "bad_charter"),
    ],
)
def test_refused(index: int, value: Any, reason: str) -> None:
    wrong = fields()
    wrong[index] = value
    with pytest.raises(RemoteError, match=reason):
        Charter.decode(codec.encode(wrong))


def test_refused_as_a_whole() -> None:
    for content in (codec.encode(fields()[:-1]), codec.encode([*fields(), 0]), b"\x01", bytes(16 * 1024 + 1)):
        with pytest.raises(RemoteError, match="bad_charter"):
            Charter.decode(content)


def test_signature() -> None:
    assert SignedCharter.take(SIGNED.content, SIGNED.signature) == SIGNED
    for signature in (FOUNDER.sign(b""), bytes(64), SIGNED.signature[::-1]):
        with pytest.raises(RemoteError, match="charter_signature"):
            SignedCharter.take(SIGNED.content, signature)
    with pytest.raises(RemoteError, match="charter_signature"):
        SignedCharter.take(replace(CHARTER, supply=7).encode(), SIGNED.signature)
    for wrong in (b"\x80", b"\x82\x40\x40", codec.encode([SIGNED.content, b""])):
        with pytest.raises(RemoteError, match="bad_charter"):
            SignedCharter.decode(wrong)


def test_json() -> None:
    told = json.loads(json.dumps(SIGNED.to_json()))
    assert SignedCharter.from_json(told) == SIGNED
    assert SignedCharter.from_json({"charter": told["charter"], "signature": told["signature"]}) == SIGNED
    assert SignedCharter.from_json({**told, "more": 1}) == SIGNED
    assert told["organization"] == ORGANIZATION.account.hex()
    assert told["roster"] == [FOUNDER.public.hex()]
    assert told["parameters"]["publicity_ticks"] == 86_400
    for name, value in (("supply", 7), ("name", "City"), ("roster", []), ("organization", "00"), ("parameters", {})):
        with pytest.raises(RemoteError, match="charter_mismatch"):
            SignedCharter.from_json({**told, name: value})
    wrongs: tuple[object, ...] = (None, [], {}, {"charter": told["charter"]})
    for wrong in wrongs:
        with pytest.raises(RemoteError, match="bad_charter"):
            SignedCharter.from_json(wrong)
    with pytest.raises(RemoteError, match="bad_hex"):
        SignedCharter.from_json({**told, "charter": told["charter"].upper()})
    with pytest.raises(RemoteError, match="bad_hex"):
        SignedCharter.from_json({**told, "signature": "00"})


def test_what_groups_go_by() -> None:
    assert CHARTER.rules == (4, 256, 1_800)
    parameters = usual_parameters(roster_max=3, group_max=5, term_ticks=10)
    assert replace(CHARTER, parameters=parameters).rules == (3, 5, 10)


def test_parameters() -> None:
    assert usual_parameters(held=0) == (0, *usual_parameters()[1:])
    with pytest.raises(ValueError, match="hold"):
        usual_parameters(hold=0)


def test_genesis() -> None:
    sealed, entries = genesis(CHARTER, SIGNED.content, [FOUNDER])
    network = ORGANIZATION.account
    assert entries == {
        network: Entry(0, Record(10**6, 0, 0, Role.ORGANIZATION, 0)),
        FOUNDER.account: Entry(0, Record(0, 0, 0, Role.SUPERVISOR, 0)),
    }
    tree = SumTree()
    for account, entry in entries.items():
        tree.put(account, entry.leaf(account))
    header = sealed.header
    assert (header.level, header.bits, header.prefix, header.network) == (1, 0, bytes(20), network)
    assert (header.term, header.pulse, header.tick) == (0, 0, 0)
    assert header.anchor == header.previous == bytes(32)
    assert sealed.inner == tree.root()
    assert node.node_sum(header.node) == 10**6
    assert State.decode(sealed.state, sealed.willing) == State(0, 0, bytes(36), bytes(36), bytes(36), 0, ())
    nobody = h32("willing", codec.encode([]))
    assert codec.decode(sealed.state) == [0, 0, bytes(36), bytes(36), bytes(36), 0, [], 0, 0, nobody, []]
    assert (sealed.outbox, sealed.sent_out, sealed.settled_in, sealed.willing) == (node.EMPTY, 0, 0, b"\x80")
    assert header.body == body_digest([(segment_digest(SIGNED.content), sealed.inner, sealed.meta)])
    check_seal(sealed.header_bytes, sealed.signatures, CHARTER.roster)


def test_genesis_header_of_the_vectors() -> None:
    """The vector's own segment and state stand in a header of the same form."""
    told = VECTORS["parts"]["genesis"]
    made = unhex(told)
    entries = {
        made["organization"]: Entry(0, Record(told["supply"], 0, 0, Role.ORGANIZATION, 0)),
        made["founder"]: Entry(0, Record(0, 0, 0, Role.SUPERVISOR, 0)),
    }
    inner = ledger.tree_of(entries).root()
    state = made["state"] if len(made["state"]) == 32 else state_digest(made["state"])
    meta = node.meta(roster_digest(made["roster"]), node.EMPTY, 0, 0, state)
    expected = replace(
        genesis(CHARTER, SIGNED.content, [FOUNDER])[0].header,
        network=made["organization"],
        node=node.group(1, 0, bytes(20), 0, inner, meta),
        body=body_digest([(segment_digest(made["segment"]), inner, meta)]),
    )
    assert expected.encode() == made["header"]


def test_founded_store_can_be_loaded() -> None:
    store = MemoryStore()
    store.write(first_writes(SIGNED, [FOUNDER]))
    group = ledger.load(store, ORGANIZATION.account, 10**6)
    assert group.roster_keys == (FOUNDER.public,)
    assert group.header.pulse == 0
