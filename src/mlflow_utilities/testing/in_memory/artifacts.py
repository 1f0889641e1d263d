"""Artifacts behind the proxy: write, read, list and delete; those of runs, logged models and versions."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import posixpath
import unicodedata
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

from mlflow_utilities.testing.in_memory.artifact_paths import (
    folders_of,
    listing,
    local_listing,
    normal,
    safe_path,
    under,
)
from mlflow_utilities.testing.in_memory.exchange import Answer, Request, html, json_answer
from mlflow_utilities.testing.in_memory.fields import Field, read
from mlflow_utilities.testing.in_memory.logged_models import find_logged_model
from mlflow_utilities.testing.in_memory.refusals import Refused, UnsupportedByInMemoryMlflow, invalid, missing
from mlflow_utilities.testing.in_memory.registered_models import find_version
from mlflow_utilities.testing.in_memory.runs import RUN_ID, find_run, run_id_of
from mlflow_utilities.testing.in_memory.state import State

__all__ = ["HANDLERS", "PAGES", "RAW"]

_RESERVED = ".artifact.uploading."
_LONGEST_NAME = 255
_PLAIN_TEXT = frozenset(
    (
        *("txt", "log", "err", "cfg", "conf", "cnf", "cf", "ini", "properties", "prop", "hocon", "toml", "yaml", "yml"),
        *("xml", "json", "js", "py", "py3", "csv", "tsv", "md", "rst", "ipynb", "MLmodel", "MLproject"),
    )
)


def _detail(status: int, text: str) -> Answer:
    return Answer(status, json.dumps({"detail": text}).encode(), {"content-type": "application/json"})


def _plain(status: int, text: str, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, text.encode(), {"content-type": "text/plain; charset=utf-8", **(headers or {})})


def _put(state: State, request: Request, of_path: Mapping[str, str]) -> Answer:
    path = safe_path(of_path["path"])
    folder, name = posixpath.split(path)
    if not name:
        return _detail(400, "Artifact path must include a filename (cannot end with '/').")
    if folder and (normal(folder) != folder):
        raise Refused(
            f"Invalid artifact path: '{folder}'. Names may be treated as files in certain cases, and must not resolve"
            f" to other names when treated as such. This name would resolve to {posixpath.normpath(folder)!r}",
            "INTERNAL_ERROR",
        )
    if any(len(part.encode()) > _LONGEST_NAME for part in path.split("/")):
        return _plain(500, "Internal Server Error")
    path = posixpath.join(folder, name)
    parents = [folder]
    while parents[-1]:
        parents.append(posixpath.dirname(parents[-1]))
    if any(parent in state.artifacts for parent in parents):
        return _plain(500, "Internal Server Error")
    state.folders.update(parent for parent in parents if parent)
    if name.startswith(_RESERVED):
        raise invalid(f"Invalid artifact file name: '{name}'. Artifact names starting with '{_RESERVED}' are reserved.")
    if name == "." or path in folders_of(state):
        return _plain(500, "Internal Server Error")
    state.artifacts[path] = request.body
    return Answer(200)


def _get(state: State, request: Request, of_path: Mapping[str, str]) -> Answer:
    path = safe_path(of_path["path"])
    where = normal(path)
    if where in state.artifacts:
        return _file(state.artifacts[where], path, request)
    if where in folders_of(state):
        return _detail(400, f"Artifact path refers to a directory, not a file: '{path}'")
    raise missing(f"No such artifact: '{path}'")


def _file(content: bytes, path: str, request: Request) -> Answer:
    """Answer with a file, or with the part of it that is asked for."""
    etag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
    headers = {
        "content-type": _media_type(path),
        "content-disposition": _disposition(posixpath.basename(path)),
        "x-content-type-options": "nosniff",
        "accept-ranges": "bytes",
        "last-modified": formatdate(0, usegmt=True),
        "etag": etag,
    }
    wanted = request.headers.get("range")
    if wanted is None or request.headers.get("if-range", etag) != etag:
        return Answer(200, content, headers)
    return _part(content, wanted, headers)


def _part(content: bytes, wanted: str, headers: dict[str, str]) -> Answer:
    unit, equals, ranges = wanted.partition("=")
    if not equals:
        return _plain(400, "Malformed range header.")
    if unit.strip().lower() != "bytes":
        return _plain(400, "Only support bytes range")
    found = [span for part in ranges.split(",") if (span := _span(part.strip(), len(content)))]
    if not found:
        return _plain(400, "Range header: range must be requested")
    if len(found) > 1:
        raise UnsupportedByInMemoryMlflow(f"several ranges in one request: {wanted}")
    begin, end = found[0]
    if not 0 <= begin < len(content):
        return _plain(416, "", {"content-range": f"bytes */{len(content)}"})
    if begin >= end:
        return _plain(400, "Range header: start must be less than end")
    return Answer(206, content[begin:end], {**headers, "content-range": f"bytes {begin}-{end - 1}/{len(content)}"})


def _span(part: str, size: int) -> tuple[int, int] | None:
    first, dash, last = (text.strip() for text in part.partition("-"))
    if not dash or not (first or last):
        return None
    try:
        begin = int(first) if first else max(size - int(last), 0)
        return begin, int(last) + 1 if first and last and int(last) < size else size
    except ValueError:
        return None


def _media_type(path: str) -> str:
    name = posixpath.basename(path)
    extension = posixpath.splitext(name)[1].replace(".", "") or name
    if extension in _PLAIN_TEXT:
        return "text/plain"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _disposition(name: str) -> str:
    if name.isascii():
        return f"attachment; filename={name if name.replace('.', '').replace('-', '').isalnum() else json.dumps(name)}"
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() or "download"
    return f"attachment; filename={json.dumps(plain)}; filename*=UTF-8''{quote(name, safe='!#$&+-.^_`|~')}"


def _delete(state: State, request: Request, of_path: Mapping[str, str]) -> Answer:
    path = normal(safe_path(of_path["path"]))
    state.artifacts = {name: content for name, content in state.artifacts.items() if not _is_within(name, path)}
    state.folders = {folder for folder in state.folders if not _is_within(folder, path)}
    return json_answer({})


def _is_within(name: str, folder: str) -> bool:
    return not folder or name == folder or name.startswith(f"{folder}/")


def _list(state: State, request: Request, of_path: Mapping[str, str]) -> Answer:
    path = next(iter(request.query.get("path", [])), "")
    files = listing(state, normal(safe_path(path)))
    return json_answer({"files": files} if files else {})


def _list_of(state: State, root: str, path: str) -> dict[str, Any]:
    prefix = safe_path(path)
    files = local_listing(state, root, prefix)
    if files is None:
        files = listing(state, under(root, prefix), prefix)
    return {"root_uri": root, "files": files} if files else {"root_uri": root}


def _list_of_run(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {**RUN_ID, "path": Field("string"), "page_token": Field("string")})
    path = safe_path(values.get("path", ""))
    return _list_of(state, find_run(state, run_id_of(values)).artifact_uri, path)


def _list_of_model(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"artifact_directory_path": Field("string")})
    path = safe_path(values.get("artifact_directory_path", ""))
    return _list_of(state, find_logged_model(state, request["{model_id}"]).artifact_uri, path)


def _attachment(state: State, request: Request, root: str, path: str) -> Answer:
    where = under(root, path)
    if where in state.artifacts:
        return _file(state.artifacts[where], path, request)
    if where in folders_of(state):
        raise invalid(f"Artifact path refers to a directory, not a file: '{where}'")
    raise missing(f"No such artifact: '{where}'")


def _first(request: Request, *names: str) -> str:
    return next((request.query[name][0] for name in names if request.query.get(name)), "")


def _get_of_run(state: State, request: Request, of_path: Mapping[str, str]) -> Answer:
    if "path" not in request.query:
        return html(400, "Bad Request")
    path = safe_path(_first(request, "path"))
    return _attachment(state, request, find_run(state, _first(request, "run_id", "run_uuid")).artifact_uri, path)


def _get_of_version(state: State, request: Request, of_path: Mapping[str, str]) -> Answer:
    if "path" not in request.query:
        return html(400, "Bad Request")
    path = safe_path(_first(request, "path"))
    version = find_version(state, _first(request, "name"), _first(request, "version"))
    return _attachment(state, request, version.storage_location or version.source, path)


def _get_of_model(state: State, request: Request, of_path: Mapping[str, str]) -> Answer:
    path = _first(request, "artifact_file_path")
    if not path:
        raise Refused('Request must include the "artifact_file_path" query parameter.', "BAD_REQUEST")
    safe_path(path)
    return _attachment(state, request, find_logged_model(state, of_path["model_id"]).artifact_uri, path)


HANDLERS = {
    ("GET", "artifacts/list"): _list_of_run,
    ("GET", "logged-models/{model_id}/artifacts/directories"): _list_of_model,
}
RAW = {
    ("PUT", "2.0/mlflow-artifacts/artifacts/{path}"): _put,
    ("GET", "2.0/mlflow-artifacts/artifacts/{path}"): _get,
    ("DELETE", "2.0/mlflow-artifacts/artifacts/{path}"): _delete,
    ("GET", "2.0/mlflow-artifacts/artifacts"): _list,
    ("GET", "2.0/mlflow/logged-models/{model_id}/artifacts/files"): _get_of_model,
}
# Beside the API, by their whole path.
PAGES = {
    ("GET", "/get-artifact"): _get_of_run,
    ("GET", "/model-versions/get-artifact"): _get_of_version,
}
