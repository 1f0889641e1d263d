"""Loading in a worker thread so that the other threads, an event loop say, go on meanwhile.

Two things stop a process for seconds while a large pickle is read: the garbage collector, which walks the growing heap
again and again, and the unpickler, which hands over the interpreter lock only when Python code runs. `GcPause` deals
with the first for whatever loads a model, `unpickle` with the second for pickles.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from io import BufferedReader, FileIO
from itertools import islice
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Protocol

__all__ = ["GcPause", "PythonReader", "destroy", "gc_paused", "model_destroyed", "unpickle"]

LONGEST_PAUSE = 60.0
_BUFFER = 1_048_576
_PIECE = 16_384
_MANY = 200_000
_MOST_SPARED = 10
_ENOUGH = 20_000
_SAMPLE = 200
_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, CodeType, str, bytes, int, float)


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
        self._frozen = False
        self._spared = 0
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()  # a finaliser may call `model_destroyed` while this thread holds it
        self._depth = 0
        self._generation = 0
        self._disabled = False
        self._freeze = False
        self._timer: _Timer | None = None

    @contextlib.contextmanager
    def __call__(self, *, freeze: bool = True) -> Generator[None, None, None]:
        """Switch the garbage collector off until the last of the overlapping blocks has ended.

        It is never switched on where the application had switched it off. When more than 200,000 objects were made,
        all objects there are then are left out of later collections (`gc.freeze`), unless `freeze` is False: each
        collection would stop the process to walk them, 1 s for 3 million. The price: cycles that exist at that moment,
        those of running requests among them, keep their memory until `model_destroyed` is called. A block that raises
        freezes nothing.
        """
        self._begin()
        succeeded = False
        try:
            yield
            succeeded = True
        finally:
            self._end(freeze and succeeded)

    def model_destroyed(self, is_left: bool | None = None) -> None:
        """Let the garbage collector see the objects again that a load froze, so that unreachable cycles are freed.

        The next full collection walks all of them, those of other models, too. So nothing is done if the model has
        gone without the collector's help (`is_left` is False), but at every tenth time, for the sake of other cycles.
        Where a load froze something, what the application had frozen before is not frozen any more afterwards.
        """
        with self._lock:
            if not self._frozen:
                return
            self._spared += 1
            if is_left is not False or self._spared == _MOST_SPARED:
                self._frozen = False
                self._spared = 0
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
            self._freeze = False
            self._disabled = gc.isenabled()
            if self._disabled:
                gc.disable()
                generation = self._generation
                self._timer = self._make_timer(self._longest, lambda: self._expire(generation))
                self._timer.daemon = True
                self._timer.start()

    def _end(self, freeze: bool) -> None:
        with self._lock:
            self._depth -= 1
            self._freeze |= freeze
            if self._depth:
                return
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._disabled:
                # What the first generation counts are the objects made since the collector was switched off.
                if self._freeze and gc.get_count()[0] > _MANY:
                    gc.freeze()
                    self._frozen = True
                self._disabled = False
                gc.enable()

    def _expire(self, generation: int) -> None:
        with self._lock:
            if self._disabled and self._generation == generation:
                self._disabled = False
                gc.enable()


gc_paused = GcPause()
model_destroyed = gc_paused.model_destroyed

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=gc_paused.forked)


def destroy(holder: list[Any]) -> bool:
    """Take the model out of `holder` and destroy it object by object, so that other threads get their turn.

    There must be no other reference to it. Calls `model_destroyed`. Returns whether much of it is still in memory, in
    cycles or because somebody uses it: `gc.collect()` may help then.
    """
    held = _objects_of(holder.pop())
    watched = list(islice(_references(held), _SAMPLE))
    while held:
        held.popleft()
    is_left = 4 * sum(reference() is not None for reference in watched) >= max(len(watched), 1)
    gc_paused.model_destroyed(is_left)
    return is_left


def _objects_of(model: object) -> deque[object]:
    """Return objects of a model, outer ones first, so many that none of them has many more below."""
    found = deque([model])
    seen = {id(model)}
    position = 0
    while position < len(found) < _ENOUGH:
        for below in gc.get_referents(found[position]):
            if id(below) not in seen and not issubclass(type(below), _SHARED):
                seen.add(id(below))
                found.append(below)
        position += 1
    return found


def _references(objects: Iterable[object]) -> Iterator[weakref.ref[object]]:
    for found in objects:
        with contextlib.suppress(TypeError):
            yield weakref.ref(found)


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
