"""Where and when a client may be used, and what is left when it is closed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.errors import ClientStateError, ConfigurationError, ServerError
from mlflow_utilities.typing import Call
from support.clock import FakeClock
from support.stub_server import STALL, Answer, Received, StubServer, run_stub

pytestmark = pytest.mark.anyio


def version(received: Received) -> Answer:
    """Answer as GET /version does."""
    return Answer(body=b"3.17.2")


@pytest.fixture
def stub() -> Iterator[StubServer]:
    """Give a server."""
    with run_stub(version) as server:
        yield server


@pytest.fixture
def client(stub: StubServer, http_library: str) -> AsyncMlflowClient:
    """Give a client that the test closes."""
    return AsyncMlflowClient(stub.uri, environ={}, http_library=http_library, max_concurrency=1)


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60
    )


async def test_a_closed_client_says_so(stub: StubServer, client: AsyncMlflowClient) -> None:
    """Every call fails before anything is sent; closing again does nothing."""
    await client.server_version()
    await client.aclose()
    await client.aclose()

    with pytest.raises(ClientStateError, match="the client is closed"):
        await client.server_version()
    with pytest.raises(RuntimeError, match="the client is closed"):
        await client.__aenter__()
    await stub.wait_until(lambda server: server.open == 0)
    assert len(stub.requests) == 1


async def test_a_client_that_was_never_used_can_be_closed(stub: StubServer, client: AsyncMlflowClient) -> None:
    """Nothing was opened."""
    await client.aclose()
    assert stub.connections == 0


async def test_a_derived_client_shares_connections_and_their_end(stub: StubServer, client: AsyncMlflowClient) -> None:
    """`with_options` makes no second pool, and closing either closes both."""
    patient = client.with_options(timeout=300)
    await client.server_version()
    await patient.server_version()
    await patient.aclose()

    with pytest.raises(ClientStateError, match="closed"):
        await client.server_version()
    assert stub.connections == 1


async def body_of_a_stream(client: AsyncMlflowClient) -> None:
    """Read a download."""
    async with client.sender.stream(Call("GET", "/file")) as body:
        async for _ in body.iter_bytes():
            pass


async def plain_call(client: AsyncMlflowClient) -> None:
    """Make a call."""
    await client.server_version()


@pytest.mark.parametrize(
    ("answer", "call"),
    [
        (STALL, plain_call),
        (Answer(body=b"x" * 10, cut_after=5, then="stall"), plain_call),
        (Answer(body=b"x" * 10, cut_after=5, then="stall"), body_of_a_stream),
    ],
    ids=["unanswered", "half answered", "streaming"],
)
async def test_closing_ends_a_call_under_way(
    stub: StubServer,
    client: AsyncMlflowClient,
    answer: Answer,
    call: Callable[[AsyncMlflowClient], Awaitable[None]],
) -> None:
    """The call fails with ClientStateError at once, and its connection is closed."""
    stub.script = lambda received: answer

    async def close() -> None:
        await stub.wait_until(lambda server: len(server.requests) == 1)
        await anyio.wait_all_tasks_blocked()
        await client.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close)
        with pytest.raises(ClientStateError, match="closed during the call"):
            await call(client)
    await stub.wait_until(lambda server: server.open == 0)
    assert len(stub.requests) == 1


async def test_closing_ends_calls_that_wait_for_a_connection(stub: StubServer, client: AsyncMlflowClient) -> None:
    """They send nothing."""
    stub.script = lambda received: STALL
    refused: list[ClientStateError] = []

    async def call() -> None:
        with pytest.raises(ClientStateError) as caught:
            await client.server_version()
        refused.append(caught.value)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(call)
        await stub.wait_until(lambda server: len(server.requests) == 1)
        await client.aclose()

    assert (len(refused), len(stub.requests)) == (3, 1)


async def test_closing_ends_the_wait_before_a_repetition(stub: StubServer, http_library: str) -> None:
    """No further attempt is made."""
    stub.script = lambda received: Answer(503, b"")
    waits = anyio.Event()

    class EndlessClock(FakeClock):
        async def sleep(self, seconds: float) -> None:
            waits.set()
            await anyio.sleep_forever()

    client = AsyncMlflowClient(stub.uri, environ={}, http_library=http_library, clock=EndlessClock())

    async def close() -> None:
        await waits.wait()
        await client.aclose()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(close)
        with pytest.raises(ClientStateError, match="closed during the call"):
            await client.server_version()
    assert len(stub.requests) == 1


def test_another_event_loop_is_refused(stub: StubServer, client: AsyncMlflowClient, anyio_backend: str) -> None:
    """Each loop needs a client of its own; closing belongs to the first loop too."""
    anyio.run(client.server_version, backend=anyio_backend)

    with pytest.raises(ClientStateError, match="another event loop"):
        anyio.run(client.server_version, backend=anyio_backend)
    with pytest.raises(ClientStateError, match="another event loop"):
        anyio.run(client.aclose, backend=anyio_backend)
    assert len(stub.requests) == 1


def test_a_forked_child_is_refused(stub: StubServer, http_library: str) -> None:
    """The child gets an error and may close the client, and the parent's connection still works."""
    done = run_script(
        f"""
        import os, anyio
        from mlflow_utilities import AsyncMlflowClient, ClientStateError

        client = AsyncMlflowClient({stub.uri!r}, environ={{}}, http_library={http_library!r})

        async def in_child():
            try:
                await client.server_version()
            except ClientStateError as error:
                assert "forked" in str(error), error
                await client.aclose()
                return 0
            return 1

        async def in_parent():
            await client.server_version()
            child = os.fork()
            if child == 0:
                code = 2
                try:
                    import threading
                    codes = []
                    thread = threading.Thread(target=lambda: codes.append(anyio.run(in_child)))
                    thread.start()
                    thread.join()
                    code = codes[0]
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            await client.server_version()
            await client.aclose()

        anyio.run(in_parent)
        """
    )

    assert done.returncode == 0, done.stderr
    assert (len(stub.requests), stub.connections) == (2, 1)


async def test_clients_with_different_credentials_do_not_mix(stub: StubServer, http_library: str) -> None:
    """Each call carries what its own client was given."""
    options: list[dict[str, Any]] = [
        {"username": "ana", "password": "secret"},
        {"token": "token-1"},
        {"token": lambda: "token-2"},
        {},
    ]
    clients = [AsyncMlflowClient(stub.uri, environ={}, http_library=http_library, **item) for item in options]
    for client in [*clients, *clients]:
        await client.server_version()
    for client in clients:
        await client.aclose()

    sent = [received.headers.get("authorization") for received in stub.requests]
    assert sent == ["Basic YW5hOnNlY3JldA==", "Bearer token-1", "Bearer token-2", None] * 2


async def test_options_are_kept_when_others_are_set(stub: StubServer, http_library: str) -> None:
    """`with_options` changes what it names and nothing else."""
    stub.script = lambda received: Answer(503, b"")
    clock = FakeClock()
    client = AsyncMlflowClient(stub.uri, environ={}, http_library=http_library, clock=clock)
    derived = client.with_options(max_retries=1).with_options(timeout=300)
    with pytest.raises(ServerError):
        await derived.server_version()

    assert len(stub.requests) == 2
    assert derived.state is client.state
    assert (derived.tracking_uri, derived.clock) == (client.tracking_uri, clock)
    stub.forget()
    with pytest.raises(ServerError):
        await client.server_version()
    assert len(stub.requests) == 6
    await client.aclose()


@pytest.mark.parametrize("options", [{"max_retries": -1}, {"max_retries": True}, {"timeout": 0}, {"timeout": "1"}])
def test_options_that_cannot_work_are_refused(client: AsyncMlflowClient, options: dict[str, Any]) -> None:
    """The error names the value."""
    with pytest.raises(ConfigurationError, match="is "):
        client.with_options(**options)


async def test_a_context_manager_closes(stub: StubServer, client: AsyncMlflowClient) -> None:
    """Also when the block fails."""

    async def failing_block() -> None:
        async with client as entered:
            assert entered is client
            await client.server_version()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing_block()
    with pytest.raises(ClientStateError):
        await client.server_version()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_client_is_light_until_it_is_entered(stub: StubServer, backend: str) -> None:
    """Import and construction leave pydantic's models, mlflow and numpy out; entering builds what decoding needs."""
    done = run_script(
        f"""
        import sys, anyio
        from mlflow_utilities import AsyncMlflowClient

        client = AsyncMlflowClient({stub.uri!r}, environ={{}})
        heavy = [name for name in ("pydantic.main", "mlflow", "numpy", "pandas", "requests") if name in sys.modules]
        assert not heavy, heavy

        async def main():
            async with client:
                assert "pydantic.main" in sys.modules
                from mlflow_utilities.entities import Run
                assert Run.__pydantic_complete__
                assert any(name in sys.modules for name in ("httpcore", "httpcore2"))

        anyio.run(main, backend={backend!r})
        assert not [name for name in ("mlflow", "numpy", "pandas", "requests") if name in sys.modules]
        """
    )
    assert done.returncode == 0, done.stderr
