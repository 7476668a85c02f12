"""Those who are outside a group, and what its nodes tell them: a network of several levels, grown, and six askers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import Final

from leither_lite.identity import Key
from leither_lite.node import frames
from leither_lite.node.events import FrameReceived, PeerJoined
from leither_lite.node.tenure import may_be_merged
from leither_lite.node.turn import Node
from leither_lite.sim.signatures import checked_once
from leither_lite.tree.node import is_prefix
from tests.node.asking import Known
from tests.node.groups import Groups, grown

DEEP: Final = 4
SEEDS: Final = range(7, 20)
STRANGERS: Final = ("stranger", "stranger under the prefix")
BESIDE: Final = ("of a sibling", "from afar")
ABOVE: Final = ("on the roster above", "of the root")
ASKERS: Final = (*STRANGERS, *BESIDE, *ABOVE)


class Outside:
    """A network of three levels in which much has happened, and a payment is under way. `members` are the two nodes
    of one group that are asked: the first has no seat above, the second has one. `askers` are all outside it."""

    def __init__(self, seed: int) -> None:
        """Raises AssertionError where it does not come to rest, StopIteration where no group has two such nodes."""
        self.overheard: dict[bytes, None] = {}
        self.unasked: list[bytes] = []
        self.outside: frozenset[bytes] = frozenset()
        self.groups: Groups = grown(seed, group_max=DEEP)
        groups = self.groups
        groups.passes = self._passes
        size = len(groups.nodes)
        for turn in range(size):
            groups.pay(turn, (turn * 5 + 3) % size, 1)
            groups.run(2_000)
        groups.until(groups.is_at_rest)
        self.members = next(pair for pair in self._pairs() if self._is_busy(self.node(pair[0])))
        self.known = Known.of(self.node(self.members[0]), self._places(), self.overheard)
        self.askers = dict(zip(ASKERS, self._askers(), strict=True))
        asked = self.node(self.members[0]).between
        assert all(asked.may_want(frames.WANT_PULSE, self.askers[name].public) for name in BESIDE), (
            "they were in it once"
        )
        beside = self.askers[BESIDE[0]].public
        for seat in self.node(self.members[1]).between.seats:
            assert not may_be_merged(seat.books.group, beside), "then it is given the state of the group above"
        self.outside = frozenset(self.askers[name].public for name in STRANGERS)
        for key in self.outside:
            for index in self.members:
                groups.machines[index].put(PeerJoined(key, False))
        groups.run(100)

    def _passes(self, source: int, peer: bytes, content: bytes) -> bool:
        """Everything is overheard; what goes to strangers is for nobody else."""
        if peer in self.outside:
            self.unasked.append(content)
            return False
        self.overheard[content] = None
        return True

    def node(self, index: int) -> Node:
        """A node, as it is now."""
        node = self.groups.machines[index].node
        assert node is not None
        return node

    def _pairs(self) -> Iterator[tuple[int, int]]:
        nodes = self.groups.nodes
        for first, one in enumerate(nodes):
            for second, other in enumerate(nodes):
                if one.group.prefix == other.group.prefix and not self._has_seat(first) and len(other.between.seats):
                    yield first, second

    @staticmethod
    def _is_busy(node: Node) -> bool:
        """True for one that agrees with others on what its group seals, which has settled something."""
        is_sealing = node.books.is_on_roster and len(node.books.sealers) > 1
        return is_sealing and len(list(node.group.settled.tree.leaves())) > 0

    def _has_seat(self, index: int) -> bool:
        """True for who has one, or is about to be given one."""
        node, own = self.node(index), self.groups.keys[index].public
        branch = node.between.trunk.branch
        assert branch is not None
        return len(node.between.seats) > 0 or any(own in floor.roster for floor in branch.floors)

    def _places(self) -> dict[tuple[int, int, bytes], None]:
        """Every group that there is, or was, at any level."""
        places = dict.fromkeys((node.group.level, node.group.bits, node.group.prefix) for node in self.groups.nodes)
        for node in self.groups.nodes:
            branch = node.between.trunk.branch
            assert branch is not None
            places |= dict.fromkeys((each.level, each.bits, each.prefix) for each in branch.floors)
        return places | {(1, 0, bytes(20)): None}

    def _askers(self) -> list[Key]:
        own = self.node(self.members[0])
        branch = own.between.trunk.branch
        assert branch is not None
        root, lowest = branch.floors[0], branch.floors[-1]
        strangers = (Key.from_seed(number.to_bytes(32, "big")) for number in count(1))
        others = [key for key in self.groups.keys if not own.group.holds(key.account)]
        near = [key for key in others if is_prefix(key.account, lowest.prefix, lowest.bits)]
        far = [key for key in others if key not in near]
        return [
            next(key for key in strangers if not is_prefix(key.account, lowest.prefix, lowest.bits)),
            next(key for key in strangers if own.group.holds(key.account)),
            next(key for key in near if key.public not in lowest.roster + root.roster),
            next(key for key in far if key.public not in root.roster),
            next(key for key in near if key.public in lowest.roster),
            next(key for key in far if key.public in root.roster),
        ]

    def ask(self, index: int, key: Key, question: bytes) -> list[bytes]:
        """What a node sends to a peer in the turn in which it hears a frame of its."""
        machine = self.groups.machines[index]
        self.groups.until(lambda: not machine.disk.is_writing)
        node = self.node(index)
        assert key.public in node.peers.connected
        node.peers._heard, node.peers._heard_before = {}, {}  # as if it were heard for the first time in a while
        effects = node.turn([FrameReceived(key.public, question)], machine.now_ms)
        assert not effects.renew
        machine.disk.write(effects.writes)
        node.performed()
        return [content for peer, content in effects.sends if peer == key.public]


def outside() -> Outside:
    """A network with those who are outside one of its groups: of the first seed that makes one which suits."""
    with checked_once():
        for seed in SEEDS:
            with suppress(AssertionError, StopIteration):
                made = Outside(seed)
                print(f"seed {seed}")
                return made
    raise AssertionError("no seed makes a network that suits")
