"""Turns and those who wait for them: how many at once, in which order, and across a node that is made again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from leither_lite.edge.loop import EVENTS_QUEUED_MAX
from leither_lite.effects import Effects
from leither_lite.errors import LocalError
from leither_lite.node import events as ev
from tests.edge.folders import founded
from tests.edge.test_loop import PULSE_MS, made, open_account, run


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A founded folder."""
    return founded(tmp_path / "data", PULSE_MS)


def test_too_many_wait(folder: Path) -> None:
    """1,024 at most; all of them are told when the node stops before their turn."""

    async def test() -> None:
        service, store = made(folder)
        waiting = [asyncio.create_task(open_account(service)) for _ in range(EVENTS_QUEUED_MAX)]
        await asyncio.sleep(0)
        assert service.metrics()["events_queued"] == EVENTS_QUEUED_MAX
        with pytest.raises(LocalError, match="busy"):
            await open_account(service)
        service.stop()
        await service.run()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert {error.code for error in told if isinstance(error, LocalError)} == {"stopping"}
        assert len(told) == EVENTS_QUEUED_MAX
        store.close()

    run(test())


def test_a_turn_takes_so_many(folder: Path) -> None:
    """As the board says, in the order in which they came."""

    async def test() -> None:
        service, store = made(folder, turn_events_max=3)
        waiting = [asyncio.create_task(open_account(service)) for _ in range(10)]
        await asyncio.sleep(0)
        running = asyncio.create_task(service.run())
        accounts = [await task for task in waiting]
        assert accounts == [service.node.wallet.node_key.derive(number).account for number in range(1, 11)]
        assert service.metrics()["turns_total"] >= 4
        service.stop()
        await running
        store.close()

    run(test())


def test_a_node_that_is_made_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where its group is split: whoever has not been answered by the old one is by the new, in the same order."""

    async def test() -> None:
        service, store = made(folder)
        old = service.node
        turn = old.turn

        def first_alone(events: Sequence[ev.Event], now_ms: int) -> Effects:
            effects = turn(events[:1], now_ms)
            effects.renew, effects.untaken = True, len(events[1:])
            return effects

        monkeypatch.setattr(old, "turn", first_alone)
        waiting = [asyncio.create_task(open_account(service)) for _ in range(3)]
        await asyncio.sleep(0)
        running = asyncio.create_task(service.run())
        accounts = [await task for task in waiting]
        assert service.node is not old
        assert accounts == [service.node.wallet.node_key.derive(number).account for number in range(1, 4)]
        service.stop()
        await running
        store.close()

    run(test())
