"""The organization's word on where its chain stands: signed here, never in the node (docs/cli.md, `checkpoint`).

Decides what the organization's key signs: only a root header that the charter's roster has sealed, as its own proof
shows.
"""

from __future__ import annotations

from typing import Any, Final

from leither_lite.edge.client import ApiError, Client
from leither_lite.errors import LocalError
from leither_lite.header import Checkpoint, encode_roster, header_digest
from leither_lite.identity import Key
from leither_lite.organization import SignedCharter
from leither_lite.tree.proof import Trust, verify
from leither_lite.tree.proof_json import decode_json

ATTEMPTS: Final = 5
"""A busy chain goes on between the look and the word."""


def sign_newest(client: Client, organization: Key) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sign the newest root header, and have the node take the checkpoint: that, as JSON, and the node's answer.

    Raises LocalError: other_key (not this organization's), checkpoint_not_newest (the chain went on each time), and
    what the client raises; RemoteError where what the node shows does not hold.
    """
    charter = SignedCharter.from_json(client.get("/v1/charter")).charter
    if charter.organization_key != organization.public:
        raise LocalError("other_key", f"this is not the key of organization {charter.network.hex()}")
    account = client.get("/v1/account")["account"]
    for attempt in range(ATTEMPTS):
        proof = decode_json(client.content(f"/v1/accounts/{account}/proof"))
        shown = verify(proof, Trust(charter.organization_key, charter.roster))
        root = proof.root
        if root.handovers:
            roster = root.handovers[-1].roster
        else:
            roster = encode_roster(charter.roster) if root.checkpoint is None else root.checkpoint.roster
        signed = Checkpoint.sign(organization, charter.network, shown.pulse, header_digest(root.header), roster)
        value = {
            "pulse": signed.pulse,
            "digest": signed.digest.hex(),
            "roster": signed.roster.hex(),
            "signature": signed.signature.hex(),
        }
        try:
            return value, client.post("/v1/checkpoints", value)
        except ApiError as error:
            if error.code != "checkpoint_not_newest" or attempt == ATTEMPTS - 1:
                raise
    raise LocalError("checkpoint_not_newest", "the chain goes on faster than it can be signed")
