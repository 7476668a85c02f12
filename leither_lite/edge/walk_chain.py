"""The chain of a node's own group, walked: does every retained pulse follow from the one before it? (docs/store.md)

Decides what is wrong with headers, seals, pages and bodies, by the ledger's own rules. Executes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from leither_lite.edge.findings import Findings
from leither_lite.edge.walk_rows import NUMBER_BYTES
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import Header, body_digest, check_seal, decode_roster, header_digest, segment_digest
from leither_lite.ledger import group as ledger
from leither_lite.ledger.enacted import enacted_roster
from leither_lite.ledger.records import Entry, decode_page
from leither_lite.ledger.roots import Roots
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import SPLIT, State, Successor
from leither_lite.ledger.traffic import CYCLE
from leither_lite.organization import Charter
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree import node
from leither_lite.tree.tree import SumTree


def by_pulse(reader: Reader, first: bytes, end: bytes) -> Iterator[tuple[int, dict[bytes, bytes]]]:
    """All rows of each pulse. Raises struct.error for a key too short to have one."""
    for pulse, rows in groupby(reader.scan(first, end), lambda row: keys.sequence_of(row[0])):
        yield pulse, dict(rows)


def taken(kept: dict[bytes, bytes], key: bytes) -> bytes:
    """A value that must be there; it is gone from `kept` then. Raises RemoteError("chain")."""
    content = kept.pop(key, None)
    if content is None:
        raise RemoteError("chain", f"{key.hex()} is missing")
    return content


def check_opened(sealed: SealedPulse) -> None:
    """What is kept of a pulse opens its header. Raises RemoteError("chain")."""
    header, pulse = sealed.header, sealed.header.pulse
    if node.group(header.level, header.bits, header.prefix, pulse, sealed.inner, sealed.meta) != header.node:
        raise RemoteError("chain", f"what is kept of pulse {pulse} does not open its header")
    after = sealed.entries[-1][1:] if sealed.entries else (sealed.inner, sealed.meta)
    if body_digest(sealed.entries) != header.body or after != (sealed.inner, sealed.meta):
        raise RemoteError("chain", f"the body's entries of pulse {pulse} do not lead to its header")


def take_body(kept: dict[bytes, bytes], sealed: SealedPulse) -> None:
    """Every segment of a body is there, and the one that was sealed. Raises RemoteError("chain")."""
    pulse = sealed.header.pulse
    for index, entry in enumerate(sealed.entries):
        if segment_digest(taken(kept, keys.segment(pulse, index))) != entry[0]:
            raise RemoteError("chain", f"segment {index} of pulse {pulse} is not the one that was sealed")


def no_more(kept: dict[bytes, bytes]) -> None:
    """Nothing else is kept of the pulse. Raises RemoteError("chain")."""
    if kept:
        raise RemoteError("chain", f"{next(iter(kept)).hex()} is no key of this schema")


def follow(findings: Findings, reader: Reader, charter: Charter, roots: Roots | None) -> list[int]:
    """Every retained pulse from the oldest: its header, its seal, its state, and what is left of its body.

    The pulses whose bodies are here, and before them the one that the first of these builds on. `roots`: the root
    chain, where it could be read. Raises RemoteError, Halt.
    """
    before: SealedPulse | None = None
    tree, page = SumTree(), dict[bytes, Entry]()
    has_bodies = False
    pulses: list[int] = []
    base = ledger.base_pulse(reader)
    _read_below(reader, base)
    for pulse, kept in by_pulse(reader, keys.sealed(base), keys.PULSES[1]):
        if pulse % 1_000 == 999:
            findings.progress(f"pulse {pulse}")
        sealed = SealedPulse.decode(taken(kept, keys.sealed(pulse)))
        above = ledger.pulse_before(reader, pulse)
        if sealed.header.pulse != pulse or (before is not None and above != before.header.pulse):
            raise RemoteError("chain", f"pulse {pulse} is not where it belongs, or the one before it is missing")
        _check_header(reader, sealed, before, charter, roots)
        if before is None and pulse:
            ledger.check_kept_seal(reader, sealed)
        tree.put_many(_changed_leaves(kept, pulse, above, page, before is None, pulse == base))
        if tree.root() != sealed.inner and not (pulse == base and _may_start(sealed, tree.root())):
            raise RemoteError("chain", f"the accounts of pulse {pulse} do not lead to its header")
        if not has_bodies and keys.segment(pulse, 0) in kept:  # they go after their publicity, oldest first
            has_bodies = True
            pulses += [] if before is None else [before.header.pulse]
        if has_bodies:
            take_body(kept, sealed)
            pulses.append(pulse)
        kept.pop(keys.sealers(pulse), None)
        if pulse == base:
            decode_page(kept.pop(keys.changes(pulse), b"\x80"))  # of the group that this one was split from
        no_more(kept)
        before = sealed
    if before is None:
        raise RemoteError("chain", "no pulse is sealed, not even the genesis")
    return pulses


def _read_below(reader: Reader, base: int) -> None:
    """What is left of before a jump or a split goes bit by bit, and leads nowhere; others may still ask for it."""
    for pulse, kept in by_pulse(reader, *keys.pulses(0, base)):
        sealed = SealedPulse.decode(taken(kept, keys.sealed(pulse)))
        if sealed.header.pulse != pulse:
            raise RemoteError("chain", f"pulse {pulse} is not where it belongs")
        check_opened(sealed)
        State.decode(sealed.state, sealed.willing)
        if keys.segment(pulse, 0) in kept:
            take_body(kept, sealed)
        for key in (keys.changes(pulse), keys.snapshot(pulse)):
            decode_page(kept.pop(key, b"\x80"))
        roster = kept.pop(keys.sealers(pulse), None)
        if roster is not None:
            decode_roster(roster[NUMBER_BYTES:])
        no_more(kept)


def _changed_leaves(
    kept: dict[bytes, bytes], pulse: int, above: int, page: dict[bytes, Entry], is_oldest: bool, is_base: bool
) -> list[tuple[bytes, bytes]]:
    """The leaves that a pulse has changed after that of `above`; `page` moves on to it. The oldest retained pulse is a
    whole page."""
    whole = is_base or ledger.is_snapshot(pulse, above)
    if is_oldest and not whole:
        raise RemoteError("chain", f"the oldest pulse is {pulse}, which has no whole page")
    shown = dict(decode_page(taken(kept, keys.snapshot(pulse) if whole else keys.changes(pulse))))
    changed = {account: entry for account, entry in shown.items() if page.get(account) != entry}
    follows = is_oldest or all(entry.pulse == pulse for entry in changed.values())
    if not follows or (whole and len(page.keys() - shown.keys())):
        raise RemoteError("chain", f"the accounts of pulse {pulse} are not those of the one before it and its changes")
    page.update(changed)
    return [(account, entry.leaf(account)) for account, entry in changed.items()]


def _may_start(sealed: SealedPulse, inner: bytes) -> bool:
    """True if a group may start with this inner node after a last header: a part of a split, or one that was merged,
    which is not here as a whole."""
    offer = State.decode(sealed.state, sealed.willing).offer
    return offer.kind > SPLIT or inner in (each.inner for each in offer.successors)


def _held(sealed: SealedPulse) -> int:
    """What a group's accounts hold, and what it has sent and not received."""
    return node.node_sum(sealed.inner) + sealed.sent_out - sealed.settled_in


def _check_header(
    reader: Reader, sealed: SealedPulse, before: SealedPulse | None, charter: Charter, roots: Roots | None
) -> None:
    """One header against the one before it (None: the oldest that is here), its own parts, and its seal."""
    header, pulse = sealed.header, sealed.header.pulse
    if header.network != charter.network:
        raise RemoteError("chain", f"pulse {pulse} is of another organization")
    State.decode(sealed.state, sealed.willing)
    check_opened(sealed)
    held = _held(sealed)
    if not header.bits and held != charter.supply:
        raise Halt("not_conserved", f"pulse {pulse} holds {held} of a supply of {charter.supply}")
    if roots is not None and header.bits and roots.denies(header.anchor, pulse - 1):
        raise RemoteError("chain", f"pulse {pulse} builds on another root header than is kept of pulse {pulse - 1}")
    if before is not None:
        roster = _follows(reader, sealed, before)
        check_seal(sealed.header_bytes, sealed.signatures, roster)
    elif not pulse:
        check_seal(sealed.header_bytes, sealed.signatures, charter.roster)


def _follows(reader: Reader, sealed: SealedPulse, before: SealedPulse) -> tuple[bytes, ...]:
    """A header against the one before it; who had the say over it. Raises RemoteError, Halt."""
    header, above, pulse = sealed.header, before.header, sealed.header.pulse
    state = State.decode(before.state, before.willing)
    in_place = (above.bits, above.prefix) == (header.bits, header.prefix)
    start = None if in_place else _part(state, header)
    if header.previous != header_digest(before.header_bytes) and (in_place or start is not None):
        raise RemoteError("chain", f"pulse {pulse} does not name the header of pulse {above.pulse}")
    due = max(above.term, state.appointed) if in_place else 0
    if header.tick < above.tick or header.term < due:
        raise RemoteError("chain", f"tick or term falls with pulse {pulse}")
    held = _held(before)
    if start is not None:
        held = node.node_sum(start.inner) + start.sent_out - start.settled_in
    if (in_place or start is not None) and (_held(sealed) - held) % CYCLE:
        raise Halt("not_conserved", f"pulse {pulse} holds {_held(sealed) - held} more than the one before it")
    if not header.bits:
        return decode_roster(enacted_roster(reader, above.pulse, header.previous) or before.roster)
    kept = reader.get(keys.sealers(pulse))
    roster = decode_roster(b"" if kept is None else kept[NUMBER_BYTES:])
    told = before.roster if in_place else b"" if start is None else start.roster
    own = decode_roster(told, empty_allowed=True) if told else ()
    if own and header.term == due and roster != own:  # in a term of its own the parent has named others
        raise RemoteError("chain", f"others had the say over pulse {pulse} than those whom pulse {above.pulse} names")
    return roster


def _part(state: State, header: Header) -> Successor | None:
    """The part of a split that a header is of, with what the last header of the whole has said of it; None after a
    merge. Raises RemoteError("chain")."""
    for each in state.offer.successors:
        if (each.bits, each.prefix) == (header.bits, header.prefix):
            return each
    if state.offer.kind <= SPLIT:
        raise RemoteError("chain", f"pulse {header.pulse} is of another group, which the one before it has not offered")
    return None
