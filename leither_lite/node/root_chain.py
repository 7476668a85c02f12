"""The root chain as far as the store knows it, and root headers as they are told (docs/protocol.md, 4.9 and 9.3).

Decides nothing: what does not hold is refused by the ledger's rules.
"""

from __future__ import annotations

from leither_lite import codec
from leither_lite.codec import Value
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import HEADER_BYTES_MAX, take_signatures
from leither_lite.ledger.group import Group
from leither_lite.ledger.handovers import handovers
from leither_lite.ledger.roots import Roots, RootSeal
from leither_lite.limits import DIGEST_BYTES
from leither_lite.store import keys
from leither_lite.store.reader import Reader


def load_roots(reader: Reader, group: Group, charter_roster: tuple[bytes, ...]) -> Roots:
    """The root chain as far as the store knows it. Raises Halt("store_corrupt")."""
    if group.is_root:
        roots = Roots(group.network, group.header.pulse, group.roster_keys)
        roots.remember(group.digest, group.header.pulse, group.header.tick)
        return roots
    roots = Roots(group.network, -1, charter_roster)
    roots.follow(handovers(reader, 0, keys.PULSE_MAX))
    for key, content in reader.scan(*keys.ROOTS):
        roots.remember(content[:DIGEST_BYTES], keys.sequence_of(key), int.from_bytes(content[DIGEST_BYTES:], "big"))
    kept = reader.get(keys.ROOT)
    if kept is not None:
        try:
            roots.take(take_seal(codec.fields(codec.decode(kept), 2, "bad_root")))
        except RemoteError as error:
            raise Halt("store_corrupt", f"the root header in the store does not hold: {error}") from error
    return roots


def take_seal(values: list[Value]) -> RootSeal:
    """A root header and its signatures in CBOR values. Raises RemoteError("bad_root")."""
    header, signatures = values
    return RootSeal(codec.octets_upto(header, HEADER_BYTES_MAX, "bad_root"), take_signatures(signatures, "bad_root"))
