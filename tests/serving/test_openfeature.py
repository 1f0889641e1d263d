"""The routing of a service as OpenFeature flags: what a flag says, why, and what the provider tells."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import anyio.to_thread
import httpx
import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from mlflow_utilities.serving import ActiveModels, LoadingOptions
from mlflow_utilities.serving.openfeature import MlflowProvider
from support.clock import SteppedClock
from support.serving import ServedProject, make_served_project
from support.transports import Fault, faulty_client

pytestmark = pytest.mark.anyio

KEYS = [f"user-{number}" for number in range(100)]
USER = EvaluationContext(KEYS[0])


@pytest.fixture
async def operator(server_uri: str) -> AsyncIterator[AsyncMlflowClient]:
    """Give the client of an operator."""
    async with AsyncMlflowClient(server_uri) as client:
        yield client


@pytest.fixture
async def project(operator: AsyncMlflowClient, unique_name: str) -> ServedProject:
    """Give two runs of 1.0.0 that share the requests."""
    made = await make_served_project(operator, unique_name)
    weights = {made.runs["a"]: 0.5, made.runs["b"]: 0.5}
    await mlflow_api.update_active_runs(weights, "1.0.0", made.experiment_id, client=operator)
    return made


@pytest.fixture
def flags() -> Iterator[OpenFeatureClient]:
    """Give a client of OpenFeature, whose providers and handlers end with the test."""
    yield api.get_client()
    api.clear_providers()
    api.clear_hooks()


class Told:
    """Gathers the events of OpenFeature, which come on threads of its own."""

    def __init__(self) -> None:
        self._events: Queue[tuple[ProviderEvent, EventDetails]] = Queue()
        self._handlers = {event: self._handler(event) for event in ProviderEvent}

    def _handler(self, event: ProviderEvent) -> Any:
        return lambda details: self._events.put((event, details))

    def __enter__(self) -> Told:
        for event, handler in self._handlers.items():
            api.add_handler(event, handler)
        return self

    def __exit__(self, *_: object) -> None:
        for event, handler in self._handlers.items():
            api.remove_handler(event, handler)

    async def until(self, wanted: ProviderEvent) -> EventDetails:
        """Wait for an event."""
        while True:
            event, details = await anyio.to_thread.run_sync(lambda: self._events.get(timeout=60))
            if event is wanted:
                return details


def serving(
    client: AsyncMlflowClient, project: ServedProject, cache: Path, provider: MlflowProvider | None = None
) -> ActiveModels:
    """Return a service that waits for nothing."""
    return ActiveModels(
        client,
        experiment_name=project.name,
        model_version="*",
        start="none",
        cache_dir=cache,
        loading=LoadingOptions(jitter=False),
        on_change=provider.on_change if provider else (),
    )


async def test_a_flag_says_the_run_that_answers(
    server_uri: str, project: ServedProject, flags: OpenFeatureClient, tmp_path: Path
) -> None:
    """A string flag is the id of the run that `choose` names, an object flag all about it; both say where from."""
    provider = MlflowProvider()
    async with (
        AsyncMlflowClient(server_uri, clock=SteppedClock()) as client,
        serving(client, project, tmp_path) as active,
    ):
        await active.refresh()
        provider.add("fraud", active)
        api.set_provider_and_wait(provider)

        found = {key: flags.get_string_details("fraud", "none", EvaluationContext(key)) for key in KEYS}
        runs = {details.value for details in found.values()}
        details = flags.get_string_details("fraud", "none", USER)
        described = await flags.get_object_value_async("fraud", {}, USER)

        assert flags.get_provider_status() is ProviderStatus.READY
        assert runs == set(project.runs.values())
        assert all(found[key].value == active.choose(key).run_id for key in KEYS)
        assert (details.variant, details.reason, details.error_code) == (details.value, Reason.SPLIT, None)
        assert details.flag_metadata["version"] == "1"
        assert details.flag_metadata["model_version"] == "1.0.0"
        assert described == {
            "run_id": details.value,
            "version": "1.0.0",
            "test_fraction": 0.5,
            "generation": 1,
            "experiment_id": project.experiment_id,
            "submodel_name": project.name,
        }
        assert flags.get_string_value("fraud", "none") in runs
        with active.pin(project.runs["a"]):
            assert flags.get_string_details("fraud", "none", USER).reason == Reason.TARGETING_MATCH


async def test_what_no_flag_can_answer_is_the_default_and_an_error(
    server_uri: str, operator: AsyncMlflowClient, project: ServedProject, flags: OpenFeatureClient, tmp_path: Path
) -> None:
    """Not ready, no such flag, another type, nothing Active, and a key that is no text have codes of their own."""
    provider = MlflowProvider()
    async with (
        AsyncMlflowClient(server_uri, clock=SteppedClock()) as client,
        serving(client, project, tmp_path) as active,
    ):
        provider.add("fraud", active)
        with pytest.raises(ProviderNotReadyError):
            api.set_provider_and_wait(provider)
        before = flags.get_string_details("fraud", "none", USER)
        await active.refresh()
        unknown = flags.get_string_details("spam", "none", USER)
        number = flags.get_integer_details("fraud", 7, USER)
        unsure = await flags.get_boolean_details_async("spam", True, USER)
        bad_key: Any = 17
        bad = flags.get_object_details("fraud", {}, EvaluationContext(bad_key))
        for run in project.runs.values():
            await mlflow_api.disable_run(run, client=operator)
        await active.refresh()
        nobody = flags.get_string_details("fraud", "none", USER)

        answers = [
            (found.value, found.error_code, found.reason) for found in (before, unknown, number, unsure, bad, nobody)
        ]
        assert answers == [
            ("none", ErrorCode.PROVIDER_NOT_READY, Reason.ERROR),
            ("none", ErrorCode.FLAG_NOT_FOUND, Reason.ERROR),
            (7, ErrorCode.TYPE_MISMATCH, Reason.ERROR),
            (True, ErrorCode.FLAG_NOT_FOUND, Reason.ERROR),
            ({}, ErrorCode.INVALID_CONTEXT, Reason.ERROR),
            ("none", ErrorCode.GENERAL, Reason.ERROR),
        ]


async def test_status_and_events_follow_the_service(
    server_uri: str, operator: AsyncMlflowClient, project: ServedProject, flags: OpenFeatureClient, tmp_path: Path
) -> None:
    """Error until it is ready, ready, changed by an operator, stale while MLflow refuses it, and ready again."""
    provider, down = MlflowProvider(), False

    def script(number: int, request: httpx.Request) -> Fault | httpx.Response | None:
        return httpx.Response(401, text="no") if down else None

    with Told() as told:
        async with faulty_client(server_uri, script, clock=SteppedClock()) as (client, _):
            async with serving(client, project, tmp_path, provider) as active:
                provider.add("fraud", active)
                with pytest.raises(ProviderNotReadyError):
                    api.set_provider_and_wait(provider)
                error = await told.until(ProviderEvent.PROVIDER_ERROR)
                await active.refresh()
                await told.until(ProviderEvent.PROVIDER_READY)
                await mlflow_api.enable_run(project.runs["b"], client=operator)
                await active.refresh()
                changes = [await told.until(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED) for _ in range(2)]
                down = True
                with pytest.raises(Exception, match="401"):
                    await active.refresh()
                stale = await told.until(ProviderEvent.PROVIDER_STALE)
                value, status = flags.get_string_value("fraud", "", USER), flags.get_provider_status()
                down = False
                await active.refresh()
                await told.until(ProviderEvent.PROVIDER_READY)

    assert error.error_code is ErrorCode.PROVIDER_NOT_READY
    assert [change.flags_changed for change in changes] == [["fraud"], ["fraud"]]
    assert "401" in str(stale.message)
    assert (value, status) == (project.runs["b"], ProviderStatus.STALE)


def test_without_the_sdk_the_import_names_the_extra() -> None:
    """Importing the provider raises MissingDependencyError, which says what to install."""
    code = (
        "import sys; sys.modules['openfeature'] = None\n"
        "from mlflow_utilities import MissingDependencyError\n"
        "try:\n    import mlflow_utilities.serving.openfeature\n"
        "except MissingDependencyError as error:\n    print(error)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mlflow-utilities[openfeature]" in answer.stdout
