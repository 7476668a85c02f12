"""A long way between hosts: a TCP relay that holds back every byte for a time, in each direction.

    python relay.py DELAY_MS LISTEN_HOST:PORT=TARGET_HOST:PORT …

Says "ready" once it listens. A connection is made, and ended, as late as its bytes arrive. Never looks into a byte.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from contextlib import suppress
from typing import Final

READ_BYTES: Final = 64 * 1024


def address(text: str) -> tuple[str, int]:
    """HOST:PORT"""
    host, _, port = text.rpartition(":")
    return host, int(port)


async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay_s: float) -> None:
    """One direction, until its end: whatever has come is given on so much later, in its order."""
    loop = asyncio.get_running_loop()
    waiting: deque[tuple[float, bytes]] = deque()
    more = asyncio.Event()

    async def read() -> None:
        content = b" "
        while content:
            try:
                content = await source.read(READ_BYTES)
            except OSError:
                content = b""
            waiting.append((loop.time() + delay_s, content))
            more.set()

    reading = loop.create_task(read())
    try:
        while True:
            await more.wait()
            due, content = waiting.popleft()
            if not waiting:
                more.clear()
            await asyncio.sleep(due - loop.time())
            if not content:
                return
            sink.write(content)
            await sink.drain()
    except OSError:
        return
    finally:
        reading.cancel()


async def serve(listen: tuple[str, int], target: tuple[str, int], delay_s: float) -> None:
    """Listen for one target."""

    async def pair(near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(delay_s)
            far_reader, far = await asyncio.open_connection(*target)
        except OSError:
            near.close()
            return
        ways = [carry(near_reader, far, delay_s), carry(far_reader, near, delay_s)]
        # Where one side has ended, the other is told so: nodes do not half-close.
        _, rest = await asyncio.wait([asyncio.ensure_future(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
        for way in rest:
            way.cancel()
        for writer in (near, far):
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    await asyncio.start_server(pair, *listen)


async def main(delay_ms: int, routes: list[str]) -> None:
    """Relay until killed."""
    for route in routes:
        listen, _, target = route.partition("=")
        await serve(address(listen), address(target), delay_ms / 1000)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
