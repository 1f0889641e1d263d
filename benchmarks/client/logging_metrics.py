"""10,000 metrics from 50 tasks, on the stub: each by a request of its own, or gathered."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
from benchmarks.contenders import OWN

Found = dict[str, float]
METRICS, TASKS = 10_000, 50


def log(contender: str, uri: str, times: int) -> Found:
    """Log `times` metrics at most, and return the seconds that 10,000 take at that rate."""
    count = min(times, METRICS) // TASKS
    who, _, gathered = contender.partition(", ")
    if who in OWN:
        seconds = anyio.run(_own, OWN[who], uri, count, bool(gathered))
    else:
        seconds = _official(uri, count, bool(gathered))
    return {"seconds": seconds * METRICS / (count * TASKS)}


async def _own(library: str, uri: str, count: int, gathered: bool) -> float:
    from mlflow_utilities import AsyncMlflowClient
    from mlflow_utilities.entities import Metric

    async with AsyncMlflowClient(uri, http_library=library) as client:

        async def one_by_one(run_id: str) -> None:
            for step in range(count):
                await client.log_metric(run_id, "loss", step / 7, step=step)

        async def in_a_batch(run_id: str) -> None:
            now = client.clock.now_ms()
            await client.log_batch(run_id, metrics=[Metric("loss", step / 7, now, step) for step in range(count)])

        await client.get_run("1")
        begin = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for number in range(TASKS):
                tasks.start_soon(in_a_batch if gathered else one_by_one, f"{number:032x}")
        return time.perf_counter() - begin


def _official(uri: str, count: int, gathered: bool) -> float:
    """Log from 50 threads; gathered: by the client's queues, until all have arrived."""
    import mlflow
    from mlflow import MlflowClient

    official = MlflowClient(uri)

    def log_all(run_id: str) -> list[Any]:
        return [
            official.log_metric(run_id, "loss", step / 7, step=step, synchronous=not gathered) for step in range(count)
        ]

    official.get_run("1")
    mlflow.set_tracking_uri(uri)
    begin = time.perf_counter()
    with ThreadPoolExecutor(TASKS) as pool:
        pending = list(pool.map(log_all, [f"{number:032x}" for number in range(TASKS)]))
    for operations in pending:
        for operation in operations:
            if gathered:
                operation.wait()
    return time.perf_counter() - begin
