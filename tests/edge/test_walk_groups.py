"""The walk through stores of a network of several groups: whole ones have no findings, and damage is seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, cast

import pytest

from leither_lite import codec
from leither_lite.board import Board
from leither_lite.codec import Value, encode
from leither_lite.edge import lmdb, machine
from leither_lite.edge.doctor import examine
from leither_lite.edge.founding import write_ledger
from leither_lite.edge.lmdb import schema_write
from leither_lite.edge.service import open_store
from leither_lite.edge.walk import walk
from leither_lite.effects import Write
from leither_lite.errors import Halt
from leither_lite.header import body_digest, decode_roster, encode_roster, segment_digest, sign_seal
from leither_lite.identity import Key
from leither_lite.ledger.group import base_pulse, last_pulse, load
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.node.group_states import make_group_state, take_group_state
from leither_lite.node.scope import Scope, group_starts
from leither_lite.node.turn import read_start
from leither_lite.node.wallet import Keyring, Wallet
from leither_lite.organization import SignedCharter
from leither_lite.sim.machine import Machine
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore
from tests.edge.folders import MAP_BYTES, founded, overwrite
from tests.edge.test_walk import Kept, quiet
from tests.node.groups import Groups

NAMED_MS_MAX: Final = 300_000
START: Final = len(keys.group(2, 0, bytes(20)))
STRANGER: Final = Key.from_seed(bytes(32))

Content = dict[bytes, bytes]


class Moments(NamedTuple):
    """What the disk of each machine held: when all were at rest in several groups; when a payment was under way to a
    group that had become silent; when its parent had named others to seal; and when all was at rest again."""

    keys: tuple[Key, ...]
    grown: list[Content]
    under_way: list[Content]
    named: list[Content]
    settled: list[Content]

    def every(self) -> list[Content]:
        """All of them."""
        return [content for moment in self[1:] for content in moment]


@pytest.fixture(scope="module")
def moments() -> Moments:
    """Two of a roster of four stop, so that the group seals nothing until the parent names others; then they are back,
    and take the state of their group as it is then."""
    with checked_once():
        groups = Groups().grown()
        found = [_disks(groups)]
        silent = max(groups.nodes, key=lambda node: len(node.group.entries)).group
        free = [
            machine
            for machine in groups.machines
            if machine.node is not None and machine.key_public in silent.roster_keys and not machine.node.between.seats
        ]
        assert len(silent.roster_keys) == 4
        stopped = free[:2]
        others = [node for node in groups.nodes if node.group.prefix != silent.prefix]
        payer = groups.nodes.index(next(node for node in others if node.between.seats))
        for machine in stopped:
            machine.stop()
        payee = next(m.index for m in groups.machines if m.node is not None and m.node.group.prefix == silent.prefix)
        groups.pay(payer, payee, 3)
        groups.until(lambda: any(map(_shows, groups.machines)))
        groups.until(lambda: any(map(_votes_above, groups.machines)))
        found.append(_disks(groups))
        groups.until(lambda: any(machine.disk.get(keys.APPOINTED) for machine in groups.machines), NAMED_MS_MAX)
        found.append(_disks(groups))
        groups.until(lambda: not any(map(_shows, groups.machines)))
        for machine in stopped:
            machine.start()
        groups.until(groups.is_at_rest)
        found.append(_disks(groups))
    return Moments(tuple(groups.keys), *found)


def _shows(machine: Machine) -> bool:
    return next(machine.disk.scan(*keys.SHOWN), None) is not None


def _votes_above(machine: Machine) -> bool:
    scopes = (Scope(machine.disk, start) for start in group_starts(machine.disk))
    return any(next(scope.scan(*keys.VOTES), None) is not None for scope in scopes)


def _disks(groups: Groups) -> list[Content]:
    return [machine.disk.content() for machine in groups.machines]


def kind(key: bytes) -> str:
    """Which row of docs/store.md a key is of."""
    if key[:1] == b"m":
        return key.decode()
    if key[:1] == b"g":
        return "g " + kind(key[START:])
    return f"p {key[9]}" if key[:1] == b"p" else chr(key[0])


def _kinds(content: Content) -> dict[str, bytes]:
    """The last key of each kind."""
    return {kind(key): key for key in content}


def codes(content: Content, *writes: Write, full: bool = False) -> list[str]:
    """The codes that a walk finds once some values were changed."""
    store = MemoryStore()
    store.write(content.items())
    store.write(writes)
    return [finding.code for finding in walk(store, full, quiet)]


def has(contents: list[Content], *kinds: str) -> Content:
    """A store that has rows of these kinds."""
    return next(content for content in contents if all(each in _kinds(content) for each in kinds))


def test_all_stores_are_whole(moments: Moments) -> None:
    """At each moment, on each machine, with all bodies executed again: those of groups that were split, of one whose
    roster was named by its parent, and of nodes that took the state from others."""
    for content in moments.every():
        store = Kept(content)
        assert walk(store, True, quiet) == []
        read_start(store)
    assert any(keys.APPOINTED in content for content in moments.named)
    assert any(base_pulse(Kept(content)) > base_pulse(Kept(moments.grown[0])) for content in moments.settled)


def test_there_is_a_row_of_every_kind(moments: Moments) -> None:
    """So what is said of these stores is said of all that docs/store.md has of several groups."""
    found = {each for content in moments.every() for each in _kinds(content)}
    assert found >= {"O", "S", "a", "d", "f", "h", "o", "r", "s", "t", "p 0", "p 1", "p 2", "p 3", "p 4"}
    assert found >= {"mbase", "mkin", "morigin", "mroot", "mtip", "mappointed"}
    assert found >= {"g C", "g W", "g mupper", "g p 0", "g p 3", "g v"}


def test_each_damaged_row_is_found(moments: Moments) -> None:
    """One of each kind, whatever the moment; and the rest is read all the same."""
    seen: set[str] = set()
    for content in moments.every():
        for each, key in _kinds(content).items():
            if each in seen:
                continue
            seen.add(each)
            found = walk(Kept(content, key), False, quiet)
            assert any(key.hex() in finding.message for finding in found), each
            assert all(finding.level == "error" and finding.action for finding in found)


def test_every_row_of_one_store_is_read(moments: Moments) -> None:
    """Of a node with a seat above its own group, which was split: also what lies before the split."""
    content = has(moments.settled, "g mupper", "g p 0", "p 4")
    for key in content:
        assert walk(Kept(content, key), False, quiet), key.hex()
    assert min(keys.sequence_of(key) for key in content if key[:1] == b"p") < base_pulse(Kept(content))


def test_bodies_that_went_after_their_publicity(moments: Moments) -> None:
    """What is left is executed again, from the first pulse on that the store knows enough of."""
    for content in (has(moments.settled, "s", "morigin"), has(moments.named, "d", "morigin")):
        bodies = sorted({keys.sequence_of(key) for key in content if kind(key) == "p 3"})
        for last in bodies:
            gone = [(key, None) for key in content if kind(key) == "p 3" and keys.sequence_of(key) <= last]
            assert codes(content, *gone, full=True) == []


def test_a_body_that_leads_elsewhere_is_found_by_executing_it(moments: Moments) -> None:
    """A segment without its last operation, sealed by the roster as if it were the right one."""
    content = has(moments.settled, "s", "p 4")
    pulse = last_pulse(Kept(content))
    sealed = SealedPulse.decode(content[keys.sealed(pulse)])
    operations = codec.decode(content[keys.segment(pulse, 0)])
    assert isinstance(operations, list)
    segment = encode(operations[:-1])
    entries = ((segment_digest(segment), *sealed.entries[0][1:]), *sealed.entries[1:])
    header = replace(sealed.header, body=body_digest(entries)).encode()
    roster = decode_roster(content[keys.sealers(pulse)][8:])
    signatures = tuple((key.public, sign_seal(key, header)) for key in moments.keys if key.public in roster)
    other = replace(sealed, header_bytes=header, entries=entries, signatures=signatures)
    writes = [(keys.sealed(pulse), other.encode()), (keys.segment(pulse, 0), segment)]
    assert codes(content, *writes) == []
    assert codes(content, *writes, full=True) == ["body"]


def test_a_seal_by_others_is_found(moments: Moments) -> None:
    """Who had the say lies beside the header, and follows from the header before it."""
    content = has(moments.grown, "p 4", "p 1", "t")
    pulse = last_pulse(Kept(content))
    row = keys.sealers(pulse)
    before = content[row][:8]
    sealed = SealedPulse.decode(content[keys.sealed(pulse)])
    own = ((STRANGER.public, sign_seal(STRANGER, sealed.header_bytes)),)
    forged = (keys.sealed(pulse), replace(sealed, signatures=own).encode())
    assert "chain" in codes(content, (row, before + encode_roster((STRANGER.public,))), forged)
    assert "chain" in codes(content, (row, (2**40).to_bytes(8, "big") + content[row][8:]))
    assert "chain" in codes(content, (row, None))


def test_another_root_chain_is_found(moments: Moments) -> None:
    """The own headers build on root headers, and the newest is kept with its seal."""
    content = has(moments.grown, "p 4", "p 1", "r")
    anchor = keys.root(last_pulse(Kept(content)) - 1)
    other = bytes(32) + content[anchor][32:]
    assert "chain" in codes(content, (anchor, other))
    newest = _kinds(content)["r"]
    assert "root" in codes(content, (newest, other))
    header, signatures = codec.fields(codec.decode(content[keys.ROOT]), 2, "bad_root")
    assert signatures
    assert "store_corrupt" in codes(content, (keys.ROOT, encode([header, []])), (newest, None))


@pytest.mark.parametrize(
    ("of", "change", "code"),
    [
        ("O", lambda value: value[:-1], "damaged"),
        ("O", lambda value: encode([cast(list[Value], codec.decode(value))[0], encode([12, 0])]), "damaged"),
        ("d", lambda value: (2**40).to_bytes(8, "big"), "damaged"),
        ("d", lambda value: value + b"0", "damaged"),
        ("o", lambda value: None, "store_corrupt"),
        ("r", lambda value: value[:-1], "damaged"),
        ("mkin", lambda value: value[:-1], "damaged"),
        ("mkin", lambda value: value[:20] + value[:20], "damaged"),
        ("morigin", lambda value: bytes(8), "damaged"),
        ("mroot", lambda value: b"\x80", "damaged"),
        ("mappointed", lambda value: b"\x80", "store_corrupt"),
        ("mtip", lambda value: None, "store_corrupt"),
        ("g C", lambda value: None, "store_corrupt"),
        ("g C", lambda value: b"\x80", "damaged"),
        ("g W", lambda value: None, "store_corrupt"),
        ("g W", lambda value: b"\x80", "damaged"),
        ("g mupper", lambda value: None, "store_corrupt"),
        ("g mupper", lambda value: b"\x80", "store_corrupt"),
        ("g v", lambda value: b"\x80", "damaged"),
        ("g p 0", lambda value: None, "seat"),
        ("g p 3", lambda value: None, "seat"),
        ("g p 3", lambda value: b"\x81\x00", "seat"),
    ],
)
def test_values_that_nobody_can_have_written(moments: Moments, of: str, change, code: str) -> None:  # type: ignore[no-untyped-def]
    """Whatever the table."""
    content = has(moments.every(), of)
    row = _kinds(content)[of]
    assert code in {"seat": {"seat", "chain"}}.get(code, {code}) & set(codes(content, (row, change(content[row]))))


def test_keys_of_no_seat_are_found(moments: Moments) -> None:
    """In the part of a group there is nothing but what a group has; what was signed stays when a seat is given up."""
    content = has(moments.grown, "g mupper")
    start = _kinds(content)["g mupper"][:START]
    for key in (start + b"x", start + keys.ROOT, start + keys.pending(bytes(20)), start[:10]):
        assert codes(content, (key, b"1")) == ["unknown_key"]
    elsewhere = keys.group(2, 1, bytes(20))
    assert codes(content, (elsewhere + keys.UPPER, content[start + keys.UPPER])) != []
    log = elsewhere + b"v" + bytes(5)
    assert codes(content, (log, encode([1, bytes(32), []]))) == []


def test_a_seat_that_does_not_stand_where_it_says_is_found(moments: Moments) -> None:
    """Its roster, its state, the pulse that it names."""
    content = has(moments.grown, "g mupper", "g p 0")
    row = _kinds(content)["g mupper"]
    values = codec.fields(codec.decode(content[row]), 8, "bad_upper")
    oldest = min(key for key in content if kind(key) == "g p 0")
    for index, other in ((3, bytes(32)), (4, encode_roster((STRANGER.public,))), (6, 0), (7, content[oldest])):
        assert codes(content, (row, encode([*values[:index], other, *values[index + 1 :]])))


def test_a_start_reads_what_lies_between_groups(moments: Moments) -> None:
    """So that a damaged page is a message, before the node maps it."""
    content = has(moments.under_way, "O", "g mupper")
    for each in ("O", "g C", "g W", "g mupper", "r", "h"):
        with pytest.raises(Halt, match="damaged"):
            read_start(Kept(content, _kinds(content)[each]) if each != "g mupper" else Lacking(content, each))


class Lacking(MemoryStore):
    """A store in memory in which values of one kind cannot be read."""

    def __init__(self, content: Content, of: str) -> None:
        super().__init__()
        self.write(content.items())
        self._of = of

    def get(self, key: bytes) -> bytes | None:
        """As the store on disk does it."""
        if kind(key) == self._of:
            raise Halt("store_corrupt", f"the value of {key.hex()} is damaged")
        return super().get(key)


def test_the_doctor_and_a_start_on_the_disk(moments: Moments, tmp_path: Path) -> None:
    """The same in a file: the doctor has nothing to say of such a store, and a node may start on it."""
    folder = founded(tmp_path / "node")
    path = folder / lmdb.FILE
    path.unlink()
    write_ledger(path, MAP_BYTES, [*has(moments.under_way, "O", "d", "g mupper").items(), schema_write()])
    overwrite(folder, (keys.PLACE, b"\0" + machine.place(path)))
    found = {finding.code: finding.level for finding in examine(folder, None, True, quiet)}
    assert found["store"] == "ok"
    assert "error" not in found.values()
    open_store(folder, Board()).close()


def test_a_forgotten_transfer_leaves_nothing(moments: Moments) -> None:
    """Whoever keeps few transfers may let go of one that is still under way."""
    content = has(moments.under_way, "d")
    row = _kinds(content)["d"]
    number = int.from_bytes(content[row], "big")
    key = next(key for key in moments.keys if key.account == row[1:21])
    wallet = Wallet(Kept(content), Keyring(key))
    transfer = wallet.transfer(number)
    assert transfer is not None
    writes = wallet.forget(number, transfer)
    assert (row, None) in writes
    assert codes(content, *writes) == []


def test_a_header_that_never_came_under_the_root_is_gone_with_a_jump(moments: Moments) -> None:
    """Though its pulse is that of the state which is taken, or a higher one: nothing of it is in the way."""
    index = next(
        i for i, content in enumerate(moments.settled) if content.get(keys.BASE) != moments.grown[i][keys.BASE]
    )
    taken = MemoryStore()
    taken.write(moments.settled[index].items())
    charter = SignedCharter.decode(moments.grown[0][keys.CHARTER]).charter
    group = load(taken, charter.network, charter.supply)
    state = make_group_state(taken, group)
    pulse = group.header.pulse
    for void in (pulse, pulse + 3):
        store = MemoryStore()
        store.write(moments.grown[index].items())
        last = last_pulse(store)
        rows = {keys.sealed: keys.sealed(last), keys.sealers: keys.sealers(last), keys.changes: keys.snapshot(0)}
        store.write([(of(void), store.get(row)) for of, row in rows.items()])
        assert walk(store, False, quiet) != []
        store.write(take_group_state(store, charter.network, state, (group.prefix, group.bits), group.header.node))
        assert walk(store, True, quiet) == []
        assert load(store, charter.network, charter.supply).digest == group.digest
