"""The in-memory server as an ASGI app: served by uvicorn, mounted, and in Starlette's test client."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from mlflow_utilities import AsyncMlflowClient, InvalidInputError, MlflowConnectionError, Timeout
from mlflow_utilities.testing import Fault, InMemoryMlflow

TRACES = "/api/3.0/mlflow/traces"


@contextlib.contextmanager
def served(app: InMemoryMlflow) -> Iterator[str]:
    """Serve on loopback by uvicorn in a thread until the block ends."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def app() -> InMemoryMlflow:
    """Give the app that is served."""
    return InMemoryMlflow()


@pytest.fixture(scope="module")
def uri(app: InMemoryMlflow) -> Iterator[str]:
    """Give its address."""
    with served(app) as address:
        yield address


@pytest.fixture(autouse=True)
def nothing_wrong(app: InMemoryMlflow) -> Iterator[None]:
    """Begin each test without faults and requests."""
    app.forget_requests()
    yield
    app.faults.clear()


@pytest.mark.anyio
async def test_a_client_works_on_it_over_http(
    app: InMemoryMlflow, uri: str, http_library: str, unique_name: str, tmp_path: Path
) -> None:
    """Runs and artifacts of several pieces go up and come down through a web server."""
    content = b"0123456789" * 50_000
    (tmp_path / "data.bin").write_bytes(content)
    async with AsyncMlflowClient(uri, http_library=http_library) as client:
        run = await client.create_run(await client.create_experiment(unique_name))
        await client.log_artifact(run.info.run_id, tmp_path / "data.bin")
        (tmp_path / "down").mkdir()
        fetched = await client.download_artifacts(run.info.run_id, "data.bin", tmp_path / "down")

    assert Path(fetched).read_bytes() == content
    assert app.lines[0] == "POST experiments/create"


@pytest.mark.anyio
async def test_callers_share_it(app: InMemoryMlflow, uri: str, unique_name: str) -> None:
    """Many callers at once are all answered."""
    async with AsyncMlflowClient(uri, max_concurrency=16) as client:
        experiment = await client.create_experiment(unique_name)
        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(client.create_run, experiment)

        assert len(await client.search_runs([experiment])) == 40


@pytest.mark.anyio
async def test_what_is_not_imitated_is_answered_501_and_remembered(app: InMemoryMlflow, uri: str) -> None:
    """The answer names what is missing in MLflow's form, and the app lists it."""
    async with httpx.AsyncClient() as http_client:
        answer = await http_client.get(f"{uri}{TRACES}")

    assert answer.status_code == 501
    assert answer.json()["error_code"] == "NOT_IMPLEMENTED"
    assert "traces" in answer.json()["message"]
    assert "traces" in app.unsupported[-1]


@pytest.mark.anyio
@pytest.mark.parametrize("fault", [Fault.cut(5), Fault.lost_answer()], ids=lambda fault: fault.description)
async def test_a_connection_breaks(app: InMemoryMlflow, uri: str, fault: Fault) -> None:
    """The client sees a broken connection, and the next call succeeds."""
    app.faults.add(fault, times=None)
    async with AsyncMlflowClient(uri, max_retries=0) as client:
        with pytest.raises(MlflowConnectionError):
            await client.get_experiment("0")
        app.faults.clear()

        assert await client.get_experiment("0")


@pytest.mark.anyio
async def test_a_status_and_a_slow_answer(app: InMemoryMlflow, uri: str) -> None:
    """A 503 is answered over HTTP with its header; an answer in small pieces arrives whole."""
    app.faults.add(Fault.status(503, retry_after=0))
    app.faults.add(Fault.slow(chunk_bytes=7, seconds=0.0))
    async with AsyncMlflowClient(uri) as client:
        assert (await client.get_experiment("0")).name == "Default"

    assert [request.status for request in app.requests] == [503, 200]


@pytest.mark.anyio
async def test_a_client_that_gives_up_ends_a_stall(app: InMemoryMlflow, uri: str) -> None:
    """The stalled request goes when its client does, and the server can stop."""
    stall = app.faults.add(Fault.stall())
    async with AsyncMlflowClient(uri, timeout=Timeout(read=None, total=None)) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.get_experiment, "0")
            await stall.wait_hit()
            tasks.cancel_scope.cancel()

        assert await client.get_experiment("0")


@pytest.mark.anyio
async def test_a_refused_connection_is_refused_when_added(app: InMemoryMlflow, uri: str) -> None:
    """What an ASGI app cannot do is an error once it serves; added before, it is answered 501."""
    with TestClient(InMemoryMlflow()) as web:
        fresh: Any = web.app
        fresh.faults.add(Fault.refused())
        assert web.get("/version").status_code == 501

    async with httpx.AsyncClient() as http_client:
        await http_client.get(f"{uri}/version")
    with pytest.raises(InvalidInputError, match="cannot refuse a connection"):
        app.faults.add(Fault.refused())


def test_it_can_be_mounted() -> None:
    """Below a prefix of another app, paths are those of MLflow."""
    server = InMemoryMlflow()
    web = TestClient(Starlette(routes=[Mount("/mlflow", app=server)]))

    answer = web.get("/mlflow/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"})

    assert answer.json()["experiment"]["name"] == "Default"
    assert server.lines == ["GET experiments/get"]


def test_it_is_for_http_alone() -> None:
    """A web socket is refused with a clear error."""
    with pytest.raises(NotImplementedError, match="websocket"):
        with TestClient(InMemoryMlflow()).websocket_connect("/"):
            pass
