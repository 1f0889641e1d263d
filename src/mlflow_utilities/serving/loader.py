"""What it takes to have one model in memory: its files, a trial, loading, warming up."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from mlflow_utilities._protocol.uris import LoggedModelUri, parse_model_uri
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import ArtifactError, ModelError
from mlflow_utilities.models.cache import ModelCache
from mlflow_utilities.models.cache_directory import Lease
from mlflow_utilities.models.code_paths import ModuleClashError
from mlflow_utilities.models.loading import check_flavors, load_claimed
from mlflow_utilities.models.trial import try_in_process
from mlflow_utilities.serving import unloading
from mlflow_utilities.serving.attempt import Attempt, forget_frames
from mlflow_utilities.serving.resident import Content, Resident

__all__ = ["Files", "Loader", "Wanted"]

_AT_ONCE = 4
_MOST_REMEMBERED = 10_000
_STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model to be loaded; a `location` that is known spares asking the server for it."""

    run_id: str
    model_uri: str
    location: str | None = None


@dataclass(slots=True, eq=False)
class Files:
    """The files of a model on this machine: `size` bytes, from `location`. They stay until the lease is released."""

    wanted: Wanted
    lease: Lease
    size: int
    location: str


class _UnfitError(ModelError):
    """The model itself is at fault, not its files."""


class Loader:
    """Loads models, four at a time; each by `fetch`, then `load`. `timeout` in seconds."""

    def __init__(
        self,
        client: AsyncMlflowClient,
        cache: ModelCache,
        *,
        flavors: Collection[str] | None,
        timeout: float,
        check_digests: bool,
        trial: bool,
        hooks: dict[str, Callable[[Any], Any]],
    ) -> None:
        self._client = client
        self._cache = cache
        self._allowed = None if flavors is None else check_flavors(flavors)
        self._timeout = timeout
        self._check_digests = check_digests
        self._trial = trial
        self._hooks = hooks
        self._turns = anyio.Semaphore(_AT_ONCE)
        self._locations: dict[str, str] = {}
        self._left: dict[str, Attempt[Content]] = {}

    def hangs(self, run_id: str) -> bool:
        """Return whether a thread that nobody waits for still loads this run."""
        attempt = self._left.get(run_id)
        if attempt is not None and not attempt.is_working:
            del self._left[run_id]
        return run_id in self._left

    async def measure(self, wanted: Wanted) -> int:
        """Return the bytes of the model's files, without downloading them. Raises as `ModelCache.measure`."""
        return await self._cache.measure(wanted.model_uri, await self._locate(wanted))

    async def is_cached(self, wanted: Wanted) -> bool:
        """Return whether nothing has to be downloaded. Raises API errors."""
        return await self._cache.is_here(wanted.model_uri, await self._locate(wanted))

    async def fetch(self, wanted: Wanted) -> Files:
        """Return the model's files, downloaded if need be. Raises as `models.cache.held`."""
        async with self._turns:
            location = await self._locate(wanted)
            lease = await self._cache.lease(wanted.model_uri, location, check_digests=self._check_digests)
            return await self._described(wanted, lease, location)

    async def _described(self, wanted: Wanted, lease: Lease, location: str | None) -> Files:
        try:
            known = await self._cache.describe(wanted.model_uri, location)
            if known is not None:
                return Files(wanted, lease, known.size, known.location)
            location = location or str(lease.path.absolute())
            return Files(wanted, lease, await self._cache.measure(wanted.model_uri, location), location)
        except BaseException:
            lease.release()
            raise

    async def _locate(self, wanted: Wanted) -> str | None:
        """Return where the files are, None when that is asked for only if they are not in the cache."""
        if wanted.location:
            return wanted.location
        parsed = parse_model_uri(wanted.model_uri)
        if isinstance(parsed, LoggedModelUri):
            return None
        known = self._locations.get(wanted.model_uri)
        if known is None:
            if len(self._locations) >= _MOST_REMEMBERED:
                self._locations.clear()
            known = self._locations[wanted.model_uri] = await self._client.resolve_model_uri(wanted.model_uri)
        return known

    async def load(self, files: Files) -> Resident:
        """Return the model in memory; takes over the lease of the files.

        Files that are damaged, or that cannot be loaded as they were downloaded the first time, are downloaded again.

        Raises ModelError (ModuleClashError: another model has modules of the same names), MissingDependencyError,
        ArtifactError, and what downloading raises.
        """
        try:
            async with self._turns:
                try:
                    return await self._load_once(files)
                except (ModelError, ArtifactError) as error:
                    again = None if isinstance(error, _UnfitError | ModuleClashError) else await self._renewed(files)
                    if again is None:
                        raise
                files = again
                return await self._load_once(files)
        except BaseException:
            if not self.hangs(files.wanted.run_id):  # else the thread does it
                files.lease.release()
            raise

    async def _renewed(self, files: Files) -> Files | None:
        wanted, uri = files.wanted, files.wanted.model_uri
        location = await self._locate(wanted)
        known = await self._cache.describe(uri, location)
        if known is not None and known.renewed and await self._cache.is_intact(uri, location):
            return None
        files.lease.release()
        lease = await self._cache.renew(uri, location)
        return None if lease is None else await self._described(wanted, lease, location)

    async def _load_once(self, files: Files) -> Resident:
        run_id, uri, lease = files.wanted.run_id, files.wanted.model_uri, files.lease
        clock = self._client.clock
        if self._trial:
            await try_in_process(lease.path, uri, self._allowed, timeout=self._timeout, clock=clock)
        work = partial(_work, lease, uri, self._allowed, self._hooks)
        attempt: Attempt[Content] = Attempt(work, Content.destroy, unloading.later)
        before = _memory()
        try:
            with clock.time_limit(self._timeout):
                content = await attempt.result()
                after = _memory()
                grown = None if before is None or after is None else after - before
                return Resident(run_id, content, size=files.size, location=files.location, grown=grown)
        finally:
            if attempt.is_working:
                self._left[run_id] = attempt
        raise _UnfitError(f"loading and warming up {uri} took longer than {self._timeout:g} s")


def _work(lease: Lease, uri: str, allowed: frozenset[str] | None, hooks: dict[str, Callable[[Any], Any]]) -> Content:
    try:
        content = Content(*load_claimed(lease.path, uri, allowed), lease)
    except BaseException:
        lease.release()
        raise
    for name, hook in hooks.items():
        try:
            hook(content.loaded)
        except BaseException as error:
            forget_frames(error)
            content.destroy()
            raise _UnfitError(f"{name} of {uri} failed: {type(error).__name__}: {error}") from error
    return content


def _memory() -> int | None:
    """Return the bytes of this process in memory, where the system says so."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None
