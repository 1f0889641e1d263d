"""Saving and loading models on a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from mlflow_utilities import AsyncMlflowClient, InvalidInputError
from mlflow_utilities.models.loading import download, load
from mlflow_utilities.models.saving import SavedFiles, save
from support.models import DATA, classifier
from support.transports import faulty_client

pytestmark = pytest.mark.anyio

FILES = ["conda.yaml", "model.pkl", "python_env.yaml", "requirements.txt"]


@pytest.fixture
async def client(server_uri: str) -> AsyncIterator[AsyncMlflowClient]:
    """Give a client; which HTTP library it has makes no difference here."""
    async with AsyncMlflowClient(server_uri) as client:
        yield client


def doubling() -> object:
    """Return a model for mlflow.pyfunc."""
    import mlflow.pyfunc

    class Doubling(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, model_input: list[list[float]], params: Any = None) -> list[float]:
            return [2 * row[0] for row in model_input]

    return Doubling()


async def is_3x(client: AsyncMlflowClient) -> bool:
    """Say whether the server has logged models."""
    return not (await client.server_version()).startswith("2.")


def predict_with_mlflow(uri: str, location: str) -> list[float]:
    """Load with MLflow's own client and predict."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    return list(mlflow.pyfunc.load_model(location).predict(DATA))


def locations(saved: SavedFiles) -> list[str]:
    """Return every address of the model."""
    version = f"models:/{saved.registered_model_name}/{saved.registered_model_version}"
    return [f"runs:/{saved.run_id}/model", version, saved.model_uri]


@pytest.mark.parametrize(("make", "expected"), [(classifier, [0, 0, 1, 1]), (doubling, [0.0, 2.0, 4.0, 6.0])])
async def test_a_model_is_loaded_by_each_of_its_addresses(
    client: AsyncMlflowClient, unique_name: str, tmp_path: Path, make: Any, expected: list[float]
) -> None:
    """By this package and by MLflow's own client, and predicts as the original."""
    experiment_id = await client.create_experiment(unique_name)
    saved = await save(client, make(), experiment_id=experiment_id, registered_model_name=unique_name)
    assert (saved.model_id is not None) == await is_3x(client)
    for location in locations(saved):
        loaded = await load(client, location, cache_dir=tmp_path)
        assert list(loaded.predict(DATA)) == expected
        assert await anyio.to_thread.run_sync(predict_with_mlflow, client.tracking_uri, location) == expected
    if make is classifier:
        assert type(loaded).__name__ == "LogisticRegression"
        as_pyfunc = await load(client, saved.model_uri, cache_dir=tmp_path, flavors=["pyfunc"])
        assert type(as_pyfunc).__name__ == "PyFuncModel"


async def test_a_saved_model_has_its_params_metrics_and_tags(client: AsyncMlflowClient, unique_name: str) -> None:
    """On the run, which is FINISHED, on the logged model, and on the version; more than 100 params, too."""
    experiment_id = await client.create_experiment(unique_name)
    params = {f"p{number}": str(number) for number in range(120)}
    saved = await save(
        client,
        classifier(),
        experiment_id=experiment_id,
        registered_model_name=unique_name,
        run_name="first",
        params=params,
        metrics={"auc": 0.5},
        tags={"owner": "ana"},
        version_tags={"version": "1.2.3"},
    )
    run = await client.get_run(saved.run_id)
    assert (run.info.status, run.info.run_name, run.data.tags["owner"]) == ("FINISHED", "first", "ana")
    assert (run.data.params, run.data.metrics) == (params, {"auc": 0.5})
    version = await client.get_model_version(unique_name, saved.registered_model_version)
    assert (version.run_id, version.model_id, version.tags["version"]) == (saved.run_id, saved.model_id, "1.2.3")
    if saved.model_id is not None:
        model = await client.get_logged_model(saved.model_id)
        assert (model.status, model.source_run_id, model.params) == ("READY", saved.run_id, params)
        assert [made.model_id for made in run.outputs.model_outputs] == [saved.model_id]


async def test_requests_of_saving_and_loading_are_as_few_as_can_be(
    server_uri: str, unique_name: str, tmp_path: Path
) -> None:
    """The first save also learns what the server has; loading a cached logged model asks for nothing."""
    async with faulty_client(server_uri) as (client, transport):
        experiment_id = await client.create_experiment(unique_name)
        logged_models = await is_3x(client)
        model = classifier()
        for first in (True, False):
            transport.forget()
            saved = await save(
                client, model, experiment_id=experiment_id, registered_model_name=unique_name, params={"a": "1"}
            )
            place = "artifacts" if logged_models else "model"
            assert sorted(transport.lines) == sorted(
                [
                    "POST runs/create",
                    *(["POST mlflow/logged-models"] if logged_models or first else []),
                    "POST runs/log-batch",
                    *(["POST runs/outputs"] if logged_models else ["POST runs/log-model"]),
                    *(f"PUT {place}/{name}" for name in (*FILES, "MLmodel")),
                    *([f"PATCH logged-models/{saved.model_id}"] if logged_models else []),
                    "POST model-versions/create",
                    *(["POST registered-models/create", "POST model-versions/create"] if first else []),
                    "POST runs/update",
                ]
            )
            assert transport.lines[-1] == "POST runs/update"
        transport.forget()
        await load(client, saved.model_uri, cache_dir=tmp_path)
        assert len(transport.lines) == 7 + (not logged_models)  # where it is, what is there, five files
        transport.forget()
        await load(client, saved.model_uri, cache_dir=tmp_path)
        assert transport.lines == ([] if logged_models else ["GET runs/get", "POST logged-models/search"])


async def test_a_server_without_logged_models_is_asked_for_them_once(
    server_uri: str, unique_name: str, tmp_path: Path
) -> None:
    """The files then go to the run, where MLflow's client looks for them."""

    def old(_: int, request: httpx.Request) -> httpx.Response | None:
        return httpx.Response(404, html="<h1>Not Found</h1>") if "logged-models" in request.url.path else None

    async with faulty_client(server_uri, old) as (client, transport):
        experiment_id = await client.create_experiment(unique_name)
        model = classifier()
        for _ in range(2):
            saved = await save(client, model, experiment_id=experiment_id, registered_model_name=unique_name)
        assert transport.lines.count("POST mlflow/logged-models") == 1
        assert (saved.model_id, saved.model_uri) == (None, f"runs:/{saved.run_id}/model")
        for location in locations(saved):
            assert list((await load(client, location, cache_dir=tmp_path)).predict(DATA)) == [0, 0, 1, 1]
    predicted = await anyio.to_thread.run_sync(predict_with_mlflow, server_uri, saved.model_uri)
    assert predicted == [0, 0, 1, 1]


async def test_two_saves_at_once_make_two_versions(client: AsyncMlflowClient, unique_name: str) -> None:
    """Also when the registered model is not there before."""
    experiment_id = await client.create_experiment(unique_name)
    model = classifier()
    saved: list[SavedFiles] = []

    async def one() -> None:
        saved.append(await save(client, model, experiment_id=experiment_id, registered_model_name=unique_name))

    async with anyio.create_task_group() as group:
        group.start_soon(one)
        group.start_soon(one)
    assert sorted(item.registered_model_version for item in saved) == ["1", "2"]
    assert len({item.run_id for item in saved}) == 2
    for run in await client.search_runs([experiment_id]):
        assert run.info.status == "FINISHED"


async def test_options_of_the_flavor_are_passed_on(client: AsyncMlflowClient, unique_name: str, tmp_path: Path) -> None:
    """E.g. the format of the file, an example of the input, further requirements."""
    experiment_id = await client.create_experiment(unique_name)
    saved = await save(
        client,
        classifier(),
        mlflow_subpackage="mlflow.sklearn",
        flavor_options={"serialization_format": "skops", "extra_pip_requirements": ["six==1.17.0"]},
        experiment_id=experiment_id,
        registered_model_name=unique_name,
    )
    folder = Path(await download(client, saved.model_uri, tmp_path / "here"))
    assert (folder / "model.skops").is_file()
    requirements = (folder / "requirements.txt").read_text().split()
    assert [line.partition("==")[0] for line in sorted(requirements)] == ["mlflow", "scikit-learn", "six", "skops"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mlflow_subpackage": "sklern"}, "no flavor 'sklern'"),
        ({"mlflow_subpackage": "pyfunc"}, "cannot save an object of type sklearn"),
        ({"flavor_options": {"path": "x"}}, "takes no path"),
        ({"registered_model_name": "a/b"}, "has a '/'"),
        ({"params": {"k": "v" * 6001}}, "6001 characters"),
        ({"metrics": {"k": "high"}}, "metric k is 'high'"),
        ({"tags": {"": "x"}}, "the key of a tag"),
        ({"experiment_id": ""}, "experiment_id is ''"),
    ],
)
async def test_bad_input_is_refused_before_anything_is_sent(
    server_uri: str, arguments: dict[str, Any], message: str
) -> None:
    """With the value and what to do."""
    async with faulty_client(server_uri) as (client, transport):
        with pytest.raises(InvalidInputError, match=message):
            await save(client, classifier(), **{"experiment_id": "1", "registered_model_name": "m", **arguments})
        assert transport.lines == []
