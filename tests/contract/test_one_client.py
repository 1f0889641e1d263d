"""One client that lives long and is used by many tasks, as a service has it."""

from __future__ import annotations

import anyio
import httpx
import httpx2
import pytest

from mlflow_utilities import AsyncMlflowClient, InvalidInputError, ModelStatus, RolloutConflictError, mlflow_api
from support.runs import make_project, make_run

pytestmark = pytest.mark.anyio


async def test_tasks_of_one_client_take_turns(server_uri: str, unique_name: str) -> None:
    """Thirty changes at once, each of another version, are thirty generations, and none is refused."""
    async with AsyncMlflowClient(server_uri) as client:
        experiment = await client.create_experiment(unique_name)
        runs = [await make_run(client, experiment, unique_name, f"1.{minor}.0") for minor in range(30)]
        async with anyio.create_task_group() as group:
            for run in runs:
                group.start_soon(lambda run_id: mlflow_api.enable_run(run_id, client=client), run)
        history = await mlflow_api.rollout_history(experiment_id=experiment, client=client)

    assert [entry.generation for entry in history] == list(range(1, 31))
    assert {run.run_id for run in history[-1].live} == set(runs)


async def test_two_splits_at_once_are_a_conflict_also_within_one_client(server_uri: str, unique_name: str) -> None:
    """One of them is the rollout, the other is told so, and runs can be keys of a dict."""
    async with AsyncMlflowClient(server_uri) as client:
        project = await make_project(client, unique_name, 2)
        both = dict.fromkeys(project.runs, 1.0)
        await mlflow_api.update_active_runs(both, "1.0.0", project.experiment_id, client=client)
        refused: list[RolloutConflictError] = []

        async def alone(run_id: str) -> None:
            try:
                await mlflow_api.update_active_runs({run_id: 1.0}, "1.0.0", project.experiment_id, client=client)
            except RolloutConflictError as error:
                refused.append(error)

        async with anyio.create_task_group() as group:
            for run_id in project.runs:
                group.start_soon(alone, run_id)
        models = await mlflow_api.list_models(None, project.experiment_id, active_state="Active", client=client)

    assert len(refused) == 1
    assert dict.fromkeys(models, 1.0) == dict.fromkeys(models, models[0].test_fraction)


async def test_something_else_than_a_client_is_refused() -> None:
    """With what it is, and what it should be."""
    with pytest.raises(InvalidInputError, match="client is a str"):
        await mlflow_api.list_runs(None, experiment_name="x", client="http://127.0.0.1")  # type: ignore[arg-type]


async def test_a_ledger_that_was_begun_again_is_noticed(server_uri: str, unique_name: str) -> None:
    """A client that knew the old one reads and writes the new one as soon as a run shows that there is one."""
    async with AsyncMlflowClient(server_uri) as old, AsyncMlflowClient(server_uri) as new:
        project = await make_project(old, unique_name, 3)
        a, b, c = project.runs
        await mlflow_api.enable_run(a, client=old)
        control = await new.get_experiment_by_name(f"mlflow-utilities/rollouts/{project.experiment_id}")
        assert control is not None
        await new.rename_experiment(control.experiment_id, f"{control.name}.gone")
        await mlflow_api.reconcile(experiment_id=project.experiment_id, rebuild=True, client=new)
        await mlflow_api.enable_run(b, client=new)

        live = await mlflow_api.list_runs(None, project.experiment_id, active_state="Active", client=old)
        changed = await mlflow_api.canary_run(c, client=old)
        history = await mlflow_api.rollout_history(experiment_id=project.experiment_id, client=new)

    assert [run.run_id for run in live] == [b]
    assert changed.changes == {c: ModelStatus.Canary}
    assert [entry.verb for entry in history] == ["adopt", "enable_run", "canary_run"]
    assert history[-1].generation == changed.generation == 4


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_an_answer_that_is_not_read_leaves_an_injected_client_usable(
    library: type, server_uri: str, unique_name: str, tmp_path: object
) -> None:
    """A download that cannot be written gives its connection back, in a pool of one."""
    limits = library.Limits(max_connections=1)  # type: ignore[attr-defined]
    async with library.AsyncClient(limits=limits) as http_client:  # type: ignore[attr-defined]
        client = AsyncMlflowClient(server_uri, http_client=http_client, max_concurrency=1)
        experiment = await client.create_experiment(unique_name)
        run_id = (await client.create_run(experiment)).info.run_id
        await client.log_text(run_id, "x" * 200_000, "big.txt")
        blocked = f"{tmp_path}/file"
        await anyio.Path(blocked).write_text("in the way")
        with anyio.fail_after(60):
            for _ in range(3):
                with pytest.raises(OSError, match="file"):
                    await client.download_artifacts(run_id, "big.txt", blocked)
            assert len(await client.read_artifact(run_id, "big.txt")) == 200_000
        await client.aclose()
