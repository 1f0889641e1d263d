"""A model in memory, and who keeps it there."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow_utilities.errors import ModelError
from mlflow_utilities.models.cache_directory import Lease
from mlflow_utilities.models.code_paths import CodeClaim
from mlflow_utilities.models.responsive import destroy
from mlflow_utilities.serving import unloading

__all__ = ["Content", "Hold", "Resident"]


@dataclass(slots=True, eq=False)
class Content:
    """What a loaded model occupies: its object, the names of its modules, and `lease`, its files in the cache."""

    loaded: Any
    claim: CodeClaim
    lease: Lease

    def destroy(self, size: int = 0) -> None:
        """Give it all up; `size` is the bytes of its files. Blocks for as long as the object needs to go."""
        holder = [self.loaded]
        self.loaded = None
        is_left = destroy(holder)
        self.claim.release()
        if is_left:  # in a cycle, unless somebody else uses it
            gc.collect()
        self.lease.release()
        unloading.give_memory_back(size)


class Resident:
    """A loaded model. When nobody keeps or holds it any more it is destroyed, on a thread that exists for that.

    `bytes`: the size of its files in `directory`, which came from `location`. `grown`: by how many bytes the process
    grew meanwhile, None where that is not known. `has_modules`: whether modules were saved along with it.
    """

    def __init__(self, run_id: str, content: Content, *, size: int, location: str, grown: int | None = None) -> None:
        self.run_id = run_id
        self.bytes = size
        self.location = location
        self.directory: Path = content.lease.path
        self.grown = grown
        self.has_modules = bool(content.claim.modules)
        self._content: Content | None = content
        self._kept = True
        self._holds = 0
        self._gone = threading.Event()
        self._tell: list[Callable[[], object]] = []
        unloading.begin()

    def __repr__(self) -> str:
        return f"Resident({self.run_id!r}, {self.bytes} bytes)"

    @property
    def is_kept(self) -> bool:
        """Whether it stays, held or not."""
        return self._kept

    @property
    def is_gone(self) -> bool:
        """Whether it was destroyed."""
        return self._gone.is_set()

    def hold(self) -> Hold:
        """Return something that keeps the model in memory for as long as it lives itself.

        Raises:
            ModelError: it is being destroyed, or was.

        """
        with unloading.GUARD:
            if self._content is None:
                raise ModelError(f"the model of run {self.run_id} is not loaded any more")
            self._holds += 1
        return Hold(self)

    def keep(self) -> bool:
        """Let it stay until `let_go`; return False when it is too late for that."""
        with unloading.GUARD:
            self._kept = self._content is not None
            return self._kept

    def let_go(self) -> None:
        """Allow that it is destroyed, as soon as nobody holds it."""
        with unloading.GUARD:
            self._kept = False
        unloading.later(self._destroy_if_unused)

    def when_gone(self, tell: Callable[[], object]) -> None:
        """Have `tell` called once the model was destroyed, on the thread that did it, or now."""
        with unloading.GUARD:
            if not self.is_gone:
                self._tell.append(tell)
                return
        tell()

    @property
    def loaded(self) -> Any:
        """The object, for holds."""
        assert self._content is not None
        return self._content.loaded

    def end_hold(self) -> None:
        """Count one hold less; on the thread for destroying."""
        with unloading.GUARD:
            self._holds -= 1
        self._destroy_if_unused()

    def _destroy_if_unused(self) -> None:
        with unloading.GUARD:
            if self._kept or self._holds or self._content is None:
                return
            content, self._content = self._content, None
        try:
            content.destroy(self.bytes)
        finally:
            with unloading.GUARD:
                self._gone.set()
                listeners, self._tell = self._tell, []
            for tell in listeners:
                tell()


class Hold:
    """Keeps a model in memory for as long as it lives itself."""

    __slots__ = ("__weakref__", "_resident")

    def __init__(self, resident: Resident) -> None:
        self._resident = resident

    @property
    def loaded(self) -> Any:
        """The object that the model's flavor made."""
        return self._resident.loaded

    def __del__(self, later: Callable[[Callable[[], object]], object] = unloading.later) -> None:
        # No lock and no work here: this may run in any thread, in the middle of anything.
        later(self._resident.end_hold)
