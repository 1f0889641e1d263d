"""Artifacts in a location that only the server reaches: read through the server, never written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import quote

from mlflow_utilities._unset import UNSET, Unset
from mlflow_utilities.errors import ArtifactError
from mlflow_utilities.stores.base import Entry
from mlflow_utilities.stores.proxy import PLAIN_BODY, fetch_call, listed_entries, read_call
from mlflow_utilities.typing import Call, Sender, Timeout

__all__ = ["ServedStore", "model_list_call", "run_list_call"]


def run_list_call(run_id: str, path: str) -> Call:
    """Return the call that lists a directory of a run."""
    query = (("run_id", run_id), *((("path", path),) if path else ()))
    return Call("GET", "/api/2.0/mlflow/artifacts/list", query=query)


def model_list_call(model_id: str, path: str) -> Call:
    """Return the call that lists a directory of a logged model."""
    url = f"/api/2.0/mlflow/logged-models/{quote(model_id, safe='')}/artifacts/directories"
    return Call("GET", url, query=(("artifact_directory_path", path),) if path else ())


class ServedStore:
    """The files of a run or of a logged model, below `base`, as the server hands them out."""

    def __init__(
        self,
        sender: Sender,
        *,
        scheme: str,
        run_id: str | None = None,
        model_id: str | None = None,
        base: str = "",
        timeout: Timeout | float | Unset | None = UNSET,
    ) -> None:
        self._sender = sender
        self._scheme = scheme
        self._run_id = run_id
        self._model_id = model_id
        self._base = base
        self._timeout = timeout

    def _full(self, path: str) -> str:
        return "/".join(part for part in (self._base, path) if part)

    def _file_call(self, path: str) -> Call:
        if self._model_id is not None:
            url = f"/ajax-api/2.0/mlflow/logged-models/{quote(self._model_id, safe='')}/artifacts/files"
            return Call("GET", url, query=(("artifact_file_path", self._full(path)),), headers=PLAIN_BODY)
        query = (("run_id", self._run_id or ""), ("path", self._full(path)))
        return Call("GET", "/get-artifact", query=query, headers=PLAIN_BODY)

    async def entries(self, path: str) -> list[Entry]:
        """Return one level; empty for a file and for a path that does not exist."""
        full = self._full(path)
        call = model_list_call(self._model_id, full) if self._model_id else run_list_call(self._run_id or "", full)
        found = listed_entries(await self._sender.send_json(call, timeout=self._timeout), full, relative=False)
        cut = len(self._base) + 1 if self._base else 0
        return [Entry(entry.path[cut:], entry.is_dir, entry.size) for entry in found]

    async def read(self, path: str) -> bytes:
        """Return the bytes of a file."""
        return await read_call(self._sender, self._file_call(path), self._timeout)

    async def fetch(self, path: str, destination: Path, size: int | None) -> None:
        """Copy a file to `destination`, whole or not at all."""
        await fetch_call(self._sender, self._file_call(path), destination, size, self._timeout)

    async def put(self, path: str, content: Callable[[], AsyncIterator[bytes]], size: int) -> None:
        """Refuse: raises ArtifactError."""
        raise ArtifactError(
            f"cannot write {path}: this location is {self._scheme}:, which only the server reaches",
            hint="create the experiment with an mlflow-artifacts: location, or start the server with --serve-artifacts",
        )
