"""Logged models on a real server; servers 2.x have none."""

from __future__ import annotations

import pytest
from mlflow.entities import LoggedModelStatus as MlflowStatus

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.entities import LoggedModelStatus
from mlflow_utilities.errors import BadRequestError, EndpointNotFoundError, InvalidInputError, NotFoundError
from mlflow_utilities.resources._base import without_create_id

pytestmark = pytest.mark.anyio


@pytest.fixture
async def experiment_id(client: AsyncMlflowClient, unique_name: str) -> str:
    """Make an experiment for one test."""
    return await client.create_experiment(unique_name)


async def has_logged_models(client: AsyncMlflowClient, experiment_id: str) -> bool:
    """Say whether the server knows logged models; one that does not says so to every method."""
    if not (await client.server_version()).startswith("2."):
        return True
    for call in (
        lambda: client.create_logged_model(experiment_id),
        lambda: client.get_logged_model("m-1"),
        lambda: client.finalize_logged_model("m-1", "READY"),
        lambda: client.delete_logged_model("m-1"),
        lambda: client.search_logged_models([experiment_id]),
        lambda: client.set_logged_model_tags("m-1", {"a": "b"}),
        lambda: client.delete_logged_model_tag("m-1", "a"),
        lambda: client.log_model_params("m-1", {"a": "b"}),
        lambda: client.list_logged_model_artifacts("m-1"),
    ):
        with pytest.raises(EndpointNotFoundError, match="older"):
            await call()
    return False


async def test_a_logged_model_is_made_finished_tagged_and_removed(
    client: AsyncMlflowClient, experiment_id: str
) -> None:
    """Pending until it is finalised; params are written once; keys may have any character but a slash to delete."""
    if not await has_logged_models(client, experiment_id):
        return
    made = await client.create_logged_model(experiment_id, "model", None, {"it's": 1}, {"p[0]": 1}, "agent")
    model_id = made.model_id
    assert (made.name, made.model_type, made.experiment_id) == ("model", "agent", experiment_id)
    assert (made.status, made.params, without_create_id(made.tags)) == (
        LoggedModelStatus.PENDING,
        {"p[0]": "1"},
        {"it's": "1"},
    )

    assert (await client.finalize_logged_model(model_id, MlflowStatus.FAILED)).status == "FAILED"
    assert (await client.finalize_logged_model(model_id, "READY")).status == LoggedModelStatus.READY
    await client.log_model_params(model_id, {f"q{number}": number for number in range(150)})
    with pytest.raises(BadRequestError):
        await client.log_model_params(model_id, {"q1": 1})
    await client.set_logged_model_tags(model_id, {"a": "b"})
    await client.delete_logged_model_tag(model_id, "it's")
    with pytest.raises(NotFoundError, match="it's"):
        await client.delete_logged_model_tag(model_id, "it's")
    with pytest.raises(InvalidInputError, match="slash"):
        await client.delete_logged_model_tag(model_id, "a/b")
    found = await client.get_logged_model(model_id)
    assert (len(found.params), without_create_id(found.tags)) == (151, {"a": "b"})

    await client.delete_logged_model(model_id)
    await client.delete_logged_model(model_id)
    with pytest.raises(NotFoundError, match=model_id):
        await client.get_logged_model(model_id)
    with pytest.raises(InvalidInputError, match="DONE"):
        await client.finalize_logged_model(model_id, "DONE")


async def test_logged_models_are_searched_page_by_page(client: AsyncMlflowClient, experiment_id: str) -> None:
    """In order, filtered, by the metrics logged to them, over page ends."""
    if not await has_logged_models(client, experiment_id):
        return
    run_id = (await client.create_run(experiment_id)).info.run_id
    ids = [(await client.create_logged_model(experiment_id, f"m{n}", run_id)).model_id for n in range(3)]
    for number, model_id in enumerate(ids):
        await client.log_metric(run_id, "auc", number / 4, step=number, model_id=model_id)

    by_name = [{"field_name": "name", "ascending": False}]
    page = await client.search_logged_models([experiment_id], max_results=2, order_by=by_name)
    assert [model.model_id for model in page] == ids[:0:-1]
    assert page[0].metrics[0].value == 0.5
    every = client.iter_logged_models([experiment_id], max_results=2, order_by=by_name)
    assert [model.model_id async for model in every] == ids[::-1]
    good = await client.search_logged_models([experiment_id], "metrics.auc > 0.2 AND name != 'm2'")
    assert [model.model_id for model in good] == [ids[1]]
    with pytest.raises(InvalidInputError, match="list of ids"):
        await client.search_logged_models(experiment_id)
