"""A network that stands as if it had been there for long: stores as the simulator makes them, then real processes.

No operation makes a group smaller yet, so that groups small enough to be merged come about in no other way. Some stand
here beside one that is large enough to be split, with others that stay as they are.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from leither_lite.edge import keyfile
from leither_lite.edge.founding import token_of
from leither_lite.edge.lmdb import FILE, Store, schema_write
from leither_lite.edge.machine import place
from leither_lite.edge.verifying import CHARTER_JSON
from leither_lite.identity import Key
from leither_lite.ledger.group import Rules
from leither_lite.limits import ID_BYTES
from leither_lite.organization import SignedCharter
from leither_lite.sim.standing import Ground, stand_on
from leither_lite.store import keys
from tests.live.groups import GROUP_MAX, SETTINGS, TERM_TICKS, Grove, key_at
from tests.live.harness import SUPPLY
from tests.live.network import HOST, free_port

MAP_BYTES: Final = 2**26
ROSTER_MAX: Final = 4
BEFORE: Final = {
    "0000": ("0000",),
    "0001": ("0001",),
    "001": ("0010", "0011", "0010"),
    "010": ("0100", "0101", "0100"),
    "011": ("0110", "0111", "0110", "0111", "0110", "0111", "0110"),
    "100": ("1000", "1001"),
    "101": ("1010", "1011"),
    "110": ("1100", "1101"),
    "111": ("1110", "1111", "1110"),
}
"""The groups as they stand, with the first bits of their members' ids."""
AFTER: Final = ("000", "001", "010", "0110", "0111", "10", "110", "111")
"""011 is split; 0000 and 0001 are merged, and 100 and 101."""
ORGANIZATION: Final = "0000"


class Standing(Grove):
    """24 nodes in nine groups under two under a root, which have never run."""

    def __init__(self, top: Path, pulse_ms: int, draw: random.Random) -> None:
        self._top = top
        self._settings = SETTINGS
        self.again = 0
        self.nodes = []
        firsts = [first for group in BEFORE.values() for first in group]
        node_keys = tuple(key_at(draw, first) for first in firsts)
        organization = key_at(draw, ORGANIZATION)
        self.ports = [free_port() for _ in firsts]
        addresses = tuple(f"{HOST}:{port}" for port in self.ports)
        ground = Ground(organization, node_keys, addresses, SUPPLY, pulse_ms)
        places = [(len(bits), _prefix(bits)) for bits in BEFORE]
        founded = stand_on(ground, Rules(ROSTER_MAX, GROUP_MAX, TERM_TICKS), places)
        charter = next(value for key, value in founded.writes if key == keys.CHARTER) or b""
        self.folders = [top / f"node{number}" for number in range(len(firsts))]
        self.accounts = [key.account.hex() for key in node_keys]
        self.organization = organization.account.hex()
        for number, folder in enumerate(self.folders):
            _fill(folder, node_keys[number], None if number else organization, charter)
            writes = [each for each in founded.store(number) if each[0] != keys.PLACE]
            store = Store(folder / FILE, MAP_BYTES, create=True)
            store.write([schema_write(), *writes, (keys.PLACE, b"\0" + place(folder / FILE))])
            store.close()

    def run(self) -> None:
        """Start all."""
        for number in range(len(self.folders)):
            self.start(number)
        for node in self.nodes:
            node.await_address()
        for number in range(len(self.nodes)):
            self.wait(partial(self._stands, number), f"node {number} under the root")

    def _stands(self, number: int) -> bool:
        return self.place(number) is not None


def _prefix(bits: str) -> bytes:
    return int(bits.ljust(8 * ID_BYTES, "0"), 2).to_bytes(ID_BYTES, "big")


def _fill(folder: Path, key: Key, organization: Key | None, charter: bytes) -> None:
    folder.mkdir(mode=0o700)
    (folder / "settings.toml").write_text(SETTINGS)
    keyfile.store(folder / keyfile.NODE_KEY, key)
    if organization is not None:
        keyfile.store(folder / keyfile.ORGANIZATION_KEY, organization)
    token_of(folder)
    content = json.dumps(SignedCharter.decode(charter).to_json(), indent=2)
    (folder / CHARTER_JSON).write_text(content)


@contextmanager
def standing(top: Path, pulse_ms: int, draw: random.Random) -> Iterator[Standing]:
    """The network, running, for the time of a block."""
    network = Standing(top, pulse_ms, draw)
    try:
        network.run()
        yield network
    finally:
        network.close()
