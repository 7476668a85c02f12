"""Bodies that others made, on the state before them: sealed ones and proposals (docs/protocol.md, sections 4 and 5).

Decides whether a header follows from the state before it and its body. Never checks who agreed, never reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leither_lite.errors import RemoteError
from leither_lite.header import Header, body_digest, encode_roster
from leither_lite.ledger.body import Body, never, next_term
from leither_lite.ledger.group import Group
from leither_lite.ledger.sealed import BodyEntries, SealedPulse
from leither_lite.ledger.tip import Anchor


def execute_again(
    group: Group,
    sealed: SealedPulse,
    segments: Sequence[bytes],
    known: Callable[[bytes], bool] = never,
    *,
    anchor: Anchor | None = None,
    named: tuple[bytes, ...] = (),
) -> Body:
    """Re-execute a sealed body on the group as it was before it; the group moves on to it.

    `anchor`: the root header that it builds on; None in the root group. `named`: who has sealed it, where the parent
    had named others than R, in a later term.

    Raises RemoteError: header_term (neither `next_term` nor, where a checkpoint opened one, the term after it),
    header_mismatch if the header is not the one that follows from the body, or as `Body.replay`. After an error the
    group is as it was.
    """
    header, late = sealed.header, sealed.header.term - next_term(group)
    if late < 0 or (late > 1 and not named):
        raise RemoteError("header_term", f"term {header.term} where {next_term(group)} is due")
    roster, ousted = group.roster, group.ousted
    if named:
        group.roster, group.ousted = encode_roster(named), group.roster_keys
    try:
        body = _follow(Body(group, header.term, None, anchor), header, sealed.entries, segments, known)
    except RemoteError:
        group.roster, group.ousted = roster, ousted
        raise
    body.seal(sealed.signatures)
    return body


def check_proposal(
    group: Group,
    header_bytes: bytes,
    entries: BodyEntries,
    segments: Sequence[bytes],
    term: int,
    known: Callable[[bytes], bool] = never,
    *,
    anchor: Anchor | None = None,
    may_be_empty: bool = False,
) -> Body:
    """Execute a proposed body on the group's last header: the closed body, whose header is the one proposed.

    `anchor`: the root header that it builds on, as the header says; None in the root group. `may_be_empty`: the parent
    has called for a header.

    Raises RemoteError: header_term (not `term`), header_pulse, header_tick (below the predecessor's), body_empty
    (nothing to seal), header_mismatch (another header follows), as `Header.decode` or `Body.replay`. After an error the
    group is as it was.
    """
    header = Header.decode(header_bytes)
    if header.term != term:
        raise RemoteError("header_term", f"term {header.term} where {term} is due")
    if header.pulse <= group.header.pulse:
        raise RemoteError("header_pulse", f"pulse {header.pulse} after {group.header.pulse}")
    if header.tick < group.header.tick:
        raise RemoteError("header_tick", f"tick {header.tick} after {group.header.tick}")
    if header.previous != group.digest or body_digest(entries) != header.body:
        raise RemoteError("header_mismatch", "the header does not follow from the last, or names another body")
    body = _follow(Body(group, term, None, anchor), header, entries, segments, known)
    if body.is_empty and not may_be_empty:
        body.undo()
        raise RemoteError("body_empty", "a proposal of nothing, or of nothing but signatures of holders")
    return body


def _follow(
    body: Body, header: Header, entries: BodyEntries, segments: Sequence[bytes], known: Callable[[bytes], bool]
) -> Body:
    """Replay and close; whatever does not lead to `header` is undone and refused."""
    try:
        body.replay(segments, entries, known)
        if body.close(header.tick) != header:
            raise RemoteError("header_mismatch", "the header does not follow from the state before it and its body")
    except RemoteError:
        body.undo()
        raise
    return body
