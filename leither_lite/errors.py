"""The kinds of failure and what becomes of each.

`RemoteError`: what a peer or a stranger sent is wrong: drop it, count it against the sender.
`LocalError`: our own caller asked for something that cannot be done: a 4xx with a stable code.
`Halt`: a broken invariant or a store that cannot be trusted or written: stop, recover from the store.
Outcomes of operations on the ledger are no exceptions: they are `ledger.operations.Status` values.
"""

from __future__ import annotations


class RemoteError(Exception):
    """What somebody else sent cannot be taken. `reason` is a stable code in snake_case; `detail` is for people."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class LocalError(Exception):
    """A caller on this machine asked for what cannot be done. `code` is a stable code, `message` says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Halt(Exception):
    """The node cannot go on keeping books. `code` is a stable code, `message` says what happened and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
