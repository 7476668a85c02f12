"""The node as a process: memory, bytes written, time to the first answer, against bare servers on the same libraries.

The hello-world process imports the same five libraries and serves one aiohttp route; the bare server only aiohttp.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

HELLO = """
import asyncio, sys
{imports}
from aiohttp import web

async def main() -> None:
    async def hello(_):
        return web.Response(text="hello")
    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print("API http://127.0.0.1:%d/" % runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

{run}
"""
HELLO_FIVE = HELLO.format(
    imports="import uvloop, cbor2, lmdb\nfrom nacl import bindings",
    run="asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main())",
)
BARE = HELLO.format(imports="", run="asyncio.run(main())")


class Server:
    """A server process that says on a line of its own where it listens."""

    def __init__(self, arguments: list[str], path: str, token: str = "") -> None:
        self.begin = time.perf_counter()
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        lines = iter(self.process.stdout or ())
        address = next(line for line in lines if "http://" in line).split("http://")[1].split("/")[0]
        self.host, _, port = address.partition(":")
        self.connection = http.client.HTTPConnection(self.host, int(port))
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.call("GET", path)
        self.first_answer_s = time.perf_counter() - self.begin

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request on the one connection; its JSON, or text."""
        self.connection.request(method, path, None if body is None else json.dumps(body), self.headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:200]!r}")
        return json.loads(content) if content[:1] == b"{" else content

    def memory_kb(self) -> dict[str, int]:
        """Resident and anonymous memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        rows = dict(line.split(":", 1) for line in status.splitlines())
        return {name: int(rows[row].split()[0]) for name, row in (("resident", "VmRSS"), ("anonymous", "RssAnon"))}

    def wchar(self) -> int:
        """Bytes handed to write calls so far; what goes through sockets by send is not in it."""
        rows = Path(f"/proc/{self.process.pid}/io").read_text(encoding="ascii").split()
        return int(rows[rows.index("wchar:") + 1])

    def stop(self) -> None:
        """End the process and wait for it."""
        self.connection.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


def node(folder: str) -> Server:
    """A node on an existing data folder."""
    token = (Path(folder) / "api-token").read_text(encoding="ascii").strip()
    arguments = [sys.executable, "-m", "leither_lite", "run", "--data", folder, "--api", "127.0.0.1:0"]
    return Server(arguments, "/v1/status", token)


def found(folder: str, pulse_ms: int) -> None:
    """A new organization in a folder."""
    arguments = [sys.executable, "-m", "leither_lite", "found", "--data", folder, "--pulse-ms", str(pulse_ms), "--json"]
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)


def until_sealed(server: Server, transfer: str) -> None:
    """Wait until a transfer is final."""
    end = time.monotonic() + 30
    while server.call("GET", f"/v1/transfers/{transfer}")["state"] == "pending":
        if time.monotonic() > end:
            raise RuntimeError("a transfer was not sealed within 30 s")
        time.sleep(0.02)


def pay(server: Server, payer: str, payee: str, count: int) -> str:
    """Invoices and payments of 1, one after the other; the last transfer's id."""
    transfer = ""
    for _ in range(count):
        invoice = server.call("POST", "/v1/invoices", {"amount": 1, "memo": "", "ticks": 0, "account": payee})
        transfer = server.call("POST", "/v1/transfers", {"invoice": invoice["invoice"], "account": payer})["id"]
    return transfer


def rows(idle_s: float = 10.0, starts: int = 5) -> list[tuple[str, str]]:
    """Each measured thing and what was seen."""
    table: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory(prefix="leither-bench-", dir=".") as folder:
        data = str(Path(folder) / "data")
        found(data, 200)
        server = node(data)
        first = server.call("GET", "/v1/status")["account"]
        other = server.call("POST", "/v1/accounts", {"memo": ""})["account"]
        body = {"account": first, "amount": 100_000, "reason": "bench"}
        until_sealed(server, server.call("POST", "/v1/distributions", body)["id"])
        written, wchar = server.call("GET", "/v1/status")["written_bytes"], server.wchar()
        begin = time.perf_counter()
        until_sealed(server, pay(server, first, other, 1_000))
        seconds = time.perf_counter() - begin
        status = server.call("GET", "/v1/status")
        table.append(("1,000 payments over HTTP, one client, one after the other", f"{1_000 / seconds:.0f}/s"))
        table.append(
            (
                "bytes written a payment (commits; all write calls)",
                (f"{(status['written_bytes'] - written) / 1_000:.0f}; {(server.wchar() - wchar) / 1_000:.0f}"),
            )
        )
        for _ in range(100):
            server.call("GET", "/v1/account")
        memory = server.memory_kb()
        hello = Server([sys.executable, "-c", HELLO_FIVE], "/")
        for _ in range(100):
            hello.call("GET", "/")
        base = hello.memory_kb()
        hello.stop()
        for name in ("anonymous", "resident"):
            ratio = memory[name] / base[name]
            table.append(
                (f"{name} memory after that; hello-world", f"{memory[name]} KB; {base[name]} KB; {ratio:.2f} x")
            )
        written, transaction = server.call("GET", "/v1/status")["written_bytes"], store_bytes(data)
        time.sleep(idle_s)
        idle = server.call("GET", "/v1/status")["written_bytes"] - written
        same = "unchanged" if store_bytes(data) == transaction else "changed"
        table.append(
            (f"bytes written in {idle_s:.0f} s of idling; an hour", f"{idle}; {idle * 3600 / idle_s:.0f} (file {same})")
        )
        server.stop()
        ours: list[float] = []
        bare: list[float] = []
        for _ in range(starts):
            for arguments, times in (([], ours), ([sys.executable, "-c", BARE], bare)):
                started = Server(arguments, "/") if arguments else node(data)
                times.append(started.first_answer_s)
                started.stop()
        ratio = median(a / b for a, b in zip(ours, bare, strict=True))
        table.append(
            ("start to first answer; bare aiohttp", f"{median(ours):.2f} s; {median(bare):.2f} s; {ratio:.2f} x")
        )
    return table


def store_bytes(data: str) -> bytes:
    """The whole store file."""
    return (Path(data) / "ledger.mdb").read_bytes()


if __name__ == "__main__":
    os.chdir(Path(__file__).parent.parent)
    for name, value in rows():
        print(f"{name:62}  {value}")
