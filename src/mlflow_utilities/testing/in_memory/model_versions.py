"""Versions of registered models: create, get, update, stages, delete, tags, where their files are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mlflow_utilities.testing.in_memory.experiments import TAGS
from mlflow_utilities.testing.in_memory.fields import Field, read
from mlflow_utilities.testing.in_memory.logged_models import find_logged_model
from mlflow_utilities.testing.in_memory.model_sources import Origin, check_prompt_source, checked_origin, storage_of
from mlflow_utilities.testing.in_memory.names import checked_key
from mlflow_utilities.testing.in_memory.refusals import Refused
from mlflow_utilities.testing.in_memory.registered_models import (
    find_registered_model,
    find_version,
    is_prompt,
    show_version,
    tags_of,
)
from mlflow_utilities.testing.in_memory.registry_names import (
    checked_model_name,
    checked_registry_tag,
    stage_of,
    version_of,
)
from mlflow_utilities.testing.in_memory.state import ModelVersion, State

__all__ = ["HANDLERS"]

_ACTIVE_STAGES = ("Staging", "Production")
_NEEDED = Field("string", required=True)
_WHICH = {"name": _NEEDED, "version": _NEEDED}
_REGISTERED = "mlflow.modelVersions"


def _create(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    optional = ("run_id", "run_link", "description", "model_id")
    fields = {"name": _NEEDED, "source": _NEEDED, "tags": Field(TAGS), **dict.fromkeys(optional, Field("string"))}
    values = read(request, fields)
    tags = tags_of(values)
    if is_prompt(tags):
        check_prompt_source(values.get("source", ""))
        origin = Origin(values.get("source", ""), values.get("run_id", ""), values.get("model_id", ""))
    else:
        origin = checked_origin(state, values)
    version = _stored(state, values, origin, tags)
    if origin.model_id and not is_prompt(tags):
        _tell_logged_model(state, version, origin.model_id)
    return {"model_version": show_version(version, state.registered_models[version.name])}


def _stored(state: State, values: Mapping[str, Any], origin: Origin, tags: dict[str, str]) -> ModelVersion:
    name = checked_model_name(values.get("name", ""))
    for tag in values.get("tags", []):
        checked_registry_tag(tag.get("key", ""), tag.get("value", ""))
    storage = storage_of(state, origin)
    run_id = origin.run_id
    if not run_id and origin.model_id:
        run_id = find_logged_model(state, origin.model_id).source_run_id or ""
    model = find_registered_model(state, name)
    now = state.now_ms()
    model.last_version += 1
    version = ModelVersion(
        name, model.last_version, now, now, origin.source, storage, run_id,
        values.get("run_link", ""), values.get("description", ""), tags=tags,
    )  # fmt: skip
    model.versions[version.version] = version
    model.last_updated_timestamp = now
    return version


def _tell_logged_model(state: State, version: ModelVersion, model_id: str) -> None:
    """Keep in a tag of the logged model that it was registered."""
    tags = find_logged_model(state, model_id).tags
    known: list[dict[str, Any]] = json.loads(tags.get(_REGISTERED, "[]"))
    this = {"name": version.name, "version": version.version}
    tags[_REGISTERED] = json.dumps([*known, this] if this not in known else [this])


def _shown(state: State, version: ModelVersion) -> dict[str, Any]:
    return {"model_version": show_version(version, state.registered_models[version.name])}


def _found(state: State, values: Mapping[str, Any]) -> ModelVersion:
    return find_version(state, values.get("name", ""), values.get("version", ""))


def _get(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    return _shown(state, _found(state, read(request, _WHICH)))


def _update(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {**_WHICH, "description": Field("string")})
    version = _found(state, values)
    version.description = values.get("description")
    version.last_updated_timestamp = state.now_ms()
    return _shown(state, version)


def _transition(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {**_WHICH, "stage": _NEEDED, "archive_existing_versions": Field("bool")})
    stage = stage_of(values.get("stage", ""))
    archive = values.get("archive_existing_versions", False)
    if archive and stage not in _ACTIVE_STAGES:
        raise Refused(
            "Model version transition cannot archive existing model versions because"
            f" '{values['stage']}' is not an Active stage. Valid stages are {list(_ACTIVE_STAGES)}",
            "INTERNAL_ERROR",
        )
    version = _found(state, values)
    model = state.registered_models[version.name]
    now = state.now_ms()
    for other in model.versions.values():
        if archive and other is not version and other.current_stage == stage:
            other.current_stage, other.last_updated_timestamp = "Archived", now
    version.current_stage, version.last_updated_timestamp = stage, now
    model.last_updated_timestamp = now
    return _shown(state, version)


def _delete(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, _WHICH)
    version_of(values.get("version", ""))
    version = _found(state, values)
    model = state.registered_models[version.name]
    del model.versions[version.version]
    model.aliases = {alias: number for alias, number in model.aliases.items() if number != version.version}
    model.last_updated_timestamp = state.now_ms()
    return {}


def _get_download_uri(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    unchecked = Field("string", checked=False)
    version = _found(state, read(request, {"name": unchecked, "version": unchecked}))
    return {"artifact_uri": version.storage_location or version.source}


def _set_tag(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {**_WHICH, "key": _NEEDED, "value": Field("string")})
    checked_model_name(values.get("name", ""))
    version_of(values.get("version", ""))
    key, value = checked_registry_tag(values.get("key", ""), values.get("value", ""))
    _found(state, values).tags[key] = value
    return {}


def _delete_tag(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {**_WHICH, "key": _NEEDED})
    checked_model_name(values.get("name", ""))
    version_of(values.get("version", ""))
    key = checked_key(values.get("key", ""), "key")
    _found(state, values).tags.pop(key, None)
    return {}


HANDLERS = {
    ("POST", "model-versions/create"): _create,
    ("GET", "model-versions/get"): _get,
    ("PATCH", "model-versions/update"): _update,
    ("POST", "model-versions/transition-stage"): _transition,
    ("DELETE", "model-versions/delete"): _delete,
    ("GET", "model-versions/get-download-uri"): _get_download_uri,
    ("POST", "model-versions/set-tag"): _set_tag,
    ("DELETE", "model-versions/delete-tag"): _delete_tag,
}
