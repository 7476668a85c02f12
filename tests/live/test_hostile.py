"""Hostile peers against the chief of a running network of four, on a small board: its memory stays within its budget,
and payments, its own among them, are sealed meanwhile."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count as count_from
from pathlib import Path
from typing import Final

import pytest

from leither_lite.codec import encode
from leither_lite.edge import keyfile
from leither_lite.identity import Key
from leither_lite.limits import FRAME_BYTES_MAX
from leither_lite.node import frames
from leither_lite.wire.frame import encode_frame
from tests.live import hostile
from tests.live.harness import ROOT, SUPPLY, balances, doctor
from tests.live.hostile import Attack, Count, Memory, Raw, contents_of, flood, hung_up, source_of
from tests.live.network import Network, founded, network_of, pay

SEED: Final = 66
PULSE_MS: Final = 500
MEMORY_KB_MAX: Final = 48 * 1024
# The smallest board, and no more than 48 MiB of it.
PROFILE: Final = ROOT / "boards" / "pi-zero.toml"
BUDGET: Final = f"memory_anonymous_bytes = {MEMORY_KB_MAX * 1024}\n"
FEW_PLACES: Final = f"{BUDGET}peers_in_max = 6\n"
_NUMBERS: Final = {name: kind for name, kind in vars(frames).items() if type(kind) is int}
_KINDS: Final = {kind: name.lower() for name, kind in _NUMBERS.items() if kind in frames.KINDS and name.isupper()}


class Front:
    """A network under attack, and the keys that attack it: a stranger's, and a member's that runs no node."""

    def __init__(self, network: Network, member: Key) -> None:
        self.network = network
        self.id = bytes.fromhex(network.organization)
        self.member = member
        self.stranger = Key.from_seed(bytes(31) + b"s")
        self.port = network.ports[0]
        self.sources = map(source_of, count_from(1))
        self._turns = count_from()

    def keys(self, is_member: bool) -> Key:
        """Whose key an attack uses."""
        return self.member if is_member else self.stranger

    def raw(self, is_member: bool) -> Raw:
        """A connection to the chief."""
        return Raw(self.id, self.keys(is_member), self.port, next(self.sources))

    def overheard(self, seconds: float) -> list[bytes]:
        """What a member is told while a payment is made and sealed: votes, proposals, seals, operations."""
        raw = self.raw(is_member=True)
        pay(self.network, 0, 1, 1, f"{time.monotonic()}")
        told = raw.listen(seconds)
        raw.close()
        return told

    def withstand(self, attacks: list[Attack], seconds: float, name: str) -> Count:
        """Run attacks for a while; payments of the chief's and of another node go on, and so does the chief, within its
        budget. Returns what the attacks did."""
        network, count, stop = self.network, Count(), threading.Event()
        failed: list[BaseException] = []

        def run(attack: Attack) -> None:
            try:
                attack(stop, count)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=run, args=(attack,)) for attack in attacks]
        for thread in threads:
            thread.start()
        sealed, waits = 0, []
        end_s = time.monotonic() + seconds
        with Memory(network.nodes[0]) as memory:
            try:
                while time.monotonic() < end_s or not sealed:
                    payer = (0, 2)[next(self._turns) % 2]
                    begun = network.nodes[payer].status()["tick"]
                    self._settle(payer, f"{name} {sealed}")
                    waits.append(network.nodes[payer].status()["tick"] - begun)
                    sealed += 1
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
        memory_kb = max(memory.highest_kb, int(network.nodes[0].status()["memory_kb"]["anonymous"]))
        print(f"{name}: {count}; {memory_kb} KB; {sealed} payments, at most {max(waits)} ticks each")
        assert not failed, failed
        assert memory_kb <= MEMORY_KB_MAX, name
        assert network.nodes[0].process.poll() is None
        assert [reason for reason in network.nodes[0].status()["reasons"] if reason["code"] == "memory_high"] == []
        return count

    def _settle(self, payer: int, memo: str) -> None:
        """A payment until it is final."""
        node = self.network.nodes[payer]
        name = pay(self.network, payer, 1, 1, memo)
        for number, _ in enumerate(node.polls()):
            transfer = node.client.get(f"/v1/transfers/{name}")
            if transfer["state"] != "pending":
                assert transfer["state"] == "credited", transfer
                return
            assert number < 1_500, f"{memo}: {transfer} stays pending; {self.network.told()}"


@pytest.fixture(scope="module")
def seconds(full: bool) -> float:
    """For how long each attack goes on."""
    return 30.0 if full else 2.0


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """Four nodes that seal, and a fifth account whose node does not run; sound after all attacks."""
    print(f"seed {SEED}")
    with network_of(tmp_path_factory.mktemp("hostile"), 4, PULSE_MS) as network:
        network.nodes[0].stop()
        (network.folders[0] / "settings.toml").write_text(BUDGET)
        network.restart(0, "--board", str(PROFILE))
        member = network.join(invited=True)
        network.wait(lambda: network.accounts[member] in balances(network.nodes[0]), "the fifth account")
        front = Front(network, keyfile.load(network.folders[member] / keyfile.NODE_KEY))
        yield front
        network.together()
        held = [balances(node) for node in network.nodes]
        assert held == [held[0]] * 4
        assert sum(held[0].values()) == SUPPLY
        assert [node.client.get("/v1/evidence")["evidence"] for node in network.nodes] == [[]] * 4
        ended = [node.stop() for node in network.nodes]
        assert [(each.code, each.stderr) for each in ended] == [(0, "")] * 4
        assert [doctor(folder) for folder in network.folders[:4]] == [[]] * 4


def test_garbage_before_the_handshake(front: Front, seconds: float) -> None:
    """Random bytes from four addresses at once."""
    attacks = [hostile.garbage(front.port, next(front.sources), f"{SEED} {number}") for number in range(4)]
    count = front.withstand(attacks, seconds, "garbage")
    assert count.cut == count.connections


def test_slow_bytes(front: Front, seconds: float) -> None:
    """Sixty connections, each with a byte a second of a good handshake: places for handshakes are limited."""
    sources = [next(front.sources) for _ in range(60)]
    count = front.withstand([hostile.crawl(front.id, front.stranger, front.port, sources)], seconds + 2, "slow bytes")
    assert count.connections > 60


def test_a_thousand_connections(front: Front, full: bool, seconds: float) -> None:
    """300 (1,000 in the long form) strangers with good handshakes, who stay as long as they may, and a node of the
    network that comes back meanwhile finds its place."""
    size = 1_000 if full else 300
    attacks = [hostile.crowd(front.id, front.port, size // 2, 100_000 * number, stranger_key) for number in range(1, 3)]
    network = front.network
    stop, count = threading.Event(), Count()
    threads = [threading.Thread(target=attack, args=(stop, count)) for attack in attacks]
    for thread in threads:
        thread.start()
    network.wait(lambda: count.connections + count.cut >= size, f"{size} connections")
    network.kill(3)
    network.restart(3)
    network.wait(lambda: network.nodes[3].status()["peers"] >= 3, "three peers of the node that came back", 3)
    stop.set()
    for thread in threads:
        thread.join()
    print(f"crowd: {count}; {network.nodes[0].status()['memory_kb']}")
    front.withstand(attacks, seconds, "crowd")


def test_a_member_finds_its_place(tmp_path: Path) -> None:
    """Where strangers hold all places of a node, a member that can only dial out gets in, and its payment through."""
    with founded(tmp_path, 200, FEW_PLACES) as network:
        network.restart(network.join(invited=True), listens=False)
        network.await_members(1)
        network.distribute(10, network.accounts[1])
        network.nodes[1].stop()
        strangers = hostile.crowd(bytes.fromhex(network.organization), network.ports[0], 64, 0, stranger_key)
        stop, count = threading.Event(), Count()
        thread = threading.Thread(target=strangers, args=(stop, count), daemon=True)
        thread.start()
        network.wait(lambda: network.nodes[0].status()["peers"] >= 6, "all places taken")
        network.restart(1, listens=False)
        network.wait(lambda: network.nodes[1].status()["peers"] == 1, "the member's connection", 1)
        assert network.nodes[1].transfer(pay(network, 1, 0, 1, "from within the crowd"))["state"] == "credited"
        known = network.nodes[0].client.get("/v1/peers")["peers"]
        assert [each["account"] for each in known if each["member"]] == [network.accounts[1]]
        stop.set()
        thread.join()
        print(f"{count}; {network.nodes[0].status()['memory_kb']}")


@pytest.mark.parametrize("first", [b"", b"\x9a\x00\x7f\x7f\xfb"], ids=["noise", "items"])
@pytest.mark.parametrize("is_member", [False, True], ids=["stranger", "member"])
def test_who_says_to_be_far_ahead(tmp_path: Path, first: bytes, is_member: bool) -> None:
    """A peer says that it has a billion pulses more, and gives whoever asks for its state as much as may be asked for:
    noise, or a list of eight million zeros. Nobody is the worse for it, or thinks to be behind."""
    parts, part_bytes = 170, 48 * 1024
    filler = bytes(part_bytes) if first else random.Random(SEED).randbytes(part_bytes)
    with founded(tmp_path, 200, BUDGET) as network:
        node, key = network.nodes[0], stranger_key(1)
        if is_member:
            member = network.join(invited=True)
            network.wait(lambda: network.accounts[member] in balances(node), "the member's account")
            key = keyfile.load(network.folders[member] / keyfile.NODE_KEY)
        raw = Raw(bytes.fromhex(network.organization), key, network.ports[0], source_of(1))
        asked = 0
        with Memory(node) as memory:
            while not raw.push(encode([frames.STATUS, 10**9, bytes(32), 5, 1])):
                pass
            end = node.status()["tick"] + 25
            while node.status()["tick"] < end:
                raw.push(wait_s=0.05)
                told, raw.frames = raw.frames, []
                for wanted in [each for each in told if frames.kind_of(each) == frames.WANT_STATE]:
                    part = int(frames.values_of(wanted)[2])  # type: ignore[arg-type]
                    chunk = filler if part else first + filler[len(first) :]
                    while not raw.push(encode([frames.STATE, bytes(32), part, parts, chunk])):
                        pass
                    asked += 1
            network.distribute(1, network.accounts[0])
        assert (node.status()["behind"], node.status()["reasons"]) == (0, [])
        raw.close()
        print(f"asked for {asked} parts; {memory.highest_kb} KB")
        assert memory.highest_kb <= MEMORY_KB_MAX


def stranger_key(number: int) -> Key:
    """One of many."""
    return Key.from_seed(number.to_bytes(32, "big"))


def cut_off(front: Front, is_member: bool, bytes_of: Callable[[Raw], bytes]) -> bool:
    """True if what a peer sends ends its connection at once."""
    raw = front.raw(is_member)
    raw.send_bytes(bytes_of(raw))
    ended = hung_up(raw.sock, 5)
    raw.close()
    return ended


@pytest.mark.parametrize("is_member", [False, True], ids=["stranger", "member"])
def test_a_session_that_is_wrong_dies(front: Front, is_member: bool) -> None:
    """Garbage after the handshake, messages twice or in another order, frames that are empty or too long."""
    draw = random.Random(SEED)
    status = encode([frames.WANT_CHARTER])

    def garbage(_: Raw) -> bytes:
        return b"\x00\xff" + draw.randbytes(255)

    def twice(raw: Raw) -> bytes:
        return 2 * raw.session.send(status)

    def reordered(raw: Raw) -> bytes:
        first, second = raw.session.send(status), raw.session.send(status)
        return second + first

    def flipped(raw: Raw) -> bytes:
        sealed = bytearray(raw.session.send(status))
        sealed[-1] ^= 1
        return bytes(sealed)

    def too_long(raw: Raw) -> bytes:
        return raw.session._seal((FRAME_BYTES_MAX + 1).to_bytes(4, "big") + bytes(1_000))

    def empty(raw: Raw) -> bytes:
        return raw.session._seal(bytes(4))

    def hello_again(raw: Raw) -> bytes:
        return raw.session._seal(encode_frame(encode([0, front.keys(is_member).public, bytes(64)])))

    wrong = (garbage, twice, reordered, flipped, too_long, empty, hello_again)
    assert [each.__name__ for each in wrong if not cut_off(front, is_member, each)] == []
    assert not cut_off_soon(front, is_member, status)
    front.withstand([], 0, "wrong sessions")


def cut_off_soon(front: Front, is_member: bool, content: bytes) -> bool:
    """True if a good frame ends a connection: nobody should be cut off for that."""
    raw = front.raw(is_member)
    raw.send_bytes(raw.session.send(content))
    ended = hung_up(raw.sock, 0.5)
    raw.close()
    return ended


@pytest.fixture(scope="module")
def overheard(front: Front) -> list[bytes]:
    """Good frames, as a member hears them."""
    told = front.overheard(2)
    heard = {frames.kind_of(content) for content in told}
    assert heard >= {frames.VOTE, frames.PROPOSAL, frames.SEAL_VOTE, frames.SEALED, frames.OPERATION}
    return told


@pytest.mark.parametrize("is_member", [False, True], ids=["stranger", "member"])
@pytest.mark.parametrize("kind", sorted(frames.KINDS), ids=_KINDS.get)
def test_floods(front: Front, overheard: list[bytes], kind: int, is_member: bool, full: bool) -> None:
    """A kind of frame as fast as it is taken: good ones again and again, good ones with a bit changed, made-up ones."""
    key = front.keys(is_member)
    contents = partial(contents_of, front.id, kind, key, overheard, str(SEED))
    attack = flood(front.id, key, front.port, next(front.sources), contents)
    name = f"{_KINDS.get(kind, kind)} of a {'member' if is_member else 'stranger'}"
    front.withstand([attack], 3 if full else 0, name)


def test_replays(front: Front, seconds: float) -> None:
    """All that a member has heard, again and again in any order."""
    overheard = front.overheard(3)
    draw = random.Random(SEED)

    def contents() -> Iterator[bytes]:
        while True:
            yield draw.choice(overheard)

    attacks = [flood(front.id, front.member, front.port, next(front.sources), contents)]
    front.withstand(attacks, seconds, "replays")


@pytest.mark.parametrize("read", [True, False], ids=["reading", "deaf"])
def test_who_wants_too_much(front: Front, seconds: float, read: bool) -> None:
    """States and pulses for a member, as often as it asks, whether it takes the answers or leaves them lying."""

    def contents() -> Iterator[bytes]:
        for number in count_from():
            yield encode([frames.WANT_STATE, b"", 0])
            yield encode([frames.WANT_PULSE, 1 + number % 10])

    attacks = [flood(front.id, front.member, front.port, next(front.sources), contents, read=read)]
    front.withstand(attacks, seconds, f"wants, {'reading' if read else 'deaf'}")


def test_memory_is_given_back(front: Front) -> None:
    """After all of it, a while later, the chief stands where its peers do."""
    network = front.network
    network.nodes[0].ticks(4)
    told = [node.status()["memory_kb"]["anonymous"] for node in network.nodes]
    print(f"memory of all nodes: {told} KB")
    assert told[0] <= MEMORY_KB_MAX
