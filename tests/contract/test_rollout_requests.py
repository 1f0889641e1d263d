"""How many requests the verbs make, and how large a poll is."""

from __future__ import annotations

import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from mlflow_utilities.mlflow_api.calls import find_ledger
from support.runs import Project, make_project
from support.transports import FaultTransport, faulty_client

pytestmark = pytest.mark.anyio

LARGEST_POLL = 16_000


@pytest.fixture
async def project(server_uri: str, unique_name: str) -> Project:
    """Give an experiment with four finished runs of version 1.0.0."""
    async with AsyncMlflowClient(server_uri) as client:
        return await make_project(client, unique_name, 4)


async def test_in_the_steady_state_verbs_make_few_requests(server_uri: str, project: Project) -> None:
    """Listing makes 2, a change of one run 5 with its reading back and projection, a poll 1."""
    a, b, *_ = project.runs
    async with faulty_client(server_uri) as (client, transport):

        async def lines(work: object) -> list[str]:
            transport.forget()
            await work  # type: ignore[misc]
            return transport.lines

        await mlflow_api.enable_run(a, client=client)
        listed = await lines(mlflow_api.list_runs("^1", project.experiment_id, active_state="Active", client=client))
        everything = await lines(mlflow_api.list_models(None, project.experiment_id, client=client))
        changed = await lines(mlflow_api.change_status(b, "Canary", client=client))
        unchanged = await lines(mlflow_api.change_status(b, "Canary", client=client))
        ledger = await find_ledger(client, project.experiment_id, None, None)
        polled = await lines(ledger.walk(client))

    assert listed == ["GET runs/get", "GET runs/get"]
    assert everything == ["GET runs/get", "POST runs/search"]
    assert changed == [
        "GET runs/get", "GET runs/get", "POST runs/log-parameter", "GET runs/get", "POST runs/log-batch",
    ]  # fmt: skip
    assert unchanged == ["GET runs/get", "GET runs/get"]
    assert polled == ["GET runs/get"]


async def test_a_split_costs_one_search_and_one_projection_a_run(server_uri: str, project: Project) -> None:
    """The walk, the runs, the claim, its reading back, and a projection for each run that changed."""
    async with faulty_client(server_uri) as (client, transport):
        await mlflow_api.enable_run(project.runs[0], client=client)
        transport.forget()
        weights = dict.fromkeys(project.runs, 1.0)
        await mlflow_api.update_active_runs(weights, "1.0.0", project.experiment_id, client=client)

    assert transport.lines[:4] == [
        "GET runs/get", "POST runs/search", "POST runs/log-parameter", "GET runs/get",
    ]  # fmt: skip
    assert transport.lines[4:] == ["POST runs/log-batch"] * 4


class Weighing(FaultTransport):
    """Remembers the size of the last answer in bytes."""

    size = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send and weigh."""
        response = await super().handle_async_request(request)
        self.size = len(await response.aread())
        return response


async def test_a_poll_of_a_full_ledger_run_is_small(server_uri: str, project: Project) -> None:
    """16 generations of a rollout of four models, with reasons, take one GET of at most 16 kB."""
    transport = Weighing()
    async with httpx.AsyncClient(transport=transport) as http_client:
        client = AsyncMlflowClient(server_uri, http_client=http_client)
        for number in range(16):
            weights = {run: 1.0 + (number + place) % 4 for place, run in enumerate(project.runs)}
            rollout = await mlflow_api.update_active_runs(
                weights, "1.0.0", project.experiment_id, client=client, why="ramp up the challenger"
            )
        ledger = await find_ledger(client, project.experiment_id, None, None)
        transport.forget()
        tip = await ledger.walk(client)
        await client.aclose()

    assert (rollout.generation, tip.document and tip.document.generation) == (16, 16)
    assert transport.lines == ["GET runs/get"]
    assert transport.size <= LARGEST_POLL


async def test_first_contact(server_uri: str, project: Project) -> None:
    """A reader that knows nothing looks up both experiments, proves the hint, reads the ledger, then the runs."""
    async with faulty_client(server_uri) as (client, first):
        await mlflow_api.enable_run(project.runs[0], client=client)
    async with faulty_client(server_uri) as (client, transport):
        await mlflow_api.list_runs(None, experiment_name=project.name, client=client)

    by_name, run = "GET experiments/get-by-name", "GET runs/get"
    assert transport.lines == [by_name, by_name, run, run, "POST runs/search"]
    assert len(first.lines) <= 22
