"""The vectors of docs/protocol.md, section 2, as the tests take them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from leither_lite.header import Signatures
from leither_lite.tree.proof import BranchStep, Path as ProofPath, Trust

VECTORS: Final[dict[str, Any]] = json.loads((Path(__file__).parent / "ledger.json").read_text())
NETWORK: Final = bytes.fromhex(VECTORS["network"])
TRUST: Final = Trust(
    bytes.fromhex(VECTORS["organization"]), tuple(bytes.fromhex(key) for key in VECTORS["charter_roster"])
)


def unhex(texts: dict[str, Any]) -> dict[str, bytes]:
    """The hex values of a vector as bytes; what is no text is left out."""
    return {name: bytes.fromhex(text) for name, text in texts.items() if isinstance(text, str)}


def signatures(pairs: list[list[str]]) -> Signatures:
    """Signatures from their hex."""
    return tuple((bytes.fromhex(key), bytes.fromhex(signature)) for key, signature in pairs)


def branches(path: list[dict[str, Any]]) -> ProofPath:
    """A path within a tree, without groups."""
    return tuple(BranchStep(step["branch"], bytes.fromhex(step["sibling"])) for step in path)
