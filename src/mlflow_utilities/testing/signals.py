"""An event between threads and event loops."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass

import anyio
from anyio.from_thread import BlockingPortal

__all__ = ["Signal"]


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    event: anyio.Event
    portal: BlockingPortal
    thread: int

    def wake(self) -> None:
        if self.thread == threading.get_ident():
            self.event.set()
            return
        with contextlib.suppress(RuntimeError):  # it stopped waiting just now
            self.portal.start_task_soon(self.event.set)


class Signal:
    """Set once, by any thread; any number of tasks wait for it, on any event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = False
        self._waiters: set[_Waiter] = set()

    def set(self) -> None:
        """Wake everyone."""
        with self._lock:
            self._set = True
            waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            waiter.wake()

    async def wait(self) -> None:
        """Wait until it is set."""
        async with BlockingPortal() as portal:
            waiter = _Waiter(anyio.Event(), portal, threading.get_ident())
            with self._lock:
                if self._set:
                    return
                self._waiters.add(waiter)
            try:
                await waiter.event.wait()
            finally:
                with self._lock:
                    self._waiters.discard(waiter)
