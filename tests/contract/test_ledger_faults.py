"""A ledger that was deleted, spoiled or written by others: what readers and writers do, on a real server."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from mlflow_utilities.errors import (
    LedgerCorruptError,
    LedgerDeletedError,
    LedgerForeignError,
    LedgerMissingError,
    LedgerNewerFormatError,
    RolloutError,
)
from mlflow_utilities.rollout.document import index_key
from support.ledgers import (
    chain_documents,
    control_of,
    ledger_runs,
    live_now,
    new_clock,
    sealed,
    statuses,
    with_generations,
)
from support.runs import Project, make_project, make_run
from support.transports import FaultTransport, faulty_client

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class World:
    """A project whose first run is Active, a client that knows its ledger, and one that has yet to look."""

    uri: str
    client: AsyncMlflowClient
    newcomer: AsyncMlflowClient
    seen: FaultTransport
    project: Project

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs of the project."""
        return self.project.runs

    async def enable(self, number: int, client: AsyncMlflowClient | None = None) -> mlflow_api.Rollout:
        """Enable a run of the project."""
        return await mlflow_api.enable_run(self.runs[number], client=client or self.client)

    async def ledger_run(self) -> str:
        """Return the newest ledger run."""
        return (await ledger_runs(self.client, self.project))[-1].info.run_id


@pytest.fixture
async def world(server_uri: str, unique_name: str) -> AsyncGenerator[World]:
    """Give a project with one generation."""
    async with (
        AsyncMlflowClient(server_uri, clock=new_clock()) as client,
        faulty_client(server_uri, clock=new_clock()) as (newcomer, seen),
    ):
        project = await make_project(client, unique_name, 3)
        await mlflow_api.enable_run(project.runs[0], client=client)
        yield World(server_uri, client, newcomer, seen, project)


async def test_a_deleted_ledger_run(world: World) -> None:
    """Readers see what they saw, writers are told which call restores it, and then all goes on."""
    run = await world.ledger_run()
    await world.client.delete_run(run)

    assert await live_now(world.uri, world.project) == {world.runs[0]: 1.0}
    for client in (world.client, world.newcomer):
        assert (await statuses(client, world.project))[world.runs[0]] == ("Active", 1.0)
        with pytest.raises(LedgerDeletedError, match=rf"restore_run\('{run}'\)"):
            await world.enable(1, client)

    await world.client.restore_run(run)
    assert (await world.enable(1)).generation == 2
    assert await live_now(world.uri, world.project) == {world.runs[1]: 1.0}


async def test_a_deleted_control_experiment(world: World) -> None:
    """Who knows it goes on reading; all others, and writers, are told which call restores it."""
    control = await control_of(world.client, world.project)
    await world.client.delete_experiment(control.experiment_id)
    restore = rf"restore_experiment\('{control.experiment_id}'\)"

    assert (await statuses(world.client, world.project))[world.runs[0]] == ("Active", 1.0)
    with pytest.raises(LedgerDeletedError, match=restore):
        await statuses(world.newcomer, world.project)
    for client in (world.client, world.newcomer):
        with pytest.raises(LedgerDeletedError, match=restore):
            await world.enable(1, client)

    await world.client.restore_experiment(control.experiment_id)
    assert (await world.enable(1, world.newcomer)).generation == 2


async def test_a_control_experiment_that_is_deleted_before_a_rotation(server_uri: str, unique_name: str) -> None:
    """The writer that would begin a new ledger run is told likewise."""
    async with AsyncMlflowClient(server_uri, clock=new_clock()) as client:
        project = await with_generations(client, unique_name, 16)
        control = await control_of(client, project)
        await client.delete_experiment(control.experiment_id)

        with pytest.raises(LedgerDeletedError, match=rf"restore_experiment\('{control.experiment_id}'\)"):
            await mlflow_api.enable_run(project.runs[1], client=client)

        await client.restore_experiment(control.experiment_id)
        assert (await mlflow_api.enable_run(project.runs[1], client=client)).generation == 17


async def test_a_name_that_a_deleted_experiment_has(world: World, unique_name: str) -> None:
    """Nothing is elected around it: readers and writers are told which call restores it."""
    project = await make_project(world.client, f"{unique_name}-other")
    taken = await world.client.create_experiment(f"mlflow-utilities/rollouts/{project.experiment_id}")
    await world.client.delete_experiment(taken)

    with pytest.raises(LedgerDeletedError, match=rf"restore_experiment\('{taken}'\)"):
        await mlflow_api.enable_run(project.runs[0], client=world.client)
    with pytest.raises(LedgerDeletedError, match=rf"restore_experiment\('{taken}'\)"):
        await live_now(world.uri, project)


async def forget_index(world: World) -> None:
    """Remove the tag that names the index run; servers 2.x can only empty it."""
    control = await control_of(world.client, world.project)
    if (await world.client.server_version()).startswith("2."):
        await world.client.set_experiment_tag(control.experiment_id, "rollouts.index", "")
    else:
        await world.client.delete_experiment_tag(control.experiment_id, "rollouts.index")


async def test_a_control_experiment_that_names_no_index(world: World) -> None:
    """The index is found by its role; of several the one that holds the pointers counts."""
    control = await control_of(world.client, world.project)
    await forget_index(world)
    await world.client.create_run(control.experiment_id, tags={"rollouts.role": "index"})

    assert await live_now(world.uri, world.project) == {world.runs[0]: 1.0}
    assert (await world.enable(1, world.newcomer)).generation == 2

    other = await world.client.create_run(control.experiment_id, tags={"rollouts.role": "index"})
    await world.client.log_param(other.info.run_id, "s.0", "x")
    with pytest.raises(LedgerCorruptError, match="2 index runs"):
        await live_now(world.uri, world.project)


async def wrong_hints(world: World, project: Project) -> dict[str, str]:
    """Return hints at the end of a chain of two runs that are wrong in one way each."""
    control = await control_of(world.client, project)
    first, last = [run.info.run_id for run in await ledger_runs(world.client, project)]
    index = control.tags["rollouts.index"]
    tags = {"rollouts.role": "ledger", "rollouts.submodel": project.name}
    orphan = (await world.client.create_run(control.experiment_id, tags=tags)).info.run_id
    document = (await world.client.get_run(first)).data.params["g.000000001"]
    await world.client.log_param(orphan, "g.000000001", document)
    other = await make_run(world.client, project.experiment_id, "other")
    await mlflow_api.enable_run(other, client=world.client)
    found = await ledger_runs(world.client, project)
    others = next(run.info.run_id for run in found if run.data.tags["rollouts.submodel"] == "other")

    def hint(source: str, key: str, target: str) -> str:
        return json.dumps({"from": source, "key": key, "run": target})

    return {
        "stale": hint(index, index_key(project.name), first),
        "rubbish": "[1",
        "unknown runs": hint("0" * 32, "g.000000017", "1" * 32),
        "to an orphan": hint(index, index_key(project.name), orphan),
        "from an orphan": hint(orphan, "g.000000017", last),
        "of another submodel": hint(index, index_key("other"), others),
        "none": "",
    }


async def test_hints_are_not_trusted(world: World, unique_name: str) -> None:
    """Whatever the hint says, readers and writers find the end of the chain; reconcile puts it right."""
    project = await with_generations(world.client, f"{unique_name}-two", 16)
    await mlflow_api.enable_run(project.runs[1], client=world.client)
    control = await control_of(world.client, project)
    tag = next(key for key in control.tags if key.startswith("rollouts.head."))
    right = control.tags[tag]
    enabled = 1

    for kind, wrong in (await wrong_hints(world, project)).items():
        await world.client.set_experiment_tag(control.experiment_id, tag, wrong)
        assert await live_now(world.uri, project) == {project.runs[enabled]: 1.0}, kind
        enabled = 1 - enabled
        async with AsyncMlflowClient(world.uri, clock=new_clock()) as newcomer:
            await mlflow_api.enable_run(project.runs[enabled], client=newcomer)

        await mlflow_api.reconcile(experiment_id=project.experiment_id, client=world.client)
        assert (await control_of(world.client, project)).tags[tag] == right, kind

    history = await mlflow_api.rollout_history(experiment_id=project.experiment_id, client=world.client)
    assert [entry.generation for entry in history] == list(range(1, 25))


async def test_a_foreign_value_in_the_next_slot(world: World) -> None:
    """Readers stay where they are; the next commit takes the slot after it and says what it was planned on."""
    await world.client.log_param(await world.ledger_run(), "g.000000002", "rubbish")

    assert await live_now(world.uri, world.project) == {world.runs[0]: 1.0}
    assert (await statuses(world.client, world.project))[world.runs[0]] == ("Active", 1.0)
    assert (await world.enable(1, world.newcomer)).generation == 3
    assert chain_documents(await ledger_runs(world.client, world.project))[3]["parent"] == 1
    history = await mlflow_api.rollout_history(experiment_id=world.project.experiment_id, client=world.client)
    assert [(entry.generation, bool(entry.problem)) for entry in history] == [(1, False), (2, True), (3, False)]
    assert await live_now(world.uri, world.project) == {world.runs[1]: 1.0}


async def test_a_value_of_a_newer_release(world: World) -> None:
    """Readers keep what they have; nobody writes, and reconcile deletes none of its runs."""
    control = await control_of(world.client, world.project)
    tags = {"rollouts.role": "ledger", "rollouts.submodel": world.project.name, "rollouts.first_generation": "2"}
    theirs = (await world.client.create_run(control.experiment_id, tags=tags)).info.run_id
    value = sealed({"format": 2, "next": theirs})
    await world.client.log_param(await world.ledger_run(), "g.000000002", value)

    assert await live_now(world.uri, world.project) == {world.runs[0]: 1.0}
    for client in (world.client, world.newcomer):
        with pytest.raises(LedgerNewerFormatError, match="format is 2"):
            await world.enable(1, client)
        with pytest.raises(LedgerNewerFormatError, match="update"):
            await mlflow_api.reconcile(experiment_id=world.project.experiment_id, client=client)
    assert [line for line in world.seen.lines if line.startswith("POST") and line != "POST runs/search"] == []
    assert (await world.client.get_run(theirs)).info.lifecycle_stage == "active"


async def test_an_index_of_a_newer_release(world: World, unique_name: str) -> None:
    """Runs are not shown by their metrics as if there were no ledger, and nobody writes."""
    await make_run(world.client, world.project.experiment_id, unique_name + "-new")
    index = (await control_of(world.client, world.project)).tags["rollouts.index"]
    await world.client.log_param(index, index_key(f"{unique_name}-new"), sealed({"format": 2, "runs": []}))
    names = (None, world.project.experiment_id, None, None, f"{unique_name}-new")

    with pytest.raises(RolloutError, match="format is 2"):
        await mlflow_api.list_runs(*names, client=world.client)
    with pytest.raises(LedgerNewerFormatError):
        await mlflow_api.reconcile(
            experiment_id=world.project.experiment_id,
            submodel_name=f"{unique_name}-new",
            rebuild=True,
            client=world.client,
        )


async def test_a_ledger_of_an_earlier_experiment_with_the_same_id(world: World) -> None:
    """It is taken over by nobody."""
    control = await control_of(world.client, world.project)
    earlier = f'{{"creation_time":1,"id":"{world.project.experiment_id}","name":"x"}}'
    await world.client.set_experiment_tag(control.experiment_id, "rollouts.experiment", earlier)

    with pytest.raises(LedgerForeignError, match="rename experiment"):
        await live_now(world.uri, world.project)
    with pytest.raises(LedgerForeignError):
        await world.enable(1, world.newcomer)
    assert [line for line in world.seen.lines if line.startswith("POST")] == []


async def test_a_control_experiment_that_was_renamed_away(world: World) -> None:
    """Nobody takes the runs for ones without a ledger; rebuilt from what they show, generations go on."""
    await world.enable(1)
    control = await control_of(world.client, world.project)
    await world.client.rename_experiment(control.experiment_id, f"{world.project.name}-away")

    with pytest.raises(LedgerMissingError, match="generation 2"):
        await live_now(world.uri, world.project)
    for number in (0, 2):  # one that was live, and one that never was
        with pytest.raises(LedgerMissingError, match="rebuild=True"):
            await world.enable(number, world.newcomer)
    named = {"experiment_id": world.project.experiment_id, "rebuild": True, "client": world.newcomer}
    plan = await mlflow_api.reconcile(**named, dry_run=True)
    repairs = await mlflow_api.reconcile(**named)

    assert (plan.generation, repairs.generation) == (3, 3)
    assert await live_now(world.uri, world.project) == {world.runs[1]: 1.0}
    assert (await world.enable(2, world.newcomer)).generation == 4
    with pytest.raises(RolloutError, match="there is a ledger"):
        await mlflow_api.reconcile(**named)
