"""Assertions on what is in MLflow: they hold, or fail with what is there instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mlflow_utilities import AsyncMlflowClient, InvalidInputError, mlflow_api
from mlflow_utilities.testing import (
    InMemoryMlflow,
    RolloutTestData,
    assert_model_registered,
    assert_requested,
    assert_requests,
    assert_run_logged,
    assert_status,
    assert_status_changed_to,
    assert_test_fractions,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def data(mlflow_client: AsyncMlflowClient, rollout_test_data: Callable[[str], RolloutTestData]) -> Any:
    """Give two Active runs, a Canary one and a New one."""
    data = rollout_test_data("fraud")
    data.run("1.0.0", name="a", params={"lr": "0.1"}, metrics={"auc": 0.9, "loss": float("nan")}).active(0.7)
    data.run("1.0.0", name="b").active(0.3)
    data.run("1.0.0", name="c").canary(0.5)
    data.run("1.0.0", name="d")
    await data.apply()
    await mlflow_client.set_registered_model_alias("fraud", "champion", "2")
    return data


async def test_what_is_so_passes(data: RolloutTestData, mlflow_client: AsyncMlflowClient) -> None:
    """Nothing is raised for statuses, shares, versions and values that are there."""
    a, b, c, d = data.runs
    await assert_status(a, "Active", client=mlflow_client, test_fraction=0.7)
    await assert_status(c.run_id, "canary", client=mlflow_client)
    await assert_status(d, 1, client=mlflow_client)
    await assert_test_fractions({a: 0.7, b.run_id: 0.3}, client=mlflow_client)
    await assert_test_fractions({c: 0.5}, active_state="Canary", client=mlflow_client)
    await assert_model_registered("fraud", client=mlflow_client)
    await assert_model_registered("fraud", version="2", run=b, alias="champion", client=mlflow_client)
    await assert_run_logged(
        a, params={"lr": 0.1}, metrics={"auc": 0.9, "loss": float("nan")}, tags={"active_state": "Active"},
        status="FINISHED", client=mlflow_client,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("check", "texts"),
    [
        (lambda runs, client: assert_status(runs[0], "Canary", client=client), ["is not Canary: Active 0.7", "New 0"]),
        (lambda runs, client: assert_status(runs[0], "Active", client=client, test_fraction=0.6), ["with 0.6"]),
        (
            lambda runs, client: assert_test_fractions({runs[0]: 1.0}, client=client),
            ["Active runs of 1.0.0 are not", "Active 0.3"],
        ),
        (lambda runs, client: assert_model_registered("frauds", client=client), ["no registered model", "fraud"]),
        (
            lambda runs, client: assert_model_registered("fraud", client=client, run=runs[0], alias="champion"),
            ["alias='champion'", "version 2", "aliases=['champion']"],
        ),
        (
            lambda runs, client: assert_model_registered("fraud", client=client, tags={"version": "9"}),
            ["tags={'version': '9'}", "'version': '1.0.0'"],
        ),
        (
            lambda runs, client: assert_run_logged(
                runs[0], client=client, params={"lr": 1}, metrics={"auc": 1, "f1": 2}, tags={"x": 1}, status="FAILED"
            ),
            ["param lr: '0.1', not 1", "metric auc: 0.9, not 1", "metric f1: missing", "tag x: missing", "FINISHED"],
        ),
    ],
)
async def test_what_is_not_so_is_shown(
    data: RolloutTestData, mlflow_client: AsyncMlflowClient, check: Callable[..., Any], texts: list[str]
) -> None:
    """A failure says what was asked and what is there instead."""
    with pytest.raises(AssertionError) as caught:
        await check(data.runs, mlflow_client)

    assert [text for text in texts if text not in str(caught.value)] == []


async def test_the_last_change_of_a_run(data: RolloutTestData, mlflow_client: AsyncMlflowClient) -> None:
    """The newest change that concerned the run counts, with what the history says of it."""
    a, b, _, d = data.runs
    await mlflow_api.enable_run(b.run_id, client=mlflow_client, why="it is better")
    await mlflow_api.disable_run(d.run_id, client=mlflow_client, why="never used")

    await assert_status_changed_to(b, "Active", client=mlflow_client, verb="enable_run", why="it is better")
    await assert_status_changed_to(a, "Disabled", client=mlflow_client, verb="enable_run", who="tester")
    await assert_status_changed_to(d, "Disabled", client=mlflow_client, verb="disable_run", why="never used")
    for status, options in (("Active", {}), ("Disabled", {"verb": "disable_run"}), ("Disabled", {"why": "other"})):
        with pytest.raises(AssertionError, match=r"its changes:\n.*Active 0\.7.*\n.*enable_run.*it is better"):
            await assert_status_changed_to(a, status, client=mlflow_client, **options)


async def test_a_run_that_never_changed(data: RolloutTestData, mlflow_client: AsyncMlflowClient) -> None:
    """A run that is New from the beginning did not change to New."""
    with pytest.raises(AssertionError, match="nothing"):
        await assert_status_changed_to(data.runs[3], "New", client=mlflow_client)


async def test_a_run_that_is_not_listed(mlflow_client: AsyncMlflowClient) -> None:
    """A run that save_model did not make, or that did not finish, is named so."""
    run = await mlflow_client.create_run(await mlflow_client.create_experiment("other"))
    with pytest.raises(AssertionError, match="no submodel_name"):
        await assert_status(run, "New", client=mlflow_client)

    await mlflow_client.log_batch(run.info.run_id, params={"submodel_name": "other", "version": "1.0.0"})
    with pytest.raises(AssertionError, match=r"not listed .*RUNNING"):
        await assert_status(run, "New", client=mlflow_client)

    await mlflow_client.delete_run(run.info.run_id)
    with pytest.raises(AssertionError, match=r"not listed .*deleted"):
        await assert_status(run, "New", client=mlflow_client)


async def test_what_is_no_run_is_refused(mlflow_client: AsyncMlflowClient) -> None:
    """Arguments that cannot be are named."""
    with pytest.raises(InvalidInputError, match="5 is no run"):
        await assert_status(5, "New", client=mlflow_client)
    with pytest.raises(InvalidInputError, match="no run is given"):
        await assert_test_fractions({}, client=mlflow_client)
    with pytest.raises(InvalidInputError, match="'GET runs/get'"):
        assert_requests(InMemoryMlflow(), "GET runs/get")


async def test_requests_are_compared(mlflow_server: InMemoryMlflow, mlflow_client: AsyncMlflowClient) -> None:
    """All requests in their order, by patterns; a failure marks the lines that differ."""
    await mlflow_client.create_experiment("fraud")
    await mlflow_client.get_experiment_by_name("fraud")

    assert_requests(mlflow_server, ["POST experiments/create", "GET experiments/*"])
    with pytest.raises(AssertionError) as caught:
        assert_requests(mlflow_server, ["POST experiments/create", "GET experiments/get", "GET runs/get"])

    assert "! GET experiments/get-by-name   expected GET experiments/get" in str(caught.value)
    assert "! (nothing)   expected GET runs/get" in str(caught.value)


async def test_one_request_is_looked_for(mlflow_server: InMemoryMlflow, mlflow_client: AsyncMlflowClient) -> None:
    """By line, number and part of its JSON; a failure shows the requests of that line."""
    for name in ("a", "b"):
        await mlflow_client.create_experiment(name)

    assert len(assert_requested(mlflow_server, "POST experiments/create", times=2)) == 2
    [found] = assert_requested(mlflow_server, "POST experiments/*", json={"name": "b"})
    assert found.number == 2
    assert_requested(mlflow_server, "POST runs/create", times=0)
    async with mlflow_server.http_client() as http_client:
        await http_client.put(f"{mlflow_server.tracking_uri}/api/2.0/mlflow-artifacts/artifacts/x", content=b"no JSON")
    assert_requested(mlflow_server, "*", json={"name": "b"}, times=1)
    with pytest.raises(AssertionError, match=r"3 times, but 2"):
        assert_requested(mlflow_server, "POST experiments/create", times=3)
    with pytest.raises(AssertionError, match=r'(?s)with .*\'c\'.*"name":"a"'):
        assert_requested(mlflow_server, "POST experiments/create", json={"name": "c"})
    with pytest.raises(AssertionError, match="POST experiments/create"):
        assert_requested(mlflow_server, "GET runs/get")
