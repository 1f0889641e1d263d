"""Models and clocks of the tests that save and load models."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.lowlevel

from mlflow_utilities._clock import SystemClock

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

__all__ = ["DATA", "InstantClock", "Touching", "classifier", "temporary_files_in", "write_model"]

DATA = [[0.0], [1.0], [2.0], [3.0]]


class InstantClock(SystemClock):
    """A clock on which waiting takes no time."""

    def random(self) -> float:
        """Return the least chance."""
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """Let others run."""
        await anyio.lowlevel.checkpoint()


class Touching:
    """An object that makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def classifier() -> LogisticRegression:
    """Train a model on `DATA`; it predicts 0, 0, 1, 1."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(DATA, [0, 0, 1, 1])


def write_model(directory: Path, flavors: str, **files: bytes) -> Path:
    """Write a model with these flavors, as MLmodel spells them, and these files."""
    directory.mkdir(parents=True)
    (directory / "MLmodel").write_text(flavors)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


@contextlib.contextmanager
def temporary_files_in(directory: Path) -> Iterator[None]:
    """Let temporary files be made in `directory`."""
    before = tempfile.tempdir
    tempfile.tempdir = str(directory)
    try:
        yield
    finally:
        tempfile.tempdir = before
