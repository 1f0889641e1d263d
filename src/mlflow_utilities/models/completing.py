"""Calls whose outcome must be known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

__all__ = ["complete"]

_SECONDS_LONGER = 5.0

T = TypeVar("T")


async def complete(work: Callable[[], Awaitable[T]]) -> T:
    """Await `work` to its end even when the caller is cancelled, then for at most 5 seconds longer.

    A cancelled creation would leave something on the server whose id nobody knows. The cancellation is raised
    afterwards; until then `work` may keep what it found out.
    """
    await checkpoint_if_cancelled()
    results: list[T] = []
    failures: list[BaseException] = []
    done = anyio.Event()
    scope = anyio.CancelScope(shield=True)

    async def run() -> None:
        with scope:
            try:
                results.append(await work())
            except anyio.get_cancelled_exc_class():
                raise
            except BaseException as error:
                failures.append(error)
            finally:
                done.set()

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        try:
            await done.wait()
        except BaseException:
            scope.deadline = anyio.current_time() + _SECONDS_LONGER
            raise
    if failures:
        raise failures[0]
    return results[0]
