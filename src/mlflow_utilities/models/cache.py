"""Model files on this machine: downloaded once, checked, shared by all processes, removed when space is needed."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

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
from mlflow_utilities.models.cache_directory import CacheDirectory, Claim, Lease
from mlflow_utilities.models.threads import in_file_thread

__all__ = ["MAX_BYTES", "default_cache_dir", "ensure", "held"]

MAX_BYTES = 20_000_000_000
_VARIABLE = "MLFLOW_UTILITIES_CACHE_DIR"
_PAUSES = (0.02, 0.05, 0.1, 0.2)
_MOST_DOWNLOADS = 2


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
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidInputError(f"max_bytes is {max_bytes!r}", hint="give a number of bytes")
    root = Path(cache_dir) if cache_dir is not None else default_cache_dir(os.environ)
    wanted = await _look_up(client, model_uri)
    lease = await _obtain(client, wanted, CacheDirectory(root), max_bytes, check_digests)
    try:
        yield lease.path
    finally:
        lease.release()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A model: its URI, its key, and its location if that had to be asked for."""

    uri: str
    key: str
    location: str | None


async def _look_up(client: AsyncMlflowClient, uri: str) -> _Wanted:
    model = parse_model_uri(uri)
    if isinstance(model, LoggedModelUri) and model.model_id.startswith("m-"):
        return _Wanted(uri, _key(client, model.model_id), None)
    # Not by an id that a location ends in: who may choose a location could fill the entry of another model.
    location = await client.resolve_model_uri(uri)
    return _Wanted(uri, _key(client, location), location)


def _key(client: AsyncMlflowClient, identity: str) -> str:
    return hashlib.sha256(json.dumps([client.tracking_uri, identity]).encode()).hexdigest()


async def _obtain(
    client: AsyncMlflowClient, wanted: _Wanted, cache: CacheDirectory, max_bytes: int, check_digests: bool
) -> Lease:
    if wanted.location is not None and (local := _local(client, wanted.location)):
        return local
    waits = downloads = 0
    while True:
        found = await in_file_thread(lambda: cache.attempt(wanted.key, check_digests))
        if found is None:
            await client.clock.sleep(_PAUSES[min(waits, len(_PAUSES) - 1)])
            waits += 1
        elif isinstance(found, Claim):
            with found:
                if downloads == _MOST_DOWNLOADS:
                    raise ArtifactError(f"the files of {wanted.uri} were damaged as soon as they were in the cache")
                location = wanted.location or await client.resolve_model_uri(wanted.uri)
                if local := _local(client, location):
                    return local
                await _download(client, wanted.uri, location, cache, found)
                downloads += 1
        else:
            if downloads:
                await _evict(cache, max_bytes, wanted.key, found)
            return found


def _local(client: AsyncMlflowClient, location: str) -> Lease | None:
    parsed = parse_location(location, client.tracking_uri)
    return Lease(Path(parsed.path), None) if isinstance(parsed, FileLocation) else None


async def _download(client: AsyncMlflowClient, uri: str, location: str, cache: CacheDirectory, claim: Claim) -> None:
    foreign = isinstance(parse_location(location, client.tracking_uri), ForeignLocation)
    files = await in_file_thread(lambda: cache.begin(claim))
    try:
        await client.download_artifact_uri(uri if foreign else location, files)
        about = {"server": client.tracking_uri, "uri": uri, "location": location}
        await in_file_thread(lambda: cache.install(claim, files, about))
    except BaseException:
        with anyio.CancelScope(shield=True):
            await in_file_thread(lambda: cache.give_up(files))
        raise


async def _evict(cache: CacheDirectory, max_bytes: int, key: str, lease: Lease) -> None:
    try:
        await in_file_thread(lambda: cache.evict(max_bytes, key))
    except BaseException:
        lease.release()
        raise


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
