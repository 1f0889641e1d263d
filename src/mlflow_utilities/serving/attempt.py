"""Work of which nobody knows whether it ends: in a daemon thread that can be left to itself."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Generic, TypeVar

from mlflow_utilities.errors import ModelError
from mlflow_utilities.serving.isolation import wait_in_thread

__all__ = ["Attempt", "forget_frames", "until"]

T = TypeVar("T")
E = TypeVar("E", bound=BaseException)


async def until(begin: Callable[[Callable[[], None]], object]) -> None:
    """Wait until the function that `begin` was given is called, from whatever thread."""
    called = threading.Event()
    begin(called.set)
    await wait_in_thread(called)


class Attempt(Generic[T]):
    """`work` in a thread of its own, which keeps neither an event loop nor the process from ending.

    What it returns to nobody, because its caller was cancelled, is given to `drop`, in that thread or another.
    """

    def __init__(self, work: Callable[[], T], drop: Callable[[T], object], later: Callable[..., object]) -> None:
        self._work = work
        self._drop = drop
        self._later = later
        self._lock = threading.Lock()
        self._results: list[T] = []
        self._error: Exception | None = None
        self._abandoned = False
        self._working = False

    @property
    def is_working(self) -> bool:
        """Whether the thread has begun and not ended."""
        return self._working

    async def result(self) -> T:
        """Do the work and return its result. Raises what it raises, ModelError for what is no Exception."""
        try:
            await until(self._begin)
        except BaseException:
            self._abandon()
            raise
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self._results.pop()

    def _begin(self, done: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._run, args=(done,), name="mlflow-utilities loading", daemon=True)
        self._working = True
        try:
            thread.start()
        except BaseException:
            self._working = False
            raise

    def _run(self, done: Callable[[], None]) -> None:
        try:
            self._keep(self._work())
        except Exception as error:
            self._error = forget_frames(error)
        except BaseException as error:  # SystemExit, or a panic of another language
            self._error = ModelError(f"loading ended with {type(error).__name__}: {error}")
        finally:
            self._working = False
            done()

    def _keep(self, result: T) -> None:
        with self._lock:
            if not self._abandoned:
                self._results.append(result)
                return
        self._drop(result)

    def _abandon(self) -> None:
        with self._lock:
            self._abandoned = True
            left, self._results = self._results, []
        for result in left:
            self._later(lambda result=result: self._drop(result))


def forget_frames(error: E) -> E:
    """Return an error without the local variables of its tracebacks, which would keep a model in memory."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        current = waiting.pop()
        if current is not None and current not in seen:
            seen.append(current)
            traceback.clear_frames(current.__traceback__)
            waiting += [current.__cause__, current.__context__]
    return error
