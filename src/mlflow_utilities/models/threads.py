"""Worker threads for what blocks: few, and apart from the threads of the application."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from mlflow_utilities.stores.workers import in_thread

__all__ = ["in_file_thread", "in_model_thread"]

_MODEL_THREADS = 4
_FILE_THREADS = 4
_model_limiter: RunVar[anyio.CapacityLimiter] = RunVar("mlflow_utilities.model_threads")
_file_limiter: RunVar[anyio.CapacityLimiter] = RunVar("mlflow_utilities.file_threads")

T = TypeVar("T")


async def in_model_thread(work: Callable[[], T], *, abandon: bool = False) -> T:
    """Serialise or load in a thread, at most four at a time, threads that were left to themselves not counted.

    A cancelled caller waits until `work` has ended, unless `abandon` says to leave it to itself.
    """
    limiter = _limiter(_model_limiter, _MODEL_THREADS)
    return await anyio.to_thread.run_sync(work, abandon_on_cancel=abandon, limiter=limiter)


async def in_file_thread(work: Callable[[], T]) -> T:
    """Do file operations in a thread; a cancelled caller waits until they have ended."""
    return await in_thread(work, limiter=_limiter(_file_limiter, _FILE_THREADS))


def _limiter(variable: RunVar[anyio.CapacityLimiter], threads: int) -> anyio.CapacityLimiter:
    limiter = variable.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(threads)
        variable.set(limiter)
    return limiter
