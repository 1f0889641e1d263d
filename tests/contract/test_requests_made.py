"""How many HTTP requests each method makes; beside it, what MLflow's own client makes for the same."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.tracking.request_header import registry as header_registry
from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.entities import Metric
from mlflow_utilities.errors import (
    InvalidInputError,
)
from support.transports import faulty_client

SOURCE = "s3://bucket/model"


@dataclass
class Names:
    """What the methods are called with."""

    experiment: str
    run: str
    model: str
    other: str
    folder: Path


Calls = list[tuple[str, Callable[[AsyncMlflowClient, Names], Awaitable[Any]], list[str]]]
POINT = [Metric("m", 2.0, 1)]
METRICS = [Metric(f"m{number}", number, 1) for number in range(2500)]
PARAMS = {f"p{number}": "x" for number in range(250)}
TAGS = {f"t{number}": "x" for number in range(150)}


async def all_of(results: Any) -> list[Any]:
    """Use an iterator up."""
    return [item async for item in results]


CALLS: Calls = [
    ("get_experiment", lambda c, n: c.get_experiment(n.experiment), ["GET experiments/get"]),
    ("get_or_create_experiment", lambda c, n: c.get_or_create_experiment(n.other), ["GET experiments/get-by-name"]),
    ("search_experiments", lambda c, n: c.search_experiments(max_results=1), ["POST experiments/search"]),
    (
        "set_experiment_tag",
        lambda c, n: c.set_experiment_tag(n.experiment, "a", "b"),
        ["POST experiments/set-experiment-tag"],
    ),
    ("rename_experiment", lambda c, n: c.rename_experiment(n.experiment, f"{n.other}-2"), ["POST experiments/update"]),
    ("create_run", lambda c, n: c.create_run(n.experiment), ["POST runs/create"]),
    ("get_run", lambda c, n: c.get_run(n.run), ["GET runs/get"]),
    ("get_parent_run", lambda c, n: c.get_parent_run(n.run), ["GET runs/get"]),
    ("search_runs", lambda c, n: c.search_runs([n.experiment]), ["POST runs/search"]),
    ("iter_runs", lambda c, n: all_of(c.iter_runs([n.experiment])), ["POST runs/search"]),
    ("log_metric", lambda c, n: c.log_metric(n.run, "m", 1.0), ["POST runs/log-metric"]),
    ("log_param", lambda c, n: c.log_param(n.run, "p", 1), ["POST runs/log-parameter"]),
    ("set_tag", lambda c, n: c.set_tag(n.run, "t", 1), ["POST runs/set-tag"]),
    ("delete_tag", lambda c, n: c.delete_tag(n.run, "t"), ["POST runs/delete-tag"]),
    ("log_batch, empty", lambda c, n: c.log_batch(n.run), []),
    ("log_batch, small", lambda c, n: c.log_batch(n.run, POINT, {"a": 1}, {"b": 2}), ["POST runs/log-batch"]),
    ("log_batch, large", lambda c, n: c.log_batch(n.run, METRICS, PARAMS, TAGS), ["POST runs/log-batch"] * 6),
    ("get_metric_history", lambda c, n: c.get_metric_history(n.run, "m"), ["GET metrics/get-history"]),
    ("update_run", lambda c, n: c.update_run(n.run, name="x"), ["POST runs/update"]),
    ("set_terminated", lambda c, n: c.set_terminated(n.run), ["POST runs/update"]),
    ("log_text, first", lambda c, n: c.log_text(n.run, "x", "a.txt"), ["GET runs/get", "PUT artifacts/a.txt"]),
    ("log_text, again", lambda c, n: c.log_text(n.run, "x", "b.txt"), ["PUT artifacts/b.txt"]),
    ("log_stream", lambda c, n: c.log_stream(n.run, io.BytesIO(b"x"), "d/c.txt"), ["PUT d/c.txt"]),
    ("list_artifacts", lambda c, n: c.list_artifacts(n.run), ["GET artifacts/list"]),
    ("read_artifact", lambda c, n: c.read_artifact(n.run, "a.txt"), ["GET artifacts/a.txt"]),
    (
        "download_artifacts, a file",
        lambda c, n: c.download_artifacts(n.run, "a.txt", n.folder),
        ["GET artifacts/a.txt"],
    ),
    (
        "download_artifacts, a directory",
        lambda c, n: c.download_artifacts(n.run, "d", n.folder),
        ["GET mlflow-artifacts/artifacts", "GET d/c.txt"],
    ),
    ("delete_run", lambda c, n: c.delete_run(n.run), ["POST runs/delete"]),
    ("create_registered_model", lambda c, n: c.create_registered_model(n.other), ["POST registered-models/create"]),
    (
        "update_registered_model",
        lambda c, n: c.update_registered_model(n.model, "x"),
        ["PATCH registered-models/update"],
    ),
    (
        "set_registered_model_tag",
        lambda c, n: c.set_registered_model_tag(n.model, "a", 1),
        ["POST registered-models/set-tag"],
    ),
    ("create_model_version", lambda c, n: c.create_model_version(n.model, SOURCE), ["POST model-versions/create"]),
    (
        "set_model_version_tag",
        lambda c, n: c.set_model_version_tag(n.model, 1, "a", 1),
        ["POST model-versions/set-tag"],
    ),
    (
        "set_registered_model_alias",
        lambda c, n: c.set_registered_model_alias(n.model, "x", 1),
        ["POST registered-models/alias"],
    ),
    (
        "get_model_version_by_alias",
        lambda c, n: c.get_model_version_by_alias(n.model, "x"),
        ["GET registered-models/alias"],
    ),
    ("get_model_version_stages", lambda c, n: c.get_model_version_stages(n.model, 1), []),
    (
        "search_model_versions",
        lambda c, n: c.search_model_versions(f"name = '{n.model}'"),
        ["GET model-versions/search"],
    ),
    (
        "copy_model_version",
        lambda c, n: c.copy_model_version(f"models:/{n.model}/1", n.other),
        ["GET model-versions/get", "POST registered-models/create", "POST model-versions/create"],
    ),
    ("delete_model_version", lambda c, n: c.delete_model_version(n.model, 1), ["DELETE model-versions/delete"]),
    (
        "rename_registered_model",
        lambda c, n: c.rename_registered_model(n.model, f"{n.model}-2"),
        ["POST registered-models/rename"],
    ),
    (
        "delete_registered_model",
        lambda c, n: c.delete_registered_model(f"{n.model}-2"),
        ["DELETE registered-models/delete"],
    ),
]


@pytest.mark.anyio
async def test_a_method_makes_no_more_requests_than_it_must(server_uri: str, unique_name: str, tmp_path: Path) -> None:
    """One for nearly every method; where a run's artifacts are is asked for once."""
    async with faulty_client(server_uri) as (client, transport):
        experiment = await client.create_experiment(unique_name)
        await client.create_experiment(f"{unique_name}-other")
        run = (await client.create_run(experiment)).info.run_id
        await client.create_registered_model(unique_name)
        names = Names(experiment, run, unique_name, f"{unique_name}-other", tmp_path)
        made: dict[str, list[str]] = {}

        for name, call, _ in CALLS:
            transport.forget()
            await call(client, names)
            made[name] = transport.lines

    assert made == {name: expected for name, _, expected in CALLS}


WRONG: list[Callable[[Any], Awaitable[Any]]] = [
    lambda client: client.log_batch("r", [Metric("m", 1.0, 1)] * 5, {"p": "x" * 6001}),
    lambda client: client.create_run("0", tags={"it's": "x"}),
    lambda client: client.set_tag("r", "a" * 251, "x"),
    lambda client: client.log_metric("r", "m", "high"),
    lambda client: client.log_metric("r", "m", 1.0, timestamp=1.5),
    lambda client: client.update_model_version("m", 1),
    lambda client: client.update_registered_model("m"),
    lambda client: client.log_text("r", "x", "../a"),
    lambda client: client.log_stream("r", io.BytesIO(), "a%20b"),
    lambda client: client.search_runs("0"),
    lambda client: client.finalize_logged_model("m", "DONE"),
    lambda client: client.copy_model_version("runs:/r/model", "m"),
]


@pytest.mark.anyio
async def test_a_wrong_argument_makes_no_request(server_uri: str) -> None:
    """It is refused before anything is sent."""
    async with faulty_client(server_uri) as (client, transport):
        for call in WRONG:
            with pytest.raises(InvalidInputError):
                await call(client)

    assert transport.lines == []


class CountingHeaders(RequestHeaderProvider):  # type: ignore[misc]
    """MLflow's client asks for headers before each request; this counts how often."""

    count = 0

    def in_context(self) -> bool:
        """Take part in every request."""
        return True

    def request_headers(self) -> dict[str, str]:
        """Count, and add nothing."""
        type(self).count += 1
        return {}


@contextmanager
def counted_requests_of_mlflow() -> Iterator[type[CountingHeaders]]:
    """Count the requests that MLflow's own client makes."""
    providers = header_registry._request_header_provider_registry
    providers.register(CountingHeaders)
    try:
        yield CountingHeaders
    finally:
        providers._registry[:] = [each for each in providers._registry if not isinstance(each, CountingHeaders)]


def test_mlflows_own_client_makes_more(server_uri: str, unique_name: str, tmp_path: Path) -> None:
    """Registry changes, `set_terminated` and `list_artifacts` 2 instead of 1, a small download 6 instead of 2."""
    client = MlflowClient(server_uri)
    fresh = MlflowClient(server_uri)
    run = client.create_run("0").info.run_id
    client.log_text(run, "x", "a.txt")
    client.create_registered_model(unique_name)
    client.create_model_version(unique_name, SOURCE)
    calls: dict[str, Callable[[], Any]] = {
        "update_registered_model": lambda: client.update_registered_model(unique_name, "x"),
        "set_registered_model_tag": lambda: client.set_registered_model_tag(unique_name, "a", 1),
        "set_model_version_tag": lambda: client.set_model_version_tag(unique_name, "1", "a", 1),
        "set_registered_model_alias": lambda: client.set_registered_model_alias(unique_name, "x", "1"),
        "set_terminated": lambda: client.set_terminated(run),
        "list_artifacts": lambda: fresh.list_artifacts(run),
        "download_artifacts": lambda: client.download_artifacts(run, "a.txt", str(tmp_path)),
    }
    made: dict[str, int] = {}
    with counted_requests_of_mlflow() as counter:
        for name, call in calls.items():
            counter.count = 0
            call()
            made[name] = counter.count

    # What it remembers of a server saves it one request of a download, for a while.
    assert made.pop("download_artifacts") in (5, 6)
    assert made == {name: 2 for name in calls if name != "download_artifacts"}
