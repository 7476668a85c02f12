"""The commands: what each asks of the node, what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from leither_lite.cli import main
from leither_lite.edge.service import Places
from leither_lite.errors import Halt
from leither_lite.organization import SignedCharter
from tests.commands import Run
from tests.stand_in import StandIn
from tests.vectors.ledger import VECTORS

ACCOUNT: Final = "00" * 19 + "ff"
TRANSFER: Final = {"id": "ab" * 16, "state": "credited", "pulse": 9, "reason": None}


@pytest.mark.parametrize(
    ("argv", "method", "path", "body", "answer", "line"),
    [
        (["invoice", "5"], "POST", "/v1/invoices", {"amount": 5, "memo": "", "ticks": 0}, {"invoice": "x"}, "x"),
        (
            ["invoice", "0", "--memo", "tea", "--ticks", "9", "--account", ACCOUNT],
            "POST",
            "/v1/invoices",
            {"amount": 0, "memo": "tea", "ticks": 9, "account": ACCOUNT},
            {"invoice": "x"},
            "x",
        ),
        (["invite"], "POST", "/v1/invites", {"role": "member"}, {"invite": "x"}, "x"),
        (
            ["invite", "--ticks", "60", "--role", "guest"],
            "POST",
            "/v1/invites",
            {"role": "guest", "ticks": 60},
            {"invite": "x"},
            "x",
        ),
        (["account"], "GET", "/v1/account", None, {"balance": 5}, "balance  5"),
        (["account", ACCOUNT], "GET", f"/v1/account?account={ACCOUNT}", None, {"balance": 5}, "balance  5"),
        (["account", "--new"], "POST", "/v1/accounts", {"memo": ""}, {"account": ACCOUNT}, f"account  {ACCOUNT}"),
        (["approve"], "GET", "/v1/applications", None, {"applications": []}, "nobody is waiting"),
        (
            ["approve", ACCOUNT, "--role", "supervisor"],
            "POST",
            f"/v1/applications/{ACCOUNT}/approve",
            {"role": "supervisor"},
            {"state": "pending"},
            f"approved: account {ACCOUNT} is a supervisor with the next seal",
        ),
        (
            ["approve", ACCOUNT, "--refuse"],
            "POST",
            f"/v1/applications/{ACCOUNT}/refuse",
            {},
            {"account": ACCOUNT, "state": "refused"},
            f"refused: {ACCOUNT}",
        ),
        (
            ["roster", ACCOUNT],
            "POST",
            "/v1/roster",
            {"roster": [ACCOUNT]},
            {"roster": ["aa"]},
            "named: the header after the next is sealed by\naa",
        ),
        (
            ["roster", ACCOUNT, "--force"],
            "POST",
            "/v1/roster",
            {"roster": [ACCOUNT], "force": True},
            {"roster": ["aa"]},
            "named: the header after the next is sealed by\naa",
        ),
        (
            ["approve"],
            "GET",
            "/v1/applications",
            None,
            {"applications": [{"id": ACCOUNT, "memo": "\x1b[2Jhi"}]},
            f"{ACCOUNT}  \\x1b[2Jhi",
        ),
        (
            ["status"],
            "GET",
            "/v1/status",
            None,
            {"healthy": False, "group": {"level": 1, "prefix": ""}, "reasons": [{"code": "a", "message": "b"}]},
            "healthy  no\ngroup    level 1, prefix\na: b",
        ),
    ],
)
def test_one_request(
    run: Run, node: StandIn, argv: list[str], method: str, path: str, body: Any, answer: Any, line: str
) -> None:
    """What is asked, as JSON and in words; a terminal gets no control characters from strangers."""
    node.answers[path.partition("?")[0]] = 200, answer
    assert run.json(*argv) == (0, answer)
    assert run(*argv) == (0, line + "\n", "")
    assert [asked[:3] for asked in node.asked] == 2 * [(method, path, body)]


@pytest.mark.parametrize("argv", [["roster", "--force"], ["approve", "--refuse"], ["run", "--announce", "a:1"]])
def test_options_that_need_somebody(run: Run, node: StandIn, argv: list[str]) -> None:
    """Without whom they are for, nothing is asked."""
    code, value = run.json(*argv)
    assert (code, value["error"]["code"]) == (2, "usage")
    assert node.asked == []


def test_pay_waits_for_the_seal(run: Run, node: StandIn) -> None:
    """Pending until it is credited; the key travels in its header."""
    states = iter(["pending", "pending", "credited"])
    node.answers["/v1/transfers"] = 202, {"id": TRANSFER["id"], "state": "pending", "repeated": False}
    node.answers[f"/v1/transfers/{TRANSFER['id']}"] = lambda _: (200, {**TRANSFER, "state": next(states)})
    code, value = run.json("pay", "leither:x", "--amount", "5", "--account", ACCOUNT, "--idempotency-key", "k")
    assert (code, value) == (0, {**TRANSFER, "repeated": False})
    first = node.asked[0]
    assert first[:3] == ("POST", "/v1/transfers", {"invoice": "leither:x", "amount": 5, "account": ACCOUNT})
    assert first.headers["idempotency-key"] == "k"
    assert len(node.asked) == 4


def test_pay_without_waiting(run: Run, node: StandIn) -> None:
    """It was accepted, and no more is said."""
    node.answers["/v1/transfers"] = 202, {"id": TRANSFER["id"], "state": "pending", "repeated": False}
    code, out, _ = run("pay", "leither:x", "--wait", "0")
    assert (code, out) == (0, f"accepted: transfer {TRANSFER['id']} waits for its seal\n")
    assert node.asked[0].body == {"invoice": "leither:x"}
    assert len(node.asked) == 1


def test_paid_before(run: Run, node: StandIn) -> None:
    """Nothing is paid again, and that is said."""
    node.answers["/v1/transfers"] = 200, {"id": TRANSFER["id"], "state": "credited", "repeated": True}
    node.answers[f"/v1/transfers/{TRANSFER['id']}"] = 200, TRANSFER
    assert "nothing was paid again" in run("pay", "leither:x")[1]


def test_a_transfer_that_the_seal_refuses(run: Run, node: StandIn) -> None:
    """Exit 1, with the ledger's reason as its code."""
    node.answers["/v1/distributions"] = 202, {"id": TRANSFER["id"], "state": "pending", "repeated": False}
    refused = {**TRANSFER, "state": "refused", "reason": "expired"}
    node.answers[f"/v1/transfers/{TRANSFER['id']}"] = 200, refused
    code, value = run.json("distribute", ACCOUNT, "5", "a grant")
    assert (code, value["error"]["code"]) == (1, "expired")
    assert node.asked[0].body == {"account": ACCOUNT, "amount": 5, "reason": "a grant"}


def test_a_seal_that_does_not_come(run: Run, node: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress once a second, an end to the waiting, and a transfer that may still be sealed: exit 1."""
    clock = iter(number / 2 for number in range(100))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr("time.sleep", lambda _: None)
    node.answers["/v1/transfers"] = 202, {"id": TRANSFER["id"], "state": "pending", "repeated": False}
    node.answers[f"/v1/transfers/{TRANSFER['id']}"] = 200, {**TRANSFER, "state": "pending"}
    code, out, err = run("pay", "leither:x", "--wait", "5")
    assert (code, out) == (1, "")
    assert f"waiting for the seal of transfer {TRANSFER['id']}: 2 s" in err
    assert err.splitlines()[-1].startswith("leither-lite: still_pending: ")


def test_proof_to_stdout_and_to_a_file(run: Run, node: StandIn, tmp_path: Path) -> None:
    """Byte for byte as the node gives it."""
    proof = json.dumps(VECTORS["proofs"][0], separators=(",", ":")).encode() + b"\n"
    node.answers["/v1/account"] = 200, {"account": ACCOUNT}
    node.answers[f"/v1/accounts/{ACCOUNT}/proof"] = 200, proof
    assert run("proof")[:2] == (0, proof.decode())
    assert run.json("proof", ACCOUNT) == (0, VECTORS["proofs"][0])
    assert run("proof", ACCOUNT, "--pulse", "3", "--out", str(tmp_path / "proof.json"))[0] == 0
    assert (tmp_path / "proof.json").read_bytes() == proof
    assert [asked.path for asked in node.asked] == [
        "/v1/account",
        *2 * [f"/v1/accounts/{ACCOUNT}/proof"],
        f"/v1/accounts/{ACCOUNT}/proof?pulse=3",
    ]
    code, value = run.json("proof", ACCOUNT, "--out", str(tmp_path / "none" / "proof.json"))
    assert (code, value["error"]["code"]) == (2, "unwritable_file")


def test_run_is_given_what_was_asked(alone: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses parsed, and the exit code passed on; a Halt is exit 4."""
    given: list[Any] = []

    def service(*args: Any) -> int:
        given.append(args)
        if args[2]:
            raise Halt("double_vote", "stop")
        return 0

    monkeypatch.setattr("leither_lite.edge.service.run", service)
    assert alone("run")[:2] == (0, "")
    more = ("--announce", "box:1", "--board", "boards/nas.toml")
    assert alone("run", "--listen", "[::1]:7370", "--api", "127.0.0.1:0", "--restored", *more)[0] == 4
    assert given == [
        (data, Places(None, None, ("127.0.0.1", 8080)), False, None),
        (data, Places(("::1", 7370), "box:1", ("127.0.0.1", 0)), True, Path("boards/nas.toml")),
    ]


def test_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The object is the charter's, which `verify` takes; the second time is exit 1."""
    argv = ["found", "--data", str(tmp_path / "d"), "--name", "Test", "--supply", "5", "--pulse-ms", "50", "--json"]
    assert main(argv) == 0
    value = json.loads(capsys.readouterr().out)
    assert value.pop("data") == str(tmp_path / "d")
    assert SignedCharter.from_json(value).to_json() == value == json.loads((tmp_path / "d/charter.json").read_text())
    assert (value["name"], value["supply"], value["pulse_ms"]) == ("Test", 5, 50)
    assert main(argv) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "already_founded"


def test_found_with_small_groups(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The charter says what was asked for."""
    argv = ["found", "--data", str(tmp_path / "d"), "--json", "--roster-max", "7", "--group-max", "8"]
    assert main([*argv, "--term-ticks", "20"]) == 0
    value = json.loads(capsys.readouterr().out)
    del value["data"]
    assert SignedCharter.from_json(value).charter.rules == (7, 8, 20)


def test_doctor(alone: Run, data: Path) -> None:
    """Exit 0 with nothing wrong or only warnings, 1 with an error; each finding with what to do."""
    code, value = alone.json("doctor", "--full")
    assert (code, value["errors"]) == (0, 0)
    data.chmod(0o755)
    code, out, _ = alone("doctor")
    assert code == 0
    assert f"         -> chmod 700 {data}\n" in out
    assert out.endswith("0 errors, 1 warnings\n")
    (data / "node.key").unlink()
    code, value = alone.json("doctor")
    assert (code, value["errors"]) == (1, 1)
    assert {"level", "code", "message", "action"} == set(value["findings"][0])
