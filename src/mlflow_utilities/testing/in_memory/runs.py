"""Runs: create, get, update, delete, restore, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlflow_utilities.testing.in_memory.experiments import TAGS, active_experiment
from mlflow_utilities.testing.in_memory.fields import Enum, Field, read
from mlflow_utilities.testing.in_memory.refusals import Refused, invalid, missing
from mlflow_utilities.testing.in_memory.state import Metric, Run, State

__all__ = [
    "HANDLERS",
    "RUN_ID",
    "RUN_NAME",
    "active_run",
    "find_run",
    "latest",
    "rename",
    "run_id_of",
    "show_metric",
    "show_run",
]

RUN_NAME = "mlflow.runName"
# Either name will do; of both, run_id counts.
RUN_ID = {"run_id": Field("string", required=True), "run_uuid": Field("string", checked=False)}
_STATUS = Enum({"RUNNING": 1, "SCHEDULED": 2, "FINISHED": 3, "FAILED": 4, "KILLED": 5})
_ADJECTIVES = ("able", "bold", "calm", "deft", "fair", "glad", "keen", "mild", "neat", "wise")
_ANIMALS = ("ant", "bat", "crane", "dove", "elk", "finch", "gnu", "hare", "ibis", "jay")


def find_run(state: State, run_id: str) -> Run:
    """Return a run, deleted ones too; raises Refused when there is none."""
    run = state.runs.get(run_id)
    if run is None:
        raise missing(f"Run with id={run_id} not found")
    return run


def active_run(state: State, run_id: str) -> Run:
    """Return a run that may be written to; raises Refused for a deleted one."""
    run = find_run(state, run_id)
    if run.lifecycle_stage != "active":
        raise invalid(f"The run {run.run_id} must be in the 'active' state. Current state is {run.lifecycle_stage}.")
    return run


def rename(run: Run, name: str) -> None:
    """Change the name and its tag together; an empty name changes nothing."""
    if name:
        run.run_name = name
        run.tags[RUN_NAME] = name


def latest(history: list[Metric]) -> Metric:
    """Return the metric that runs/get shows: of the greatest step, time and value; of equals the first logged."""
    return max(history, key=lambda metric: (metric.step, metric.timestamp, metric.value))


def show_metric(metric: Metric) -> dict[str, Any]:
    """Return a metric of a run as JSON."""
    value: float | str = "NaN" if metric.is_nan else float(metric.value)
    return {"key": metric.key, "value": value, "timestamp": metric.timestamp, "step": metric.step}


def _info(run: Run) -> dict[str, Any]:
    info: dict[str, Any] = {
        "run_uuid": run.run_id,
        "experiment_id": run.experiment_id,
        "run_name": run.run_name,
        "user_id": run.user_id,
        "status": run.status,
        "start_time": run.start_time,
    }
    if run.end_time:
        info["end_time"] = run.end_time
    return {**info, "artifact_uri": run.artifact_uri, "lifecycle_stage": run.lifecycle_stage, "run_id": run.run_id}


def show_run(run: Run, *, model_inputs: bool = True) -> dict[str, Any]:
    """Return a run as JSON; a search leaves its `model_inputs` out."""
    data: dict[str, Any] = {}
    if run.metrics:
        data["metrics"] = [show_metric(latest(history)) for history in run.metrics.values()]
    if run.params:
        data["params"] = [{"key": key, "value": value} for key, value in run.params.items()]
    if run.tags:
        data["tags"] = [{"key": key, "value": value} for key, value in run.tags.items()]
    inputs: dict[str, Any] = {}
    if run.dataset_inputs:
        inputs["dataset_inputs"] = run.dataset_inputs
    if run.model_inputs and model_inputs:
        inputs["model_inputs"] = _by_model(run.model_inputs)
    outputs = {"model_outputs": _by_model(run.model_outputs)} if run.model_outputs else {}
    return {"info": _info(run), "data": data, "inputs": inputs, "outputs": outputs}


def _by_model(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort as MLflow lists the models of a run: by their ids, which are random, whichever was logged first."""
    return sorted(models, key=lambda model: str(model["model_id"]))


def _create(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    fields = {
        "experiment_id": Field("string"),
        "user_id": Field("string", checked=False),
        "start_time": Field("int64"),
        "run_name": Field("string"),
        "tags": Field(TAGS, checked=False),
    }
    values = read(request, fields)
    experiment_id = values.get("experiment_id", "")
    experiment = active_experiment(state, experiment_id or "0")
    tags = [(tag.get("key", ""), tag.get("value", "")) for tag in values.get("tags", [])]
    tagged = next((value for key, value in tags if key == RUN_NAME), "")
    name = values.get("run_name", "")
    if name and tagged and name != tagged:
        raise invalid(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values"
            f" (run_name='{name}', mlflow.runName='{tagged}')."
        )
    name = name or tagged or _random_name(state)
    if not tagged:
        tags.append((RUN_NAME, name))
    if not experiment_id:
        raise Refused("FOREIGN KEY constraint failed", "BAD_REQUEST")
    if len(dict(tags)) < len(tags):
        raise Refused("UNIQUE constraint failed: tags.key, tags.run_uuid", "BAD_REQUEST")
    run_id = state.new_id()
    run = Run(
        run_id,
        experiment.experiment_id,
        name,
        values.get("user_id", ""),
        values.get("start_time", 0),
        f"{experiment.artifact_location.rstrip('/')}/{run_id}/artifacts",
        tags=dict(tags),
    )
    state.runs[run_id] = run
    shown = show_run(run)
    del shown["outputs"]
    return {"run": shown}


def _random_name(state: State) -> str:
    chance = state.chance
    return f"{chance.choice(_ADJECTIVES)}-{chance.choice(_ANIMALS)}-{chance.randrange(1000)}"


def _get(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    return {"run": show_run(find_run(state, run_id_of(read(request, RUN_ID))))}


def run_id_of(values: Mapping[str, Any]) -> str:
    """Return the id that a request names."""
    return str(values.get("run_id") or values.get("run_uuid", ""))


def _update(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    fields = {**RUN_ID, "end_time": Field("int64"), "status": Field(_STATUS), "run_name": Field("string")}
    values = read(request, fields)
    run = active_run(state, run_id_of(values))
    run.status = values.get("status", run.status)
    run.end_time = values.get("end_time", run.end_time)
    rename(run, values.get("run_name", ""))
    return {"run_info": _info(run)}


def _delete(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    run = find_run(state, read(request, {"run_id": RUN_ID["run_id"]}).get("run_id", ""))
    run.lifecycle_stage = "deleted"
    run.deleted_time = state.now_ms()
    return {}


def _restore(state: State, request: Mapping[str, Any]) -> dict[str, Any]:
    run = find_run(state, read(request, {"run_id": RUN_ID["run_id"]}).get("run_id", ""))
    run.lifecycle_stage = "active"
    run.deleted_time = None
    return {}


HANDLERS = {
    ("POST", "runs/create"): _create,
    ("GET", "runs/get"): _get,
    ("POST", "runs/update"): _update,
    ("POST", "runs/delete"): _delete,
    ("POST", "runs/restore"): _restore,
}
