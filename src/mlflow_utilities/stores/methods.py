"""The artifact methods of the client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import anyio.to_thread

from mlflow_utilities._protocol.artifact_paths import check_upload_path, join_path
from mlflow_utilities._unset import UNSET, Unset
from mlflow_utilities.errors import InvalidInputError
from mlflow_utilities.stores.base import Store
from mlflow_utilities.stores.files import bytes_content, spooled
from mlflow_utilities.stores.reading import ArtifactReader
from mlflow_utilities.stores.transfer import upload_directory, upload_file
from mlflow_utilities.typing import Timeout

__all__ = ["ArtifactsApi"]


class ArtifactsApi(ArtifactReader):
    """Artifact methods: files stream both ways, directories move several files at a time.

    Names that MLflow would store differently or refuse raise InvalidInputError before anything is sent. A failed or
    cancelled download leaves no partial file. A location that only the server reaches (s3: and the like) is read
    through the server; writing there raises ArtifactError.
    """

    async def log_artifact(
        self,
        run_id: str,
        local_path: str | Path,
        artifact_path: str | None = None,
        *,
        timeout: Timeout | float | Unset | None = UNSET,
    ) -> None:
        """Upload a file into the directory `artifact_path` of the run; a directory is uploaded under its own name.

        Raises InvalidInputError for a name MLflow cannot keep, ArtifactError when a file cannot be read or the
        location cannot be written, and API errors.
        """
        await self._log_path(run_id, None, Path(local_path), artifact_path, timeout)

    async def log_model_artifact(
        self,
        model_id: str,
        local_path: str | Path,
        artifact_path: str | None = None,
        *,
        timeout: Timeout | float | Unset | None = UNSET,
    ) -> None:
        """Upload a file into a logged model; otherwise like `log_artifact`."""
        await self._log_path(None, model_id, Path(local_path), artifact_path, timeout)

    async def _log_path(
        self,
        run_id: str | None,
        model_id: str | None,
        local: Path,
        artifact_path: str | None,
        timeout: Timeout | float | Unset | None,
    ) -> None:
        name, is_directory = await anyio.to_thread.run_sync(_look_at, local)
        target = check_upload_path(join_path(_checked_base(artifact_path), name))
        store = await self._owned(run_id, model_id, timeout)
        await (upload_directory if is_directory else upload_file)(store, local, target)

    async def _owned(self, run_id: str | None, model_id: str | None, timeout: Timeout | float | Unset | None) -> Store:
        if model_id is not None:
            return await self._model_store(model_id, timeout)
        return await self._run_store(run_id or "", timeout)

    async def log_artifacts(
        self,
        run_id: str,
        local_dir: str | Path,
        artifact_path: str | None = None,
        *,
        timeout: Timeout | float | Unset | None = UNSET,
    ) -> None:
        """Upload every file below `local_dir` into the directory `artifact_path` of the run, several at a time.

        Links to files inside `local_dir` are followed; a link out of it or to a directory raises InvalidInputError,
        as does a name MLflow cannot keep. Empty directories are left out. Raises ArtifactError and API errors.
        """
        store = await self._run_store(run_id, timeout)
        await upload_directory(store, Path(local_dir), _checked_base(artifact_path))

    async def log_model_artifacts(
        self,
        model_id: str,
        local_dir: str | Path,
        artifact_path: str | None = None,
        *,
        timeout: Timeout | float | Unset | None = UNSET,
    ) -> None:
        """Upload every file below `local_dir` into a logged model; otherwise like `log_artifacts`."""
        store = await self._model_store(model_id, timeout)
        await upload_directory(store, Path(local_dir), _checked_base(artifact_path))

    async def log_bytes(
        self, run_id: str, data: bytes, artifact_file: str, *, timeout: Timeout | float | Unset | None = UNSET
    ) -> None:
        """Write `data` to the run's file `artifact_file`; errors as for `log_artifact`."""
        check_upload_path(artifact_file)
        store = await self._run_store(run_id, timeout)
        await store.put(artifact_file, bytes_content(data), len(data))

    async def log_text(
        self, run_id: str, text: str, artifact_file: str, *, timeout: Timeout | float | Unset | None = UNSET
    ) -> None:
        """Write `text` as UTF-8 to the run's file `artifact_file`; errors as for `log_artifact`."""
        await self.log_bytes(run_id, text.encode(), artifact_file, timeout=timeout)

    async def log_dict(
        self,
        run_id: str,
        dictionary: Mapping[str, Any],
        artifact_file: str,
        *,
        timeout: Timeout | float | Unset | None = UNSET,
    ) -> None:
        """Write a mapping as JSON, which YAML readers read too, to the run's file `artifact_file`.

        Values that JSON does not know are written as their str(). Errors as for `log_artifact`.
        """
        text = json.dumps(dictionary, indent=2, default=str, ensure_ascii=False)
        await self.log_text(run_id, text, artifact_file, timeout=timeout)

    async def log_stream(
        self, run_id: str, stream: IO[bytes], artifact_file: str, *, timeout: Timeout | float | Unset | None = UNSET
    ) -> None:
        """Write what is left of a binary stream to the run's file `artifact_file`; errors as for `log_artifact`.

        It is read to a temporary file first, in a worker thread, so that it can be sent again.
        """
        check_upload_path(artifact_file)
        store = await self._run_store(run_id, timeout)
        async with spooled(stream) as (content, size):
            await store.put(artifact_file, content, size)

    async def upload_artifacts(
        self, artifact_uri: str, local_dir: str | Path, *, timeout: Timeout | float | Unset | None = UNSET
    ) -> None:
        """Upload every file below `local_dir` to an artifact location; otherwise like `log_artifacts`."""
        store = self._store(await self.resolve_model_uri(artifact_uri, timeout=timeout), timeout)
        await upload_directory(store, Path(local_dir), "")


def _checked_base(artifact_path: str | None) -> str:
    if isinstance(artifact_path, str):
        artifact_path = artifact_path.rstrip("/")
    return check_upload_path(artifact_path) if artifact_path else ""


def _look_at(local: Path) -> tuple[str, bool]:
    if not local.exists():
        raise InvalidInputError(f"{local} does not exist")
    return local.absolute().name, local.is_dir()
