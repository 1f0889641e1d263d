"""Fifty real feeds on one clock: they start and recover as the schedule says."""

from __future__ import annotations

import contextlib
from collections import Counter

import anyio
import httpx
import pytest

from mlflow_utilities.serving.feed import Feed
from support.clock import SteppedClock
from support.ledger_server import LedgerServer, error

pytestmark = pytest.mark.anyio

FLEET = 50
INTERVAL = 30.0
OUTAGE = (200.0, 800.0)


def peak(moments: list[float], window: float) -> int:
    """Return how many of the sorted moments lie in any window of so many seconds."""
    return max(sum(start <= moment < start + window for moment in moments) for start in moments)


async def test_a_fleet_starts_and_recovers_spread_out() -> None:
    """Fifty services start together, live through ten minutes of failures, and never poll together."""
    server = LedgerServer(SteppedClock())
    failed: Counter[str] = Counter()

    async def down(request: httpx.Request) -> httpx.Response | None:
        if not OUTAGE[0] <= server.clock.monotonic() < OUTAGE[1]:
            return None
        failed[request.headers["x-feed"]] += 1
        return error(503)

    server.fault = down
    async with contextlib.AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(anyio.create_task_group())
        feeds: list[Feed] = []
        for number in range(FLEET):
            client = await stack.enter_async_context(server.client(headers={"x-feed": str(number)}))
            feeds.append(Feed(client, server.ledger()))
            tasks.start_soon(feeds[-1].drive)
        await server.clock.advance(2.0)
        assert all(feed.polls >= 1 for feed in feeds)
        assert peak(sorted(set(server.times)), 0.2) <= 3 * FLEET / 10
        await server.clock.advance(OUTAGE[1] - 2.0)
        assert all(feed.last_error for feed in feeds)
        server.commit(2)
        await server.clock.advance(400.0)
        assert all(feed.last_error is None for feed in feeds)
        assert {feed.latest.document.generation for feed in feeds if feed.latest and feed.latest.document} == {2}
        tasks.cancel_scope.cancel()
    assert len(failed) == FLEET
    assert max(failed.values()) <= 6
    later = [moment for moment in server.times if moment > 2.0]
    assert peak(later, 10.0) <= 2 * FLEET * 10.0 / INTERVAL
