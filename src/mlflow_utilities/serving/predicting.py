"""Computing predictions: in worker threads of their own, counted, so that a service can finish them before it ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.to_thread

from mlflow_utilities._clock import Clock
from mlflow_utilities.errors import InvalidInputError, ModelError
from mlflow_utilities.serving.isolation import is_async
from mlflow_utilities.serving.options import Fallback, check_callable
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.telemetry import Telemetry
from mlflow_utilities.serving.telling import Chosen
from mlflow_utilities.serving.values import Prediction, Reason

__all__ = ["PredictFunction", "Predictor", "check_predicts", "predict_with"]

PredictFunction = Callable[[Any, Any], Any]


def predict_with(loaded: Any, data: Any) -> Any:
    """Return what a loaded model makes of its input: by its `predict`, or by calling it."""
    predict = getattr(loaded, "predict", None)
    return predict(data) if callable(predict) else loaded(data)


def check_predicts(loaded: Any) -> None:
    """Raise ModelError unless `predict_with` can use the object."""
    if not callable(getattr(loaded, "predict", None)) and not callable(loaded):
        raise ModelError(
            f"a {type(loaded).__qualname__} has no predict and cannot be called",
            hint="give ActiveModels a function predict=lambda loaded, data: ...",
        )


class Predictor:
    """Calls the predict function, `threads` at a time; an async one is awaited on the event loop."""

    def __init__(
        self, function: PredictFunction, *, fallback: Fallback | None, telemetry: Telemetry, threads: int | None
    ) -> None:
        self.in_flight = 0
        self.function = function
        self._is_async = is_async(function)
        self._fallback = fallback
        self._telemetry = telemetry
        self._threads = min(32, (os.cpu_count() or 1) + 4) if threads is None else threads
        check_callable(function, "predict")
        if isinstance(self._threads, bool) or not isinstance(self._threads, int) or self._threads < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"max_threads is {threads!r}", hint="give an integer >= 1")
        self._limiter: anyio.CapacityLimiter | None = None
        self._idle: anyio.Event | None = None
        self._life = object()

    def reset(self) -> None:
        """Forget the event loop: it is another one after a fork or a restart."""
        self._limiter, self._idle, self.in_flight, self._life = None, None, 0, object()

    @contextmanager
    def counted(self) -> Generator[None]:
        """Count what runs in the block among the requests in flight."""
        self.in_flight += 1
        life = self._life
        try:
            yield
        finally:
            if life is self._life:  # else it is of a service that ended, whose time to wait was over
                self.in_flight -= 1
            if not self.in_flight and self._idle is not None:
                self._idle.set()

    async def answer(
        self, data: Any, key: str | None, chosen: Chosen, before: Callable[[], ServedModel | None], clock: Clock
    ) -> Prediction[Any]:
        """Return the chosen model's prediction, or what the fallback gives: `before` is asked for the model before.

        A cancelled caller leaves the thread to itself. Raises what the predict function raises, or the fallback.
        """
        try:
            return await self._timed(chosen.model, data, chosen.reason, clock)
        except Exception as error:
            if callable(self._fallback):
                output = await self._call(self._fallback, error, data, key)
                return Prediction(output, chosen.model, Reason.FALLBACK)
            model = before() if self._fallback == "previous" else None
            if model is None:
                raise
            return await self._timed(model, data, Reason.FALLBACK, clock)

    async def _timed(self, model: ServedModel, data: Any, reason: Reason, clock: Clock) -> Prediction[Any]:
        start, failed = clock.monotonic(), True
        try:
            output = await self._predict(model, data)
            failed = False
        finally:
            self._telemetry.prediction(model, clock.monotonic() - start, failed, reason)
        return Prediction(output, model, reason)

    async def _predict(self, model: ServedModel, data: Any) -> Any:
        if self._is_async:
            return await self.function(model.loaded, data)
        # The model, not the loaded object: it stays in memory until the thread has ended.
        return await self._in_thread(lambda: self.function(model.loaded, data))

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what a function of the caller makes of its arguments: async, or in a worker thread."""
        return await function(*args) if is_async(function) else await self._in_thread(lambda: function(*args))

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._threads)
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=self._limiter)

    async def drain(self, seconds: float, clock: Clock) -> bool:
        """Wait until nothing is in flight, at most so long; return whether that came."""
        if self.in_flight:
            self._idle = anyio.Event()
            with clock.time_limit(seconds):
                await self._idle.wait()
        return not self.in_flight
