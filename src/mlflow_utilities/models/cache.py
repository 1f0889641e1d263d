"""Model files on this machine: downloaded once, checked, shared by all processes, removed when space is needed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio

from mlflow_utilities._protocol.uris import (
    FileLocation,
    ForeignLocation,
    LoggedModelUri,
    parse_location,
    parse_model_uri,
)
from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import ArtifactError, ConfigurationError, InvalidInputError
from mlflow_utilities.models.cache_directory import CacheDirectory, Claim, DamagedInUse, Lease, Manifest
from mlflow_utilities.models.threads import in_file_thread
from mlflow_utilities.stores.files import os_errors

__all__ = ["MAX_BYTES", "ModelCache", "default_cache_dir", "ensure", "held"]

MAX_BYTES = 20_000_000_000
_VARIABLE = "MLFLOW_UTILITIES_CACHE_DIR"
_PAUSES = (0.02, 0.05, 0.1, 0.2)
_MOST_DOWNLOADS = 2
_MOST_LOOKS = 100

L = TypeVar("L", bound=Lease | Claim | DamagedInUse | None)


async def ensure(
    client: AsyncMlflowClient,
    model_uri: str,
    *,
    cache_dir: str | Path | None = None,
    max_bytes: int = MAX_BYTES,
    check_digests: bool = False,
) -> Path:
    """Return the directory with the files of a model, downloaded if it is not in the cache.

    It may be evicted once it is no longer among the most recently used; see `held`, also for arguments and errors.
    """
    async with held(
        client, model_uri, cache_dir=cache_dir, max_bytes=max_bytes, check_digests=check_digests
    ) as directory:
        return directory


@asynccontextmanager
async def held(
    client: AsyncMlflowClient,
    model_uri: str,
    *,
    cache_dir: str | Path | None = None,
    max_bytes: int = MAX_BYTES,
    check_digests: bool = False,
) -> AsyncGenerator[Path, None]:
    """Give the directory with the files of a model, which is not evicted until the block ends.

    Args: `model_uri`, `models:/m-...` needs no request once it is cached; `cache_dir`, else MLFLOW_UTILITIES_CACHE_DIR,
    else the user's cache directory; `max_bytes` to keep, the model at hand apart; `check_digests` reads every file to
    compare its sha256, not only its size. A location counts as unchanging. Files of a local location are not copied.

    Raises InvalidInputError, ArtifactError (the cache cannot be written, a file is cut short), ModelError (no model
    there) and API errors.
    """
    cache = ModelCache(client, cache_dir, max_bytes)
    lease = await cache.lease(model_uri, check_digests=check_digests)
    try:
        yield lease.path
    finally:
        lease.release()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A model: its URI, its key, and its location if that is known."""

    uri: str
    key: str
    location: str | None


class ModelCache:
    """The cache as one client uses it, for callers that use files for longer than a block; see `held`.

    A `location` that is given spares asking for it; for `models:/m-...` it counts only when it is on this machine.
    """

    def __init__(
        self, client: AsyncMlflowClient, cache_dir: str | Path | None = None, max_bytes: int = MAX_BYTES
    ) -> None:
        if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidInputError(f"max_bytes is {max_bytes!r}", hint="give a number of bytes")
        self._client = client
        self._directory = CacheDirectory(Path(cache_dir) if cache_dir is not None else default_cache_dir(os.environ))
        self._max_bytes = max_bytes

    async def lease(self, uri: str, location: str | None = None, *, check_digests: bool = False) -> Lease:
        """Return the files of a model, downloaded if need be, which stay until the lease is released.

        Raises what `held` raises.
        """
        wanted = await self._look_up(uri, location)
        if local := self._local(wanted.location):
            return local
        waits = downloads = in_use = 0
        while True:
            found = await _locking(lambda: self._directory.attempt(wanted.key, check_digests))
            if found is None or isinstance(found, DamagedInUse):
                in_use = 0 if found is None else in_use + 1
                if in_use == _MOST_LOOKS:
                    raise ArtifactError(f"the files of {uri} in the cache are damaged, and another process uses them")
                await self._client.clock.sleep(_PAUSES[min(waits, len(_PAUSES) - 1)])
                waits += 1
            elif isinstance(found, Claim):
                if downloads == _MOST_DOWNLOADS:
                    found.release()
                    raise ArtifactError(f"the files of {uri} were damaged as soon as they were in the cache")
                if local := await self._download(wanted, found):
                    return local
                downloads += 1
            else:
                if downloads:
                    await self._evict(wanted, found)
                return found

    async def renew(self, uri: str, location: str | None = None) -> Lease | None:
        """Download files again that cannot be loaded; None when others use them, or when they are not copies.

        The caller has released its own lease. Raises what `held` raises.
        """
        wanted = await self._look_up(uri, location)
        if self._local(wanted.location):
            return None
        with os_errors("write the model cache"):
            claim = await _locking(lambda: self._directory.claim(wanted.key))
        if claim is None or await self._download(wanted, claim, renewed=True):
            return None
        return await self.lease(uri, wanted.location)

    async def describe(self, uri: str, location: str | None = None) -> Manifest | None:
        """Return the size in bytes and the location of a model that is in the cache; as `lease`, else."""
        wanted = await self._look_up(uri, location)
        return await in_file_thread(lambda: self._directory.describe(wanted.key))

    async def is_here(self, uri: str, location: str | None = None) -> bool:
        """Return whether no file has to be downloaded, as far as is known without asking the server."""
        wanted = await self._look_up(uri, location)
        return self._local(wanted.location) is not None or await self.describe(uri, location) is not None

    async def is_intact(self, uri: str, location: str | None = None) -> bool:
        """Return whether every file in the cache is as it was downloaded; always for files that are not copies."""
        wanted = await self._look_up(uri, location)
        if self._local(wanted.location):
            return True
        return await in_file_thread(lambda: self._directory.is_intact(wanted.key))

    async def measure(self, uri: str, location: str | None = None) -> int:
        """Return the bytes of a model's files, from the cache, else by listing them: a request for each directory.

        Raises what `held` raises.
        """
        known = await self.describe(uri, location)
        if known is not None:
            return known.size
        return await self._client.measure_artifact_uri(await self._source(uri, location))

    async def _look_up(self, uri: str, location: str | None) -> _Wanted:
        model = parse_model_uri(uri)
        if isinstance(model, LoggedModelUri) and model.model_id.startswith("m-"):
            # Not by its location: who may choose one could fill the entry of another model.
            return _Wanted(uri, self._key(model.model_id), location if self._local(location) else None)
        location = location or await self._client.resolve_model_uri(uri)
        return _Wanted(uri, self._key(location), location)

    def _key(self, identity: str) -> str:
        return hashlib.sha256(json.dumps([self._client.tracking_uri, identity]).encode()).hexdigest()

    def _local(self, location: str | None) -> Lease | None:
        parsed = parse_location(location, self._client.tracking_uri) if location else None
        return Lease(Path(parsed.path), None) if isinstance(parsed, FileLocation) else None

    async def _source(self, uri: str, location: str | None) -> str:
        """Return the URI to download: what only the server reaches is read through its run or logged model."""
        found = location or await self._client.resolve_model_uri(uri)
        return uri if isinstance(parse_location(found, self._client.tracking_uri), ForeignLocation) else found

    async def _download(self, wanted: _Wanted, claim: Claim, *, renewed: bool = False) -> Lease | None:
        """Download, or return the files when they turn out to lie on this machine."""
        with claim:
            location = wanted.location or await self._client.resolve_model_uri(wanted.uri)
            if local := self._local(location):
                return local
            source = await self._source(wanted.uri, location)
            about: dict[str, str | bool] = {"uri": wanted.uri, "location": location, "renewed": renewed}
            about["server"] = self._client.tracking_uri
            for last in (False, True):
                try:
                    await self._download_once(source, claim, about)
                    break
                except ArtifactError as error:  # a damaged transfer may succeed the next time, a full disk does not
                    if last or isinstance(error.__cause__, OSError):
                        raise
        return None

    async def _download_once(self, source: str, claim: Claim, about: Mapping[str, str | bool]) -> None:
        begun: list[Path] = []
        try:
            await in_file_thread(lambda: begun.append(self._directory.begin(claim)))
            await self._client.download_artifact_uri(source, begun[0], check_sizes=True)
            await in_file_thread(lambda: self._directory.install(claim, begun[0], about))
        except BaseException:
            with anyio.CancelScope(shield=True):
                for files in begun:
                    await in_file_thread(partial(self._directory.give_up, files))
            raise

    async def _evict(self, wanted: _Wanted, lease: Lease) -> None:
        try:
            await in_file_thread(lambda: self._directory.evict(self._max_bytes, wanted.key))
        except BaseException:
            lease.release()
            raise


async def _locking(work: Callable[[], L]) -> L:
    """Do `work` in a thread; whatever it locks is released when the caller is cancelled meanwhile."""
    found: list[L] = []
    try:
        await in_file_thread(lambda: found.append(work()))
    except BaseException:
        for each in found:
            if isinstance(each, Lease | Claim):
                each.release()
        raise
    return found[0]


def default_cache_dir(environ: Mapping[str, str], platform: str = sys.platform) -> Path:
    """Return MLFLOW_UTILITIES_CACHE_DIR, else the directory for this package in the user's cache directory.

    Raises ConfigurationError when there is no home directory: a shared place would let others plant models.
    """
    if given := environ.get(_VARIABLE):
        return Path(given)
    if platform == "win32" and (local := environ.get("LOCALAPPDATA")):
        return Path(local) / "mlflow-utilities" / "Cache"
    if os.path.isabs(environ.get("XDG_CACHE_HOME", "")):
        return Path(environ["XDG_CACHE_HOME"]) / "mlflow-utilities"
    home = Path(os.path.expanduser("~"))
    if not home.is_absolute():
        raise ConfigurationError("there is no home directory for the model cache", hint=f"set {_VARIABLE}")
    return home / ("Library/Caches" if platform == "darwin" else ".cache") / "mlflow-utilities"
