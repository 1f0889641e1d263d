"""Saving a model when something fails, at every request in turn: nothing half-done is listed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, InvalidParameterError, ModelError, ServerError
from mlflow_utilities.models import saving
from mlflow_utilities.models.undoing import FAILURE_TAG
from support.models import InstantClock, classifier, temporary_files_in
from support.transports import Fault, FaultTransport, KilledError

pytestmark = pytest.mark.anyio

REQUESTS = 14


class CancellingTransport(FaultTransport):
    """Cancels `scope` when the request of this number is sent, or when it is answered."""

    number = 0
    answered = False
    scope: anyio.CancelScope

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send."""
        hit = len(self.requests) + 1 == self.number
        if hit and not self.answered:
            self.scope.cancel()
        response = await super().handle_async_request(request)
        if hit and self.answered:
            self.scope.cancel()
        return response


class Saver:
    """Saves models through a transport, and looks through another client at what has become of them."""

    def __init__(self, client: AsyncMlflowClient, transport: FaultTransport, other: AsyncMlflowClient) -> None:
        self.client = client
        self.transport = transport
        self.other = other

    async def save(self, name: str) -> saving.SavedFiles:
        """Save a model as the first version of `name`, in an experiment of its own."""
        self.experiment_id = await self.other.create_experiment(name)
        self.name = name
        self.transport.forget()
        return await saving.save(
            self.client,
            classifier(),
            experiment_id=self.experiment_id,
            registered_model_name=name,
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
async def saver_through(uri: str, transport: FaultTransport) -> AsyncIterator[Saver]:
    """Give a saver for the server at `uri`."""
    async with httpx.AsyncClient(transport=transport) as http_client, AsyncMlflowClient(uri) as other:
        yield Saver(AsyncMlflowClient(uri, http_client=http_client, clock=InstantClock()), transport, other)


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
    transport = CancellingTransport()
    transport.answered = answered
    async with saver_through(server_uri, transport) as saver:
        for transport.number in range(1, REQUESTS + 1):
            with anyio.CancelScope() as transport.scope:
                await saver.save(f"{unique_name}-{transport.number}")
            assert transport.scope.cancelled_caught
            await saver.check_that_it_failed("cancelled")


async def test_a_request_refused_by_the_server_leaves_nothing_listed(
    server_uri: str, unique_name: str, numbers: range
) -> None:
    """Whichever it is; the error is the server's, and the run has it as its reason."""
    refusal = {"error_code": "INVALID_PARAMETER_VALUE", "message": "refused by the test"}
    transport = FaultTransport(lambda n, _: httpx.Response(400, json=refusal) if n == number else None)
    async with saver_through(server_uri, transport) as saver:
        for number in numbers:
            with pytest.raises(InvalidParameterError, match="refused by the test"):
                await saver.save(f"{unique_name}-{number}")
            if number == 1:
                assert await saver.statuses() == []
            else:
                await saver.check_that_it_failed("refused by the test")


async def test_a_lost_answer_is_settled(server_uri: str, unique_name: str, numbers: range) -> None:
    """Whichever it is: the model is saved, once."""
    transport = FaultTransport(lambda n, _: Fault.LOSE_ANSWER if n == number else None)
    async with saver_through(server_uri, transport) as saver:
        for number in numbers:
            saved = await saver.save(f"{unique_name}-{number}")
            assert await saver.statuses() == ["FINISHED"]
            versions = await saver.other.search_model_versions(f"name = '{saver.name}'")
            assert [(version.version, version.run_id) for version in versions] == [("1", saved.run_id)]


async def test_a_server_that_fails_for_good_leaves_a_run_that_is_not_listed(
    server_uri: str, unique_name: str, numbers: range
) -> None:
    """From whichever request on; the error says what could not be cleaned up."""
    transport = FaultTransport(lambda n, _: httpx.Response(503) if n >= number else None)
    async with saver_through(server_uri, transport) as saver:
        for number in numbers[1:]:
            with pytest.raises(ServerError) as caught:
                await saver.save(f"{unique_name}-{number}")
            assert "may still be listed" in caught.value.__notes__[0]
            assert await saver.statuses() == ["RUNNING"]


@pytest.mark.parametrize("fault", [Fault.DIE_BEFORE, Fault.DIE_AFTER])
async def test_a_killed_process_leaves_a_run_that_is_not_listed(
    server_uri: str, unique_name: str, numbers: range, fault: Fault
) -> None:
    """Whichever request was its last one, unless that had been the very last of saving."""
    transport = FaultTransport(lambda n, _: None if n < number else fault if n == number else Fault.DIE_BEFORE)
    async with saver_through(server_uri, transport) as saver:
        for number in numbers:
            with pytest.raises((KilledError, BaseExceptionGroup)):
                await saver.save(f"{unique_name}-{number}")
            if number == 1 and fault is Fault.DIE_BEFORE:
                assert await saver.statuses() == []
            elif number == REQUESTS and fault is Fault.DIE_AFTER:
                assert await saver.statuses() == ["FINISHED"]
            else:
                assert await saver.statuses() == ["RUNNING"]


async def test_a_first_save_makes_as_many_requests_as_these_tests_break(server_uri: str, unique_name: str) -> None:
    """No request is left out above."""
    async with saver_through(server_uri, FaultTransport()) as saver:
        await saver.save(unique_name)
        assert len(saver.transport.requests) == REQUESTS


async def test_a_model_that_cannot_be_serialised_leaves_nothing_listed(server_uri: str, unique_name: str) -> None:
    """The error is a ModelError with its cause, and the run has it as its reason."""
    async with saver_through(server_uri, FaultTransport()) as saver:
        saver.experiment_id, saver.name = await saver.other.create_experiment(unique_name), unique_name
        model = classifier()
        model.unpicklable = (n for n in ())
        with pytest.raises(ModelError, match="cannot serialise a LogisticRegression") as caught:
            await saving.save(saver.client, model, experiment_id=saver.experiment_id, registered_model_name=unique_name)
        assert caught.value.__cause__ is not None
        await saver.check_that_it_failed("cannot serialise")
