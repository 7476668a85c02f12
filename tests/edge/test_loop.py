"""The loop that performs turns: what waiters are told and when, commits that fail, and what watchers see."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from leither_lite.board import Board
from leither_lite.edge import keyfile, lmdb, loop, machine
from leither_lite.edge.lmdb import Store
from leither_lite.edge.loop import Service
from leither_lite.edge.machine import Disk
from leither_lite.edge.watchers import NOTES_QUEUED_MAX
from leither_lite.effects import Note, Write
from leither_lite.errors import Halt, LocalError
from leither_lite.node import events as ev
from leither_lite.node.wallet import Keyring
from tests.edge.folders import MAP_BYTES, founded

PULSE_MS: Final = 20
NO_ROOM: Final = Halt("disk_full", "the disk takes no more")


class FailingStore(Store):
    """A store whose commits fail, wait at a gate, or are counted, as a test says."""

    entered: threading.Event
    failure: Halt | None = None
    lost: Halt | None = None
    gate: threading.Event | None = None
    attempts: int = 0
    commits: int = 0
    refused: tuple[bytes, ...] = ()

    def write(self, writes: Sequence[Write]) -> None:
        """As the test says."""
        self.entered.set()
        self.attempts += 1
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.failure is not None and (not self.refused or any(key[:1] in self.refused for key, _ in writes)):
            raise self.failure
        super().write(writes)
        self.commits += 1

    def renew(self) -> None:
        """As the test says."""
        if self.lost is not None:
            raise self.lost
        super().renew()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A founded folder."""
    return founded(tmp_path / "data", PULSE_MS)


def made(folder: Path, **settings: int) -> tuple[Service, FailingStore]:
    """A service on a folder that does not run yet."""
    store = FailingStore(folder / lmdb.FILE, MAP_BYTES)
    store.entered = threading.Event()
    keyring = Keyring(keyfile.load(folder / keyfile.NODE_KEY), keyfile.load(folder / keyfile.ORGANIZATION_KEY))
    board = Board.from_settings({"disk_reserve_bytes": 0, **settings})
    return Service(folder, store, keyring, board, "token", False, machine.place(store.path)), store


@asynccontextmanager
async def served(folder: Path, **settings: int) -> AsyncIterator[tuple[Service, FailingStore]]:
    """A service that runs, its first commit done."""
    service, store = made(folder, **settings)
    running = asyncio.create_task(service.run())
    try:
        await open_account(service)
        await until(service, "pulse")
        yield service, store
    finally:
        service.stop()
        await running
        store.close()


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test to its end; one that hangs fails."""
    asyncio.run(asyncio.wait_for(test, 30))


async def open_account(service: Service) -> bytes:
    """A further account of the node."""
    answer = await service.ask(lambda token: ev.OpenAccount(token, ""))
    return bytes.fromhex(answer["account"])


async def until(service: Service, kind: str) -> Note:
    """The next note of a kind."""
    subscription = service.subscribe()
    try:
        async for note in subscription:
            if note.kind == kind:
                return note
    finally:
        subscription.close()
    raise AssertionError("the service has ended")


def codes(service: Service) -> list[str]:
    """Why it is not healthy."""
    status = service.status()
    assert status["healthy"] == (not status["reasons"])
    assert service.metrics()["healthy"] == status["healthy"]
    return [reason["code"] for reason in status["reasons"]]


def test_answers_come_when_they_are_durable(folder: Path) -> None:
    """Nobody is told before the commit has ended, and what came meanwhile shares the next."""

    async def test() -> None:
        async with served(folder) as (service, store):
            gate = store.gate = threading.Event()
            transaction = store.transaction_id
            store.entered.clear()
            first = asyncio.create_task(open_account(service))
            assert await asyncio.to_thread(store.entered.wait, 10)
            others = [asyncio.create_task(open_account(service)) for _ in range(20)]
            await asyncio.sleep(0)
            assert not first.done()
            commits = store.commits
            gate.set()
            account = await first
            assert store.transaction_id > transaction
            assert service.node.wallet.key(account).account == account
            assert len({account, *await asyncio.gather(*others)}) == 21
            assert store.commits - commits <= 4  # the first, the others together, and seals

    run(test())


def test_a_commit_that_fails(folder: Path) -> None:
    """The waiter is told why, nothing has happened, nothing new is taken; then a trial works, and the node goes on."""

    async def test() -> None:
        async with served(folder) as (service, store):
            accounts, pulse = service.status()["group"]["members"], service.status()["pulse"]
            store.failure = NO_ROOM
            with pytest.raises(LocalError) as caught:
                await open_account(service)
            assert (caught.value.code, caught.value.message) == (NO_ROOM.code, NO_ROOM.message)
            assert (service.status()["group"]["members"], service.status()["pulse"]) == (accounts, pulse)
            assert codes(service) == ["disk_full"]
            taken = service.metrics()["requests_total"]
            with pytest.raises(LocalError, match="disk_full"):
                await open_account(service)
            assert service.metrics()["requests_total"] == taken  # a turn for each would begin again from the store
            note = await until(service, "health")
            assert note.value["healthy"] is False
            assert note.value["reasons"][0]["code"] == "disk_full"
            store.failure = None
            note = await until(service, "health")
            assert note.value == {"healthy": True, "reasons": []}
            assert codes(service) == []
            await open_account(service)
            assert service.status()["group"]["members"] == accounts + 1
            assert service.metrics()["commit_failures_total"] >= 1

    run(test())


def test_a_seal_that_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was acknowledged waits; a smaller trial is not taken for health; then it is sealed."""

    async def test() -> None:
        async with served(folder) as (service, store):
            pulse = service.status()["pulse"]
            store.refused, store.failure = (b"p",), NO_ROOM
            account = await open_account(service)
            await until(service, "health")
            commits = store.commits
            failures = service.metrics()["commit_failures_total"]
            while service.metrics()["commit_failures_total"] < failures + 5:
                assert codes(service) == ["disk_full"]
                await asyncio.sleep(0)
            assert (store.commits, service.status()["pulse"]) == (commits, pulse)
            store.failure = None
            note = await until(service, "pulse")
            assert note.value["pulse"] == pulse + 1
            assert service.view.account(account)["pulse"] == pulse + 1
            assert codes(service) == []

    monkeypatch.setattr(loop, "PROBE_MS", 0)
    run(test())


@pytest.mark.parametrize("code", ["store_corrupt", "store_lost", "not_conserved"])
def test_what_ends_a_node(folder: Path, code: str) -> None:
    """Whoever waits is told, watchers end, and the reason is there for the exit."""

    async def test() -> None:
        service, store = made(folder)
        running = asyncio.create_task(service.run())
        subscription = service.subscribe()
        store.failure = Halt(code, "why")
        with pytest.raises(LocalError, match="why") as caught:
            await open_account(service)
        assert caught.value.code == code
        await running
        assert store.attempts == 1
        assert service.fatal is store.failure
        assert [note async for note in subscription] == []
        with pytest.raises(LocalError, match="stopping"):
            await open_account(service)
        store.close()

    run(test())


def test_a_store_that_is_lost_while_recovering(folder: Path) -> None:
    """LMDB has given up after an error that looked harmless: only a new start helps."""

    async def test() -> None:
        service, store = made(folder)
        running = asyncio.create_task(service.run())
        store.failure, store.lost = NO_ROOM, Halt("store_lost", "start again")
        with pytest.raises(LocalError, match="disk_full"):
            await open_account(service)
        await running
        assert service.fatal is store.lost
        store.close()

    run(test())


def test_a_trial_that_finds_the_store_lost(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a turn."""

    async def test() -> None:
        service, store = made(folder)
        running = asyncio.create_task(service.run())
        await open_account(service)
        await until(service, "pulse")
        store.failure = NO_ROOM
        with pytest.raises(LocalError, match="disk_full"):
            await open_account(service)
        store.failure = Halt("store_lost", "start again")
        await running
        assert service.fatal is store.failure
        store.close()

    monkeypatch.setattr(loop, "PROBE_MS", 0)
    run(test())


def test_a_mistake_of_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that nobody foresaw ends the loop, and nobody waits for ever."""

    async def test() -> None:
        service, store = made(folder)

        def fail(*_: Any) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(service.node, "turn", fail)
        running = asyncio.create_task(service.run())
        with pytest.raises(LocalError, match="internal"):
            await open_account(service)
        with pytest.raises(ZeroDivisionError):
            await running
        with pytest.raises(LocalError, match="stopping"):
            await open_account(service)
        store.close()

    run(test())


def test_disk_below_the_reserve(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing new is taken; what was taken is still sealed."""

    async def test() -> None:
        async with served(folder) as (service, _):
            account = await open_account(service)
            monkeypatch.setattr(machine, "disk", lambda path: Disk(10, True))
            with pytest.raises(LocalError, match="disk_read_only"):
                await open_account(service)
            assert codes(service) == ["disk_read_only"]
            await until(service, "pulse")
            assert service.view.account(account)["pulse"] > 0

    run(test())


def test_ticks_write_nothing(folder: Path) -> None:
    """An idle node turns, and its store stays as it is."""

    async def test() -> None:
        async with served(folder) as (service, store):
            transaction, written = store.transaction_id, service.status()["written_bytes"]
            assert written > 0
            end = service.status()["tick"] + 10
            while service.status()["tick"] < end:
                await asyncio.sleep(0)
            assert (store.transaction_id, service.status()["written_bytes"]) == (transaction, written)

    run(test())


def test_watchers(folder: Path) -> None:
    """Each gets all notes in order; one that reads none is cut off after 256, and gets those; places are bounded."""

    async def test() -> None:
        service, store = made(folder, api_events_max=2)
        slow, quick = service.subscribe(), service.subscribe()
        with pytest.raises(LocalError, match="too_many_streams"):
            service.subscribe()
        seen: list[Note] = []
        notes = [Note("pulse", {"pulse": number}) for number in range(NOTES_QUEUED_MAX + 2)]
        for note in notes:
            service._tell(note)
            seen.append(await anext(quick))
        assert seen == notes
        assert [note async for note in slow] == notes[:NOTES_QUEUED_MAX]
        again = service.subscribe()  # the place of the slow one
        slow.close()
        quick.close()
        quick.close()
        assert [note async for note in quick] == []
        again.close()
        assert service._subscriptions == []
        store.close()

    run(test())


def test_damage_that_a_read_has_met(folder: Path) -> None:
    """Stays a reason, whatever commits do; the first one."""

    async def test() -> None:
        async with served(folder) as (service, _):
            service.report(Halt("store_corrupt", "first"))
            service.report(Halt("store_corrupt", "second"))
            await open_account(service)
            assert service.status()["reasons"] == [{"code": "store_corrupt", "message": "first"}]

    run(test())
