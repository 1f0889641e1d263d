"""What the cache of model files tells of itself, and what it hands out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mlflow_utilities.models.locks import FileLock

__all__ = ["Claim", "DamagedInUse", "Kept", "Lease", "Manifest"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of a complete model: the bytes of its files, where they were downloaded from, and whether that was
    done a second time because they could not be loaded.
    """

    size: int
    location: str
    renewed: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """A model as the cache keeps it: bytes and number of its files, when it was used last (seconds since 1970), whether
    the files are all there in their sizes, and where they are from.
    """

    key: str
    size: int
    files: int
    used: float
    complete: bool
    uri: str
    location: str
    server: str


@dataclass(frozen=True, slots=True)
class Lease:
    """A complete model that stays until the lease is released."""

    path: Path
    lock: FileLock | None

    def release(self) -> None:
        """Allow that the model is evicted."""
        if self.lock is not None:
            self.lock.release()


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to download one model, which nobody else has at the same time."""

    key: str
    lock: FileLock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def release(self) -> None:
        """Let others download it."""
        self.lock.release()


class DamagedInUse:
    """The model is damaged, and others use it, so that it cannot be replaced now."""
