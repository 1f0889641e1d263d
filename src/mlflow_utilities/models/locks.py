"""Locks between processes of one machine; the system frees them when a process dies."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from weakref import WeakSet

__all__ = ["FileLock", "try_lock"]

_BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)

if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    def _lock(descriptor: int, shared: bool) -> None:
        if not shared:  # there are no shared ones: instead, a directory whose files are open cannot be renamed
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int, shared: bool) -> None:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


class FileLock:
    """A lock that is held until `release`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        """Free the lock; a second time does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.release()


# Those that exclude others: a forked child that kept a copy would hold them as long as it lives.
_exclusive: WeakSet[FileLock] = WeakSet()


def _let_go() -> None:
    """In a forked child: close the copies of the parent's locks; the parent goes on holding them."""
    for lock in tuple(_exclusive):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def try_lock(path: Path, *, shared: bool = False) -> FileLock | None:
    """Lock the file `path`, made if need be, or return None at once when another holder excludes it.

    Raises:
        OSError: the file cannot be made.

    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        _lock(descriptor, shared)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _BUSY:
            return None
        raise
    lock = FileLock(descriptor)
    if not shared:
        _exclusive.add(lock)
    return lock
