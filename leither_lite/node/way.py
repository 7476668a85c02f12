"""The way from this node's own group to the root header, as it is shown and proved by (docs/api.md; protocol.md, 2).

Decides which of the own group's headers can be shown to be under a root header, and what leads from that header to the
charter. In a network of one group its headers are the root's. Reads only, changes nothing; never decides which root
header is believed.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from leither_lite.errors import Halt, LocalError, RemoteError
from leither_lite.header import Header, Signatures, decode_roster, roster_digest, state_digest
from leither_lite.identity import account_id
from leither_lite.ledger import group as ledger
from leither_lite.ledger.branch import Branch, Floor
from leither_lite.ledger.enacted import checkpoint_before
from leither_lite.ledger.group import Group
from leither_lite.ledger.handovers import handovers
from leither_lite.node.turn import Node
from leither_lite.store import keys
from leither_lite.store.reader import Reader
from leither_lite.tree.node import EMPTY, meta, node_pulse
from leither_lite.tree.proof import GroupStep, SealedRoot, Step

_NONE_YET: Final = "no_branch_yet"


class Shown(NamedTuple):
    """The own group where a root header shows it, the steps from its inner node up to that header, and the header."""

    group: Group
    steps: tuple[Step, ...]
    root: SealedRoot


class Way:
    """Reads of one node, as of its last performed turn. Holds the group of one pulse at a time."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._loaded: Group | None = None

    @property
    def is_split(self) -> bool:
        """True in a network of several groups."""
        return not self._node.group.is_root

    @property
    def branch(self) -> Branch:
        """The pages above the own group. Raises LocalError("no_branch_yet")."""
        branch = self._node.between.trunk.branch
        if branch is None or not branch.floors:
            raise LocalError(_NONE_YET, "no root header has come yet with the pages down to this node's group")
        return branch

    @property
    def root_node(self) -> bytes | None:
        """The node of the newest root header that is believed here: 36 bytes; None before any has come."""
        node = self._node
        if not self.is_split:
            return node.books.header.node
        branch = node.between.trunk.branch
        return None if branch is None else branch.header.node

    def group(self, pulse: int | None) -> Group:
        """The group as of a pulse that is in the store, the newest by default: a commit may be under way behind it.

        Raises LocalError("unknown_pulse"), Halt("store_corrupt").
        """
        node = self._node
        newest = ledger.last_pulse(node.reader)
        pulse = newest if pulse is None else pulse
        if self._loaded is not None and self._loaded.header.pulse == pulse:
            return self._loaded
        oldest = ledger.first_pulse(node.reader)
        if not oldest <= pulse <= newest:
            raise LocalError("unknown_pulse", f"pulses {oldest} to {newest} can be proved here")
        self._loaded = None
        self._loaded = ledger.load(node.reader, node.network, node.group.supply, pulse)
        return self._loaded

    def shown(self, pulse: int | None) -> Shown:
        """The own group as of a pulse of its own that a root header shows, the newest by default.

        In a network of one group that is any retained pulse, in one of several the newest that is under the root.
        Raises LocalError: unknown_pulse; no_branch_yet; Halt("store_corrupt").
        """
        if self.is_split:
            return self._shown_above(pulse)
        group = self.group(pulse)
        sealed, header = group.sealed, group.header
        step = GroupStep(header.level, header.bits, header.prefix, header.pulse, sealed.meta)
        return Shown(group, (step,), sealed_root(self._node.reader, sealed.header_bytes, sealed.signatures))

    def _shown_above(self, pulse: int | None) -> Shown:
        own, branch = self._node.group, self.branch
        seen = branch.floors[-1].nodes.get((own.prefix, own.bits), EMPTY)
        found = node_pulse(seen)
        if pulse is not None and pulse != found:
            raise LocalError("unknown_pulse", f"pulse {found} of this group is under the root, and can be proved here")
        group = None
        if seen != EMPTY and self._is_here(found):
            group = self._at_tip() if self._node.reader.get(keys.TIP) is not None else self.group(found)
            step = _group_step(group, found)
            if group.node_of(found, group.tree.root(), step.meta) != seen:
                group = None
        if group is None:
            code = _NONE_YET if pulse is None else "unknown_pulse"
            raise LocalError(code, f"the root shows pulse {found} of this group, which is not here")
        seal = branch.seal
        root = sealed_root(self._node.reader, seal.header, seal.signatures)
        if not self._leads_from_charter(root):
            raise LocalError(_NONE_YET, "what leads to the newest root header is not on the disk yet")
        return Shown(group, (step, *branch.above(own.prefix)), root)

    def _is_here(self, pulse: int) -> bool:
        reader = self._node.reader
        if reader.get(keys.TIP) is not None:
            return True  # where the chain goes on from is here, and may be what the root shows
        return ledger.first_pulse(reader) <= pulse <= ledger.last_pulse(reader)

    def _at_tip(self) -> Group:
        """The group as it was made by a split: it has sealed nothing of its own yet."""
        node, loaded = self._node, self._loaded
        if loaded is None or (loaded.prefix, loaded.bits) != (node.group.prefix, node.group.bits):
            self._loaded = loaded = None
            self._loaded = loaded = ledger.load(node.reader, node.network, node.group.supply)
        return loaded

    def _leads_from_charter(self, root: SealedRoot) -> bool:
        """True if the handovers on the disk lead to the roster that this header is believed by."""
        if root.checkpoint is not None and not root.signatures:
            return True
        roster = self._node.charter.charter.roster
        if root.handovers:
            roster = decode_roster(root.handovers[-1].roster)
        elif root.checkpoint is not None:
            roster = decode_roster(root.checkpoint.roster)
        return roster == self._node.books.roots.roster_of(Header.decode(root.header).pulse)

    # -- shown to people -------------------------------------------------------------------------------------------

    def is_under_root(self) -> bool:
        """True if the newest header of the own group that is on the disk is what the newest root header shows."""
        own, branch = self._node.group, self._node.between.trunk.branch
        if not self.is_split:
            return True
        if branch is None or not branch.floors:
            return False
        seen = branch.floors[-1].nodes.get((own.prefix, own.bits), EMPTY)
        return seen != EMPTY and node_pulse(seen) == self._node.books.header.pulse

    def own_place(self) -> dict[str, Any]:
        """Level, prefix and members of the own group."""
        group = self._node.group
        return {"level": group.level, "prefix": bits_text(group.bits, group.prefix), "members": len(group.entries)}

    def to_json(self) -> dict[str, Any]:
        """What `GET /v1/branch` shows. Raises LocalError("no_branch_yet")."""
        if self.is_split:
            branch = self.branch
            seal, floors = (branch.seal.header, branch.seal.signatures), [_floor_json(each) for each in branch.floors]
        else:
            sealed = self.group(None).sealed
            seal, floors = (sealed.header_bytes, sealed.signatures), []
        header = Header.decode(seal[0])
        return {
            "root": {
                "pulse": header.pulse,
                "tick": header.tick,
                "levels": header.level,
                "header": seal[0].hex(),
                "signatures": [{"key": key.hex(), "signature": signature.hex()} for key, signature in seal[1]],
            },
            "floors": floors,
            "group": {
                **self.own_place(),
                "pulse": self._node.books.header.pulse,
                "under_root": self.is_under_root(),
            },
        }


def sealed_root(reader: Reader, header_bytes: bytes, signatures: Signatures) -> SealedRoot:
    """A root header with its seal, from the newest checkpoint that is not younger, if there is one.

    Raises Halt("store_corrupt").
    """
    pulse = Header.decode(header_bytes).pulse
    try:
        checkpoint = checkpoint_before(reader, pulse)
    except RemoteError as error:
        raise Halt("store_corrupt", f"a checkpoint in the store cannot be read: {error}") from error
    if checkpoint is None:
        return SealedRoot(header_bytes, signatures, handovers(reader, 0, pulse))
    if checkpoint.pulse == pulse:
        return SealedRoot(header_bytes, (), (), checkpoint)
    return SealedRoot(header_bytes, signatures, handovers(reader, checkpoint.pulse + 1, pulse), checkpoint)


def bits_text(bits: int, prefix: bytes) -> str:
    """A prefix in binary digits."""
    return f"{int.from_bytes(prefix, 'big'):0160b}"[:bits]


def _group_step(group: Group, pulse: int) -> GroupStep:
    """The step out of a group of several: by its last header, or, where it has sealed nothing of its own, by what it
    starts from. `pulse`: what the page above shows: of two that were merged, the later."""
    header, sealed = group.header, group.sealed
    if (header.bits, header.prefix) == (group.bits, group.prefix):
        return GroupStep(group.level, group.bits, group.prefix, header.pulse, sealed.meta)
    state = group.opened or state_digest(group.state.encode())
    opened = meta(roster_digest(group.roster), EMPTY, group.sent_out, group.settled_in, state)
    return GroupStep(group.level, group.bits, group.prefix, pulse if group.opened else header.pulse, opened)


def _floor_json(floor: Floor) -> dict[str, Any]:
    roster = decode_roster(floor.roster, empty_allowed=True)
    return {
        "level": floor.level,
        "prefix": bits_text(floor.bits, floor.prefix),
        "pulse": floor.pulse,
        "children": len(floor.nodes),
        "roster": [{"key": key.hex(), "account": account_id(key).hex()} for key in roster],
        "sent_out": floor.sent_out,
        "settled_in": floor.settled_in,
        "page_bytes": len(floor.page()),
    }
