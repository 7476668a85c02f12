"""Who asks for an account and waits for a supervisor (docs/api.md, Joining).

Decides what is kept and where: what the node's own API was given lies on the disk, what came over the network in memory
only, so that no stranger wears out a card. Both are bounded; in memory the oldest goes. Never admits anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from leither_lite.board import Board
from leither_lite.codec import encode
from leither_lite.effects import Effects
from leither_lite.errors import LocalError
from leither_lite.ledger.joins import Application
from leither_lite.node.wallet import kept_application
from leither_lite.store import keys
from leither_lite.store.reader import Reader

REFUSED_MAX: Final = 1_024
"""So many refused applicants are remembered."""


class Applications:
    """`has_account` says whether an id needs no application any more."""

    def __init__(self, reader: Reader, board: Board, has_account: Callable[[bytes], bool]) -> None:
        self._reader = reader
        self._board = board
        self._has_account = has_account
        self._heard: dict[bytes, Application] = {}
        self._refused: dict[bytes, None] = {}

    def keep(self, effects: Effects, application: Application) -> None:
        """Keep on the disk what this node's own API was given. Raises LocalError("applications_full")."""
        account = application.account
        key = keys.application(account)
        waiting = self._reader.get(key)
        count = sum(1 for _ in self._reader.scan(*keys.APPLICATIONS))
        count += sum(1 for other, _ in effects.writes if other[:1] == keys.APPLICATIONS[0])
        if waiting is None and count >= self._board.applications_max:
            raise LocalError("applications_full", f"{count} applications wait already")
        content = encode([application.content, application.signature])
        if content != waiting:
            effects.writes.append((key, content))
        self._heard.pop(account, None)
        self._refused.pop(account, None)

    def hear(self, application: Application) -> bool:
        """Keep in memory what a peer has passed on; what is repeated stays longest. False for who was refused here."""
        account = application.account
        if account in self._refused:
            return False
        if self._reader.get(keys.application(account)) is None:
            self._heard.pop(account, None)
            if len(self._heard) >= self._board.applications_max:
                del self._heard[next(iter(self._heard))]
            self._heard[account] = application
        return True

    def get(self, account: bytes) -> Application:
        """The application of an account. Raises LocalError("unknown_application"), Halt("store_corrupt")."""
        content = self._reader.get(keys.application(account))
        application = self._heard.get(account) if content is None else kept_application(content)
        if application is None:
            raise LocalError("unknown_application", "nobody with that id has applied here")
        return application

    def drop(self, effects: Effects, account: bytes) -> None:
        """Forget an application, wherever it is."""
        self._heard.pop(account, None)
        if self._reader.get(keys.application(account)) is not None:
            effects.writes.append((keys.application(account), None))

    def refuse(self, effects: Effects, account: bytes) -> None:
        """Forget an application, and do not hear it again. Raises LocalError("unknown_application")."""
        self.get(account)
        self.drop(effects, account)
        if len(self._refused) >= REFUSED_MAX:
            del self._refused[next(iter(self._refused))]
        self._refused[account] = None

    def waiting(self) -> list[Application]:
        """All that wait: those on the disk, then those heard, oldest first. Raises Halt("store_corrupt")."""
        kept = [kept_application(content) for _, content in self._reader.scan(*keys.APPLICATIONS)]
        known = {application.account for application in kept}
        heard = [each for account, each in self._heard.items() if account not in known]
        return kept + [each for each in heard if not self._has_account(each.account)]
