"""A real node in a process of its own, and every command on it: found, run, pay, prove, stop, restore."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leither_lite.board import Board
from leither_lite.edge import lmdb
from leither_lite.edge.service import open_store
from leither_lite.errors import Halt
from leither_lite.store import keys
from tests.commands import ROOT, Run, python
from tests.edge.folders import SUPPLY, founded, overwrite

ABSENT = "01" * 20


@contextmanager
def running(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A node on a folder, from the line that says that it is up, until SIGTERM has ended it well."""
    argv = [sys.executable, "-m", "leither_lite", "run", "--data", str(folder), "--api", "127.0.0.1:0", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as node:
        assert node.stdout is not None
        said = []
        try:
            for line in node.stdout:
                said.append(line)
                if "token " in line:
                    break
            assert said, "the node ended without a word"
            assert "token " in said[-1], said
            yield node
        finally:
            node.send_signal(signal.SIGTERM)
            rest = node.stdout.read()
    assert (node.returncode, rest) == (0, "leither-lite: stopped\n"), said


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A founded folder whose pulses come 20 times a second."""
    return founded(tmp_path / "data", pulse_ms=50)


def new_account(alone: Run) -> str:
    """A further account, once its admission is sealed."""
    account = str(alone.json("account", "--new")[1]["account"])
    # A distribution within the same pulse or the next is sealed behind the admission.
    assert alone("distribute", account, "100", "for the test")[0] == 0
    return account


def test_a_life(alone: Run, data: Path, tmp_path: Path) -> None:
    """Accounts, a distribution, a payment, proofs that verify elsewhere, a checkpoint, a stop, and a sound store."""
    assert alone("status")[0] == 3
    with running(data):
        assert alone.json("status")[1]["healthy"] is True
        assert alone.json("run", "--api", "127.0.0.1:0")[1]["error"]["code"] == "folder_in_use"
        account = new_account(alone)
        invoice = alone("invoice", "7", "--memo", "tea")[1].strip()
        code, paid = alone.json("pay", invoice, "--account", account)
        assert (code, paid["state"], paid["amount"], paid["repeated"]) == (0, "credited", 7, False)
        again = alone.json("pay", invoice, "--account", account)[1]
        assert (again["id"], again["repeated"]) == (paid["id"], True)
        assert alone.json("pay", invoice)[1]["error"]["code"] == "payer_is_payee"
        assert alone.json("account", account)[1]["balance"] == 93
        assert alone.json("account")[1]["balance"] == 7
        assert alone("approve")[1] == "nobody is waiting\n"
        assert alone("approve", ABSENT)[0] == 1
        assert alone("invite")[1].startswith("leither:invite/")

        empty = tmp_path / "empty"
        empty.mkdir()
        shutil.copy(data / "charter.json", empty)
        for name, told in ((account, "balance       93\n"), (ABSENT, "record        absent\n")):
            assert alone("proof", name, "--out", str(empty / "proof.json"))[0] == 0
            done = python("-m", "leither_lite", "verify", "--charter", "charter.json", "proof.json", cwd=empty)
            assert (done.returncode, done.stderr) == (0, "")
            assert told in done.stdout
        signed = alone.json("checkpoint")[1]
        assert signed["pulse"] == paid["pulse"]
        assert alone("proof", account, "--out", str(empty / "proof.json"))[0] == 0
        done = python("-m", "leither_lite", "verify", "--charter", "charter.json", "proof.json", cwd=empty)
        assert "age of trust  0 pulses\n" in done.stdout
        code, value = alone.json("doctor")
        assert (code, value["findings"][-1]["code"]) == (0, "healthy")
    assert not (data / "api-address").exists()
    assert alone("status")[0] == 3
    code, value = alone.json("doctor", "--full")
    assert (code, value["findings"][-1]["code"], value["errors"]) == (0, "store", 0)
    with running(data):
        status = alone.json("status")[1]
        assert (status["pulse"], status["supply"], status["healthy"]) == (paid["pulse"], SUPPLY, True)


def test_a_restored_copy(alone: Run, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Does not run before it is told --restored, and then keeps no books before the organization's next checkpoint."""
    with running(data):
        account = new_account(alone)
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    restored = Run(capsys, copy, None)
    code, value = restored.json("run", "--api", "127.0.0.1:0")
    assert (code, value["error"]["code"]) == (4, "store_restored")
    with running(copy, "--restored"):
        asked = (restored.json("status")[1] for _ in range(10_000))
        status = next(status for status in asked if not status["healthy"])  # told with the first tick
        assert status["reasons"][0]["code"] == "awaiting_checkpoint"
        code, value = restored.json("distribute", account, "1", "too early")
        assert (code, value["error"]["code"]) == (1, "awaiting_checkpoint")
        assert restored("doctor")[0] == 1
        assert restored.json("checkpoint")[1]["term"] == status["term"] + 1
        assert restored("distribute", account, "1", "at last")[0] == 0
        assert restored.json("account", account)[1]["balance"] == 101
    assert restored("doctor", "--full")[0] == 0
    with running(copy):
        assert restored.json("status")[1]["term"] == status["term"] + 1


def test_a_store_of_an_older_program(data: Path) -> None:
    """What is in it would seem damaged to this one; nothing of it is looked at, and nothing changed."""
    overwrite(data, (keys.CHARTER, b"\x80"), (keys.SCHEMA, (1).to_bytes(4, "big")))
    before = (data / lmdb.FILE).read_bytes()
    with pytest.raises(Halt, match="older leither-lite") as caught:
        open_store(data, Board())
    assert caught.value.code == "store_older_schema"
    assert (data / lmdb.FILE).read_bytes() == before
