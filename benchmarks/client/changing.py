"""Changes of a rollout on a real MLflow server, beside what a user of MlflowClient writes for the same effect.

That effect lacks: one write that readers see whole or not at all, a history, a rollback, a refusal when somebody else
changed the rollout first, and shares that keep users with their model.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import anyio
from benchmarks.contenders import OWN

Found = dict[str, float]
RUNS = 5
SPLITS = ((5, 4, 3, 2, 1), (1, 2, 3, 4, 5))
STATES = ("Canary", "New")


class Requests(logging.Handler):
    """Counts the requests that the HTTP libraries log."""

    BEGINNINGS = ("send_request_headers.started", '%s://%s:%s "%s %s %s" %s %s')

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.count = 0
        for name in ("httpcore.http11", "httpcore2.http11", "urllib3.connectionpool"):
            logger = logging.getLogger(name)
            logger.setLevel(logging.DEBUG)
            logger.propagate = False
            logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Count a record that stands for a request."""
        self.count += record.msg.startswith(self.BEGINNINGS)

    def stop(self) -> None:
        """Let the libraries log no longer."""
        for name in ("httpcore.http11", "httpcore2.http11", "urllib3.connectionpool"):
            logging.getLogger(name).removeHandler(self)
            logging.getLogger(name).setLevel(logging.WARNING)


async def prepare(uri: str, name: str) -> list[str]:
    """Make an experiment whose runs have versions and are New; return the runs."""
    from mlflow_utilities import AsyncMlflowClient, Version
    from mlflow_utilities.rollout.facts import version_params

    params = {"submodel_name": name, **version_params(Version.parse("1.0.0"))}
    async with AsyncMlflowClient(uri) as client:
        experiment = await client.create_experiment(name)
        runs = [(await client.create_run(experiment)).info.run_id for _ in range(RUNS + 1)]
        for run_id in runs:
            await client.log_batch(run_id, params=params, tags={"active_state": "New", "test_fraction": "0.0"})
            await client.set_terminated(run_id)
        return runs


def change(contender: str, uri: str, times: int) -> Found:
    """Split requests among five runs, and change the status of another one, again and again."""
    name = f"changes {uuid4().hex[:8]}"
    runs = anyio.run(prepare, uri, name)
    if contender in OWN:
        return anyio.run(_own, OWN[contender], uri, name, runs, times)
    return _official(uri, name, runs, times)


async def _own(library: str, uri: str, name: str, runs: list[str], times: int) -> Found:
    from mlflow_utilities import AsyncMlflowClient, mlflow_api

    async with AsyncMlflowClient(uri, http_library=library) as client:

        async def split(number: int) -> None:
            weights = dict(zip(runs, SPLITS[number % 2], strict=False))
            changed = await mlflow_api.update_active_runs(weights, "1.0.0", experiment_name=name, client=client)
            assert changed.written

        async def status(number: int) -> None:
            state = ("Canary", "Disabled")[number % 2]
            share = 1.0 if number % 2 == 0 else None
            changed = await mlflow_api.change_status(runs[RUNS], state, share, client=client)
            assert changed.written

        return await _measured({"split": split, "status": status}, times)


def _official(uri: str, name: str, runs: list[str], times: int) -> Found:
    from mlflow import MlflowClient

    official = MlflowClient(uri)
    experiment = official.get_experiment_by_name(name).experiment_id

    def give(run_id: str, state: str, share: float) -> None:
        official.set_tag(run_id, "active_state", state)
        official.set_tag(run_id, "test_fraction", str(share))

    async def split(number: int) -> None:
        weights = dict(zip(runs, SPLITS[number % 2], strict=False))
        for run in official.search_runs([experiment], "tags.active_state = 'Active'"):
            if run.info.run_id not in weights:
                give(run.info.run_id, "Disabled", 0.0)
        for run_id, weight in weights.items():
            give(run_id, "Active", weight / sum(weights.values()))

    async def status(number: int) -> None:
        official.get_run(runs[RUNS])
        give(runs[RUNS], ("Canary", "Disabled")[number % 2], (1.0, 0.0)[number % 2])

    return anyio.run(_measured, {"split": split, "status": status}, times)


async def _measured(works: dict[str, Callable[[int], Awaitable[Any]]], times: int) -> Found:
    """Return the requests and the median seconds of each; the first two times are not measured."""
    found: Found = {}
    for name, work in works.items():
        await work(0)
        counted = Requests()
        await work(1)
        counted.stop()
        seconds: list[float] = []
        for number in range(2, times + 2):
            begin = time.perf_counter()
            await work(number)
            seconds.append(time.perf_counter() - begin)
        found |= {f"{name} requests": float(counted.count), f"{name} seconds": statistics.median(seconds)}
    return found
