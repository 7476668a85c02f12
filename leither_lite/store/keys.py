"""Keys of the store: one byte that names the table, then big-endian fields, so that order is by number and by pulse.

Decides only how keys look (docs/store.md). Everything lies in one table of the database, which costs fewest page
writes.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

_U16: Final = Struct(">H")
_U64: Final = Struct(">Q")
_ROW: Final = Struct(">QB")
_SEGMENT: Final = Struct(">QBH")
PULSE_MAX: Final = 2**64 - 1

# What is kept of a pulse lies side by side, so that a seal adds to the end of the table and touches few pages.
_SEALED: Final = 0
_CHANGES: Final = 1
_SNAPSHOT: Final = 2
_SEGMENTS: Final = 3
_SEALERS: Final = 4


def sealed(pulse: int) -> bytes:
    """Header, seal and the parts of the group at `pulse`."""
    return b"p" + _ROW.pack(pulse, _SEALED)


def changes(pulse: int) -> bytes:
    """The entries of the accounts that `pulse` has changed, as a page."""
    return b"p" + _ROW.pack(pulse, _CHANGES)


def snapshot(pulse: int) -> bytes:
    """The whole page as of `pulse`."""
    return b"p" + _ROW.pack(pulse, _SNAPSHOT)


def segment(pulse: int, index: int) -> bytes:
    """A segment of the body of `pulse`."""
    return b"p" + _SEGMENT.pack(pulse, _SEGMENTS, index)


def segments(pulse: int) -> tuple[bytes, bytes]:
    """The range of all segments of the body of `pulse`."""
    return b"p" + _ROW.pack(pulse, _SEGMENTS), b"p" + _ROW.pack(pulse, _SEGMENTS + 1)


def sealers(pulse: int) -> bytes:
    """Of a group that is not the root: the pulse of the header before that of `pulse`, and who had the say here."""
    return b"p" + _ROW.pack(pulse, _SEALERS)


def pulses(first: int, end: int) -> tuple[bytes, bytes]:
    """The range of all that is kept of the pulses from `first` to `end` - 1."""
    return b"p" + _U64.pack(first), b"p" + _U64.pack(end)


PULSES: Final = (b"p", b"q")


def invite(invite_id: bytes) -> bytes:
    """A used invite: the pulse in which it was used."""
    return b"i" + invite_id


INVITES: Final = (b"i", b"j")


def queued(sequence: int) -> bytes:
    """An accepted operation that waits for its seal."""
    return b"q" + _U64.pack(sequence)


QUEUED: Final = (b"q", b"r")


def transfer(sequence: int) -> bytes:
    """A transfer of an account of this node that has been sealed."""
    return b"t" + _U64.pack(sequence)


TRANSFERS: Final = (b"t", b"u")


def paid(payer: bytes, invoice_digest: bytes) -> bytes:
    """A fixed invoice that this node's account has paid: the transfer's sequence number."""
    return b"f" + payer + invoice_digest


def idempotency(digest: bytes) -> bytes:
    """An idempotency key that was used: the transfer's sequence number and the digest of what was asked."""
    return b"k" + digest


def application(account_id: bytes) -> bytes:
    """An application that waits for a supervisor."""
    return b"n" + account_id


APPLICATIONS: Final = (b"n", b"o")


def handover(pulse: int) -> bytes:
    """The handover of a pulse that changed the roster."""
    return b"h" + _U64.pack(pulse)


HANDOVERS: Final = (b"h", b"i")


def checkpoint(pulse: int) -> bytes:
    """The checkpoint on the header of `pulse`."""
    return b"c" + _U64.pack(pulse)


CHECKPOINTS: Final = (b"c", b"d")


def evidence(sequence: int) -> bytes:
    """Two signatures of one key that must not both be."""
    return b"e" + _U64.pack(sequence)


EVIDENCE: Final = (b"e", b"f")


VOTES: Final = (b"v", b"w")
"""What this node has signed of the agreement that is under way: rows of `pulse.log`."""


def body(index: int) -> bytes:
    """A part of the body of the proposal that this node is locked on."""
    return b"b" + _U16.pack(index)


BODY: Final = (b"b", b"c")


def address(account_id: bytes) -> bytes:
    """The newest address that a node has signed."""
    return b"a" + account_id


ADDRESSES: Final = (b"a", b"b")


def pending(item: bytes) -> bytes:
    """A receipt that the group has sent, and that is not resolved yet."""
    return b"o" + item


PENDING: Final = (b"o", b"p")


def shown(item: bytes) -> bytes:
    """The operation that shows a receipt of the group's to its payee's group, until it is resolved."""
    return b"O" + item


SHOWN: Final = (b"O", b"P")


def debited(payer: bytes, sent: int) -> bytes:
    """A transfer of this node's to another group that is not resolved: its sequence number."""
    return b"d" + payer + _U64.pack(sent)


DEBITED: Final = (b"d", b"e")


def settled(pulse: int, item: bytes) -> bytes:
    """A receipt that the group has settled, by the pulse of the header that sent it: later ones have later dates."""
    return b"s" + _U64.pack(pulse) + item


SETTLED: Final = (b"s", b"t")


def settled_tree(key: bytes) -> bytes:
    """A value of the tree over all that is settled."""
    return b"S" + key


SETTLED_TREE: Final = (b"S", b"T")


def child(prefix: bytes, bits: int) -> bytes:
    """A child of a group above level 1."""
    return b"C" + prefix + bytes([bits])


CHILDREN: Final = (b"C", b"D")


def willing(digest: bytes) -> bytes:
    """The W of a child, or of the group itself, by its digest."""
    return b"W" + digest


WILLING: Final = (b"W", b"X")


def root(pulse: int) -> bytes:
    """The digest and tick of a root header, where this node is not in the root group."""
    return b"r" + _U64.pack(pulse)


ROOTS: Final = (b"r", b"s")


def group(level: int, bits: int, prefix: bytes) -> bytes:
    """What the keys of a group begin with that is not the node's own."""
    return b"g" + bytes([level, bits]) + prefix


GROUPS: Final = (b"g", b"h")


def sequence_of(key: bytes) -> int:
    """The number in a key of `queued`, `transfer` or `evidence`; the pulse in a key of a pulse or handover."""
    number: int = _U64.unpack_from(key, 1)[0]
    return number


UPPER: Final = b"mupper"
"""Where a group above level 1 stands."""
ROOT: Final = b"mroot"
"""The newest root header that this node has relied on, with its seal."""
BASE: Final = b"mbase"
"""u64: the pulse whose whole page came from others, with nothing of what was before it. Without it, the genesis."""
ORIGIN: Final = b"morigin"
"""u64: the pulse of the last header of the group that this one was split from, or merged from: its page is this one's
alone."""
KIN: Final = b"mkin"
"""The ids of all members of the group that this node was in before a split or a merge: they may still ask for its last
header."""
TIP: Final = b"mtip"
"""Where the chain stands, where that is not what its last header says: after a split or a merge."""
HALVES: Final = (b"mlow", b"mhigh")
"""The states of the two groups that this one was merged from, the lower first, until its first term is over."""
MERGED: Final = b"mmerged"
"""What their parent has made of the two, as a root header showed it: as long as they are kept."""
APPOINTED: Final = b"mappointed"
"""Who seals the next header of the group, where its parent has named others: [digest of the last header, R, term]."""
GENESIS: Final = b"mgenesis"
"""The sealed genesis, kept for who joins once retention has let go of pulse 0."""
BOOTSTRAP: Final = b"mpeers"
APPLYING: Final = b"mapplying"
SCHEMA: Final = b"mschema"
CHARTER: Final = b"mcharter"
CHECKPOINT: Final = b"mcheckpoint"
"""The newest checkpoint of the organization."""
PLACE: Final = b"mplace"
WALLET: Final = b"mwallet"
