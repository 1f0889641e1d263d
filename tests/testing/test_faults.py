"""What a test lets go wrong, as a client of the in-memory server meets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from mlflow_utilities import (
    ArtifactError,
    AsyncMlflowClient,
    InvalidInputError,
    MlflowConnectionError,
    MlflowTimeoutError,
    NotFoundError,
    ProtocolError,
    RateLimitedError,
    ServerError,
    Timeout,
)
from mlflow_utilities.testing import FakeClock, Fault, InMemoryMlflow, SteppedClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock on which waiting takes no time."""
    return FakeClock()


@pytest.fixture
def server(clock: FakeClock) -> InMemoryMlflow:
    """Give a server of that clock."""
    return InMemoryMlflow(clock=clock)


@pytest.fixture
def client(server: InMemoryMlflow, http_library: str) -> AsyncMlflowClient:
    """Give a client of that server, once for each HTTP library."""
    return server.client(http_library=http_library)


async def new_run(client: AsyncMlflowClient) -> str:
    """Make a run and return its id."""
    return (await client.create_run(await client.create_experiment("fraud"))).info.run_id


async def test_a_busy_server_is_asked_again(
    server: InMemoryMlflow, client: AsyncMlflowClient, clock: FakeClock
) -> None:
    """A 503 with Retry-After is met twice; the client waits as long as it is told, and succeeds."""
    fault = server.faults.add(Fault.status(503, retry_after=7), "experiments/get", times=2)

    await client.get_experiment("0")

    assert fault.hits == 2
    assert [round(seconds) for seconds in clock.slept] == [7, 7]
    assert [request.status for request in server.requests] == [503, 503, 200]


@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        (Fault.status(429), RateLimitedError, "said by the test"),
        (Fault.status(500, error_code="INTERNAL_ERROR", message="a broken disk"), ServerError, "a broken disk"),
        (Fault.proxy_page(504), ServerError, "504"),
        (Fault.wrong_json(), ProtocolError, None),
        (Fault.body({"experiment": 5}), ProtocolError, None),
        (Fault.body("no experiment", content_type="text/plain"), ProtocolError, None),
        (Fault.refused(), MlflowConnectionError, "refused by the test"),
        (Fault.lost_answer(), MlflowConnectionError, "cut by the test"),
        (Fault.cut(10), MlflowConnectionError, "cut by the test"),
        (Fault.stall(), MlflowTimeoutError, "no answer in time"),
    ],
    ids=["429", "500", "proxy", "wrong JSON", "wrong fields", "text", "refused", "lost", "cut", "stalled"],
)
async def test_what_never_ends_reaches_the_caller(
    server: InMemoryMlflow, client: AsyncMlflowClient, fault: Fault, error: type[Exception], text: str | None
) -> None:
    """A fault that every request meets ends in the client's own error."""
    scripted = server.faults.add(fault, times=None)

    with pytest.raises(error, match=text):
        await client.get_experiment("0")

    assert scripted.hits >= 1


async def test_a_lost_answer_was_done(server: InMemoryMlflow, client: AsyncMlflowClient) -> None:
    """The server made the run whose answer was lost; the client finds it instead of making a second."""
    experiment = await client.create_experiment("fraud")
    server.faults.add(Fault.lost_answer(), "runs/create")

    run = await client.create_run(experiment)

    assert list(server.state.runs) == [run.info.run_id]
    assert "POST runs/search" in server.lines


async def test_a_refused_request_never_arrives(server: InMemoryMlflow, client: AsyncMlflowClient) -> None:
    """A refused connection is not among the requests, and the call is made again."""
    server.faults.add(Fault.refused(), method="post")

    await client.create_experiment("fraud")

    assert server.lines == ["POST experiments/create"]


async def test_only_the_requests_that_are_meant_meet_it(server: InMemoryMlflow, client: AsyncMlflowClient) -> None:
    """Path, method and `after` choose; the fault is gone after `times`."""
    run_id = await new_run(client)
    fault = server.faults.add(Fault.status(400), "runs/set-*", method="POST", times=1, after=1)

    await client.set_tag(run_id, "first", "1")
    await client.get_run(run_id)
    with pytest.raises(Exception, match="said by the test"):
        await client.set_tag(run_id, "second", "2")
    await client.set_tag(run_id, "third", "3")

    tags = server.state.runs[run_id].tags
    assert ("first" in tags, "second" in tags, "third" in tags) == (True, False, True)
    assert fault.hits == 1


async def test_the_first_fault_that_is_meant_counts(server: InMemoryMlflow, client: AsyncMlflowClient) -> None:
    """Faults for the same request are met in the order in which they were added."""
    server.faults.add(Fault.status(400, message="one"))
    server.faults.add(Fault.status(400, message="two"))

    for text in ("one", "two"):
        with pytest.raises(Exception, match=text):
            await client.get_experiment("0")
    await client.get_experiment("0")


async def test_a_download_that_is_cut_is_not_taken_for_whole(
    server: InMemoryMlflow, client: AsyncMlflowClient, tmp_path: Path
) -> None:
    """The connection breaks inside a file each time, and nothing is left of it."""
    run_id = await new_run(client)
    (tmp_path / "data.bin").write_bytes(b"x" * 200_000)
    await client.log_artifact(run_id, tmp_path / "data.bin")
    server.faults.add(Fault.cut(100_000), "mlflow-artifacts/artifacts/*", method="GET", times=None)
    (tmp_path / "down").mkdir()

    with pytest.raises((ArtifactError, MlflowConnectionError)):
        await client.download_artifacts(run_id, "data.bin", tmp_path / "down")

    assert not (tmp_path / "down" / "data.bin").exists()


async def test_a_slow_answer_takes_the_time_of_the_clock(
    server: InMemoryMlflow, client: AsyncMlflowClient, clock: FakeClock
) -> None:
    """Each piece comes after its pause; the answer is whole."""
    name = "x" * 400
    server.faults.add(Fault.slow(chunk_bytes=40, seconds=2.0), "experiments/get")
    experiment = await client.create_experiment(name)

    assert (await client.get_experiment(experiment)).name == name

    assert set(clock.slept) == {2.0}
    assert len(clock.slept) >= 10


async def test_a_slow_answer_meets_the_total_time_limit(
    server: InMemoryMlflow, client: AsyncMlflowClient, clock: FakeClock
) -> None:
    """An answer that trickles for longer than the call may take ends in a time-out."""
    server.faults.add(Fault.slow(chunk_bytes=1, seconds=5.0), times=None)

    with pytest.raises(MlflowTimeoutError):
        await client.get_experiment("0", timeout=60.0)

    assert 60.0 <= clock.monotonic() < 120.0


async def test_a_slow_answer_meets_the_time_limit_of_reading(server: InMemoryMlflow, client: AsyncMlflowClient) -> None:
    """A pause between two pieces that is longer than the client waits for more ends in a time-out."""
    server.faults.add(Fault.slow(chunk_bytes=1, seconds=5.0), times=None)

    with pytest.raises(MlflowTimeoutError, match="no answer in time"):
        await client.get_experiment("0", timeout=Timeout(read=3.0, total=None))


@pytest.mark.parametrize("done", [False, True])
async def test_a_stall_goes_on_when_released(http_library: str, done: bool) -> None:
    """A request waits without end until the test releases it, and is then answered as usual."""
    server = InMemoryMlflow(clock=SteppedClock())
    client = server.client(http_library=http_library)
    stall = server.faults.add(Fault.stall(done=done), "experiments/create")
    made: list[str] = []

    async def make() -> None:
        made.append(await client.create_experiment("fraud"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make)
        await stall.wait_hit()
        names = {experiment.name for experiment in server.state.experiments.values()}
        assert ("fraud" in names, made) == (done, [])
        stall.release()

    assert made == [next(key for key, one in server.state.experiments.items() if one.name == "fraud")]


async def test_a_stall_ends_with_the_time_limit_of_the_clients_clock(http_library: str) -> None:
    """The call fails when the clock has come to its time-out, and not before."""
    clock = SteppedClock()
    server = InMemoryMlflow(clock=clock)
    client = server.client(http_library=http_library)
    server.faults.add(Fault.stall(), times=None)
    errors: list[Exception] = []

    async def call() -> None:
        try:
            await client.get_experiment("0", timeout=Timeout(read=None, total=30.0))
        except MlflowTimeoutError as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await clock.advance(29.0)
        assert errors == []
        await clock.advance(2.0)
        assert len(errors) == 1


async def test_a_stall_of_some_seconds_ends_by_itself(
    server: InMemoryMlflow, client: AsyncMlflowClient, clock: FakeClock
) -> None:
    """The answer comes once the seconds have passed."""
    server.faults.add(Fault.stall(20.0))

    await client.get_experiment("0")

    assert clock.monotonic() == 20.0


async def test_a_stalled_caller_can_be_cancelled(http_library: str) -> None:
    """Cancelling the caller ends the wait, and the client is good for more."""
    server = InMemoryMlflow()
    client = server.client(http_library=http_library)
    stall = server.faults.add(Fault.stall())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.get_experiment, "0")
        await stall.wait_hit()
        tasks.cancel_scope.cancel()

    assert await client.get_experiment("0")


async def test_another_thread_may_release_a_stall() -> None:
    """A test in a thread of its own waits for the stall and releases it."""
    server = InMemoryMlflow()
    stall = server.faults.add(Fault.stall())

    async def release() -> None:
        await stall.wait_hit()
        stall.release()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, anyio.run, release)
        assert await server.client().get_experiment("0")


async def test_clearing_lets_everything_go_on() -> None:
    """Stalled requests are answered, and later ones meet nothing."""
    server = InMemoryMlflow()
    client = server.client()
    stall = server.faults.add(Fault.stall(), times=None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.get_experiment, "0")
        await stall.wait_hit()
        server.faults.clear()

    assert await client.get_experiment("0")
    assert stall.hits == 1


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda faults: Fault.status(99), "status is 99"),
        (lambda faults: Fault.cut(-1), "after_bytes is -1"),
        (lambda faults: Fault.stall(-1.0), "seconds is -1.0"),
        (lambda faults: Fault.slow(chunk_bytes=0), "chunk_bytes is 0"),
        (lambda faults: Fault.status("503"), "status is '503'"),
        (lambda faults: Fault.status(503, retry_after=-1), "retry_after is -1"),
        (lambda faults: Fault.cut(1.5), "after_bytes is 1.5"),
        (lambda faults: Fault.stall("5"), "seconds is '5'"),
        (lambda faults: Fault.slow(seconds=float("nan")), "seconds is nan"),
        (lambda faults: Fault.body([1]), r"body is \[1\]"),
        (lambda faults: faults.add(Fault.refused(), times=0), "times is 0"),
        (lambda faults: faults.add(Fault.refused(), after=-1), "after is -1"),
        (lambda faults: faults.add(Fault.refused), "the fault is"),
        (lambda faults: faults.add(Fault.refused(), 5), "path is 5"),
        (lambda faults: faults.add(Fault.refused(), "POST runs/search"), "path is 'POST runs/search'"),
        (lambda faults: faults.add(Fault.refused(), method="FETCH"), "method is 'FETCH'"),
    ],
)
async def test_what_makes_no_sense_is_refused(server: InMemoryMlflow, make: Any, text: str) -> None:
    """Arguments that cannot be are named when the fault is made or added."""
    with pytest.raises(InvalidInputError, match=text):
        make(server.faults)


async def test_the_whole_path_names_the_endpoint_too(server: InMemoryMlflow, client: AsyncMlflowClient) -> None:
    """A path may be written from its slash on, as the server gets it."""
    fault = server.faults.add(Fault.status(404), "/api/2.0/mlflow/experiments/get")

    with pytest.raises(NotFoundError):
        await client.get_experiment("0")

    assert fault.hits == 1


async def test_a_fault_shows_itself(server: InMemoryMlflow) -> None:
    """Printed, a fault says what it does to which requests, and how many it met."""
    fault = server.faults.add(Fault.cut(3), "runs/search", method="post")

    assert repr(fault) == "ScriptedFault(cut after 3 bytes, POST /runs/search, hits=0)"
