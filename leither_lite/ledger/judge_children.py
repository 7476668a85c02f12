"""What a parent takes of its children, and what it may decide of them (docs/protocol.md, sections 3 and 4.8).

Checks of a child need only what is shown: its seal, what its node opens to, and signatures of those that hold its page
and body. Decides from the parent's table of children alone. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from leither_lite.errors import RemoteError
from leither_lite.header import (
    Header,
    check_seal,
    decode_roster,
    encode_roster,
    header_digest,
    roster_digest,
    state_digest,
)
from leither_lite.identity import account_id, h32
from leither_lite.ledger.children import Child, Place, UpperState, is_partition
from leither_lite.ledger.committee import Held, Willing
from leither_lite.ledger.merged import opened_by
from leither_lite.ledger.state import (
    MERGE,
    NOBODY,
    NOTHING,
    SPLIT,
    Offer,
    State,
    decode_willing,
    encode_willing,
    willing_digest,
)
from leither_lite.ledger.structure import draw, willing_of_both, willing_under
from leither_lite.ledger.tip import Anchor
from leither_lite.ledger.traffic import CYCLE
from leither_lite.ledger.upper import UpperGroup, counters_of, new_children
from leither_lite.ledger.upper_operations import APPOINT, CALL, KEPT, ChildSeal, Decision
from leither_lite.tree.node import EMPTY, branch, group, meta, node_pulse, node_sum

KEPT_TICKS: Final = 60
"""After so long an offer that was not taken up is over; at once where the parent has no room for the parts, or there is
no buddy that offers the same."""
BUDDY_TICKS: Final = 8
"""So long the offer to be merged waits for the buddy's, where that seals something else."""
CALLED_TICKS: Final = 120
"""A child that has not followed a call for so long gets a new roster."""


class Parent(NamedTuple):
    """What a parent judges by, as it is in the midst of a body: its children, the W's that were shown, its date, the
    root header that it builds on (None: it is the root), and who seals this header."""

    group: UpperGroup
    children: Mapping[Place, Child]
    shown: Mapping[bytes, bytes]
    date: int
    anchor: Anchor | None
    sealers: tuple[bytes, ...]


class _Opened(NamedTuple):
    """What a parent reads of a child's S."""

    appointed: int
    willing: bytes
    offer: Offer


def _opened(level: int, state: bytes) -> _Opened:
    if level == 1:
        decoded, willing = State.decode_alone(state)
        return _Opened(decoded.appointed, willing, decoded.offer)
    upper = UpperState.decode(state)
    return _Opened(upper.appointed, upper.willing, upper.offer)


def take_child(parent: Parent, seal: ChildSeal, network: bytes) -> Child:
    """The child as it is after a seal.

    Raises RemoteError: child_unknown, child_offers (it has offered something and waits), child_previous, child_term,
    child_pulse, child_anchor (another root header than is known of that pulse, or one above the parent's own),
    child_node (it does not open to what is shown), child_sums, child_outbox, child_willing, child_offer, child_held; a
    reason of headers, rosters and states; and last, those of `check_seal`.
    """
    level = parent.group.level - 1
    header = Header.decode(seal.header_bytes)
    child = parent.children.get((header.prefix, header.bits))
    if child is None or header.level != level or header.network != network:
        raise RemoteError("child_unknown", f"a header of level {header.level}, {header.bits} bits")
    if child.offer.kind:
        raise RemoteError("child_offers", "it waits for what becomes of its offer")
    if header.previous != child.head:
        raise RemoteError("child_previous", "it does not follow the last one")
    is_late = bool(child.appointed) and header.term < child.term  # of those in whose place the parent has named others
    if header.term != child.term and not is_late:
        raise RemoteError("child_term", f"term {header.term} where {child.term} is due")
    if header.pulse <= child.pulse or node_pulse(header.node) != header.pulse:
        raise RemoteError("child_pulse", f"pulse {header.pulse} after {child.pulse}")
    _check_anchor(parent, header)
    opened = meta(roster_digest(seal.roster), seal.outbox, seal.sent_out, seal.settled_in, state_digest(seal.state))
    if group(level, header.bits, header.prefix, header.pulse, seal.inner, opened) != header.node:
        raise RemoteError("child_node", "it does not open to what is shown")
    _check_sums(level, child, seal)
    if parent.group.is_root and seal.settled_in != child.settled_in:
        _check_under_way(parent, child, seal)
    decode_roster(seal.roster, empty_allowed=True)
    state = _opened(level, seal.state)
    if state.appointed > header.term + 1:
        raise RemoteError("child_term", f"it opens term {state.appointed} after {header.term}")
    willing = _check_willing(parent, child, seal, state.willing)
    _check_offer(header, seal, state.offer)
    sealers = decode_roster(child.roster, empty_allowed=True) if is_late else child.sealers
    check_seal(seal.header_bytes, seal.signatures, sealers or parent.sealers)
    digest = header_digest(seal.header_bytes)
    holders = {each.key for each in willing}
    for key, signature in seal.held:
        if key not in holders or not Held.is_signed(network, key, signature, digest):
            raise RemoteError("child_held", key.hex())
    return Child(
        child.bits,
        child.prefix,
        header.pulse,
        digest,
        max(header.term, state.appointed),
        seal.roster,
        seal.inner,
        seal.outbox,
        seal.sent_out,
        seal.settled_in,
        state_digest(seal.state),
        state.willing,
        state.offer,
        parent.date if state.offer.kind else 0,
        b"",
        0,
    )


def _check_anchor(parent: Parent, header: Header) -> None:
    pulse = header.pulse - 1
    newest = parent.group.header.pulse if parent.anchor is None else parent.anchor.pulse
    if pulse > newest or parent.group.denies_root(header.anchor, pulse):
        raise RemoteError("child_anchor", f"the root header of pulse {pulse} is another, or there is none yet")


def _check_sums(level: int, child: Child, seal: ChildSeal) -> None:
    sent = seal.sent_out - child.sent_out
    gained = node_sum(seal.inner) - node_sum(child.inner)
    if (gained - (seal.settled_in - child.settled_in) + sent) % CYCLE:
        raise RemoteError("child_sums", "what it has gained is not what came in less what went out")
    if level > 1 and seal.outbox != EMPTY:
        raise RemoteError("child_outbox", "a group above level 1 sends nothing")
    if level == 1 and (sent - node_sum(seal.outbox)) % CYCLE:
        raise RemoteError("child_outbox", "what went out is not in its outbox")


def _check_under_way(parent: Parent, child: Child, seal: ChildSeal) -> None:
    """Nothing comes in that nobody has sent: out - in of the whole is between 0 and the supply."""
    sent_out, settled_in = counters_of(parent.children.values())
    under_way = sent_out - settled_in + (seal.sent_out - child.sent_out) - (seal.settled_in - child.settled_in)
    if under_way % CYCLE > parent.group.supply:
        raise RemoteError("child_sums", "more comes in than was sent")


def _check_willing(parent: Parent, child: Child, seal: ChildSeal, digest: bytes) -> tuple[Willing, ...]:
    """W of the child, which is shown where it is another than before."""
    if digest == child.willing:
        if seal.willing:
            raise RemoteError("child_willing", "they are known already")
        return decode_willing(parent.shown.get(digest, NOBODY))
    if willing_digest(seal.willing) != digest:
        raise RemoteError("child_willing", "they are not those of its state")
    return decode_willing(seal.willing)


def _check_offer(header: Header, seal: ChildSeal, offer: Offer) -> None:
    if offer.kind == MERGE and not header.bits:
        raise RemoteError("child_offer", "the whole has no buddy")
    if offer.kind != SPLIT:
        return
    places = [(each.prefix, each.bits) for each in offer.successors]
    whole = is_partition(places, header.bits, header.prefix) and all(bits > header.bits for _, bits in places)
    told = [(node_sum(each.inner), each.sent_out, each.settled_in) for each in offer.successors]
    total, sent_out, settled_in = (sum(column) % CYCLE for column in zip(*told, strict=True))
    if not whole or (total, sent_out, settled_in) != (node_sum(seal.inner), seal.sent_out, seal.settled_in):
        raise RemoteError("child_offer", "the successors are not the whole")


def required(parent: Parent, seal: ChildSeal, held: int) -> int:
    """How many signatures of holders make a child's seal safe: as many as the charter asks for, or as there are
    candidates outside its committee."""
    header = Header.decode(seal.header_bytes)
    child = parent.children.get((header.prefix, header.bits))
    if child is None:
        return held
    content = seal.willing or parent.shown.get(child.willing, NOBODY)
    return min(held, len(candidates(decode_willing(content), seal.roster, header_digest(seal.header_bytes))))


def candidates(willing: tuple[Willing, ...], roster: bytes, digest: bytes) -> tuple[bytes, ...]:
    """The keys of those who may be drawn to hold the header of `digest`, in the order in which they are."""
    outside = [each.key for each in willing if each.key not in roster and not each.silent]
    return tuple(sorted(outside, key=lambda key: h32("held", digest + account_id(key))))


def buddy_of(place: Place) -> Place:
    """The place of the group that one may merge with."""
    prefix, bits = place
    number = int.from_bytes(prefix, "big") ^ 1 << (8 * len(prefix) - bits)
    return number.to_bytes(len(prefix), "big"), bits


def judge_decision(parent: Parent, decision: Decision) -> str:
    """Empty if the parent may decide so, else why not: child_unknown, no_offer, too_early, too_many, no_buddy,
    called_already, nobody."""
    child = parent.children.get(decision.place)
    if child is None:
        return "child_unknown"
    if decision.kind == CALL:
        return "called_already" if child.called or child.offer.kind else ""
    if decision.kind == APPOINT:
        if not child.called or parent.date < child.called + CALLED_TICKS:
            return "too_early"
        return "" if decode_willing(parent.shown.get(child.willing, NOBODY)) else "nobody"
    if not child.offer.kind:
        return "no_offer"
    if decision.kind == KEPT:
        is_over = _cannot_be(parent, child) or parent.date >= child.offered + KEPT_TICKS
        return "" if is_over else "too_early"
    if child.offer.kind == SPLIT:
        return "too_many" if _cannot_be(parent, child) else ""
    if _cannot_be(parent, child):
        return "no_buddy"
    buddy = parent.children[buddy_of(child.place)]
    return "" if buddy.offer.kind == MERGE and child.prefix < buddy.prefix else "no_buddy"


def _cannot_be(parent: Parent, child: Child) -> bool:
    """True if no waiting brings what a child has offered: the parent has no room for its parts, or there is no buddy to
    be merged with, or that has gone on without an offer."""
    if child.offer.kind == SPLIT:
        return len(parent.children) - 1 + len(child.offer.successors) > parent.group.rules.members_max
    buddy = parent.children.get(buddy_of(child.place))
    if buddy is None or len(parent.children) <= 2:
        return True
    is_elsewhere = not buddy.offer.kind and not buddy.called and buddy.pulse > child.pulse
    return is_elsewhere and parent.date >= child.offered + BUDDY_TICKS


class Decided(NamedTuple):
    """What a decision does: places that go, children that come or change, and W's that are shown by it."""

    gone: tuple[Place, ...]
    children: tuple[Child, ...]
    shown: tuple[bytes, ...] = ()


def decided(parent: Parent, decision: Decision, seed: bytes) -> Decided:
    """What a decision that is allowed does; `seed` (32 bytes) is what rosters are drawn by."""
    child = parent.children[decision.place]
    willing = decode_willing(parent.shown.get(child.willing, NOBODY))
    if decision.kind in (CALL, KEPT):
        return Decided((), (child._replace(offer=NOTHING, offered=0, called=max(parent.date, 1)),))
    if decision.kind == APPOINT:
        others = tuple(each for each in willing if each.key not in child.sealers)
        roster = draw(others or willing, seed, parent.group.rules.roster_max)
        return Decided((), (child._replace(appointed=encode_roster(roster), term=child.term + 1, called=0),))
    if child.offer.kind == MERGE:
        return _merged(parent, child, willing, seed)
    successors = child.offer.successors
    contents = [encode_willing(willing_under(willing, each.bits, each.prefix)) for each in successors]
    made = new_children(successors, child.head, child.pulse, contents)
    return Decided((child.place,), tuple(made.values()), tuple(contents))


def _merged(parent: Parent, child: Child, willing: tuple[Willing, ...], seed: bytes) -> Decided:
    """The group that two buddies become; `child` is the lower one."""
    buddy = parent.children[buddy_of(child.place)]
    nodes = willing_of_both(willing, decode_willing(parent.shown.get(buddy.willing, NOBODY)), seed)
    content = encode_willing(nodes)
    bits = child.bits - 1
    merged = Child(
        bits,
        child.prefix,
        max(child.pulse, buddy.pulse),
        h32("merge", child.head + buddy.head),
        0,
        encode_roster(draw(nodes, seed, parent.group.rules.roster_max)),
        joined(bits, child.inner, buddy.inner),
        EMPTY,
        (child.sent_out + buddy.sent_out) % CYCLE,
        (child.settled_in + buddy.settled_in) % CYCLE,
        opened_by(child.head, buddy.head, willing_digest(content)),
        willing_digest(content),
    )
    return Decided((child.place, buddy.place), (merged,), (content,))


def joined(depth: int, left: bytes, right: bytes) -> bytes:
    """The node over two buddies' inner nodes, either of which may be empty; they differ first in bit `depth`."""
    if EMPTY in (left, right):
        return right if left == EMPTY else left
    return branch(depth, left, right)
