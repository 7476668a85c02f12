"""The organization's word on where its chain stands: signed here, never in the node (docs/cli.md, `checkpoint`).

Decides what the organization's key signs: only a root header that the charter's roster, or who it handed over to, has
sealed, as its own proof shows; who seals next is the caller's word, or the node's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from leither_lite.edge.client import ApiError, Client
from leither_lite.errors import LocalError, RemoteError
from leither_lite.header import Checkpoint, encode_roster, header_digest
from leither_lite.identity import Key, account_id, from_hex
from leither_lite.limits import KEY_BYTES
from leither_lite.organization import SignedCharter
from leither_lite.tree.proof import Trust, verify
from leither_lite.tree.proof_json import decode_json

ATTEMPTS: Final = 5
"""A busy chain goes on between the look and the word."""


def sign_newest(client: Client, organization: Key, nodes: Sequence[str] = ()) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sign the newest root header, and have the node take the checkpoint: that, as JSON, and the node's answer.

    `nodes`: who is to seal next (public keys, or accounts of nodes that the node knows, in hex), by default who may
    seal now, as the node says. Raises LocalError: other_key (not this organization's), checkpoint_not_newest (the chain
    went on each time), unknown_node, bad_roster, and what the client raises; RemoteError where what the node shows does
    not hold.
    """
    charter = SignedCharter.from_json(client.get("/v1/charter")).charter
    if charter.organization_key != organization.public:
        raise LocalError("other_key", f"this is not the key of organization {charter.network.hex()}")
    account = client.get("/v1/account")["account"]
    for attempt in range(ATTEMPTS):
        proof = decode_json(client.content(f"/v1/accounts/{account}/proof"))
        shown = verify(proof, Trust(charter.organization_key, charter.roster))
        roster = _roster(client, nodes)
        signed = Checkpoint.sign(organization, charter.network, shown.pulse, header_digest(proof.root.header), roster)
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


def _roster(client: Client, nodes: Sequence[str]) -> bytes:
    """The CBOR of the roster to be named."""
    told = client.get("/v1/roster")
    known = [*told["roster"], *told["willing"], *(client.get("/v1/peers")["peers"] if nodes else ())]
    keys = {account_id(bytes.fromhex(each["key"])).hex(): each["key"] for each in known}
    named = []
    for node in nodes or [each["key"] for each in told["roster"]]:
        key = node if len(node) == 2 * KEY_BYTES else keys.get(node)
        if key is None:
            raise LocalError("unknown_node", f"this node has not heard of a node with account {node}: give its key")
        named.append(key)
    try:
        return encode_roster([from_hex(key, KEY_BYTES) for key in named])
    except (ValueError, RemoteError) as error:
        raise LocalError("bad_roster", f"a roster has 1, 3, 4 or 7 different public keys ({error})") from None
