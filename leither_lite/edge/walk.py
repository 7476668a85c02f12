"""A walk through a whole store: does every retained pulse follow from the one before it? (docs/store.md)

Decides what is wrong with a store, by the ledger's own rules, and goes on to the next table when one is damaged. Never
writes, never repairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from struct import error as StructError
from typing import Final, Literal

from leither_lite import codec
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import (
    Checkpoint,
    body_digest,
    check_seal,
    decode_roster,
    header_digest,
    segment_digest,
)
from leither_lite.ledger import group as ledger
from leither_lite.ledger.committee import Willingness
from leither_lite.ledger.enacted import enacted_roster
from leither_lite.ledger.operations import decode as decode_operation
from leither_lite.ledger.receipts import Receipt
from leither_lite.ledger.records import Entry, decode_page
from leither_lite.ledger.replay import execute_again
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.sets import read_sent
from leither_lite.ledger.state import State
from leither_lite.ledger.traffic import CYCLE
from leither_lite.ledger.upper_store import load_upper
from leither_lite.limits import DIGEST_BYTES, ID_BYTES, SEGMENT_BYTES_MAX
from leither_lite.node.scope import Scope, after
from leither_lite.node.wallet import kept_application, kept_transfer, read_queued
from leither_lite.organization import SignedCharter
from leither_lite.pulse.votes import Evidence
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree import node
from leither_lite.tree.proof_cbor import take_handover
from leither_lite.tree.tree import SumTree

RESTORE: Final = (
    "stop here: put back a copy of the folder, or set up a new one with the exported key; keep this one to look into"
)
FINDINGS_MAX: Final = 100

_NUMBER_BYTES: Final = 8
_ASKED_BYTES: Final = 16
_GROUP_KEY_BYTES: Final = len(keys.group(1, 0, bytes(ID_BYTES)))
_TABLE_END: Final = b"\xff" * 64
# First byte of the keys of a table: its name, and the length of its keys.
_TABLES: Final = {
    b"a": ("addresses", 1 + ID_BYTES),
    b"b": ("a locked body", 1 + 2),
    b"c": ("checkpoints", 1 + _NUMBER_BYTES),
    b"d": ("payments to other groups", 1 + ID_BYTES + _NUMBER_BYTES),
    b"e": ("evidence", 1 + _NUMBER_BYTES),
    b"f": ("paid invoices", 1 + ID_BYTES + DIGEST_BYTES),
    b"h": ("handovers", 1 + _NUMBER_BYTES),
    b"i": ("used invites", 1 + ID_BYTES),
    b"k": ("idempotency keys", 1 + _ASKED_BYTES),
    b"n": ("applications", 1 + ID_BYTES),
    b"o": ("pending receipts", 1 + ID_BYTES),
    b"O": ("what shows pending receipts", 1 + ID_BYTES),
    b"q": ("queued operations", 1 + _NUMBER_BYTES),
    b"r": ("root headers", 1 + _NUMBER_BYTES),
    b"s": ("settled receipts", 1 + _NUMBER_BYTES + ID_BYTES),
    b"t": ("transfers", 1 + _NUMBER_BYTES),
    b"v": ("own signatures", 1 + 1 + 4),
}
_SINGLE: Final = frozenset(
    [
        keys.APPLYING,
        keys.BASE,
        keys.BOOTSTRAP,
        keys.CHARTER,
        keys.CHECKPOINT,
        keys.GENESIS,
        keys.KIN,
        keys.ORIGIN,
        keys.PLACE,
        keys.ROOT,
        keys.SCHEMA,
        keys.TIP,
        keys.WALLET,
    ]
)
_OTHERS: Final = frozenset([b"m", b"p", keys.GROUPS[0], keys.SETTLED_TREE[0]])


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: what it is, and (unless it is in order) what to do."""

    level: Literal["ok", "warning", "error"]
    code: str
    message: str
    action: str = ""


class Walk:
    """One walk. `findings` grows as it goes, up to `FINDINGS_MAX`; `progress` is told where it is."""

    def __init__(self, reader: Reader, progress: Callable[[str], None]) -> None:
        self.findings: list[Finding] = []
        self._reader = reader
        self._progress = progress

    @property
    def is_clean(self) -> bool:
        """True while nothing wrong has been found."""
        return not self.findings

    def run(self, full: bool) -> None:
        """Every value, the chain of sealed pulses with the state of each, and with `full` every body once more."""
        for first in _TABLES:
            with self._noting("damaged"):
                self._read_table(first)
        with self._noting("damaged"):
            self._read_strays()
        charter = None
        with self._noting("charter"):
            charter = SignedCharter.decode(self._reader.get(keys.CHARTER) or b"")
        if charter is None:
            return
        with self._noting("checkpoint"):
            self._read_checkpoint(charter)
        with self._noting("seat"):
            self._read_seats(charter)
        with self._noting("chain"):
            self._follow(charter)
        with self._noting("newest_state"):
            group = ledger.load(self._reader, charter.charter.network, charter.charter.supply)
            _check_settled(self._reader, group.settled.tree)
        if full and self.is_clean:
            with self._noting("body"):
                self._execute(charter)

    @contextmanager
    def _noting(self, code: str) -> Iterator[None]:
        """Make a finding of whatever ends a part of the walk."""
        try:
            yield
        except Halt as halt:
            self._note(halt.code, halt.message)
        except (RemoteError, StructError) as error:  # a key too short for its table has no number
            self._note(code, str(error))

    def _note(self, code: str, message: str) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding("error", code, message, RESTORE))

    def _read_table(self, first: bytes) -> None:
        """Each value's checksum and form."""
        name, size = _TABLES[first]
        for number, (key, content) in enumerate(self._reader.scan(first, bytes([first[0] + 1]))):
            if number % 10_000 == 9_999:
                self._progress(f"{name}: {number + 1} read")
            if len(key) != size:
                self._note("unknown_key", f"{key.hex()} is no key of this schema")
                continue
            try:
                self._read_value(first, key, content)
            except (RemoteError, Halt) as error:
                self._note("damaged", f"the value of {key.hex()} is none that can have been written: {error}")

    def _read_value(self, first: bytes, key: bytes, content: bytes) -> None:
        if first in (b"o", b"s"):
            receipt, pulse = read_sent(content)
            if key != (keys.pending(receipt.id) if first == b"o" else keys.settled(pulse, receipt.id)):
                raise RemoteError("bad_receipt", "it belongs elsewhere")
        elif first == b"q":
            decode_operation(read_queued(content)[0])
        elif first == b"O":
            sent, operation = codec.fields(codec.decode(content), 2, "bad_shown")
            if key != keys.shown(Receipt.take(sent, "bad_shown").id):
                raise RemoteError("bad_shown", "it belongs elsewhere")
            decode_operation(codec.octets_upto(operation, SEGMENT_BYTES_MAX, "bad_shown"))
        elif first == b"r":
            if len(content) != DIGEST_BYTES + _NUMBER_BYTES:
                raise RemoteError("bad_size", f"{len(content)} bytes")
        elif first == b"t":
            kept_transfer(content)
        elif first == b"n":
            kept_application(content)
        elif first == b"a":
            Willingness.decode(*codec.fields(codec.decode(content), 2, "bad_address"))
        elif first == b"c":
            Checkpoint.decode(content)
        elif first == b"e":
            Evidence.decode(content)
        elif first == b"h":
            take_handover(codec.decode(content))
        elif first == b"v":
            codec.fields(codec.decode(content), 3, "bad_log")
        elif first == b"b":
            codec.items(codec.decode(content), SEGMENT_BYTES_MAX, "bad_segment")
        elif len(content) != (_NUMBER_BYTES + _ASKED_BYTES if first == b"k" else _NUMBER_BYTES):
            raise RemoteError("bad_size", f"{len(content)} bytes")
        elif first != b"i":
            number = int.from_bytes(content[:_NUMBER_BYTES], "big")
            if self._reader.get(keys.transfer(number)) is None:
                raise RemoteError("no_transfer", f"there is no transfer {number}")

    def _read_strays(self) -> None:
        """Tables that this schema has not, and the values that stand alone."""
        at = b""
        while (found := next(self._reader.scan(at, _TABLE_END), None)) is not None:
            first = found[0][:1]
            if first not in _TABLES and first not in _OTHERS:
                self._note("unknown_key", f"{found[0].hex()} is no key of this schema")
            at = bytes([first[0] + 1]) if first < b"\xff" else _TABLE_END
        for key, _ in self._reader.scan(b"m", b"n"):
            if key not in _SINGLE:
                self._note("unknown_key", f"{key.hex()} is no key of this schema")

    def _read_seats(self, charter: SignedCharter) -> None:
        """The groups above level 1 that this node keeps: what each stands on, and its children."""
        told = charter.charter
        at = keys.GROUPS[0]
        while (found := next(self._reader.scan(at, keys.GROUPS[1]), None)) is not None:
            start = found[0][:_GROUP_KEY_BYTES]
            if len(start) < _GROUP_KEY_BYTES:
                raise RemoteError("seat", f"{start.hex()} is no key of this schema")
            scope = Scope(self._reader, start)
            if scope.get(keys.UPPER) is not None:
                load_upper(scope, told.network, told.supply, told.rules, lambda digest, pulse: False)
            at = after(start)

    def _read_checkpoint(self, charter: SignedCharter) -> None:
        content = self._reader.get(keys.CHECKPOINT)
        if content is not None:
            Checkpoint.decode(content).verify(charter.charter.network, charter.charter.organization_key)

    def _follow(self, charter: SignedCharter) -> None:
        """Every retained pulse from the oldest: its header, its seal, its state, and what is left of its body."""
        before: SealedPulse | None = None
        tree, page = SumTree(), dict[bytes, Entry]()
        has_bodies = False
        base = ledger.base_pulse(self._reader)  # what lies below it is of no more use, and goes bit by bit
        for pulse, rows in groupby(
            self._reader.scan(keys.sealed(base), keys.PULSES[1]), lambda row: keys.sequence_of(row[0])
        ):
            if pulse % 1_000 == 999:
                self._progress(f"pulse {pulse}")
            kept = dict(rows)
            sealed = SealedPulse.decode(_taken(kept, keys.sealed(pulse)))
            above = ledger.pulse_before(self._reader, pulse)
            if sealed.header.pulse != pulse or (before is not None and above != before.header.pulse):
                raise RemoteError("chain", f"pulse {pulse} is not where it belongs, or the one before it is missing")
            _check_header(self._reader, sealed, before, charter)
            if before is None and pulse:
                ledger.check_kept_seal(self._reader, sealed)
            tree.put_many(_changed_leaves(kept, pulse, above, page, before is None, pulse == base))
            if tree.root() != sealed.inner and not (pulse == base and _offers(sealed)):
                raise RemoteError("chain", f"the accounts of pulse {pulse} do not lead to its header")
            has_bodies = has_bodies or keys.segment(pulse, 0) in kept  # they go after their publicity, oldest first
            for index, entry in enumerate(sealed.entries if has_bodies else ()):
                if segment_digest(_taken(kept, keys.segment(pulse, index))) != entry[0]:
                    raise RemoteError("chain", f"segment {index} of pulse {pulse} is not the one that was sealed")
            kept.pop(keys.sealers(pulse), None)
            if pulse == base:
                kept.pop(keys.changes(pulse), None)  # of the group that this one was split from
            if kept:
                raise RemoteError("chain", f"{next(iter(kept)).hex()} is no key of this schema")
            before = sealed
        if before is None:
            raise RemoteError("chain", "no pulse is sealed, not even the genesis")

    def _execute(self, charter: SignedCharter) -> None:
        """Execute every body of a root group again whose predecessor's state is here; the genesis has no operations."""
        reader = self._reader
        pulse = ledger.first_pulse(reader) + 1
        while (sealed := ledger.sealed_at(reader, pulse)) is not None and reader.get(keys.segment(pulse, 0)) is None:
            pulse += 1
        if sealed is None or sealed.header.bits:
            return  # outside the root group, bodies build on root headers and receipts that are not kept as long
        told = charter.charter
        group = ledger.load(reader, told.network, told.supply, pulse - 1, rules=told.rules)
        while sealed is not None:
            if pulse % 100 == 0:
                self._progress(f"body of pulse {pulse}")
            group.roster = enacted_roster(reader, group.header.pulse, group.digest) or group.roster
            try:
                execute_again(group, sealed, [content for _, content in reader.scan(*keys.segments(pulse))])
            except RemoteError as error:
                raise RemoteError("body", f"pulse {pulse}, executed again, leads to another header: {error}") from None
            pulse += 1
            sealed = ledger.sealed_at(reader, pulse)


def _check_settled(reader: Reader, tree: SumTree) -> None:
    """The tree has the receipts that are kept as settled, and no others."""
    count = 0
    for key, content in reader.scan(*keys.SETTLED):
        receipt, pulse = read_sent(content)
        if tree.get(receipt.id) != receipt.leaf(pulse):
            raise RemoteError("settled", f"the receipt under {key.hex()} is not in the tree of what is settled")
        count += 1
    if count != len(tree):
        raise RemoteError("settled", f"of {len(tree)} settled receipts {count} are here")


def _taken(kept: dict[bytes, bytes], key: bytes) -> bytes:
    content = kept.pop(key, None)
    if content is None:
        raise RemoteError("chain", f"{key.hex()} is missing")
    return content


def _changed_leaves(
    kept: dict[bytes, bytes], pulse: int, above: int, page: dict[bytes, Entry], is_oldest: bool, is_base: bool
) -> list[tuple[bytes, bytes]]:
    """The leaves that a pulse has changed after that of `above`; `page` moves on to it. The oldest retained pulse is a
    whole page."""
    whole = is_base or ledger.is_snapshot(pulse, above)
    if is_oldest and not whole:
        raise RemoteError("chain", f"the oldest pulse is {pulse}, which has no whole page")
    shown = dict(decode_page(_taken(kept, keys.snapshot(pulse) if whole else keys.changes(pulse))))
    changed = {account: entry for account, entry in shown.items() if page.get(account) != entry}
    follows = is_oldest or all(entry.pulse == pulse for entry in changed.values())
    if not follows or (whole and len(page.keys() - shown.keys())):
        raise RemoteError("chain", f"the accounts of pulse {pulse} are not those of the one before it and its changes")
    page.update(changed)
    return [(account, entry.leaf(account)) for account, entry in changed.items()]


def _offers(sealed: SealedPulse) -> bool:
    """True for a last header that offers a split or a merge: what follows may be of another group."""
    return State.decode(sealed.state, sealed.willing).offer.kind > 0


def _held(sealed: SealedPulse) -> int:
    """What a group's accounts hold, and what it has sent and not received."""
    return node.node_sum(sealed.inner) + sealed.sent_out - sealed.settled_in


def _check_header(reader: Reader, sealed: SealedPulse, before: SealedPulse | None, charter: SignedCharter) -> None:
    """One header against the one before it (None: the oldest that is here), its own parts, and its seal."""
    header = sealed.header
    pulse = header.pulse
    roster: tuple[bytes, ...] | None = None  # not known of what has come from others as a whole page
    in_place = before is not None and (before.header.bits, before.header.prefix) == (header.bits, header.prefix)
    if before is not None:
        above = before.header
        # What two groups that were merged start from is not here as a whole.
        if header.previous != header_digest(before.header_bytes) and (in_place or not _offers(before)):
            raise RemoteError("chain", f"pulse {pulse} does not name the header of pulse {above.pulse}")
        if header.tick < above.tick or (in_place and header.term < above.term):
            raise RemoteError("chain", f"tick or term falls with pulse {pulse}")
    if header.bits:
        kept = reader.get(keys.sealers(pulse))
        if kept is not None:
            roster = decode_roster(kept[_NUMBER_BYTES:])
        elif before is not None:
            raise RemoteError("chain", f"who had the say over pulse {pulse} is not here")
    elif before is not None:
        enacted = enacted_roster(reader, before.header.pulse, header.previous)
        roster = decode_roster(before.roster if enacted is None else enacted)
    else:
        roster = charter.charter.roster
    if header.network != charter.charter.network:
        raise RemoteError("chain", f"pulse {pulse} is of another organization")
    if node.group(header.level, header.bits, header.prefix, pulse, sealed.inner, sealed.meta) != header.node:
        raise RemoteError("chain", f"what is kept of pulse {pulse} does not open its header")
    State.decode(sealed.state, sealed.willing)
    after = sealed.entries[-1][1:] if sealed.entries else (sealed.inner, sealed.meta)
    if body_digest(sealed.entries) != header.body or after != (sealed.inner, sealed.meta):
        raise RemoteError("chain", f"the body's entries of pulse {pulse} do not lead to its header")
    held = _held(sealed)
    if not header.bits and held != charter.charter.supply:
        raise Halt("not_conserved", f"pulse {pulse} holds {held} of a supply of {charter.charter.supply}")
    if before is not None and in_place and (held - _held(before)) % CYCLE:
        raise Halt("not_conserved", f"pulse {pulse} holds {held - _held(before)} more than the one before it")
    if roster is not None and (before is not None or not pulse):
        check_seal(sealed.header_bytes, sealed.signatures, roster)


def walk(reader: Reader, full: bool, progress: Callable[[str], None]) -> list[Finding]:
    """What is wrong in a store; nothing if it is whole."""
    walked = Walk(reader, progress)
    walked.run(full)
    return walked.findings
