"""The state of a level-1 group: its entries, its tree, and all else that it agrees on (docs/protocol.md, 2, 3 and 5).

Decides what the state is and how it is committed to. What may change it is decided in `ledger.judge`. Never reads a
clock; never checks who agreed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from leither_lite import codec
from leither_lite.effects import Write
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import (
    Header,
    body_digest,
    check_seal,
    decode_roster,
    encode_roster,
    header_digest,
)
from leither_lite.identity import seal_message, verify
from leither_lite.ledger.enacted import appointed_tip, enacted_roster
from leither_lite.ledger.joins import invite_leaf
from leither_lite.ledger.records import PAGE_HEAD_BYTES, Entry, counted_bytes, decode_page, encode_page
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.sets import PendingSet, SettledSet
from leither_lite.ledger.state import State
from leither_lite.ledger.tip import Tip
from leither_lite.limits import GROUP_MEMBERS_MAX, QUORUM
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore, Reader
from leither_lite.tree import node
from leither_lite.tree.proof_cbor import take_handover
from leither_lite.tree.shown import Shown
from leither_lite.tree.tree import SumTree


class Rules(NamedTuple):
    """What the charter says of groups: keys of a roster, members of a group, ticks of a term."""

    roster_max: int = max(QUORUM)
    members_max: int = GROUP_MEMBERS_MAX
    term_ticks: int = 1_800


USUAL: Final = Rules()


def _vouch_for_none(shown: Shown) -> bool:
    return False


@dataclass(slots=True)
class Group:
    """A level-1 group where its chain stands; bodies that are executed on it run ahead of that in `entries`.

    `roster` is R: who may seal the next header. `sealed` and `header` are the last one, `digest` what the next one's
    previous is: after a split or a merge they are the origin's, and `prefix` is another. `vouch` says whether a root
    header that an operation shows is one of the root chain. `ousted`: who would have sealed the next header, had the
    parent not named others. `opened`: what its node has for the digest of S, where a merge has made it and nothing was
    sealed since; else empty. `ahead`: how many bodies that have done something are executed above the tip.
    """

    network: bytes
    supply: int
    roster: bytes
    sealed: SealedPulse
    header: Header
    digest: bytes
    state: State
    bits: int
    prefix: bytes
    term: int
    inner: bytes
    sent_out: int
    settled_in: int
    rules: Rules = USUAL
    entries: dict[bytes, Entry] = field(default_factory=dict)
    tree: SumTree = field(default_factory=SumTree)
    invites: SumTree = field(default_factory=SumTree)
    pending: PendingSet = field(default_factory=PendingSet)
    settled: SettledSet = field(default_factory=lambda: SettledSet(MemoryStore()))
    page_bytes: int = PAGE_HEAD_BYTES
    vouch: Callable[[Shown], bool] = _vouch_for_none
    ousted: tuple[bytes, ...] = ()
    opened: bytes = b""
    ahead: int = 0

    @property
    def level(self) -> int:
        """1."""
        return 1

    @property
    def is_root(self) -> bool:
        """True for the root group: its headers have no anchor."""
        return not self.bits

    def holds(self, account: bytes) -> bool:
        """True if an id (20 bytes) belongs into this group."""
        return node.is_prefix(account, self.prefix, self.bits)

    def insert(self, account: bytes, entry: Entry) -> None:
        """Set an entry, and count its page; the tree takes it when the body settles."""
        before = self.entries.get(account)
        if before is None:
            self.page_bytes += counted_bytes(entry.record)
        elif before.record.frozen != entry.record.frozen or before.record.votes != entry.record.votes:
            self.page_bytes += counted_bytes(entry.record) - counted_bytes(before.record)
        self.entries[account] = entry

    def node_of(self, pulse: int, inner: bytes, meta: bytes) -> bytes:
        """The group's node as its parent sees it."""
        return node.group(1, self.bits, self.prefix, pulse, inner, meta)

    @property
    def roster_keys(self) -> tuple[bytes, ...]:
        """Who may seal the next header; none: whoever may seal the parent's."""
        return decode_roster(self.roster, empty_allowed=not self.is_root)


SNAPSHOT_PULSES = 64
"""A whole page is kept at the first pulse at or after each multiple of this, only what changed at the others."""
_PULSE_BYTES = 8


def base_pulse(reader: Reader) -> int:
    """The pulse whose whole page came from others, with nothing of what was before it; 0 without one.

    Raises Halt("store_corrupt").
    """
    content = reader.get(keys.BASE)
    if content is None:
        return 0
    if len(content) != _PULSE_BYTES:
        raise Halt("store_corrupt", "the store does not say with which pulse it begins")
    return int.from_bytes(content, "big")


def entries_at(reader: Reader, pulse: int) -> dict[bytes, Entry]:
    """Every account's entry as of a retained pulse, in the order of their ids. Raises Halt("store_corrupt")."""
    base = base_pulse(reader)
    if pulse < base:
        raise Halt("store_corrupt", f"the store has no accounts of pulse {pulse}: it begins with pulse {base}")
    pages: list[tuple[int, bytes]] = []
    at = pulse
    while True:
        snapshot = reader.get(keys.snapshot(at))
        page = reader.get(keys.changes(at)) if snapshot is None else snapshot
        if page is None or at < base:
            raise Halt("store_corrupt", f"the store lacks the accounts of pulse {at}")
        pages.append((at, page))
        if snapshot is not None:
            break
        at = pulse_before(reader, at)
    entries: dict[bytes, Entry] = {}
    for at, page in reversed(pages):
        try:
            entries.update(decode_page(page))
        except RemoteError as error:
            raise Halt("store_corrupt", f"the accounts of pulse {at} cannot be read: {error}") from error
    return dict(sorted(entries.items()))


def sealers_write(pulse: int, before: int, roster: tuple[bytes, ...]) -> Write:
    """What keeps, of a group that is not the root, the pulse before a header and who had the say over it."""
    return keys.sealers(pulse), before.to_bytes(_PULSE_BYTES, "big") + encode_roster(roster)


def pulse_before(reader: Reader, pulse: int) -> int:
    """The pulse of the header before that of `pulse`: the root's are consecutive."""
    kept = reader.get(keys.sealers(pulse))
    return pulse - 1 if kept is None else int.from_bytes(kept[:_PULSE_BYTES], "big")


def entry_writes(
    pulse: int, before: int, records: Mapping[bytes, bytes], entries: Mapping[bytes, Entry]
) -> list[Write]:
    """What keeps the entries of a pulse: the `records` (CBOR) that it set, or the whole page when a snapshot is due.

    `before`: the pulse of the header before; -1 of the genesis.
    """
    if not is_snapshot(pulse, before):
        changed = ((account, pulse, record) for account, record in sorted(records.items()))
        return [(keys.changes(pulse), encode_page(changed))]
    page = ((account, entry.pulse, entry.record.encode()) for account, entry in sorted(entries.items()))
    return [(keys.snapshot(pulse), encode_page(page))]


def is_snapshot(pulse: int, before: int) -> bool:
    """True if the whole page is kept at a pulse: the first at a multiple of 64, or after one."""
    return pulse // SNAPSHOT_PULSES != before // SNAPSHOT_PULSES


def sealed_at(reader: Reader, pulse: int) -> SealedPulse | None:
    """What is kept of a pulse; None if it is not retained, or not sealed yet. Raises Halt("store_corrupt")."""
    content = reader.get(keys.sealed(pulse))
    try:
        return None if content is None else SealedPulse.decode(content)
    except RemoteError as error:
        raise Halt("store_corrupt", f"what is kept of pulse {pulse} cannot be read: {error}") from error


def last_sealed(reader: Reader) -> SealedPulse | None:
    """The newest sealed pulse, None in an empty store."""
    found = next(reader.scan(*keys.PULSES, reverse=True), None)
    return None if found is None else sealed_at(reader, keys.sequence_of(found[0]))


def last_pulse(reader: Reader) -> int:
    """The newest sealed pulse, 0 in an empty store."""
    found = next(reader.scan(*keys.PULSES, reverse=True), None)
    return 0 if found is None else keys.sequence_of(found[0])


def first_pulse(reader: Reader) -> int:
    """The oldest retained pulse whose accounts are here, 0 in an empty store. Never below the store's base."""
    first = base_pulse(reader)
    if reader.get(keys.ORIGIN) == first.to_bytes(_PULSE_BYTES, "big"):
        first += 1
    found = next(reader.scan(keys.sealed(first), keys.PULSES[1]), None)
    return 0 if found is None else keys.sequence_of(found[0])


def tree_of(entries: dict[bytes, Entry]) -> SumTree:
    """The inner tree over entries."""
    tree = SumTree()
    tree.put_many([(account, entry.leaf(account)) for account, entry in entries.items()])
    return tree


def load(
    reader: Reader,
    network: bytes,
    supply: int,
    pulse: int | None = None,
    *,
    rules: Rules = USUAL,
    tip: Tip | None = None,
) -> Group:
    """The group as of a retained pulse, by default where its chain stands, checked against its header and that against
    its seal. `tip`: where its chain went on from after an older pulse, if that is not what its header says.

    Raises Halt("store_corrupt") where its header does not commit to what is there.
    """
    sealed = last_sealed(reader) if pulse is None else sealed_at(reader, pulse)
    if sealed is None:
        raise Halt("store_corrupt", "the store has no header of that pulse")
    header = sealed.header
    try:
        state = State.decode(sealed.state, sealed.willing)
        check_kept_seal(reader, sealed)
        digest = header_digest(sealed.header_bytes)
        roster = enacted_roster(reader, header.pulse, digest) or sealed.roster
        kept = reader.get(keys.TIP) if pulse is None else None
        is_elsewhere = kept is not None or tip is not None
        if tip is None:
            tip = Tip.after(sealed, state) if kept is None else Tip.decode(kept)
    except RemoteError as error:
        raise Halt("store_corrupt", f"what is kept of pulse {header.pulse} does not hold: {error}") from error
    if not is_elsewhere:
        tip = tip._replace(roster=roster)
    before = tip
    if pulse is None:
        tip = appointed_tip(reader, tip)
    group = Group(network, supply, tip.roster, sealed, header, tip.digest, tip.state, *tip.place, rules=rules)
    group.opened = tip.opened
    if tip is not before:
        group.ousted = decode_roster(before.roster, empty_allowed=True)
    entries = entries_at(reader, header.pulse)
    group.tree = tree_of(entries)
    for key, value in reader.scan(*keys.INVITES):
        used_in = int.from_bytes(value, "big")
        if kept is not None or used_in <= header.pulse:
            group.invites.put(key[1:], invite_leaf(used_in, key[1:]))
    for account, entry in entries.items():
        group.insert(account, entry)
    whole = (header.network, group.tree.root(), group.invites.root()) == (network, tip.inner, tip.state.invites)
    if not is_elsewhere:
        opened = node.group(header.level, header.bits, header.prefix, header.pulse, sealed.inner, sealed.meta)
        whole = whole and body_digest(sealed.entries) == header.body and opened == header.node
    if pulse is None:
        group.pending, group.settled = PendingSet.load(reader), SettledSet(reader)
        sets = (group.pending.tree.root(), group.settled.tree.root())
        whole = whole and sets == (tip.state.pending, tip.state.settled)
    if not whole:
        raise Halt("store_corrupt", f"the records of pulse {header.pulse} do not lead to the header that was sealed")
    return group


def check_kept_seal(reader: Reader, sealed: SealedPulse) -> None:
    """Raises RemoteError as `check_seal` unless a quorum of the roster that had the say has signed.

    Of the oldest pulse that is here, where it changed the roster and no handover before it is here, that roster is not
    known: then every signature must be good, whoever's it is.
    """
    roster = _sealing_roster(reader, sealed)
    if roster is not None:
        check_seal(sealed.header_bytes, sealed.signatures, decode_roster(roster))
        return
    message = seal_message(header_digest(sealed.header_bytes))
    if not sealed.signatures or not all(verify(key, signature, message) for key, signature in sealed.signatures):
        raise RemoteError("bad_signature", f"of the seal of pulse {sealed.header.pulse}")


def _sealing_roster(reader: Reader, sealed: SealedPulse) -> bytes | None:
    """Outside the root group, what was kept with the seal; in it, R of the pulse before, or a checkpoint's on it.

    Where that is not here, of the newest handover before; without any, the genesis and what changed no roster answer
    for themselves. None if it is not known.
    """
    pulse = sealed.header.pulse
    if sealed.header.bits:
        return (reader.get(keys.sealers(pulse)) or b"")[_PULSE_BYTES:] or None
    enacted = enacted_roster(reader, pulse - 1, sealed.header.previous)
    before = sealed_at(reader, pulse - 1) if pulse else None
    if enacted is not None or before is not None:
        return enacted if before is None or enacted is not None else before.roster
    found = next(reader.scan(keys.HANDOVERS[0], keys.handover(pulse), reverse=True), None)
    if found is not None:
        return take_handover(codec.decode(found[1])).roster
    return sealed.roster if reader.get(keys.handover(pulse)) is None else None
