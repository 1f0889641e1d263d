"""Turning a rollout into a wished one, by the verbs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.mlflow_api.changing import change_status, disable_run, enable_run
from mlflow_utilities.mlflow_api.listing import list_runs
from mlflow_utilities.mlflow_api.splitting import change_test_fractions, update_active_runs
from mlflow_utilities.mlflow_api.values import Rollout
from mlflow_utilities.rollout.slots import TOTAL
from mlflow_utilities.rollout.status import ModelStatus

__all__ = ["Wanted", "fulfil"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run is to be; the fraction counts for Active and Canary runs."""

    status: ModelStatus
    test_fraction: float

    def is_met_by(self, other: Wanted | None) -> bool:
        """Return whether a run is so already, to the grain in which shares are stored."""
        if other is None or other.status is not self.status:
            return False
        return round(other.test_fraction * TOTAL) == round(self.test_fraction * TOTAL)


async def fulfil(
    client: AsyncMlflowClient,
    experiment_name: str,
    submodel_name: str | None,
    version: str,
    wanted: Mapping[str, Wanted],
) -> list[Rollout]:
    """Give the runs of one version, by id, the wanted statuses; returns what the verbs returned."""

    async def look() -> dict[str, Wanted]:
        found = await list_runs(version, experiment_name=experiment_name, submodel_name=submodel_name, client=client)
        return {run.run_id: Wanted(run.status, run.test_fraction) for run in found}

    active = {run: wish.test_fraction for run, wish in wanted.items() if wish.status is ModelStatus.Active}
    now = await look()
    done: list[Rollout] = []
    if any(not wanted[run].is_met_by(now.get(run)) for run in active):
        done += await _activate(client, experiment_name, submodel_name, version, active, now)
        now = await look()
    for run, wish in wanted.items():
        if wish.status is not ModelStatus.Active and not wish.is_met_by(now.get(run)):
            done.append(await _change(client, run, wish))
    return done


async def _activate(
    client: AsyncMlflowClient,
    experiment_name: str,
    submodel_name: str | None,
    version: str,
    active: Mapping[str, float],
    now: Mapping[str, Wanted],
) -> list[Rollout]:
    """Prefer the verbs that leave canaries alone."""
    if len(active) == 1:
        return [await enable_run(next(iter(active)), client=client)]
    same_runs = all(now[run].status is ModelStatus.Active for run in active)
    done = [
        await change_status(run, ModelStatus.New, client=client)
        for run in active
        if now[run].status is ModelStatus.Disabled
    ]
    change = change_test_fractions if same_runs else update_active_runs
    done.append(
        await change(active, version, experiment_name=experiment_name, submodel_name=submodel_name, client=client)
    )
    return done


async def _change(client: AsyncMlflowClient, run: str, wish: Wanted) -> Rollout:
    if wish.status is ModelStatus.Canary:
        return await change_status(run, ModelStatus.Canary, wish.test_fraction, client=client)
    if wish.status is ModelStatus.Disabled:
        return await disable_run(run, client=client)
    return await change_status(run, ModelStatus.New, client=client)
