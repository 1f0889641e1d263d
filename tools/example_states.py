"""Rollouts as values, made by the rules of the package themselves."""

from __future__ import annotations

from mlflow_utilities.rollout.document import problem
from mlflow_utilities.rollout.draft import Change, Heading, State, build
from mlflow_utilities.rollout.facts import RunFacts, read_facts, version_params
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version import Version

__all__ = ["VERSION", "committed", "run_facts", "start"]

EXPERIMENT, SUBMODEL, VERSION = "1", "fraud", "1.4.0"


def run_facts(
    run_id: str,
    *,
    status: ModelStatus = ModelStatus.New,
    version: str | None = VERSION,
    submodel: str = SUBMODEL,
    experiment: str = EXPERIMENT,
    run_status: str = "FINISHED",
    deleted: bool = False,
) -> RunFacts:
    """Return a run as the server shows it: saved by this framework, finished, and with the metric of a status."""
    params = {"submodel_name": submodel, **version_params(Version.parse(version))} if version else {}
    info = {
        "run_id": run_id,
        "experiment_id": experiment,
        "status": run_status,
        "lifecycle_stage": "deleted" if deleted else "active",
    }
    data = {
        "params": [{"key": key, "value": value} for key, value in params.items()],
        "metrics": [{"key": "active_state", "value": float(status), "step": 0}],
    }
    return read_facts({"info": info, "data": data})


def start(*runs: RunFacts) -> State:
    """Return the state before the first generation."""
    return State(None, {run.run_id: run for run in runs}, EXPERIMENT, SUBMODEL)


def committed(before: State, change: Change, verb: str) -> State:
    """Return the state after a change became the next generation."""
    generation = before.document.generation + 1 if before.document else 1
    heading = Heading(generation, generation - 1, "0" * 16, verb, "ana", "", "2026-01-01T00:00:00Z", "0" * 8)
    document = build(before, change, heading)
    reason = problem(document, generation)
    if reason:
        raise AssertionError(reason)
    return State(document, before.runs, before.experiment_id, before.submodel)
