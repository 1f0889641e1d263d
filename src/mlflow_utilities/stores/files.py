"""Local files, read and written in pieces without holding up the event loop."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

import anyio
import anyio.to_thread

from mlflow_utilities.errors import ArtifactError, InvalidInputError
from mlflow_utilities.stores.base import CHUNK
from mlflow_utilities.stores.workers import in_thread

__all__ = [
    "FileChunks",
    "bytes_content",
    "collect_files",
    "opened",
    "os_errors",
    "spooled",
    "target_path",
    "write_whole",
]


@contextmanager
def os_errors(action: str) -> Generator[None, None, None]:
    """Turn an OSError of the local file system into an ArtifactError."""
    try:
        yield
    except ArtifactError:
        raise
    except OSError as error:
        if type(error).__module__ != "builtins":  # a connection error of this package is an OSError, too
            raise
        raise ArtifactError(f"cannot {action}: {error}") from error


class FileChunks:
    """The bytes of an open file from its beginning, in pieces of 1 MiB; it fails when the file changes its size."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._size = size
        self._offset = 0

    def __aiter__(self) -> FileChunks:
        return self

    async def __anext__(self) -> bytes:
        with os_errors(f"read {self._file.name}"):
            piece = await anyio.to_thread.run_sync(self._piece)
        self._offset += len(piece)
        if self._offset > self._size or (not piece and self._offset < self._size):
            raise ArtifactError(f"{self._file.name} changed while it was read; it had {self._size} bytes")
        if not piece:
            raise StopAsyncIteration
        return piece

    def _piece(self) -> bytes:
        self._file.seek(self._offset)
        return self._file.read(CHUNK)


def bytes_content(data: bytes) -> Callable[[], AsyncIterator[bytes]]:
    """Return a repeatable body of `data` in pieces of 1 MiB."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(data), CHUNK):
            yield data[start : start + CHUNK]

    return pieces


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[tuple[Callable[[], AsyncIterator[bytes]], int], None]:
    """Open a file for reading: a repeatable body and its size in bytes."""
    with os_errors(f"read {path}"):
        file = await anyio.to_thread.run_sync(lambda: open(path, "rb"))  # noqa: SIM115
    try:
        size = os.fstat(file.fileno()).st_size
        yield (lambda: FileChunks(file, size)), size
    finally:
        file.close()


@asynccontextmanager
async def spooled(stream: IO[bytes]) -> AsyncGenerator[tuple[Callable[[], AsyncIterator[bytes]], int], None]:
    """Copy a stream to a temporary file: a repeatable body and its size in bytes."""
    with tempfile.TemporaryFile() as file:
        try:
            with os_errors("read the stream"):
                await anyio.to_thread.run_sync(lambda: shutil.copyfileobj(stream, file, CHUNK))
        except TypeError:
            raise InvalidInputError("the stream gives text, not bytes", hint="open it in binary mode") from None
        size = file.tell()
        yield (lambda: FileChunks(file, size)), size


def target_path(root: Path, path: str) -> Path:
    """Return where `path` lies below `root`; ArtifactError when it would lie outside."""
    target = root.joinpath(*path.split("/"))
    if root not in target.parents or ".." in path.split("/"):
        raise ArtifactError(f"{path!r} would be written outside {root}")
    return target


async def write_whole(destination: Path, pieces: AsyncIterator[bytes], size: int | None) -> None:
    """Write `pieces` to a temporary file beside `destination`, then rename it.

    When anything fails, or the task is cancelled, or the bytes are not `size` many, no file is left.
    """
    temporary = destination.parent / f".{secrets.token_hex(8)}.part"
    files: list[IO[bytes]] = []  # a task that is cancelled while the thread opens it gets no result
    with os_errors(f"write {destination}"):
        try:
            try:
                await in_thread(lambda: files.append(_create(temporary)))
                written = await _write_pieces(files[0], pieces)
            finally:
                for file in files:
                    file.close()
            if size is not None and written != size:
                raise ArtifactError(f"{destination.name} has {size} bytes, but {written} arrived; nothing was written")
            await in_thread(lambda: os.replace(temporary, destination))
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def _create(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return open(path, "xb", buffering=0)


async def _write_pieces(file: IO[bytes], pieces: AsyncIterator[bytes]) -> int:
    held = bytearray()
    written = 0
    async for piece in pieces:
        held += piece
        if len(held) >= CHUNK:
            written += await _written(file, bytes(held))
            held.clear()
    if held:
        written += await _written(file, bytes(held))
    return written


async def _written(file: IO[bytes], data: bytes) -> int:
    return await in_thread(lambda: _write_all(file, data))


def _write_all(file: IO[bytes], data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
    return len(data)


def collect_files(root: Path) -> list[tuple[Path, str]]:
    """Return every file below `root` with its path relative to it; empty directories do not count.

    A symbolic link to a file inside `root` is followed. Raises InvalidInputError for a link that leads out of `root`
    or to a directory, and for anything that is neither file nor directory: nothing is left out silently.
    """
    if not root.is_dir():
        raise InvalidInputError(f"{root} is not a directory")
    real_root = root.resolve()
    found: list[tuple[Path, str]] = []
    with os_errors(f"read {root}"):
        for directory, subdirectories, names in os.walk(root, onerror=_raise):
            for name in sorted(subdirectories):
                if (Path(directory) / name).is_symlink():
                    raise InvalidInputError(f"{directory}/{name} is a link to a directory", hint="copy it in its place")
            for name in sorted(names):
                file = Path(directory) / name
                _check_file(file, real_root)
                found.append((file, file.relative_to(root).as_posix()))
    return found


def _raise(error: OSError) -> None:
    raise error


def _check_file(file: Path, real_root: Path) -> None:
    if file.is_symlink() and not file.resolve().is_relative_to(real_root):
        raise InvalidInputError(f"{file} is a link that leads out of {real_root}", hint="copy the file in its place")
    if not stat.S_ISREG(file.stat().st_mode):
        raise InvalidInputError(f"{file} is neither a file nor a directory")
