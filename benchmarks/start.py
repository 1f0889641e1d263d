"""How soon a service answers that starts while MLflow is down: python -m benchmarks.start.

A service serves once and leaves its last-known-good file; then the server is stopped. Each start is a process of its
own: the seconds from entering ActiveModels until it is ready, beside those of loading the same model and nothing else;
and a start without a file.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anyio

ROOT = Path(__file__).resolve().parents[1]
STARTS = 5


async def prepare(uri: str, cache: str) -> None:
    """Save a model, roll it out, and serve once."""
    from sklearn.ensemble import RandomForestClassifier

    from mlflow_utilities import AsyncMlflowClient, mlflow_api
    from mlflow_utilities.serving import ActiveModels

    model = RandomForestClassifier(n_estimators=100, random_state=7).fit(
        [[0.0], [1.0], [2.0], [3.0]] * 50, [0, 0, 1, 1] * 50
    )
    async with AsyncMlflowClient(uri) as client:
        saved = await mlflow_api.save_model(
            model, "1.0.0", mlflow_subpackage="sklearn", experiment_name="start", client=client
        )
        await mlflow_api.enable_run(saved.run_id, client=client)
        async with ActiveModels(client, experiment_name="start", model_version="*", cache_dir=cache, start_timeout=60):
            pass


async def start(uri: str, cache: str, timeout: float) -> dict[str, Any]:
    """Enter a service whose server is down; return what happened."""
    from mlflow_utilities import AsyncMlflowClient
    from mlflow_utilities.serving import ActiveModels

    begin = time.perf_counter()
    names = {"experiment_name": "start", "model_version": "*", "cache_dir": cache, "start_timeout": timeout}
    async with AsyncMlflowClient(uri) as client, ActiveModels(client, **names) as active:
        seconds = time.perf_counter() - begin
        health = active.health()
        return {"seconds": seconds, "ready": health.ready, "state": health.state, "reason": health.reason}


def load(cache: str) -> dict[str, Any]:
    """Load the model and nothing else."""
    from mlflow_utilities.models import loading

    begin = time.perf_counter()
    loading.load_directory(next(Path(cache).glob("models/*/files")), "alone", None)
    return {"seconds": time.perf_counter() - begin}


def in_process(call: str) -> dict[str, Any]:
    """Do one thing in a process of its own."""
    code = f"import anyio, json, benchmarks.start as s; print(json.dumps({call}))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and print."""
    sys.path.insert(0, str(ROOT / "examples"))
    from local_server import run_server

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    served: list[dict[str, Any]] = []
    alone: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        cache = f"{folder}/cache"
        with run_server(Path(folder)) as uri:
            anyio.run(prepare, uri, cache)
        for _ in range(STARTS):
            served.append(in_process(f"anyio.run(s.start, {uri!r}, {cache!r}, 60)"))
            alone.append(in_process(f"s.load({cache!r})")["seconds"])
        without = in_process(f"anyio.run(s.start, {uri!r}, {folder + '/empty'!r}, 3)")
    total, loads = statistics.median(item["seconds"] for item in served), statistics.median(alone)
    print(f"The server is down; {STARTS} starts, each in a process of its own; medians in seconds:")
    print(f"- from the last-known-good file: ready {all(item['ready'] for item in served)}, {served[0]['state']}")
    print(f"- until ready {total:.2f}, of which loading the model {loads:.2f} (imports of its packages included)")
    print(f"- ready in {total - loads:.2f} seconds plus model load")
    print(f"- without a file, after waiting 3: ready {without['ready']}, {without['state']}: {without['reason']}")


if __name__ == "__main__":
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    main()
