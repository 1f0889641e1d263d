"""What crashed operators leave behind, and what reconcile makes of it; on a real server."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from mlflow_utilities.entities import Metric
from support.ledgers import control_of, died, ledger_runs, live_now, new_clock, with_generations
from support.runs import Project, make_project
from support.transports import Fault, FaultTransport, Script, faulty_client

pytestmark = pytest.mark.anyio


@pytest.fixture
async def maker(server_uri: str) -> AsyncGenerator[AsyncMlflowClient]:
    """Give a client that makes projects and looks at them."""
    async with AsyncMlflowClient(server_uri, clock=new_clock()) as client:
        yield client


@pytest.fixture
async def repairer(server_uri: str) -> AsyncGenerator[tuple[AsyncMlflowClient, FaultTransport]]:
    """Give a client that has seen no ledger, and its transport."""
    async with faulty_client(server_uri, clock=new_clock()) as (client, transport):
        yield client, transport


def dies_at(end: str, fault: Fault, nth: int = 1) -> Script:
    """Return a script that lets the process die at the n-th request to an endpoint."""
    seen = 0

    def script(number: int, request: httpx.Request) -> Fault | None:
        nonlocal seen
        seen += request.url.path.endswith(end)
        return fault if seen == nth and request.url.path.endswith(end) else None

    return script


async def crash(uri: str, project: Project, script: Script) -> None:
    """Let an operator die while it enables the last run."""
    with died():
        async with faulty_client(uri, script, clock=new_clock()) as (client, _):
            await mlflow_api.enable_run(project.runs[-1], client=client)


def writes(transport: FaultTransport) -> list[str]:
    """Return the requests that change something."""
    return [line for line in transport.lines if line.startswith("POST") and not line.endswith("/search")]


async def reconciled(
    project: Project, repairer: tuple[AsyncMlflowClient, FaultTransport], *, dry_run: bool = False
) -> tuple[mlflow_api.Repairs, list[str]]:
    """Reconcile, and return the repairs and the requests that changed something."""
    client, transport = repairer
    transport.forget()
    repairs = await mlflow_api.reconcile(experiment_id=project.experiment_id, client=client, dry_run=dry_run)
    return repairs, writes(transport)


async def test_a_projection_that_is_missing(
    server_uri: str, unique_name: str, maker: AsyncMlflowClient, repairer: tuple[AsyncMlflowClient, FaultTransport]
) -> None:
    """Tags and metrics of every changed run are written again, with the generation that changed it; twice is once."""
    project = await with_generations(maker, unique_name, 1)
    await crash(server_uri, project, dies_at("runs/log-parameter", Fault.DIE_AFTER))
    old, new = project.runs

    assert await live_now(server_uri, project) == {new: 1.0}
    assert (await maker.get_run(old)).data.tags["active_state"] == "Active"
    plan, sent = await reconciled(project, repairer, dry_run=True)
    assert (plan.projected, sent) == (sorted(project.runs), [])

    repairs, sent = await reconciled(project, repairer)
    assert repairs.projected == sorted(project.runs)
    assert sent.count("POST runs/log-batch") == 2
    for run, state, value in ((old, "Disabled", 0.0), (new, "Active", 2.0)):
        data = (await maker.get_run(run)).data
        points = await maker.get_metric_history(run, "active_state")
        assert (data.tags["active_state"], data.tags["rollout.generation"]) == (state, "2")
        assert (points[-1].step, points[-1].value) == (2, value)
    note = (await ledger_runs(maker, project))[-1].data.tags["mlflow.note.content"]
    assert note.startswith("generation 2 ")
    assert f"100 % {new[:8]}" in note

    again, sent = await reconciled(project, repairer)
    assert (again.projected, again.warnings, sent) == ([], [], [])


async def test_the_next_commit_finishes_what_the_last_one_left(
    server_uri: str, unique_name: str, maker: AsyncMlflowClient
) -> None:
    """A run that left is shown as Disabled before it is forgotten, by a writer that is not asked to repair."""
    project = await with_generations(maker, unique_name, 1, runs=3)
    first, second, third = project.runs
    with died():
        async with faulty_client(server_uri, dies_at("runs/log-parameter", Fault.DIE_AFTER), clock=new_clock()) as (
            operator,
            _,
        ):
            await mlflow_api.enable_run(second, client=operator)
    async with AsyncMlflowClient(server_uri, clock=new_clock()) as other:
        await mlflow_api.enable_run(third, client=other)

    tags = {run: (await maker.get_run(run)).data.tags["active_state"] for run in project.runs}
    assert tags == {first: "Disabled", second: "Disabled", third: "Active"}
    history = await mlflow_api.rollout_history(experiment_id=project.experiment_id, client=maker)
    assert [[run.run_id for run in entry.live] for entry in history] == [[first], [second], [third]]


@pytest.mark.parametrize("where", ["of a first commit", "of a rotation"])
async def test_a_ledger_run_that_nothing_points_to(
    where: str,
    server_uri: str,
    unique_name: str,
    maker: AsyncMlflowClient,
    repairer: tuple[AsyncMlflowClient, FaultTransport],
) -> None:
    """It is left alone while a pointer to it may still land, and deleted once its slot is taken."""
    if where == "of a first commit":
        project = await make_project(maker, unique_name, 1)
    else:
        project = await with_generations(maker, unique_name, 16)
    await crash(server_uri, project, dies_at("runs/log-parameter", Fault.DIE_BEFORE, nth=2))
    orphan = (await ledger_runs(maker, project))[-1].info.run_id

    repairs, _ = await reconciled(project, repairer)
    assert repairs.deleted_runs == []

    rollout = await mlflow_api.enable_run(project.runs[-1], client=maker)
    assert rollout.written
    repairs, _ = await reconciled(project, repairer)
    assert repairs.deleted_runs == [orphan]
    assert await live_now(server_uri, project) == {project.runs[-1]: 1.0}
    assert orphan not in [run.info.run_id for run in await ledger_runs(maker, project)]
    again, sent = await reconciled(project, repairer)
    assert (again.deleted_runs, sent) == ([], [])


async def test_candidates_of_an_election(
    server_uri: str, unique_name: str, maker: AsyncMlflowClient, repairer: tuple[AsyncMlflowClient, FaultTransport]
) -> None:
    """They are left alone while one of them may still win the name, and deleted afterwards."""
    project = await make_project(maker, unique_name, 1)
    await crash(server_uri, project, dies_at("experiments/update", Fault.DIE_BEFORE))
    name = f"mlflow-utilities/rollouts/{project.experiment_id}"

    async def candidates() -> list[str]:
        found = await maker.search_experiments(filter_string=f"attribute.name LIKE '{name}%'")
        return [experiment.name for experiment in found]

    (left,) = await candidates()
    assert left.startswith(f"{name}.new-")
    repairs, _ = await reconciled(project, repairer)
    assert (repairs.deleted_experiments, await candidates()) == ([], [left])

    await mlflow_api.enable_run(project.runs[0], client=maker)
    repairs, _ = await reconciled(project, repairer)
    assert (len(repairs.deleted_experiments), await candidates()) == (1, [name])
    assert await live_now(server_uri, project) == {project.runs[0]: 1.0}


async def test_signs_of_a_rotation_that_are_missing(
    server_uri: str, unique_name: str, maker: AsyncMlflowClient, repairer: tuple[AsyncMlflowClient, FaultTransport]
) -> None:
    """The hint leads to the new run, and the old one is ended; a client that knew the ledger can do it too."""
    project = await with_generations(maker, unique_name, 16)
    await mlflow_api.list_runs(None, project.experiment_id, client=repairer[0])
    control = await control_of(maker, project)
    tag = next(key for key in control.tags if key.startswith("rollouts.head."))
    await crash(server_uri, project, dies_at("experiments/set-experiment-tag", Fault.DIE_BEFORE))
    assert (await control_of(maker, project)).tags[tag] == control.tags[tag]

    await mlflow_api.list_runs(None, project.experiment_id, client=repairer[0])
    await reconciled(project, repairer)

    old, new = await ledger_runs(maker, project)
    assert new.info.run_id in (await control_of(maker, project)).tags[tag]
    assert (old.info.status, new.info.status) == ("FINISHED", "RUNNING")
    assert (await reconciled(project, repairer))[1] == []


async def test_metrics_that_somebody_else_wrote(
    unique_name: str, maker: AsyncMlflowClient, repairer: tuple[AsyncMlflowClient, FaultTransport]
) -> None:
    """They do not change what is live, and reconcile reports them."""
    project = await with_generations(maker, unique_name, 1)
    await maker.log_batch(project.runs[0], metrics=[Metric("active_state", 0.0, step=9)])

    repairs, _ = await reconciled(project, repairer)

    assert any(project.runs[0] in text and "generation 9" in text for text in repairs.warnings)
    live = await mlflow_api.list_runs(None, project.experiment_id, active_state="Active", client=maker)
    assert [run.run_id for run in live] == [project.runs[0]]
    rollout = await mlflow_api.enable_run(project.runs[1], client=maker)
    assert (rollout.generation, rollout.written) == (2, True)


async def test_a_run_whose_projection_is_refused_by_something_else(server_uri: str, unique_name: str) -> None:
    """A refusal counts as written only of a deleted run: the status stays right, and the next writer shows it."""
    refuse = True

    def script(number: int, request: httpx.Request) -> httpx.Response | None:
        return (
            httpx.Response(400, text="<html>no</html>") if refuse and request.url.path.endswith("log-batch") else None
        )

    async with AsyncMlflowClient(server_uri, clock=new_clock()) as maker:
        project = await with_generations(maker, unique_name, 1, runs=3)
    async with faulty_client(server_uri, script, clock=new_clock()) as (client, _):
        first = await mlflow_api.enable_run(project.runs[1], client=client)
        second = await mlflow_api.enable_run(project.runs[2], client=client)
        runs = await mlflow_api.list_runs(None, project.experiment_id, client=client)
        refuse = False
        third = await mlflow_api.disable_run(project.runs[2], client=client)
        tags = [(await client.get_run(run)).data.tags["active_state"] for run in project.runs]

    assert [(r.written, r.projected, len(r.warnings)) for r in (first, second)] == [(True, False, 2), (True, False, 2)]
    assert {run.run_id: run.status.name for run in runs} == dict(
        zip(project.runs, ("Disabled", "Disabled", "Active"), strict=True)
    )
    assert (third.projected, tags) == (True, ["Disabled"] * 3)
