"""Answers that are lost on the way: what was done is found out, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities._clock import SystemClock
from mlflow_utilities.errors import EndpointNotFoundError, MlflowConnectionError, NotFoundError, ServerError
from support.transports import Fault, faulty_client

pytestmark = pytest.mark.anyio

SOURCE = "s3://bucket/model"


@dataclass
class Names:
    """What the methods are called with."""

    experiment: str
    run: str
    model: str
    other: str


Calls = list[tuple[str, Callable[[AsyncMlflowClient, Names], Awaitable[Any]], list[str]]]


def lose_the_first(number: int, request: httpx.Request) -> Fault | None:
    """Let the first answer be lost."""
    return Fault.LOSE_ANSWER if number == 1 else None


ONCE: Calls = [
    ("delete_tag", lambda c, n: c.delete_tag(n.run, "t"), ["POST runs/delete-tag"] * 2),
    ("delete_experiment", lambda c, n: c.delete_experiment(n.experiment), ["POST experiments/delete"] * 2),
    ("restore_experiment", lambda c, n: c.restore_experiment(n.experiment), ["POST experiments/restore"] * 2),
    (
        "rename_registered_model",
        lambda c, n: c.rename_registered_model(n.model, n.other),
        ["POST registered-models/rename", "GET registered-models/get", "GET registered-models/get"],
    ),
    ("delete_model_version", lambda c, n: c.delete_model_version(n.other, 1), ["DELETE model-versions/delete"] * 2),
    (
        "delete_registered_model",
        lambda c, n: c.delete_registered_model(n.other),
        ["DELETE registered-models/delete"] * 2,
    ),
]
CREATED: Calls = [
    (
        "create_experiment",
        lambda c, n: c.create_experiment(n.other),
        ["POST experiments/create", "GET experiments/get-by-name"],
    ),
    ("create_run", lambda c, n: c.create_run(n.experiment), ["POST runs/create", "POST runs/search"]),
    (
        "create_registered_model",
        lambda c, n: c.create_registered_model(n.model),
        ["POST registered-models/create", "GET registered-models/get"],
    ),
    (
        "create_model_version",
        lambda c, n: c.create_model_version(n.model, SOURCE),
        ["POST model-versions/create", "GET model-versions/search"],
    ),
]


async def test_a_lost_answer_is_settled_without_doing_it_twice(server_uri: str, unique_name: str) -> None:
    """What was created is found, once; what could be removed only once is reported as done."""
    async with faulty_client(server_uri) as (client, transport):
        experiment = await client.create_experiment(unique_name)
        run = (await client.create_run(experiment, tags={"t": "x"})).info.run_id
        names = Names(experiment, run, unique_name, f"{unique_name}-other")
        transport.script = lose_the_first
        made: dict[str, list[str]] = {}

        for name, call, _ in CREATED + ONCE:
            transport.forget()
            await call(client, names)
            made[name] = transport.lines

        transport.script = lambda number, request: None
        assert len(await client.search_runs([experiment], run_view_type="ALL")) == 2
        with pytest.raises(NotFoundError):
            await client.get_registered_model(names.other)

    assert made == {name: expected for name, _, expected in CREATED + ONCE}


async def test_a_logged_model_whose_answer_is_lost_is_found(server_uri: str) -> None:
    """By the tag it carries; a server 2.x has no such models and says so."""
    async with faulty_client(server_uri) as (client, transport):
        if (await client.server_version()).startswith("2."):
            with pytest.raises(EndpointNotFoundError):
                await client.create_logged_model("0")
            return
        transport.forget()
        transport.script = lose_the_first
        model = await client.create_logged_model("0")

        assert transport.lines == ["POST mlflow/logged-models", "POST logged-models/search"]
        assert await client.get_logged_model(model.model_id) == model


class HurriedClock(SystemClock):
    """A clock that waits for nothing and remembers how long it should have."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Remember."""
        self.waited.append(seconds)


def fail_creations(number: int, request: httpx.Request) -> httpx.Response | None:
    """Answer 503 to every creation, which the server does not see."""
    return httpx.Response(503) if request.url.path.endswith("/create") else None


async def test_a_creation_that_failed_is_looked_for_and_then_an_error(server_uri: str, unique_name: str) -> None:
    """Three times, a little later each time, because the server may still be at it; it is never sent again."""
    clock = HurriedClock()
    async with faulty_client(server_uri, fail_creations, clock=clock) as (client, transport):
        for call, look in (
            (client.create_experiment, "GET experiments/get-by-name"),
            (client.create_registered_model, "GET registered-models/get"),
        ):
            transport.forget()
            with pytest.raises(ServerError):
                await call(unique_name)
            assert transport.lines[1:] == [look] * 3

    assert clock.waited == [0.25, 1.0] * 2


async def test_what_never_arrived_is_an_error_and_not_found(server_uri: str, unique_name: str) -> None:
    """A refused connection is repeated as often as allowed; nothing is looked for that cannot be there."""
    async with faulty_client(server_uri, lambda number, request: Fault.REFUSE, max_retries=1) as (client, transport):
        with pytest.raises(MlflowConnectionError):
            await client.create_experiment(unique_name)
        created = transport.lines
        transport.forget()
        with pytest.raises(MlflowConnectionError):
            await client.delete_experiment("1")

    assert created == ["POST experiments/create"] * 2
    assert transport.lines == ["POST experiments/delete"] * 2
