"""In which state a service is, and who is told when that changes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio

from mlflow_utilities.errors import NotReadyError
from mlflow_utilities.serving.values import Change, Health, PollError, ServingState, ServingStatus

if TYPE_CHECKING:
    from mlflow_utilities.serving.routing import Snapshot
    from mlflow_utilities.serving.running import Running

__all__ = ["Watch", "decide_state"]

_log = logging.getLogger("mlflow_utilities.serving")
# Polls that may be missed before the state says so: one failed poll is no news.
_STALE_AFTER = 3
_NEEDS_A_PERSON = frozenset({"unauthenticated", "forbidden", "not found", "ledger", "invalid data"})


def decide_state(
    *, closed: bool, serving: bool, age: float | None, interval: float, error: PollError | None
) -> ServingState:
    """Return the state; `age` is the seconds since the last successful poll, None when the first was not made yet."""
    if closed:
        return ServingState.CLOSED
    if error is not None and error.kind in _NEEDS_A_PERSON:
        return ServingState.ERROR
    if not serving:
        return ServingState.INITIALIZING
    if age is not None and age > _STALE_AFTER * interval:
        return ServingState.STALE
    return ServingState.READY


class Watch:
    """Looks at a service when something may have changed, and tells its listeners what did.

    `see` returns what serves, the running parts, and how many requests are in flight.
    """

    def __init__(self, interval: float, see: Callable[[], tuple[Snapshot | None, Running | None, int]]) -> None:
        self.closing = False
        self._interval = interval
        self._see = see
        self._state = ServingState.INITIALIZING
        self._since = 0
        self._told: ServingStatus | None = None
        self._changed: anyio.Event | None = None
        self._started = False

    def begin(self) -> None:
        """Start, or start again."""
        self.closing, self._started, self._told, self._changed = False, True, self.status(), None

    def close(self) -> None:
        """Say that no more requests are answered."""
        self.closing = True
        self.changed()

    def end(self) -> None:
        """Say that it is over."""
        self._started = False
        self.changed()

    def changed(self) -> None:
        """Look, tell listeners what is different, and wake who waits."""
        before, now = self._told, self.status()
        if before is None or _news(before) != _news(now):
            self._tell(before, now)
        event, self._changed = self._changed, None
        if event is not None:
            event.set()

    def _tell(self, before: ServingStatus | None, now: ServingStatus) -> None:
        self._told = now
        running = self._see()[1]
        if before is None or running is None:
            return
        _log_news(running.name, before, now)
        for listener in running.listeners:
            listener.offer(Change(before, now))
        running.telemetry.state(now.state)

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until a look finds the condition true."""
        while not condition():
            if self._changed is None:
                self._changed = anyio.Event()
            await self._changed.wait()

    def status(self) -> ServingStatus:
        """Return what there is to see now."""
        snapshot, running, in_flight = self._see()
        serving = snapshot is not None and bool(snapshot.models)
        age = since = error = None
        interval = self._interval
        fields: dict[str, Any] = {}
        if running is not None:
            age, error = running.age, running.supervisor.last_error
            since = math.inf if age is None and (error or running.polls) else age
            interval = max(interval, running.poll_hint or 0.0)
            fields = running.report()
        closed = self.closing or (not self._started and running is None and snapshot is None and self._told is not None)
        state = decide_state(closed=closed, serving=serving, age=since, interval=interval, error=error)
        if state is not self._state or not self._since:
            self._state, self._since = state, running.client.clock.now_ms() if running else self._since
        return ServingStatus(
            state=state,
            since=self._since,
            generation=snapshot.generation if snapshot else None,
            version=snapshot.version if snapshot else None,
            source=snapshot.source if snapshot else None,
            fractions={run: model.test_fraction for run, model in snapshot.models.items()} if snapshot else {},
            age=age,
            last_error=error,
            in_flight=in_flight,
            **fields,
        )

    def health(self, ready: bool) -> Health:
        """Return what a probe is told."""
        status = self.status()
        if ready and status.state is ServingState.READY:
            return Health(True, status.state)
        return Health(ready, status.state, status.reason or (None if ready else str(self.not_ready())))

    def not_ready(self) -> NotReadyError:
        """Return the error of a request that cannot be answered, with its cause."""
        snapshot, running, _ = self._see()
        if running is None or self.closing:
            return NotReadyError("this ActiveModels is not running", hint="use it inside `async with`")
        cause, pending = running.supervisor.exception, running.adopter.pending
        if snapshot is not None and cause is None:
            found = (
                f"generation {snapshot.generation} of {running.name} has no Active run in {running.following.versions}"
            )
            return NotReadyError(found, hint="enable a run: enable_run, update_active_runs")
        why = pending or (str(cause) if cause is not None else "MLflow has not answered yet")
        error = NotReadyError(f"no model of {running.name} is loaded yet: {why}", hint=running.supervisor.problem)
        error.__cause__ = cause
        return error


def _log_news(name: str, before: ServingStatus, now: ServingStatus) -> None:
    if now.fractions and (now.generation, now.fractions) != (before.generation, before.fractions):
        shares = ", ".join(f"{run} {fraction:.0%}" for run, fraction in now.fractions.items())
        _log.info("%s serves generation %s (%s): %s: %s", name, now.generation, now.source, now.version, shares)
    if before.fractions and not now.fractions and now.state is not ServingState.CLOSED:
        _log.warning("%s has no model to answer with: %s", name, now.reason)
    elif now.state is not before.state:
        level = logging.WARNING if now.state in (ServingState.STALE, ServingState.ERROR) else logging.INFO
        goes_on = (
            f"; it serves generation {now.generation} ({now.source})" if now.fractions and level > logging.INFO else ""
        )
        _log.log(level, "%s is %s%s%s", name, now.state, f": {now.reason}" if now.reason else "", goes_on)


def _news(status: ServingStatus) -> tuple[Any, ...]:
    error = status.last_error
    return (
        status.state,
        status.generation,
        status.version,
        status.source,
        status.seen,
        status.pending,
        tuple(status.failures),
        tuple(status.fractions.items()),
        (error.kind, error.http_status) if error else None,
    )
