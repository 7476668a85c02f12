"""What must hold in every world, looked at after each turn that any machine has performed.

Conservation; one seal for each predecessor; equal states at equal headers; no acknowledged payment lost, none made
twice; no sent signature forgotten. Decides what is a violation. Never tells a machine anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from leither_lite.effects import Effects, Write
from leither_lite.errors import Halt, RemoteError
from leither_lite.header import check_seal, decode_roster, header_digest
from leither_lite.ledger import group as ledger
from leither_lite.ledger.records import encode_page
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.node.transfers import CREDITED
from leither_lite.sim.founding import SUPPLY, Founded
from leither_lite.sim.machine import Machine
from leither_lite.sim.replica import Replica
from leither_lite.sim.spoken import Spoken
from leither_lite.store import keys
from leither_lite.tree.node import node_sum

VIOLATIONS_MAX: Final = 30
OF_A_KIND_MAX: Final = 3
_SEALED_KEY_BYTES: Final = len(keys.sealed(0))


class Checkers:
    """All that is known of a world from outside. `violations`: what must not be."""

    def __init__(self, founded: Founded, liars: Sequence[bytes]) -> None:
        """`liars`: keys of machines that lie on purpose."""
        self.violations: list[str] = []
        self.jumps = 0
        self._counts: dict[str, int] = {}
        self.acknowledged: dict[str, tuple[str, int]] = {}
        self.replica = Replica(founded.network, founded.nodes[0].account, SUPPLY)
        self.digests: list[bytes] = []
        """The chain: the digest of each pulse's header."""
        self._network = founded.network
        self._sealed: list[SealedPulse] = []
        self._pages: list[bytes] = []
        self._changes: list[bytes] = []
        self._rosters: dict[bytes, tuple[bytes, ...]] = {}
        self._spoken = Spoken(founded.network, liars, self._roster_after, self.violate)
        self._take(founded.writes, "the founding")

    def violate(self, kind: str, text: str) -> None:
        """Note a violation."""
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count <= OF_A_KIND_MAX:
            self.violations.append(f"{kind}: {text}")

    @property
    def is_enough(self) -> bool:
        """True if there is nothing to be learned from going on."""
        return sum(self._counts.values()) >= VIOLATIONS_MAX

    # -- seals and states ------------------------------------------------------------------------------------------

    def performed(self, machine: Machine, effects: Effects) -> None:
        """A turn's writes are on a machine's disk."""
        name = f"machine {machine.index}"
        self._take(effects.writes, name)
        node = machine.node
        if node is not None and effects.writes:
            held = sum(entry.record.balance + entry.record.frozen for entry in node.group.entries.values())
            if held != SUPPLY:
                self.violate("conservation", f"{name} counts {held} of {SUPPLY} after pulse {node.group.header.pulse}")
        self.jumps += sum(note.kind == "caught_up" for note in effects.notes)
        for note in effects.notes:
            if note.kind == "transfer" and note.value["state"] == CREDITED:
                digest, pulse = str(note.value["digest"]), int(note.value["pulse"])
                self.acknowledged[digest] = (str(note.value["payer"]), int(note.value["sent"]))
                if self.replica.transfers.get(bytes.fromhex(digest)) != pulse:
                    self.violate("acknowledged_unsealed", f"{name} acknowledges what pulse {pulse} does not have")

    def _take(self, writes: Sequence[Write], name: str) -> None:
        """The seals among writes, each with the rows beside it."""
        if not any(len(key) == _SEALED_KEY_BYTES and key[:1] == b"p" for key, _ in writes):
            return
        rows = {key: value for key, value in writes if value is not None}
        for key in sorted(rows):
            if len(key) == _SEALED_KEY_BYTES and key == keys.sealed(keys.sequence_of(key)):
                self._take_sealed(SealedPulse.decode(rows[key]), rows, name)

    def _take_sealed(self, sealed: SealedPulse, rows: dict[bytes, bytes], name: str) -> None:
        pulse, digest = sealed.header.pulse, header_digest(sealed.header_bytes)
        if pulse > len(self.digests):
            self.violate("seal_skipped", f"{name} has pulse {pulse} where {len(self.digests)} is due")
            return
        if pulse == len(self.digests):
            self._extend(sealed, digest, rows, name)
        if self.digests[pulse] != digest:
            self.violate("two_seals", f"{name} has another header of pulse {pulse} than others")
            return
        first = self._sealed[pulse]
        if _parts(sealed) != _parts(first):
            self.violate("states_differ", f"{name} has another state at pulse {pulse} than others")
        page, changes = rows.get(keys.snapshot(pulse)), rows.get(keys.changes(pulse))
        if page is not None and page != self._pages[pulse]:
            self.violate("page_differs", f"{name} has another page at pulse {pulse} than its bodies lead to")
        if changes is not None and changes != self._changes[pulse]:
            self.violate("page_differs", f"{name} has other changes at pulse {pulse} than its body makes")

    def _extend(self, sealed: SealedPulse, digest: bytes, rows: dict[bytes, bytes], name: str) -> None:
        """The first sight of a pulse: it must follow from the last, be sealed by a quorum, and its body must hold."""
        header, pulse = sealed.header, sealed.header.pulse
        if pulse:
            before = self._sealed[-1]
            if header.previous != self.digests[-1]:
                self.violate("chain", f"pulse {pulse} of {name} does not follow the last")
            try:
                check_seal(sealed.header_bytes, sealed.signatures, decode_roster(before.roster))
            except RemoteError as error:
                self.violate("seal", f"pulse {pulse} of {name} is not sealed: {error}")
            segments = [rows[key] for key in sorted(rows) if keys.segments(pulse)[0] <= key < keys.segments(pulse)[1]]
            for wrong in self.replica.execute(pulse, segments):
                self.violate("body", f"pulse {pulse} of {name}: {wrong}")
            for count in self.replica.invoices.values():
                if count > 1:
                    self.violate("paid_twice", f"pulse {pulse} of {name} pays a fixed invoice once more")
        if self.replica.total != SUPPLY or node_sum(sealed.inner) != SUPPLY:
            self.violate("conservation", f"pulse {pulse} of {name}: {node_sum(sealed.inner)} of {SUPPLY}")
        self.digests.append(digest)
        self._rosters[digest] = decode_roster(sealed.roster)
        self._sealed.append(sealed)
        self._pages.append(self.replica.page())
        self._changes.append(self.replica.changes())

    # -- signatures ------------------------------------------------------------------------------------------------

    def sent(self, content: bytes) -> None:
        """A frame has left a machine."""
        self._spoken.hear(content)

    def _roster_after(self, digest: bytes) -> tuple[bytes, ...]:
        return self._rosters.get(digest, ())

    # -- the end ---------------------------------------------------------------------------------------------------

    def finish(self, machines: Sequence[Machine]) -> None:
        """All is healed and at rest: every machine's disk has the same, and nothing acknowledged is missing."""
        for machine in machines:
            name = f"machine {machine.index}"
            try:
                group = ledger.load(machine.disk, self._network, SUPPLY)
            except Halt as halt:
                self.violate("store", f"{name}: {halt}")
                continue
            pulse = group.header.pulse
            page = encode_page(
                (account, entry.pulse, entry.record.encode()) for account, entry in group.entries.items()
            )
            if pulse >= len(self._pages) or page != self._pages[pulse]:
                self.violate("states_differ", f"{name} ends with another page than the bodies lead to")
            for payer, sent in self.acknowledged.values():
                entry = group.entries.get(bytes.fromhex(payer))
                if pulse == len(self._pages) - 1 and (entry is None or entry.record.sent <= sent):
                    self.violate("acknowledged_lost", f"{name} has lost an acknowledged payment of {payer[:8]}")
        for digest in self.acknowledged:
            if bytes.fromhex(digest) not in self.replica.transfers:
                self.violate("acknowledged_lost", f"no body has the acknowledged payment {digest[:16]}")


def _parts(sealed: SealedPulse) -> tuple[object, ...]:
    """What all who have a header must have beside it; signatures may be of another quorum."""
    return (sealed.roster, sealed.inner, sealed.sent_out, sealed.settled_in, sealed.state, sealed.entries)
