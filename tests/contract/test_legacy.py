"""Experiments of the earlier synchronous framework: read as they are, adopted by the first write."""

from __future__ import annotations

import math

import pytest

from mlflow_utilities import AsyncMlflowClient, InvalidInputError, mlflow_api
from support.runs import legacy_run

pytestmark = pytest.mark.anyio


async def listed(client: AsyncMlflowClient, experiment: str) -> dict[str, tuple[str, float]]:
    """Return version, status and share of every run, as a client sees it that has never looked before."""
    async with AsyncMlflowClient(client.tracking_uri) as fresh:
        runs = await mlflow_api.list_runs(None, experiment_id=experiment, client=fresh)
    return {run.run_id: (run.status.name, run.test_fraction) for run in runs}


async def test_they_are_listed_and_adopted(client: AsyncMlflowClient, unique_name: str) -> None:
    """Statuses come from metrics until the first write, which keeps every share and changes what was asked."""
    experiment = await client.create_experiment(unique_name)

    async def make(state: float | None, share: float | None, version: tuple[int, int, int] = (1, 0, 0)) -> str:
        return await legacy_run(client, experiment, unique_name, version, state, share)

    off, new, bare, a, b, shadow, zero = [
        await make(*values)
        for values in [(0.0, 0.0), (1.0, 0.0), (None, None), (2.0, 0.6), (2.0, 0.4), (3.0, 0.5), (2.0, math.nan)]
    ]
    other = await make(2.0, 1.0, (2, 0, 0))
    before = {
        off: ("Disabled", 0.0), new: ("New", 0.0), bare: ("New", 0.0), a: ("Active", 0.6), b: ("Active", 0.4),
        shadow: ("Canary", 0.5), zero: ("Active", 0.0), other: ("Active", 1.0),
    }  # fmt: skip
    assert await listed(client, experiment) == before
    assert {str(run.version) for run in await mlflow_api.list_runs("2.x", experiment, client=client)} == {"2.0.0"}
    with pytest.raises(InvalidInputError):
        await mlflow_api.update_active_runs({off: 1}, "1.0.0", experiment_id=experiment, client=client)
    assert await client.get_experiment_by_name(f"mlflow-utilities/rollouts/{experiment}") is None

    plan = await mlflow_api.canary_run(new, client=client, dry_run=True)
    done = await mlflow_api.canary_run(new, client=client)

    assert (plan.generation, done.generation, done.written) == (2, 2, True)
    assert await listed(client, experiment) == before | {new: ("Canary", 1.0), zero: ("Disabled", 0.0)}
    history = await mlflow_api.rollout_history(experiment_id=experiment, client=client)
    assert [entry.verb for entry in history] == ["adopt", "canary_run"]
    await client.log_metric(a, "active_state", 0.0)
    assert (await listed(client, experiment))[a] == ("Active", 0.6)


async def test_metrics_with_steps_of_another_tool_are_no_ledger(client: AsyncMlflowClient, unique_name: str) -> None:
    """Runs whose state was logged with a step are listed and adopted; generations begin above that step."""
    experiment = await client.create_experiment(unique_name)
    run = await legacy_run(client, experiment, unique_name, (1, 0, 0), None, None)
    await client.log_metric(run, "active_state", 2.0, step=5)
    await client.log_metric(run, "test_fraction", 1.0, step=5)
    assert await listed(client, experiment) == {run: ("Active", 1.0)}

    assert (await mlflow_api.disable_run(run, client=client)).generation == 7
    assert await listed(client, experiment) == {run: ("Disabled", 0.0)}


async def test_without_live_runs_nothing_is_adopted(client: AsyncMlflowClient, unique_name: str) -> None:
    """The first change is generation 1, and runs that were out stay out."""
    experiment = await client.create_experiment(unique_name)
    off, new = [await legacy_run(client, experiment, unique_name, (1, 0, 0), state, 0.0) for state in (0.0, 1.0)]

    rollout = await mlflow_api.enable_run(new, client=client)

    assert (rollout.generation, rollout.verb) == (1, "enable_run")
    assert await listed(client, experiment) == {off: ("Disabled", 0.0), new: ("Active", 1.0)}
