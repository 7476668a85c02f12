"""A stranger's check of many proofs: `python -m tests.live.verifier CHARTER.json` takes one proof a line on stdin.

Answers one JSON line for each: account, balance with what is frozen, pulse, and the sum in the header's node. Knows the
proofs' room of the package only; ends with 1 and the reason at the first proof that does not hold.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from leither_lite.errors import RemoteError
from leither_lite.header import Header
from leither_lite.tree.node import node_sum
from leither_lite.tree.proof import Trust, verify
from leither_lite.tree.proof_json import decode_json

# Whoever has any of these could ask a node, or look into a store.
FORBIDDEN: Final = ("lmdb", "aiohttp", "uvloop", "asyncio", "socket", "leither_lite.edge", "leither_lite.node")


def main() -> int:
    """Check every line."""
    charter = json.loads(Path(sys.argv[1]).read_text())
    trust = Trust(
        bytes.fromhex(charter["organization_key"]), tuple(bytes.fromhex(member) for member in charter["roster"])
    )
    for line in sys.stdin:
        try:
            proof = decode_json(line.encode())
            verified = verify(proof, trust)
        except RemoteError as error:
            print(f"{error}: {line}", file=sys.stderr)
            return 1
        amount = 0 if verified.record is None else verified.record[0] + verified.record[1]
        total = node_sum(Header.decode(proof.root.header).node)
        shown = {"account": verified.account.hex(), "amount": amount, "pulse": verified.pulse, "sum": total}
        print(json.dumps(shown))
    known = [name for name in FORBIDDEN if name in sys.modules]
    if known:
        print(f"this verifier knows more than proofs: {known}", file=sys.stderr)
    return len(known)


if __name__ == "__main__":
    sys.exit(main())
