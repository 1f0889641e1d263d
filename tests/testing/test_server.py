"""The in-memory server as clients see it: through both HTTP libraries, by threads, and as it shows itself to a test."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import httpx2
import pytest

from mlflow_utilities import AsyncMlflowClient, NotFoundError, mlflow_api
from mlflow_utilities.entities import LoggedModelInput, LoggedModelOutput
from mlflow_utilities.errors import ConfigurationError
from mlflow_utilities.testing import FakeClock, InMemoryMlflow, UnsupportedByInMemoryMlflow

pytestmark = pytest.mark.anyio
UNSUPPORTED = "/api/3.0/mlflow/traces"


async def ids_given(server: InMemoryMlflow) -> list[str]:
    """Return the ids of some runs that a server makes."""
    client = server.client()
    experiment = await client.create_experiment("fraud")
    return [(await client.create_run(experiment)).info.run_id for _ in range(3)]


async def test_a_client_works_on_it(http_library: str) -> None:
    """What was written is read back, with either HTTP library."""
    server = InMemoryMlflow()
    async with server.client(http_library=http_library) as client:
        experiment = await client.create_experiment("fraud")
        run = await client.create_run(experiment)
        await client.log_metric(run.info.run_id, "auc", 0.9)

        assert (await client.get_run(run.info.run_id)).data.metrics == {"auc": 0.9}


async def test_a_client_needs_no_block() -> None:
    """A client that was neither entered nor closed leaves nothing behind that warns."""
    assert await InMemoryMlflow().client().get_experiment_by_name("none") is None


def test_a_client_may_be_made_before_the_event_loop() -> None:
    """A client made in synchronous code works in the event loop that first uses it."""
    server = InMemoryMlflow()
    client = server.client()

    anyio.run(client.create_experiment, "fraud")

    assert "fraud" in {experiment.name for experiment in server.state.experiments.values()}


async def test_errors_are_those_of_mlflow(http_library: str) -> None:
    """What does not exist is answered with MLflow's error."""
    client = InMemoryMlflow().client(http_library=http_library)

    with pytest.raises(NotFoundError) as caught:
        await client.get_run("0" * 32)

    assert caught.value.error_code == "RESOURCE_DOES_NOT_EXIST"


async def test_your_own_http_client_takes_the_transport() -> None:
    """The transport goes into an AsyncClient of httpx and of httpx2 that a test makes."""
    server = InMemoryMlflow()
    for library in (httpx, httpx2):
        async with library.AsyncClient(transport=server.transport(library.__name__)) as http_client:
            answer = await http_client.get(f"{server.tracking_uri}/version")
            assert (answer.status_code, answer.text) == (200, "3.17.2")
            client = AsyncMlflowClient(server.tracking_uri, http_client=http_client)
            assert await client.get_experiment("0")


async def test_another_library_is_refused() -> None:
    """A library that is not supported is named in the error."""
    with pytest.raises(ConfigurationError, match="'requests'"):
        InMemoryMlflow().transport("requests")


async def test_requests_are_recorded() -> None:
    """Each request shows its method, endpoint, query, JSON and the status of its answer, but no credentials."""
    server = InMemoryMlflow()
    client = server.client(token="secret")
    await client.create_experiment("fraud", tags={"team": "a"})
    await client.get_experiment_by_name("none")

    created, asked = server.requests
    assert (created.number, created.method, created.endpoint) == (1, "POST", "experiments/create")
    assert created.json["name"] == "fraud"
    assert created.path == "/api/2.0/mlflow/experiments/create"
    assert created.status == 200
    assert (asked.query, asked.json, asked.status) == ({"experiment_name": ["none"]}, None, 404)
    assert created.request.headers["authorization"] == "Bearer secret"
    assert "secret" not in repr(created)
    assert server.lines == ["POST experiments/create", "GET experiments/get-by-name"]

    server.forget_requests()
    assert server.requests == []


async def test_ids_depend_on_the_seed_alone() -> None:
    """The same seed gives the same ids, another seed other ones."""
    first, again, other = [await ids_given(InMemoryMlflow(seed=seed)) for seed in (1, 1, 2)]

    assert first == again
    assert set(first).isdisjoint(other)


async def test_servers_have_addresses_of_their_own() -> None:
    """Two servers with the same ids have different addresses, so that no cache takes one for the other."""
    assert InMemoryMlflow().tracking_uri != InMemoryMlflow().tracking_uri


async def test_the_clock_is_shared_with_clients() -> None:
    """The server's times and the client's waiting are those of the clock that was given."""
    clock = FakeClock(now_ms=1_800_000_000_000)
    server = InMemoryMlflow(clock=clock)
    client = server.client()
    experiment = await client.create_experiment("fraud")
    clock.advance(1.5)

    run = await client.create_run(experiment)

    assert client.clock is clock
    assert run.info.start_time == 1_800_000_001_500
    assert (await client.get_experiment(experiment)).creation_time == 1_800_000_000_000


async def test_the_environment_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials and settings of the machine do not reach a client of the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of the machine")
    server = InMemoryMlflow()

    await server.client().get_experiment("0")

    assert "authorization" not in server.requests[0].request.headers
    assert server.client().user == "tester"


async def test_artifacts_are_streamed_both_ways(http_library: str, tmp_path: Path) -> None:
    """A file of several pieces goes up and comes down unchanged."""
    content = bytes(range(256)) * 2000
    (tmp_path / "data.bin").write_bytes(content)
    server = InMemoryMlflow()
    client = server.client(http_library=http_library)
    run = await client.create_run(await client.create_experiment("fraud"))

    await client.log_artifact(run.info.run_id, tmp_path / "data.bin")
    (tmp_path / "down").mkdir()
    fetched = await client.download_artifacts(run.info.run_id, "data.bin", tmp_path / "down")

    assert Path(fetched).read_bytes() == content
    assert list(server.state.artifacts.values()) == [content]


async def test_a_body_of_another_length_is_refused(http_library: str) -> None:
    """A body that is not as long as its Content-Length cannot be sent, as on a connection."""
    library: Any = httpx if http_library == "httpx" else httpx2
    server = InMemoryMlflow()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"abc"

    async with server.http_client(http_library) as http_client:
        with pytest.raises(library.LocalProtocolError, match="3 bytes"):
            await http_client.put(
                f"{server.tracking_uri}/api/2.0/mlflow-artifacts/artifacts/a",
                content=pieces(),
                headers={"content-length": "5"},
            )
    assert server.requests == []


async def test_what_is_not_imitated_reaches_the_test_at_once(http_library: str) -> None:
    """The error comes out of the client as it is, after one request, and is remembered."""
    server = InMemoryMlflow()
    client = server.client(http_library=http_library)

    with pytest.raises(UnsupportedByInMemoryMlflow, match="traces"):
        await client.request("GET", UNSUPPORTED)

    assert len(server.requests) == 1
    assert "traces" in server.unsupported[0]
    assert await client.get_experiment("0")


async def test_tasks_share_it() -> None:
    """Many tasks that write at once lose nothing."""
    server = InMemoryMlflow()
    client = server.client()
    run_id = (await client.create_run(await client.create_experiment("fraud"))).info.run_id

    async with anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(client.set_tag, run_id, f"tag-{number}", number)

    tags = server.state.runs[run_id].tags
    assert [tags[f"tag-{number}"] for number in range(50)] == [str(number) for number in range(50)]


async def test_threads_share_it() -> None:
    """Event loops in several threads get runs with different ids from one server."""
    server = InMemoryMlflow()
    experiment = await server.client().create_experiment("fraud")

    async def make() -> None:
        client = server.client()
        for _ in range(20):
            await client.create_run(experiment)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(anyio.to_thread.run_sync, functools.partial(anyio.run, make))

    assert len(server.state.runs) == 80
    assert sorted(request.number for request in server.requests) == list(range(1, 82))


async def test_two_operators_cannot_both_win(mlflow_server: InMemoryMlflow, rollout_test_data: Any) -> None:
    """The ledger's write-once rule holds: of two changes made on the same generation one is refused or comes second."""
    data = rollout_test_data("fraud")
    one, other = data.run("1.0.0").active(), data.run("1.0.0")
    await data.apply()

    async with anyio.create_task_group() as tasks:
        for run in (one, other):
            tasks.start_soon(functools.partial(mlflow_api.enable_run, run.run_id, client=mlflow_server.client()))

    history = await mlflow_api.rollout_history(experiment_name="fraud", client=mlflow_server.client())
    assert [entry.generation for entry in history] == list(range(1, len(history) + 1))
    assert [len(entry.live) for entry in history] == [1] * len(history)


async def test_the_models_of_a_run_are_listed_by_their_ids() -> None:
    """As on a real server, which says nothing of the order in which they were logged."""
    client = InMemoryMlflow().client()
    experiment = await client.create_experiment("fraud")
    run_id = (await client.create_run(experiment)).info.run_id
    models = [(await client.create_logged_model(experiment, "model")).model_id for _ in range(4)]
    assert models != sorted(models)

    for model in models:
        await client.log_outputs(run_id, [LoggedModelOutput(model_id=model)])
        await client.log_inputs(run_id, models=[LoggedModelInput(model_id=model)])

    run = await client.get_run(run_id)
    assert [output.model_id for output in run.outputs.model_outputs] == sorted(models)
    assert [given.model_id for given in run.inputs.model_inputs] == sorted(models)
