"""The newest state as one node gives it to another (docs/protocol.md, section 9): how it looks, and what it must be.

Decides which bytes are a state, without making more of them than they hold, and whether page, invites, S and R are what
the header commits to. Never decides whether that header is sealed: `catchup` does, before anything here is built.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from leither_lite.codec import Value, encode
from leither_lite.errors import RemoteError
from leither_lite.header import body_digest, header_digest
from leither_lite.ledger import group as ledger
from leither_lite.ledger.group import Group, tree_of
from leither_lite.ledger.handovers import handovers
from leither_lite.ledger.joins import invite_leaf
from leither_lite.ledger.records import Entry, decode_page, encode_page
from leither_lite.ledger.sealed import SEALED_BYTES_MAX, SealedPulse
from leither_lite.ledger.state import State
from leither_lite.limits import HANDOVERS_MAX, ID_BYTES, PAGE_BYTES_MAX
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree.node import EMPTY
from leither_lite.tree.proof_cbor import handover_value
from leither_lite.tree.tree import SumTree

STATE_BYTES_MAX: Final = 4 * 1024 * 1024
INVITES_MAX: Final = 1_024
"""Each used invite has opened an account of the group, of which there are 256 at most."""
_INVITE_BYTES: Final = ID_BYTES + 8
_PAGE_BYTES_MAX: Final = PAGE_BYTES_MAX + 4_096  # as it is, an entry may have more bytes than it counts
_HANDOVER_BYTES_MAX: Final = 2_048
_CHECKPOINT_BYTES_MAX: Final = 512
_BAD: Final = "bad_state"


class Parts(NamedTuple):
    """The parts of a state, each still as it came: CBOR, but for the invites."""

    sealed: bytes
    page: bytes
    invites: bytes
    handovers: list[bytes]
    checkpoint: bytes


def make_state(reader: Reader) -> tuple[bytes, bytes]:
    """The newest header's digest, and CBOR [sealed pulse, page, used invites, [handover, …], checkpoint or empty].

    Raises RemoteError("bad_want") where there is none to give, or it would be too large.
    """
    sealed = ledger.last_sealed(reader)
    if sealed is None:
        raise RemoteError("bad_want", "nothing is sealed here")
    pulse = sealed.header.pulse
    entries = ledger.entries_at(reader, pulse)
    page = encode_page((account, entry.pulse, entry.record.encode()) for account, entry in entries.items())
    invites = b"".join(key[1:] + used_in for key, used_in in reader.scan(*keys.INVITES))
    chain: list[Value] = [encode(handover_value(each)) for each in handovers(reader, 0, pulse + 1)]
    content = encode([sealed.encode(), page, invites, chain, reader.get(keys.CHECKPOINT) or b""])
    if len(content) > STATE_BYTES_MAX:
        raise RemoteError("bad_want", "the state is too large to be given")
    return header_digest(sealed.header_bytes), content


def parts_of(content: bytes) -> Parts:
    """The parts of a state. Raises RemoteError("bad_state").

    Cuts byte strings out, and builds nothing else: millions of small items would take many times their bytes.
    """
    if content[:1] != b"\x85":
        raise RemoteError(_BAD, "an array of five is expected")
    sealed, at = _cut(content, 1, SEALED_BYTES_MAX)
    page, at = _cut(content, at, _PAGE_BYTES_MAX)
    invites, at = _cut(content, at, INVITES_MAX * _INVITE_BYTES)
    count, at = _head(content, at, 4, HANDOVERS_MAX)
    chain = []
    for _ in range(count):
        handover, at = _cut(content, at, _HANDOVER_BYTES_MAX)
        chain.append(handover)
    checkpoint, at = _cut(content, at, _CHECKPOINT_BYTES_MAX)
    if at != len(content):
        raise RemoteError(_BAD, "bytes after the state")
    return Parts(sealed, page, invites, chain, checkpoint)


def _head(content: bytes, at: int, major: int, maximum: int) -> tuple[int, int]:
    """The argument of the CBOR head of a major type at a place, and where what follows begins."""
    head = content[at] if at < len(content) else 0xFF
    width = {24: 1, 25: 2, 26: 4}.get(head & 31, 0)
    if head >> 5 != major or (head & 31) >= 27 or at + 1 + width > len(content):
        raise RemoteError(_BAD, f"at byte {at}")
    argument = int.from_bytes(content[at + 1 : at + 1 + width], "big") if width else head & 31
    if argument > maximum:
        raise RemoteError(_BAD, f"too large, at byte {at}")
    return argument, at + 1 + width


def _cut(content: bytes, at: int, maximum: int) -> tuple[bytes, int]:
    """The byte string at a place, and where what follows begins."""
    size, at = _head(content, at, 2, maximum)
    if at + size > len(content):
        raise RemoteError(_BAD, f"cut short, at byte {at}")
    return content[at : at + size], at + size


def check_state(group: Group, sealed: SealedPulse, parts: Parts) -> tuple[dict[bytes, Entry], dict[bytes, int]]:
    """The page's entries, and the used invites with their pulses, of a header that is sealed.

    Raises RemoteError("bad_state") unless they, S and R are what it commits to; or a reason of pages and states.
    """
    header = sealed.header
    state = State.decode(sealed.state, sealed.willing)
    entries = dict(decode_page(parts.page))
    used = parts.invites
    if len(used) % _INVITE_BYTES:
        raise RemoteError(_BAD, "the used invites are cut short")
    uses = {
        used[at : at + ID_BYTES]: int.from_bytes(used[at + ID_BYTES : at + _INVITE_BYTES], "big")
        for at in range(0, len(used), _INVITE_BYTES)
    }
    invites = SumTree()
    invites.put_many([(item, invite_leaf(pulse, item)) for item, pulse in uses.items()])
    root = invites.root() if uses else EMPTY
    node = group.node_of(header.pulse, sealed.inner, sealed.meta)
    whole = (tree_of(entries).root(), root, node, body_digest(sealed.entries), header.network, header.level)
    if whole != (sealed.inner, state.invites, header.node, header.body, group.network, group.header.level):
        raise RemoteError(_BAD, "it is not what its header commits to")
    return entries, uses
