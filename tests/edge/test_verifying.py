"""`verify`: every vector, good and wrong; charters that do not hold; and what it needs, which is two files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leither_lite.cli import main
from tests.commands import python
from tests.edge.chain import genesis_proof
from tests.vectors.ledger import TRUST, VECTORS

KEYS = ("--organization-key", TRUST.organization_key.hex(), "--roster", ",".join(key.hex() for key in TRUST.roster))


@pytest.mark.parametrize("shown", VECTORS["proofs"] + VECTORS["absence"])
def test_verify_takes_every_good_vector(capsys: pytest.CaptureFixture[str], tmp_path: Path, shown: Any) -> None:
    """Of presence and of absence."""
    (tmp_path / "proof.json").write_text(json.dumps(shown))
    assert main(["verify", *KEYS, str(tmp_path / "proof.json"), "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["holds"] is True
    assert value["account"] == shown.get("id", shown.get("absent"))
    assert value["kind"] == ("present" if "id" in shown else "absent")
    assert value.get("leaf_pulse") == shown.get("pulse")
    assert ("record" in value) is ("id" in shown)


@pytest.mark.parametrize("wrong", VECTORS["wrong_proofs"], ids=lambda wrong: wrong["why"][:40])
def test_verify_refuses_every_wrong_vector(capsys: pytest.CaptureFixture[str], tmp_path: Path, wrong: Any) -> None:
    """Exit 1, with a reason."""
    content = wrong["proof"] if "proof" in wrong else wrong["json"]
    (tmp_path / "proof.json").write_text(content if isinstance(content, str) else json.dumps(content))
    assert main(["verify", *KEYS, str(tmp_path / "proof.json"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"]


def test_verify_reads_no_more_than_a_proof_can_have(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file without an end is no danger; one that cannot be read is a usage error."""
    assert main(["verify", *KEYS, "/dev/zero"]) == 1
    assert "json_size" in capsys.readouterr().err
    assert main(["verify", *KEYS, str(tmp_path)]) == 2
    assert "unreadable_file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda text: text[:-10], "charter_syntax"),
        (lambda text: "[" * 100_000, "charter_syntax"),
        (lambda text: "x" * 70_000, "charter_syntax"),
        (lambda text: "[]", "bad_charter"),
        (lambda text: text.replace('"name": "Test"', '"name": "Best"'), "charter_mismatch"),
        (lambda text: text.replace("54657374", "42657374"), "charter_signature"),
    ],
)
def test_charters_that_do_not_hold(
    capsys: pytest.CaptureFixture[str], data: Path, tmp_path: Path, change: Callable[[str], str], code: str
) -> None:
    """Nothing is trusted that the organization has not signed."""
    text = (data / "charter.json").read_text()
    assert change(text) != text
    (tmp_path / "charter.json").write_text(change(text))
    assert main(["verify", "--charter", str(tmp_path / "charter.json"), "proof.json", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == code


def test_verify_needs_two_files_only(data: Path, tmp_path: Path) -> None:
    """In another process, in a folder with nothing else; and it loads neither store nor API nor event loop."""
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(data / "charter.json", empty)
    proof = genesis_proof(data)
    (empty / "proof.json").write_text(json.dumps(proof))
    argv = ("verify", "--charter", "charter.json", "proof.json")
    done = python("-m", "leither_lite", *argv, cwd=empty)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("the proof holds\n")
    assert "age of trust  0 pulses\n" in done.stdout
    (empty / "proof.json").write_text(json.dumps(proof | {"pulse": 1}))
    done = python("-m", "leither_lite", *argv, cwd=empty)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("leither-lite: path_not_header: ")
    loaded = "import sys; from leither_lite.cli import main; main(sys.argv[1:]); print(*sys.modules)"
    modules = set(python("-c", loaded, *argv, cwd=empty).stdout.split())
    assert "leither_lite.tree.proof" in modules
    heavy = {"aiohttp", "asyncio", "http.client", "lmdb", "socket", "uvloop", "leither_lite.edge.service"}
    assert modules & heavy == set()
