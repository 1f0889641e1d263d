"""Work on many items, a few at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

__all__ = ["for_each"]

_WORKERS = 16  # above the usual number of connections: one task may read its file while another sends

T = TypeVar("T")


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
