"""Calling functions of the application and of models where they can do no harm, however long they take."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any

import anyio
import anyio.to_thread

from mlflow_utilities._clock import Clock

__all__ = ["CallTimeoutError", "DaemonThread", "call_isolated", "in_own_task", "is_async", "wait_in_thread"]


class CallTimeoutError(TimeoutError):
    """A call took too long; a TimeoutError of the function itself is none."""


class DaemonThread:
    """A thread that makes one call at a time; a call that hangs keeps neither its caller nor the process.

    The threads of anyio are no such threads: on asyncio a process does not exit before they have returned.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = SimpleQueue()
        self._last: Future[Any] | None = None
        self._started = False

    @property
    def busy(self) -> bool:
        """Whether a call is still under way, be its caller there or not."""
        return self._last is not None and not self._last.done()

    async def call(self, function: Callable[[], Any]) -> Any:
        """Return what `function` returns; a cancelled caller leaves it to itself, and the thread is busy until it ends.

        Raises what it raises, and RuntimeError in place of an exit.
        """
        if not self._started:
            self._started = True
            threading.Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True).start()
        self._last = outcome = Future[Any]()
        self._jobs.put((function, outcome))
        await _finished(outcome)
        # What the call used and gave belongs to its caller alone: an idle thread keeps nothing in memory.
        self._last = None
        error = outcome.exception()
        if error is None:
            return outcome.result()
        try:
            if isinstance(error, Exception):
                raise error
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        finally:
            del error, outcome

    async def until_idle(self) -> None:
        """Wait until the call has ended that its caller left to itself."""
        if self._last is not None:
            await _finished(self._last)
            self._last = None

    def stop(self) -> None:
        """End the thread, after the call that is under way."""
        self._jobs.put(None)


def _work(jobs: SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]) -> None:
    while (job := jobs.get()) is not None:
        function, outcome = job
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)
            del error
        del job, function, outcome


async def _finished(outcome: Future[Any]) -> None:
    ended = threading.Event()
    outcome.add_done_callback(lambda _: ended.set())
    await wait_in_thread(ended)


async def wait_in_thread(event: threading.Event) -> None:
    """Wait for an event that any thread may set; a cancelled caller sets it, so that no thread goes on waiting."""
    try:
        await anyio.to_thread.run_sync(event.wait, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    finally:
        event.set()


def is_async(function: Callable[..., object]) -> bool:
    """Return whether calling this makes an awaitable: a coroutine function, or an object that is called like one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


async def call_isolated(
    thread: DaemonThread, function: Callable[..., Any], *args: Any, clock: Clock, timeout: float
) -> Any:
    """Return what a function returns: called in `thread`, or awaited in a task of its own when it is async.

    Raises CallTimeoutError after `timeout` seconds, when the thread may still be busy, and what the function raises.
    """
    with clock.time_limit(timeout):
        if is_async(function):
            return await in_own_task(partial(function, *args))
        result = await thread.call(partial(function, *args))
        return await in_own_task(lambda: result) if inspect.isawaitable(result) else result
    raise CallTimeoutError(f"no answer within {timeout:g} s")


async def in_own_task(function: Callable[[], Awaitable[Any]]) -> Any:
    """Return what `function` returns; it gets a task of its own, because it may cancel the task that it runs in.

    Raises what it raises, and RuntimeError when it cancelled its task.
    """
    results: list[Any] = []
    failures: list[Exception] = []

    async def child() -> None:
        try:
            results.append(await function())
        except Exception as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(child)
    if failures:
        raise failures.pop()
    if not results:
        raise RuntimeError("it cancelled its own task")
    return results.pop()
