"""The artifact methods of the client that read."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from mlflow_utilities._protocol.artifact_paths import as_text, check_upload_path
from mlflow_utilities._protocol.uris import FileLocation, ProxyLocation, RunUri, parse_location, parse_model_uri
from mlflow_utilities._unset import UNSET, Unset
from mlflow_utilities.errors import ArtifactError
from mlflow_utilities.stores.base import Entry, Store
from mlflow_utilities.stores.local import LocalStore
from mlflow_utilities.stores.locate import ArtifactLocator
from mlflow_utilities.stores.proxy import ProxyStore, listed_entries
from mlflow_utilities.stores.served import ServedStore, model_list_call, run_list_call
from mlflow_utilities.stores.transfer import download, list_files
from mlflow_utilities.typing import Call, Timeout

if TYPE_CHECKING:
    from mlflow_utilities.entities import FileInfo

__all__ = ["ArtifactReader"]


class ArtifactReader(ArtifactLocator):
    """Artifact methods that read: directories move several files at a time.

    A failed or cancelled download leaves no partial file. A location that only the server reaches (s3: and the like)
    is read through the server.
    """

    def _store(
        self,
        uri: str,
        timeout: Timeout | float | Unset | None,
        *,
        run_id: str | None = None,
        model_id: str | None = None,
        base: str = "",
    ) -> Store:
        location = parse_location(uri, getattr(self, "tracking_uri", None))
        if isinstance(location, ProxyLocation):
            return ProxyStore(self._sender, location.path, timeout)
        if isinstance(location, FileLocation):
            return LocalStore(Path(location.path))
        if run_id is None and model_id is None:
            raise ArtifactError(
                f"cannot reach {uri}: {location.scheme}: locations are read only through their run or logged model",
                hint="use a location the server proxies, mlflow-artifacts:/...",
            )
        return ServedStore(
            self._sender, scheme=location.scheme, run_id=run_id, model_id=model_id, base=base, timeout=timeout
        )

    async def _run_store(self, run_id: str, timeout: Timeout | float | Unset | None) -> Store:
        return self._store(await self._run_uri(run_id, timeout), timeout, run_id=run_id)

    async def _model_store(self, model_id: str, timeout: Timeout | float | Unset | None) -> Store:
        return self._store(await self._logged_model_uri(model_id, timeout), timeout, model_id=model_id)

    async def list_artifacts(
        self, run_id: str, path: str | None = None, *, timeout: Timeout | float | Unset | None = UNSET
    ) -> list[FileInfo]:
        """Return one level of a run's artifacts; empty for a file and for a path that does not exist.

        `file:` locations are listed on this machine. One request. Raises API errors.
        """
        path = as_text(path or "")
        return await self._list(run_list_call(run_id, path), run_id, path, timeout)

    async def list_logged_model_artifacts(
        self, model_id: str, path: str | None = None, *, timeout: Timeout | float | Unset | None = UNSET
    ) -> list[FileInfo]:
        """Return one level of a logged model's artifacts; otherwise like `list_artifacts`."""
        path = as_text(path or "")
        return await self._list(model_list_call(model_id, path), model_id, path, timeout)

    async def _list(self, call: Call, owner: str, path: str, timeout: Timeout | float | Unset | None) -> list[FileInfo]:
        path = path.strip("/")
        answer = await self._sender.send_json(call, timeout=timeout)
        root = str(answer.get("root_uri", ""))
        location = parse_location(root, None) if root else None
        if isinstance(location, FileLocation):
            entries = await LocalStore(Path(location.path)).entries(path)
        else:
            entries = listed_entries(answer, path, relative=False)
        if root:
            self._remember(owner, root)
        return [_file_info(entry) for entry in entries]

    async def read_artifact(self, run_id: str, path: str, *, timeout: Timeout | float | Unset | None = UNSET) -> bytes:
        """Return a run's file; a missing one raises NotFoundError, or ArtifactError in a file: location."""
        check_upload_path(path)
        return await (await self._run_store(run_id, timeout)).read(path)

    async def download_artifacts(
        self,
        run_id: str,
        path: str = "",
        dst_path: str | Path | None = None,
        *,
        timeout: Timeout | float | Unset | None = UNSET,
    ) -> str:
        """Download a run's file or directory below `dst_path`, a new temporary directory if None, and return where
        it lies.

        Each file appears whole or not at all. Raises NotFoundError or ArtifactError when there is nothing at `path`,
        ArtifactError for a file cut short or a name leading out of `dst_path`, and API errors.
        """
        path = check_upload_path(path.strip("/")) if as_text(path).strip("/") else ""
        store = await self._run_store(run_id, timeout)
        return await _download_to(store, path, dst_path)

    async def download_artifact_uri(
        self,
        artifact_uri: str,
        dst_dir: str | Path | None = None,
        *,
        check_sizes: bool = False,
        timeout: Timeout | float | Unset | None = UNSET,
    ) -> str:
        """Download what an artifact, runs: or models: URI names, and return where it lies.

        The content of a directory goes straight into `dst_dir`, a file into it under its name. `check_sizes`: each file
        of a directory must have the size that was listed; for files that do not change meanwhile. Raises ArtifactError
        when there is nothing or a size differs, otherwise errors as `download_artifacts`.
        """
        uri = await self.resolve_model_uri(artifact_uri, timeout=timeout)
        store = self._uri_store(artifact_uri, uri, timeout)
        if listing := await store.entries(""):
            return await _download_to(store, "", dst_dir, listing, check_sizes)
        parent, _, name = uri.rstrip("/").rpartition("/")
        if not name or isinstance(store, ServedStore):
            raise ArtifactError(f"there is nothing at {uri}")
        return await _download_to(self._store(parent, timeout), check_upload_path(name), dst_dir)

    async def measure_artifact_uri(self, artifact_uri: str, *, timeout: Timeout | float | Unset | None = UNSET) -> int:
        """Return the bytes of all files in the directory that an artifact, runs: or models: URI names.

        A request for each directory. Raises ArtifactError when it has more than 64 levels, and API errors.
        """
        uri = await self.resolve_model_uri(artifact_uri, timeout=timeout)
        store = self._uri_store(artifact_uri, uri, timeout)
        return sum(entry.size or 0 for entry in await list_files(store, await store.entries(""), uri))

    def _uri_store(self, wanted: str, uri: str, timeout: Timeout | float | Unset | None) -> Store:
        parsed = parse_model_uri(wanted)
        owner = next((known for known, root in self._artifact_uris.items() if uri == root), None)
        if isinstance(parsed, RunUri) and uri.endswith(parsed.path) and uri != parsed.path and owner is None:
            return self._store(uri, timeout, run_id=parsed.run_id, base=parsed.path)
        if owner is None:
            return self._store(uri, timeout)
        return self._store(
            uri,
            timeout,
            run_id=None if owner.startswith("m-") else owner,
            model_id=owner if owner.startswith("m-") else None,
        )


def _file_info(entry: Entry) -> FileInfo:
    from mlflow_utilities.entities import FileInfo

    # MLflow leaves the size of an empty file out
    return FileInfo(path=entry.path, is_dir=entry.is_dir, file_size=None if entry.is_dir else entry.size or 0)


async def _download_to(
    store: Store,
    path: str,
    destination: str | Path | None,
    listing: list[Entry] | None = None,
    check_sizes: bool = False,
) -> str:
    if destination is not None:
        return str(await download(store, path, Path(destination), listing, check_sizes))
    fresh = Path(await anyio.to_thread.run_sync(lambda: tempfile.mkdtemp(prefix="mlflow-")))
    try:
        return str(await download(store, path, fresh, listing, check_sizes))
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(fresh, ignore_errors=True))
        raise
