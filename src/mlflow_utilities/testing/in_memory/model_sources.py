"""Where a model version may come from: MLflow refuses a source that it would have to take on trust."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import unquote, unquote_plus, urlparse, urlsplit

from mlflow_utilities.testing.in_memory.logged_models import living_model
from mlflow_utilities.testing.in_memory.refusals import Refused, invalid
from mlflow_utilities.testing.in_memory.registered_models import (
    find_registered_model,
    find_version,
    is_prompt,
    latest_versions,
    version_by_alias,
)
from mlflow_utilities.testing.in_memory.registry_names import stage_of
from mlflow_utilities.testing.in_memory.state import State

__all__ = ["Origin", "check_prompt_source", "checked_origin", "storage_of"]

_PLACEHOLDERS = ("dummy-source", "prompt-template")
_ON_A_HOST = frozenset({"ftp", "sftp", "hdfs", "viewfs", "http", "https", "mlflow-artifacts", "r2", "b2", "abfss"})


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of a version, with the run and the logged model that are said to have made it."""

    source: str
    run_id: str
    model_id: str


def check_prompt_source(source: str) -> None:
    """Raise Refused unless the source is one of those that prompts have."""
    if source not in _PLACEHOLDERS:
        raise invalid(f"Invalid prompt source: '{source}'. Prompt sources must use an MLflow placeholder.")


def checked_origin(state: State, values: Mapping[str, Any]) -> Origin:
    """Return where the version of a request comes from; raises Refused where MLflow does."""
    given = Origin(values.get("source", ""), values.get("run_id", ""), values.get("model_id", ""))
    _refuse_other_hosts(given.source)
    origin = _of_version(state, given, has_run="run_id" in values, has_model="model_id" in values)
    which = "model_id" if origin.model_id else "run_id"
    if _is_local(origin.source):
        _check_local(state, origin, which)
        return origin
    _refuse_relative(origin.source)
    scheme = urlparse(origin.source).scheme
    if scheme == "models":
        _check_logged_model(origin, which)
    elif scheme == "runs":
        _check_run(origin)
    elif _is_proxied(origin.source) and not _is_within(origin.source, _root(state, origin, which)):
        _refuse(origin.source, which)
    return origin


def storage_of(state: State, origin: Origin) -> str:
    """Return where the files of the source are."""
    if urlparse(origin.source).scheme != "models":
        return origin.source
    model_id, name, suffix = _parsed(origin.source)
    if not model_id:
        version = find_version(state, name, suffix)
        return version.storage_location or version.source
    model = living_model(state, model_id)
    if model is None:
        raise Refused(
            f"Unable to fetch model from model URI source artifact location '{origin.source}'."
            f"Error: Logged model with ID '{model_id}' not found.",
            "INTERNAL_ERROR",
        )
    return model.artifact_uri


def _refuse(source: str, which: str) -> NoReturn:
    raise invalid(
        f"Invalid model version source: '{source}'. The {which} request parameter must identify the resource that"
        " contains the source."
    )


def _refuse_other_hosts(source: str) -> None:
    parsed = urlparse(source)
    scheme = parsed.scheme
    if scheme in _ON_A_HOST and (scheme != "mlflow-artifacts" or parsed.netloc):
        raise invalid(
            f"'source' cannot use the '{scheme}' scheme: the '{scheme}' scheme addresses a host other than the tracking"
            " server's configured artifact storage, so the server would connect to the host named in the URI. Set the"
            " MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES environment variable on the server to allow it."
        )


def _parsed(source: str) -> tuple[str, str, str]:
    """Return the id of a logged model, or name and what says which version: "3", "@alias", a stage, or "latest"."""
    path = urlparse(source, allow_fragments=False).path
    parts = path.lstrip("/").split("/")
    if not path.startswith("/") or len(parts) > 2 or not all(part.strip() for part in parts):
        _refuse(source, "model_id")
    if len(parts) == 2:
        return "", parts[0], parts[1]
    name, at, alias = parts[0].rpartition("@")
    if at and not alias.strip():
        _refuse(source, "model_id")
    return ("", name, f"@{alias}") if at else (parts[0], "", "")


def _of_version(state: State, given: Origin, *, has_run: bool, has_model: bool) -> Origin:
    """Take the place of the version that a source models:/name/... names, and its run."""
    parsed = urlparse(given.source)
    if parsed.scheme != "models":
        return given
    if parsed.netloc:
        raise invalid(
            f"Invalid model version source: '{given.source}'. Registered model sources must use the active model"
            " registry."
        )
    model_id, name, suffix = _parsed(given.source)
    if model_id:
        return given
    if is_prompt(find_registered_model(state, name).tags):
        raise invalid(
            f"Invalid model version source: '{given.source}'. Prompt versions cannot be used as model version sources."
        )
    version = find_version(state, name, _version_named(state, name, suffix))
    if (has_run and given.run_id != version.run_id) or given.model_id:
        raise invalid(
            f"Invalid model version source: '{given.source}'. The run_id and model_id request parameters must match the"
            " referenced model version."
        )
    return Origin(f"models:/{name}/{version.version}", version.run_id, "")


def _version_named(state: State, name: str, suffix: str) -> str:
    if suffix.isdigit():
        return suffix
    if suffix.startswith("@"):
        return str(version_by_alias(state, name, suffix[1:]).version)
    latest = latest_versions(find_registered_model(state, name))
    stage = "" if suffix.lower() == "latest" else f" and stage '{suffix}'"
    numbers = [version.version for version in latest if not stage or version.current_stage == stage_of(suffix)]
    if not numbers:
        raise Refused(f"No versions of model with name '{name}'{stage} found", "INTERNAL_ERROR")
    return str(max(numbers))


def _is_local(source: str) -> bool:
    parsed = urlparse(source)
    if parsed.scheme == "file" and parsed.hostname and not parsed.hostname.startswith((".", "localhost", "127.0.0.1")):
        raise Refused(f"{source} is not a valid remote uri.", "INTERNAL_ERROR")
    return parsed.scheme in ("", "file")


def _check_local(state: State, origin: Origin, which: str) -> None:
    """Take a path below the artifacts of the run or logged model, if they are kept in files."""
    if getattr(origin, which):
        root = _root(state, origin, which)
        folder = posixpath.normpath(urlparse(root).path)
        path = posixpath.normpath(unquote(urlparse(origin.source).path))
        if urlparse(root).scheme in ("", "file") and (path == folder or path.startswith(f"{folder}/")):
            return
    raise invalid(
        f"Invalid model version source: '{origin.source}'. To use a local path as a model version source, the {which}"
        " request parameter has to be specified and the local path has to be contained within the artifact directory of"
        f" the run specified by the {which}."
    )


def _refuse_relative(source: str) -> None:
    plain = source
    while (unquoted := unquote_plus(plain)) != plain:
        plain = unquoted
    path = re.sub(r"/+", "/", urlparse(plain).path.rstrip("/"))
    if "\x00" in path or ".." in plain.split("/") or _resolved(path) != path:
        raise invalid(
            f"Invalid model version source: '{source}'. If supplying a source as an http, https, local file path, ftp,"
            " objectstore, or mlflow-artifacts uri, an absolute path must be provided without relative path references"
            " present. Please provide an absolute path."
        )


def _resolved(path: str) -> str:
    # A path that does not begin with a slash is taken to be below the folder in which the server runs.
    return posixpath.normpath(path if path.startswith("/") else f"/nowhere/{path}")


def _check_logged_model(origin: Origin, which: str) -> None:
    model_id, _, _ = _parsed(origin.source)
    if model_id and (which == "run_id" or model_id != origin.model_id):
        _refuse(origin.source, "model_id")


def _check_run(origin: Origin) -> None:
    if origin.model_id:
        _refuse(origin.source, "model_id")
    parsed = urlparse(origin.source)
    if parsed.netloc:
        _refuse(origin.source, "run_id")
    run_id = parsed.path.removeprefix("/").partition("/")[0]
    if not run_id or not parsed.path.startswith("/"):
        raise Refused(f"Not a proper runs:/ URI: {origin.source}.", "INTERNAL_ERROR")
    if run_id != origin.run_id:
        _refuse(origin.source, "run_id")


def _root(state: State, origin: Origin, which: str) -> str:
    """Return where the artifacts of the run or logged model are; refuses one that is not there."""
    if which == "model_id":
        model = living_model(state, origin.model_id)
        if model is None:
            _refuse(origin.source, which)
        return model.artifact_uri
    run = state.runs.get(origin.run_id)
    if run is None:
        _refuse(origin.source, which)
    return run.artifact_uri


def _parts(uri: str) -> tuple[str, str, tuple[str, ...]]:
    parsed = urlsplit(uri)
    return (
        parsed.scheme.lower(),
        parsed.netloc.lower(),
        tuple(_unquoted(part) for part in parsed.path.split("/") if part),
    )


def _unquoted(text: str) -> str:
    while (unquoted := unquote(text)) != text:
        text = unquoted
    return text


def _is_proxied(source: str) -> bool:
    return _parts(source)[0] == "mlflow-artifacts"


def _is_within(source: str, root: str) -> bool:
    one, other = _parts(source), _parts(root)
    return one[:2] == other[:2] and bool(other[2]) and one[2][: len(other[2])] == other[2]
