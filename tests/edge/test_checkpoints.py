"""Checkpoints from the command line: what the organization signs, with which key, and what it does not sign."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from leither_lite.edge import keyfile
from leither_lite.header import Checkpoint
from leither_lite.identity import Key
from tests.commands import Run
from tests.edge.chain import genesis_proof, play, proof_path
from tests.stand_in import StandIn


@pytest.mark.parametrize("attempts", [1, 5])
def test_checkpoint(run: Run, node: StandIn, data: Path, tmp_path: Path, attempts: int) -> None:
    """What the node is sent is the organization's word on its newest header; a busy chain is tried again."""
    sent = play(node, data, attempts)
    code, value = run.json("checkpoint", "--out", str(tmp_path / "checkpoint.json"))
    assert (code, value["pulse"], value["term"]) == (0, 0, 1)
    assert json.loads((tmp_path / "checkpoint.json").read_text()) == sent[-1]
    assert len(sent) == attempts
    told = sent[-1]
    digest, roster, signature = (bytes.fromhex(told[name]) for name in ("digest", "roster", "signature"))
    organization = keyfile.load(data / "organization.key")
    Checkpoint(told["pulse"], digest, roster, signature).verify(organization.account, organization.public)


def test_checkpoint_of_a_chain_that_does_not_wait(run: Run, node: StandIn, data: Path) -> None:
    """It ends, with the node's own reason."""
    sent = play(node, data, 99)
    code, value = run.json("checkpoint")
    assert (code, value["error"]["code"], len(sent)) == (1, "checkpoint_not_newest", 5)


@pytest.mark.usefixtures("cheap")
def test_checkpoint_with_a_key_from_elsewhere(run: Run, node: StandIn, data: Path, tmp_path: Path) -> None:
    """The key that was taken away, as it is or as an export; another organization's is refused."""
    sent = play(node, data)
    shutil.move(data / "organization.key", tmp_path / "key")
    assert run.json("checkpoint")[1]["error"]["code"] == "key_missing"
    assert run("checkpoint", "--organization-key-file", str(tmp_path / "key"))[0] == 0
    (tmp_path / "passphrase").write_text("x")
    (tmp_path / "export").write_bytes(keyfile.export(keyfile.load(tmp_path / "key"), b"x"))
    given = ("--passphrase-file", str(tmp_path / "passphrase"))
    assert run("checkpoint", "--organization-key-file", str(tmp_path / "export"), *given)[0] == 0
    keyfile.store(tmp_path / "other", Key.from_seed(bytes(32)))
    assert run.json("checkpoint", "--organization-key-file", str(tmp_path / "other"))[1]["error"]["code"] == "other_key"
    assert len(sent) == 2


def test_the_organization_signs_nothing_that_its_roster_has_not_sealed(run: Run, node: StandIn, data: Path) -> None:
    """A node that shows another header gets no signature."""
    sent = play(node, data)
    proof = genesis_proof(data)
    wrong: dict[str, dict[str, Any]] = {
        "path_not_header": {"record": "850100000200"},
        "no_quorum": {"signatures": []},
        "bad_signature": {"signatures": [[proof["signatures"][0][0], "00" * 64]]},
    }
    for reason, changed in wrong.items():
        node.answers[proof_path(data)] = 200, proof | changed
        code, value = run.json("checkpoint")
        assert (code, value["error"]["code"]) == (1, reason)
    assert sent == []
