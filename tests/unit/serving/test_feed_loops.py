"""Feeds on several event loops of one process, one after another."""

from __future__ import annotations

import anyio
import pytest

from mlflow_utilities.serving.feed import feed_of
from support.clock import SteppedClock
from support.ledger_server import LedgerServer


async def follow_for_a_while() -> tuple[int, str | None]:
    """Poll for a hundred seconds and return the number of polls and the last error."""
    server = LedgerServer(SteppedClock())
    async with server.client() as client, anyio.create_task_group() as tasks:
        feed = feed_of(client, server.ledger())
        tasks.start_soon(feed.drive)
        await server.clock.advance(100.0)
        tasks.cancel_scope.cancel()
    return feed.polls, feed.last_error.message if feed.last_error else None


@pytest.mark.parametrize("backends", [("asyncio", "asyncio"), ("trio", "asyncio", "trio")])
def test_feeds_work_on_one_event_loop_after_another(backends: tuple[str, ...]) -> None:
    """A feed of a new client does not meet anything of an earlier event loop."""
    for backend in backends:
        polls, problem = anyio.run(follow_for_a_while, backend=backend)
        assert polls >= 4
        assert problem is None
