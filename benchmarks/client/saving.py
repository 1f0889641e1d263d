"""Saving, downloading and loading the same scikit-learn model on a real MLflow server."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from typing import Any
from uuid import uuid4

import anyio
from benchmarks.contenders import OWN

Found = dict[str, float]
GIVEN = "requirements given"  # else MLflow starts a process that finds out what the model imports
FLAVOR = {"serialization_format": "cloudpickle"}


def _model() -> Any:
    from sklearn.ensemble import RandomForestClassifier

    rows = [[float(number), float(number % 7)] for number in range(400)]
    return RandomForestClassifier(n_estimators=100, random_state=7).fit(rows, [number % 2 for number in range(400)])


def save(contender: str, uri: str, times: int) -> Found:
    """Save a model, download its files, and load it; a first model, saved before, pays for the imports."""
    os.environ |= {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "TQDM_DISABLE": "1"}
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    name = f"saving {uuid4().hex[:8]}"
    if contender in OWN:
        return anyio.run(_own, OWN[contender], uri, name)
    return _official(uri, name, {"pip_requirements": ["scikit-learn"]} if contender.endswith(GIVEN) else {})


async def _own(library: str, uri: str, name: str) -> Found:
    from mlflow_utilities import AsyncMlflowClient, mlflow_api

    model = _model()
    async with AsyncMlflowClient(uri, http_library=library, timeout=120) as client:

        async def round_trip(version: str) -> Found:
            with tempfile.TemporaryDirectory() as files, tempfile.TemporaryDirectory() as cache:
                begin = time.perf_counter()
                await mlflow_api.save_model(
                    model,
                    version,
                    mlflow_subpackage="sklearn",
                    experiment_name=name,
                    flavor_options=FLAVOR,
                    client=client,
                )
                saved = time.perf_counter()
                (listed,) = await mlflow_api.list_models(version, experiment_name=name, client=client)
                await listed.download(files)
                downloaded = time.perf_counter()
                assert (await listed.load(cache_dir=cache)).n_estimators == 100
                loaded = time.perf_counter()
            return {"save": saved - begin, "download": downloaded - saved, "load": loaded - downloaded}

        await round_trip("1.0.0")
        return await round_trip("1.0.1")


def _official(uri: str, name: str, options: dict[str, Any]) -> Found:
    import mlflow

    model = _model()
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(name)

    def round_trip() -> Found:
        with tempfile.TemporaryDirectory() as files:
            begin = time.perf_counter()
            with mlflow.start_run():
                mlflow.log_params({"submodel_name": name, "major": "1", "minor": "0", "patch": "0"})
                mlflow.set_tags({"active_state": "New", "test_fraction": "0.0"})
                info = mlflow.sklearn.log_model(model, name="model", registered_model_name=name, **FLAVOR, **options)
            saved = time.perf_counter()
            mlflow.MlflowClient().search_runs([mlflow.get_experiment_by_name(name).experiment_id])
            mlflow.artifacts.download_artifacts(info.model_uri, dst_path=files)
            downloaded = time.perf_counter()
            assert mlflow.sklearn.load_model(info.model_uri).n_estimators == 100
            loaded = time.perf_counter()
        return {"save": saved - begin, "download": downloaded - saved, "load": loaded - downloaded}

    round_trip()
    return round_trip()
