"""The walk through a store: a whole one has no findings, and each thing that can be wrong in one is seen and named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.edge import keyfile
from leither_lite.edge.walk import walk
from leither_lite.effects import Write
from leither_lite.errors import Halt
from leither_lite.header import (
    Checkpoint,
    body_digest,
    header_digest,
    segment_digest,
    sign_seal,
)
from leither_lite.identity import Key
from leither_lite.ledger import group as ledger
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.group import SNAPSHOT_PULSES
from leither_lite.ledger.receipts import Receipt, ReceiptKind
from leither_lite.ledger.records import decode_page, encode_page
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.sets import sent_content
from leither_lite.ledger.state import encode_willing
from leither_lite.ledger.tip import Tip
from leither_lite.organization import SignedCharter
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore
from leither_lite.tree import node
from tests.edge.folders import lived_in, opened

PULSES: Final = SNAPSHOT_PULSES + 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a snapshot within its history."""
    return lived_in(tmp_path_factory.mktemp("walk") / "data", PULSES)


@pytest.fixture(scope="module")
def content(folder: Path) -> dict[bytes, bytes]:
    """All that its store holds."""
    with opened(folder) as store:
        return dict(store.scan(b"", b"\xff"))


class Kept(MemoryStore):
    """A store in memory, one key of which cannot be read."""

    def __init__(self, writes: dict[bytes, bytes], damaged: bytes = b"") -> None:
        super().__init__()
        self.write(writes.items())
        self.damaged = damaged

    def scan(self, first: bytes, end: bytes, *, reverse: bool = False):  # type: ignore[no-untyped-def]
        """As the store on disk does it: a bad checksum ends the scan."""
        for key, value in super().scan(first, end, reverse=reverse):
            if key == self.damaged:
                raise Halt("store_corrupt", f"the value of {key.hex()} is damaged")
            yield key, value


def quiet(_: str) -> None:
    """Progress that nobody reads."""


def codes(content: dict[bytes, bytes], *writes: Write, full: bool = False) -> list[str]:
    """The codes that a walk finds once some values were changed."""
    store = Kept(content)
    store.write(writes)
    return [finding.code for finding in walk(store, full, quiet)]


def sealed_of(content: dict[bytes, bytes], pulse: int) -> SealedPulse:
    """What is kept of a pulse."""
    return SealedPulse.decode(content[keys.sealed(pulse)])


def test_a_whole_store(content: dict[bytes, bytes]) -> None:
    """No findings, with or without executing bodies again."""
    assert walk(Kept(content), False, quiet) == []
    assert walk(Kept(content), True, quiet) == []
    assert sealed_of(content, PULSES).header.pulse == PULSES


def test_progress_is_told(content: dict[bytes, bytes]) -> None:
    """A long walk says where it is; here it is the queue that is long."""
    told: list[str] = []
    operation = next(value for key, value in content.items() if key[:1] == b"q")
    many = {keys.queued(2**40 + number): operation for number in range(10_001)}
    assert walk(Kept(content | many), False, told.append) == []
    assert told == ["queued operations: 10000 read"]


def test_each_damaged_value_is_found(content: dict[bytes, bytes]) -> None:
    """Whichever it is, and the other tables are read all the same."""
    for key in content:
        found = walk(Kept(content, key), False, quiet)
        if key[:1] == b"m":
            assert "store_corrupt" in [finding.code for finding in found], key
        else:
            assert any(key.hex() in finding.message for finding in found), key
        assert all(finding.level == "error" and finding.action for finding in found)


@pytest.mark.parametrize("pulse", [0, 1, SNAPSHOT_PULSES - 1, SNAPSHOT_PULSES, PULSES - 1])
def test_each_missing_row_is_found(content: dict[bytes, bytes], pulse: int) -> None:
    """Header, accounts and body of a pulse."""
    rows = [key for key in content if key[:1] == b"p" and keys.sequence_of(key) == pulse]
    assert len(rows) == 3
    for row in rows:
        if row == keys.segment(0, 0):
            continue  # bodies go oldest first
        assert "chain" in codes(content, (row, None)), row.hex()
    assert codes(content, *((key, None) for key in rows))


def test_bodies_that_went_after_their_publicity(content: dict[bytes, bytes]) -> None:
    """Are no finding, as long as the oldest went first; and what is left is executed again."""
    gone = [(keys.segment(pulse, 0), None) for pulse in range(10)]
    assert codes(content, *gone, full=True) == []
    assert codes(content, *((keys.segment(pulse, 0), None) for pulse in range(PULSES + 1)), full=True) == []


def test_old_pulses_that_went(content: dict[bytes, bytes]) -> None:
    """The oldest that is left has a whole page."""
    store = Kept({key: value for key, value in content.items() if key[:1] != b"p" or keys.sequence_of(key) >= 64})
    assert walk(store, True, quiet) == []
    store = Kept({key: value for key, value in content.items() if key[:1] != b"p" or keys.sequence_of(key) >= 65})
    assert [finding.code for finding in walk(store, False, quiet)][:1] == ["chain"]


def test_changed_accounts_are_found(content: dict[bytes, bytes]) -> None:
    """One unit moved from one account to another, in a pulse of changes and in a whole page."""
    for row in (keys.changes(5), keys.snapshot(SNAPSHOT_PULSES), keys.snapshot(0)):
        entries = decode_page(content[row])
        (first, one), (second, two) = entries[0], entries[1]
        moved = [
            (first, one._replace(record=one.record._replace(balance=one.record.balance + 1))),
            (second, two._replace(record=two.record._replace(balance=max(two.record.balance - 1, 0)))),
        ]
        for other in ([*moved, *entries[2:]], entries[1:]):
            page = encode_page((account, entry.pulse, entry.record.encode()) for account, entry in other)
            assert "chain" in codes(content, (row, page)), row.hex()


def test_a_forged_seal_is_found(content: dict[bytes, bytes]) -> None:
    """Signatures of nobody, of somebody else, or of another header."""
    sealed = sealed_of(content, 7)
    stranger = Key.from_seed(bytes(32))
    forged = (
        replace(sealed, signatures=()),
        replace(sealed, signatures=((stranger.public, sign_seal(stranger, sealed.header_bytes)),)),
        replace(sealed, signatures=sealed_of(content, 6).signatures),
    )
    for other in forged:
        assert codes(content, (keys.sealed(7), other.encode())) == ["chain"]


def resealed(folder: Path, sealed: SealedPulse, **changed: object) -> Write:
    """A header changed and sealed again by the node's own key: only the chain's rules can tell."""
    key = keyfile.load(folder / keyfile.NODE_KEY)
    header = replace(sealed.header, **changed)  # type: ignore[arg-type]
    content = header.encode()
    signed = replace(sealed, header_bytes=content, signatures=((key.public, sign_seal(key, content)),))
    return keys.sealed(sealed.header.pulse), signed.encode()


def test_headers_that_do_not_follow_are_found(folder: Path, content: dict[bytes, bytes]) -> None:
    """Even where the roster itself has sealed them: the newest pulse, so that nothing else is wrong."""
    sealed = sealed_of(content, PULSES)
    header = sealed.header
    for changed in (
        {"previous": bytes(32)},
        {"tick": header.tick - PULSES},
        {"network": bytes(20)},
        {"node": node.pack_node(header.pulse, 5, bytes(20))},
        {"body": body_digest(())},
        {"pulse": header.pulse + 1},
    ):
        assert codes(content, resealed(folder, sealed, **changed))[:1] == ["chain"], changed


def test_money_out_of_nothing_is_found(folder: Path, content: dict[bytes, bytes]) -> None:
    """A sealed page with one unit more than the supply, its header and body consistent with it."""
    sealed = sealed_of(content, PULSES)
    inner = node.pack_node(node.node_pulse(sealed.inner), node.node_sum(sealed.inner) + 1, sealed.inner[16:])
    entries = (*sealed.entries[:-1], (sealed.entries[-1][0], inner, sealed.meta))
    header = sealed.header
    changed = replace(sealed, inner=inner, entries=entries)
    group = node.group(header.level, header.bits, header.prefix, header.pulse, inner, sealed.meta)
    found = codes(content, resealed(folder, changed, node=group, body=body_digest(entries)))
    assert found[0] == "not_conserved"


def test_a_body_that_leads_elsewhere_is_found_by_executing_it(folder: Path, content: dict[bytes, bytes]) -> None:
    """A segment without its last operation, sealed as if it were the right one: only `full` can tell."""
    pulse = 1
    sealed = sealed_of(content, pulse)
    operations = codec.decode(content[keys.segment(pulse, 0)])
    assert isinstance(operations, list)
    segment = encode(operations[:-1])
    entries = ((segment_digest(segment), *sealed.entries[0][1:]),)
    writes: list[Write] = [(keys.segment(pulse, 0), segment)]
    writes.append(resealed(folder, replace(sealed, entries=entries), body=body_digest(entries)))
    before = SealedPulse.decode(writes[-1][1] or b"")
    for later in range(pulse + 1, PULSES + 1):
        write = resealed(folder, sealed_of(content, later), previous=header_digest(before.header_bytes))
        before = SealedPulse.decode(write[1] or b"")
        writes.append(write)
    assert codes(content, *writes) == []
    assert codes(content, *writes, full=True) == ["body"]


def receipt(number: int) -> Receipt:
    """A receipt of some payment."""
    return Receipt(bytes(20), number, bytes([number]) * 20, 5, ReceiptKind.PAYMENT, bytes(32), 9)


def with_receipts(content: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The store with two receipts that are under way and three that are settled, and a tip that says so."""
    store = Kept(content)
    charter = SignedCharter.decode(content[keys.CHARTER]).charter
    group = ledger.load(store, charter.network, charter.supply)
    for number in range(1, 3):
        group.pending.put(receipt(number), number)
        store.write([(keys.pending(receipt(number).id), sent_content(receipt(number), number))])
    for number in range(3, 6):
        group.settled.put(receipt(number), number)
    state = group.state._replace(pending=group.pending.tree.root(), settled=group.settled.tree.root())
    store.write(group.settled.writes())
    tip = Tip.after(group.sealed, state)._replace(term=1)
    store.write([(keys.TIP, tip.encode())])
    return store.content()


def test_receipts_are_looked_through(content: dict[bytes, bytes]) -> None:
    """A store with receipts is whole, and each of their rows that is missing or damaged is found."""
    more = with_receipts(content)
    rows = [key for key in more if key not in content]
    assert {key[:1] for key in rows} == {b"o", b"s", b"S", b"m"}
    assert codes(more) == codes(more, full=True) == []
    for row in rows:
        assert codes(more, (row, None)), row
        [*_, found] = [finding.code for finding in walk(Kept(more, row), False, quiet)]
        assert found == "store_corrupt" or row[:1] in b"Sm", row
    other = sent_content(receipt(6), 4)
    assert "newest_state" in codes(more, (keys.settled(4, receipt(6).id), other))
    swapped = [(keys.settled(4, receipt(4).id), None), (keys.settled(4, receipt(6).id), other)]
    assert codes(more, *swapped) == ["newest_state"]


def test_others_that_are_willing_are_found(folder: Path, content: dict[bytes, bytes]) -> None:
    """W lies beside S, which commits to it."""
    sealed = sealed_of(content, 7)
    other = replace(sealed, willing=encode_willing([Willing(bytes(32), "", 0, 0)]))
    assert codes(content, (keys.sealed(7), other.encode())) == ["chain"]


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        (b"mother", b"1", "unknown_key"),
        (b"x" + bytes(8), b"1", "unknown_key"),
        (b"\xff", b"1", "unknown_key"),
        (keys.transfer(1) + b"1", b"1", "unknown_key"),
        (keys.transfer(2**40), b"\x80", "damaged"),
        (keys.queued(2**40), b"\x83\x40\x40\x40", "damaged"),
        (keys.application(bytes(20)), b"\x80", "damaged"),
        (keys.invite(bytes(20)), b"1", "damaged"),
        (keys.paid(bytes(20), bytes(32)), (2**40).to_bytes(8, "big"), "damaged"),
        (keys.idempotency(bytes(16)), bytes(23), "damaged"),
        (keys.pending(bytes(20)), b"\x80", "damaged"),
        (keys.pending(bytes(20)), sent_content(receipt(1), 1), "damaged"),
        (keys.pending(receipt(1).id), sent_content(receipt(1), 1), "store_corrupt"),
        (keys.settled(1, bytes(20)), b"\x80", "damaged"),
        (keys.settled(2, receipt(1).id), sent_content(receipt(1), 1), "damaged"),
        (keys.settled(1, receipt(1).id), sent_content(receipt(1), 1), "newest_state"),
        (keys.settled_tree(b""), b"\x80", "tree_corrupt"),
        (keys.TIP, b"\x80", "store_corrupt"),
        (keys.sealed(PULSES) + b"x", b"1", "chain"),
        (keys.sealed(2**40), b"1", "chain"),
        (b"p1", b"1", "chain"),
        (keys.CHARTER, b"\x80", "charter"),
        (keys.CHECKPOINT, Checkpoint(0, bytes(32), b"\x81\x58\x20" + bytes(32), bytes(64)).encode(), "checkpoint"),
    ],
)
def test_values_that_nobody_can_have_written(content: dict[bytes, bytes], key: bytes, value: bytes, code: str) -> None:
    """Whatever the table."""
    assert code in codes(content, (key, value))


def test_findings_are_bounded(content: dict[bytes, bytes]) -> None:
    """A store full of nonsense does not fill the memory."""
    assert len(codes(content, *((b"m%d" % number, b"") for number in range(1_000)))) == 100
