"""Models and services for tests: small objects that say which run they are of, saved as runs with artifacts."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.serving import ActiveModels, Change, LoadingOptions
from support.clock import SteppedClock
from support.models import write_model
from support.runs import make_run

__all__ = [
    "MLMODEL",
    "QUICK",
    "Labelled",
    "Reached",
    "ServedProject",
    "Unloadable",
    "clock_of",
    "make_served_project",
    "save_object",
    "serving",
    "until",
    "write_object",
]


MLMODEL = (
    "flavors:\n  sklearn:\n    pickled_model: model.pkl\n    serialization_format: pickle\n    sklearn_version: 1.7.0\n"
)


class Labelled:
    """A model that answers with its label and the input."""

    def __init__(self, label: str) -> None:
        self.label = label

    def predict(self, data: Any) -> tuple[str, Any]:
        """Say who answers what."""
        return self.label, data


@dataclass(frozen=True)
class ServedProject:
    """An experiment with runs that have models, by label."""

    experiment_id: str
    name: str
    runs: dict[str, str]

    def label(self, run_id: str) -> str:
        """Return the label of a run."""
        return next(label for label, run in self.runs.items() if run == run_id)


def write_object(directory: Path, model: object) -> Path:
    """Write any object as a model."""
    return write_model(directory, MLMODEL, **{"model.pkl": pickle.dumps(model)})


async def save_object(
    client: AsyncMlflowClient, experiment_id: str, submodel: str, model: object, version: str = "1.0.0"
) -> str:
    """Save any object as the model of a new run, and return the run's id."""
    run_id = await make_run(client, experiment_id, submodel, version)
    with tempfile.TemporaryDirectory() as folder:
        await client.log_artifacts(run_id, write_object(Path(folder) / "model", model), "model")
    return run_id


async def make_served_project(
    client: AsyncMlflowClient, name: str, labels: Sequence[str] = ("a", "b"), version: str = "1.0.0"
) -> ServedProject:
    """Make an experiment with one run for each label, all New; `label@version` gives a run another version."""
    experiment_id = await client.create_experiment(name)
    runs: dict[str, str] = {}
    for text in labels:
        label, _, own = text.partition("@")
        runs[label] = await save_object(client, experiment_id, name, Labelled(label), own or version)
    return ServedProject(experiment_id, name, runs)


QUICK = LoadingOptions(jitter=False)


def serving(client: AsyncMlflowClient, project: ServedProject, cache: Path, **options: Any) -> ActiveModels:
    """Return a service that waits for nothing when it is entered."""
    fixed: dict[str, Any] = {"model_version": "*", "start": "none", "loading": QUICK, "cache_dir": cache}
    return ActiveModels(client, experiment_name=project.name, **(fixed | options))


def clock_of(client: AsyncMlflowClient) -> SteppedClock:
    """Return the clock that a test moves."""
    assert isinstance(client.clock, SteppedClock)
    return client.clock


class Reached:
    """A listener that lets a test wait for a status."""

    def __init__(self, condition: Callable[[Change], bool]) -> None:
        self.condition = condition
        self.event = anyio.Event()

    async def __call__(self, change: Change) -> None:
        """Look at a change."""
        if self.condition(change):
            self.event.set()


async def until(clock: SteppedClock, condition: Callable[[], bool]) -> None:
    """Let time pass second by second until something is so."""
    for _ in range(1000):
        if condition():
            return
        await clock.advance(1.0)
    raise AssertionError("it never came")


class Unloadable:
    """A model that raises when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse, ()


def _refuse() -> None:
    raise ValueError("this model cannot be loaded")
