"""What a store keeps of a group above level 1: where it stands, a row for each child, the W's (docs/store.md).

Decides only what is kept; never who is to be believed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from leither_lite import codec
from leither_lite.codec import encode
from leither_lite.effects import Write
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import LEVEL_MAX, ROSTER_BYTES_MAX, header_digest
from leither_lite.ledger.children import Child, Place, UpperState, children_digest, encode_children
from leither_lite.ledger.group import Rules
from leither_lite.ledger.sealed import SEALED_BYTES_MAX, SealedPulse
from leither_lite.ledger.state import NOBODY, decode_willing, willing_digest
from leither_lite.ledger.upper import UpperGroup
from leither_lite.limits import DIGEST_BYTES, ID_BITS, ID_BYTES, STATE_BYTES_MAX, UINT_MAX
from leither_lite.store import keys
from leither_lite.store.reader import Reader


def tip_content(group: UpperGroup) -> bytes:
    """Where a group stands: CBOR [level, bits, prefix, digest, R, S, term, sealed pulse]."""
    return encode(
        [
            group.level,
            group.bits,
            group.prefix,
            group.digest,
            group.roster,
            group.state.encode(),
            group.term,
            group.sealed.encode(),
        ]
    )


def upper_writes(
    group: UpperGroup, children_before: Mapping[Place, Child], shown_before: Mapping[bytes, bytes]
) -> list[Write]:
    """What keeps a group as it is now, where the store has it as it was before."""
    writes: list[Write] = [(keys.UPPER, tip_content(group))]
    for place in children_before:
        if place not in group.children:
            writes.append((keys.child(*place), None))
    for place, child in group.children.items():
        if children_before.get(place) != child:
            writes.append((keys.child(*place), encode(child.value())))
    writes += [(keys.willing(digest), None) for digest in shown_before if digest not in group.shown]
    writes += [(keys.willing(each), content) for each, content in group.shown.items() if each not in shown_before]
    return writes


def load_upper(
    reader: Reader, network: bytes, supply: int, rules: Rules, denies_root: Callable[[bytes, int], bool]
) -> UpperGroup:
    """The group that a part of the store is of. Raises Halt("store_corrupt")."""
    try:
        group = _read(reader, network, supply, rules)
    except RemoteError as error:
        raise Halt("store_corrupt", f"what is kept of a group above level 1 cannot be read: {error}") from error
    group.denies_root = denies_root
    check_upper(group)
    return group


def check_upper(group: UpperGroup) -> None:
    """Raises Halt("store_corrupt") unless its children and W's are what its S commits to."""
    if not is_whole(group):
        raise Halt("store_corrupt", "the children of a group are not those that it has agreed on")


def is_whole(group: UpperGroup) -> bool:
    """True if a group's children and W's are what its S commits to."""
    table = children_digest(encode_children(group.children.values()))
    needed = {child.willing for child in group.children.values()} | {group.state.willing}
    return table == group.state.children and all(digest in group.shown for digest in needed)


def _read(reader: Reader, network: bytes, supply: int, rules: Rules) -> UpperGroup:
    reason = "bad_upper"
    content = reader.get(keys.UPPER)
    if content is None:
        raise RemoteError(reason, "there is none")
    level, bits, prefix, digest, roster, state, term, sealed = codec.fields(codec.decode(content), 8, reason)
    pulse = SealedPulse.decode(codec.octets_upto(sealed, SEALED_BYTES_MAX, reason))
    children: dict[Place, Child] = {}
    for _, kept in reader.scan(*keys.CHILDREN):
        child = Child.take(codec.decode(kept))
        children[child.place] = child
    shown: dict[bytes, bytes] = {willing_digest(NOBODY): NOBODY}
    for key, kept in reader.scan(*keys.WILLING):
        decode_willing(kept)
        shown[key[1:]] = kept
        if willing_digest(kept) != key[1:]:
            raise RemoteError(reason, "a W is not the one of its digest")
    return UpperGroup(
        network,
        supply,
        codec.uint(level, LEVEL_MAX, reason),
        codec.uint(bits, ID_BITS, reason),
        codec.octets(prefix, ID_BYTES, reason),
        codec.octets_upto(roster, ROSTER_BYTES_MAX, reason),
        pulse,
        pulse.header,
        codec.octets(digest, DIGEST_BYTES, reason),
        UpperState.decode(codec.octets_upto(state, STATE_BYTES_MAX, reason)),
        codec.uint(term, UINT_MAX, reason),
        dict(sorted(children.items())),
        shown,
        rules,
    )


def sealed_here(group: UpperGroup) -> bool:
    """True if the last header is this group's own: not that of the one it was split from."""
    return header_digest(group.sealed.header_bytes) == group.digest and group.header.level == group.level
