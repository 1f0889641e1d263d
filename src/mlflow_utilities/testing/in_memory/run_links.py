"""What went into a run and what came out: datasets and logged models."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from mlflow_utilities.testing.in_memory.experiments import TAGS
from mlflow_utilities.testing.in_memory.fields import Field, Message, Repeated, read
from mlflow_utilities.testing.in_memory.names import checked_length, invalid_value
from mlflow_utilities.testing.in_memory.refusals import Refused, invalid
from mlflow_utilities.testing.in_memory.runs import active_run
from mlflow_utilities.testing.in_memory.state import State

__all__ = ["HANDLERS"]

_HISTORY = "mlflow.log-model.history"
_NEEDED = Field("string", required=True)
_DATASET = {
    "name": 500,
    "digest": 36,
    "source_type": None,
    "source": 65_535,
    "schema": 1_048_575,
    "profile": 16_777_215,
}
_DATASETS = Repeated(Message({"tags": TAGS, "dataset": Message(dict.fromkeys(_DATASET, "string"))}))
_MODELS = Repeated(Message({"model_id": "string", "step": "int64"}))


def _log_inputs(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"run_id": _NEEDED, "datasets": Field(_DATASETS), "models": Field(_MODELS)})
    run_id = values.get("run_id", "")
    if re.match(r"^[a-zA-Z0-9][\w\-]{0,255}$", run_id) is None:
        raise invalid(invalid_value("run_id", run_id))
    datasets = [_checked_dataset(dataset_input) for dataset_input in values.get("datasets", [])]
    run = active_run(state, run_id)
    there = {_identity(dataset_input) for dataset_input in run.dataset_inputs}
    added: list[dict[str, Any]] = []
    for dataset_input in datasets:
        # Of the same dataset the first stays, with its tags.
        if _identity(dataset_input) not in there:
            there.add(_identity(dataset_input))
            keys = [tag["key"] for tag in dataset_input.get("tags", [])]
            if len(set(keys)) < len(keys):
                raise Refused("UNIQUE constraint failed: input_tags.input_uuid, input_tags.name", "BAD_REQUEST")
            added.append(_known(state, run.experiment_id, dataset_input))
    run.dataset_inputs += added
    for model in values.get("models", []):
        shown = {"model_id": model.get("model_id", "")}
        if shown not in run.model_inputs:
            run.model_inputs.append(shown)
    return {}


def _identity(dataset_input: Mapping[str, Any]) -> tuple[str, str]:
    return dataset_input["dataset"]["name"], dataset_input["dataset"]["digest"]


def _known(state: State, experiment_id: str, dataset_input: dict[str, Any]) -> dict[str, Any]:
    """Return the input with the dataset of this name and digest that the experiment already has, if it has one."""
    for run in state.runs.values():
        if run.experiment_id == experiment_id:
            for other in run.dataset_inputs:
                if _identity(other) == _identity(dataset_input):
                    return {**dataset_input, "dataset": other["dataset"]}
    return dataset_input


def _checked_dataset(dataset_input: Mapping[str, Any]) -> dict[str, Any]:
    dataset = dict(dataset_input.get("dataset", {}))
    for name, limit in _DATASET.items():
        if name in ("name", "digest", "source_type", "source"):
            dataset.setdefault(name, "")
        if name in dataset and limit is not None:
            checked_length(name, limit, dataset[name])
    tags = [{"key": tag.get("key", ""), "value": tag.get("value", "")} for tag in dataset_input.get("tags", [])]
    for tag in tags:
        checked_length("key", 255, tag["key"])
        checked_length("value", 500, tag["value"])
    shown = {"tags": tags} if tags else {}
    return {**shown, "dataset": {name: dataset[name] for name in _DATASET if name in dataset}}


def _log_outputs(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"run_id": _NEEDED, "models": Field(_MODELS, required=True)})
    run = active_run(state, values.get("run_id", ""))
    models = [
        {"model_id": model.get("model_id", ""), "step": model.get("step", 0)} for model in values.get("models", [])
    ]
    ids = [model["model_id"] for model in (*run.model_outputs, *models)]
    if len(set(ids)) < len(ids):
        raise Refused("UNIQUE constraint failed: inputs.source_type, inputs.source_id", "BAD_REQUEST")
    run.model_outputs += models
    return {}


def _log_model(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keep in a tag of the run what MLflow 2 says of a model that lies among its artifacts."""
    values = read(request, {"run_id": _NEEDED, "model_json": _NEEDED})
    text = values.get("model_json", "")
    try:
        model: Any = json.loads(text)
    except ValueError:
        raise invalid(f"Malformed model info. \n {text} \n is not a valid JSON.") from None
    if not isinstance(model, dict):
        raise Refused("Internal Server Error", "INTERNAL_ERROR")
    said = cast("dict[str, Any]", model)
    if lacking := {"artifact_path", "flavors", "utc_time_created", "run_id"} - said.keys():
        raise invalid(f"Model json is missing mandatory fields: {lacking}")
    flavors: dict[str, Any] = said["flavors"]
    kept = {name: said.get(name) for name in ("run_id", "artifact_path", "utc_time_created", "model_uuid")}
    kept["flavors"] = {name: _without_config(flavor) for name, flavor in flavors.items()}
    run = active_run(state, values.get("run_id", ""))
    run.tags[_HISTORY] = json.dumps([*json.loads(run.tags.get(_HISTORY, "[]")), kept])
    return {}


def _without_config(flavor: Any) -> Any:
    if not isinstance(flavor, dict):
        return flavor
    said = cast("dict[str, Any]", flavor)
    return {name: value for name, value in said.items() if name != "config"}


HANDLERS = {
    ("POST", "runs/log-model"): _log_model,
    ("POST", "runs/log-inputs"): _log_inputs,
    ("POST", "runs/outputs"): _log_outputs,
}
