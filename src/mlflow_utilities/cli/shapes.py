"""The JSON shapes of runs and rollouts: stable, ids as text, times in ms since 1970."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow_utilities.mlflow_api import LiveRun, Rollout, RolloutEntry, VersionedRun

__all__ = ["entry_shape", "live_shape", "rollout_shape", "run_shape"]


def run_shape(run: VersionedRun) -> dict[str, Any]:
    """Return a run, or a model with where to load it from."""
    from mlflow_utilities.mlflow_api import Model

    shape = {
        "run_id": run.run_id,
        "experiment_id": run.experiment_id,
        "submodel_name": run.submodel_name,
        "version": str(run.version),
        "status": run.status.name,
        "test_fraction": run.test_fraction,
        "immutable_metadata": dict(run.immutable_metadata),
        "mutable_metadata": dict(run.mutable_metadata),
        "start_time": run.start_time,
        "end_time": run.end_time,
    }
    return {**shape, "model_uri": run.model_uri} if isinstance(run, Model) else shape


def live_shape(live: Iterable[LiveRun]) -> list[dict[str, Any]]:
    """Return the live runs of a rollout."""
    return [
        {
            "run_id": run.run_id,
            "version": str(run.version),
            "status": run.status.name,
            "test_fraction": run.test_fraction,
        }
        for run in live
    ]


def entry_shape(entry: RolloutEntry) -> dict[str, Any]:
    """Return one generation."""
    return {
        "generation": entry.generation,
        "verb": entry.verb,
        "who": entry.who,
        "why": entry.why,
        "at": entry.at,
        "at_ms": _milliseconds(entry.at),
        "restores": entry.restores,
        "live": live_shape(entry.live),
        "revoked": list(entry.revoked),
        "problem": entry.problem,
    }


def rollout_shape(rollout: Rollout, before: RolloutEntry | None = None) -> dict[str, Any]:
    """Return what a change left, or would leave; `before` is what it was planned on."""
    shape = {
        "experiment_id": rollout.experiment_id,
        "submodel_name": rollout.submodel_name,
        **entry_shape(rollout),
        "changes": {run: status.name for run, status in rollout.changes.items()},
        "written": rollout.written,
        "dry_run": rollout.dry_run,
        "projected": rollout.projected,
        "warnings": list(rollout.warnings),
    }
    if before is None:
        return shape
    return {**shape, "before": {"generation": before.generation, "live": live_shape(before.live)}}


def _milliseconds(at: str) -> int | None:
    try:
        return round(datetime.fromisoformat(at).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
