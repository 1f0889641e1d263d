"""Registered models: create, get, rename, update, delete, their tags, aliases and latest versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_utilities.testing.in_memory.experiments import TAGS
from mlflow_utilities.testing.in_memory.fields import Field, Repeated, read
from mlflow_utilities.testing.in_memory.names import checked_key
from mlflow_utilities.testing.in_memory.refusals import Refused, invalid, missing
from mlflow_utilities.testing.in_memory.registry_names import (
    STAGES,
    checked_alias,
    checked_model_name,
    checked_registry_tag,
    free_alias,
    stage_of,
    version_of,
)
from mlflow_utilities.testing.in_memory.state import ModelVersion, RegisteredModel, State

__all__ = [
    "HANDLERS",
    "IS_PROMPT",
    "find_registered_model",
    "find_version",
    "is_prompt",
    "latest_versions",
    "show_model",
    "show_version",
    "tags_of",
    "version_by_alias",
]

IS_PROMPT = "mlflow.prompt.is_prompt"
_NEEDED = Field("string", required=True)


def find_registered_model(state: State, name: str) -> RegisteredModel:
    """Return a registered model; raises Refused when there is none, or its name is not one."""
    model = state.registered_models.get(checked_model_name(name))
    if model is None:
        raise missing(f"Registered Model with name={name} not found")
    return model


def find_version(state: State, name: str, version: str | int) -> ModelVersion:
    """Return a version of a registered model; raises Refused when there is none."""
    number = version_of(str(version)) if checked_model_name(name) else 0
    model = state.registered_models.get(name)
    if model is None or number not in model.versions:
        raise missing(f"Model Version (name={name}, version={number}) not found")
    return model.versions[number]


def is_prompt(tags: Mapping[str, str]) -> bool:
    """Tell whether the tags are those of a prompt."""
    return tags.get(IS_PROMPT, "false").lower() == "true"


def tags_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that a request gives; of two with the same key the last counts."""
    return {tag.get("key", ""): tag.get("value", "") for tag in values.get("tags", [])}


def show_version(version: ModelVersion, model: RegisteredModel | None = None) -> dict[str, Any]:
    """Return a version as JSON, with its aliases where its model is given."""
    shown: dict[str, Any] = {
        "name": version.name,
        "version": str(version.version),
        "creation_timestamp": version.creation_timestamp,
        "last_updated_timestamp": version.last_updated_timestamp,
        "current_stage": version.current_stage,
    }
    if version.description is not None:
        shown["description"] = version.description
    shown |= {"source": version.source, "run_id": version.run_id, "status": version.status}
    if version.tags:
        shown["tags"] = [{"key": key, "value": value} for key, value in version.tags.items()]
    shown["run_link"] = version.run_link
    aliases = [alias for alias, number in model.aliases.items() if number == version.version] if model else []
    return {**shown, "aliases": sorted(aliases)} if aliases else shown


def show_model(model: RegisteredModel) -> dict[str, Any]:
    """Return a registered model as JSON."""
    shown: dict[str, Any] = {
        "name": model.name,
        "creation_timestamp": model.creation_timestamp,
        "last_updated_timestamp": model.last_updated_timestamp,
    }
    if model.description:
        shown["description"] = model.description
    if model.versions:
        shown["latest_versions"] = [show_version(version) for version in latest_versions(model)]
    if model.tags:
        shown["tags"] = [{"key": key, "value": value} for key, value in model.tags.items()]
    if model.aliases:
        shown["aliases"] = [
            {"alias": alias, "version": str(version)} for alias, version in sorted(model.aliases.items())
        ]
    return shown


def latest_versions(model: RegisteredModel) -> list[ModelVersion]:
    """Return the latest version of each stage, in the order in which the stages are met."""
    found: dict[str, ModelVersion] = {}
    for _, version in sorted(model.versions.items()):
        found[version.current_stage] = version
    return list(found.values())


def _create(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"name": _NEEDED, "tags": Field(TAGS), "description": Field("string")})
    name = checked_model_name(values.get("name", ""))
    for tag in values.get("tags", []):
        checked_registry_tag(tag.get("key", ""), tag.get("value", ""))
    tags = tags_of(values)
    if name in state.registered_models:
        raise _taken(name, is_prompt(state.registered_models[name].tags), is_prompt(tags))
    now = state.now_ms()
    model = RegisteredModel(name, now, now, values.get("description", ""), tags)
    state.registered_models[name] = model
    return {"registered_model": show_model(model)}


def _taken(name: str, there: bool, wanted: bool) -> Refused:
    old, new = ("Prompt" if prompt else "Registered Model" for prompt in (there, wanted))
    message = f"{new} (name={name}) already exists."
    if there != wanted:
        message = (
            f"Tried to create a {new.lower()} with name {name!r}, but the name is already taken by a {old.lower()}."
            " MLflow does not allow creating a model and a prompt with the same name."
        )
    return Refused(message, "RESOURCE_ALREADY_EXISTS")


def _get(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    name = read(request, {"name": _NEEDED}).get("name", "")
    return {"registered_model": show_model(find_registered_model(state, name))}


def _update(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"name": _NEEDED, "description": Field("string")})
    model = find_registered_model(state, values.get("name", ""))
    model.description = values.get("description", "")
    model.last_updated_timestamp = state.now_ms()
    return {"registered_model": show_model(model)}


def _rename(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"name": _NEEDED, "new_name": _NEEDED})
    new_name = checked_model_name(values.get("new_name", ""), "new_name")
    model = find_registered_model(state, values.get("name", ""))
    if state.registered_models.get(new_name, model) is not model:
        raise Refused(
            f"Registered Model (name={new_name}) already exists. Error: UNIQUE constraint failed:"
            " registered_models.workspace, registered_models.name",
            "RESOURCE_ALREADY_EXISTS",
        )
    del state.registered_models[model.name]
    state.registered_models[new_name] = model
    now = state.now_ms()
    model.name, model.last_updated_timestamp = new_name, now
    for version in model.versions.values():
        version.name, version.last_updated_timestamp = new_name, now
    return {"registered_model": show_model(model)}


def _delete(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    name = read(request, {"name": _NEEDED}).get("name", "")
    del state.registered_models[find_registered_model(state, name).name]
    return {}


def _get_latest_versions(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"name": _NEEDED, "stages": Field(Repeated("string"), items_checked=True)})
    model = find_registered_model(state, values.get("name", ""))
    stages = [stage_of(stage) for stage in values.get("stages") or STAGES]
    found = [show_version(version, model) for version in latest_versions(model) if version.current_stage in stages]
    return {"model_versions": found} if found else {}


def _set_tag(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"name": _NEEDED, "key": _NEEDED, "value": Field("string")})
    checked_model_name(values.get("name", ""))
    key, value = checked_registry_tag(values.get("key", ""), values.get("value", ""))
    find_registered_model(state, values["name"]).tags[key] = value
    return {}


def _delete_tag(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"name": _NEEDED, "key": _NEEDED})
    checked_model_name(values.get("name", ""))
    key = checked_key(values.get("key", ""), "key")
    find_registered_model(state, values["name"]).tags.pop(key, None)
    return {}


def _set_alias(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"name": _NEEDED, "alias": _NEEDED, "version": _NEEDED})
    name = checked_model_name(values.get("name", ""))
    alias = free_alias(values.get("alias", ""))
    version = find_version(state, name, values.get("version", ""))
    state.registered_models[name].aliases[alias] = version.version
    return {}


def _delete_alias(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"name": _NEEDED, "alias": _NEEDED})
    checked_model_name(values.get("name", ""))
    alias = checked_alias(values.get("alias", ""))
    find_registered_model(state, values["name"]).aliases.pop(alias, None)
    return {}


def version_by_alias(state: State, name: str, alias: str) -> ModelVersion:
    """Return the version that an alias names, of "latest" the greatest; raises Refused when there is none."""
    checked_model_name(name)
    checked_alias(alias)
    model = find_registered_model(state, name)
    if alias.lower() == "latest":
        if not model.versions:
            raise missing(f"Latest version not found for model {name}.")
        return model.versions[max(model.versions)]
    if alias not in model.aliases:
        raise invalid(f"Registered model alias {alias} not found.")
    return model.versions[model.aliases[alias]]


def _get_by_alias(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"name": _NEEDED, "alias": _NEEDED})
    version = version_by_alias(state, values.get("name", ""), values.get("alias", ""))
    return {"model_version": show_version(version, state.registered_models[version.name])}


HANDLERS = {
    ("POST", "registered-models/create"): _create,
    ("GET", "registered-models/get"): _get,
    ("PATCH", "registered-models/update"): _update,
    ("POST", "registered-models/rename"): _rename,
    ("DELETE", "registered-models/delete"): _delete,
    ("GET", "registered-models/get-latest-versions"): _get_latest_versions,
    ("POST", "registered-models/get-latest-versions"): _get_latest_versions,
    ("POST", "registered-models/set-tag"): _set_tag,
    ("DELETE", "registered-models/delete-tag"): _delete_tag,
    ("POST", "registered-models/alias"): _set_alias,
    ("DELETE", "registered-models/alias"): _delete_alias,
    ("GET", "registered-models/alias"): _get_by_alias,
}
