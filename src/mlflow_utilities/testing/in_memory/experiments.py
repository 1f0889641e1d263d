"""Experiments: create, get, search, rename, delete, restore, tags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from mlflow_utilities.testing.in_memory.fields import Enum, Field, Message, Repeated, read
from mlflow_utilities.testing.in_memory.filter_language import (
    LISTS,
    NULLS,
    NUMBERS,
    TEXTS,
    Comparison,
    Grammar,
    compares,
    parse,
)
from mlflow_utilities.testing.in_memory.names import KEY_LENGTH, checked_key, checked_length
from mlflow_utilities.testing.in_memory.ordering import ordered, parse_order
from mlflow_utilities.testing.in_memory.paging import checked_max_results, page
from mlflow_utilities.testing.in_memory.refusals import Refused, UnsupportedByInMemoryMlflow, invalid, missing
from mlflow_utilities.testing.in_memory.state import Experiment, State

__all__ = ["HANDLERS", "STAGES", "TAGS", "VIEW_TYPE", "active_experiment", "find_experiment", "parse_experiment_id"]

TAGS = Repeated(Message({"key": "string", "value": "string"}))
VIEW_TYPE = Enum({"ACTIVE_ONLY": 1, "DELETED_ONLY": 2, "ALL": 3})
STAGES = {"ACTIVE_ONLY": ("active",), "DELETED_ONLY": ("deleted",), "ALL": ("active", "deleted")}

_NAME_LENGTH = 500
_TAG_LENGTH = 20_000
_LOCATION_LENGTH = 2048
_NEEDED = Field("string", required=True)
_GRAMMAR = Grammar(
    prefixes={"attribute": "attribute", "tag": "tag", "tags": "tag"},
    attributes={
        "name": TEXTS,
        "experiment_id": frozenset({"=", "!="}) | LISTS,
        "creation_time": NUMBERS,
        "last_update_time": NUMBERS,
    },
    entities={"tag": TEXTS | NULLS},
    numbers=frozenset({"creation_time", "last_update_time"}),
    any_case=False,
)


def parse_experiment_id(text: str) -> str:
    """Return an id as it is stored; raises Refused unless it is a whole number."""
    try:
        return str(int(text))
    except ValueError:
        raise invalid(f"Invalid experiment ID '{text}'. Experiment ID must be a valid integer.") from None


def find_experiment(state: State, text: str, stages: tuple[str, ...] = STAGES["ALL"]) -> Experiment:
    """Return an experiment in one of the stages; raises Refused when there is none."""
    experiment_id = parse_experiment_id(text)
    experiment = state.experiments.get(experiment_id)
    if experiment is None or experiment.lifecycle_stage not in stages:
        raise missing(f"No Experiment with id={experiment_id} exists")
    return experiment


def active_experiment(state: State, text: str) -> Experiment:
    """Return an experiment that may be written to; raises Refused for a deleted one."""
    experiment = find_experiment(state, text)
    if experiment.lifecycle_stage != "active":
        raise invalid(
            f"The experiment {experiment.experiment_id} must be in the 'active' state. "
            f"Current state is {experiment.lifecycle_stage}."
        )
    return experiment


def _shown(experiment: Experiment) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "experiment_id": experiment.experiment_id,
        "name": experiment.name,
        "artifact_location": experiment.artifact_location,
        "lifecycle_stage": experiment.lifecycle_stage,
        "last_update_time": experiment.last_update_time,
        "creation_time": experiment.creation_time,
    }
    if experiment.tags:
        shown["tags"] = [{"key": key, "value": value} for key, value in experiment.tags.items()]
    return {**shown, "workspace": "default"}


def _create(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"name": _NEEDED, "artifact_location": Field("string"), "tags": Field(TAGS)})
    location = _checked_location(values.get("artifact_location", ""))
    name = checked_length("name", _NAME_LENGTH, values["name"])
    tags = [_checked_tag(tag.get("key", ""), tag.get("value", "")) for tag in values.get("tags", [])]
    if any(experiment.name == name for experiment in state.experiments.values()):
        raise Refused(
            f"Experiment(name={name}) already exists. Error: UNIQUE constraint failed: experiments.name",
            "RESOURCE_ALREADY_EXISTS",
        )
    if len(dict(tags)) < len(tags):
        raise Refused(
            f"Experiment(name={name}) already exists. Error: UNIQUE constraint failed: experiment_tags.key",
            "RESOURCE_ALREADY_EXISTS",
        )
    experiment_id = str(max(map(int, state.experiments)) + 1)
    now = state.now_ms()
    state.experiments[experiment_id] = Experiment(
        experiment_id, name, location or f"mlflow-artifacts:/{experiment_id}", now, now, tags=dict(tags)
    )
    return {"experiment_id": experiment_id}


def _checked_location(location: str) -> str:
    if "#" in location or ";" in location:
        raise invalid("'artifact_location' URL can't include fragments or params.")
    if location.startswith("runs:"):
        raise invalid(f"Artifact location cannot be a runs:/ URI. Given: '{location}'")
    if location and not re.match(
        r"/|file:///|mlflow-artifacts:/[^/]|mlflow-artifacts:/?$|(?:s3|gs|wasbs|abfss)://", location
    ):
        raise UnsupportedByInMemoryMlflow(f"the artifact location {location!r} is not imitated")
    if "?" in location:
        raise UnsupportedByInMemoryMlflow(f"a query in the artifact location {location!r} is not imitated")
    if len(location) > _LOCATION_LENGTH:
        raise invalid(
            "Invalid artifact path length. The length of the artifact path cannot be greater than"
            f" {_LOCATION_LENGTH} characters."
        )
    return location


def _checked_tag(key: str, value: str) -> tuple[str, str]:
    checked_key(key, "key")
    checked_length("key", KEY_LENGTH, key)
    checked_length("value", _TAG_LENGTH, value)
    if key.startswith(("mlflow.trace.archiv", "mlflow.customView.view")):
        raise UnsupportedByInMemoryMlflow(f"the rules of the tag {key!r} of an experiment are not imitated")
    return key, value


def _get(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"experiment_id": _NEEDED})
    return {"experiment": _shown(find_experiment(state, values["experiment_id"]))}


def _get_by_name(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    name = read(request, {"experiment_name": _NEEDED})["experiment_name"]
    for experiment in state.experiments.values():
        if experiment.name == name:
            return {"experiment": _shown(experiment)}
    raise missing(f"Could not find experiment with name '{name}'")


def _delete(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"experiment_id": _NEEDED})
    _move(state, find_experiment(state, values["experiment_id"], STAGES["ACTIVE_ONLY"]), "deleted")
    return {}


def _restore(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"experiment_id": _NEEDED})
    _move(state, find_experiment(state, values["experiment_id"], STAGES["DELETED_ONLY"]), "active")
    return {}


def _move(state: State, experiment: Experiment, stage: str) -> None:
    """Delete or restore an experiment with all its runs, whatever they were before."""
    now = state.now_ms()
    experiment.lifecycle_stage = stage
    experiment.last_update_time = now
    for run in state.runs.values():
        if run.experiment_id == experiment.experiment_id:
            run.lifecycle_stage = stage
            run.deleted_time = now if stage == "deleted" else None


def _update(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"experiment_id": _NEEDED, "new_name": _NEEDED})
    name = checked_length("name", _NAME_LENGTH, values["new_name"])
    experiment = find_experiment(state, values["experiment_id"])
    if experiment.lifecycle_stage != "active":
        raise Refused("Cannot rename a non-active experiment.", "INVALID_STATE")
    if any(other.name == name and other is not experiment for other in state.experiments.values()):
        raise Refused("UNIQUE constraint failed: experiments.workspace, experiments.name", "BAD_REQUEST")
    experiment.name = name
    experiment.last_update_time = state.now_ms()
    return {}


def _set_tag(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"experiment_id": _NEEDED, "key": _NEEDED, "value": Field("string")})
    key, value = _checked_tag(values["key"], values.get("value", ""))
    active_experiment(state, values["experiment_id"]).tags[key] = value
    return {}


def _delete_tag(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    values = read(request, {"experiment_id": _NEEDED, "key": _NEEDED})
    experiment = active_experiment(state, values["experiment_id"])
    if experiment.tags.pop(values["key"], None) is None:
        raise missing(f"No tag with name: {values['key']} in experiment with id {values['experiment_id']}")
    return {}


def _search(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    fields = {
        "view_type": Field(VIEW_TYPE, checked=False),
        "max_results": Field("int64"),
        "order_by": Field(Repeated("string")),
        "filter": Field("string"),
        "page_token": Field("string"),
    }
    values = read(request, fields)
    most = checked_max_results(values.get("max_results", 0))
    clauses = [_with_numeric_ids(clause) for clause in parse(values.get("filter", ""), _GRAMMAR)]
    stages = STAGES[values.get("view_type", "ACTIVE_ONLY")]
    found = [
        experiment
        for experiment in state.experiments.values()
        if experiment.lifecycle_stage in stages and all(_matches(experiment, clause) for clause in clauses)
    ]
    found = _in_order(found, values.get("order_by") or ["creation_time DESC", "experiment_id ASC"])
    shown, token = page(found, values.get("page_token", ""), most)
    answer: dict[str, Any] = {"experiments": [_shown(experiment) for experiment in shown]} if shown else {}
    return {**answer, "next_page_token": token} if token else answer


def _with_numeric_ids(clause: Comparison) -> Comparison:
    if clause.entity != "attribute" or clause.key != "experiment_id":
        return clause
    value = clause.value
    ids = tuple(map(parse_experiment_id, value)) if isinstance(value, tuple) else parse_experiment_id(str(value))
    return Comparison(clause.entity, clause.key, clause.operator, ids)


def _matches(experiment: Experiment, clause: Comparison) -> bool:
    if clause.entity == "tag":
        return compares(clause, experiment.tags.get(clause.key))
    if isinstance(clause.value, float):
        raise invalid(f"Invalid value for numeric attribute '{clause.key}': {str(clause.value)!r}")
    return compares(clause, getattr(experiment, clause.key))


def _in_order(experiments: list[Experiment], order_by: list[str]) -> list[Experiment]:
    orders = [parse_order(clause, _GRAMMAR.prefixes, _GRAMMAR.attributes) for clause in order_by]
    if others := [entity for entity, _, _ in orders if entity != "attribute"]:
        raise invalid(f"Invalid order_by entity: {others[0]}")
    if all(key != "experiment_id" for _, key, _ in orders):
        orders.append(("attribute", "experiment_id", False))
    for _, key, ascending in reversed(orders):
        experiments = ordered(experiments, partial(_sort_value, key=key), ascending=ascending)
    return experiments


def _sort_value(experiment: Experiment, key: str) -> str | float:
    value: str | int = getattr(experiment, key)
    return int(value) if key == "experiment_id" else value


HANDLERS = {
    ("POST", "experiments/create"): _create,
    ("GET", "experiments/get"): _get,
    ("GET", "experiments/get-by-name"): _get_by_name,
    ("GET", "experiments/search"): _search,
    ("POST", "experiments/search"): _search,
    ("POST", "experiments/delete"): _delete,
    ("POST", "experiments/restore"): _restore,
    ("POST", "experiments/update"): _update,
    ("POST", "experiments/set-experiment-tag"): _set_tag,
    ("POST", "experiments/delete-experiment-tag"): _delete_tag,
}
