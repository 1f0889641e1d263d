"""A real `mlflow server` on a free loopback port: the one that `mlflow-utilities demo` starts."""

from __future__ import annotations

from mlflow_utilities.cli.local_server import free_port, run_process, run_server

__all__ = ["free_port", "run_process", "run_server"]
