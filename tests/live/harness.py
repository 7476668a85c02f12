"""Real nodes for tests: processes of this checkout in folders of their own, and a small client over HTTP.

A process is stopped and killed by its own object only. Nothing here sleeps: who waits for a node waits for an answer of
its, for a line, or for its end.
"""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from leither_lite.ledger.records import decode_page

ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = (sys.executable, "-m", "leither_lite")
SUPPLY: Final = 1_000_000_000
PATIENCE_S: Final = 60
"""How long a node may take for anything before a test gives up: only a node that hangs ever takes that long."""
_POLL_S: Final = 0.02
_API_LINE: Final = "API          http://"


class Unanswered(Exception):
    """The node has gone before it answered."""


class Answer(NamedTuple):
    """An HTTP answer: its status, its body as bytes and as JSON ({} if it is none), the root pulse that it names."""

    status: int
    content: bytes
    value: dict[str, Any]
    pulse: int | None = None

    @property
    def code(self) -> str:
        """The code of an error, "" for what is none."""
        error = self.value.get("error")
        return str(error["code"]) if isinstance(error, dict) else ""


def command(*arguments: str | Path, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    """Run `leither-lite` with arguments to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def found(folder: Path, pulse_ms: int = 100, settings: str = "", parameters: Sequence[str] = ()) -> Path:
    """Found an organization in a new folder, with settings if there are some; `parameters` are further arguments."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings:
        (folder / "settings.toml").write_text(settings)
    usual = ("--name", "Test", "--supply", str(SUPPLY), "--pulse-ms", str(pulse_ms))
    done = command("found", "--data", folder, *usual, *parameters)
    assert done.returncode == 0, done.stderr
    return folder


class Client:
    """One keep-alive connection to a node's API; for one thread."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
        self._headers = {"Authorization": f"Bearer {token}"}

    def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request, never repeated. Raises Unanswered."""
        content = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, content, {**self._headers, **(headers or {})})
            response = self._connection.getresponse()
            told = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Unanswered(f"{method} {path}: {error!r}") from error
        is_json = response.getheader("Content-Type", "").startswith("application/json")
        pulse = response.getheader("Leither-Pulse")
        return Answer(response.status, told, json.loads(told) if is_json else {}, None if pulse is None else int(pulse))

    def look(self, path: str) -> Answer:
        """A GET, asked again once, since a node ends connections that are idle."""
        try:
            return self.ask("GET", path)
        except Unanswered as error:
            if not isinstance(error.__cause__, ConnectionError | http.client.RemoteDisconnected):
                raise
            return self.ask("GET", path)

    def get(self, path: str) -> dict[str, Any]:
        """The JSON of a GET that must succeed, looked at as above."""
        answer = self.look(path)
        assert answer.status == 200, answer
        return answer.value

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON of a POST that must succeed."""
        answer = self.ask("POST", path, body)
        assert answer.status in (200, 201, 202), answer
        return answer.value

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code (minus the signal that killed it), and what it said on stderr."""

    code: int
    stderr: str


class NodeProcess:
    """A node that runs, or has run. Its stderr goes to a file beside the data folder."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        before: Sequence[str] = (),
        prepare: Callable[[], None] | None = None,
    ) -> None:
        """Start `run` on a folder. `before` is the command line of what it is run under, and leaves it its process id;
        `prepare` is called in the child before it becomes the node."""
        self.folder = folder
        self.log = folder.with_name(f"{folder.name}.stderr")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*before, *COMMAND, "run", "--data", str(folder), "--api", "127.0.0.1:0", *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=prepare,
            )
        self.address = ("", 0)
        self._clients = threading.local()

    def await_address(self) -> NodeProcess:
        """Wait until the node says where its API is. Raises Unanswered if it ends instead."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if _API_LINE in line:
                host, _, port = line.partition("http://")[2].partition("/")[0].rpartition(":")
                self.address = (host, int(port))
                return self
        raise Unanswered(f"it ended with {self.ended()}")

    @property
    def client(self) -> Client:
        """This thread's connection."""
        client = getattr(self._clients, "client", None)
        if not isinstance(client, Client):
            client = self._clients.client = Client(*self.address, (self.folder / "api-token").read_text().strip())
        return client

    def status(self) -> dict[str, Any]:
        """What the node says of itself."""
        return self.client.get("/v1/status")

    def polls(self, pause_s: float = _POLL_S) -> Iterator[dict[str, Any]]:
        """Statuses, a moment apart, as long as somebody asks for them and the node lives."""
        while self.process.poll() is None:
            yield self.status()
            self.lives_on(pause_s)
        raise Unanswered(f"it ended with {self.ended()}")

    def lives_on(self, seconds: float) -> bool:
        """Wait for the node's end, but no longer than that; True if it has not come."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def until(self, seen: Callable[[dict[str, Any]], bool], what: str, polls_max: int = 3_000) -> dict[str, Any]:
        """The first status in which something is seen."""
        for number, status in enumerate(self.polls()):
            if seen(status):
                return status
            assert number < polls_max, f"{what} never came: {status}"
        raise AssertionError("unreachable")

    def ticks(self, count: int) -> dict[str, Any]:
        """Let so many pulse cycles pass."""
        end = self.status()["tick"] + count
        return self.until(lambda status: status["tick"] >= end, f"tick {end}", 100 * PATIENCE_S + 50 * count)

    def transfer(self, name: str) -> dict[str, Any]:
        """A transfer, once it is not pending any more."""
        path = f"/v1/transfers/{name}"
        for number, _ in enumerate(self.polls()):
            found = self.client.get(path)
            if found["state"] != "pending":
                return found
            assert number < 1_000, f"{found} stays pending"
        raise AssertionError("unreachable")

    def ended(self) -> Ended:
        """Wait for the end."""
        code = self.process.wait(PATIENCE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return Ended(code, self.log.read_text())

    def stop(self) -> Ended:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> Ended:
        """SIGKILL."""
        self.process.kill()
        return self.ended()


@contextmanager
def running(folder: Path, *arguments: str, **more: Any) -> Iterator[NodeProcess]:
    """A node for the time of a block; killed after it if it still runs."""
    node = NodeProcess(folder, *arguments, **more)
    try:
        yield node.await_address()
    finally:
        if node.process.poll() is None:
            node.kill()


def refused(folder: Path, *arguments: str, **more: Any) -> Ended:
    """How a node ends that does not come up."""
    node = NodeProcess(folder, *arguments, **more)
    try:
        node.await_address()
    except Unanswered:
        return node.ended()
    node.kill()
    raise AssertionError("the node came up")


def open_accounts(node: NodeProcess, count: int, amount: int) -> list[str]:
    """Further accounts of a node, each with an amount distributed to it."""
    accounts = [str(node.client.post("/v1/accounts", {})["account"]) for _ in range(count)]
    names = [
        node.client.post("/v1/distributions", {"account": account, "amount": amount, "reason": "for the test"})["id"]
        for account in accounts
    ]
    for name in names:
        assert node.transfer(name)["state"] == "credited"
    return accounts


def pay(node: NodeProcess, payer: str, payee: str, amount: int) -> str:
    """Invoice and payment; the transfer's id once the node has answered for it."""
    invoice = node.client.post("/v1/invoices", {"amount": amount, "memo": "test", "ticks": 0, "account": payee})
    return str(node.client.post("/v1/transfers", {"invoice": invoice["invoice"], "account": payer})["id"])


def balances(node: NodeProcess) -> dict[str, int]:
    """Balance and frozen of every account, from the page of the newest sealed pulse."""
    answer = node.client.ask("GET", "/v1/summary")
    assert answer.status == 200, answer
    return {account.hex(): entry.record.balance + entry.record.frozen for account, entry in decode_page(answer.content)}


def transfers(node: NodeProcess) -> list[dict[str, Any]]:
    """Every transfer that the node remembers, newest first."""
    found: list[dict[str, Any]] = []
    while True:
        before = f"&before={found[-1]['id']}" if found else ""
        page = node.client.get(f"/v1/transfers?limit=500{before}")["transfers"]
        if not page:
            return found
        found += page


def doctor(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """What `doctor` finds on a folder, but for what is in order."""
    done = command("doctor", "--data", folder, "--json", *arguments, timeout_s=10 * PATIENCE_S)
    found = json.loads(done.stdout)["findings"]
    assert (done.returncode != 0) == any(finding["level"] == "error" for finding in found), done
    return [finding for finding in found if finding["level"] != "ok"]
