"""The command line: the exit code of every kind of failure, in words and as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from leither_lite.cli import main
from tests.commands import ROOT, Run
from tests.edge.folders import founded
from tests.vectors.ledger import TRUST

ACCOUNT: Final = "00" * 19 + "ff"
KEYS: Final = (
    "--organization-key",
    TRUST.organization_key.hex(),
    "--roster",
    ",".join(key.hex() for key in TRUST.roster),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A founded folder."""
    return founded(tmp_path / "data")


@pytest.fixture
def alone(capsys: pytest.CaptureFixture[str], data: Path) -> Run:
    """Commands without a node."""
    return Run(capsys, data, None)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        (["invoice"], "AMOUNT"),
        (["invoice", "many"], "amount must be a whole number from 0"),
        (["invoice", "-1"], "amount must be a whole number"),
        (["invoice", "1.5"], "amount must be a whole number"),
        (["invoice", "1_000"], "amount must be a whole number"),
        (["invoice", "١"], "amount must be a whole number"),
        (["invoice", str(2**53)], "amount must be a whole number"),
        (["invoice", "9" * 5_000], "amount must be a whole number"),
        (["distribute", ACCOUNT, "0", "r"], "amount must be a whole number from 1"),
        (["distribute", ACCOUNT[1:], "1", "r"], "an id must be 40 lower-case hex digits"),
        (["account", "F" * 40], "an id must be 40 lower-case hex digits"),
        (["account", "--new", ACCOUNT], "give one of them"),
        (["approve", ACCOUNT, "--role", "organization"], "--role"),
        (["pay", "x", "--wait", "soon"], "wait must be a whole number"),
        (["pay", "x", "--wai", "1"], "unrecognized arguments"),
        (["key"], "export|import"),
        (["found", "--supply", "0"], "supply must be a whole number from 1"),
        (["found", "--name", ""], "a name is"),
        (["found", "--pulse-ms", "9"], "milliseconds"),
        (["found", "--group-max", "3"], "group-max must be a whole number from 4"),
        (["found", "--group-max", "257"], "group-max must be a whole number from 4"),
        (["found", "--term-ticks", "9"], "term-ticks must be a whole number from 10"),
        (["verify", "proof.json"], "--charter FILE, or --organization-key"),
        (["verify", "proof.json", "--organization-key", "00"], "--charter FILE, or --organization-key"),
        (["verify", "proof.json", "--charter", "c", "--roster", "00"], "--charter FILE, or --organization-key"),
        (["verify", "proof.json", "--organization-key", "00", "--roster", "00"], "64 lower-case hex digits"),
        (["verify", "proof.json", *KEYS[:3], f"{KEYS[3]},{KEYS[3]}"], "1, 3, 4 or 7 keys"),
        (["verify", "none.json", *KEYS], "No such file"),
    ],
)
def test_wrong_command_lines(capsys: pytest.CaptureFixture[str], argv: list[str], told: str) -> None:
    """Exit 2, in words and as JSON."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert main([*argv, "--json"]) == 2
    assert told in json.loads(capsys.readouterr().out)["error"]["message"]


def test_trouble_with_the_store_is_exit_4(alone: Run, data: Path) -> None:
    """A node that cannot start says why."""
    os.truncate(data / "ledger.mdb", 5_000)
    code, value = alone.json("run")
    assert (code, value["error"]["code"]) == (4, "store_corrupt")


def test_trouble_that_nobody_foresaw_is_exit_4(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system refuses is told in its own words, and never as a trace."""

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "data")

    monkeypatch.setattr("leither_lite.edge.doctor.examine", refused)
    code, value = alone.json("doctor")
    assert (code, value["error"]["code"]) == (4, "system")
    assert "Permission denied" in value["error"]["message"]


def test_a_terminal_without_our_letters(tmp_path: Path) -> None:
    """Gets their numbers."""
    argv = [sys.executable, "-m", "leither_lite", "pay", "--help"]
    environment = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert "leither:invoice/\\u2026" in done.stdout


def test_interrupted(alone: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As shells expect it."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("leither_lite.edge.client.Client.of", interrupted)
    assert alone.json("status") == (130, {"error": {"code": "interrupted", "message": "stopped before it was done"}})


def test_stdout_that_is_closed_is_no_error(data: Path, tmp_path: Path) -> None:
    """`leither-lite … | head` ends quietly."""
    command = f"{sys.executable} -m leither_lite doctor --data {data}; echo $? >{tmp_path}/code"
    done = subprocess.run(
        ["sh", "-c", f"({command}) | true"],
        env={"PYTHONPATH": str(ROOT), "PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stderr, (tmp_path / "code").read_text()) == ("", "0\n")


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["pay", "--help"], ["key", "import", "--help"]])
def test_help(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    """Exit 0, on stdout."""
    with pytest.raises(SystemExit) as done:
        main(argv)
    assert done.value.code == 0
    assert "leither-lite" in capsys.readouterr().out
