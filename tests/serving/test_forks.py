"""Forks of a process whose models are loaded and in use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from support.serving import make_served_project

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def operator(server_uri: str) -> AsyncIterator[AsyncMlflowClient]:
    """Give the client of an operator."""
    async with AsyncMlflowClient(server_uri) as client:
        yield client


async def test_a_forked_child_decides_from_what_is_loaded_and_can_enter_again(
    server_uri: str, operator: AsyncMlflowClient, unique_name: str, anyio_backend: str
) -> None:
    """Children of a busy parent choose as it does, enter with a client of their own, and end; the parent goes on."""
    made = await make_served_project(operator, unique_name)
    a, b = made.runs["a"], made.runs["b"]
    await mlflow_api.update_active_runs({a: 0.5, b: 0.5}, "1.0.0", made.experiment_id, client=operator)
    answer = await anyio.to_thread.run_sync(run_forks, server_uri, unique_name, anyio_backend)

    assert answer.returncode == 0, answer.stderr
    *children, parent = (json.loads(line) for line in answer.stdout.splitlines())
    assert (parent["state"], parent["clients"], set(parent["before"].values())) == ("READY", 1, {a, b})
    labels = {key: made.label(run) for key, run in parent["before"].items()}
    expected: dict[str, Any] = {
        "before": parent["before"],
        "entered": True,
        "state": "READY",
        "after": labels,
        "clients": 1,
        "exit": 0,
    }
    assert children == [expected] * 5


def run_forks(uri: str, experiment: str, backend: str) -> subprocess.CompletedProcess[str]:
    """Return what a process that forks printed; it fails when it hangs."""
    paths = os.pathsep.join(str(ROOT / each) for each in ("tests", "examples"))
    return subprocess.run(
        [sys.executable, "-m", "support.forking_process", uri, experiment, backend],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
    )
