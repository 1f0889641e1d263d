"""Four operators and three readers at once, on one submodel."""

from __future__ import annotations

import math
import random

import anyio
import pytest

from mlflow_utilities import AsyncMlflowClient, RolloutConflictError, mlflow_api
from support.runs import Project, make_project

pytestmark = [pytest.mark.anyio, pytest.mark.contended]

OPERATORS = 4
CHANGES = 25


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio alone: what is tested is the server's data, and 100 commits take a while."""
    return "asyncio"


async def operate(uri: str, project: Project, name: str, acknowledged: set[str], refused: list[str]) -> None:
    """Make 25 changes, each planned on what is current; a loser tries again."""
    chance = random.Random(name)
    async with AsyncMlflowClient(uri) as client:
        for number in range(CHANGES):
            weights = {run: chance.randint(1, 9) for run in project.runs}
            while True:
                why = f"{name} {number} {chance.randrange(10**9)}"
                try:
                    rollout = await mlflow_api.update_active_runs(
                        weights, "1.0.0", experiment_id=project.experiment_id, client=client, why=why
                    )
                except RolloutConflictError:
                    refused.append(why)
                    continue
                if rollout.written:
                    acknowledged.add(why)
                break


async def watch(uri: str, project: Project, seen: list[float]) -> None:
    """List the Active runs without pause, as a client that polls; the first look is on an Active run."""
    async with AsyncMlflowClient(uri) as client:
        while True:
            live = await mlflow_api.list_runs(
                None, experiment_id=project.experiment_id, active_state="Active", client=client
            )
            seen.append(sum(run.test_fraction for run in live))


async def test_no_change_is_lost_and_no_reader_sees_half_of_one(server_uri: str, unique_name: str) -> None:
    """Each acknowledged change is one generation, refused ones are none, and shares always add up to 1."""
    async with AsyncMlflowClient(server_uri) as client:
        project = await make_project(client, unique_name, 3)
        await mlflow_api.enable_run(project.runs[0], client=client, why="begin")
    acknowledged: set[str] = {"begin"}
    refused: list[str] = []
    seen: list[float] = []

    async with anyio.create_task_group() as readers:
        for _ in range(3):
            readers.start_soon(watch, server_uri, project, seen)
        async with anyio.create_task_group() as writers:
            for number in range(OPERATORS):
                writers.start_soon(operate, server_uri, project, f"operator {number}", acknowledged, refused)
        readers.cancel_scope.cancel()

    async with AsyncMlflowClient(server_uri) as client:
        history = await mlflow_api.rollout_history(experiment_id=project.experiment_id, client=client)
    whys = [entry.why for entry in history]
    assert [entry.generation for entry in history] == list(range(1, len(history) + 1))
    assert [entry.problem for entry in history if entry.problem] == []
    assert len(whys) == len(set(whys))
    assert set(whys) == acknowledged
    assert set(whys).isdisjoint(refused)
    assert len(seen) > OPERATORS
    assert [total for total in seen if not math.isclose(total, 1.0)] == []
