"""Fixtures for pytest, found by its entry point: importing this module imports nothing of the package's client."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mlflow_utilities import AsyncMlflowClient
    from mlflow_utilities._clock import Clock
    from mlflow_utilities.testing.rollouts import RolloutTestData
    from mlflow_utilities.testing.server import InMemoryMlflow

__all__ = ["mlflow_client", "mlflow_clock", "mlflow_server", "rollout_test_data"]


@pytest.fixture
def mlflow_clock() -> Clock | None:
    """Give the time of `mlflow_server` and its clients: None for a PromptClock; override it to give another."""
    return None


@pytest.fixture
def mlflow_server(
    mlflow_clock: Clock | None, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> InMemoryMlflow:
    """Give a fresh in-memory MLflow; the cache of models is a directory of the test."""
    from mlflow_utilities.testing.server import InMemoryMlflow

    monkeypatch.setenv("MLFLOW_UTILITIES_CACHE_DIR", str(tmp_path_factory.mktemp("mlflow-cache")))
    return InMemoryMlflow(clock=mlflow_clock)


@pytest.fixture
def mlflow_client(mlflow_server: InMemoryMlflow) -> AsyncMlflowClient:
    """Give a client of `mlflow_server`; it needs no closing, and any event loop may use it first."""
    return mlflow_server.client()


@pytest.fixture
def rollout_test_data(mlflow_server: InMemoryMlflow) -> Callable[[str], RolloutTestData]:
    """Give what makes a RolloutTestData for `mlflow_server`: `rollout_test_data("fraud")`."""
    from mlflow_utilities.testing.rollouts import RolloutTestData

    return lambda experiment_name: RolloutTestData(experiment_name, mlflow_server)
