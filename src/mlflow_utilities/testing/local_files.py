"""What lies in a folder of this machine: artifacts of experiments whose location is one."""

from __future__ import annotations

from pathlib import Path

__all__ = ["read_folder"]


def read_folder(folder: str) -> dict[str, int | None]:
    """Return the names in a folder with sizes in bytes, None for folders; nothing for one that is not there."""
    path = Path(folder)
    if not path.is_dir():
        return {}
    return {child.name: None if child.is_dir() else child.stat().st_size for child in path.iterdir()}
