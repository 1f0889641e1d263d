"""Multipart uploads and presigned URLs: what a server answers whose artifacts are kept in files behind its proxy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from mlflow_utilities.testing.in_memory.artifact_paths import safe_path, under
from mlflow_utilities.testing.in_memory.exchange import Request
from mlflow_utilities.testing.in_memory.fields import Field, read
from mlflow_utilities.testing.in_memory.logged_models import find_logged_model
from mlflow_utilities.testing.in_memory.refusals import Refused, invalid
from mlflow_utilities.testing.in_memory.runs import find_run
from mlflow_utilities.testing.in_memory.state import State

__all__ = ["HANDLERS", "RAW"]

_LONGEST_LIFE = 604_800
_NEEDED = Field("string", required=True)


def _no_multipart_upload(state: State, request: Request, of_path: Mapping[str, str]) -> NoReturn:
    safe_path(of_path["path"])
    raise Refused("Multipart upload is not supported for the current artifact repository", "NOT_IMPLEMENTED")


def _no_multipart_download(state: State, request: Request, of_path: Mapping[str, str]) -> NoReturn:
    safe_path(of_path["path"])
    raise Refused("Multipart download is not supported for the current artifact repository", "NOT_IMPLEMENTED")


def _no_upload_url(state: State, request: Mapping[str, Any]) -> NoReturn:
    optional = {"run_id": Field("string"), "model_id": Field("string"), "expiration": Field("int64")}
    values = read(request, {**optional, "path": _NEEDED})
    run_id, model_id = values.get("run_id", ""), values.get("model_id", "")
    if bool(run_id) == bool(model_id):
        raise invalid("Exactly one of run_id and model_id must be provided.")
    safe_path(values.get("path", ""))
    root = find_run(state, run_id).artifact_uri if run_id else find_logged_model(state, model_id).artifact_uri
    under(root, "")
    raise invalid(
        "Presigned upload is not supported for proxied artifact storage (artifact URI scheme: mlflow-artifacts). This"
        " endpoint requires a direct cloud storage artifact URI."
    )


def _no_download_url(state: State, request: Mapping[str, Any]) -> NoReturn:
    values = read(request, {"run_id": _NEEDED, "path": _NEEDED, "expiration": Field("int64")})
    safe_path(values.get("path", ""))
    life = values.get("expiration", 300)
    if not 1 <= life <= _LONGEST_LIFE:
        raise invalid(f"expiration must be between 1 and {_LONGEST_LIFE} seconds (got {life}).")
    under(find_run(state, values.get("run_id", "")).artifact_uri, "")
    raise invalid(
        "Presigned download is not supported for runs with proxied artifact storage (artifact URI scheme:"
        " mlflow-artifacts). This endpoint requires a run with a direct cloud storage artifact URI."
    )


HANDLERS = {
    ("POST", "artifacts/presigned-upload-url"): _no_upload_url,
    ("POST", "artifacts/presigned-download-url"): _no_download_url,
}
RAW = {
    ("GET", "2.0/mlflow-artifacts/presigned/{path}"): _no_multipart_download,
    ("POST", "2.0/mlflow-artifacts/mpu/create/{path}"): _no_multipart_upload,
    ("POST", "2.0/mlflow-artifacts/mpu/complete/{path}"): _no_multipart_upload,
    ("POST", "2.0/mlflow-artifacts/mpu/abort/{path}"): _no_multipart_upload,
}
