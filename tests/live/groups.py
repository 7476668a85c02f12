"""A network that grows by node groups: nodes whose keys are drawn for the place of their accounts in the tree.

`PLACES` says in which order accounts come, so that with a group max of 8 every split leaves nodes in each half, and 24
nodes end in seven groups under two under a root.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from leither_lite.edge import keyfile
from leither_lite.identity import Key
from tests.live.harness import NodeProcess
from tests.live.network import Network

SETTINGS: Final = "peers_per_host_max = 64\n"
"""All are on one machine."""
GROUP_MAX: Final = 8
TERM_TICKS: Final = 10
# The first bits of each account's id: the organization's, the founder's, those of the first group, then some at a time.
ORGANIZATION: Final = "000"
FIRST: Final = ("000", "100", "010", "110", "001")
LATER: Final = (
    ("101",),
    ("011", "100", "111"),
    ("001", "101", "011"),
    ("101", "110", "000"),
    ("000", "001", "011"),
    ("100", "101", "010"),
    ("010", "011", "111"),
)
SHORT: Final = (("101",), ("011", "100"))
ENDS: Final = ("000", "001", "010", "011", "100", "101", "11")
"""The prefixes of the seven groups that FIRST and LATER make; FIRST and SHORT make two."""
# What may be told while a group is split, or a node begins anew in its part: asked again later.
BUSY: Final = frozenset({"busy", "stopping", "body_full", "pending_full", "no_branch_yet"})


REST_POLLS: Final = 12


class Place(NamedTuple):
    """Where a node stands: its group, whether its last header is under the root, the root's pulse and levels."""

    prefix: str
    under_root: bool
    pulse: int
    levels: int


def key_at(draw: random.Random, prefix: str) -> Key:
    """A key whose account's id begins with these bits."""
    while True:
        key = Key.from_seed(draw.randbytes(32))
        if f"{int.from_bytes(key.account, 'big'):0160b}".startswith(prefix):
            return key


class Grove(Network):
    """The nodes of a network of groups, which come with keys of their own."""

    def __init__(self, top: Path, pulse_ms: int, draw: random.Random) -> None:
        self._draw = draw
        self.again = 0
        """How many admissions were asked for again."""
        self._approved: set[str] = set()
        first = top / "node0"
        first.mkdir(mode=0o700)
        keyfile.store(first / keyfile.ORGANIZATION_KEY, key_at(draw, ORGANIZATION))
        keyfile.store(first / keyfile.NODE_KEY, key_at(draw, FIRST[0]))
        parameters = ("--group-max", str(GROUP_MAX), "--term-ticks", str(TERM_TICKS))
        super().__init__(top, pulse_ms, SETTINGS, parameters)

    def grow(self, places: Sequence[str]) -> list[int]:
        """Further nodes, which have applied and run; their numbers."""
        joined = []
        for place in places:
            folder = self._top / f"node{len(self.folders)}"
            folder.mkdir(mode=0o700)
            keyfile.store(folder / keyfile.NODE_KEY, key_at(self._draw, place))
            joined.append(self.join(memo=f"at {place}"))
        for number in joined:
            self.start(number)
        for number in joined:
            self.nodes[number].await_address()
        return joined

    def admit(self, *numbers: int) -> None:
        """Have the founder's node approve them until their nodes know themselves to be members."""
        founder = self.nodes[0]

        def seen() -> bool:
            for waiting in founder.client.get("/v1/applications")["applications"]:
                answer = founder.client.ask("POST", f"/v1/applications/{waiting['id']}/approve", {})
                refused = {*BUSY, "account_exists", "group_full", "unknown_application"}  # it was admitted just now
                assert answer.status == 200 or answer.code in refused, answer
                if answer.status == 200:
                    self.again += waiting["id"] in self._approved
                    self._approved.add(waiting["id"])
            return all(self._is_member(self.nodes[number]) for number in numbers)

        self.wait(seen, f"{numbers} members")

    def give(self, amount: int, *numbers: int) -> None:
        """From the organization's account, until all of them have it."""
        founder = self.nodes[0]
        for number in numbers:
            body = {"account": self.accounts[number], "amount": amount, "reason": "for the test"}
            self.wait(partial(self._distributed, founder, body), f"a distribution to {number}")
        self.wait(lambda: all(self.balance(number) >= amount for number in numbers), f"{amount} at {numbers}")

    @staticmethod
    def _distributed(founder: NodeProcess, body: dict[str, Any]) -> bool:
        key = {"Idempotency-Key": f"to {body['account']}"}
        answer = founder.client.ask("POST", "/v1/distributions", body, key)
        assert answer.status in (200, 202) or answer.code in BUSY, answer
        return answer.status in (200, 202)

    def balance(self, number: int) -> int:
        """What a node's account holds, as the node knows it."""
        answer = self.nodes[number].client.look("/v1/account")
        return int(answer.value["balance"]) if answer.status == 200 else 0

    def place(self, number: int) -> Place | None:
        """Where a node stands; None while it does not know."""
        answer = self.nodes[number].client.look("/v1/branch")
        if answer.status != 200:
            return None
        group, root = answer.value["group"], answer.value["root"]
        return Place(group["prefix"], group["under_root"], root["pulse"], root["levels"])

    def places(self) -> list[Place | None]:
        """Where all nodes stand."""
        return [self.place(number) for number in range(len(self.nodes))]

    def await_groups(self, prefixes: Sequence[str], levels: int) -> None:
        """Wait until the nodes are in groups with these prefixes, under a root at that level."""

        def seen() -> bool:
            places = self.places()
            found = {place.prefix for place in places if place is not None}
            return None not in places and found == set(prefixes) and {one.levels for one in places if one} == {levels}

        self.wait(seen, f"groups {prefixes} and {levels} levels")

    def await_rest(self) -> list[Place]:
        """Wait until nothing is sealed any more: every node is under one and the same root header, twice in a row."""
        seen: list[list[Place | None]] = []

        def same() -> bool:
            seen.append(self.places())
            if len(seen) < REST_POLLS:
                return False
            last = seen[-REST_POLLS:]
            pulses = {None if place is None else place.pulse for places in last for place in places}
            return len(pulses) == 1 and all(place is not None and place.under_root for place in seen[-1])

        self.wait(same, "rest")
        return [place for place in seen[-1] if place is not None]

    def told(self) -> list[Any]:
        """What all nodes say of themselves, for a message."""
        return [*super().told(), *self.places()]


@contextmanager
def grove(top: Path, pulse_ms: int, draw: random.Random) -> Iterator[Grove]:
    """A founder's node, and what grows around it, for the time of a block."""
    network = Grove(top, pulse_ms, draw)
    try:
        yield network
    finally:
        network.close()
