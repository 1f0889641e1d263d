"""The fixtures of the pytest plugin, which the settings of this repository do not load by themselves."""

from __future__ import annotations

from mlflow_utilities.testing.plugin import mlflow_client, mlflow_clock, mlflow_server, rollout_test_data

__all__ = ["mlflow_client", "mlflow_clock", "mlflow_server", "rollout_test_data"]
