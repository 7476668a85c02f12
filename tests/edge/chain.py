"""A stand-in's chain: it stands at the genesis of a founded folder, and shows what a node would show of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from leither_lite.edge import keyfile
from leither_lite.ledger import group as ledger
from leither_lite.organization import SignedCharter
from leither_lite.tree.proof import BranchStep, GroupStep, Path as ProofPath, Proof, SealedRoot
from leither_lite.tree.proof_json import proof_object
from tests.edge.folders import opened
from tests.stand_in import Asked, StandIn


def genesis_proof(data: Path) -> dict[str, Any]:
    """The proof of the founder's account, as of the genesis."""
    charter = SignedCharter.from_json(json.loads((data / "charter.json").read_bytes())).charter
    key = keyfile.load(data / "node.key")
    with opened(data) as store:
        group = ledger.load(store, charter.network, charter.supply)
    found = group.tree.path(key.account)
    assert found is not None
    header = group.header
    step = GroupStep(header.level, header.bits, header.prefix, header.pulse, group.sealed.meta)
    root = SealedRoot(group.sealed.header_bytes, group.sealed.signatures)
    path: ProofPath = (*(BranchStep(depth, sibling) for depth, sibling in found.steps), step)
    return proof_object(Proof(key.account, group.entries[key.account].record.encode(), 0, path, root))


def proof_path(data: Path) -> str:
    """Where the API shows that proof."""
    return f"/v1/accounts/{keyfile.load(data / 'node.key').account.hex()}/proof"


def play(node: StandIn, data: Path, attempts: int = 1) -> list[Any]:
    """Have the stand-in take the `attempts`-th checkpoint: before, its chain goes on. What it was sent, so far."""
    sent: list[Any] = []

    def take(asked: Asked) -> tuple[int, Any]:
        sent.append(asked.body)
        if len(sent) < attempts:
            return 409, {"error": {"code": "checkpoint_not_newest", "message": "it has gone on"}}
        return 200, {"term": 1}

    node.answers["/v1/charter"] = 200, json.loads((data / "charter.json").read_bytes())
    node.answers["/v1/account"] = 200, {"account": keyfile.load(data / "node.key").account.hex()}
    node.answers[proof_path(data)] = 200, genesis_proof(data)
    founder = keyfile.load(data / "node.key").public.hex()
    node.answers["/v1/roster"] = 200, {"roster": [{"key": founder}], "willing": []}
    node.answers["/v1/peers"] = 200, {"peers": []}
    node.answers["/v1/checkpoints"] = take
    return sent
