"""What a node of a network of several groups shows and proves: the way from its own group to the root header."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from leither_lite.errors import LocalError
from leither_lite.header import Header, check_seal
from leither_lite.ledger.children import decode_upper_page
from leither_lite.ledger.handovers import handovers
from leither_lite.limits import ID_BYTES, PAGE_BYTES_MAX
from leither_lite.node.view import View
from leither_lite.node.way import bits_text
from leither_lite.sim.founding import GIVEN, SUPPLY
from leither_lite.sim.signatures import checked_once
from leither_lite.store import keys
from leither_lite.tree.node import node_sum
from leither_lite.tree.proof import verify
from tests.node.groups import Groups, grown
from tests.node.net import Net

DEEP_GROUP_MAX = 4
DEEP_SEED = 2


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Each signature is checked once."""
    with checked_once():
        yield


@pytest.fixture
def world() -> Groups:
    """A network that has just come to rest: some groups have sealed nothing of their own yet."""
    return grown()


@pytest.fixture(scope="module")
def deep() -> Groups:
    """A network of three levels or more, in which every group has sealed."""
    with checked_once():
        made = grown(DEEP_SEED, group_max=DEEP_GROUP_MAX)
        for turn in range(len(made.nodes)):
            made.pay(turn, (turn * 7 + 3) % len(made.nodes), 1)
            made.run(2_000)
        made.until(made.is_at_rest)
    return made


def pulse_under_root(world: Groups, index: int) -> int:
    """The own group's pulse that the branch of a node shows."""
    group, branch = world.nodes[index].group, world.view(index).way.branch
    return int.from_bytes(branch.floors[-1].nodes[group.prefix, group.bits][:8], "big")


def refusal(world: Groups, index: int, account: bytes, pulse: int | None) -> str:
    """The code by which a proof is refused."""
    with pytest.raises(LocalError) as error:
        world.view(index).proof(account, pulse)
    return error.value.code


def test_every_node_proves_its_account_from_the_charter(world: Groups, deep: Groups) -> None:
    """Groups that a split has just made, and groups that have sealed; two levels and more."""
    for each, levels in ((world, 2), (deep, 3)):
        fresh = [node.group.header.bits != node.group.bits for node in each.nodes]
        assert any(fresh) == (each is world)
        for index, key in enumerate(each.keys):
            view = each.view(index)
            proof = view.proof(key.account, None)
            verified = verify(proof, each.trust)
            root = view.way.branch.header
            assert (verified.kind, verified.pulse) == ("present", root.pulse)
            assert root.level >= levels
            assert verified.record is not None
            assert verified.record[0] == view.account(None)["balance"]
            own = pulse_under_root(each, index)
            assert view.proof(key.account, own) == proof
            assert refusal(each, index, key.account, own + 1) == "unknown_pulse"
            assert refusal(each, index, key.account, own - 1) == "unknown_pulse"
            assert refusal(each, index, key.account, 0) == "unknown_pulse"
            group = each.nodes[index].group
            assert view.way.own_place()["prefix"] == bits_text(group.bits, group.prefix) != ""
            assert view.way.root_node == root.node


def test_proofs_follow_handovers_of_the_root(deep: Groups) -> None:
    """The roster of the root is another than the charter's."""
    view = deep.view(0)
    root = view.proof(deep.keys[0].account, None).root
    assert root.handovers == handovers(deep.nodes[0].reader, 0, Header.decode(root.header).pulse)
    assert root.handovers


def test_what_leads_to_the_root_header_is_on_the_disk(deep: Groups) -> None:
    """A handover whose commit is under way is not there yet: no proof is given that would not hold."""
    index = len(deep.nodes) - 1
    account, disk = deep.keys[index].account, deep.machines[index].disk
    kept = list(disk.scan(*keys.HANDOVERS))
    disk.write([(key, None) for key, _ in kept])
    assert refusal(deep, index, account, None) == "no_branch_yet"
    disk.write(kept)
    assert verify(deep.view(index).proof(account, None), deep.trust).kind == "present"


def test_absences_and_accounts_of_other_groups(world: Groups) -> None:
    index = next(index for index in range(len(world.nodes)) if world.view(index).is_bookkeeper)
    own = world.nodes[index].group
    absent = bytes([own.prefix[0] | 1, *bytes(ID_BYTES - 1)])
    assert own.holds(absent)
    assert verify(world.view(index).proof(absent, None), world.trust).kind == "absent"
    other = next(key.account for key in world.keys if not own.holds(key.account))
    assert refusal(world, index, other, None) == "unknown_account"
    with pytest.raises(LocalError, match="unknown_account"):
        world.view(index).account(other)
    member = next(index for index in range(len(world.nodes)) if not world.view(index).is_bookkeeper)
    assert refusal(world, member, absent, None) == "not_permitted"


def test_a_payment_between_groups(world: Groups) -> None:
    """The payer's side is debited until the payee's group has credited it; each side is proved as it comes."""
    payer, payee = world.apart()
    name = world.pay(payer, payee, 77)
    assert world.view(payer).transfer(name)["state"] == "pending"
    states = ["pending"]

    def note() -> bool:
        state = world.view(payer).transfer(name)["state"]
        if state != states[-1]:
            states.append(state)
        return bool(state == "credited")

    world.until(note)
    assert states == ["pending", "debited", "credited"]
    [paid] = [each for each in world.view(payer).transfers(None, 10) if each["id"] == name]
    [got] = world.view(payee).transfers(None, 10)
    assert (paid["state"], paid["text"]) == ("credited", "tea")
    assert (got["state"], got["amount"], got["kind"], got["text"]) == ("credited", 77, "payment", "")
    assert [got[name] for name in ("payer", "payee", "sent")] == [paid[name] for name in ("payer", "payee", "sent")]
    record = verify(world.view(payee).proof(world.keys[payee].account, None), world.trust).record
    assert record is not None
    assert record[0] == GIVEN + 77


def test_the_header_before_is_proved_until_the_newest_is_under_the_root(world: Groups) -> None:
    payer, payee = world.apart()
    world.pay(payer, payee, 5)
    world.until(lambda: world.view(payer).way.is_under_root() and world.nodes[payer].group.header.pulse > 7)
    way, account = world.view(payer).way, world.keys[payer].account
    before = way.branch.header.pulse
    world.pay(payer, payee, 5)
    world.until(lambda: not world.view(payer).way.is_under_root())
    shown = world.view(payer).way.to_json()["group"]
    assert shown["under_root"] is False
    assert shown["pulse"] > pulse_under_root(world, payer)
    assert verify(world.view(payer).proof(account, None), world.trust).pulse >= before
    assert refusal(world, payer, account, shown["pulse"]) == "unknown_pulse"


def test_the_summary_is_the_root_s_page(deep: Groups) -> None:
    """For everybody: it has the nodes of groups, and nobody's account. At rest it sums up to the supply."""
    for index in range(len(deep.nodes)):
        view = deep.view(index)
        pulse, page = view.summary()
        root = view.way.branch.header
        assert (pulse, len(page) <= PAGE_BYTES_MAX) == (root.pulse, True)
        nodes = decode_upper_page(page, 0, bytes(ID_BYTES))
        assert len(nodes) == len(view.way.branch.floors[0].nodes)
        assert sum(map(node_sum, nodes.values())) == SUPPLY
    assert any(not deep.view(index).is_bookkeeper for index in range(len(deep.nodes)))


def test_the_way_as_json(deep: Groups) -> None:
    for index, node in enumerate(deep.nodes):
        shown = deep.view(index).way.to_json()
        root, floors, own = shown["root"], shown["floors"], shown["group"]
        header = bytes.fromhex(root["header"])
        signatures = tuple(
            (bytes.fromhex(each["key"]), bytes.fromhex(each["signature"])) for each in root["signatures"]
        )
        check_seal(header, signatures, node.books.roots.roster_of(root["pulse"]))
        decoded = Header.decode(header)
        assert node.between.trunk.branch is not None
        assert (decoded.pulse, decoded.tick, decoded.level) == (root["pulse"], root["tick"], root["levels"])
        assert [each["level"] for each in floors] == list(range(root["levels"], 1, -1))
        prefixes = [each["prefix"] for each in [*floors, own]]
        assert prefixes[0] == ""
        assert all(below.startswith(above) for above, below in pairwise(prefixes))
        assert prefixes[-1] == bits_text(node.group.bits, node.group.prefix)
        for each, floor in zip(floors, node.between.trunk.branch.floors, strict=True):
            assert (each["children"], each["pulse"]) == (len(floor.nodes), floor.pulse)
            assert each["page_bytes"] == len(floor.page()) <= PAGE_BYTES_MAX
            assert (each["sent_out"], each["settled_in"]) == (floor.sent_out, floor.settled_in)
            assert all(set(one) == {"key", "account"} for one in each["roster"])
        assert (own["level"], own["members"], own["under_root"]) == (1, len(node.group.entries), True)
        assert own["pulse"] == node.group.header.pulse
    assert any(each["roster"] for each in floors)


def test_without_a_branch_nothing_is_claimed(world: Groups) -> None:
    """A node that has started again has the branch from others; until then it says so."""
    for machine in world.machines:
        machine.stop()
    world.machines[0].start()
    view = world.view(0)
    for call in (view.summary, view.way.to_json, lambda: view.proof(world.keys[0].account, None)):
        with pytest.raises(LocalError) as error:
            call()
        assert error.value.code == "no_branch_yet"
    assert view.way.root_node is None
    assert not view.way.is_under_root()
    assert view.account(None)["balance"] > 0


def test_one_group_is_its_own_root() -> None:
    net = Net(3, 3).settled()
    view = View(net.nodes[1])
    shown = view.way.to_json()
    assert shown["floors"] == []
    assert shown["root"]["pulse"] == shown["group"]["pulse"] == net.pulses[1]
    assert shown["root"]["levels"] == 1
    assert bytes.fromhex(shown["root"]["header"]) == net.nodes[1].group.sealed.header_bytes
    assert shown["group"] == {
        "level": 1,
        "prefix": "",
        "members": len(net.nodes[1].group.entries),
        "pulse": net.pulses[1],
        "under_root": True,
    }
    assert view.way.root_node == net.nodes[1].group.header.node
