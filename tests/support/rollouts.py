"""Rollouts as values, for tests of the rules: runs, states, and the documents that changes make."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mlflow_utilities.rollout.document import Document, LiveEntry, problem
from mlflow_utilities.rollout.draft import Change, Heading, State, build
from mlflow_utilities.rollout.facts import RunFacts, read_facts, version_params
from mlflow_utilities.rollout.slots import count
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version import Version

__all__ = [
    "EXPERIMENT",
    "SUBMODEL",
    "active",
    "canary",
    "document",
    "facts",
    "heading",
    "raw_run",
    "shares",
    "state",
    "taken",
]

EXPERIMENT = "7"
SUBMODEL = "fraud"


def raw_run(
    run_id: str,
    params: Mapping[str, str],
    metrics: Mapping[str, tuple[Any, Any]] | None = None,
    tags: Mapping[str, str] | None = None,
    **info: Any,
) -> dict[str, Any]:
    """Return a run as the server's JSON has it; metrics are given with their steps."""
    return {
        "info": {"run_id": run_id, "experiment_id": EXPERIMENT, "status": "FINISHED", "lifecycle_stage": "active"}
        | info,
        "data": {
            "params": [{"key": key, "value": value} for key, value in params.items()],
            "metrics": [{"key": k, "value": v, "step": step} for k, (v, step) in (metrics or {}).items()],
            "tags": [{"key": key, "value": value} for key, value in (tags or {}).items()],
        },
    }


def facts(
    run_id: str,
    version: str = "1.0.0",
    active_state: float | None = 1.0,
    test_fraction: float | None = 0.0,
    *,
    submodel: str = SUBMODEL,
    params: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    **info: Any,
) -> RunFacts:
    """Return the facts of a run that this framework saved, New and FINISHED unless told otherwise."""
    points = {"active_state": active_state, "test_fraction": test_fraction, **(metrics or {})}
    return read_facts(
        raw_run(
            run_id,
            {"submodel_name": submodel, **version_params(Version.parse(version)), **(params or {})},
            {key: (value, 0) for key, value in points.items() if value is not None},
            tags,
            **info,
        )
    )


def active(run: str, *slots: tuple[int, int]) -> LiveEntry:
    """Return the entry of an Active run."""
    return LiveEntry(run, ModelStatus.Active, slots, 0)


def canary(run: str, mirror: int) -> LiveEntry:
    """Return the entry of a Canary run."""
    return LiveEntry(run, ModelStatus.Canary, (), mirror)


def document(live: Mapping[str, tuple[LiveEntry, ...]], generation: int = 5, **fields: Any) -> Document:
    """Return a valid document."""
    fixed: dict[str, Any] = {
        "op": "0" * 16,
        "verb": "test",
        "who": "ana",
        "why": "",
        "at": "2026-01-01T00:00:00Z",
        "salt": "0" * 8,
    }
    made = Document(generation=generation, parent=generation - 1, live=live, **{**fixed, **fields})
    assert problem(made, generation) is None
    return made


def state(current: Document | None, *runs: RunFacts) -> State:
    """Return a state of the experiment and submodel that `facts` makes runs of."""
    return State(current, {run.run_id: run for run in runs}, EXPERIMENT, SUBMODEL)


def heading(generation: int, **fields: Any) -> Heading:
    """Return the heading of a document."""
    fixed: dict[str, Any] = {
        "op": "1" * 16,
        "verb": "test",
        "who": "ana",
        "why": "",
        "at": "2026-01-01T00:00:00Z",
        "salt": "1" * 8,
    }
    return Heading(generation=generation, parent=generation - 1, **{**fixed, **fields})


def taken(before: State, change: Change, confirmed: Collection[tuple[str, int]] = frozenset()) -> State:
    """Return the state after a change was committed, which must have made a valid document."""
    generation = before.document.generation + 1 if before.document else 1
    made = build(before, change, heading(generation), confirmed)
    assert problem(made, generation) is None
    return State(made, before.runs, before.experiment_id, before.submodel)


def shares(current: State) -> dict[str, str]:
    """Return what every live run does: "7000" for a count of slots, "mirror 500" for copies."""
    return {
        entry.run: str(count(entry.slots)) if entry.status is ModelStatus.Active else f"mirror {entry.mirror}"
        for entries in current.live.values()
        for entry in entries
    }
