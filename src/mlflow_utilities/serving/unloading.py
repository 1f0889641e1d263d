"""The thread on which loaded models are destroyed, so that it costs neither the event loop nor a request anything."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

__all__ = ["GUARD", "begin", "give_memory_back", "later"]

_log = logging.getLogger("mlflow_utilities.serving")
_WORTH_TRIMMING = 64_000_000
_NAME = "mlflow-utilities unloading"

Job = Callable[[], object]


class _Guard:
    """A lock, new in a forked child, where the thread that may have held it does not exist."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        self._lock = threading.Lock()


class _Unloading:
    """One thread for the whole process, begun when the first model is loaded; it ends with the process."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Job] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def later(self, job: Job) -> None:
        """Have a job done on the thread. Takes no lock: the garbage collector may call it at any moment."""
        self._queue.put(job)

    def begin(self) -> None:
        """Have the thread run."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=_work, args=(self._queue,), name=_NAME, daemon=True)
            self._thread.start()

    def begin_again(self) -> None:
        """Go on in a forked child with what was still to be done."""
        before, self._queue = self._queue, SimpleQueue()
        try:
            while True:
                self._queue.put(before.get_nowait())
        except Empty:
            pass
        if self._thread is not None:
            self._thread = None
            self.begin()


def _work(queue: SimpleQueue[Job]) -> None:
    while True:
        job = queue.get()
        try:
            job()
        except Exception:
            _log.exception("a model could not be unloaded properly")
        del job  # or the model would stay until the next one


GUARD = _Guard()
_unloading = _Unloading()
later = _unloading.later
begin = _unloading.begin


def give_memory_back(size: int) -> None:
    """Have the C library return freed memory to the system after a model of `size` bytes has gone."""
    if size >= _WORTH_TRIMMING:
        with contextlib.suppress(OSError, AttributeError, TypeError):  # another C library than glibc
            ctypes.CDLL(None).malloc_trim(0)


def _in_child() -> None:
    GUARD.renew()
    _unloading.begin_again()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
