"""Data folders for tests: one that has just been founded, and one with sealed pulses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from leither_lite.board import Board
from leither_lite.edge import keyfile, lmdb, machine
from leither_lite.edge.founding import found
from leither_lite.edge.lmdb import Store
from leither_lite.effects import Write
from leither_lite.node import events as ev
from leither_lite.node.turn import Node
from leither_lite.node.wallet import Keyring

SUPPLY: Final = 1_000_000
MAP_BYTES: Final = 64 * 1024 * 1024


def founded(folder: Path, pulse_ms: int = 1_000) -> Path:
    """A folder with an organization in it."""
    found(folder, "Test", SUPPLY, pulse_ms)
    return folder


@contextmanager
def opened(folder: Path) -> Iterator[Store]:
    """The folder's store."""
    store = Store.open(folder / lmdb.FILE, MAP_BYTES)
    try:
        yield store
    finally:
        store.close()


def overwrite(folder: Path, *writes: Write) -> None:
    """Write values past the node, with good checksums."""
    with opened(folder) as store:
        store.write(list(writes))


def lived_in(folder: Path, pulses: int) -> Path:
    """A founded folder with `pulses` sealed pulses after the genesis, and a payment that waits for its seal."""
    founded(folder)
    with opened(folder) as store:
        _live(folder, store, pulses)
    return folder


def _live(folder: Path, store: Store, pulses: int) -> None:
    keyring = Keyring(keyfile.load(folder / keyfile.NODE_KEY), keyfile.load(folder / keyfile.ORGANIZATION_KEY))
    place = machine.place(folder / lmdb.FILE)
    node = Node(store, keyring, Board(), os.urandom, 0, place=place)
    now_ms = 0

    def ask(*events: ev.Event) -> list[dict[str, Any]]:
        effects = node.turn(events, now_ms)
        store.write(effects.writes)
        store.renew()
        taken = [reply.value for reply in effects.replies]
        assert all(isinstance(value, dict) for value in taken), taken
        return [value for value in taken if isinstance(value, dict)]

    def account(answer: dict[str, Any]) -> bytes:
        return bytes.fromhex(answer["account"])

    payer, payee = map(account, ask(ev.OpenAccount(0, "payer"), ev.OpenAccount(1, "payee")))
    ask(ev.Distribute(0, payer, 10 * pulses, "for the test", None))
    for number in range(pulses):
        now_ms += 1_000
        ask()
        invoice = ask(ev.CreateInvoice(0, payee, 1, f"pulse {number}", 0))[0]["invoice"]
        ask(ev.PayInvoice(0, payer, invoice, None, None))
