"""Bodies executed once more: does each lead to the header that was sealed over it? (docs/store.md)

Decides where that begins: of what a group had under way long ago, the store may not have enough. Never says that
something is wrong that it cannot know.
"""

from __future__ import annotations

from leither_lite.edge.findings import Findings
from leither_lite.errors import RemoteError
from leither_lite.header import Header, decode_roster
from leither_lite.ledger import group as ledger
from leither_lite.ledger.enacted import enacted_roster
from leither_lite.ledger.group import Group
from leither_lite.ledger.history import History
from leither_lite.ledger.replay import execute_again
from leither_lite.ledger.roots import Roots
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.sets import SettledSet
from leither_lite.node.bench import anchor_of
from leither_lite.organization import Charter
from leither_lite.store import keys
from leither_lite.store.reader import MemoryStore, Reader
from leither_lite.tree.shown import Shown

_PULSE_BYTES = 8


def execute(findings: Findings, reader: Reader, charter: Charter, pulses: list[int], roots: Roots) -> None:
    """Execute the bodies of all `pulses` but the first, which is what the second builds on, once more.

    Raises RemoteError("body"), Halt.
    """
    history = History(reader, pulses)
    first = history.first
    if first is None:
        return
    start = pulses[first]
    group = ledger.load(reader, charter.network, charter.supply, start, rules=charter.rules, tip=history.tip(first))
    group.pending = history.pending(first)
    kept = MemoryStore()
    group.settled = SettledSet(kept)
    for receipt, sent in history.settled(first):
        group.settled.put(receipt, sent)
    oldest = min((anchor.pulse for anchor in roots.anchors(-1)), default=0)
    group.vouch = lambda shown: roots.vouch(shown) or _is_older(roots, shown, oldest)
    for pulse in pulses[first + 1 :]:
        if pulse % 100 == 0:
            findings.progress(f"body of pulse {pulse}")
        kept.write(group.settled.writes())
        group.settled.performed()
        sealed = ledger.sealed_at(reader, pulse)
        if sealed is None:
            raise RemoteError("body", f"pulse {pulse} is missing")
        try:
            _execute(reader, group, sealed, roots)
        except RemoteError as error:
            raise RemoteError("body", f"pulse {pulse}, executed again, leads to another header: {error}") from None


def _is_older(roots: Roots, shown: Shown, oldest: int) -> bool:
    """True for a root header of before what the store remembers of the root chain: it was judged when it came."""
    pulse = Header.decode(shown.root).pulse
    return pulse < oldest and not roots.denies(shown.root_digest, pulse)


def _execute(reader: Reader, group: Group, sealed: SealedPulse, roots: Roots) -> None:
    header = sealed.header
    segments = [content for _, content in reader.scan(*keys.segments(header.pulse))]
    if not header.bits:
        group.roster = enacted_roster(reader, group.header.pulse, group.digest) or group.roster
        execute_again(group, sealed, segments)
        return
    kept = reader.get(keys.sealers(header.pulse)) or b""
    named = decode_roster(kept[_PULSE_BYTES:]) if header.term > group.term else ()
    anchor = roots.anchor(header.anchor, header.pulse - 1) or anchor_of(sealed)
    execute_again(group, sealed, segments, anchor=anchor, named=named)
