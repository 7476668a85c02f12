"""The groups above level 1 that a node keeps books of, walked: is each what its last header commits to? (docs/store.md)

Decides what is wrong with a seat's rows, by the ledger's own rules. Executes nothing: of the children only the newest
table is kept.
"""

from __future__ import annotations

from typing import Final

from leither_lite.edge.findings import Findings
from leither_lite.edge.walk_chain import by_pulse, check_opened, no_more, take_body, taken
from leither_lite.edge.walk_rows import SEAT, check_row
from leither_lite.errors import RemoteError
from leither_lite.header import check_seal, decode_roster, header_digest, state_digest
from leither_lite.identity import seal_message, verify
from leither_lite.ledger.children import UpperState
from leither_lite.ledger.roots import Roots
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.state import decode_willing, willing_digest
from leither_lite.ledger.upper import UpperGroup
from leither_lite.ledger.upper_store import load_upper
from leither_lite.node.scope import GROUP_KEY_BYTES, Scope, after, group_starts
from leither_lite.node.upper_frames import floor_of_group, is_own_header
from leither_lite.organization import Charter
from leither_lite.store import keys
from leither_lite.store.reader import Reader

_LOG: Final = keys.VOTES[0]


def walk_seats(findings: Findings, reader: Reader, charter: Charter, roots: Roots | None) -> None:
    """Every group above level 1 that is kept. Raises Halt."""
    for start in group_starts(reader):
        if len(start) < GROUP_KEY_BYTES:
            findings.unknown(start)
            continue
        scope = Scope(reader, start)
        is_log_only = True
        for whole, content in reader.scan(start, after(start)):
            key = whole[len(start) :]
            table = SEAT.get(key[:1])
            if table is not None:
                check_row(findings, table, scope, key, content, start)
            elif key != keys.UPPER and key[:1] != keys.PULSES[0]:
                findings.unknown(whole)
            is_log_only = is_log_only and key[:1] == _LOG
        if not is_log_only:  # of a seat that was given up, what this node has signed stays
            with findings.noting("seat"):
                _check_seat(scope, start, charter, roots)


def _check_seat(scope: Scope, start: bytes, charter: Charter, roots: Roots | None) -> None:
    denies = (lambda digest, pulse: False) if roots is None else roots.denies
    group = load_upper(scope, charter.network, charter.supply, charter.rules, denies)
    if keys.group(group.level, group.bits, group.prefix) != start:
        raise RemoteError("seat", f"{start.hex()} has a group that belongs elsewhere")
    _check_tip(group)
    newest = _follow(scope, group, roots)
    if newest is not None and newest != group.sealed:
        raise RemoteError("seat", f"the newest pulse under {start.hex()} is not where the group stands")


def _check_tip(group: UpperGroup) -> None:
    """Where a group stands follows from its last header, or from that of the group that it comes of."""
    sealed, header = group.sealed, group.header
    check_opened(sealed)
    if header_digest(sealed.header_bytes) != group.digest:
        raise RemoteError("seat", f"what comes after pulse {header.pulse} would not name it")
    _check_signatures(sealed)
    if is_own_header(group):
        page = floor_of_group(group)
        is_whole = sealed.state == group.state.encode() and page.node(page.tree().root()) == header.node
        told, due = sealed.roster, max(header.term, group.state.appointed)
    elif header.level == group.level:
        told, due, is_whole = b"", 0, False
        for each in UpperState.decode(sealed.state).offer.successors:
            if (each.bits, each.prefix) == (group.bits, group.prefix):
                told = each.roster
                is_whole = each.state == state_digest(group.state.encode()) and each.inner == group.inner
    else:
        told, due, is_whole = sealed.roster, header.term + 1, True
    is_whole = is_whole and group.term >= due and (group.roster == told or group.term > due)
    if not is_whole or header.network != group.network:
        raise RemoteError("seat", f"the group does not follow from its last header, of pulse {header.pulse}")


def _check_signatures(sealed: SealedPulse) -> None:
    """Every signature is good: whose they must be, is known only with the header before it."""
    message = seal_message(header_digest(sealed.header_bytes))
    if not sealed.signatures or not all(verify(key, signature, message) for key, signature in sealed.signatures):
        raise RemoteError("bad_signature", f"of the seal of pulse {sealed.header.pulse}")


def _follow(scope: Scope, group: UpperGroup, roots: Roots | None) -> SealedPulse | None:
    """The pulses that are kept, each from the one before it; the newest."""
    before: SealedPulse | None = None
    place = group.network, group.level, group.bits, group.prefix
    for pulse, kept in by_pulse(scope, *keys.PULSES):
        sealed = SealedPulse.decode(taken(kept, keys.sealed(pulse)))
        header = sealed.header
        if header.pulse != pulse or (header.network, header.level, header.bits, header.prefix) != place:
            raise RemoteError("seat", f"pulse {pulse} is not where it belongs")
        check_opened(sealed)
        take_body(kept, sealed)
        no_more(kept)
        decode_willing(sealed.willing)
        if UpperState.decode(sealed.state).willing != willing_digest(sealed.willing):
            raise RemoteError("seat", f"those who are willing at pulse {pulse} are not those of its state")
        if roots is not None and header.bits and roots.denies(header.anchor, pulse - 1):
            raise RemoteError("seat", f"pulse {pulse} builds on another root header than is kept of pulse {pulse - 1}")
        _check_signatures(sealed)
        if before is not None:
            _check_follows(sealed, before)
        before = sealed
    return before


def _check_follows(sealed: SealedPulse, before: SealedPulse) -> None:
    header, above = sealed.header, before.header
    due = max(above.term, UpperState.decode(before.state).appointed)
    if header.previous != header_digest(before.header_bytes) or header.tick < above.tick or header.term < due:
        raise RemoteError("seat", f"pulse {header.pulse} does not follow from pulse {above.pulse}")
    roster = decode_roster(before.roster, empty_allowed=True)
    if roster and header.term == due:
        check_seal(sealed.header_bytes, sealed.signatures, roster)
