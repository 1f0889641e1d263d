"""A temporary directory for one model."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["Folder"]

T = TypeVar("T")


class Folder:
    """A directory made by the thread that fills it, and removed by whoever is last: that thread or `remove`.

    So nothing is left even when an event loop gives up on the thread while it writes. A folder that is forgotten, or
    still there when the interpreter ends, is removed, too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writing = False
        self._removed = False
        self._root: Path | None = None
        self._delete: Callable[[], object]

    @property
    def path(self) -> Path:
        """The directory inside, which `fill` made."""
        assert self._root is not None
        return self._root / "model"

    def fill(self, write: Callable[[Path], T]) -> T:
        """Call `write` with a path where nothing is yet."""
        with self._lock:
            if self._removed:
                raise RuntimeError("the directory was removed before it was filled")
            self._writing = True
            self._root = Path(tempfile.mkdtemp(prefix="mlflow-utilities-"))
            self._delete = weakref.finalize(self, shutil.rmtree, self._root, ignore_errors=True)
        try:
            return write(self.path)
        finally:
            with self._lock:
                self._writing = False
                removed = self._removed
            if removed:
                self._delete()

    def remove(self) -> None:
        """Remove the directory, or let the thread do it that still writes."""
        with self._lock:
            self._removed = True
            if self._writing or self._root is None:
                return
        self._delete()
