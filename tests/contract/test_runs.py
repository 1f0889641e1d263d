"""Runs on a real server."""

from __future__ import annotations

import pytest
from mlflow.entities import RunStatus as MlflowRunStatus
from mlflow.entities import ViewType as MlflowViewType

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.entities import RunStatus, ViewType
from mlflow_utilities.errors import InvalidInputError, InvalidParameterError, NotFoundError

pytestmark = pytest.mark.anyio

BIG = 2**53 + 1


@pytest.fixture
async def experiment_id(client: AsyncMlflowClient, unique_name: str) -> str:
    """Make an experiment for one test."""
    return await client.create_experiment(unique_name)


async def test_a_run_is_created_and_found(client: AsyncMlflowClient, experiment_id: str) -> None:
    """With its name, tags and a start time that no float could hold; without a time it starts now."""
    run = await client.create_run(experiment_id, BIG, {"k": "v"}, "first")
    child = await client.create_run(experiment_id, tags={"mlflow.parentRunId": run.info.run_id})

    assert (run.info.run_name, run.info.start_time, run.info.status) == ("first", BIG, "RUNNING")
    assert run.info.end_time is None
    assert run.data.tags["k"] == "v"
    assert child.info.start_time is not None
    assert child.info.start_time > 1_600_000_000_000
    assert await client.get_run(run.info.run_id) == run
    parent = await client.get_parent_run(child.info.run_id)
    assert parent is not None
    assert parent.info.run_id == run.info.run_id
    assert await client.get_parent_run(run.info.run_id) is None
    with pytest.raises(NotFoundError, match="nope"):
        await client.get_run("nope")
    with pytest.raises(InvalidParameterError, match="runName"):
        await client.create_run(experiment_id, tags={"mlflow.runName": "a"}, run_name="b")


async def test_a_run_changes_its_state(client: AsyncMlflowClient, experiment_id: str) -> None:
    """Renamed, ended with a time, deleted and restored; deleting twice is no error, logging to a deleted run is."""
    run_id = (await client.create_run(experiment_id)).info.run_id

    await client.update_run(run_id, RunStatus.FAILED, "renamed")
    renamed = await client.get_run(run_id)
    assert (renamed.info.status, renamed.info.run_name, renamed.info.end_time) == ("FAILED", "renamed", None)
    await client.set_terminated(run_id, MlflowRunStatus.to_string(MlflowRunStatus.KILLED), BIG)
    ended = await client.get_run(run_id)
    assert (ended.info.status, ended.info.end_time, ended.info.run_name) == ("KILLED", BIG, "renamed")
    await client.set_terminated(run_id)
    assert (await client.get_run(run_id)).info.status == "FINISHED"

    await client.delete_run(run_id)
    await client.delete_run(run_id)
    assert (await client.get_run(run_id)).info.lifecycle_stage == "deleted"
    with pytest.raises(InvalidParameterError, match="active"):
        await client.set_tag(run_id, "a", "b")
    await client.restore_run(run_id)
    assert (await client.get_run(run_id)).info.lifecycle_stage == "active"


async def test_runs_are_searched_page_by_page(client: AsyncMlflowClient, experiment_id: str) -> None:
    """In order, filtered, by view type of ours and of MLflow's, over page ends."""
    ids = [(await client.create_run(experiment_id, 1000 + number)).info.run_id for number in range(5)]
    await client.log_batch(ids[0], params={"lr": "0.1"}, tags={"team": "a"})
    await client.delete_run(ids[4])

    assert [run.info.run_id async for run in client.iter_runs([experiment_id], max_results=2)] == ids[3::-1]
    page = await client.search_runs([experiment_id], max_results=3, order_by=["attributes.start_time ASC"])
    assert [run.info.run_id for run in page] == ids[:3]
    rest = await client.search_runs(
        [experiment_id], max_results=3, order_by=["attributes.start_time ASC"], page_token=page.token
    )
    assert [run.info.run_id for run in rest] == ids[3:4]
    for view, count in ((ViewType.ALL, 5), (MlflowViewType.DELETED_ONLY, 1), ("ACTIVE_ONLY", 4)):
        assert len(await client.search_runs([experiment_id], run_view_type=view)) == count
    both = await client.search_runs([experiment_id], "params.lr = '0.1' and tags.team = 'a'")
    assert [run.data.params for run in both] == [{"lr": "0.1"}]
    nothing = await client.search_runs([experiment_id], "params.lr = 'x'")
    assert (nothing, nothing.token) == ([], None)
    assert [run async for run in client.iter_runs([])] == []


async def test_a_wrong_argument_is_refused(client: AsyncMlflowClient) -> None:
    """By the server with its own message, or before anything is sent."""
    with pytest.raises(InvalidParameterError, match="max_results"):
        await client.search_runs(["0"], max_results=50_001)
    with pytest.raises(InvalidParameterError):
        await client.search_runs(["0"], "params.lr > 1 or 2")
    for call in (
        lambda: client.search_runs("0"),
        lambda: client.search_runs(["0"], run_view_type=4),
        lambda: client.search_runs(["0"], order_by=[1]),  # type: ignore[list-item]
        lambda: client.create_run("0", 1.5),  # type: ignore[arg-type]
        lambda: client.create_run("0", tags={"it's": "x"}),
        lambda: client.create_run("0", tags={"k": "x" * 8001}),
        lambda: client.update_run("r", "DONE"),
        lambda: client.set_terminated("r", end_time=-1),
        lambda: client.delete_run(None),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInputError):
            await call()
