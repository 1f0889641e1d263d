"""Rollouts described for tests, and the services that serve them."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from mlflow_utilities import AsyncMlflowClient, InvalidInputError, ModelStatus, mlflow_api
from mlflow_utilities.serving import ActiveModels
from mlflow_utilities.testing import (
    InMemoryMlflow,
    RolloutTestData,
    SteppedClock,
    assert_model_registered,
    assert_run_logged,
    assert_status,
    assert_test_fractions,
)
from mlflow_utilities.testing.stand_ins import write_model

pytestmark = pytest.mark.anyio
Make = Callable[[str], RolloutTestData]


def serving(client: AsyncMlflowClient, **options: Any) -> ActiveModels:
    """Return a service of the experiment "fraud"."""
    return ActiveModels(client, **{"experiment_name": "fraud", "model_version": "1.0.0", **options})


async def answers(models: ActiveModels, data: Any = None, keys: int = 200) -> Counter[str]:
    """Return how often which answer came, over many keys."""
    return Counter([(await models.predict(data, key=str(key))).output for key in range(keys)])


async def test_a_service_answers_as_described(mlflow_client: AsyncMlflowClient, rollout_test_data: Make) -> None:
    """Two Active runs share the requests; one model is a function, the other a fixed answer."""
    data = rollout_test_data("fraud")
    data.run("1.0.0", model=lambda rows: f"old of {len(rows)}").active(0.7)
    data.run("1.0.0", answer="new").active(0.3)
    await data.apply()

    async with serving(mlflow_client) as models:
        seen = await answers(models, [1, 2])

    assert set(seen) == {"old of 2", "new"}
    assert seen["new"] < seen["old of 2"]


async def test_a_change_reaches_a_service(mlflow_client: AsyncMlflowClient, rollout_test_data: Make) -> None:
    """What is described later is changed by the verbs, and the service follows."""
    data = rollout_test_data("fraud")
    old = data.run("1.0.0", answer="old").active()
    await data.apply()
    async with serving(mlflow_client) as models:
        assert set(await answers(models)) == {"old"}

        old.disabled()
        data.run("1.0.0", answer="new").active()
        await data.update()
        await models.refresh()

        assert set(await answers(models)) == {"new"}


async def test_a_service_that_polls_sees_a_change() -> None:
    """When the clock has come to the next poll, the service serves the new rollout without being asked."""
    clock = SteppedClock()
    server = InMemoryMlflow(clock=clock)
    data = RolloutTestData("fraud")
    old, new = data.run("1.0.0", answer="old").active(), data.run("1.0.0", answer="new")
    await data.apply(server)
    async with serving(server.client(), start="none", refresh_interval=30.0) as models:
        await clock.advance_until(lambda: models.health().ready)
        old.disabled()
        new.active()
        await data.update()
        assert models.choose("ana").run_id == old.run_id

        await clock.advance_until(lambda: models.choose("ana").run_id == new.run_id)

    assert clock.monotonic() < 100


async def test_a_service_loads_the_very_object(mlflow_client: AsyncMlflowClient, rollout_test_data: Make) -> None:
    """A model of a class that cannot be pickled is loaded as it is, so that a test can look at what it was asked."""

    class Spy:
        def __init__(self) -> None:
            self.asked: list[Any] = []
            self.lock = threading.Lock()

        def predict(self, data: Any) -> int:
            with self.lock:
                self.asked.append(data)
            return len(data)

    spy = Spy()
    data = rollout_test_data("fraud")
    run = data.run("1.0.0", model=spy).active()
    await data.apply()

    async with serving(mlflow_client) as models:
        assert (await models.predict([1, 2], key="ana")).output == 2
        assert models.choose("ana").loaded is spy

    assert run.model is spy
    assert spy.asked == [[1, 2]]


async def test_a_canary_gets_copies(mlflow_client: AsyncMlflowClient, rollout_test_data: Make) -> None:
    """A canary's answers are compared and not given."""
    data = rollout_test_data("fraud")
    data.run("1.0.0", answer="live").active()
    data.run("1.0.0", answer="shadow").canary()
    await data.apply()
    pairs: list[tuple[str, str]] = []
    compared = anyio.Event()

    async def compare(primary: Any, canary: Any, key: str | None) -> None:
        pairs.append((primary.output, canary.output))
        compared.set()

    async with serving(mlflow_client, on_canary=compare) as models:
        await models.refresh()
        assert (await models.predict([1], key="ana")).output == "live"
        await compared.wait()

    assert pairs == [("live", "shadow")]


async def test_runs_are_as_save_model_leaves_them(mlflow_client: AsyncMlflowClient, rollout_test_data: Make) -> None:
    """A run has its params, logged model and registered version, and its model loads."""
    data = rollout_test_data("fraud")
    run = data.run("1.2.0", answer=5, params={"lr": 0.1}, metrics={"auc": 0.9}, tags={"team": "a"})
    await data.apply()

    [model] = await mlflow_api.list_models("^1", experiment_name="fraud", client=mlflow_client)
    assert (model.run_id, str(model.version), model.status) == (run.run_id, "1.2.0", ModelStatus.New)
    assert (await model.load()).predict(None) == 5
    assert data.experiment_id == model.experiment_id
    await assert_run_logged(
        run, client=mlflow_client, params={"lr": 0.1}, metrics={"auc": 0.9}, tags={"team": "a"}, status="FINISHED"
    )
    await assert_model_registered("fraud", client=mlflow_client, run=run, version=1, tags={"version": "1.2.0"})


async def test_versions_and_submodels_are_apart(mlflow_client: AsyncMlflowClient, rollout_test_data: Make) -> None:
    """Each version of each submodel has its own shares."""
    data = rollout_test_data("fraud")
    one = data.run("1.0.0").active()
    two = data.run("2.0.0").active()
    eu = data.run("1.0.0", submodel_name="eu").active(0.4)
    other = data.run("1.0.0", submodel_name="eu").active()
    await data.apply()

    for run, share in ((one, 1.0), (two, 1.0), (eu, 0.4), (other, 0.6)):
        await assert_status(run, "Active", client=mlflow_client, test_fraction=share)
    await assert_model_registered("fraud.eu", client=mlflow_client, run=eu)


@pytest.mark.parametrize(
    "after",
    [
        {"a": ("active", 0.5), "b": ("active", 0.5), "c": ("canary", 1.0)},
        {"a": ("active", 1.0), "b": ("disabled", None), "c": ("canary", 0.25)},
        {"a": ("canary", 1.0), "b": ("active", 0.2), "c": ("active", 0.8)},
        {"a": ("disabled", None), "b": ("disabled", None), "c": ("disabled", None)},
        {"a": ("new", None), "b": ("new", None), "c": ("new", None)},
    ],
    ids=["shares", "one", "turned", "nothing", "new"],
)
async def test_every_rollout_can_be_reached(
    mlflow_client: AsyncMlflowClient, rollout_test_data: Make, after: dict[str, tuple[str, float | None]]
) -> None:
    """From a rollout to another and back, and no verb is called when nothing changes."""
    before = {"a": ("active", 0.9), "b": ("active", 0.1), "c": ("canary", 0.5)}
    data = rollout_test_data("fraud")
    runs = {name: data.run("1.0.0", name=name) for name in before}
    for wanted in (before, after, before):
        for name, (status, share) in wanted.items():
            getattr(runs[name], status)(*(() if share is None else (share,)))
        await data.update()

        for name, (status, share) in wanted.items():
            await assert_status(runs[name], status, client=mlflow_client, test_fraction=share or 0.0)
        assert await data.update() == []


async def test_shares_left_open_are_filled(mlflow_client: AsyncMlflowClient, rollout_test_data: Make) -> None:
    """Active runs without a share get what the others leave, in equal parts."""
    data = rollout_test_data("fraud")
    runs = [data.run("1.0.0").active(share) for share in (0.5, None, None)]
    await data.apply()

    await assert_test_fractions(dict(zip(runs, (0.5, 0.25, 0.25), strict=True)), client=mlflow_client)
    assert [run.name for run in runs] == ["1.0.0", "1.0.0 #2", "1.0.0 #3"]


@pytest.mark.parametrize(
    ("shares", "text"),
    [((0.5, 0.4), "make 0.9"), ((0.5, 0.5, None), "make 1 "), ((0.7, 0.7), "make 1.4"), ((0.7,), "make 0.7")],
)
async def test_shares_must_make_one(
    mlflow_server: InMemoryMlflow, rollout_test_data: Make, shares: tuple[float | None, ...], text: str
) -> None:
    """Shares that do not make 1 are refused before anything is sent."""
    data = rollout_test_data("fraud")
    for share in shares:
        data.run("1.0.0").active(share)

    with pytest.raises(InvalidInputError, match=text):
        await data.apply()

    assert mlflow_server.requests == []


@pytest.mark.parametrize(
    ("describe", "text"),
    [
        (lambda data: data.run("1.0"), "1.0"),
        (lambda data: data.run("1.0.0", model=5), "the model is 5"),
        (lambda data: data.run("1.0.0", model=len, answer=1), "both model and answer"),
        (lambda data: data.run("1.0.0", name="a") and data.run("2.0.0", name="a"), "two runs 'a'"),
        (lambda data: data.run("1.0.0").active(0.0), "is 0.0"),
        (lambda data: data.run("1.0.0").active(1.1), "is 1.1"),
        (lambda data: data.run("1.0.0").canary(-0.1), "is -0.1"),
        (lambda data: data.run("1.0.0").active("0.5"), "is '0.5'"),
        (lambda data: data.run("1.0.0").canary(None), "is None"),
        (lambda data: data.run("1.0.0", name=5), "is 5"),
        (lambda data: data.run("1.0.0", model=Counter), "the model is <class"),
        (lambda data: data.run("1.0.0", params={"version": "9.9.9"}), "params has .*version"),
        (lambda data: data.run("1.0.0", tags={"active_state": "Active"}), "tags has .*active_state"),
        (lambda data: data.run("1.0.0", metrics={"test_fraction": 1.0}), "metrics has .*test_fraction"),
        (lambda data: data.run("1.0.0", metrics={"auc": "high"}), "metric 'auc' is 'high'"),
        (lambda data: data.run("1.0.0", params=5), "params is 5"),
        (lambda data: data.run("1.0.0").run_id, "does not exist yet"),
        (lambda data: data.experiment_id, "nothing exists yet"),
    ],
)
async def test_what_makes_no_sense_is_refused(describe: Callable[[RolloutTestData], object], text: str) -> None:
    """A description that cannot be is refused where it is written."""
    with pytest.raises(InvalidInputError, match=text):
        describe(RolloutTestData("fraud"))


async def test_a_server_is_needed() -> None:
    """Without a server the error says where to give one."""
    with pytest.raises(InvalidInputError, match=r"data\.apply\(server\)"):
        await RolloutTestData("fraud").apply()


async def test_it_works_on_a_real_server(server_uri: str, unique_name: str, tmp_path: Path) -> None:
    """The same description makes the same rollout on MLflow itself."""
    async with AsyncMlflowClient(server_uri) as client:
        data = RolloutTestData(unique_name, client)
        old, new = data.run("1.0.0", answer="old").active(0.6), data.run("1.0.0", answer="new").active()
        await data.apply()
        await assert_test_fractions({old: 0.6, new: 0.4}, client=client)
        async with serving(client, experiment_name=unique_name, cache_dir=tmp_path) as models:
            assert set(await answers(models)) == {"old", "new"}


LOAD = "import sys; from pathlib import Path; from mlflow_utilities.models.loading import load_directory; "
LOAD += "sys.modules['mlflow'] = sys.modules['yaml'] = None;"


@pytest.mark.parametrize(
    ("model", "output"),
    [(Counter("aab"), "Counter({'a': 2, 'b': 1})"), (lambda data: data, "cannot be pickled")],
    ids=["picklable", "not"],
)
async def test_another_process_gets_a_copy(tmp_path: Path, model: object, output: str) -> None:
    """A process that is not the test's loads a copy, without mlflow and YAML, or says why it cannot."""
    write_model(tmp_path, model)
    code = f"{LOAD} print(load_directory(Path({str(tmp_path)!r}), 'm'))"
    run = functools.partial(subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=False)

    answer = await anyio.to_thread.run_sync(run)

    assert output in answer.stdout + answer.stderr
