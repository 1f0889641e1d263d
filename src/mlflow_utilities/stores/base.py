"""What the methods need of a store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["CHUNK", "Entry", "Store"]

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or directory; `path` is relative to the store's root, `size` in bytes."""

    path: str
    is_dir: bool
    size: int | None


class Store(Protocol):
    """A directory of artifacts; every path is relative to it, slash-separated and already checked."""

    async def entries(self, path: str) -> list[Entry]:
        """Return one level; empty for a file and for a path that does not exist."""
        ...

    async def read(self, path: str) -> bytes:
        """Return the bytes of a file."""
        ...

    async def fetch(self, path: str, destination: Path, size: int | None) -> None:
        """Copy a file to `destination`, which appears whole or not at all; `size` is what the listing said."""
        ...

    async def put(self, path: str, content: Callable[[], AsyncIterator[bytes]], size: int) -> None:
        """Write a file; `content` is called again for each repetition."""
        ...
