"""Saving a model when something fails, at every request in turn: nothing half-done is listed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, InvalidParameterError, ModelError, PermissionDeniedError, ServerError
from mlflow_utilities.models import saving
from mlflow_utilities.models.undoing import FAILURE_TAG
from support.models import InstantClock, classifier, temporary_files_in
from support.transports import Fault, FaultTransport, KilledError

pytestmark = pytest.mark.anyio

REQUESTS = 14


class CancellingTransport(FaultTransport):
    """Cancels `scope` when the request of this number is sent, or when it is answered."""

    def __init__(self, number: int, *, answered: bool) -> None:
        super().__init__()
        self.scope = anyio.CancelScope()
        self._number = number
        self._answered = answered

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send."""
        hit = len(self.requests) + 1 == self._number
        if hit and not self._answered:
            self.scope.cancel()
        response = await super().handle_async_request(request)
        if hit and self._answered:
            self.scope.cancel()
        return response


class Saver:
    """Saves a model through a transport, and looks through another client at what has become of it."""

    def __init__(self, client: AsyncMlflowClient, other: AsyncMlflowClient, name: str) -> None:
        self.client = client
        self.other = other
        self.name = name

    async def save(self, model: object = None) -> saving.SavedFiles:
        """Save a model as the first version of its name, in an experiment of its own."""
        self.experiment_id = await self.other.create_experiment(self.name)
        return await saving.save(
            self.client,
            model or classifier(),
            experiment_id=self.experiment_id,
            registered_model_name=self.name,
            params={"a": "1"},
        )

    async def statuses(self) -> list[str]:
        """Return the status of each run there is."""
        return [run.info.status for run in await self.other.search_runs([self.experiment_id])]

    async def check_that_it_failed(self, reason: str) -> None:
        """Check that the run is FAILED and says why, no logged model READY and no version registered."""
        runs = await self.other.search_runs([self.experiment_id])
        assert [(run.info.status, reason in run.data.tags[FAILURE_TAG]) for run in runs] == [("FAILED", True)]
        assert list(await self.other.search_model_versions(f"name = '{self.name}'")) == []
        models = await self.other.search_logged_models([self.experiment_id])
        assert [model.status for model in models if model.status == "READY"] == []


@asynccontextmanager
async def saver_through(transport: FaultTransport, uri: str, name: str) -> AsyncIterator[Saver]:
    """Give a saver for the server at `uri`."""
    async with httpx.AsyncClient(transport=transport) as http_client, AsyncMlflowClient(uri) as other:
        yield Saver(AsyncMlflowClient(uri, http_client=http_client, clock=InstantClock()), other, name)


async def for_each(numbers: range, check: Callable[[int], Awaitable[None]]) -> None:
    """Do it with each number, a few at a time."""
    limiter = anyio.CapacityLimiter(4)

    async def one(number: int) -> None:
        async with limiter:
            await check(number)

    async with anyio.create_task_group() as group:
        for number in numbers:
            group.start_soon(one, number)


@pytest.fixture
def numbers(anyio_backend: str) -> range:
    """Give the requests to break: every other one on each event loop, where the loop makes no difference."""
    return range(1 if anyio_backend == "asyncio" else 2, REQUESTS + 1, 2)


@pytest.fixture(autouse=True)
def no_temporary_file_is_left(tmp_path: Path) -> Iterator[None]:
    """Check after each test that nothing is left of the temporary directory of a save."""
    with temporary_files_in(tmp_path):
        yield
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("answered", [False, True])
async def test_a_save_cancelled_at_any_request_leaves_nothing_listed(
    server_uri: str, unique_name: str, answered: bool
) -> None:
    """Neither when a request is sent nor when its answer arrives; the run says that it was cancelled."""

    async def check(number: int) -> None:
        transport = CancellingTransport(number, answered=answered)
        async with saver_through(transport, server_uri, f"{unique_name}-{number}") as saver:
            with transport.scope:
                await saver.save()
            assert transport.scope.cancelled_caught
            await saver.check_that_it_failed("cancelled")

    await for_each(range(1, REQUESTS + 1), check)


async def test_a_request_refused_by_the_server_leaves_nothing_listed(
    server_uri: str, unique_name: str, numbers: range
) -> None:
    """Whichever it is; the error is the server's, and the run has it as its reason."""
    refusal = {"error_code": "INVALID_PARAMETER_VALUE", "message": "refused by the test"}

    async def check(number: int) -> None:
        transport = FaultTransport(lambda n, _: httpx.Response(400, json=refusal) if n == number else None)
        async with saver_through(transport, server_uri, f"{unique_name}-{number}") as saver:
            with pytest.raises(InvalidParameterError, match="refused by the test"):
                await saver.save()
            if number == 1:
                assert await saver.statuses() == []
            else:
                await saver.check_that_it_failed("refused by the test")

    await for_each(numbers, check)


async def test_a_lost_answer_is_settled(server_uri: str, unique_name: str, numbers: range) -> None:
    """Whichever it is: the model is saved, once."""

    async def check(number: int) -> None:
        transport = FaultTransport(lambda n, _: Fault.LOSE_ANSWER if n == number else None)
        async with saver_through(transport, server_uri, f"{unique_name}-{number}") as saver:
            saved = await saver.save()
            assert await saver.statuses() == ["FINISHED"]
            versions = await saver.other.search_model_versions(f"name = '{saver.name}'")
            assert [(version.version, version.run_id) for version in versions] == [("1", saved.run_id)]

    await for_each(numbers, check)


async def test_a_server_that_fails_for_good_leaves_a_run_that_is_not_listed(
    server_uri: str, unique_name: str, numbers: range
) -> None:
    """From whichever request on; the error says what could not be cleaned up."""

    async def check(number: int) -> None:
        transport = FaultTransport(lambda n, _: httpx.Response(503) if n >= number else None)
        async with saver_through(transport, server_uri, f"{unique_name}-{number}") as saver:
            with pytest.raises(ServerError) as caught:
                await saver.save()
            assert "may still be listed" in caught.value.__notes__[0]
            assert await saver.statuses() == ["RUNNING"]

    await for_each(numbers[1:], check)


async def test_a_server_that_refuses_versions_of_what_does_not_exist(server_uri: str, unique_name: str) -> None:
    """With basic authentication a first save makes the registered model; one that may not says so."""
    sent: list[str] = []

    def answer(_: int, request: httpx.Request) -> httpx.Response | None:
        sent.append(request.url.path)
        made = any(path.endswith("registered-models/create") for path in sent)
        forbidden = request.url.path.endswith("model-versions/create") and not made
        return httpx.Response(403, text="Permission denied") if forbidden else None

    async with saver_through(FaultTransport(answer), server_uri, unique_name) as saver:
        await saver.save()
        assert await saver.statuses() == ["FINISHED"]

    def refuse(_: int, request: httpx.Request) -> httpx.Response | None:
        forbidden = request.url.path.endswith(("model-versions/create", "registered-models/create"))
        return httpx.Response(403, text="Permission denied") if forbidden else None

    async with saver_through(FaultTransport(refuse), server_uri, f"{unique_name}-refused") as saver:
        with pytest.raises(PermissionDeniedError):
            await saver.save()
        await saver.check_that_it_failed("Permission denied")


@pytest.mark.parametrize("path", ["runs/outputs", "model-versions/create"])
async def test_a_hiccup_is_settled_by_looking(server_uri: str, unique_name: str, path: str) -> None:
    """When the server fails once without having done anything, and that can be seen, the request is made again."""
    failed: list[int] = []

    def script(number: int, request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith(path) and not failed:
            failed.append(number)
            return httpx.Response(503)
        return None

    async with saver_through(FaultTransport(script), server_uri, unique_name) as saver:
        saved = await saver.save()
        run = await saver.other.get_run(saved.run_id)
        assert [made.model_id for made in run.outputs.model_outputs] == [saved.model_id]
        assert len(await saver.other.search_model_versions(f"name = '{saver.name}'")) == 1
    assert failed


async def test_a_version_that_may_exist_is_not_made_twice(server_uri: str, unique_name: str) -> None:
    """When the server fails and the version cannot be found, saving fails."""
    async with saver_through(FaultTransport(), server_uri, unique_name) as saver:
        await saver.other.create_registered_model(unique_name)
    transport = FaultTransport(
        lambda _, request: httpx.Response(503) if request.url.path.endswith("model-versions/create") else None
    )
    async with saver_through(transport, server_uri, unique_name) as saver:
        with pytest.raises(ServerError):
            await saver.save()
        await saver.check_that_it_failed("503")
    assert transport.lines.count("POST model-versions/create") == 1


@pytest.mark.parametrize("fault", [Fault.DIE_BEFORE, Fault.DIE_AFTER])
async def test_a_killed_process_leaves_a_run_that_is_not_listed(
    server_uri: str, unique_name: str, numbers: range, fault: Fault
) -> None:
    """Whichever request was its last one, unless that had been the very last of saving."""

    async def check(number: int) -> None:
        transport = FaultTransport(lambda n, _: None if n < number else fault if n == number else Fault.DIE_BEFORE)
        async with saver_through(transport, server_uri, f"{unique_name}-{number}") as saver:
            with pytest.raises((KilledError, BaseExceptionGroup)):
                await saver.save()
            if number == 1 and fault is Fault.DIE_BEFORE:
                assert await saver.statuses() == []
            elif number == REQUESTS and fault is Fault.DIE_AFTER:
                assert await saver.statuses() == ["FINISHED"]
            else:
                assert await saver.statuses() == ["RUNNING"]

    await for_each(numbers, check)


async def test_a_first_save_makes_as_many_requests_as_these_tests_break(server_uri: str, unique_name: str) -> None:
    """No request is left out above."""
    transport = FaultTransport()
    async with saver_through(transport, server_uri, unique_name) as saver:
        await saver.save()
    assert len(transport.requests) == REQUESTS


async def test_a_model_that_cannot_be_serialised_leaves_nothing_listed(server_uri: str, unique_name: str) -> None:
    """The error is a ModelError with its cause, and the run has it as its reason."""
    async with saver_through(FaultTransport(), server_uri, unique_name) as saver:
        model = classifier()
        model.unpicklable = (n for n in ())
        with pytest.raises(ModelError, match="cannot serialise a LogisticRegression") as caught:
            await saver.save(model)
        assert caught.value.__cause__ is not None
        await saver.check_that_it_failed("cannot serialise")
