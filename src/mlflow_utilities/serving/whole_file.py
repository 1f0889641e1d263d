"""A small file that is there as a whole or not at all, whatever happens to the process that writes it. It blocks."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from contextlib import suppress
from pathlib import Path

from mlflow_utilities.errors import ArtifactError

__all__ = ["read_file", "write_file"]

_PARTIAL = ".partial"
_PIECE = 64 * 1024
_OPEN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

if sys.platform == "win32":  # pragma: no cover

    def _lock(descriptor: int) -> None:
        """Do nothing: a file that is open cannot be removed there."""
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def read_file(path: Path, most: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        ArtifactError: there is none, it cannot be read, is no file, or has more than `most` bytes. `__cause__` has the
            system's error.

    """
    try:
        # Opening a pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | _OPEN | getattr(os, "O_NONBLOCK", 0))
        try:
            data = _read(descriptor, most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise ArtifactError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:  # ValueError: a path that cannot be
        raise ArtifactError(f"cannot read {path}: {error}") from error
    if data is None:
        raise ArtifactError(f"cannot read {path}: it is not a file")
    if len(data) > most:
        raise ArtifactError(f"cannot use {path}: it has more than {most} bytes")
    return data


def _read(descriptor: int, most: int) -> bytes:
    with open(descriptor, "rb", closefd=False) as file:
        return file.read(most + 1)


def write_file(path: Path, data: bytes) -> None:
    """Replace the file by one with these bytes, which its owner alone may read; a new directory likewise.

    Raises:
        OSError: it cannot be written; the old file stays, and nothing else is left.

    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _clean(path)
    partial, descriptor = _begin(path)
    try:
        try:
            _write(descriptor, data)
            if sys.platform == "win32":  # pragma: no cover
                os.close(descriptor)
                descriptor = -1
            os.replace(partial, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(partial)
            raise
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    _make_durable(path.parent)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest[:_PIECE]) :]
    os.fsync(descriptor)


def _begin(path: Path) -> tuple[Path, int]:
    """Return a new file beside `path`, locked for as long as it is open."""
    while True:
        partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}{_PARTIAL}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600)
        if _is_ours(descriptor):
            return partial, descriptor
        os.close(descriptor)


def _is_ours(descriptor: int) -> bool:
    """Lock a new file; False when another process was at it first, to remove it."""
    try:
        _lock(descriptor)
    except BlockingIOError:
        return False
    except OSError:  # this file system has no locks, so nobody cleans there either
        return True
    return os.fstat(descriptor).st_nlink > 0


def _clean(path: Path) -> None:
    """Remove what processes that died have left; a file that is being written is locked."""
    for leftover in path.parent.glob(f"{path.name}.*{_PARTIAL}"):
        with suppress(OSError):
            descriptor = os.open(leftover, os.O_RDWR | _OPEN)
            try:
                _lock(descriptor)
                os.unlink(leftover)
            finally:
                os.close(descriptor)


def _make_durable(directory: Path) -> None:
    with suppress(OSError):  # the new file is there already; not every system can do this
        descriptor = os.open(directory, os.O_RDONLY | _OPEN)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
