"""How commands find a node, and what becomes of its refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from leither_lite.edge import keyfile
from leither_lite.edge.client import ANSWER_BYTES_MAX, format_address, parse_address
from leither_lite.edge.service import lock_folder
from tests.commands import Run
from tests.stand_in import StandIn


def test_every_request_carries_the_token(run: Run, node: StandIn, data: Path) -> None:
    """And nothing but what it needs."""
    node.answers["/v1/status"] = 200, {"pulse": 3, "healthy": True, "reasons": []}
    assert run.json("status") == (0, {"pulse": 3, "healthy": True, "reasons": []})
    (asked,) = node.asked
    assert asked.headers["authorization"] == f"Bearer {keyfile.load_token(data / 'api-token')}"
    assert asked.headers["host"] == node.address


@pytest.mark.parametrize(
    ("reply", "exit_code", "code"),
    [
        ((422, {"error": {"code": "insufficient_balance", "message": "m"}}), 1, "insufficient_balance"),
        ((401, {"error": {"code": "unauthorized", "message": "m"}}), 1, "unauthorized"),
        ((503, {"error": {"code": "busy", "message": "m"}}), 1, "busy"),
        ((503, {"error": {"code": "store_full", "message": "m"}}), 4, "store_full"),
        ((503, {"error": {"code": "disk_full", "message": "m"}}), 4, "disk_full"),
        ((500, {"error": {"code": "internal", "message": "m"}}), 4, "internal"),
        ((200, b"<html>"), 1, "bad_answer"),
        ((200, b"[" * 100_000), 1, "bad_answer"),
        ((200, [1]), 1, "bad_answer"),
        ((404, b"<html>"), 1, "bad_answer"),
        ((400, {"error": "no"}), 1, "bad_answer"),
        ((302, {}), 1, "bad_answer"),
    ],
)
def test_refusals_of_the_node(run: Run, node: StandIn, reply: Any, exit_code: int, code: str) -> None:
    """On stdout as JSON, in words on stderr; the exit code tells a refusal from trouble."""
    node.answers["/v1/status"] = reply
    found, value = run.json("status")
    assert (found, value["error"]["code"]) == (exit_code, code)
    found, out, err = run("status")
    assert (found, out) == (exit_code, "")
    assert err.startswith(f"leither-lite: {code}: ")


def test_an_answer_without_end_is_not_taken_for_whole(run: Run, node: StandIn, tmp_path: Path) -> None:
    """What is cut is not written down as a proof."""
    node.answers[f"/v1/accounts/{'00' * 20}/proof"] = 200, b" " * (ANSWER_BYTES_MAX + 1)
    code, value = run.json("proof", "00" * 20, "--out", str(tmp_path / "proof.json"))
    assert (code, value["error"]["code"]) == (1, "bad_answer")
    assert not (tmp_path / "proof.json").exists()


def test_no_node(alone: Run, data: Path, node: StandIn) -> None:
    """Not running, or not reachable: exit 3. An address that a node has left behind gets no token."""
    assert alone.json("status")[1]["error"]["code"] == "node_not_running"
    (data / "api-address").write_text(node.address + "\n")
    code, value = alone.json("status")
    assert (code, value["error"]["code"]) == (3, "node_not_running")
    assert node.asked == []
    code, value = alone.json("status", "--api", "127.0.0.1:1")
    assert (code, value["error"]["code"]) == (3, "node_unreachable")


def test_the_address_of_a_running_node_is_found(alone: Run, data: Path, node: StandIn) -> None:
    """In its folder, while it holds the folder's lock."""
    node.answers["/v1/status"] = 200, {}
    (data / "api-address").write_text(node.address + "\n")
    with lock_folder(data):
        assert alone("status")[0] == 0


@pytest.mark.parametrize("address", ["", "8080", "host", "host:", ":80", "host:x", "host:65536", "::1:80", "a b:1"])
def test_addresses_that_are_none(alone: Run, address: str) -> None:
    """A usage error that shows what is expected."""
    code, value = alone.json("status", "--api", address)
    assert (code, value["error"]["code"]) == (2, "bad_address")
    assert "HOST:PORT" in value["error"]["message"]


@pytest.mark.parametrize("text", ["127.0.0.1:0", "localhost:8080", "[::1]:65535"])
def test_addresses(text: str) -> None:
    """There and back."""
    assert format_address(*parse_address(text)) == text
