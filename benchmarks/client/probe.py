"""What the measurements share: seconds of repeated calls, the worst stall of an event loop, memory of this process."""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

__all__ = ["Stall", "peak_bytes", "repeated", "repeated_async", "resident_bytes", "stall"]

BEAT = 0.001


def repeated(work: Callable[[], Any], times: int) -> float:
    """Return the median seconds of one call of `work`, which was called once before."""
    work()
    found: list[float] = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


async def repeated_async(work: Callable[[], Awaitable[Any]], times: int) -> float:
    """Return the median seconds of one awaited call of `work`, which was awaited once before."""
    await work()
    found: list[float] = []
    for _ in range(times):
        begin = time.perf_counter()
        await work()
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


class Stall:
    """The longest time that the event loop did not get round to a task which was due."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.collecting = 0.0
        self._collection_began = 0.0

    async def beat(self) -> None:
        """Sleep again and again, and note how much longer it took."""
        while True:
            begin = time.perf_counter()
            await anyio.sleep(BEAT)
            self.seconds = max(self.seconds, time.perf_counter() - begin - BEAT)

    def collection(self, phase: str, info: dict[str, int]) -> None:
        """Note the longest pause of the garbage collector, too."""
        now = time.perf_counter()
        if phase == "start":
            self._collection_began = now
        else:
            self.collecting = max(self.collecting, now - self._collection_began)


@asynccontextmanager
async def stall() -> AsyncGenerator[Stall]:
    """Watch the event loop while the block runs."""
    found = Stall()
    gc.callbacks.append(found.collection)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(found.beat)
        await anyio.sleep(5 * BEAT)
        found.seconds = 0.0
        yield found
        await anyio.sleep(2 * BEAT)
        tasks.cancel_scope.cancel()
    gc.callbacks.remove(found.collection)


def resident_bytes() -> int:
    """Return the memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    """Return the most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
