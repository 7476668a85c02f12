"""Bugs to be planted one at a time: mistakes that somebody could make in the core, each against one of its promises.

A simulator that does not find them proves nothing by finding no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final
from unittest.mock import patch

from leither_lite.codec import Value
from leither_lite.header import Signatures
from leither_lite.ledger.body import Body
from leither_lite.ledger.records import Record, Role
from leither_lite.pulse import log
from leither_lite.pulse.agreement import Agreement, Decided, Lock, _Round
from leither_lite.pulse.engine import Engine
from leither_lite.pulse.votes import NIL, Vote


@contextmanager
def no_write_ahead() -> Iterator[None]:
    """What a member has signed is remembered in memory only."""

    def write(self: Engine, kind: int, round_: int, value: Value) -> None:
        self._log[log.row_key(kind, round_)] = None

    with patch.object(Engine, "_write", write):
        yield


@contextmanager
def forgotten_lock() -> Iterator[None]:
    """A member votes for whatever is proposed, whatever it has precommitted before."""
    take_up = Agreement._take_up_proposal

    def forgetful(self: Agreement, kept: _Round) -> bool:
        self.locked_round, self.locked = -1, NIL
        return take_up(self, kept)

    with patch.object(Agreement, "_take_up_proposal", forgetful):
        yield


@contextmanager
def rounds_added_up() -> Iterator[None]:
    """Votes for a digest count, of whichever round they are."""

    def of_all_rounds(self: Agreement, step: int) -> dict[tuple[bytes, bytes], Vote]:
        kept = [votes for _, each in sorted(self._rounds.items()) for votes in each.votes(step).values()]
        return {(vote.digest, vote.key): vote for vote in kept}

    def counts(self: Agreement, kept: _Round, step: int) -> dict[bytes, int]:
        digests = [digest for digest, _ in of_all_rounds(self, step)]
        return {digest: digests.count(digest) for digest in digests}

    def quorum_of(self: Agreement, round_: int, step: int, digest: bytes) -> Signatures:
        votes = of_all_rounds(self, step)
        found = [(key, votes[digest, key].signature) for key in self.roster if (digest, key) in votes]
        return tuple(found[: self.quorum]) if len(found) >= self.quorum else ()

    with patch.object(Agreement, "_counts", counts), patch.object(Agreement, "quorum_of", quorum_of):
        yield


@contextmanager
def credit_twice() -> Iterator[None]:
    """Every payment is carried out twice, so that nothing is lost in sum."""

    def move(self: Body, payer: bytes, payee: bytes, amount: int, kind: int, ref: bytes) -> None:
        entries = self.group.entries
        balance, frozen, sent, role, votes = entries[payer].record
        twice = min(2 * amount, balance) if role != Role.ORGANIZATION else amount
        self._set(payer, Record(balance - twice, frozen, sent + 1, role, votes))
        balance, frozen, sent, role, votes = entries[payee].record
        self._set(payee, Record(balance + twice, frozen, sent, role, votes))

    with patch.object(Body, "_move", move):
        yield


@contextmanager
def credit_from_nothing() -> Iterator[None]:
    """The payee is credited twice, and the payer debited once."""
    move = Body._move

    def generous(self: Body, payer: bytes, payee: bytes, amount: int, kind: int, ref: bytes) -> None:
        move(self, payer, payee, amount, kind, ref)
        if self.group.entries[payer].record.role != Role.ORGANIZATION:
            balance, frozen, sent, role, votes = self.group.entries[payee].record
            self._set(payee, Record(balance + amount, frozen, sent, role, votes))

    with patch.object(Body, "_move", generous):
        yield


@contextmanager
def two_successors() -> Iterator[None]:
    """A member seals as soon as a quorum has prevoted, and forgets that it has sealed before."""
    keep_lock = Engine._lock

    def hasty(self: Engine, lock: Lock) -> None:
        keep_lock(self, lock)
        self._own_seal = None
        self._seal(Decided(lock.round, lock.digest), 0)

    with patch.object(Engine, "_lock", hasty):
        yield


@contextmanager
def torn_commit() -> Iterator[None]:
    """The disk keeps what was written of a transaction, though it was cut in the middle."""
    from leither_lite.sim.disk import Disk

    cut = Disk.cut

    def tearing(self: Disk, random: Any, *, turned: bool) -> int:
        torn = cut(self, random, turned=turned)
        self.write(self.debris)
        return torn

    with patch.object(Disk, "cut", tearing):
        yield


PLANTS: Final[dict[str, Callable[[], AbstractContextManager[None]]]] = {
    "no write-ahead": no_write_ahead,
    "a forgotten lock": forgotten_lock,
    "votes of two rounds added up": rounds_added_up,
    "a credit twice": credit_twice,
    "a credit from nothing": credit_from_nothing,
    "a seal for two successors": two_successors,
    "a torn commit": torn_commit,
}
