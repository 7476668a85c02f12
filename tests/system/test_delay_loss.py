"""Far apart and badly connected: 200 ms each way, and every tenth packet lost. Payments are sealed within three ticks.

Nodes reach each other only through a relay that holds back what it carries (this kernel has no such thing), and each
packet to a node or to the relay is dropped with a probability of a tenth, repeated ones too.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.live.harness import PATIENCE_S
from tests.system.namespaces import PORT, Host, HostedNode, committee, hosts

PULSE_MS: Final = 1_000
DELAY_MS: Final = 200
LOSS: Final = "numgen random mod 10 == 0 drop"
TICKS_MAX: Final = 3
PERCENTILE: Final = 99
SEED: Final = 11
_PAUSE_S: Final = 0.02


class Sealed(NamedTuple):
    """A payment: ticks and seconds from its acceptance to when its payer's node showed that it is final."""

    ticks: int
    seconds: float


@contextmanager
def relay(place: Host, nodes: list[Host]) -> Iterator[None]:
    """The relay, on a host of its own, with a port for each node; nodes are let through to it alone."""
    routes = [f"{place.address}:{PORT + number}={node.address}:{PORT}" for number, node in enumerate(nodes)]
    program = Path(__file__).with_name("relay.py")
    with place.inside():
        process = subprocess.Popen([sys.executable, program, str(DELAY_MS), *routes], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        own = "iifname lo accept"
        place.filter(own, LOSS)
        for node in nodes:
            node.filter(own, f"ip saddr != {place.address} drop", LOSS)
        yield
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        if process.stdout is not None:
            process.stdout.close()


def payment(payer: HostedNode, payee: HostedNode, draw: random.Random) -> Sealed:
    """Pay, and watch the payer's node until it shows the payment as final."""
    lives = payer.lives_on(draw.random() * PULSE_MS / 1000)  # anywhere in a pulse cycle
    assert lives
    body = {"amount": 1, "memo": f"{draw.getrandbits(64):x}", "ticks": 0}
    invoice = payee.client.post("/v1/invoices", body)["invoice"]
    before = payer.status()["tick"]
    begin = time.monotonic()
    answer = payer.client.ask("POST", "/v1/transfers", {"invoice": invoice})
    assert answer.status == 202, answer
    while (found := payer.client.get(f"/v1/transfers/{answer.value['id']}"))["state"] == "pending":
        assert payer.lives_on(_PAUSE_S)
        assert time.monotonic() < begin + PATIENCE_S, found
    seconds = time.monotonic() - begin
    assert found["state"] == "credited", found
    return Sealed(payer.status()["tick"] - before, seconds)


def distribution(sealed: list[Sealed]) -> str:
    """For people."""
    ticks = Counter(each.ticks for each in sealed)
    times = sorted(each.seconds for each in sealed)
    ranks = ", ".join(f"{share} %: {times[(len(times) * share - 1) // 100]:.2f} s" for share in (50, 90, 99, 100))
    return f"{len(sealed)} payments; ticks {dict(sorted(ticks.items()))}; {ranks}"


def test_far_and_lossy(tmp_path: Path, full: bool) -> None:
    """The 99th percentile, each payment from its acceptance; every node pays, at any moment of the cycle."""
    count = 200 if full else 60
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    with hosts(5) as (far, *places), relay(far, places):
        with committee(tmp_path, places, PULSE_MS, lambda number: f"{far.address}:{PORT + number}") as nodes:
            sealed: list[Sealed] = []
            lock = threading.Lock()

            def pays(payer: HostedNode, own: random.Random) -> None:
                payees = [node for node in nodes if node is not payer]
                for _ in range(count // len(nodes)):
                    made = payment(payer, own.choice(payees), own)
                    with lock:
                        sealed.append(made)

            with ThreadPoolExecutor(len(nodes)) as pool:
                futures = [pool.submit(pays, node, random.Random(draw.random())) for node in nodes]
                for future in futures:
                    future.result()
            print(distribution(sealed))
            ticks = sorted(each.ticks for each in sealed)
            assert ticks[(len(ticks) * PERCENTILE - 1) // 100] <= TICKS_MAX, distribution(sealed)
            for node in nodes:
                node.client.close()  # it has been idle for longer than the API lets it
                assert node.status()["evidence"] == 0
