"""Requests of a commit that are refused, lost, shortened, out of date or cancelled: done once, or said clearly."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from mlflow_utilities.errors import LedgerTruncatedError
from support.ledgers import (
    chain_documents,
    control_of,
    ledger_runs,
    live_now,
    new_clock,
    once,
    statuses,
    with_generations,
)
from support.runs import Project, make_project
from support.transports import Fault, FaultTransport, faulty_client

pytestmark = pytest.mark.anyio

MOST_REQUESTS = 40
Prepare = Callable[[AsyncMlflowClient, str], Awaitable[Project]]


async def one_generation(client: AsyncMlflowClient, name: str) -> Project:
    """Make a project whose first run is Active."""
    return await with_generations(client, name, 1)


async def full_run(client: AsyncMlflowClient, name: str) -> Project:
    """Make a project whose ledger run is full."""
    return await with_generations(client, name, 16)


async def no_ledger(client: AsyncMlflowClient, name: str) -> Project:
    """Make a project that never had a rollout."""
    return await make_project(client, name, 1)


PLACES: dict[str, tuple[Prepare, int]] = {
    "in place": (one_generation, 2),
    "the first commit": (no_ledger, 1),
    "to a new run": (full_run, 17),
}


# On asyncio alone: a hundred projects are made, and what is tested is what the server holds.
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("place", "fault"),
    [*((place, Fault.LOSE_ANSWER) for place in PLACES), ("the first commit", Fault.REFUSE)],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
async def test_every_request_in_turn(place: str, fault: Fault, server_uri: str, unique_name: str) -> None:
    """Whichever answer is lost or connection refused, the commit is reported as done, and is one generation."""
    prepare, generation = PLACES[place]
    broken: list[str] = []
    async with AsyncMlflowClient(server_uri, clock=new_clock()) as maker:
        for number in range(1, MOST_REQUESTS):
            project = await prepare(maker, f"{unique_name}-{number}")
            run = project.runs[-1]
            async with faulty_client(server_uri, once(fault, number), clock=new_clock()) as (client, transport):
                rollout = await mlflow_api.enable_run(run, client=client, why=f"with {number} broken")
                made = transport.lines
                again = await mlflow_api.enable_run(run, client=client)
            history = await mlflow_api.rollout_history(experiment_id=project.experiment_id, client=maker)

            assert (rollout.generation, rollout.written, rollout.projected) == (generation, True, True)
            assert (again.generation, again.written) == (generation, False)
            assert [entry.generation for entry in history] == list(range(1, generation + 1))
            assert [entry.why for entry in history].count(f"with {number} broken") == 1
            assert await live_now(server_uri, project) == {run: 1.0}
            assert (await maker.get_run(run)).data.tags["active_state"] == "Active"
            if number > len(made):
                break
            broken.append(made[number - 1])
    assert broken.count("POST runs/log-parameter") == (1 if place == "in place" else 2)
    assert broken[-1] == "POST runs/log-batch"


class ShorteningTransport(FaultTransport):
    """A server that keeps 500 characters of a param."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Shorten the value on its way."""
        if request.url.path.endswith("/runs/log-parameter"):
            body = json.loads(request.content)
            headers = {"content-type": "application/json", "host": request.headers["host"]}
            request = httpx.Request(
                request.method,
                request.url,
                headers=headers,
                content=json.dumps(body | {"value": body["value"][:500]}).encode(),
                extensions=request.extensions,
            )
        return await super().handle_async_request(request)


async def test_a_server_that_shortens_values(server_uri: str, unique_name: str) -> None:
    """The first commit fails with the ledger still empty; a later one burns its slot, which the next one skips."""
    async with (
        httpx.AsyncClient(transport=ShorteningTransport()) as http_client,
        AsyncMlflowClient(server_uri, clock=new_clock()) as good,
    ):
        short = AsyncMlflowClient(server_uri, http_client=http_client, clock=new_clock())
        project = await make_project(good, unique_name, 3)

        async def split(client: AsyncMlflowClient, first: float) -> mlflow_api.Rollout:
            weights = dict(zip(project.runs, (first, 1, 1), strict=True))
            return await mlflow_api.update_active_runs(
                weights, "1.0.0", project.experiment_id, client=client, why="a long reason " * 10
            )

        with pytest.raises(LedgerTruncatedError, match="keeps 500 of"):
            await split(short, 2)
        index = (await control_of(good, project)).tags["rollouts.index"]
        assert (await good.get_run(index)).data.params == {}
        assert await ledger_runs(good, project) == []
        assert (await split(good, 2)).generation == 1

        with pytest.raises(LedgerTruncatedError, match="skipped"):
            await split(short, 6)
        assert (await live_now(server_uri, project))[project.runs[0]] == 0.5
        assert (await split(good, 6)).generation == 3
        assert chain_documents(await ledger_runs(good, project))[3]["parent"] == 1
        assert (await live_now(server_uri, project))[project.runs[0]] == 0.75
        await short.aclose()


class LateReplica(FaultTransport):
    """A server of which some reads of a run are answered as they were a while ago."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, bytes] = {}
        self.stale = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer runs/get from memory while `stale` is above 0."""
        if not request.url.path.endswith("/runs/get"):
            return await super().handle_async_request(request)
        key = str(request.url)
        if self.stale and key in self.kept:
            self.stale -= 1
            self.requests.append(request)
            return httpx.Response(200, content=self.kept[key])
        response = await super().handle_async_request(request)
        self.kept[key] = await response.aread()
        return httpx.Response(response.status_code, content=self.kept[key])


async def test_a_listing_whose_ledger_is_out_of_date(server_uri: str, unique_name: str) -> None:
    """A run that shows a later generation than the document makes it look again, so that no half is listed."""
    replica = LateReplica()
    async with (
        httpx.AsyncClient(transport=replica) as http_client,
        AsyncMlflowClient(server_uri, clock=new_clock()) as writer,
    ):
        reader = AsyncMlflowClient(server_uri, http_client=http_client, clock=new_clock())
        project = await make_project(writer, unique_name, 2)
        await mlflow_api.enable_run(project.runs[0], client=writer)
        assert await statuses(reader, project) == {project.runs[0]: ("Active", 1.0), project.runs[1]: ("New", 0.0)}
        await mlflow_api.enable_run(project.runs[1], client=writer)
        replica.forget()
        replica.stale = 2

        found = await statuses(reader, project)

        assert found == {project.runs[0]: ("Disabled", 0.0), project.runs[1]: ("Active", 1.0)}
        both = ["GET runs/get", "POST runs/search"]
        assert replica.lines == [*both, "GET experiments/get-by-name", *both, *both]
        await reader.aclose()


async def test_a_listing_that_never_comes_up_to_date(server_uri: str, unique_name: str) -> None:
    """It shows what the older document has live as a whole, and never goes back behind a later one."""
    replica = LateReplica()
    async with (
        httpx.AsyncClient(transport=replica) as http_client,
        AsyncMlflowClient(server_uri, clock=new_clock()) as writer,
    ):
        reader = AsyncMlflowClient(server_uri, http_client=http_client, clock=new_clock())
        project = await make_project(writer, unique_name, 2)
        await mlflow_api.enable_run(project.runs[0], client=writer)
        await statuses(reader, project)
        await mlflow_api.enable_run(project.runs[1], client=writer)
        replica.stale = 99

        old = await statuses(reader, project)
        replica.stale = 0
        kept = dict(replica.kept)
        new = await statuses(reader, project)
        replica.kept, replica.stale = kept, 99
        still = await statuses(reader, project)

        assert {run: share for run, (status, share) in old.items() if status == "Active"} == {project.runs[0]: 1.0}
        assert new == still == {project.runs[0]: ("Disabled", 0.0), project.runs[1]: ("Active", 1.0)}
        await reader.aclose()


class CancellingTransport(FaultTransport):
    """Cancels the caller at one request, once the server has answered it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.scope, self.number = anyio.CancelScope(), number

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and cancel where it is due."""
        response = await super().handle_async_request(request)
        if len(self.requests) == self.number:
            await response.aread()
            self.scope.cancel()
            await checkpoint()
        return response


@pytest.mark.parametrize("place", ["in place", "the first commit"])
async def test_a_caller_that_is_cancelled_at_any_request(place: str, server_uri: str, unique_name: str) -> None:
    """The same client makes the call again and finishes it, in one generation, at the place where it was."""
    prepare, generation = PLACES[place]
    async with AsyncMlflowClient(server_uri, clock=new_clock()) as maker:
        for number in range(1, MOST_REQUESTS):
            project = await prepare(maker, f"{unique_name}-{number}")
            transport = CancellingTransport(number)
            async with httpx.AsyncClient(transport=transport) as http_client:
                client = AsyncMlflowClient(server_uri, http_client=http_client, clock=new_clock())
                with transport.scope:
                    await mlflow_api.enable_run(project.runs[-1], client=client)
                rollout = await mlflow_api.enable_run(project.runs[-1], client=client)
                await client.aclose()
            history = await mlflow_api.rollout_history(experiment_id=project.experiment_id, client=maker)

            assert rollout.generation == generation
            assert [entry.generation for entry in history] == list(range(1, generation + 1))
            assert await live_now(server_uri, project) == {project.runs[-1]: 1.0}
            if not transport.scope.cancelled_caught:
                assert number > 5
                return
    raise AssertionError("it was cancelled every time")
