"""The API of a node in a network of several groups: the summary, the branch, proofs, transfers between groups."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from leither_lite.header import Header
from leither_lite.ledger.children import decode_upper_page
from leither_lite.limits import ID_BYTES, PAGE_BYTES_MAX
from leither_lite.node.view import View
from leither_lite.sim.founding import PULSE_MS
from leither_lite.sim.signatures import checked_once
from leither_lite.tree.proof import verify
from leither_lite.tree.proof_json import decode_json
from tests.edge.api_world import World, running
from tests.node.groups import Groups, grown


@pytest.fixture(scope="module")
def groups() -> Groups:
    """A network of several groups, in which a payment from one to another is on its way."""
    with checked_once():
        made = grown()
        payer, payee = made.apart()
        made.pay(payer, payee, 77)
        made.until(lambda: made.view(payer).transfers(None, 1)[0]["state"] == "debited")
    return made


@pytest.fixture
def world() -> Iterator[World]:
    """A running API over a node of a network of one group."""
    with running() as made:
        yield made


def sit(world: World, groups: Groups, index: int) -> None:
    """Put the API over a node of the grown network."""
    node = groups.machines[index].node
    assert node is not None
    world.seat.node, world.seat.view = node, View(node)


def test_everybody_has_the_summary(world: World, groups: Groups) -> None:
    """The root group's page, and the root pulse that it belongs to."""
    for index in range(len(groups.nodes)):
        sit(world, groups, index)
        told = world.get("/v1/summary")
        assert (told.status, told.headers["Content-Type"]) == (200, "application/cbor")
        assert len(told.body) <= PAGE_BYTES_MAX
        branch = groups.view(index).way.branch
        assert told.headers["Leither-Pulse"] == str(branch.header.pulse)
        assert decode_upper_page(told.body, 0, bytes(ID_BYTES)) == branch.floors[0].nodes
        assert world.call("HEAD", "/v1/summary").headers["Leither-Pulse"] == str(branch.header.pulse)
    assert world.call("GET", "/v1/summary", token="").refusal == (401, "unauthorized")


def test_the_way_to_the_root(world: World, groups: Groups) -> None:
    sit(world, groups, 3)
    told = world.get("/v1/branch").json
    assert list(told) == ["root", "floors", "group"]
    assert list(told["root"]) == ["pulse", "tick", "levels", "header", "signatures"]
    assert Header.decode(bytes.fromhex(told["root"]["header"])).pulse == told["root"]["pulse"]
    fields = ["level", "prefix", "pulse", "children", "roster", "sent_out", "settled_in", "page_bytes"]
    assert [list(floor) for floor in told["floors"]] == [fields]
    assert list(told["group"]) == ["level", "prefix", "members", "pulse", "under_root"]
    assert world.post("/v1/branch").refusal == (405, "method_not_allowed")
    assert world.get("/v1/branch?pulse=1").refusal == (400, "unknown_parameter")


def test_one_group_has_no_floors(world: World) -> None:
    told = world.get("/v1/branch").json
    assert told["floors"] == []
    assert told["group"] == {"level": 1, "prefix": "", "members": 2, "pulse": 0, "under_root": True}
    world.account(5)
    pulse = world.get("/v1/branch").json["root"]["pulse"]
    assert world.get("/v1/summary").headers["Leither-Pulse"] == str(pulse)
    assert pulse > 0


def test_a_proof_leads_to_the_root_header(world: World) -> None:
    with checked_once():
        groups = grown()
    for index in range(len(groups.nodes)):
        sit(world, groups, index)
        path = f"/v1/accounts/{groups.keys[index].account.hex()}/proof"
        told = world.get(path)
        assert told.status == 200
        verified = verify(decode_json(told.body), groups.trust)
        assert verified.pulse == groups.view(index).way.branch.header.pulse
        assert world.post("/v1/proofs/verify", told.body).json["holds"] is True
        assert world.get(f"{path}?pulse=0").refusal == (404, "unknown_pulse")


def test_what_belongs_to_another_group(world: World, groups: Groups) -> None:
    index = next(index for index in range(len(groups.nodes)) if groups.view(index).is_bookkeeper)
    sit(world, groups, index)
    own = groups.nodes[index].group
    other = next(key.account for key in groups.keys if not own.holds(key.account)).hex()
    assert world.get(f"/v1/account?account={other}").refusal == (404, "unknown_account")
    assert world.get(f"/v1/accounts/{other}/proof").refusal == (404, "unknown_account")


def test_the_payer_s_side_is_debited(world: World, groups: Groups) -> None:
    """Until the payee's group has credited it, and the payer's knows."""
    payer, payee = groups.apart()
    sit(world, groups, payer)
    [told] = world.get("/v1/transfers?limit=1").json["transfers"]
    assert (told["state"], told["amount"], told["reason"]) == ("debited", 77, None)
    assert world.get(f"/v1/transfers/{told['id']}").json == told
    with checked_once():
        groups.until(lambda: groups.view(payer).transfers(None, 1)[0]["state"] == "credited")
        groups.run(5 * PULSE_MS)
    assert world.get(f"/v1/transfers/{told['id']}").json == {**told, "state": "credited"}
    sit(world, groups, payee)
    [got] = world.get("/v1/transfers?limit=1").json["transfers"]
    assert (got["state"], got["payer"], got["sent"]) == ("credited", told["payer"], told["sent"])


def test_before_a_branch_is_here(world: World) -> None:
    """A node that has just started, and has heard nothing from above."""
    with checked_once():
        groups = grown()
    for machine in groups.machines:
        machine.stop()
    groups.machines[0].start()
    sit(world, groups, 0)
    account = groups.keys[0].account.hex()
    for path in ("/v1/summary", "/v1/branch", f"/v1/accounts/{account}/proof"):
        told = world.get(path)
        assert told.refusal == (503, "no_branch_yet")
        assert told.headers["Retry-After"] == "1"
    assert world.get("/v1/account").status == 200
    assert json.loads(world.get("/v1/accounts").body)["accounts"]
