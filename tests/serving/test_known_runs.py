"""The runs behind a generation: asked for once, remembered, and refused when they are of no use."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from mlflow_utilities import ModelError
from mlflow_utilities.serving.facts import KnownRuns, UnusableRunsError
from support.runs import make_project, make_run
from support.transports import faulty_client

pytestmark = pytest.mark.anyio


async def test_runs_are_asked_for_once(server_uri: str, unique_name: str) -> None:
    """The first generation costs one search, the next one request for the run that is new, a known one none."""
    async with faulty_client(server_uri) as (client, transport):
        project = await make_project(client, unique_name, runs=3)
        known = KnownRuns()
        transport.forget()

        first = await known.get(client, project.experiment_id, project.runs[:2])
        assert transport.lines == ["POST runs/search"]
        await client.log_metric(project.runs[0], "auc", 0.9)
        transport.forget()
        again = await known.get(client, project.experiment_id, project.runs[:2])
        assert transport.lines == []
        later = await known.get(client, project.experiment_id, project.runs)

        assert transport.lines == ["GET runs/get"]
        assert first == again
        assert (list(later), set(first)) == (list(project.runs), set(project.runs[:2]))
        assert "auc" not in later[project.runs[0]].metrics


async def test_services_that_want_the_same_runs_ask_once(server_uri: str, unique_name: str) -> None:
    """Those that come while a request is under way get its answer."""
    async with faulty_client(server_uri) as (client, transport):
        project = await make_project(client, unique_name, runs=2)
        known = KnownRuns()
        transport.forget()
        found: list[Any] = []

        async def ask() -> None:
            found.append(await known.get(client, project.experiment_id, project.runs))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)

        assert transport.lines == ["POST runs/search"]
        assert found == [found[0]] * 5


async def test_unusable_runs_are_named_and_the_others_remembered(server_uri: str, unique_name: str) -> None:
    """A run that is missing, deleted or of no version is named with its reason; the good one costs nothing later."""
    async with faulty_client(server_uri) as (client, transport):
        experiment = await client.create_experiment(unique_name)
        good, deleted = [await make_run(client, experiment, unique_name) for _ in range(2)]
        await client.delete_run(deleted)
        foreign = (await client.create_run(experiment)).info.run_id
        missing = "f" * 32
        known = KnownRuns()

        with pytest.raises(ModelError) as caught:
            await known.get(client, experiment, [good, missing, deleted, foreign, "no id"])

        assert isinstance(caught.value, UnusableRunsError)
        assert caught.value.failures == {
            missing: "does not exist",
            deleted: "is deleted",
            foreign: "was not saved with a submodel name and a version",
            "no id": "does not exist",
        }
        assert f"run {deleted} is deleted" in str(caught.value)
        transport.forget()
        assert list(await known.get(client, experiment, [good])) == [good]
        assert transport.lines == []
        await client.restore_run(deleted)
        assert set(await known.get(client, experiment, [good, deleted])) == {good, deleted}
