"""Models on disk for services: objects that can be watched, and some whose loading hangs or raises."""

from __future__ import annotations

import json
import pickle
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.serving.residents import Residents, Wanted
from support.clock import SteppedClock

__all__ = [
    "FLAVORS",
    "Failing",
    "Gate",
    "Gated",
    "Thing",
    "Unloaded",
    "comes_true",
    "local_model",
    "pickled",
    "running",
    "set_off",
]

FLAVORS = json.dumps({"flavors": {"sklearn": {"pickled_model": "model.pkl", "serialization_format": "pickle"}}})


class Thing:
    """An object with a label, as a model."""

    def __init__(self, label: str) -> None:
        self.label = label


class Failing:
    """An object that cannot be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _fail, ()


def _fail() -> None:
    raise ValueError("made to fail")


class Gate:
    """Where loading stops until the test opens it."""

    _all: ClassVar[dict[str, Gate]] = {}

    def __init__(self, name: str) -> None:
        self.name = name
        self.loads = 0
        self._entered = threading.Semaphore(0)
        self._opened = threading.Event()
        self._all[name] = self

    async def entered(self) -> None:
        """Wait until loading stops here, each time once."""
        await anyio.to_thread.run_sync(self._entered.acquire)

    def open(self) -> None:
        """Let everything through."""
        self._opened.set()

    @classmethod
    def pass_through(cls, name: str, label: str) -> Thing:
        """Stop, then return an object."""
        gate = cls._all[name]
        gate.loads += 1
        gate._entered.release()
        gate._opened.wait()
        return Thing(label)


class Gated:
    """An object whose unpickling stops at a gate."""

    def __init__(self, gate: Gate, label: str = "gated") -> None:
        self._arguments = (gate.name, label)

    def __reduce__(self) -> tuple[Any, ...]:
        return Gate.pass_through, self._arguments


class Unloaded:
    """Notes on which thread an object is destroyed."""

    def __init__(self, model: object) -> None:
        self.thread: int | None = None
        self._done = threading.Event()
        self._watched = weakref.ref(model, self._gone)

    def _gone(self, _: object) -> None:
        self.thread = threading.get_ident()
        self._done.set()

    @property
    def happened(self) -> bool:
        """Whether it is destroyed."""
        return self._done.is_set()

    async def wait(self) -> None:
        """Wait until it is destroyed."""
        await anyio.to_thread.run_sync(self._done.wait)


def pickled(model: object, size: int = 0) -> bytes:
    """Return an object as a pickle, padded to a size in bytes."""
    return pickle.dumps(model).ljust(size, b"\0")


def local_model(directory: Path, model: object, *, size: int = 0) -> Wanted:
    """Write a model of at least `size` bytes, and return it as a run named like its directory."""
    directory.mkdir(parents=True)
    (directory / "MLmodel").write_text(FLAVORS)
    (directory / "model.pkl").write_bytes(pickled(model, max(0, size - len(FLAVORS))))
    return Wanted(directory.name, str(directory))


@asynccontextmanager
async def running(client: AsyncMlflowClient | None = None, **options: Any) -> AsyncGenerator[Residents]:
    """Give residents whose loads run; by default nothing can be downloaded, and time stands still."""
    client = client or AsyncMlflowClient("http://127.0.0.1:1", clock=SteppedClock())
    residents = Residents(client, **options)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(residents.run)
        try:
            yield residents
        finally:
            with anyio.CancelScope(shield=True):
                await residents.aclose()
            tasks.cancel_scope.cancel()


async def comes_true(condition: Callable[[], Any]) -> None:
    """Let everything go on until the condition holds."""
    while not condition():
        await anyio.lowlevel.checkpoint()


async def set_off(tasks: anyio.abc.TaskGroup, call: Callable[[], Any]) -> list[Any]:
    """Call it in a task, and return a list that gets its result or its error."""
    results: list[Any] = []

    async def work() -> None:
        try:
            results.append(await call())
        except Exception as error:
            results.append(error)

    tasks.start_soon(work)
    await anyio.wait_all_tasks_blocked()
    return results
