"""The in-memory MLflow as a process that serves HTTP on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from local_server import free_port, run_process

__all__ = ["run_in_memory_server"]


@contextlib.contextmanager
def run_in_memory_server(folder: Path) -> Iterator[str]:
    """Run one until the block ends; its log is kept in `folder`."""
    port = free_port()
    command = [
        sys.executable, "-m", "uvicorn", "--factory", "mlflow_utilities.testing:InMemoryMlflow",
        "--host", "127.0.0.1", "--port", str(port), "--no-access-log",
    ]  # fmt: skip
    uri = f"http://127.0.0.1:{port}"
    with run_process(command, f"{uri}/health", folder, os.environ):
        yield uri
