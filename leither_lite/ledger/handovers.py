"""What a store keeps so that the chain can be followed from afar: handovers, and the page that a jump starts from.

A handover shows that a sealed pulse changed the roster (docs/protocol.md, 2.7); a node that catches up by a jump has
the whole page of one pulse with nothing before it. Decides only what is kept; never who is to be believed.
"""

from __future__ import annotations

from collections.abc import Mapping

from leither_lite import codec
from leither_lite.effects import Write
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import state_digest
from leither_lite.ledger.records import Entry, encode_page
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree.node import EMPTY
from leither_lite.tree.proof import Handover
from leither_lite.tree.proof_cbor import handover_value, take_handover


def handover_of(sealed: SealedPulse) -> Handover:
    """The handover of a pulse that changed the roster: its header opens to R, who may seal the next."""
    return Handover(
        sealed.header_bytes,
        sealed.inner,
        EMPTY,
        sealed.sent_out,
        sealed.settled_in,
        state_digest(sealed.state),
        sealed.roster,
        sealed.signatures,
    )


def handover_writes(sealed: SealedPulse) -> list[Write]:
    """What keeps the handover of a pulse that changed the roster (`Body.changes_roster`)."""
    return [(keys.handover(sealed.header.pulse), codec.encode(handover_value(handover_of(sealed))))]


def handovers(reader: Reader, first: int, end: int) -> tuple[Handover, ...]:
    """The handovers that are kept of the pulses from `first` to `end` - 1, oldest first.

    Raises Halt("store_corrupt").
    """
    try:
        return tuple(
            take_handover(codec.decode(content)) for _, content in reader.scan(keys.handover(first), keys.handover(end))
        )
    except RemoteError as error:
        raise Halt("store_corrupt", f"a handover in the store cannot be read: {error}") from error


def jump_writes(sealed: SealedPulse, entries: Mapping[bytes, Entry], invites: Mapping[bytes, int]) -> list[Write]:
    """What makes a sealed pulse the store's base: its whole page, its set of used invites (item -> pulse).

    What lies there of older pulses is not read any more; `retention` lets go of it. The caller has checked all of it.
    """
    pulse = sealed.header.pulse
    page = ((account, entry.pulse, entry.record.encode()) for account, entry in sorted(entries.items()))
    return [
        (keys.sealed(pulse), sealed.encode()),
        (keys.snapshot(pulse), encode_page(page)),
        *((keys.invite(item), used_in.to_bytes(8, "big")) for item, used_in in sorted(invites.items())),
        (keys.BASE, pulse.to_bytes(8, "big")),
    ]
