"""The state of a level-1 group: its entries, its tree, and all else that it agrees on (docs/protocol.md, 2, 3 and 5).

Decides what the state is and how it is committed to. What may change it is decided in `ledger.judge`. Never reads a
clock; never checks who agreed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.effects import Write
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import (
    Header,
    Signatures,
    body_digest,
    check_seal,
    decode_roster,
    header_digest,
    roster_digest,
    signatures_value,
    state_digest,
    take_signatures,
)
from leither_lite.identity import seal_message, verify
from leither_lite.ledger.committee import Willing
from leither_lite.ledger.enacted import enacted_roster
from leither_lite.ledger.joins import invite_leaf
from leither_lite.ledger.records import PAGE_HEAD_BYTES, Entry, counted_bytes, decode_page, encode_page
from leither_lite.limits import (
    BODY_SEGMENTS_MAX,
    DIGEST_BYTES,
    GROUP_MEMBERS_MAX,
    ID_BYTES,
    NODE_BYTES,
    QUORUM,
    SETTLED_TICKS_MIN,
    STATE_BYTES_MAX,
    UINT_MAX,
    WILLING_MAX,
)
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree import node
from leither_lite.tree.proof_cbor import take_handover
from leither_lite.tree.tree import SumTree

SEALED_BYTES_MAX = 32 * 1024
_SHORT_FIELDS = 7
_LONG_FIELDS = 9


class State(NamedTuple):
    """S: [date, floor, settled, pending, invites, role changes, frozen ids], and, unless both are 0 and none,
    appointed and willing.

    `settled`, `pending` and `invites` are roots of sets (36 bytes); date and floor are ticks; frozen ids rise, and so
    do the keys of the willing. `appointed` is the term that the last appointment opens.
    """

    date: int
    floor: int
    settled: bytes
    pending: bytes
    invites: bytes
    role_changes: int
    frozen: tuple[bytes, ...]
    appointed: int = 0
    willing: tuple[Willing, ...] = ()

    def encode(self) -> bytes:
        """The CBOR of S. Raises Halt("state_too_large"): the rules keep it within 4,096 bytes."""
        fields: list[Value] = [*self[:6], list(self.frozen)]
        if self.appointed or self.willing:
            fields += [self.appointed, [[*node] for node in self.willing]]
        content = encode(fields)
        if len(content) > STATE_BYTES_MAX:
            raise Halt(
                "state_too_large", f"the state has {len(content)} bytes; at most {STATE_BYTES_MAX} are agreed on"
            )
        return content

    @classmethod
    def decode(cls, content: bytes) -> State:
        """Raises RemoteError("bad_state"), or a reason of the codec."""
        reason = "bad_state"
        if len(content) > STATE_BYTES_MAX:
            raise RemoteError(reason, "more than 4,096 bytes")
        fields = codec.items(codec.decode(content), _LONG_FIELDS, reason)
        if len(fields) == _SHORT_FIELDS:
            fields = [*fields, 0, []]
        elif fields[_SHORT_FIELDS:] == [0, []]:
            raise RemoteError(reason, "not in its one form")
        date, floor, settled, pending, invites, role_changes, frozen, appointed, willing = codec.fields(
            fields, _LONG_FIELDS, reason
        )
        ids = tuple(
            codec.octets(account, ID_BYTES, reason) for account in codec.items(frozen, GROUP_MEMBERS_MAX, reason)
        )
        nodes = tuple(Willing.take(value, reason) for value in codec.items(willing, WILLING_MAX, reason))
        if any(later <= earlier for earlier, later in pairwise(ids)):
            raise RemoteError(reason, "frozen ids must rise")
        if any(later.key <= earlier.key for earlier, later in pairwise(nodes)):
            raise RemoteError(reason, "the keys of the willing must rise")
        return cls(
            codec.uint(date, UINT_MAX, reason),
            codec.uint(floor, UINT_MAX, reason),
            codec.octets(settled, NODE_BYTES, reason),
            codec.octets(pending, NODE_BYTES, reason),
            codec.octets(invites, NODE_BYTES, reason),
            codec.uint(role_changes, UINT_MAX, reason),
            ids,
            codec.uint(appointed, UINT_MAX, reason),
            nodes,
        )

    def opened(self, date: int) -> State:
        """The state with which a body starts: `date` is the tick of the header that it builds on."""
        return self._replace(date=date, floor=max(self.floor, self.date - SETTLED_TICKS_MIN, 0))


GENESIS_STATE = State(0, 0, node.EMPTY, node.EMPTY, node.EMPTY, 0, ())

BodyEntries = tuple[tuple[bytes, bytes, bytes], ...]
"""For each segment: its digest, and inner node and meta after it."""


@dataclass(frozen=True, slots=True)
class SealedPulse:
    """What a group keeps of one sealed pulse, beside its body and the records that changed."""

    header_bytes: bytes
    signatures: Signatures
    roster: bytes
    inner: bytes
    sent_out: int
    settled_in: int
    state: bytes
    entries: BodyEntries

    @property
    def header(self) -> Header:
        """The decoded header."""
        return Header.decode(self.header_bytes)

    @property
    def meta(self) -> bytes:
        """The meta digest that the header's node commits to."""
        return node.meta(
            roster_digest(self.roster), node.EMPTY, self.sent_out, self.settled_in, state_digest(self.state)
        )

    def encode(self) -> bytes:
        """CBOR [header, signatures, R, inner, out, in, S, body entries]."""
        return encode(
            [
                self.header_bytes,
                signatures_value(self.signatures),
                self.roster,
                self.inner,
                self.sent_out,
                self.settled_in,
                self.state,
                [list(entry) for entry in self.entries],
            ]
        )

    @classmethod
    def decode(cls, content: bytes) -> SealedPulse:
        """Raises RemoteError("bad_sealed_pulse"), or a reason of the codec or of headers."""
        reason = "bad_sealed_pulse"
        header, signatures, roster, inner, sent_out, settled_in, state, entries = codec.fields(
            codec.decode(content), 8, reason
        )
        header = codec.octets_upto(header, SEALED_BYTES_MAX, reason)
        Header.decode(header)
        taken = []
        for value in codec.items(entries, BODY_SEGMENTS_MAX, reason):
            digest, after, meta = codec.fields(value, 3, reason)
            taken.append(
                (
                    codec.octets(digest, DIGEST_BYTES, reason),
                    codec.octets(after, NODE_BYTES, reason),
                    codec.octets(meta, DIGEST_BYTES, reason),
                )
            )
        return cls(
            header,
            take_signatures(signatures, reason),
            codec.octets_upto(roster, SEALED_BYTES_MAX, reason),
            codec.octets(inner, NODE_BYTES, reason),
            codec.uint(sent_out, UINT_MAX, reason),
            codec.uint(settled_in, UINT_MAX, reason),
            codec.octets_upto(state, STATE_BYTES_MAX, reason),
            tuple(taken),
        )


@dataclass(slots=True)
class Group:
    """A level-1 group as of its last sealed pulse; bodies that are executed on it run ahead of that in `entries`.

    `roster` is R of that pulse: who may seal the next header. `roster_max`: the charter's limit of an appointed roster.
    `ahead`: how many bodies that have done something are executed above the last sealed pulse.
    """

    network: bytes
    supply: int
    roster: bytes
    sealed: SealedPulse
    header: Header
    digest: bytes
    state: State
    entries: dict[bytes, Entry] = field(default_factory=dict)
    tree: SumTree = field(default_factory=SumTree)
    invites: SumTree = field(default_factory=SumTree)
    page_bytes: int = PAGE_HEAD_BYTES
    roster_max: int = max(QUORUM)
    ahead: int = 0

    def insert(self, account: bytes, entry: Entry) -> None:
        """Set an entry, and count its page; the tree takes it when the body settles."""
        before = self.entries.get(account)
        if before is None:
            self.page_bytes += counted_bytes(entry.record)
        elif before.record.frozen != entry.record.frozen or before.record.votes != entry.record.votes:
            self.page_bytes += counted_bytes(entry.record) - counted_bytes(before.record)
        self.entries[account] = entry

    def meta_of(self, state: State, roster: bytes) -> bytes:
        """The meta digest with this state and R, an empty outbox and the present counters."""
        sealed = self.sealed
        return node.meta(
            roster_digest(roster),
            node.EMPTY,
            sealed.sent_out,
            sealed.settled_in,
            state_digest(state.encode()),
        )

    def node_of(self, pulse: int, inner: bytes, meta: bytes) -> bytes:
        """The group's node as its parent sees it."""
        header = self.header
        return node.group(header.level, header.bits, header.prefix, pulse, inner, meta)

    @property
    def roster_keys(self) -> tuple[bytes, ...]:
        """Who may seal the next header."""
        return decode_roster(self.roster)


SNAPSHOT_PULSES = 64
"""A whole page is kept at every pulse that is a multiple of this, only what changed at the others."""
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
    start = max(pulse - pulse % SNAPSHOT_PULSES, base)
    entries: dict[bytes, Entry] = {}
    for at in range(start, pulse + 1):
        content = reader.get(keys.snapshot(at) if at == start else keys.changes(at))
        if content is None:
            raise Halt("store_corrupt", f"the store lacks the accounts of pulse {at}")
        try:
            entries.update(decode_page(content))
        except RemoteError as error:
            raise Halt("store_corrupt", f"the accounts of pulse {at} cannot be read: {error}") from error
    return dict(sorted(entries.items()))


def entry_writes(pulse: int, records: Mapping[bytes, bytes], entries: Mapping[bytes, Entry]) -> list[Write]:
    """What keeps the entries of a pulse: the `records` (CBOR) that it set, or the whole page when a snapshot is due."""
    if pulse % SNAPSHOT_PULSES:
        changed = ((account, pulse, record) for account, record in sorted(records.items()))
        return [(keys.changes(pulse), encode_page(changed))]
    page = ((account, entry.pulse, entry.record.encode()) for account, entry in sorted(entries.items()))
    return [(keys.snapshot(pulse), encode_page(page))]


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
    found = next(reader.scan(keys.sealed(base_pulse(reader)), keys.PULSES[1]), None)
    return 0 if found is None else keys.sequence_of(found[0])


def tree_of(entries: dict[bytes, Entry]) -> SumTree:
    """The inner tree over entries."""
    tree = SumTree()
    tree.put_many([(account, entry.leaf(account)) for account, entry in entries.items()])
    return tree


def load(
    reader: Reader, network: bytes, supply: int, pulse: int | None = None, *, roster_max: int = max(QUORUM)
) -> Group:
    """The group as of a retained pulse, the newest by default, checked against its header and that against its seal.

    `roster_max`: the charter's. Raises Halt("store_corrupt") where its header does not commit to what is there.
    """
    sealed = last_sealed(reader) if pulse is None else sealed_at(reader, pulse)
    if sealed is None:
        raise Halt("store_corrupt", "the store has no header of that pulse")
    header = sealed.header
    try:
        state = State.decode(sealed.state)
        check_kept_seal(reader, sealed)
        digest = header_digest(sealed.header_bytes)
        roster = enacted_roster(reader, header.pulse, digest) or sealed.roster
    except RemoteError as error:
        raise Halt("store_corrupt", f"what is kept of pulse {header.pulse} does not hold: {error}") from error
    entries = entries_at(reader, header.pulse)
    group = Group(network, supply, roster, sealed, header, digest, state, roster_max=roster_max)
    group.tree = tree_of(entries)
    for key, value in reader.scan(*keys.INVITES):
        used_in = int.from_bytes(value, "big")
        if used_in <= header.pulse:
            group.invites.put(key[1:], invite_leaf(used_in, key[1:]))
    for account, entry in entries.items():
        group.insert(account, entry)
    inner = group.tree.root()
    whole = (
        (header.network, inner, group.invites.root()) == (network, sealed.inner, state.invites)
        and body_digest(sealed.entries) == header.body
        and group.node_of(header.pulse, inner, group.meta_of(state, sealed.roster)) == header.node
    )
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
    """R of the pulse before, or a checkpoint's on it, which had the say. Where that is not here, of the newest handover
    before; without any, the genesis and what changed no roster answer for themselves. None if it is not known."""
    pulse = sealed.header.pulse
    enacted = enacted_roster(reader, pulse - 1, sealed.header.previous)
    before = sealed_at(reader, pulse - 1) if pulse else None
    if enacted is not None or before is not None:
        return enacted if before is None or enacted is not None else before.roster
    found = next(reader.scan(keys.HANDOVERS[0], keys.handover(pulse), reverse=True), None)
    if found is not None:
        return take_handover(codec.decode(found[1])).roster
    return sealed.roster if reader.get(keys.handover(pulse)) is None else None
