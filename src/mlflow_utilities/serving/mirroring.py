"""Copying requests to Canary runs, where they can neither delay nor change what the caller gets."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from mlflow_utilities._clock import Clock
from mlflow_utilities.serving.breaker import Breaker
from mlflow_utilities.serving.input_copy import Copier, Restore, take
from mlflow_utilities.serving.isolation import CallTimeoutError, DaemonThread, call_isolated, is_async
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.telemetry import SafeTelemetry, Telemetry
from mlflow_utilities.serving.values import CanaryCounts, Prediction

__all__ = ["Mirror", "OnCanary"]

_log = logging.getLogger("mlflow_utilities.serving")

OnCanary = Callable[[Prediction[Any], Prediction[Any], str | None], Any]


@dataclass(slots=True, eq=False)
class _Canary:
    """What is known of one Canary run; `kept` is False when it is a Canary run no more."""

    run_id: str
    counts: Counter[str] = field(default_factory=Counter[str])
    breaker: Breaker = field(default_factory=Breaker)
    kept: bool = True
    warned: bool = False


@dataclass(slots=True, eq=False)
class _Copy:
    """A request that waits for a canary, `until` when."""

    canary: _Canary
    model: ServedModel
    data: Restore
    key: str | None
    primary: Prediction[Any]
    output: Restore
    until: float


class Mirror:
    """Lets canaries answer copies of requests, `concurrency` at a time, in threads of their own.

    A copy waits and is computed for `timeout` seconds each, at most; `on_canary(primary, canary, key)` has as long.
    A thread that hangs is not replaced: while all hang, copies are dropped. At most `queue_size` copies wait: the
    oldest are dropped. After failures in a row a breaker pauses the run. `copy`: see `input_copy.take`.
    """

    def __init__(
        self,
        predict: Callable[[Any, Any], Any],
        *,
        on_canary: OnCanary | None,
        timeout: float,
        concurrency: int,
        queue_size: int,
        copy: Copier,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._predict = predict
        self._on_canary = on_canary
        self._timeout = timeout
        self._concurrency = concurrency
        self._queue_size = queue_size
        self._copy: Copier = copy
        self._clock = clock
        self._telemetry = SafeTelemetry(telemetry)
        self._canaries: dict[str, _Canary] = {}
        self._keep: frozenset[str] | None = None
        self._waiting: deque[_Copy] = deque()
        self._arrived: anyio.Event | None = None
        self._hanging = 0
        self._closed = False

    @property
    def counts(self) -> Mapping[str, CanaryCounts]:
        """What became of the copies, by run id.

        offered = answered + failed + timed_out + dropped + skipped + those that wait or are being computed.
        """
        now = self._clock.monotonic()
        return {
            run_id: CanaryCounts(**canary.counts, open=canary.breaker.is_open(now))
            for run_id, canary in self._canaries.items()
        }

    def offer(self, data: Any, key: str | None, primary: Prediction[Any], canaries: Sequence[ServedModel]) -> None:
        """Let canaries answer the same input, later. Called on the event loop; neither waits nor raises."""
        try:
            self._offer(data, key, primary, canaries)
        except Exception:
            _log.exception("a request could not be copied to canaries")

    def forget(self, keep: Iterable[str]) -> None:
        """Let only the runs in `keep` get copies from now on: copies that wait for others are skipped."""
        self._keep = kept = frozenset(keep)
        for run_id in self._canaries.keys() - kept:
            self._canaries.pop(run_id).kept = False
        self._clear("skipped", [copy for copy in self._waiting if not copy.canary.kept])

    async def run(self) -> None:
        """Work until cancelled; copies that wait then are dropped."""
        self._closed = False
        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(self._concurrency):
                    tasks.start_soon(self._work)
        finally:
            self._closed = True
            self._clear("dropped", list(self._waiting))

    def _offer(self, data: Any, key: str | None, primary: Prediction[Any], models: Sequence[ServedModel]) -> None:
        now = self._clock.monotonic()
        asked = [(canary, model) for model in models if (canary := self._admit(model, now)) is not None]
        if not asked:
            return
        try:
            own = take(data, self._copy)
        except Exception as error:
            for canary, _ in asked:
                self._note(canary, "skipped")
                self._warn_once(canary, f"its input cannot be copied: {type(error).__name__}: {error}")
            return
        output = self._own_output(primary.output)
        for canary, model in asked:
            if len(self._waiting) >= self._queue_size:
                self._note(self._waiting.popleft().canary, "dropped")
            self._waiting.append(_Copy(canary, model, own, key, primary, output, now + self._timeout))
        if self._arrived is not None:
            self._arrived.set()

    def _admit(self, model: ServedModel, now: float) -> _Canary | None:
        """Count a copy that is offered; None when it is settled already."""
        if self._keep is not None and model.run_id not in self._keep:
            return None
        canary = self._canaries.get(model.run_id)
        if canary is None:
            canary = self._canaries[model.run_id] = _Canary(model.run_id)
        canary.counts["offered"] += 1
        if self._closed or self._hanging >= self._concurrency:
            self._note(canary, "dropped")
        elif canary.breaker.is_open(now):
            self._note(canary, "skipped")
        else:
            return canary
        return None

    def _own_output(self, output: Any) -> Restore:
        """Return how on_canary gets the primary's answer as it is now: the caller may change its own."""
        if self._on_canary is not None and self._copy is not None:
            try:
                return take(output)
            except Exception:
                _log.debug("on_canary gets the very answer of the primary, which cannot be copied")
        return lambda: output

    async def _work(self) -> None:
        thread = DaemonThread("mlflow-utilities canary")
        try:
            while True:
                # No variable holds a copy, and so its models, while there is nothing to do.
                await self._answer(thread, await self._next())
                if thread.busy:
                    with self._hang():
                        await thread.until_idle()
        finally:
            thread.stop()

    async def _next(self) -> _Copy:
        while not self._waiting:
            if self._arrived is None or self._arrived.is_set():
                self._arrived = anyio.Event()
            await self._arrived.wait()
        return self._waiting.popleft()

    @contextmanager
    def _hang(self) -> Generator[None]:
        self._hanging += 1
        try:
            if self._hanging >= self._concurrency:
                self._clear("dropped", list(self._waiting))
            yield
        finally:
            self._hanging -= 1

    async def _answer(self, thread: DaemonThread, copy: _Copy) -> None:
        canary, now = copy.canary, self._clock.monotonic()
        if now >= copy.until:
            self._note(canary, "dropped")
        elif not canary.kept or not canary.breaker.allows(now):
            self._note(canary, "skipped")
        else:
            outcome, output = "dropped", None  # in case that this is cancelled
            try:
                outcome, output = await self._compute(thread, copy)
            finally:
                self._note(canary, outcome)
            if outcome == "answered" and self._on_canary is not None:
                await self._compare(thread, copy, output, self._on_canary)

    async def _compute(self, thread: DaemonThread, copy: _Copy) -> tuple[str, Any]:
        """Return what became of a copy, and the answer if there is one."""
        predict = _predict_async if is_async(self._predict) else _predict_sync
        try:
            output = await call_isolated(thread, predict, self._predict, copy, clock=self._clock, timeout=self._timeout)
        except Exception as error:
            self._failed(copy.canary, error)
            return "timed_out" if isinstance(error, CallTimeoutError) else "failed", None
        copy.canary.breaker.succeeded()
        return "answered", output

    def _failed(self, canary: _Canary, error: Exception) -> None:
        now = self._clock.monotonic()
        was_open = canary.breaker.is_open(now)
        canary.breaker.failed(now)
        what = f"{type(error).__name__}: {error}"
        self._warn_once(canary, what)
        if canary.breaker.is_open(now) and not was_open:
            _log.warning("canary %s gets no copies for a while: %s", canary.run_id, what)

    async def _compare(self, thread: DaemonThread, copy: _Copy, output: Any, on_canary: OnCanary) -> None:
        compare = _compare_async if is_async(on_canary) else _compare_sync
        try:
            await call_isolated(thread, compare, on_canary, copy, output, clock=self._clock, timeout=self._timeout)
        except Exception as error:
            self._note(copy.canary, "hook_failed")
            if copy.canary.counts["hook_failed"] == 1:
                _log.warning("on_canary failed for %s: %s: %s", copy.canary.run_id, type(error).__name__, error)

    def _clear(self, outcome: str, copies: Sequence[_Copy]) -> None:
        gone = set(copies)
        self._waiting = deque(copy for copy in self._waiting if copy not in gone)
        for copy in copies:
            self._note(copy.canary, outcome)

    def _note(self, canary: _Canary, outcome: str) -> None:
        canary.counts[outcome] += 1
        self._telemetry.canary(canary.run_id, outcome)

    def _warn_once(self, canary: _Canary, what: str) -> None:
        if not canary.warned:
            canary.warned = True
            _log.warning("canary %s: %s", canary.run_id, what)


def _predict_sync(predict: Callable[[Any, Any], Any], copy: _Copy) -> Any:
    return predict(copy.model.loaded, copy.data())


async def _predict_async(predict: Callable[[Any, Any], Awaitable[Any]], copy: _Copy) -> Any:
    return await predict(copy.model.loaded, copy.data())


def _compare_sync(on_canary: OnCanary, copy: _Copy, output: Any) -> Any:
    primary = replace(copy.primary, output=copy.output())
    return on_canary(primary, Prediction(output, copy.model, copy.primary.reason), copy.key)


async def _compare_async(on_canary: OnCanary, copy: _Copy, output: Any) -> None:
    await _compare_sync(on_canary, copy, output)
