"""Logged models of MLflow 3: create, get, finalize, delete, params and tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_utilities.testing.in_memory.experiments import TAGS, active_experiment
from mlflow_utilities.testing.in_memory.fields import Enum, Field, read
from mlflow_utilities.testing.in_memory.refusals import Refused, invalid, missing
from mlflow_utilities.testing.in_memory.state import LoggedModel, Metric, State

__all__ = ["HANDLERS", "STATUSES", "find_logged_model", "living_model", "show_logged_model"]

STATUSES = {
    "LOGGED_MODEL_STATUS_UNSPECIFIED": 0,
    "LOGGED_MODEL_PENDING": 1,
    "LOGGED_MODEL_READY": 2,
    "LOGGED_MODEL_UPLOAD_FAILED": 3,
}
_BAD_LETTERS = ("/", ":", ".", "%", '"', "'")
_ADJECTIVES = ("able", "bold", "calm", "deft", "fair", "glad", "keen", "mild", "neat", "wise")
_TREES = ("ash", "birch", "cedar", "elm", "fir", "larch", "maple", "oak", "pine", "yew")


def living_model(state: State, model_id: str) -> LoggedModel | None:
    """Return a logged model, none that was deleted."""
    model = state.logged_models.get(model_id)
    return model if model and model.lifecycle_stage == "active" else None


def find_logged_model(state: State, model_id: str, *, deleted: bool = False) -> LoggedModel:
    """Return a logged model, with `deleted` even a deleted one; raises Refused when there is none."""
    model = state.logged_models.get(model_id) if deleted else living_model(state, model_id)
    if model is None:
        raise missing(f"Logged model with ID '{model_id}' not found.")
    return model


def show_logged_model(model: LoggedModel) -> dict[str, Any]:
    """Return a logged model as JSON."""
    info: dict[str, Any] = {
        "model_id": model.model_id,
        "experiment_id": model.experiment_id,
        "name": model.name,
        "creation_timestamp_ms": model.creation_timestamp_ms,
        "last_updated_timestamp_ms": model.last_updated_timestamp_ms,
        "artifact_uri": model.artifact_uri,
        "status": model.status,
    }
    optional = {
        "model_type": model.model_type,
        "source_run_id": model.source_run_id,
        "status_message": model.status_message,
    }
    info |= {name: value for name, value in optional.items() if value is not None}
    if model.tags:
        info["tags"] = [{"key": key, "value": value} for key, value in model.tags.items()]
    data: dict[str, Any] = {}
    if model.params:
        data["params"] = [{"key": key, "value": value} for key, value in model.params.items()]
    if model.metrics:
        data["metrics"] = [_show_metric(metric) for metric in model.metrics]
    return {"info": info, "data": data}


def _show_metric(metric: Metric) -> dict[str, Any]:
    optional = {
        "dataset_name": metric.dataset_name,
        "dataset_digest": metric.dataset_digest,
        "model_id": metric.model_id,
        "run_id": metric.run_id,
    }
    shown: dict[str, Any] = {
        "key": metric.key,
        "value": float(metric.value),
        "timestamp": metric.timestamp,
        "step": metric.step,
    }
    return shown | {name: value for name, value in optional.items() if value}


def _pairs(items: list[dict[str, str]], table: str) -> dict[str, str]:
    """Return params or tags; two with the same key are an error of the database."""
    pairs = {item.get("key", ""): item.get("value", "") for item in items}
    if len(pairs) < len(items):
        raise Refused(f"UNIQUE constraint failed: {table}.model_id, {table}.key", "BAD_REQUEST")
    return pairs


def _create(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    fields = {
        "experiment_id": Field("string", required=True),
        "name": Field("string"),
        "model_type": Field("string"),
        "source_run_id": Field("string"),
        "params": Field(TAGS),
        "tags": Field(TAGS),
    }
    values = read(request, fields)
    name = values.get("name", "")
    if any(letter in name for letter in _BAD_LETTERS):
        raise invalid(
            f"Invalid model name ({name!r}) provided. Model name must be a non-empty string and cannot contain the"
            f" following characters: {_BAD_LETTERS}"
        )
    experiment = active_experiment(state, values.get("experiment_id", ""))
    params = _pairs(values.get("params", []), "logged_model_params")
    tags = _pairs(values.get("tags", []), "logged_model_tags")
    model_id = f"m-{state.new_id()}"
    now = state.now_ms()
    model = LoggedModel(
        model_id,
        experiment.experiment_id,
        name or f"{state.chance.choice(_ADJECTIVES)}-{state.chance.choice(_TREES)}-{state.chance.randrange(1000)}",
        f"{experiment.artifact_location.rstrip('/')}/models/{model_id}/artifacts",
        now,
        now,
        model_type=values.get("model_type", ""),
        source_run_id=values.get("source_run_id", ""),
        params=params,
        tags=tags,
    )
    state.logged_models[model_id] = model
    return {"model": show_logged_model(model)}


def _get(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    deleted = str(request.get("allow_deleted", "false")).lower() == "true"
    return {"model": show_logged_model(find_logged_model(state, request["{model_id}"], deleted=deleted))}


def _finalize(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    # The model is the one in the body, whatever the path says.
    values = read(request, {"model_id": Field("string", required=True), "status": Field(Enum(STATUSES), required=True)})
    model = find_logged_model(state, values.get("model_id", ""), deleted=True)
    model.status = values.get("status", "LOGGED_MODEL_STATUS_UNSPECIFIED")
    model.last_updated_timestamp_ms = state.now_ms()
    return {"model": show_logged_model(model)}


def _delete(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    model = find_logged_model(state, request["{model_id}"], deleted=True)
    model.lifecycle_stage = "deleted"
    model.last_updated_timestamp_ms = state.now_ms()
    return {}


def _log_params(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"model_id": Field("string", required=True), "params": Field(TAGS)})
    model = find_logged_model(state, request["{model_id}"], deleted=True)
    params = _pairs(values.get("params", []), "logged_model_params")
    if params.keys() & model.params.keys():
        raise Refused(
            "UNIQUE constraint failed: logged_model_params.model_id, logged_model_params.param_key", "BAD_REQUEST"
        )
    model.params |= params
    return {}


def _set_tags(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"tags": Field(TAGS)})
    model = find_logged_model(state, request["{model_id}"], deleted=True)
    model.tags |= {tag.get("key", ""): tag.get("value", "") for tag in values.get("tags", [])}
    return {}


def _delete_tag(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    model = find_logged_model(state, request["{model_id}"], deleted=True)
    key = request["{tag_key}"]
    if model.tags.pop(key, None) is None:
        raise missing(f"No tag with key {key!r} found for model with ID {model.model_id!r}.")
    return {}


HANDLERS = {
    ("POST", "logged-models"): _create,
    ("GET", "logged-models/{model_id}"): _get,
    ("PATCH", "logged-models/{model_id}"): _finalize,
    ("DELETE", "logged-models/{model_id}"): _delete,
    ("POST", "logged-models/{model_id}/params"): _log_params,
    ("PATCH", "logged-models/{model_id}/tags"): _set_tags,
    ("DELETE", "logged-models/{model_id}/tags/{tag_key}"): _delete_tag,
}
