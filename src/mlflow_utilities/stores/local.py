"""Artifacts in a directory of the local file system."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio.to_thread

from mlflow_utilities.errors import ArtifactError
from mlflow_utilities.stores.base import Entry
from mlflow_utilities.stores.files import opened, os_errors, target_path, write_whole

__all__ = ["LocalStore"]


class LocalStore:
    """A store in the directory `root`, which need not exist yet."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def _at(self, path: str) -> Path:
        return target_path(self._root, path) if path else self._root

    async def entries(self, path: str) -> list[Entry]:
        """Return one level; empty for a file and for a path that does not exist."""
        with os_errors(f"list {path or self._root}"):
            return await anyio.to_thread.run_sync(_scan, self._at(path), path)

    async def read(self, path: str) -> bytes:
        """Return the bytes of a file."""
        with os_errors(f"read {path}"):
            return await anyio.to_thread.run_sync(self._at(path).read_bytes)

    async def fetch(self, path: str, destination: Path, size: int | None) -> None:
        """Copy a file to `destination`, whole or not at all."""
        source = self._at(path)
        if not source.is_file():
            raise ArtifactError(f"there is no file {source}")
        async with opened(source) as (content, length):
            await write_whole(destination, content(), length)

    async def put(self, path: str, content: Callable[[], AsyncIterator[bytes]], size: int) -> None:
        """Write a file."""
        await write_whole(self._at(path), content(), size)


def _scan(directory: Path, path: str) -> list[Entry]:
    if not directory.is_dir():
        return []
    prefix = f"{path}/" if path else ""
    with os.scandir(directory) as listing:
        found = [
            Entry(prefix + item.name, item.is_dir(), None if item.is_dir() else item.stat().st_size) for item in listing
        ]
    return sorted(found, key=lambda entry: entry.path)
