"""Paths of artifacts: what MLflow decodes and refuses, and what lies where."""

from __future__ import annotations

import posixpath
import re
from typing import Any
from urllib.parse import unquote, urlparse, urlunparse

from mlflow_utilities.testing.in_memory.refusals import UnsupportedByInMemoryMlflow, invalid
from mlflow_utilities.testing.in_memory.state import State

__all__ = ["folders_of", "listing", "local_listing", "normal", "safe_path", "under"]

_ROUNDS = 10


def safe_path(path: str) -> str:
    """Return a path as MLflow decodes it; raises Refused for one that leads out of its folder."""
    path = "".join(
        f"%{ord(letter):02x}" if ord(letter) < 32 or ord(letter) == 127 else letter for letter in _plain(path)
    )
    absolute = re.match(r"/|[A-Za-z]:[\\/]|\\\\[^\\]+\\[^\\]|file:", path) is not None
    if "#" in path or ".." in path.split("/") or absolute:
        raise invalid("Invalid path")
    return path


def _plain(path: str) -> str:
    for _ in range(_ROUNDS):
        plain = urlunparse(urlparse(unquote(path)))
        if plain == path:
            return path
        path = plain
    raise UnsupportedByInMemoryMlflow(f"the path {path!r} is encoded more often than MLflow decodes")


def normal(path: str) -> str:
    """Return a path without needless dots and slashes; "" is the root."""
    return "" if (found := posixpath.normpath(path)) == "." else found


def under(root: str, path: str) -> str:
    """Return where a path below the artifacts of a run or of a logged model is.

    Raises UnsupportedByInMemoryMlflow for artifacts that are not behind the proxy.
    """
    parsed = urlparse(root)
    if parsed.scheme != "mlflow-artifacts":
        raise UnsupportedByInMemoryMlflow(f"artifacts at {root!r}, which are not proxied")
    return normal(posixpath.join(parsed.path.lstrip("/"), path))


def folders_of(state: State) -> set[str]:
    """Return the folders that there are: those that were made, and those of every artifact."""
    folders = {"", *state.folders}
    for path in state.artifacts:
        while path := posixpath.dirname(path):
            folders.add(path)
    return folders


def _shown(path: str, size: int | None) -> dict[str, Any]:
    """Return a file, or a folder, as JSON; of an empty file the size is left out."""
    return {"path": path, "is_dir": size is None, **({"file_size": size} if size else {})}


def listing(state: State, folder: str, prefix: str = "") -> list[dict[str, Any]]:
    """Return what a folder holds, by name, with sizes in bytes; nothing for a file, or for what is not there."""
    sizes: dict[str, int | None] = {path: None for path in folders_of(state) if path}
    sizes |= {path: len(content) for path, content in state.artifacts.items()}
    return [
        _shown(posixpath.join(prefix, posixpath.basename(path)), size)
        for path, size in sorted(sizes.items())
        if posixpath.dirname(path) == folder
    ]


def local_listing(state: State, root: str, prefix: str) -> list[dict[str, Any]] | None:
    """Return what a folder of the machine holds, as `listing` does; None where the root is no such folder."""
    parsed = urlparse(root)
    if parsed.scheme not in ("", "file") or state.read_folder is None:
        return None
    folder = posixpath.join(unquote(parsed.path) if parsed.scheme else parsed.path, prefix)
    found = state.read_folder(folder)
    return [_shown(posixpath.join(prefix, name), size) for name, size in sorted(found.items())]
