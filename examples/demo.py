"""The whole way on a real MLflow server: train, save, roll out, serve, roll back.

Run it with `make demo`. It needs the extra `[mlflow]` and scikit-learn.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from local_server import run_server
from mlflow_utilities import AsyncMlflowClient, ModelStatus, mlflow_api
from mlflow_utilities.serving import ActiveModels, Prediction

EXPERIMENT = "breast-cancer"


def heading(text: str) -> None:
    """Print the title of a step."""
    print(f"\n== {text}")


def train() -> tuple[dict[str, tuple[object, float]], object]:
    """Train one model for each version; return them with their accuracies, and data to predict on."""
    features, target = load_breast_cancer(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(features, target, random_state=7)
    candidates = {
        "1.0.0": LogisticRegression(max_iter=5000, C=0.001),
        "1.1.0": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "1.2.0-rc.1": RandomForestClassifier(n_estimators=20, random_state=7),
    }
    trained: dict[str, tuple[object, float]] = {}
    for version, model in candidates.items():
        model.fit(train_x, train_y)
        trained[version] = (model, float(accuracy_score(test_y, model.predict(test_x))))
    return trained, test_x


async def save_all(client: AsyncMlflowClient, trained: dict[str, tuple[object, float]]) -> dict[str, str]:
    """Save every model, the last two also as a second run of version 1.1.0; return the run of each name."""
    runs: dict[str, str] = {}
    await client.get_or_create_experiment(EXPERIMENT)
    for name, (model, accuracy) in trained.items():
        saved = await mlflow_api.save_model(
            model,
            name,
            mlflow_subpackage="sklearn",
            experiment_name=EXPERIMENT,
            immutable_metadata={"dataset": "load_breast_cancer"},
            mutable_metadata={"accuracy": accuracy, "owner": "ana"},
            client=client,
        )
        runs[name] = saved.run_id
        print(f"saved {name:<11} accuracy {accuracy:.3f}  run {saved.run_id[:8]}  {saved.model_uri}")
    challenger, accuracy = trained["1.2.0-rc.1"]
    saved = await mlflow_api.save_model(
        challenger,
        "1.1.0",
        mlflow_subpackage="sklearn",
        experiment_name=EXPERIMENT,
        mutable_metadata={"accuracy": accuracy, "owner": "ben"},
        client=client,
    )
    runs["1.1.0 challenger"] = saved.run_id
    print(f"saved 1.1.0       accuracy {accuracy:.3f}  run {saved.run_id[:8]}  {saved.model_uri} (challenger)")
    return runs


async def show(client: AsyncMlflowClient) -> None:
    """Print every run with its status and share."""
    for run in await mlflow_api.list_runs(None, experiment_name=EXPERIMENT, client=client):
        share = f"{run.test_fraction:.0%}" if run.status is ModelStatus.Active else ""
        print(f"  {run.version!s:<11} {run.run_id[:8]}  {run.status.name:<9} {share}")


async def serve(active: ActiveModels, data: Any) -> dict[str, str]:
    """Answer a hundred users as a service would; return which run answered each of them."""
    status = await active.refresh()
    answers = {f"user-{n}": await active.predict(data[n : n + 1], key=f"user-{n}") for n in range(100)}
    for (run_id, version), number in Counter((a.model.run_id, str(a.model.version)) for a in answers.values()).items():
        print(f"  generation {status.generation}: {version} {run_id[:8]} answered {number} of 100 users")
    return {user: answer.model.run_id for user, answer in answers.items()}


class Comparison:
    """Counts how often a canary agrees with the model that answered; `done` after a hundred copies."""

    def __init__(self) -> None:
        self.agreed = self.compared = 0
        self.done = anyio.Event()

    async def __call__(self, primary: Prediction[Any], canary: Prediction[Any], key: str | None) -> None:
        """Compare the two answers to one request."""
        self.compared += 1
        self.agreed += bool((primary.output == canary.output).all())
        if self.compared == 100:
            self.done.set()


def load_with_mlflow(uri: str, locations: list[str], data: object) -> None:
    """Load the same model with MLflow's own client, by each of its addresses."""
    import mlflow

    mlflow.set_tracking_uri(uri)
    for location in locations:
        model = mlflow.pyfunc.load_model(location)
        print(f"  mlflow.pyfunc.load_model({location!r}) -> {len(model.predict(data))} predictions")


async def main(uri: str) -> None:
    """Run every step against the server at `uri`."""
    heading("train three models on scikit-learn's breast cancer data")
    trained, data = train()
    async with AsyncMlflowClient(uri) as client:
        print(f"MLflow {await client.server_version()} at {uri}")
        heading("save them: each becomes a run with a version, status New")
        runs = await save_all(client, trained)
        await show(client)

        heading("enable 1.1.0; the release candidate becomes a canary")
        await mlflow_api.enable_run(runs["1.1.0"], client=client, why="first release")
        await mlflow_api.canary_run(runs["1.2.0-rc.1"], client=client, why="watch it on live data")
        await show(client)

        await serve_and_roll_back(client, runs, data)

        heading("the history")
        for entry in await mlflow_api.rollout_history(experiment_name=EXPERIMENT, client=client):
            print(f"  generation {entry.generation}  {entry.verb:<20} {entry.why}")

        heading("the same model through MLflow's own client")
        registered = (await client.search_registered_models())[0]
        version = (await client.search_model_versions(f"run_id = '{runs['1.1.0']}'"))[0]
        run = await client.get_run(runs["1.1.0"])
        logged = run.outputs.model_outputs[0].model_id
    locations = [f"runs:/{runs['1.1.0']}/model", f"models:/{registered.name}/{version.version}", f"models:/{logged}"]
    await anyio.to_thread.run_sync(load_with_mlflow, uri, locations, data)
    heading("done; the server stops")


async def serve_and_roll_back(client: AsyncMlflowClient, runs: dict[str, str], data: Any) -> None:
    """Serve while an operator splits the requests and takes that back."""
    heading("serve ^1 in this process: models are loaded in the background, users routed by their key")
    comparison = Comparison()
    async with ActiveModels(
        client, experiment_name=EXPERIMENT, model_version="^1", canary_version=None, on_canary=comparison
    ) as active:
        before = await serve(active, data)
        await comparison.done.wait()
        print(f"  the canary got copies of all and agrees in {comparison.agreed} of {comparison.compared} answers")

        heading("split 1.1.0 between the model and its challenger, 70 to 30")
        split = {runs["1.1.0"]: 0.7, runs["1.1.0 challenger"]: 0.3}
        await mlflow_api.update_active_runs(
            split, "1.1.0", experiment_name=EXPERIMENT, client=client, why="A/B test of the forest"
        )
        await show(client)
        during = await serve(active, data)

        heading("roll back: one write, every user returns to the model they had")
        await mlflow_api.rollback(experiment_name=EXPERIMENT, client=client, why="the challenger was worse")
        after = await serve(active, data)
        moved = sum(during[user] != before[user] for user in before)
        print(f"  moved by the split: {moved} users, by the rollback: all of them back: {after == before}")


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with tempfile.TemporaryDirectory() as folder, run_server(Path(folder)) as server:
        os.environ["MLFLOW_UTILITIES_CACHE_DIR"] = f"{folder}/cache"
        anyio.run(main, server)
