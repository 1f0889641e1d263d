"""Services as processes, and what an operator and a user do to them over HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
from sklearn.tree import DecisionTreeRegressor

from local_server import free_port, run_process
from mlflow_utilities import AsyncMlflowClient, mlflow_api

__all__ = ["Service", "model_that_answers", "running_service", "save_models"]

ROOT = Path(__file__).parents[2]
_PATIENCE = 60.0


@dataclass(frozen=True)
class Service:
    """A running service."""

    http: httpx.AsyncClient
    process: subprocess.Popen[bytes]
    log: Path

    async def predict(self, key: str | None = None, **headers: str) -> dict[str, Any]:
        """Return the answer to a user."""
        named = {} if key is None else {"x-user-id": key}
        answer = await self.http.post("/predict", json={"inputs": [[3.0]]}, headers=named | headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def status(self) -> dict[str, Any]:
        """Return what GET /status says."""
        return dict((await self.http.get("/status")).json())

    async def until(self, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Ask for the status until it is as wished: nothing in this process could be awaited."""
        with anyio.fail_after(_PATIENCE):
            while not reached(status := await self.status()):  # noqa: ASYNC110
                await anyio.sleep(0.05)
        return status

    async def ended(self) -> int:
        """Return the exit code, once the process has ended."""
        return await anyio.to_thread.run_sync(lambda: self.process.wait(_PATIENCE))


@asynccontextmanager
async def running_service(
    app: str, folder: Path, server_uri: str, experiment: str, *, gunicorn: int = 0, **environ: str
) -> AsyncGenerator[Service]:
    """Run an ASGI app by uvicorn, or by so many workers of gunicorn that are forked after it was imported."""
    folder.mkdir()
    port = free_port()
    settings = {
        "MLFLOW_TRACKING_URI": server_uri,
        "MLFLOW_UTILITIES_CACHE_DIR": str(folder / "cache"),
        "EXPERIMENT": experiment,
        "REFRESH_INTERVAL": "5",
        "PYTHONPATH": os.pathsep.join(str(ROOT / each) for each in ("examples", "tests", ".")),
    }
    server = [
        *("gunicorn", app, "--preload", "--workers", str(gunicorn), "--bind", f"127.0.0.1:{port}"),
        *("--worker-class", "uvicorn.workers.UvicornWorker", "--no-control-socket"),
    ]
    if not gunicorn:
        server = ["uvicorn", app, "--host", "127.0.0.1", "--port", str(port)]
    uri = f"http://127.0.0.1:{port}"
    started = run_process(
        [sys.executable, "-m", *server],
        f"{uri}/health",
        folder,
        {**os.environ, **settings, **environ},
        statuses=(200, 503),
    )
    process = await anyio.to_thread.run_sync(started.__enter__)
    try:
        async with httpx.AsyncClient(base_url=uri, timeout=30) as http:
            yield Service(http, process, folder / "server.log")
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(started.__exit__, None, None, None)


def model_that_answers(number: float) -> DecisionTreeRegressor:
    """Return a model of one feature that predicts the same number for every input."""
    return DecisionTreeRegressor().fit([[0.0], [1.0]], [number, number])


async def save_models(client: AsyncMlflowClient, experiment: str, numbers: range) -> dict[str, float]:
    """Save one such model of version 1.0.0 for each number; return what each run answers."""
    answers: dict[str, float] = {}
    for number in numbers:
        saved = await mlflow_api.save_model(
            model_that_answers(number), "1.0.0", "sklearn", experiment_name=experiment, client=client
        )
        answers[saved.run_id] = float(number)
    return answers
