"""The state of a group above level 1 on its way from one node to another, in parts (docs/protocol.md, section 9.3).

Decides how it is cut into frames and put together again, within a bound in bytes; and whether it is what its header
commits to. Never decides whether that header is to be believed: the branch does.
"""

from __future__ import annotations

from typing import Final

from leither_lite import codec
from leither_lite.codec import Value, encode
from leither_lite.errors import RemoteError
from leither_lite.header import header_digest, state_digest
from leither_lite.ledger.branch import Floor
from leither_lite.ledger.children import UpperState, decode_children, encode_children
from leither_lite.ledger.group import Rules
from leither_lite.ledger.sealed import SEALED_BYTES_MAX, SealedPulse
from leither_lite.ledger.state import WILLING_BYTES_MAX, decode_willing, willing_digest
from leither_lite.ledger.upper import UpperGroup
from leither_lite.ledger.upper_store import is_whole
from leither_lite.limits import GROUP_MEMBERS_MAX
from leither_lite.node import frames
from leither_lite.node.pool import content_digest

PART_BYTES: Final = 48 * 1024
PARTS_MAX: Final = 32
ARRIVING_MAX: Final = 2
"""So many that came in several parts are put together at once: 3 MiB at most."""
ARRIVING_MS: Final = 10_000
_DIGEST_BYTES: Final = 16
_BAD: Final = "bad_upper"


def upper_frames(group: UpperGroup) -> list[bytes]:
    """[28, digest, part, parts, bytes]: the parts of CBOR [sealed pulse, table of children, [W, …]].

    None where it would be too large.
    """
    shown: Value = [group.shown[digest] for digest in sorted(group.shown)]
    content = encode([group.sealed.encode(), encode_children(group.children.values()), shown])
    parts = [content[at : at + PART_BYTES] for at in range(0, len(content), PART_BYTES)]
    if len(parts) > PARTS_MAX:
        return []
    digest = content_digest(content)
    return [encode([frames.UPPER, digest, index, len(parts), part]) for index, part in enumerate(parts)]


class Arriving:
    """States that come in parts."""

    def __init__(self) -> None:
        self._parts: dict[bytes, tuple[int, dict[int, bytes]]] = {}  # until when, and the parts, by digest

    def take(self, values: list[Value], now_ms: int) -> bytes | None:
        """A part; the whole, once it is there. Raises RemoteError("bad_upper")."""
        _, digest, part, parts, content = codec.fields(values, 5, _BAD)
        digest = codec.octets(digest, _DIGEST_BYTES, _BAD)
        count = codec.uint(parts, PARTS_MAX, _BAD)
        index = codec.uint(part, PARTS_MAX, _BAD)
        content = codec.octets_upto(content, PART_BYTES, _BAD)
        if index >= count:
            raise RemoteError(_BAD, "there is no such part")
        for each, (until_ms, _) in list(self._parts.items()):
            if until_ms <= now_ms:
                del self._parts[each]
        if count > 1 and digest not in self._parts and len(self._parts) >= ARRIVING_MAX:
            return None  # told again, it may find room
        _, known = self._parts.get(digest, (0, {}))
        known[index] = content
        if len(known) < count:
            self._parts[digest] = now_ms + ARRIVING_MS, known
            return None
        self._parts.pop(digest, None)
        whole = b"".join(known[each] for each in sorted(known))
        if content_digest(whole) != digest:
            raise RemoteError(_BAD, "the parts are not the whole")
        return whole


def read_upper(content: bytes, network: bytes, supply: int, rules: Rules) -> UpperGroup:
    """A group as it was told. Raises RemoteError where it is not what its header commits to."""
    sealed_content, table, shown = codec.fields(codec.decode(content), 3, _BAD)
    sealed = SealedPulse.decode(codec.octets_upto(sealed_content, SEALED_BYTES_MAX, _BAD))
    header = sealed.header
    if header.level < 2:
        raise RemoteError(_BAD, "not of a group above level 1")
    state = UpperState.decode(sealed.state)
    contents = {}
    for each in codec.items(shown, GROUP_MEMBERS_MAX + 1, _BAD):
        each = codec.octets_upto(each, WILLING_BYTES_MAX, _BAD)
        decode_willing(each)
        contents[willing_digest(each)] = each
    group = UpperGroup(
        network,
        supply,
        header.level,
        header.bits,
        header.prefix,
        sealed.roster,
        sealed,
        header,
        header_digest(sealed.header_bytes),
        state,
        max(header.term, state.appointed),
        decode_children(codec.octets_upto(table, PARTS_MAX * PART_BYTES, _BAD)),
        contents,
        rules,
    )
    page = floor_of_group(group)
    if header.network != network or page.node(page.tree().root()) != header.node or not is_whole(group):
        raise RemoteError(_BAD, "it is not what its header commits to")
    return group


def is_own_header(group: UpperGroup) -> bool:
    """True if the group's last header is its own: not that of the one it was split from."""
    header = group.header
    return (header.level, header.bits, header.prefix) == (group.level, group.bits, group.prefix)


def floor_of_group(group: UpperGroup) -> Floor:
    """Its page, as the header or the split says that it opens."""
    nodes = {place: child.node(group.level - 1) for place, child in group.children.items()}
    roster = group.sealed.roster if is_own_header(group) else group.roster
    state = state_digest(group.state.encode())
    place = (group.level, group.bits, group.prefix)
    return Floor(*place, group.header.pulse, roster, *group.counters, state, nodes)
