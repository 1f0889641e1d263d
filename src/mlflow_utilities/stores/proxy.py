"""Artifacts behind the server's artifact proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from mlflow_utilities._protocol.artifact_paths import check_received_name, join_path, quote_path
from mlflow_utilities._unset import UNSET, Unset
from mlflow_utilities.errors import MlflowConnectionError, NotFoundError, ProtocolError, ServerError
from mlflow_utilities.stores.base import Entry
from mlflow_utilities.stores.files import write_whole
from mlflow_utilities.typing import Call, JsonObject, Safety, Sender, Timeout

__all__ = ["PLAIN_BODY", "ProxyStore", "fetch_call", "listed_entries", "read_call"]

_ROOT = "/api/2.0/mlflow-artifacts/artifacts"
_NO_FILE = ("No such file or directory", "Is a directory", "Not a directory")
PLAIN_BODY = (("accept", "*/*"), ("accept-encoding", "identity"))


T = TypeVar("T")


class ProxyStore:
    """A store in the directory `root` of the artifact proxy."""

    def __init__(self, sender: Sender, root: str, timeout: Timeout | float | Unset | None = UNSET) -> None:
        self._sender = sender
        self._root = root
        self._timeout = timeout

    def _url(self, path: str) -> str:
        return f"{_ROOT}/{quote_path(join_path(self._root, path))}"

    async def entries(self, path: str) -> list[Entry]:
        """Return one level; empty for a file and for a path that does not exist."""
        call = Call("GET", _ROOT, query=(("path", join_path(self._root, path)),))
        answer = await self._sender.send_json(call, timeout=self._timeout)
        return listed_entries(answer, path, relative=True)

    async def read(self, path: str) -> bytes:
        """Return the bytes of a file."""
        return await read_call(self._sender, Call("GET", self._url(path), headers=PLAIN_BODY), self._timeout)

    async def fetch(self, path: str, destination: Path, size: int | None) -> None:
        """Copy a file to `destination`, whole or not at all."""
        call = Call("GET", self._url(path), headers=PLAIN_BODY)
        await fetch_call(self._sender, call, destination, size, self._timeout)

    async def put(self, path: str, content: Callable[[], AsyncIterator[bytes]], size: int) -> None:
        """Write a file."""
        headers = (("content-type", "application/octet-stream"),)
        call = Call("PUT", self._url(path), safety=Safety.IDEMPOTENT, headers=headers)
        await self._sender.upload(call, content, size, timeout=self._timeout)


async def read_call(sender: Sender, call: Call, timeout: Timeout | float | Unset | None) -> bytes:
    """Return the bytes of a file."""
    return await _file(call, lambda one: sender.send(one, timeout=timeout))


async def fetch_call(
    sender: Sender, call: Call, destination: Path, size: int | None, timeout: Timeout | float | Unset | None
) -> None:
    """Write the answer to `destination`, whole or not at all; `size` is the length in bytes the listing said."""

    async def fetch(one: Call) -> None:
        async with sender.stream(one, timeout=timeout) as body:
            expected = _content_length(body.headers)
            await write_whole(destination, body.iter_bytes(), size if expected is None else expected)

    await _file(call, fetch)


async def _file(call: Call, attempt: Callable[[Call], Awaitable[T]]) -> T:
    """Ask for a file: that it is missing, which servers 2.x call an internal error, is said at once."""
    try:
        return await attempt(replace(call, safety=Safety.CREATE))
    except ServerError as error:
        if any(reason in error.message for reason in _NO_FILE):
            raise NotFoundError(
                error.message, status=error.status, error_code=error.error_code, method=error.method, path=error.path
            ) from error
    except MlflowConnectionError as error:
        if not error.sent:
            raise
    return await attempt(call)


def _content_length(headers: Mapping[str, str]) -> int | None:
    lowered = {name.lower(): value for name, value in headers.items()}
    text = lowered.get("content-length", "")
    return int(text) if text.isdigit() and lowered.get("content-encoding", "identity") == "identity" else None


def listed_entries(answer: JsonObject, path: str, *, relative: bool) -> list[Entry]:
    """Return the files of a listing of `path`; `relative` says that it has bare names instead of paths.

    Raises ArtifactError for a name that could lead out of a destination, ProtocolError for another shape.
    """
    prefix = f"{path}/" if path else ""
    found: list[Entry] = []
    for item in answer.get("files", []):
        try:
            listed, is_dir, size = str(item["path"]), bool(item.get("is_dir", False)), item.get("file_size")
        except (TypeError, KeyError, AttributeError) as error:
            raise ProtocolError(f"the listing of {path!r} has an entry of another shape: {item!r}") from error
        name = listed if relative else listed.removeprefix(prefix)
        found.append(Entry(prefix + check_received_name(name), is_dir, None if is_dir or size is None else int(size)))
    return found
