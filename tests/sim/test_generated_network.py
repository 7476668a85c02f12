"""The generated network: real nodes take its way to the root, go on in it, and keep no more of it than is bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import prod
from random import Random

import pytest

from leither_lite.board import Board
from leither_lite.codec import Value, encode
from leither_lite.effects import Write
from leither_lite.header import HEADER_BYTES_MAX, signatures_value
from leither_lite.ledger.branch import difference
from leither_lite.limits import GROUP_MEMBERS_MAX, PAGE_BYTES_MAX
from leither_lite.node import events as ev, frames
from leither_lite.node.turn import Node
from leither_lite.node.view import View
from leither_lite.node.wallet import Keyring
from leither_lite.sim.disk import Disk
from leither_lite.sim.generated_group import BALANCE, KEYS, Past
from leither_lite.sim.generated_network import MEMBER, GeneratedNetwork, Plan, partition
from leither_lite.sim.generated_rest import Rest
from leither_lite.sim.paper_generated import START
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys
from leither_lite.tree.proof import Trust, verify

FULL = (GROUP_MEMBERS_MAX,) * 4
NARROW = (64,) * 4
SHORT = Past(pulses=3, payments=2)
SENT = 1_000
"""What the member has sent: in the short past others pay."""
STEP_MS = 10
SIGNED_BYTES = 7 * (32 + 64 + 5)
"""A seal's signatures, at most."""
ROOT_BYTES = len(keys.ROOT) + HEADER_BYTES_MAX + SIGNED_BYTES + 8
"""The row of the newest root header, at most."""
ROOT_ROW_BYTES = 9 + 32 + 8


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Each signature is checked once."""
    with checked_once():
        yield


def node_of(network: GeneratedNetwork, index: int, disk: Disk) -> Node:
    """One of the six nodes."""
    random = Random(index).randbytes
    return Node(disk, Keyring(KEYS[index]), Board(), random, 0, place=b"here", address=f"127.0.0.1:{7001 + index}")


def disk_of(network: GeneratedNetwork, index: int) -> Disk:
    """What its store begins with."""
    return Disk([*network.writes(index), (keys.PLACE, b"\0here")])


class Six:
    """The six nodes, linked with each other and with the rest, without delay; `writes[i]` is all that node i wrote."""

    def __init__(self, plan: Plan) -> None:
        self.network = GeneratedNetwork(plan, [f"127.0.0.1:{7001 + index}" for index in range(len(KEYS))])
        self.rest = Rest(self.network, 2, 1, 1_000)
        self.now_ms = 0
        self.disks = [disk_of(self.network, index) for index in range(len(KEYS))]
        self.nodes = [node_of(self.network, index, disk) for index, disk in enumerate(self.disks)]
        self.writes: list[list[Write]] = [[] for _ in KEYS]
        self._index = {key.public: index for index, key in enumerate(KEYS)}
        self._frames: deque[tuple[int, bytes, bytes]] = deque()
        for index in range(len(KEYS)):
            for peer in (*self._index, self.network.rest_key.public):
                if peer != KEYS[index].public:
                    self.do(index, ev.PeerJoined(peer, self._index.get(peer, -1) < index))

    def do(self, index: int, *events: ev.Event) -> list[object]:
        """A turn of a node, performed; its answers."""
        effects = self.nodes[index].turn(events, self.now_ms)
        self.disks[index].write(effects.writes)
        self.nodes[index].performed()
        self.writes[index] += effects.writes
        for peer, content in effects.sends:
            if peer in self._index:
                self._frames.append((self._index[peer], KEYS[index].public, content))
            elif self.rest.take(content):
                for whom, frame in self.rest.answers():
                    told = [(self._index[key], peer, frame) for key in whom]
                    self._frames.extend(told)
        return [reply.value for reply in effects.replies]

    def run(self, ms: int) -> None:
        """Let time pass."""
        for _ in range(ms // STEP_MS):
            while self._frames:
                index, source, content = self._frames.popleft()
                self.do(index, ev.FrameReceived(source, content))
            self.now_ms += STEP_MS
            for index, node in enumerate(self.nodes):
                if node.deadline_ms() <= self.now_ms:
                    self.do(index)

    @property
    def pulse(self) -> int:
        """The member's newest root pulse."""
        return self.nodes[MEMBER].between.trunk.pulse


@pytest.mark.parametrize("count", [64, 65, 100, 191, 256])
def test_places_make_up_a_prefix(count: int) -> None:
    """So many, the own one among them, as even as may be."""
    own = bytes([0b10101000, *bytes(19)]), 6
    places = partition(0, bytes(20), own, count)
    assert len(places) == count
    assert own in places
    assert sum(1 << (160 - bits) for _, bits in places) == 1 << 160
    assert [int.from_bytes(prefix, "big") for prefix, _ in places] == sorted(
        int.from_bytes(prefix, "big") for prefix, _ in places
    )
    depths = [bits for prefix, bits in places if prefix != own[0]]
    assert max(depths) - min(depths) <= 1


@pytest.mark.parametrize("widths", [(), (100,), FULL])
def test_a_member_believes_the_way_and_proves_by_it(widths: tuple[int, ...]) -> None:
    """A node's core takes the branch from a peer with all its checks, and a proof through it holds by the charter."""
    network = GeneratedNetwork(Plan(widths, past=SHORT))
    node = node_of(network, MEMBER, disk_of(network, MEMBER))
    peer = KEYS[0].public
    node.turn([ev.PeerJoined(peer, True)], 1)
    if widths:
        seal = network.branch.seal
        signatures, floors = signatures_value(seal.signatures), difference(None, network.branch)
        told: Value = [frames.BRANCH, seal.header, signatures, [], floors, [], []]
        node.turn([ev.FrameReceived(peer, encode(told))], 2)
    assert node.hall.refused == {}
    view = View(node)
    trust = Trust(network.organization.public, network.charter.charter.roster)
    verified = verify(view.proof(KEYS[MEMBER].account, None), trust)
    assert (verified.kind, verified.pulse, verified.record) == ("present", START, (BALANCE, 0, SENT, 1, 0))
    shown = view.way.to_json()
    assert shown["group"]["members"] == SHORT.accounts
    assert [each["children"] for each in shown["floors"]] == list(reversed(widths))
    assert all(each["page_bytes"] <= PAGE_BYTES_MAX for each in shown["floors"])
    assert network.supply == BALANCE * SHORT.accounts * prod(widths)


@pytest.mark.parametrize("seats", [1, 5])
def test_what_is_kept_of_the_way_is_bounded(seats: int) -> None:
    """Six nodes go on at five levels. Of the groups above a member keeps its newest root header and a row a pulse,
    whatever their pages hold; who has a seat there keeps it apart."""
    six = Six(Plan(NARROW, seats, SHORT))
    text = six.network.own.invoice(KEYS[0], 7).encode()
    six.do(MEMBER, ev.PayInvoice(1, None, text, None, None))
    begun = six.pulse
    six.run(3_000)
    assert six.pulse >= begun + 2
    assert all(not node.hall.refused for node in six.nodes)
    assert six.rest.sent > 0
    assert six.nodes[MEMBER].group.entries[KEYS[MEMBER].account].record.sent == SENT + 1
    written = [(key, value) for key, value in six.writes[MEMBER] if value is not None]
    seals = sum(key[:1] == keys.PULSES[0] and key.endswith(b"\0") for key, _ in written)
    rows = [len(key) + len(value) for key, value in written if key[:1] == keys.ROOTS[0]]
    newest = [len(key) + len(value) for key, value in written if key == keys.ROOT]
    assert 0 < len(rows) <= six.pulse - begun
    assert set(rows) == {ROOT_ROW_BYTES}
    assert len(newest) <= 2 * seals  # with its own group's seal, and when that is under the root
    assert max(newest) <= ROOT_BYTES
    assert not any(key[:1] == keys.GROUPS[0] for key, _ in written)
    assert [len(node.between.seats) for node in six.nodes] == ([4, 4, 4, 4, 0, 0] if seats > 1 else [0, 0, 0, 0, 0, 4])
