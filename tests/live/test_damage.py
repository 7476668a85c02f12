"""Store files that were cut short or have a bit flipped: a message and a clean end, or the truth; never a third."""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from leither_lite.edge.lmdb import FILE
from leither_lite.edge.pages import PageFile
from tests.live.harness import NodeProcess, Unanswered, doctor, found, open_accounts, pay, refused, running

SEED: Final = 4
ACCOUNTS: Final = 60  # a whole page of so many is a value on pages of its own
PULSES: Final = 70  # beyond the first whole page, at 64
# Of LMDB's format (leither_lite/edge/pages.py has more of it).
META_BYTES: Final = 16 + 136
BRANCH: Final = 1
ON_OTHER_PAGES: Final = 1
_PAGE: Final = struct.Struct("@N4H")
_NODE: Final = struct.Struct("@4H")
_WORD: Final = struct.Struct("@N")


@dataclass(frozen=True, slots=True)
class Lived:
    """A folder whose node has lived a while and stopped: its store's bytes, and what it answers."""

    folder: Path
    content: bytes
    answers: dict[str, bytes]
    accounts: list[str]

    @contextmanager
    def changed(self, content: bytes) -> Iterator[None]:
        """With other bytes in the same file, which then gets its own back."""
        path = self.folder / FILE
        _write(path, content)
        try:
            yield
        finally:
            _write(path, self.content)


def _write(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()


def reads(account: str, pulse: int) -> list[str]:
    """Paths whose answers stay the same while nothing is paid."""
    proofs = [f"/v1/accounts/{account}/proof?pulse={number}" for number in range(pulse + 1)]
    return ["/v1/charter", "/v1/summary", "/v1/transfers?limit=500", "/v1/accounts", *proofs]


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """One folder for all tests here: each gives it back as it was."""
    print(f"seed {SEED}")
    folder = found(tmp_path_factory.mktemp("lived") / "node", pulse_ms=50)
    draw = random.Random(SEED)
    with running(folder) as node:
        accounts = open_accounts(node, ACCOUNTS, 1_000_000)
        while node.status()["pulse"] < PULSES:
            payer, payee = draw.sample(accounts, 2)
            node.transfer(pay(node, payer, payee, 1))
        paths = reads(accounts[0], node.status()["pulse"])
        answers = {path: node.client.ask("GET", path).content for path in paths}
        assert node.stop().code == 0
    return Lived(folder, (folder / FILE).read_bytes(), answers, accounts)


def bytes_in_use(content: bytes, path: Path) -> dict[str, list[range]]:
    """Where the newest transaction's bytes lie, by the kind of page; the two heads are `meta`."""
    with path.open("rb", buffering=0) as file:
        newest = PageFile(file).newest
    size = newest.page_bytes
    found: dict[str, list[range]] = {"meta": [range(at, at + META_BYTES) for at in (0, size)]}
    roots = [newest.free.root, newest.main.root]
    while roots:
        start = roots.pop() * size
        _, _, flags, lower, upper = _PAGE.unpack_from(content, start)
        kind = "branch" if flags & BRANCH else "leaf"
        found.setdefault(kind, []).extend([range(start, start + lower), range(start + upper, start + size)])
        for (offset,) in struct.iter_unpack("@H", content[start + _PAGE.size : start + lower]):
            low, high, node_flags, key_bytes = _NODE.unpack_from(content, start + offset)
            if kind == "branch":
                roots.append(low | high << 16)
            elif node_flags & ON_OTHER_PAGES:
                (page,) = _WORD.unpack_from(content, start + offset + _NODE.size + key_bytes)
                value_bytes = low | high << 16
                found.setdefault("overflow", []).append(range(page * size, page * size + _PAGE.size + value_bytes))
    return found


def compare(node: NodeProcess, lived: Lived) -> str:
    """Read everything: "whole", "told" where the node says what is wrong, "missing" where rows are not found."""
    came = "whole"
    for path, content in lived.answers.items():
        answer = node.client.ask("GET", path)
        if answer.content == content:
            continue
        if answer.status == 200:
            # Rows that are not found are the only thing that may go unnoticed; what is shown is as it was.
            shown, listed = answer.value["transfers"], json.loads(content)["transfers"]
            assert [one for one in listed if one in shown] == shown, path
            came = "missing"
        elif answer.code == "store_corrupt":
            assert answer.status == 503
            assert [reason["code"] for reason in node.status()["reasons"]] == ["store_corrupt"]
            return "told"
        else:
            assert (answer.status, answer.code) == (404, "unknown_pulse"), (path, answer)
            came = "missing"
    return came


def outcome(lived: Lived) -> str:
    """What comes of a start on a damaged store, of reading everything and of a payment; besides, "halted".

    LMDB itself may end the process when it comes upon a damaged page: then the next start says what is wrong. Fails for
    a wrong answer, and for an end without a message.
    """
    node = NodeProcess(lived.folder)
    try:
        node.await_address()
        came = compare(node, lived)
        body = {"amount": 1, "memo": "", "ticks": 0, "account": lived.accounts[1]}
        answer = node.client.ask("POST", "/v1/invoices", body)
        body = {"invoice": answer.value.get("invoice", ""), "account": lived.accounts[0]}
        answer = node.client.ask("POST", "/v1/transfers", body)
        assert answer.status == 202 or (answer.status, answer.code) == (503, "store_corrupt"), answer
        node.ticks(2)
        ended = node.stop()
        assert (ended.code, ended.stderr) == (0, "")
        return came
    except Unanswered:
        ended = node.ended()
        died = ended.code < 0
        if died:
            ended = refused(lived.folder)
        assert ended.code == 4, ended
        assert ended.stderr.startswith("leither-lite: store_corrupt: "), ended
        return "died" if died else "halted"
    finally:
        if node.process.poll() is None:
            node.kill()
        (lived.folder / "api-address").unlink(missing_ok=True)


def test_an_unchanged_store_is_whole(lived: Lived) -> None:
    """The measure of all others here."""
    with lived.changed(lived.content):
        assert outcome(lived) == "whole"
    assert doctor(lived.folder, "--full") == []


@pytest.mark.parametrize("kind", ["meta", "branch", "leaf", "overflow"])
def test_flipped_bits(lived: Lived, kind: str, full: bool) -> None:
    """A bit anywhere in a page that is in use: noticed where it matters, and `doctor` knows whenever a user does."""
    draw = random.Random(f"{SEED} {kind}")
    spans = bytes_in_use(lived.content, lived.folder / FILE)[kind]
    seen: dict[str, int] = {}
    for _ in range(60 if full else 3):
        at, bit = draw.choice(draw.choice(spans)), draw.randrange(8)
        damaged = bytearray(lived.content)
        damaged[at] ^= 1 << bit
        with lived.changed(bytes(damaged)):
            told = [finding["code"] for finding in doctor(lived.folder)]
            came = outcome(lived)
        print(f"{kind} byte {at} bit {bit}: {came}, doctor {told}")
        assert came == "whole" or "store_corrupt" in told, (at, bit, came)
        seen[came] = seen.get(came, 0) + 1
    print(kind, seen)


@pytest.mark.parametrize("eighths", [0, 1, 4, 7])
def test_cut_short(lived: Lived, eighths: int) -> None:
    """Refused before anything is mapped, whatever is missing, and left as it is."""
    size = len(lived.content) * eighths // 8
    with lived.changed(lived.content[:size]):
        ended = refused(lived.folder)
        assert ended.code == 4
        assert ended.stderr.startswith("leither-lite: store_corrupt: "), ended
        assert "cut short" in ended.stderr
        assert "put back a copy" in ended.stderr
        assert os.stat(lived.folder / FILE).st_size == size
        assert [finding["code"] for finding in doctor(lived.folder)] == ["store_corrupt"]


def test_another_file(lived: Lived) -> None:
    """As long as the store, but none."""
    with lived.changed(random.Random(SEED).randbytes(len(lived.content))):
        ended = refused(lived.folder)
        assert ended.code == 4
        assert ended.stderr.startswith("leither-lite: store_corrupt: "), ended
        assert "its head is damaged" in ended.stderr


def test_no_file(tmp_path: Path) -> None:
    """Said as it is."""
    folder = found(tmp_path / "node")
    (folder / FILE).unlink()
    ended = refused(folder)
    assert ended.code == 4
    assert ended.stderr.startswith("leither-lite: store_absent: "), ended
