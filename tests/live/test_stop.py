"""SIGTERM and SIGINT: what was accepted is kept, whoever waits is told, and the process ends by itself with 0."""

from __future__ import annotations

import http.client
import signal
import time
from pathlib import Path
from typing import Final

import pytest

from tests.live.harness import found, open_accounts, running
from tests.live.load import Book

SEED: Final = 12
ACCOUNTS: Final = 6
STOP_S_MAX: Final = 3.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_under_load(tmp_path: Path, number: signal.Signals) -> None:
    """With requests on their way, a watcher of events, and a client that never ends its request."""
    folder = found(tmp_path / "node", pulse_ms=1_000)
    token = (folder / "api-token").read_text().strip()
    with running(folder) as node:
        book = Book.of(node, open_accounts(node, ACCOUNTS, 1_000_000), SEED)
        assert (folder / "api-address").read_text() == "{}:{}\n".format(*node.address)
        watcher, slow = (http.client.HTTPConnection(*node.address) for _ in range(2))
        watcher.request("GET", "/v1/events", headers={"Authorization": f"Bearer {token}"})
        assert watcher.getresponse().readline() == b"event: health\n"
        slow.putrequest("POST", "/v1/transfers")
        slow.putheader("Authorization", f"Bearer {token}")
        slow.putheader("Content-Length", "100")
        slow.endheaders(b"{")
        loads = book.begin(node)
        node.lives_on(0.3)
        node.process.send_signal(number)
        began_s = time.monotonic()
        ended = node.ended()
        took_s = time.monotonic() - began_s
        for load in loads:
            load.result()
        watcher.close()
        slow.close()
        print(f"{number.name}: {took_s * 1000:.0f} ms, {book.answers} payments acknowledged")
        assert (ended.code, ended.stderr) == (0, "")
        assert not (folder / "api-address").exists()
        assert took_s < STOP_S_MAX  # it takes 0.6 s, most of it for the client that never ends
    assert book.answers
    with running(folder) as node:
        book.settle(node)
        book.check(node, 0)
        book.check_all(node)
