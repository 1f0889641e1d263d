"""Loading in a worker thread so that the other threads, an event loop say, go on meanwhile.

Two things stop a process for seconds while a large pickle is read: the garbage collector, which walks the growing heap
again and again, and the unpickler, which hands over the interpreter lock only when Python code runs. `GcPause` deals
with the first for whatever loads a model, `unpickle` with the second for pickles.
"""

from __future__ import annotations

import gc
import os
import pickle
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, Protocol

__all__ = ["GcPause", "PythonReader", "gc_paused", "model_destroyed", "unpickle"]

LONGEST_PAUSE = 60.0
_BUFFER = 1_048_576
_PIECE = 16_384


class _Timer(Protocol):
    daemon: bool

    def start(self) -> None: ...
    def cancel(self) -> None: ...


class GcPause:
    """Keeps the garbage collector off while models are loaded, by any number of threads at once.

    `longest` seconds after the first of overlapping loads began it is switched on again, because a load may hang.
    """

    def __init__(
        self,
        longest: float = LONGEST_PAUSE,
        timer: Callable[[float, Callable[[], None]], _Timer] = threading.Timer,
    ) -> None:
        self._longest = longest
        self._make_timer = timer
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._generation = 0
        self._disabled = False
        self._loaded = self._freeze = False
        self._timer: _Timer | None = None

    @contextmanager
    def __call__(self, *, freeze: bool = False) -> Generator[None, None, None]:
        """Switch the garbage collector off until the last of the overlapping blocks has ended.

        It is never switched on where the application had switched it off. Afterwards all objects there are count as
        old, so that only a full collection walks what was loaded. With `freeze` none does (`gc.freeze`): for models
        that stay. The price: cycles of any objects that exist at that moment, those of running requests among them,
        keep their memory until `model_destroyed` is called. A block that raises changes neither.
        """
        self._begin()
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            self._end(succeeded, freeze and succeeded)

    def model_destroyed(self) -> None:
        """Let the garbage collector see all objects again, so that cycles of the destroyed model are freed.

        The next full collection walks the models that are left, too; the next load sets them apart again. It undoes
        a `gc.freeze()` of the application as well: load without `freeze` if it relies on that.
        """
        gc.unfreeze()

    def forked(self) -> None:
        """Forget the loads of the parent process, whose threads do not exist in a child."""
        if self._disabled:
            gc.enable()
        self._reset()

    def _begin(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth > 1:
                return
            self._generation += 1
            self._loaded = self._freeze = False
            self._disabled = gc.isenabled()
            if self._disabled:
                gc.disable()
                generation = self._generation
                self._timer = self._make_timer(self._longest, lambda: self._expire(generation))
                self._timer.daemon = True
                self._timer.start()

    def _end(self, loaded: bool, freeze: bool) -> None:
        with self._lock:
            self._depth -= 1
            self._loaded |= loaded
            self._freeze |= freeze
            if self._depth:
                return
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._loaded:
                _make_old(self._freeze)
            if self._disabled:
                self._disabled = False
                gc.enable()

    def _expire(self, generation: int) -> None:
        with self._lock:
            if self._disabled and self._generation == generation:
                self._disabled = False
                gc.enable()


def _make_old(freeze: bool) -> None:
    """Spare the next collections the walk over all objects; neither call depends on how many there are."""
    others = not freeze and gc.get_freeze_count() > 0
    if not others:
        gc.freeze()
        if not freeze:
            gc.unfreeze()  # into the oldest generation


gc_paused = GcPause()
model_destroyed = gc_paused.model_destroyed

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=gc_paused.forked)


class PythonReader:
    """A file for an unpickler that lets other threads run at every read, of which there are many.

    Give it a file with a large buffer: a thread that releases the interpreter lock for short reads in quick succession
    takes it back each time before a waiting one wakes up.
    """

    def __init__(self, file: BufferedReader[Any]) -> None:
        self._file = file
        self.reads = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return `size` bytes, fewer at the end of the file."""
        self.reads += 1
        return self._file.read(size)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill `buffer` and return how many bytes there were."""
        self.reads += 1
        return self._file.readinto(buffer)

    def readline(self) -> bytes:
        """Return the rest of the line, which old protocols ask for."""
        self.reads += 1
        return self._file.readline()

    def peek(self, size: int, /) -> bytes:
        """Return at most 16 kB that come next; without it old protocols would be read byte by byte."""
        self.reads += 1
        return self._file.peek(size)[:_PIECE]


def unpickle(path: Path) -> object:
    """Return what is pickled in the file. Runs its code. Blocks, but no other thread, as far as can be.

    Other threads get their turn about every 10 ms whatever the size, except while single objects are made: a container
    that grows, and at the end the release of the unpickler's own list of all objects (about 0.1 s per million).

    Raises what the pickle raises, and OSError.
    """
    with BufferedReader(FileIO(path), _BUFFER) as file:
        return pickle.Unpickler(PythonReader(file)).load()  # noqa: S301
