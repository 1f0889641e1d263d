"""An operator that dies after any single request: nothing is half done, and the same call finishes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from support.clock import FakeClock
from support.ledgers import with_generations
from support.runs import Project, legacy_run, make_project
from support.transports import Fault, KilledError, faulty_client

pytestmark = pytest.mark.anyio

Statuses = dict[str, tuple[str, float]]
MOST_REQUESTS = 40


@pytest.fixture
def anyio_backend() -> str:
    """Run on asyncio alone: hundreds of projects are made, and what the server holds does not depend on the loop."""
    return "asyncio"


@dataclass(frozen=True)
class Case:
    """What stands before a verb, and the verb."""

    prepare: Callable[[AsyncMlflowClient, str], Awaitable[Project]]
    verb: Callable[[AsyncMlflowClient, Project], Awaitable[mlflow_api.Rollout]]


async def fresh(client: AsyncMlflowClient, name: str) -> Project:
    """Make a project that never had a rollout."""
    return await make_project(client, name, 3)


async def split(client: AsyncMlflowClient, name: str) -> Project:
    """Make a project with an Active run, a canary and a New run."""
    project = await fresh(client, name)
    await mlflow_api.enable_run(project.runs[0], client=client)
    await mlflow_api.canary_run(project.runs[1], client=client)
    return project


async def full(client: AsyncMlflowClient, name: str) -> Project:
    """Make a project whose ledger run has 16 generations, so that the next one goes to a new run."""
    return await with_generations(client, name, 16, 3)


async def legacy(client: AsyncMlflowClient, name: str) -> Project:
    """Make a project of the earlier framework: two Active runs and one that was never used."""
    experiment = await client.create_experiment(name)
    shares = [(2.0, 0.75), (2.0, 0.25), (1.0, 0.0)]
    runs = [await legacy_run(client, experiment, name, (1, 0, 0), state, share) for state, share in shares]
    return Project(experiment, name, tuple(runs))


async def enable(client: AsyncMlflowClient, project: Project) -> mlflow_api.Rollout:
    """Enable the last run."""
    return await mlflow_api.enable_run(project.runs[2], client=client)


async def update(client: AsyncMlflowClient, project: Project) -> mlflow_api.Rollout:
    """Split the version between the first and the last run."""
    weights = {project.runs[0]: 0.25, project.runs[2]: 0.75}
    return await mlflow_api.update_active_runs(weights, "1.0.0", project.experiment_id, client=client)


async def back(client: AsyncMlflowClient, project: Project) -> mlflow_api.Rollout:
    """Go back to the first generation."""
    return await mlflow_api.rollback(experiment_id=project.experiment_id, to_generation=1, client=client)


CASES = {
    "the first commit of all": Case(fresh, enable),
    "a commit in place": Case(split, update),
    "a commit to a new ledger run": Case(full, enable),
    "a rollback": Case(split, back),
    "an adoption": Case(legacy, update),
}


async def statuses(uri: str, project: Project) -> Statuses:
    """Return status and share of every run, as a client sees it that has never looked before."""
    async with AsyncMlflowClient(uri) as client:
        runs = await mlflow_api.list_runs(None, project.experiment_id, client=client)
    return {run.run_id: (run.status.name, run.test_fraction) for run in runs}


def by_place(found: Statuses, project: Project) -> list[tuple[str, float]]:
    """Return statuses in the order of the project's runs, to compare projects with each other."""
    return [found[run] for run in project.runs]


async def killed(uri: str, project: Project, case: Case, last: int) -> bool:
    """Let the operator die after request number `last`; return whether it lived to the end."""

    def script(number: int, request: httpx.Request) -> Fault | None:
        if number < last:
            return None
        return Fault.DIE_AFTER if number == last else Fault.DIE_BEFORE

    try:
        async with faulty_client(uri, script, clock=FakeClock(now_ms=1_795_000_000_000)) as (client, _):
            await case.verb(client, project)
    except BaseException as error:
        if not _is_killed(error):
            raise
        return False
    return True


def _is_killed(error: Any) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_is_killed(inner) for inner in error.exceptions)
    return isinstance(error, KilledError)


@pytest.mark.parametrize("name", CASES)
async def test_readers_see_the_old_or_the_new_and_the_same_call_finishes(
    name: str, server_uri: str, unique_name: str
) -> None:
    """After the death at any request; once more changes nothing."""
    case = CASES[name]
    async with AsyncMlflowClient(server_uri, clock=FakeClock(now_ms=1_795_000_000_000)) as maker:
        model = await case.prepare(maker, f"{unique_name}-model")
        old = by_place(await statuses(server_uri, model), model)
        generation = (await case.verb(maker, model)).generation
        new = by_place(await statuses(server_uri, model), model)
        assert old != new

        for last in range(1, MOST_REQUESTS):
            project = await case.prepare(maker, f"{unique_name}-{last}")
            finished = await killed(server_uri, project, case, last)
            after = by_place(await statuses(server_uri, project), project)
            async with AsyncMlflowClient(server_uri, clock=FakeClock(now_ms=1_795_000_000_000)) as second:
                repeated = await case.verb(second, project)
                again = await case.verb(second, project)
            found = await statuses(server_uri, project)
            tags = {run: (await maker.get_run(run)).data.tags.get("active_state") for run in project.runs}

            assert after in (old, new)
            assert (repeated.generation, repeated.projected) == (generation, True)
            assert (again.generation, again.written) == (generation, False)
            assert by_place(found, project) == new
            assert {run: tags[run] for run in found if tags[run] is not None} == {
                run: status for run, (status, _) in found.items() if tags[run] is not None
            }
            if finished:
                return
    raise AssertionError(f"{name} takes {MOST_REQUESTS} requests or more")
