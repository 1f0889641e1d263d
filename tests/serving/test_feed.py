"""Following a ledger on a real server: what polls cost, and that they see what the verbs do."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio
import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from mlflow_utilities.errors import LedgerDeletedError
from mlflow_utilities.rollout.experiments import find_ledger
from mlflow_utilities.serving.feed import Feed, feed_of, locate
from support.clock import SteppedClock
from support.ledgers import control_of, new_clock, with_generations
from support.runs import make_project
from support.transports import Fault, FaultTransport, faulty_client

pytestmark = pytest.mark.anyio


@pytest.fixture
async def operator(server_uri: str) -> AsyncGenerator[AsyncMlflowClient]:
    """Give the client of somebody who changes rollouts."""
    async with AsyncMlflowClient(server_uri, clock=new_clock()) as client:
        yield client


@pytest.fixture
async def counted(server_uri: str) -> AsyncGenerator[tuple[AsyncMlflowClient, FaultTransport]]:
    """Give the client of a service, whose requests are counted."""
    async with faulty_client(server_uri) as (client, transport):
        yield client, transport


async def feed_for(client: AsyncMlflowClient, name: str) -> Feed:
    """Return the feed of an experiment's own submodel."""
    ledger = await locate(client, None, name, None, on_error=print, interval=0.1)
    return feed_of(client, ledger)


def generation(feed: Feed) -> int | None:
    """Return the generation that a feed has."""
    return feed.latest.document.generation if feed.latest and feed.latest.document else None


async def test_a_steady_poll_is_one_get_of_at_most_16_kb(
    server_uri: str, unique_name: str, operator: AsyncMlflowClient, counted: tuple[AsyncMlflowClient, FaultTransport]
) -> None:
    """With a full ledger run too, a poll is one GET without a search, and its answer stays small."""
    client, transport = counted
    await with_generations(operator, unique_name, 16)
    feed = await feed_for(client, unique_name)
    await feed.refresh()
    assert not [line for line in transport.lines if line.startswith("POST")]
    transport.forget()
    for _ in range(5):
        await feed.refresh()
    assert transport.lines == ["GET runs/get"] * 5
    assert generation(feed) == 16
    async with httpx.AsyncClient() as plain:
        assert len((await plain.get(transport.requests[-1].url)).content) <= 16_000


async def test_every_commit_is_seen(
    unique_name: str, operator: AsyncMlflowClient, counted: tuple[AsyncMlflowClient, FaultTransport]
) -> None:
    """Twenty changes in a row, over the end of a ledger run: the feed has each of them after one poll."""
    client, _ = counted
    project = await make_project(operator, unique_name)
    feed = await feed_for(client, unique_name)
    assert (await feed.refresh()).document is None
    for number in range(1, 21):
        rollout = await mlflow_api.update_active_runs(
            {project.runs[0]: number, project.runs[1]: 1.0}, "1.0.0", project.experiment_id, client=operator
        )
        assert rollout.generation == number
        await feed.refresh()
        assert generation(feed) == number
        assert feed.latest is not None
        assert feed.latest.document is not None
        assert set(feed.latest.document.runs) == set(project.runs)


async def test_an_outage_of_the_connection_ends_by_itself(
    server_uri: str, unique_name: str, operator: AsyncMlflowClient
) -> None:
    """While connections are refused the document stays; when they are not any more, the next poll has news."""
    refused = False
    project = await with_generations(operator, unique_name, 1)
    clock = SteppedClock()
    async with (
        faulty_client(server_uri, lambda *_: Fault.REFUSE if refused else None, clock=clock) as (client, _),
        anyio.create_task_group() as tasks,
    ):
        feed = feed_of(client, await find_ledger(client, project.experiment_id, None, None))
        tasks.start_soon(feed.drive)
        await clock.advance(2.0)
        await feed.wait(0)
        refused = True
        with pytest.raises(ConnectionError):
            await feed.refresh()
        assert (generation(feed), feed.last_error and feed.last_error.kind) == (1, "network")
        await mlflow_api.enable_run(project.runs[1], client=operator)
        refused = False
        seen = feed.polls
        assert feed.next_poll is not None
        await clock.advance(feed.next_poll - clock.monotonic())
        await feed.wait(seen)
        assert (generation(feed), feed.last_error) == (2, None)
        tasks.cancel_scope.cancel()


async def test_a_deleted_control_experiment_is_reported_and_restored(
    unique_name: str, operator: AsyncMlflowClient, counted: tuple[AsyncMlflowClient, FaultTransport]
) -> None:
    """A service that starts meanwhile says what to do; one that knows the rollout goes on; restoring recovers."""
    client, _ = counted
    project = await with_generations(operator, unique_name, 2)
    known = await feed_for(operator, unique_name)
    await known.refresh()
    control = await control_of(operator, project)
    await operator.delete_experiment(control.experiment_id)
    feed = await feed_for(client, unique_name)
    with pytest.raises(LedgerDeletedError, match="restore_experiment"):
        await feed.refresh()
    assert (feed.latest, feed.last_error and feed.last_error.kind) == (None, "ledger")
    await known.refresh()
    assert generation(known) == 2
    await operator.restore_experiment(control.experiment_id)
    await feed.refresh()
    assert generation(feed) == 2
