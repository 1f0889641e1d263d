"""Following a rollout: polls as a service makes them, each told to the one who watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import anyio

from mlflow_utilities.cli.options import Named
from mlflow_utilities.cli.targets import find_submodel
from mlflow_utilities.cli.watching import Seen
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import (
    MlflowConnectionError,
    MlflowTimeoutError,
    ProtocolError,
    RateLimitedError,
    ServerError,
)
from mlflow_utilities.rollout.reader import Ledger
from mlflow_utilities.serving.feed import Feed
from mlflow_utilities.serving.ledger_poll import polling_client
from mlflow_utilities.serving.reports import describe, is_slow, retry_after
from mlflow_utilities.serving.schedule import Schedule

__all__ = ["Follower"]

_OUTAGES = (MlflowConnectionError, MlflowTimeoutError, ServerError, RateLimitedError, ProtocolError)


class Follower:
    """Polls one rollout until told to stop."""

    def __init__(self, client: AsyncMlflowClient, named: Named, *, interval: float) -> None:
        self._client = client
        self._clock = client.clock
        self._named = named
        self._interval = interval
        self._seen: Seen | None = None

    async def run(self, on_seen: Callable[[Seen], bool]) -> None:
        """Poll, tell `on_seen` of each poll, and end when it says True. A server that is down is waited for.

        Raises InvalidInputError when none is named, there is no such experiment, or the interval cannot be, and API
        errors when the server refuses (401, 403) before it was ever reached.
        """
        Schedule(self._interval)
        ledger = await self._locate(on_seen)
        if ledger is None:
            return
        feed = Feed(self._client, ledger, delay=False)
        async with anyio.create_task_group() as group:
            with feed.subscribe(self._interval):
                group.start_soon(feed.drive)
                polls = 0
                while True:
                    polls = await feed.wait(polls)
                    if on_seen(self._note_poll(ledger.submodel, feed)):
                        break
            group.cancel_scope.cancel()

    async def _locate(self, on_seen: Callable[[Seen], bool]) -> Ledger | None:
        """Return the ledger once the server answers, or None when the watcher had enough before."""
        schedule, asking = Schedule(self._interval), polling_client(self._client)
        named = self._named
        name = named.submodel_name or named.experiment_name or f"experiment {named.experiment_id}"
        while True:
            start = self._clock.monotonic()
            try:
                return await find_submodel(asking, named)
            except _OUTAGES as error:
                report, took = describe(error, self._clock.now_ms()), self._clock.monotonic() - start
                wait = schedule.failed(self._clock.random(), slow=is_slow(error), retry_after=retry_after(error))
            if on_seen(self._note(Seen(name, None, False, report, took, self._clock.now_ms(), wait))):
                return None
            await self._clock.sleep(wait)

    def _note_poll(self, submodel: str, feed: Feed) -> Seen:
        """Keep what a poll of the feed left."""
        document = feed.latest.document if feed.latest else None
        reached = document is not None or feed.last_success is not None
        wait = max((feed.next_poll or 0.0) - self._clock.monotonic(), 0.0)
        now = self._clock.now_ms()
        return self._note(Seen(submodel, document, reached, feed.last_error, feed.took, now, wait))

    def _note(self, seen: Seen) -> Seen:
        failures = self._seen.failures + 1 if self._seen and seen.error else int(seen.error is not None)
        self._seen = replace(seen, failures=failures)
        return self._seen
