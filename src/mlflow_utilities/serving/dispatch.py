"""Telling events to functions of the application, which may raise, hang, or call back."""

from __future__ import annotations

import inspect
import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

import anyio

from mlflow_utilities._clock import Clock
from mlflow_utilities.serving.isolation import in_own_task, is_async, wait_in_thread

__all__ = ["Dispatcher"]

_log = logging.getLogger("mlflow_utilities.serving")

E = TypeVar("E")


class Dispatcher(Generic[E]):
    """Calls `handler` with one event at a time, in the order in which they came.

    A synchronous handler is called in a thread of its own, an async one is awaited and cancelled after `timeout`
    seconds. A thread that hangs is not replaced. At most `limit` events wait: the oldest are dropped.

    Attributes: `dropped` events, and events that the handler `failed` on: it raised, or took longer than `timeout`.
    """

    def __init__(self, handler: Callable[[E], Any], *, limit: int, clock: Clock, timeout: float) -> None:
        self.dropped = 0
        self.failed = 0
        self._handler = handler
        self._clock = clock
        self._timeout = timeout
        self._limit = limit
        self._waiting: deque[E] = deque()
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._drained: list[threading.Event] = []
        self._logged = ""
        self._begun = 0  # how many events the handler was given
        self._handling = False
        self._late = 0  # which of them was counted as failed already, because it takes too long
        self._closed = False
        self._thread: threading.Thread | None = None

    def offer(self, event: E) -> bool:
        """Let the handler have an event, from any thread, without waiting.

        Returns False when one had to be dropped: the oldest that waits, or this one when `run` has ended.
        """
        with self._lock:
            kept = not self._closed and len(self._waiting) < self._limit
            if not kept:
                self.dropped += 1
                if self._closed:
                    return False
                self._waiting.popleft()
            self._waiting.append(event)
        self._arrived.set()
        return kept

    async def run(self) -> None:
        """Call the handler until cancelled; events that wait then, and one that an async handler has, are dropped."""
        self._closed = False
        try:
            await (self._run_on_loop() if is_async(self._handler) else self._run_in_thread())
        finally:
            with self._lock:
                self._closed = True
                self.dropped += len(self._waiting)
                self._waiting.clear()
                self._tell_drained()
            self._arrived.set()

    async def drain(self, seconds: float) -> bool:
        """Wait until all events are handled, at most so long; return whether that came."""
        idle = threading.Event()
        with self._lock:
            if self._waiting or self._handling:
                self._drained.append(idle)
            else:
                idle.set()
        with self._clock.time_limit(seconds):
            await wait_in_thread(idle)
        return not self._waiting and not self._handling

    def _take(self) -> E | None:
        """Return the next event, or None when there is none; then `_arrived` will be set by the next."""
        with self._lock:
            if self._waiting:
                self._begun += 1
                self._handling = True
                return self._waiting.popleft()
            self._handling = False
            self._tell_drained()
            if not self._closed:
                self._arrived.clear()
            return None

    def _tell_drained(self) -> None:
        drained, self._drained = self._drained, []
        for idle in drained:
            idle.set()

    async def _run_on_loop(self) -> None:
        while True:
            event = self._take()
            if event is None:
                await wait_in_thread(self._arrived)
                continue
            try:
                with self._clock.time_limit(self._timeout) as limit:
                    await in_own_task(partial(self._handler, event))
                if limit.cancelled_caught:
                    self._fail(f"no end within {self._timeout:g} s")
            except anyio.get_cancelled_exc_class():
                self.dropped += 1
                raise
            except Exception as error:
                self._fail(error)

    async def _run_in_thread(self) -> None:
        """Watch over the thread, which needs nothing of the event loop: events may be many."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="mlflow-utilities events", daemon=True)
            self._thread.start()
        while True:
            before = self._begun if self._handling else None
            await self._clock.sleep(self._timeout)
            with self._lock:
                hangs = self._handling and self._begun == before and self._late != before
                if hangs:
                    self._late = self._begun
            if hangs:
                self._fail(f"no end within {self._timeout:g} s")

    def _work(self) -> None:
        while not self._closed:
            event = self._take()
            if event is None:
                self._arrived.wait()
                continue
            number = self._begun
            try:
                _refuse_awaitable(self._handler(event))
            except BaseException as error:  # an exit, too, would end the thread unseen
                if self._late != number:
                    self._fail(error)
            del event
        self._handling = False

    def _fail(self, why: BaseException | str) -> None:
        self.failed += 1
        name = getattr(self._handler, "__qualname__", repr(self._handler))
        text = f"{type(why).__name__}: {why}"
        level = logging.DEBUG if text == self._logged else logging.WARNING
        self._logged = text
        _log.log(level, "%s failed: %s", name, why, exc_info=why if isinstance(why, BaseException) else None)


def _refuse_awaitable(result: object) -> None:
    if inspect.isawaitable(result):
        if inspect.iscoroutine(result):
            result.close()
        raise TypeError("it returned an awaitable: give an async function, not one that returns what another made")
