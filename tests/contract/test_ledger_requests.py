"""How many requests, and bytes, the rollout costs a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from mlflow_utilities.rollout.codec import decode_slot, encode_document
from mlflow_utilities.rollout.document import Document, slot_key
from mlflow_utilities.rollout.experiments import known_ledger
from support.ledgers import ledger_runs, new_clock, with_generations
from support.runs import make_project, make_run
from support.transports import FaultTransport, faulty_client

pytestmark = pytest.mark.anyio


@pytest.fixture
async def counted(server_uri: str) -> AsyncGenerator[tuple[AsyncMlflowClient, FaultTransport]]:
    """Give a client whose requests are counted."""
    async with faulty_client(server_uri, clock=new_clock()) as (client, transport):
        yield client, transport


@pytest.fixture
async def maker(server_uri: str) -> AsyncGenerator[AsyncMlflowClient]:
    """Give another client."""
    async with AsyncMlflowClient(server_uri, clock=new_clock()) as client:
        yield client


async def test_a_listing_of_active_runs(
    unique_name: str, maker: AsyncMlflowClient, counted: tuple[AsyncMlflowClient, FaultTransport]
) -> None:
    """Two requests once the client has seen the submodel, two to four more at first contact."""
    client, transport = counted
    project = await with_generations(maker, unique_name, 1, runs=4)
    weights = dict.fromkeys(project.runs[1:], 1.0)
    await mlflow_api.update_active_runs(weights, "1.0.0", project.experiment_id, client=maker)

    async def listed() -> list[str]:
        transport.forget()
        found = await mlflow_api.list_runs("1.0.0", experiment_name=unique_name, active_state="Active", client=client)
        assert {run.run_id for run in found} == set(weights)
        return transport.lines

    lookup, control = ["GET experiments/get-by-name"] * 2
    assert await listed() == [lookup, control, "GET runs/get", "GET runs/get", "POST runs/search"]
    assert await listed() == ["GET runs/get", "POST runs/search"]
    assert await listed() == ["GET runs/get", "POST runs/search"]


STEADY = ["GET runs/get", "GET runs/get", "POST runs/log-parameter", "GET runs/get", "POST runs/log-batch"]


async def test_a_change_of_status(
    unique_name: str, maker: AsyncMlflowClient, counted: tuple[AsyncMlflowClient, FaultTransport]
) -> None:
    """Five requests: the run, the end of the ledger, the commit, its reading back, its projection; again: two."""
    client, transport = counted
    project = await with_generations(maker, unique_name, 1, runs=3)
    await mlflow_api.list_runs(None, project.experiment_id, client=client)
    made: list[list[str]] = []
    for run, status, share in [
        (project.runs[1], "Canary", 0.5),
        (project.runs[1], "New", None),
        (project.runs[2], "Canary", None),
        (project.runs[2], "Canary", 0.25),
    ]:
        transport.forget()
        rollout = await mlflow_api.change_status(run, status, share, client=client)
        assert (rollout.written, rollout.projected, list(rollout.changes)) == (True, True, [run])
        made.append(transport.lines)
    transport.forget()
    again = await mlflow_api.change_status(project.runs[2], "Canary", 0.25, client=client)

    assert made == [STEADY] * 4
    assert not again.written
    assert transport.lines == STEADY[:2]


async def test_a_steady_poll(
    server_uri: str, unique_name: str, maker: AsyncMlflowClient, counted: tuple[AsyncMlflowClient, FaultTransport]
) -> None:
    """One GET of at most 16 kB, with 16 generations of four models and their reasons in the ledger run."""
    client, transport = counted
    project = await make_project(maker, unique_name, 4)
    weights = dict(zip(project.runs, (0.4, 0.3, 0.2, 0.1), strict=True))
    await mlflow_api.update_active_runs(
        weights, "1.0.0", project.experiment_id, client=maker, why="champion and challenger"
    )
    (run,) = await ledger_runs(maker, project)
    first = decode_slot(run.data.params[slot_key(1)], 1)
    assert isinstance(first, Document)
    for number in range(2, 17):
        value = encode_document(replace(first, generation=number, parent=number - 1, op=f"{number:016x}"))
        await maker.log_param(run.info.run_id, slot_key(number), value)
    await mlflow_api.list_runs(None, project.experiment_id, client=client)
    ledger = known_ledger(client, project.experiment_id, unique_name)
    assert ledger is not None
    transport.forget()

    tip = await ledger.walk(client)

    assert (tip.slots, tip.document and tip.document.generation) == (16, 16)
    assert transport.lines == ["GET runs/get"]
    async with httpx.AsyncClient() as plain:
        answer = await plain.get(str(transport.requests[0].url))
    assert run.info.run_id.encode() in answer.content
    assert 10_000 < len(answer.content) <= 16_000


FIRST = [
    "GET runs/get",  # the run, which says of which experiment it is
    "GET experiments/get",
    "GET experiments/get-by-name",  # no control experiment
    "POST runs/search",  # nothing live from before
    "GET experiments/get-by-name",
    "POST experiments/create",
    "POST runs/create",
    "POST experiments/set-experiment-tag",
    "POST experiments/update",
    "GET experiments/get-by-name",
    "GET runs/get",  # the index: empty
    "POST runs/search",
    "GET runs/get",  # the run again, as it is after the election
    "POST runs/create",
    "POST runs/log-parameter",
    "GET runs/get",
    "POST runs/log-parameter",
    "POST experiments/set-experiment-tag",
    "POST runs/log-batch",
]


async def test_the_first_commit_of_all(
    unique_name: str, maker: AsyncMlflowClient, counted: tuple[AsyncMlflowClient, FaultTransport]
) -> None:
    """Once in the life of an experiment nineteen requests; the first commit of its next submodel ten."""
    client, transport = counted
    project = await make_project(maker, unique_name, 1)
    other = await make_run(maker, project.experiment_id, "other")

    await mlflow_api.enable_run(project.runs[0], client=client)
    assert transport.lines == FIRST
    transport.forget()
    await mlflow_api.enable_run(other, client=client)
    assert len(transport.lines) == 10


async def test_a_commit_to_a_new_ledger_run(
    unique_name: str, maker: AsyncMlflowClient, counted: tuple[AsyncMlflowClient, FaultTransport]
) -> None:
    """One in sixteen commits makes a run and points to it, four requests more; listings cost what they did."""
    client, transport = counted
    project = await with_generations(maker, unique_name, 16)
    await mlflow_api.list_runs(None, project.experiment_id, client=client)
    transport.forget()

    assert (await mlflow_api.canary_run(project.runs[1], client=client)).generation == 17

    assert transport.lines == [
        "GET runs/get",
        "GET runs/get",
        "POST runs/create",
        "POST runs/log-parameter",
        "GET runs/get",
        "POST runs/log-parameter",
        "POST experiments/set-experiment-tag",
        "POST runs/update",
        "POST runs/log-batch",
    ]
    transport.forget()
    await mlflow_api.list_runs(None, project.experiment_id, active_state="Active", client=client)
    await mlflow_api.list_runs(None, project.experiment_id, active_state="Active", client=client)
    assert transport.lines == ["GET runs/get"] * 4
