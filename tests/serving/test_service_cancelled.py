"""A service whose owner is cancelled: entering, serving, and leaving, at whatever point that happens."""

from __future__ import annotations

import asyncio  # noqa: TID251 - its own kind of cancellation is what is tested
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, NotReadyError
from mlflow_utilities._clock import SystemClock
from mlflow_utilities.errors import ClientStateError, InvalidInputError
from mlflow_utilities.serving import ActiveModels, LoadingOptions
from support.serving import QUICK, ServedProject
from support.transports import FaultTransport

pytestmark = pytest.mark.anyio

ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"])


class CancelledAt:
    """Awaits something, and calls `cancel` when it waits for the `number`-th time; `reached` says whether it did."""

    def __init__(self, work: Awaitable[Any], number: int, cancel: Callable[[], object]) -> None:
        self.reached = False
        self._work = work
        self._number = number
        self._cancel = cancel

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._work.__await__()
        count, send, value = 0, steps.send, None
        while True:
            try:
                waited_for = send(value)
            except StopIteration as end:
                return end.value
            count += 1
            if count == self._number:
                self.reached = True
                self._cancel()
            try:
                send, value = steps.send, (yield waited_for)
            except BaseException as error:
                send, value = steps.throw, error


class Prompt(SystemClock):
    """Real time, and no chance: first polls are made at once."""

    def random(self) -> float:
        """Return the least."""
        return 0.0


class Clients:
    """Makes clients, and cancels something at the request of a number."""

    def __init__(self, uri: str) -> None:
        self.made: list[AsyncMlflowClient] = []
        self.number = 0
        self.cancel: Callable[[], object] = lambda: None
        self.reached = False
        self._uri = uri
        self._http: list[httpx.AsyncClient] = []

    def __call__(self) -> AsyncMlflowClient:
        """Make a client."""
        self._http.append(httpx.AsyncClient(transport=FaultTransport(self._script)))
        self.made.append(AsyncMlflowClient(self._uri, http_client=self._http[-1], clock=Prompt()))
        return self.made[-1]

    def _script(self, number: int, request: httpx.Request) -> None:
        if number == self.number:
            self.reached = True
            self.cancel()

    async def all_closed(self) -> bool:
        """Return whether every client was closed."""
        for client in self.made:
            try:
                await client.server_version()
            except ClientStateError:
                continue
            return False
        return True

    async def aclose(self) -> None:
        """Close the connections."""
        for http in self._http:
            await http.aclose()


@pytest.fixture
async def clients(server_uri: str) -> AsyncIterator[Clients]:
    """Give what makes clients, and closes their connections in the end."""
    made = Clients(server_uri)
    yield made
    await made.aclose()


def service(clients: Callable[[], AsyncMlflowClient], project: ServedProject, cache: Path, **more: Any) -> ActiveModels:
    """Return a service that waits until it is ready, in real time."""
    fixed: dict[str, Any] = {"model_version": "*", "loading": QUICK, "cache_dir": cache, "start": "fresh"}
    return ActiveModels(clients, experiment_name=project.name, **(fixed | more))


async def check_is_over(active: ActiveModels, clients: Clients, tasks: int) -> None:
    """Check that nothing is left of a service that was cancelled."""
    assert active.status().state in {"CLOSED", "INITIALIZING"}
    assert not active.health().ready
    assert "ActiveModels" in repr(active)
    with pytest.raises(NotReadyError):
        active.choose("k")
    assert await clients.all_closed()
    assert count_tasks() == tasks
    assert not [each for each in threading.enumerate() if each.name == "mlflow-utilities loading"]


def count_tasks() -> int:
    """Return how many tasks there are on asyncio; trio has none without an owner."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        return 0


@pytest.mark.parametrize("start", ["none", "fresh"])
async def test_entering_is_cancelled_by_a_scope_wherever_it_waits(
    clients: Clients, project: ServedProject, tmp_path: Path, start: str
) -> None:
    """Nothing is left of it, the client that it made is closed, and it can be entered again."""
    active = service(clients, project, tmp_path, start=start)
    tasks = count_tasks()
    for number in range(1, 100):
        with anyio.CancelScope() as scope:
            entering = CancelledAt(active.__aenter__(), number, scope.cancel)
            await entering
            await active.__aexit__(None, None, None)
        await check_is_over(active, clients, tasks)
        if not entering.reached:
            break
    else:
        raise AssertionError("it never ended")

    assert number > 1


@ASYNCIO
@pytest.mark.parametrize("start", ["none", "fresh"])
async def test_entering_is_cancelled_as_a_task_wherever_it_waits(
    clients: Clients, project: ServedProject, tmp_path: Path, start: str
) -> None:
    """`task.cancel()` ends entering with CancelledError, and nothing is left."""
    active = service(clients, project, tmp_path, start=start)
    tasks = count_tasks()
    for number in range(1, 100):
        entering: list[CancelledAt] = []

        async def enter(number: int = number, entering: list[CancelledAt] = entering) -> None:
            task = asyncio.current_task()
            assert task is not None
            entering.append(CancelledAt(active.__aenter__(), number, task.cancel))
            await entering[0]
            await active.__aexit__(None, None, None)

        task = asyncio.create_task(enter())
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        if not entering[0].reached:
            break
        assert isinstance(outcome, asyncio.CancelledError)
        await check_is_over(active, clients, tasks)
    else:
        raise AssertionError("it never ended")

    assert number > 1


async def test_entering_is_cancelled_at_every_request(clients: Clients, project: ServedProject, tmp_path: Path) -> None:
    """Wherever the background is, polling, asking for runs, downloading: nothing is left, and the next one serves."""
    tasks = count_tasks()
    for number in range(1, 100):
        cache = tmp_path / str(number)
        active = service(clients, project, cache)
        clients.number, clients.reached = number, False
        with anyio.CancelScope() as scope:
            clients.cancel = scope.cancel
            async with active:
                answer = await active.predict(1, key="k")
        if not clients.reached:
            break
        assert scope.cancelled_caught
        await check_is_over(active, clients, tasks)
        assert not [each for each in cache.rglob("*") if each.is_file() and each.suffix in {".pkl", ".part"}]
    else:
        raise AssertionError("it never ended")

    assert number > 5
    assert answer.output == ("a", 1)


async def test_a_cancelled_service_serves_when_it_is_entered_again(
    clients: Clients, project: ServedProject, tmp_path: Path
) -> None:
    """While it was loading it was cancelled; the same object serves afterwards, from another client."""
    gate = threading.Event()
    begun = threading.Event()

    def warm_up(loaded: object) -> None:
        begun.set()
        gate.wait(10)

    active = service(clients, project, tmp_path, loading=LoadingOptions(jitter=False, warm_up=warm_up))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(active.__aenter__)
        await anyio.to_thread.run_sync(begun.wait, 10)
        tasks.cancel_scope.cancel()
    gate.set()
    async with active:
        answer = await active.predict(1, key="k")

    assert answer.output == ("a", 1)
    assert len(clients.made) == 2
    assert await clients.all_closed()


@ASYNCIO
async def test_leaving_is_cancelled_as_a_task(clients: Clients, project: ServedProject, tmp_path: Path) -> None:
    """While it waits for a prediction that never ends it is cancelled: it closes all the same."""
    never = anyio.Event()

    async def predict(loaded: Any, data: Any) -> None:
        await never.wait()

    active = service(clients, project, tmp_path, predict=predict)
    tasks = count_tasks()
    left = asyncio.Event()

    async def serve() -> None:
        async with active:
            request = asyncio.create_task(active.predict(1))
            await asyncio.sleep(0)
            left.set()
        request.cancel()

    task = asyncio.create_task(serve())
    await left.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    never.set()
    for _ in range(10):
        await asyncio.sleep(0)

    assert isinstance(outcome, asyncio.CancelledError)
    await check_is_over(active, clients, tasks)


@ASYNCIO
@pytest.mark.parametrize("make", [lambda: None, lambda: asyncio.sleep(0)], ids=["nothing", "async"])
async def test_a_function_that_makes_no_client_is_refused(
    project: ServedProject, tmp_path: Path, make: Callable[[], AsyncMlflowClient]
) -> None:
    """The error says what it returned."""
    with pytest.raises(InvalidInputError, match="returned a"):
        await service(make, project, tmp_path).__aenter__()


async def test_a_cancelled_request_costs_the_service_nothing(
    clients: Clients, project: ServedProject, tmp_path: Path
) -> None:
    """The caller is free at once although the model computes on; others are answered, and leaving does not wait."""
    gate, begun = threading.Event(), threading.Event()

    def predict(loaded: Any, data: Any) -> Any:
        if data == "slow":
            begun.set()
            gate.wait(10)
        return loaded.predict(data)

    async with service(clients, project, tmp_path, predict=predict) as active:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(active.predict, "slow")
            await anyio.to_thread.run_sync(begun.wait, 10)
            tasks.cancel_scope.cancel()
        with anyio.move_on_after(0):
            async with active.lease("k"):
                await anyio.sleep_forever()

        assert active.status().in_flight == 0
        assert (await active.predict("quick", key="k")).output == ("a", "quick")
    gate.set()

    assert await clients.all_closed()


async def test_a_client_of_the_caller_stays_open(
    client: AsyncMlflowClient, project: ServedProject, tmp_path: Path
) -> None:
    """Neither leaving nor a cancelled entering closes it."""
    active = service(client, project, tmp_path, start="none")  # type: ignore[arg-type]
    async with active:
        pass
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with active:
            await anyio.sleep_forever()

    assert await client.server_version()


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), ExceptionGroup("mine", [ValueError()])])
async def test_an_error_of_the_block_leaves_it_as_it_is(
    clients: Clients, project: ServedProject, tmp_path: Path, error: BaseException
) -> None:
    """No group is made of it."""
    with pytest.raises(type(error)) as raised:
        async with service(clients, project, tmp_path, start="none"):
            raise error

    assert raised.value is error
