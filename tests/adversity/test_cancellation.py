"""Callers that go away at any moment: nothing is left behind, and later calls work."""

from __future__ import annotations

import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import anyio.abc
import pytest
from anyio.lowlevel import checkpoint

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.typing import Call
from support.stub_server import STALL, Answer, Received, StubServer, run_stub

pytestmark = pytest.mark.anyio

CALLERS = 20
CALLS = 5000
CONCURRENCY = 10
VERSION = Answer(body=b"3.17.2")


def answers_of_all_kinds(received: Received) -> Answer:
    """Close every seventh connection after the answer, so that some calls have to connect."""
    return Answer(body=b"3.17.2", then="close") if received.number % 7 == 0 else VERSION


@pytest.fixture
def stub() -> Iterator[StubServer]:
    """Give a server."""
    with run_stub(answers_of_all_kinds) as server:
        yield server


async def cancelled_after(call: Callable[[], Awaitable[object]], turns: int) -> bool:
    """Cancel a call after as many turns of the event loop; return whether it had not ended before."""
    done = False
    scope = anyio.CancelScope()

    async def run() -> None:
        nonlocal done
        with scope:
            await call()
            done = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        for _ in range(turns):
            await checkpoint()
            if done:
                break
        scope.cancel()
    return not done


async def test_cancelled_calls_leave_nothing_behind(
    stub: StubServer, http_library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 5,000 calls cancelled at random moments, 100 calls succeed; no connection, task or file is left."""
    rng = random.Random(20_240_229)
    cancelled = 0
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    async with AsyncMlflowClient(stub.uri, http_library=http_library, max_concurrency=CONCURRENCY) as client:
        tasks = len(anyio.get_running_tasks())

        async def caller(seed: int) -> None:
            nonlocal cancelled
            own = random.Random(seed)
            for _ in range(CALLS // CALLERS):
                while not await cancelled_after(client.server_version, own.randrange(20)):
                    pass  # it had ended before: another one instead
                cancelled += 1

        async with anyio.create_task_group() as callers:
            for _ in range(CALLERS):
                callers.start_soon(caller, rng.getrandbits(32))
        assert cancelled == CALLS

        with anyio.fail_after(30):
            for _ in range(10):
                async with anyio.create_task_group() as callers:
                    for _ in range(10):
                        callers.start_soon(client.server_version)
        assert len(anyio.get_running_tasks()) == tasks
        await stub.wait_until(lambda server: server.open <= CONCURRENCY)

    await stub.wait_until(lambda server: server.open == 0)
    assert list(folder.iterdir()) == []


async def start(tasks: anyio.abc.TaskGroup, call: Callable[[], Awaitable[object]], times: int) -> None:
    """Start a call several times."""
    for _ in range(times):
        tasks.start_soon(call)


async def test_a_cancelled_tls_handshake_closes_its_socket(http_library: str) -> None:
    """A server that never finishes the handshake sees the connections of cancelled callers closed."""
    with run_stub() as stub:
        uri = stub.uri.replace("http:", "https:")
        async with AsyncMlflowClient(uri, http_library=http_library, verify=False) as client:
            async with anyio.create_task_group() as callers:
                await start(callers, client.server_version, 5)
                await stub.wait_until(lambda server: server.open == 5)
                callers.cancel_scope.cancel()

            await stub.wait_until(lambda server: server.open == 0)
            assert stub.requests == []


async def test_a_caller_cancelled_while_all_connections_are_busy_sends_nothing(http_library: str) -> None:
    """A call that waits for a connection and is cancelled does not reach the server, and takes no connection."""
    with run_stub(lambda received: STALL) as stub:
        async with AsyncMlflowClient(stub.uri, http_library=http_library, max_concurrency=2) as client:
            async with anyio.create_task_group() as busy:
                await start(busy, client.server_version, 2)
                await stub.wait_until(lambda server: len(server.requests) == 2)
                async with anyio.create_task_group() as waiting:
                    await start(waiting, client.server_version, 3)
                    await anyio.wait_all_tasks_blocked()
                    waiting.cancel_scope.cancel()
                stub.script = lambda received: VERSION
                busy.cancel_scope.cancel()

            assert len(stub.requests) == 2
            assert [await client.server_version() for _ in range(3)] == ["3.17.2"] * 3
            await stub.wait_until(lambda server: server.open == 1)


async def test_a_stream_that_is_left_early_gives_up_its_connection(http_library: str) -> None:
    """Leaving a download half-way closes its connection; the next call works."""
    with run_stub(lambda received: Answer(body=b"x" * 100, cut_after=50, then="stall")) as stub:
        async with AsyncMlflowClient(stub.uri, http_library=http_library, max_concurrency=1) as client:
            async with client.sender.stream(Call("GET", "/file")) as body:
                async for piece in body.iter_bytes():
                    assert piece == b"x" * 50
                    break
            await stub.wait_until(lambda server: server.open == 0)
            stub.script = lambda received: VERSION

            assert await client.server_version() == "3.17.2"


async def test_a_cancelled_upload_closes_its_source_and_its_connection(http_library: str) -> None:
    """The generator that gives the bytes is closed at once, and its connection too."""
    closed = False
    begun = anyio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield b"x"
            begun.set()
            await anyio.sleep_forever()
        finally:
            closed = True

    with run_stub() as stub:
        async with AsyncMlflowClient(stub.uri, http_library=http_library) as client:
            async with anyio.create_task_group() as callers:
                callers.start_soon(client.sender.upload, Call("PUT", "/file"), pieces, 10)
                await begun.wait()
                callers.cancel_scope.cancel()

            assert closed
            await stub.wait_until(lambda server: server.open == 0)
