"""Experiments on a real server."""

from __future__ import annotations

import anyio
import pytest

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.entities import Experiment
from mlflow_utilities.errors import (
    AlreadyExistsError,
    BadRequestError,
    EndpointNotFoundError,
    InvalidInputError,
    InvalidParameterError,
    NotFoundError,
)

pytestmark = pytest.mark.anyio


async def test_an_experiment_is_made_found_and_renamed(client: AsyncMlflowClient, unique_name: str) -> None:
    """By id and by name; a taken name is refused, an unknown one is None."""
    experiment_id = await client.create_experiment(unique_name, tags={"team": "fraud", "n": 1})

    found = await client.get_experiment(experiment_id)
    assert (found.name, found.tags, found.lifecycle_stage) == (unique_name, {"team": "fraud", "n": "1"}, "active")
    assert found == await client.get_experiment_by_name(unique_name)
    with pytest.raises(AlreadyExistsError, match=unique_name):
        await client.create_experiment(unique_name)
    with pytest.raises(BadRequestError):
        await client.rename_experiment(experiment_id, "Default")
    await client.rename_experiment(experiment_id, f"{unique_name}-2")
    assert await client.get_experiment_by_name(unique_name) is None
    with pytest.raises(NotFoundError, match="987654321"):
        await client.get_experiment("987654321")


async def test_a_deleted_experiment_keeps_its_name_and_comes_back(client: AsyncMlflowClient, unique_name: str) -> None:
    """It is still found, takes no runs, and can be deleted and restored once each."""
    experiment_id = await client.create_experiment(unique_name)

    await client.delete_experiment(experiment_id)

    found = await client.get_experiment_by_name(unique_name)
    assert found is not None
    assert found.lifecycle_stage == "deleted"
    assert (await client.get_or_create_experiment(unique_name)).lifecycle_stage == "deleted"
    with pytest.raises(AlreadyExistsError):
        await client.create_experiment(unique_name)
    with pytest.raises(InvalidParameterError, match="active"):
        await client.create_run(experiment_id)
    with pytest.raises(NotFoundError):
        await client.delete_experiment(experiment_id)
    await client.restore_experiment(experiment_id)
    with pytest.raises(NotFoundError):
        await client.restore_experiment(experiment_id)
    assert (await client.get_experiment(experiment_id)).lifecycle_stage == "active"


async def test_tags_of_an_experiment(client: AsyncMlflowClient, unique_name: str) -> None:
    """Set, overwritten, deleted; servers 2.x cannot delete them."""
    experiment_id = await client.create_experiment(unique_name)
    await client.set_experiment_tag(experiment_id, "a/b c", "1")
    await client.set_experiment_tag(experiment_id, "a/b c", 2)
    assert (await client.get_experiment(experiment_id)).tags == {"a/b c": "2"}

    if (await client.server_version()).startswith("2."):
        with pytest.raises(EndpointNotFoundError, match="older"):
            await client.delete_experiment_tag(experiment_id, "a/b c")
        return
    await client.delete_experiment_tag(experiment_id, "a/b c")
    assert (await client.get_experiment(experiment_id)).tags == {}
    with pytest.raises(NotFoundError, match="a/b c"):
        await client.delete_experiment_tag(experiment_id, "a/b c")


async def test_experiments_are_searched_page_by_page(client: AsyncMlflowClient, unique_name: str) -> None:
    """Ordered as asked for, filtered, deleted ones only on request; an iteration passes over page ends."""
    ids = [await client.create_experiment(f"{unique_name}-{letter}", tags={"of": unique_name}) for letter in "abc"]
    wanted = f"tags.of = '{unique_name}'"

    first = await client.search_experiments(max_results=2, filter_string=wanted, order_by=["name DESC"])
    assert [found.name[-1] for found in first] == ["c", "b"]
    second = await client.search_experiments(
        max_results=2, filter_string=wanted, order_by=["name DESC"], page_token=first.token
    )
    assert ([found.name[-1] for found in second], second.token) == (["a"], None)
    named = client.iter_experiments(max_results=2, filter_string=f"name LIKE '{unique_name}%'", order_by=["name"])
    assert [found.experiment_id async for found in named] == ids
    assert len(await client.search_experiments(filter_string=wanted)) == 3
    assert await client.search_experiments(filter_string="tags.of = 'nothing'") == []

    await client.delete_experiment(ids[1])
    for view, expected in (("ACTIVE_ONLY", "ac"), ("DELETED_ONLY", "b"), (3, "abc")):
        found = client.iter_experiments(view, filter_string=wanted, order_by=["name"])
        assert "".join([item.name[-1] async for item in found]) == expected


async def test_a_search_that_cannot_be_made_is_refused(client: AsyncMlflowClient) -> None:
    """By the server with its own message, or before anything is sent."""
    with pytest.raises(InvalidParameterError, match="50000"):
        await client.search_experiments(max_results=50_001)
    with pytest.raises(InvalidParameterError, match="nam"):
        await client.search_experiments(filter_string="nam = 'x'")
    for call in (
        lambda: client.search_experiments(max_results=0),
        lambda: client.search_experiments(view_type="SOME"),
        lambda: client.search_experiments(order_by="name"),
        lambda: client.create_experiment(""),
        lambda: client.get_experiment(7),  # type: ignore[arg-type]
        lambda: client.set_experiment_tag("0", "it's", "x"),
        lambda: client.create_experiment("x", tags={"a": "x" * 20_001}),
    ):
        with pytest.raises(InvalidInputError):
            await call()


async def test_get_or_create_makes_one_experiment_for_many_callers(server_uri: str, unique_name: str) -> None:
    """Two clients at the same time, several calls each: one id."""
    found: list[Experiment] = []

    async def get_or_create(client: AsyncMlflowClient) -> None:
        found.append(await client.get_or_create_experiment(unique_name, tags={"a": "b"}))

    async with (
        AsyncMlflowClient(server_uri) as one,
        AsyncMlflowClient(server_uri) as other,
        anyio.create_task_group() as group,
    ):
        for client in (one, other) * 3:
            group.start_soon(get_or_create, client)

    assert len(found) == 6
    assert len({experiment.experiment_id for experiment in found}) == 1
    assert found[0].tags == {"a": "b"}
