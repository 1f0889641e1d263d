"""Runs as `save_model` leaves them, and as the earlier framework did, without the cost of a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlflow_utilities import AsyncMlflowClient, Version
from mlflow_utilities.entities import Metric
from mlflow_utilities.rollout.facts import version_params

__all__ = ["Project", "legacy_run", "make_project", "make_run"]


@dataclass(frozen=True)
class Project:
    """An experiment with some finished runs of version 1.0.0."""

    experiment_id: str
    name: str
    runs: tuple[str, ...]


async def make_run(
    client: AsyncMlflowClient,
    experiment_id: str,
    submodel: str,
    version: str = "1.0.0",
    *,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    metrics: Mapping[str, float] | None = None,
    status: str = "FINISHED",
) -> str:
    """Make a run as `save_model` leaves it, New and FINISHED, and return its id: three requests."""
    created = await client.create_run(experiment_id)
    run_id = created.info.run_id
    points = {"active_state": 1.0, "test_fraction": 0.0, **(metrics or {})}
    await client.log_batch(
        run_id,
        metrics=[Metric(key, value) for key, value in points.items()],
        params={"submodel_name": submodel, **version_params(Version.parse(version)), **(params or {})},
        tags={"active_state": "New", **(tags or {})},
    )
    if status != "RUNNING":
        await client.set_terminated(run_id, status)
    return run_id


async def make_project(client: AsyncMlflowClient, name: str, runs: int = 2, version: str = "1.0.0") -> Project:
    """Make an experiment with finished runs whose submodel has the experiment's name."""
    experiment_id = await client.create_experiment(name)
    made = [await make_run(client, experiment_id, name, version) for _ in range(runs)]
    return Project(experiment_id, name, tuple(made))


async def legacy_run(
    client: AsyncMlflowClient,
    experiment_id: str,
    submodel: str,
    version: tuple[int, int, int],
    active_state: float | None,
    test_fraction: float | None,
) -> str:
    """Make a run as the earlier synchronous framework left it: three version params, metrics, no tags; plain REST."""
    created = await client.request(
        "POST", "runs/create", json={"experiment_id": experiment_id, "start_time": 1_700_000_000_000}
    )
    run_id = str(created["run"]["info"]["run_id"])
    names = ("major_version", "minor_version", "micro_version")
    params = {"submodel_name": submodel, **dict(zip(names, map(str, version), strict=True))}
    for key, value in params.items():
        await client.request("POST", "runs/log-parameter", json={"run_id": run_id, "key": key, "value": value})
    for key, number in (("active_state", active_state), ("test_fraction", test_fraction)):
        if number is not None:
            value = "NaN" if number != number else number
            point = {"run_id": run_id, "key": key, "value": value, "timestamp": 1_700_000_000_000}
            await client.request("POST", "runs/log-metric", json=point)
    await client.request(
        "POST", "runs/update", json={"run_id": run_id, "status": "FINISHED", "end_time": 1_700_000_000_001}
    )
    return run_id
