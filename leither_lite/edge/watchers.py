"""Whoever watches what happens: a bounded queue of notes for each (docs/api.md, events)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from leither_lite.effects import Note

NOTES_QUEUED_MAX: Final = 256


class Subscription:
    """Notes for one watcher, at most 256 unread: who falls behind is cut off."""

    def __init__(self, forget: Callable[[Subscription], None]) -> None:
        """`forget` is called once when it ends."""
        self._forget = forget
        self._notes: deque[Note] = deque()
        self._ready = asyncio.Event()
        self._closed = False

    def put(self, note: Note) -> None:
        """Hand over a note."""
        if len(self._notes) >= NOTES_QUEUED_MAX:
            self.close()
            return
        self._notes.append(note)
        self._ready.set()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Note:
        while not self._notes:
            if self._closed:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._notes.popleft()

    def close(self) -> None:
        """No more notes; the watcher's iteration ends after those it has."""
        self._closed = True
        self._ready.set()
        self._forget(self)
