"""Running nodes of a network that has split, asked over the wire and over HTTP for what is their group's alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from random import Random
from time import monotonic
from typing import Any, Final

import pytest

from leither_lite import codec
from leither_lite.board import Board
from leither_lite.edge import keyfile, lmdb
from leither_lite.edge.lmdb import Store
from leither_lite.identity import Key
from leither_lite.ledger.asked import Ask
from leither_lite.ledger.operations import from_value
from leither_lite.ledger.sealed import SealedPulse
from leither_lite.ledger.settling import Reclaim, Resolve, Settle
from leither_lite.ledger.upper_operations import ChildSeal, Decision, upper_from_value
from leither_lite.limits import SEGMENT_BYTES_MAX
from leither_lite.node import frames
from leither_lite.node.frames import kind_of
from leither_lite.node.turn import Node
from leither_lite.node.wallet import Keyring
from tests.live.harness import Client
from tests.live.hostile import Raw, source_of
from tests.live.network import Network, founded, pay
from tests.node.asking import OWN_ASKING, Known, Secrets, level_of, questions, wrong

NODES: Final = 6
PULSE_MS: Final = 200
SMALL: Final = ("--group-max", "8", "--term-ticks", "10")
# What is asked here is work that no budget allows so fast.
SETTINGS: Final = "peer_work_s = 1000000\npeer_messages_s = 100000\n"
STEPS_MAX: Final = 1_200
UNASKED: Final = OWN_ASKING | {frames.FIND}
"""What nodes want of whoever is connected, whether or not it has asked for something."""
SHOWING: Final = frozenset({frames.OPERATION, frames.ASK_RECEIPTS})
"""What shows receipts to the group that they are for."""


class Split:
    """A network of two groups or more; `target` is a node, `other` one of another group, which has been stopped."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._above: set[str] = set()
        self._looked_s = 0.0
        nodes = network.nodes
        pays = count()
        places: list[str] = []

        def is_split() -> bool:
            with suppress(AssertionError):  # the payer's node may just be moving
                pay(network, 1, 2, 1, f"tea {next(pays)}")
            places[:] = [self._branch(number).get("group", {}).get("prefix", "") for number in range(NODES)]
            return "" not in places

        network.wait(is_split, "several groups")
        on_roster = {each["account"] for each in self._branch(0)["floors"][0]["roster"]}
        order = sorted(range(NODES), key=lambda number: network.accounts[number] in on_roster)
        self.target = order[0]
        self.other = next(number for number in reversed(order) if places[number] != places[self.target])
        network.wait(lambda: self._branch(self.target)["group"]["under_root"], "all under the root", self.target)
        assert [nodes[number].stop().code for number in (self.other, self.target)] == [0, 0]
        self.kept = {number: self._kept(number) for number in (self.other, self.target)}
        network.restart(self.target)
        network.wait(
            lambda: self._branch(self.target).get("group", {}).get("under_root", False), "it is back", self.target
        )
        self.id = bytes.fromhex(network.organization)
        self.pulse = int(nodes[self.target].status()["pulse"])

    def look(self) -> None:
        """See who is on the roster above the target's group; at most once a pulse."""
        if monotonic() - self._looked_s > PULSE_MS / 1000:
            self._above.update(each["account"] for each in self._branch(self.target)["floors"][-1]["roster"])
            self._looked_s = monotonic()

    def was_above(self, number: int) -> bool:
        """True if a node has been seen on that roster."""
        self._looked_s = 0.0
        self.look()
        return self.network.accounts[number] in self._above

    def _branch(self, number: int) -> dict[str, Any]:
        return self.network.nodes[number].client.ask("GET", "/v1/branch").value

    def _kept(self, number: int) -> Node:
        """A node that does not run, as its store has it, in a copy."""
        folder = self.network.folders[number]
        copy = folder.with_name(f"{folder.name}.mdb")
        shutil.copy(folder / lmdb.FILE, copy)
        keyring = Keyring(self.key(number), None)
        return Node(Store.open(copy, Board().map_bytes), keyring, Board(), Random(1).randbytes, 0, restored=True)

    def key(self, number: int) -> Key:
        """A node's key."""
        return keyfile.load(self.network.folders[number] / keyfile.NODE_KEY)


def heard(raw: Raw, contents: list[bytes], look: Callable[[], None]) -> list[bytes]:
    """What comes until the node has taken all of these frames: it answers what is asked last, last. `look` is called
    all the while."""
    before = sum(kind_of(content) == frames.WANT_CHARTER for content in contents)
    for content in (*contents, bytes([0x81, frames.WANT_CHARTER])):
        for step in range(STEPS_MAX):
            look()
            if raw.push(content):
                break
            assert step + 1 < STEPS_MAX, "it takes nothing"
    told: list[bytes] = []
    for _ in range(STEPS_MAX):
        look()
        raw.push(wait_s=0.05)
        told, raw.frames = told + raw.frames, []
        if sum(kind_of(content) == frames.CHARTER for content in told) > before:
            return told
    raise AssertionError("it does not answer")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    """Six nodes, and the organization's account: one more than a group of eight may have after its term."""
    with founded(tmp_path_factory.mktemp("split"), PULSE_MS, SETTINGS, SMALL) as network:
        while len(network.nodes) < NODES:
            number = network.join(memo=f"node {len(network.nodes)}")
            halves = {account[0] > "7" for account in network.accounts}
            if len(network.nodes) == NODES - 1 and len(halves) == 1:
                drop(network, number)  # they would all be in one group
                continue
            network.restart(number)
            network.approve(number)
            if number == 2:
                network.await_members(1, 2)
                network.distribute(1_000, *network.accounts)
        yield Split(network)


def drop(network: Network, number: int) -> None:
    """Forget somebody who has applied, and does not come."""
    shutil.rmtree(network.folders[number])
    for each in (network.folders, network.ports, network.accounts):
        del each[number]


def asked(split: Split, key: Key, number: int, known: Known, secrets: Secrets) -> tuple[int, int]:
    """Ask the target for everything, over one connection; how many frames there were, and answers to them."""
    raw = Raw(split.id, key, split.network.ports[split.target], source_of(number))
    tried = answered = 0
    for kind in sorted(frames.KINDS - {2}):
        contents = list(questions(kind, known, key))
        told = heard(raw, contents, split.look)[:-1]
        answers = [content for content in told if kind_of(content) not in UNASKED]
        if key == split.key(split.other):
            answers = [content for content in answers if not is_told(split, content)]
        tried, answered = tried + len(contents), answered + len(answers)
        whole = b"".join(contents)
        for answer in answers:
            is_other = key == split.key(split.other)
            if is_other and kind == frames.WANT_PULSE and kind_of(answer) != frames.REFUSED:
                assert is_before(answer)
                continue
            due = whole
            if is_other and kind_of(answer) == frames.CHILD:
                # It has waited since the other node was on the committee above: the header is due to it, and no more.
                due += child_header(answer)
            else:
                assert kind_of(answer) == frames.CHARTER or wrong(contents[0], answer, key) == "", (kind, answer.hex())
            found = [each for each in (*secrets.books, *secrets.items) if each in answer and each not in due]
            assert found == [], (kind, answer.hex())
        answers = [content for content in answers if kind_of(content) != frames.CHILD]
        if kind in (frames.WANT_STATE, frames.PULSE, frames.ADDRESS, frames.TICK, frames.HELD, frames.CHECKPOINT):
            assert [*map(kind_of, answers)] == [frames.REFUSED] * len(contents), kind
        if kind == frames.WANT_SEGMENTS:  # who has a seat above says nothing
            assert [*map(kind_of, answers)] in ([], [frames.REFUSED] * len(contents)), kind
    raw.close()
    return tried, answered


def is_told(split: Split, answer: bytes) -> bool:
    """True for what is told to the other node, and was not asked for: receipts, and the agreement above."""
    if kind_of(answer) in SHOWING:
        return is_for(split.kept[split.other], answer)
    return is_of_above(answer) and split.was_above(split.other)


def is_for(node: Node, answer: bytes) -> bool:
    """True for what shows receipts to the group that they are for, or what has become of its own."""
    if kind_of(answer) == frames.ASK_RECEIPTS:
        return all(node.group.holds(receipt.payee) for receipt, _, _ in Ask.take(frames.values_of(answer)[1:]).receipts)
    operation = from_value(frames.values_of(answer)[1])
    if isinstance(operation, Settle):
        return all(node.group.holds(receipt.payee) for receipt, _ in operation.receipts)
    return isinstance(operation, Resolve | Reclaim)


def child_header(answer: bytes) -> bytes:
    """The header in a child's seal."""
    operation = upper_from_value(frames.values_of(answer)[1])
    assert isinstance(operation, ChildSeal)
    return operation.header_bytes


def is_of_above(answer: bytes) -> bool:
    """True for what belongs to the agreement of a group above level 1: seals of its children, its state, its votes."""
    if kind_of(answer) == frames.SEGMENT:
        operations = codec.decode(codec.octets_upto(frames.values_of(answer)[1], SEGMENT_BYTES_MAX, "bad_segment"))
        codes = [codec.items(each, 11, "bad_segment")[0] for each in codec.items(operations, SEGMENT_BYTES_MAX, "")]
        return not {ChildSeal.CODE, Decision.CODE}.isdisjoint(codes)
    return kind_of(answer) in (frames.CHILD, frames.UPPER) or level_of(answer) > 1


def is_before(answer: bytes) -> bool:
    """True for what was sealed before the group was split."""
    content = frames.values_of(answer)[1]
    return kind_of(answer) == frames.NOT_HERE or (
        isinstance(content, bytes) and not SealedPulse.decode(content).header.bits
    )


def test_over_http(split: Split) -> None:
    """Without the token, with another node's, and with its own for accounts that are not its own."""
    network, node = split.network, split.network.nodes[split.target]
    host, port = node.address
    foreign = network.accounts[split.other]
    ids = [network.accounts[number] for number in range(NODES) if number != split.target]
    names = (
        "status",
        "charter",
        "summary",
        "branch",
        "account",
        "accounts",
        "transfers",
        "peers",
        "roster",
        "evidence",
    )
    paths = [f"/v1/{name}" for name in names]
    paths += [f"/v1/account?account={each}" for each in ids] + [f"/v1/accounts/{each}/proof" for each in ids]
    tokens = ("", "f" * 64, (network.folders[split.other] / "api-token").read_text().strip())
    for token in tokens:
        client = Client(host, port, token)
        for path in paths:
            told = client.ask("GET", path)
            assert (told.status, told.code) == (401, "unauthorized"), path
        client.close()
    for path in (f"/v1/account?account={foreign}", f"/v1/accounts/{foreign}/proof"):
        assert node.client.ask("GET", path).code in ("unknown_account", "not_permitted")
    if node.status()["role"] == "member":
        for path in paths[len(names) :]:
            assert node.client.ask("GET", path).status in (403, 404), path
    print(f"{len(tokens) * len(paths)} requests")


def test_over_the_wire(split: Split) -> None:
    """A stranger, and a member of another group, ask by every kind of frame; what they may not have is looked up
    afterwards, in the store of the node that was asked."""
    network = split.network
    node, target = split.kept[split.other], split.kept[split.target]
    keys = {"stranger": Key.from_seed(bytes(31) + b"s"), "member of another group": split.key(split.other)}
    secrets = Secrets(target)
    places = [(level, each.group.bits, each.group.prefix) for each in (node, target) for level in (1, 2)]
    known = Known.of(target, [*places, (1, 0, bytes(20)), (2, 0, bytes(20))], [])
    assert len(secrets.books) > len(target.group.entries)
    for number, (name, key) in enumerate(keys.items(), start=1):
        tried, answered = asked(split, key, number, known, secrets)
        print(f"{name}: {tried} frames, {answered} answers")
    assert network.nodes[split.target].process.poll() is None
    assert network.nodes[split.target].status()["pulse"] >= split.pulse
