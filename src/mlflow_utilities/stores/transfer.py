"""Whole directories, moved to and from a store."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import anyio.to_thread

from mlflow_utilities._protocol.artifact_paths import check_upload_path, join_path
from mlflow_utilities.errors import (
    ArtifactError,
    InvalidInputError,
    MlflowApiError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
)
from mlflow_utilities.stores.base import Entry, Store
from mlflow_utilities.stores.files import collect_files, opened, target_path
from mlflow_utilities.stores.workers import for_each

__all__ = ["download", "list_files", "upload_directory", "upload_file"]

_DEEPEST = 64
_LAST = "MLmodel"  # readers take a model for complete when it is there


async def upload_file(store: Store, file: Path, path: str) -> None:
    """Stream one file to `path`."""
    async with opened(file) as (content, size):
        await store.put(path, content, size)


async def upload_directory(store: Store, directory: Path, base: str) -> None:
    """Upload every file below `directory` to `base`, concurrently, an MLmodel file last.

    All names are checked before the first byte is sent.
    """
    files = await anyio.to_thread.run_sync(collect_files, directory)
    moves = [(file, check_upload_path(join_path(base, path))) for file, path in files]

    async def move(item: tuple[Path, str]) -> None:
        await upload_file(store, *item)

    await for_each([item for item in moves if item[0].name != _LAST], move)
    await for_each([item for item in moves if item[0].name == _LAST], move)


async def download(
    store: Store, path: str, destination: Path, listing: list[Entry] | None = None, check_sizes: bool = False
) -> Path:
    """Copy the file or directory `path` below `destination` and return where it lies; `listing` spares listing it.

    `check_sizes` raises ArtifactError for a file of a directory that has another size than was listed.
    """
    target = target_path(destination, path) if path else destination
    refusal: Exception | None = None
    if path and PurePosixPath(path).suffix:
        refusal = await _try_file(store, path, target)
        if refusal is None:
            return target
    listing = listing or await store.entries(path)
    if listing:
        await _download_directory(store, listing, destination, path, check_sizes)
        return target
    if refusal is not None:
        raise refusal
    if not path:
        await anyio.to_thread.run_sync(lambda: target.mkdir(parents=True, exist_ok=True))
        return target
    await store.fetch(path, target, None)
    return target


async def _try_file(store: Store, path: str, target: Path) -> Exception | None:
    try:
        await store.fetch(path, target, None)
    except (UnauthenticatedError, PermissionDeniedError, RateLimitedError, InvalidInputError):
        raise
    except (MlflowApiError, ArtifactError) as error:
        return error
    return None


async def _download_directory(
    store: Store, listing: list[Entry], destination: Path, path: str, check_sizes: bool
) -> None:
    async def move(entry: Entry) -> None:
        target = target_path(destination, entry.path)
        await store.fetch(entry.path, target, entry.size)
        if check_sizes and entry.size is not None:
            size = (await anyio.to_thread.run_sync(target.stat)).st_size
            if size != entry.size:
                raise ArtifactError(f"{entry.path} has {size} bytes, but {entry.size} were listed")

    await for_each(await list_files(store, listing, path), move)


async def list_files(store: Store, listing: list[Entry], path: str) -> list[Entry]:
    """Return the files of a directory `path`, whose first level is `listing`, and of all directories below it."""
    files: list[Entry] = []
    level = listing
    for _ in range(_DEEPEST):
        files += [entry for entry in level if not entry.is_dir]
        directories = [entry for entry in level if entry.is_dir]
        if not directories:
            return files
        level = await _list_all(store, directories)
    raise ArtifactError(f"{path!r} has more than {_DEEPEST} levels of directories")


async def _list_all(store: Store, directories: list[Entry]) -> list[Entry]:
    found: list[Entry] = []

    async def look(entry: Entry) -> None:
        found.extend(await store.entries(entry.path))

    await for_each(directories, look)
    return found
