"""Artifacts."""

from __future__ import annotations

from mlflow_utilities.entities._base import Entity

__all__ = ["FileInfo"]


class FileInfo(Entity):
    """A file or directory: `path` below the artifact root, `file_size` in bytes, None for a directory."""

    path: str
    is_dir: bool = False
    file_size: int | None = None
