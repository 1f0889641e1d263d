"""Models that are plain functions, a mirror that runs, and a telemetry to wait on."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from threading import Event, Semaphore
from typing import Any

import anyio
import anyio.to_thread

from mlflow_utilities._clock import Clock
from mlflow_utilities.serving.mirroring import Mirror
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.telemetry import NoTelemetry
from mlflow_utilities.serving.values import Prediction, Reason
from support.rollouts import canary
from support.snapshots import Held, served

__all__ = ["TIMEOUT", "Recorder", "Setup", "Told", "answer_of", "function_model", "happened", "running"]

TIMEOUT = 10.0


def function_model(run_id: str, function: Callable[[Any], Any], generation: int = 5) -> ServedModel:
    """Return a model whose loaded object is a function."""
    return replace(served(canary(run_id, 10_000), "1.4.2", generation), _hold=Held(function))


def answer_of(primary: ServedModel, data: Any) -> Prediction[Any]:
    """Return what a model answers."""
    return Prediction(primary.loaded(data), primary, Reason.BUCKET)


async def happened(event: Event) -> None:
    """Wait for what a thread does."""
    await anyio.to_thread.run_sync(event.wait)


class Recorder(NoTelemetry):
    """Counts the outcomes of copies."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self._changed = anyio.Event()

    def canary(self, run_id: str, outcome: str) -> None:
        """Count, and wake who waits."""
        self.outcomes[outcome] += 1
        self._changed.set()
        self._changed = anyio.Event()

    async def seen(self, outcome: str, times: int = 1) -> None:
        """Wait until there were so many."""
        while self.outcomes[outcome] < times:
            await self._changed.wait()


class Told:
    """An on_canary that keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Prediction[Any], Prediction[Any], str | None]] = []
        self._called = Semaphore(0)

    def __call__(self, primary: Prediction[Any], canary: Prediction[Any], key: str | None) -> None:
        """Keep it."""
        self.calls.append((primary, canary, key))
        self._called.release()

    async def once_more(self) -> tuple[Prediction[Any], Prediction[Any], str | None]:
        """Wait for one call more, and return it."""
        await anyio.to_thread.run_sync(self._called.acquire)
        return self.calls[-1]


class Setup:
    """A mirror and what it is made of."""

    def __init__(self, clock: Clock, **options: Any) -> None:
        self.recorder = Recorder()
        fixed: dict[str, Any] = {
            "predict": lambda loaded, data: loaded(data),
            "on_canary": None,
            "timeout": TIMEOUT,
            "concurrency": 1,
            "queue_size": 100,
            "copy": "default",
            "telemetry": self.recorder,
        }
        options = {**fixed, **options}
        self.mirror = Mirror(options.pop("predict"), clock=clock, **options)


@asynccontextmanager
async def running(*runners: Any) -> AsyncIterator[None]:
    """Run their `run` while the block does."""
    async with anyio.create_task_group() as tasks:
        for each in runners:
            tasks.start_soon(each.run)
        await anyio.wait_all_tasks_blocked()
        yield
        tasks.cancel_scope.cancel()
