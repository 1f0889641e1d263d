"""Threads: whoever waits for one is told when it has ended, however the waiting is cancelled."""

from __future__ import annotations

import asyncio  # noqa: TID251 - its own kind of cancellation is what is tested
import threading

import anyio
import pytest

from mlflow_utilities.stores.workers import in_thread


class Work:
    """Work that says when it began, and ends when it is let."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.ended = False

    def __call__(self) -> str:
        """Begin, wait, end."""
        self.begun.set()
        self.may_end.wait(30)
        self.ended = True
        return "done"


def test_asyncios_own_cancellation_waits_for_the_thread() -> None:
    """`task.cancel()`, as `asyncio.wait_for` uses it, does not leave the thread to go on by itself."""
    work = Work()

    async def main() -> bool:
        task = asyncio.ensure_future(in_thread(work))
        await asyncio.to_thread(work.begun.wait, 30)
        task.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        waiting = not task.done()
        work.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return waiting

    assert asyncio.run(main())
    assert work.ended


@pytest.mark.anyio
async def test_results_and_errors_come_through_as_they_are() -> None:
    """No exception group reaches the caller."""
    assert await in_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)


@pytest.mark.anyio
async def test_a_cancelled_scope_waits_likewise() -> None:
    """The scope is left when the thread has ended."""
    work = Work()
    async with anyio.create_task_group() as group:
        group.start_soon(in_thread, work)
        await anyio.to_thread.run_sync(work.begun.wait, 30)
        group.cancel_scope.cancel()
        work.may_end.set()
    assert work.ended
