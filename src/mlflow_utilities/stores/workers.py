"""Work on many items, a few at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio
import anyio.to_thread

__all__ = ["for_each", "in_thread"]

_WORKERS = 16  # above the usual number of connections: one task may read its file while another sends

T = TypeVar("T")
R = TypeVar("R")


async def for_each(items: Sequence[T], work: Callable[[T], Awaitable[None]]) -> None:
    """Call `work` for each item, at most 16 at a time; the first error ends the others and is raised as it is."""
    pending = iter(items)
    failures: list[Exception] = []

    async with anyio.create_task_group() as group:

        async def worker() -> None:
            for item in pending:
                try:
                    await work(item)
                except Exception as error:
                    failures.append(error)
                    group.cancel_scope.cancel()
                    return

        for _ in range(min(_WORKERS, len(items))):
            group.start_soon(worker)
    if failures:
        raise failures[0]


async def in_thread(work: Callable[[], R], *, limiter: anyio.CapacityLimiter | None = None) -> R:
    """Do `work` in a thread; however the caller is cancelled, it is told only when the thread has ended.

    Cancellation of asyncio's own kind would leave the thread to go on by itself: only a child task is waited for.
    """
    results: list[R] = []
    failures: list[Exception] = []

    async def child() -> None:
        try:
            results.append(await anyio.to_thread.run_sync(work, limiter=limiter))
        except Exception as error:
            failures.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(child)
    if failures:
        raise failures[0]
    return results[0]
