"""What is logged to runs on a real server: metrics, params, tags, batches, inputs and outputs."""

from __future__ import annotations

import math
from typing import Any

import pytest
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput as MlflowDatasetInput
from mlflow.entities import InputTag as MlflowInputTag
from mlflow.entities import Metric as MlflowMetric
from mlflow.entities import Param as MlflowParam
from mlflow.entities import RunTag as MlflowRunTag

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    RunTag,
)
from mlflow_utilities.errors import (
    BadRequestError,
    EndpointNotFoundError,
    InvalidInputError,
    InvalidParameterError,
    NotFoundError,
)

pytestmark = pytest.mark.anyio

BIG = 2**53 + 1
LARGEST = 1.7976931348623157e308  # what MLflow's SQL store makes of infinity


@pytest.fixture
async def run_id(client: AsyncMlflowClient) -> str:
    """Make a run for one test."""
    return (await client.create_run("0")).info.run_id


async def test_metrics_keep_every_value_and_every_integer(client: AsyncMlflowClient, run_id: str) -> None:
    """NaN and infinities go both ways, steps and times beyond 2^53 too; the history is oldest first."""
    await client.log_metric(run_id, "m", 0.1 + 0.2, timestamp=5, step=-3)
    await client.log_metric(run_id, "m", math.nan, timestamp=6, step=BIG)
    await client.log_metric(run_id, "m", 0.5, timestamp=BIG, step=2**62)
    await client.log_metric(run_id, "m", 0.5, timestamp=BIG, step=2**62)
    await client.log_metric(run_id, "high", math.inf)
    await client.log_metric(run_id, "low", -math.inf)
    await client.log_metric(run_id, "nan", math.nan)

    points = await client.get_metric_history(run_id, "m")
    assert [(point.timestamp, point.step) for point in points] == [(5, -3), (6, BIG), (BIG, 2**62)]
    assert points[0].value == 0.1 + 0.2
    assert math.isnan(points[1].value)
    latest = (await client.get_run(run_id)).data.metrics
    assert math.isnan(latest.pop("nan"))
    assert latest == {"m": 0.5, "high": LARGEST, "low": -LARGEST}
    assert await client.get_metric_history(run_id, "other") == []


async def test_a_long_history_comes_in_pages(client: AsyncMlflowClient, run_id: str) -> None:
    """Servers 2.x send it whole, whatever is asked for."""
    await client.log_batch(run_id, [Metric("m", number, 1, number) for number in range(7)])

    page = await client.get_metric_history(run_id, "m", 3)
    whole = (await client.server_version()).startswith("2.")
    assert (len(page), page.token is None) == ((7, True) if whole else (3, False))
    assert [point.value async for point in client.iter_metric_history(run_id, "m", 3)] == list(range(7))
    if not whole:
        second = await client.get_metric_history(run_id, "m", 3, page.token)
        assert [point.step for point in second] == [3, 4, 5]


async def test_a_param_is_written_once(client: AsyncMlflowClient, run_id: str) -> None:
    """The same value again is accepted, another one refused with both named."""
    assert await client.log_param(run_id, "lr", 0.1) == 0.1
    await client.log_param(run_id, "lr", "0.1")
    with pytest.raises(InvalidParameterError, match=r"0\.1.*0\.2"):
        await client.log_param(run_id, "lr", 0.2)
    await client.log_param(run_id, "long", "x" * 6000)
    with pytest.raises(InvalidInputError, match="6001"):
        await client.log_param(run_id, "longer", "x" * 6001)

    assert (await client.get_run(run_id)).data.params == {"lr": "0.1", "long": "x" * 6000}


async def test_tags_are_set_and_deleted(client: AsyncMlflowClient, run_id: str) -> None:
    """A tag that is not there cannot be deleted; a tag may name the run."""
    await client.set_tag(run_id, "a/b", "1")
    await client.set_tag(run_id, "a/b", None)
    await client.set_tag(run_id, "mlflow.runName", "named")
    run = await client.get_run(run_id)
    assert (run.data.tags["a/b"], run.info.run_name) == ("None", "named")
    await client.delete_tag(run_id, "a/b")
    with pytest.raises(NotFoundError, match="a/b"):
        await client.delete_tag(run_id, "a/b")
    with pytest.raises(InvalidInputError):
        await client.set_tag(run_id, "a", "x" * 8001)


async def test_a_large_batch_is_stored_whole(client: AsyncMlflowClient, run_id: str) -> None:
    """More than one request takes: 250 params, 2,500 metrics, 150 tags."""
    params = {f"p{number}": str(number) for number in range(250)}
    tags = {f"t{number}": str(number) for number in range(150)}

    await client.log_batch(run_id, [Metric(f"m{n}", n, 1) for n in range(2500)], params, tags)

    data = (await client.get_run(run_id)).data
    assert data.params == params
    assert data.metrics == {f"m{number}": float(number) for number in range(2500)}
    assert {key: value for key, value in data.tags.items() if key.startswith("t")} == tags


async def test_a_batch_that_is_stored_already_is_stored_once(client: AsyncMlflowClient, run_id: str) -> None:
    """Wholly or in part; servers 2.x refuse that for more than 100 metrics at once, so they get fewer."""
    client = client.with_options(max_retries=0)
    metrics = [Metric(f"m{number}", number, 1) for number in range(150)]
    await client.log_batch(run_id, metrics[:9])
    for _ in range(2):
        await client.log_batch(run_id, metrics, {"p": "1"}, {"t": "1"})

    assert len((await client.get_run(run_id)).data.metrics) == 150
    assert [len(await client.get_metric_history(run_id, f"m{number}")) for number in (0, 149)] == [1, 1]


async def test_a_batch_takes_entities_of_this_package_and_of_mlflow(client: AsyncMlflowClient, run_id: str) -> None:
    """By attribute; an empty batch sends nothing."""
    await client.log_batch(run_id, [Metric("a", 1.0, 1)], [Param("a", "1")], [RunTag("a", "1")])
    await client.log_batch(run_id, [MlflowMetric("b", 2.0, 1, 0)], [MlflowParam("b", "2")], [MlflowRunTag("b", "2")])
    await client.log_batch("no-such-run")

    data = (await client.get_run(run_id)).data
    assert (data.metrics, data.params) == ({"a": 1.0, "b": 2.0}, {"a": "1", "b": "2"})
    assert (data.tags["a"], data.tags["b"]) == ("1", "2")


async def test_a_batch_with_a_wrong_part_is_not_sent(client: AsyncMlflowClient, run_id: str) -> None:
    """Nothing of it is stored; a conflict that only the server knows stores nothing of that request either."""
    wrong: list[dict[str, Any]] = [
        {"params": {"a": "1"}, "tags": {"it's": "x"}},
        {"params": {"a": "1"}, "metrics": [Metric("m", 1.0), ("m", 2.0)]},
        {"params": {f"p{number}": "x" for number in range(150)} | {"b": "x" * 6001}},
        {"params": {"a": "1"}, "metrics": [Metric("m", True)]} | {"tags": {"": "x"}},
    ]
    for arguments in wrong:
        with pytest.raises(InvalidInputError):
            await client.log_batch(run_id, **arguments)
    assert (await client.get_run(run_id)).data.params == {}

    await client.log_param(run_id, "a", "1")
    with pytest.raises(InvalidParameterError, match="Changing param values"):
        await client.log_batch(run_id, [Metric("m", 1.0)], {"a": "2"}, {"t": "x"})
    data = (await client.get_run(run_id)).data
    assert (data.metrics, "t" in data.tags) == ({}, False)
    with pytest.raises(NotFoundError):
        await client.log_batch("no-such-run", params={"a": "1"})


async def test_inputs_and_outputs_of_a_run(client: AsyncMlflowClient, run_id: str, unique_name: str) -> None:
    """Datasets are logged again without harm, logged models only once; servers 2.x have no models."""
    tags = [InputTag(key="mlflow.data.context", value="train")]
    ours = Dataset(name=unique_name, digest="1", source_type="s", source="{}", schema="[]")
    theirs = MlflowDataset(unique_name, "2", "s", "{}", schema="[]")
    datasets: list[Any] = [
        DatasetInput(dataset=ours, tags=tags),
        MlflowDatasetInput(theirs, [MlflowInputTag("mlflow.data.context", "train")]),
    ]
    for _ in range(2):
        await client.log_inputs(run_id, datasets, [LoggedModelInput(model_id="m-1")])

    run = await client.get_run(run_id)
    found = {item.dataset.digest: (item.dataset.schema, item.tags) for item in run.inputs.dataset_inputs}
    assert found == {"1": ("[]", tags), "2": ("[]", tags)}
    outputs = [LoggedModelOutput(model_id="m-2", step=3)]
    if (await client.server_version()).startswith("2."):
        assert run.inputs.model_inputs == []
        with pytest.raises(EndpointNotFoundError):
            await client.log_outputs(run_id, outputs)
        return
    assert run.inputs.model_inputs == [LoggedModelInput(model_id="m-1")]
    await client.log_outputs(run_id, outputs)
    with pytest.raises(BadRequestError):
        await client.log_outputs(run_id, outputs)
    assert (await client.get_run(run_id)).outputs.model_outputs == outputs
