"""What the commands say to a running node: its API over http.client (docs/api.md).

Decides where the node is (an address given, or the file that a running node leaves in its folder) and how its answers
become values or errors. Never repeats a request by itself: only its caller knows whether that is safe.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from leither_lite.address import split_address
from leither_lite.edge.files import API_ADDRESS, LOCK, read_upto
from leither_lite.edge.keyfile import API_TOKEN, load_token
from leither_lite.errors import LocalError

TIMEOUT_S: Final = 30
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024

_ADDRESS_BYTES_MAX: Final = 300
_POLL_S_MIN: Final = 0.02
_POLL_S_MAX: Final = 0.5


class ApiError(LocalError):
    """The node refused; `status` is HTTP's."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(code, message)
        self.status = status


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT", an IPv6 host in brackets. Raises LocalError("bad_address")."""
    found = split_address(text)
    if found is None:
        raise LocalError("bad_address", f"HOST:PORT is expected, for example 127.0.0.1:8080, not {text[:80]!r}")
    return found


def format_address(host: str, port: int) -> str:
    """The inverse of `parse_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Client:
    """A node's API, as its owner."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._host = host
        self._port = port
        self._token = token

    @classmethod
    def of(cls, folder: Path, address: str | None) -> Client:
        """The node that runs on a data folder; `address` ("HOST:PORT") if it is not where its own file says.

        Raises LocalError: node_not_running (no such file, or one that a node has left behind: who listens there now is
        not to have the token), bad_address, or as `load_token`.
        """
        if address is None and is_in_use(folder):
            address = running_address(folder)
        if address is None:
            hint = f"start it (leither-lite run --data {folder}), or say where it is with --api"
            raise LocalError("node_not_running", f"no node is running on {folder}: {hint}")
        return cls(*parse_address(address), load_token(folder / API_TOKEN))

    def get(self, path: str, **query: str | int | None) -> dict[str, Any]:
        """The answer to a GET; parameters that are None are left out. Raises LocalError, ApiError."""
        given = {name: value for name, value in query.items() if value is not None}
        return _object(self.content(f"{path}?{urlencode(given)}" if given else path))

    def content(self, path: str) -> bytes:
        """The bytes that a GET answers. Raises LocalError, ApiError."""
        return self._ask("GET", path, None, {})

    def post(self, path: str, body: dict[str, Any], idempotency_key: str | None = None) -> dict[str, Any]:
        """The answer to a POST; members of the body that are None are left out. Raises LocalError, ApiError."""
        content = json.dumps({name: value for name, value in body.items() if value is not None}).encode("ascii")
        headers = {"Content-Type": "application/json"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        return _object(self._ask("POST", path, content, headers))

    def transfer_sealed(self, name: str, wait_s: int, progress: Callable[[str], None]) -> dict[str, Any]:
        """A transfer as it is once it is not pending any more.

        `progress` is told every second. Raises LocalError("still_pending") after `wait_s` seconds, or as `get`.
        """
        began = time.monotonic()
        pause_s, told_s = _POLL_S_MIN, 0
        while True:
            transfer = self.get(f"/v1/transfers/{name}")
            if transfer.get("state") != "pending":
                return transfer
            passed_s = time.monotonic() - began
            if passed_s >= wait_s:
                raise LocalError("still_pending", f"transfer {name} was accepted, but not sealed within {wait_s} s")
            if int(passed_s) > told_s:
                told_s = int(passed_s)
                progress(f"waiting for the seal of transfer {name}: {told_s} s")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _POLL_S_MAX)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self._token}", **headers})
            response = connection.getresponse()
            content = response.read(ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            where = format_address(self._host, self._port)
            told = str(error) or type(error).__name__
            raise LocalError("node_unreachable", f"no node answers at {where}: {told}") from None
        finally:
            connection.close()
        if len(content) > ANSWER_BYTES_MAX:
            raise LocalError("bad_answer", f"the node answers with more than {ANSWER_BYTES_MAX} bytes")
        if response.status >= 300:
            raise _refusal(response.status, content)
        return content


def is_in_use(folder: Path) -> bool:
    """True if a process holds the lock of a data folder."""
    try:
        with (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def running_address(folder: Path) -> str | None:
    """Where the API of the node on a data folder is, as the running node wrote it; None if none is running."""
    try:
        return read_upto(folder / API_ADDRESS, _ADDRESS_BYTES_MAX).decode("ascii", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LocalError("unreadable_file", f"{folder / API_ADDRESS} cannot be read: {error.strerror}") from None


def _refusal(status: int, content: bytes) -> LocalError:
    try:
        told = _object(content)["error"]
        return ApiError(str(told["code"]), str(told["message"]), status)
    except (LocalError, KeyError, TypeError):
        return LocalError("bad_answer", f"what answers with status {status} is not a node's API")


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise LocalError("bad_answer", "what answers is not a node's API")
    return value
