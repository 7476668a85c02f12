"""Codes and statuses of errors, and the errors that are nobody's request's fault (docs/api.md)."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from leither_lite.edge.api_errors import STATUS_OF_CODE, status_of
from leither_lite.errors import Halt, LocalError
from leither_lite.ledger.signed import Status
from leither_lite.node import events as ev
from tests.edge.api_world import TOKEN, World, running

ROOT = Path(__file__).parents[2]
# Reasons why a frame or the node's own store cannot be read: they never reach a caller.
# What these say goes to peers, or is counted against them: no caller of the API hears of it.
FOR_PEERS = frozenset(
    "addresses answers becoming between catchup committee courier finding frames giving group_states heartbeat holders "
    "network peers root_chain seats states tenure trunk undoing upper_frames".split()
)
ELSEWHERE = {"bad_charter", "bad_frame", "bad_queued", "bad_transfer"}


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One node for all of them."""
    with running() as world:
        yield world


def test_codes_of_the_service(world: World) -> None:
    """What the loop answers when it cannot keep books: 503, and when to come back."""
    for code in ("busy", "stopping", "store_failed", "store_full", "disk_full", "disk_low", "disk_read_only"):
        world.seat.refuses = LocalError(code, "not now")
        told = world.post("/v1/accounts")
        assert told.refusal == (503, code)
        assert told.headers["Retry-After"] == "1"
    world.seat.refuses = None


def test_damage_met_by_a_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told, and so is the node: it is not healthy any more."""
    halt = Halt("store_corrupt", "the value of 7000 is damaged")

    def summary() -> bytes:
        raise halt

    monkeypatch.setattr(world.seat.view, "summary", summary)
    assert world.get("/v1/summary").refusal == (503, "store_corrupt")
    assert world.seat.reported is halt


def test_what_nobody_foresaw(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """500 without details; the log has them, once."""
    world.seat.refuses = ZeroDivisionError("the secret place")
    with caplog.at_level(logging.INFO):
        told = world.post("/v1/accounts")
    world.seat.refuses = None
    assert told.refusal == (500, "internal")
    assert b"secret" not in told.body
    assert len(caplog.records) == 1
    assert caplog.records[0].exc_info is not None
    assert TOKEN not in caplog.text
    assert world.get("/v1/status").status == 200


def raised_codes() -> set[str]:
    """The codes of every LocalError that the node and the API raise by name, and of the ledger's refusals."""
    codes = {status.value for status in Status if status is not Status.OK}
    edge = ROOT / "leither_lite/edge"
    node_paths = [path for path in (ROOT / "leither_lite/node").glob("*.py") if path.stem not in FOR_PEERS]
    paths = [*node_paths, *edge.glob("api*.py"), edge / "loop.py"]
    for path in [*paths, ROOT / "leither_lite/ledger/texts.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                first = node.args[0]
                if node.func.id == "LocalError" and isinstance(first, ast.Constant):
                    codes.add(str(first.value))
            # Those of fields are handed on to what takes the field.
            if isinstance(node, ast.Constant) and re.fullmatch(r"bad_[a-z_]+", str(node.value)):
                codes.add(str(node.value))
    return codes - ELSEWHERE


def test_every_code_is_documented_with_its_status() -> None:
    """docs/api.md names every code that can leave, and the statuses are those of the table in the code."""
    rows = re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
    documented = {code: int(status) for code, status in rows}
    assert len(documented) == len(rows)
    assert (raised_codes() | set(STATUS_OF_CODE)) - documented.keys() == set()
    assert {code: status for code, status in documented.items() if status_of(code) != status} == {}
    assert list(documented.items()) == sorted(documented.items(), key=lambda row: (row[1], row[0]))


def test_every_event_has_its_route() -> None:
    """What the owner can ask of the node can be asked over HTTP."""
    source = (ROOT / "leither_lite/edge/api_routes.py").read_text()
    owner = [name for name in get_args(ev.Request) if name.__name__ != "OperationReceived"]
    assert [name.__name__ for name in owner if f"ev.{name.__name__}(" not in source] == []
