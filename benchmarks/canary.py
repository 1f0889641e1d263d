"""Measure whether canaries slow down the primary model: python -m benchmarks.canary.

A request is: the primary's model in a worker thread, then the offer of a copy. Short blocks of requests alternate
between no canary, no canary once more (what noise does), and kinds of bad canaries, all in one process. The ratios
compare a kind's latency with that of the blocks without a canary.
"""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import numpy as np

from mlflow_utilities._clock import SystemClock
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.version import Version
from mlflow_utilities.serving.mirroring import Mirror
from mlflow_utilities.serving.served_model import ServedModel
from mlflow_utilities.serving.telemetry import NoTelemetry
from mlflow_utilities.serving.values import CanaryCounts, Prediction, Reason

ROUNDS = 60
REQUESTS = 50
PAUSE = 0.001
TIMEOUT = 0.25
GOAL = 1.05
INPUT = [{f"feature_{number}": float(number) for number in range(20)} for _ in range(10)]
WEIGHTS = np.random.default_rng(1).random(1_000_000)


class Function:
    """A loaded model that is a function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.loaded = function


def primary_answer(data: list[dict[str, float]]) -> float:
    """Compute for about two milliseconds, as numerical models do: mostly without Python's lock."""
    rows = np.array([list(row.values()) for row in data])
    return float(rows.sum() + np.tanh(WEIGHTS).sum())


def slow_failure(data: Any) -> Any:
    """Take 20 ms, then fail: the breaker opens after five of them."""
    time.sleep(0.02)
    raise ValueError("no answer")


def slow_answer(data: list[dict[str, float]]) -> float:
    """Take 20 ms, change the input, and answer: the breaker stays closed, and most copies are dropped."""
    time.sleep(0.02)
    data.clear()
    return 0.0


def never(data: Any) -> Any:
    """Hang."""
    threading.Event().wait()


def model(run_id: str, function: Callable[[Any], Any]) -> ServedModel:
    """Return a model as a service has it."""
    return ServedModel(
        run_id=run_id,
        experiment_id="1",
        submodel_name="benchmark",
        version=Version.parse("1.0.0"),
        status=ModelStatus.Canary,
        test_fraction=1.0,
        immutable_metadata={},
        mutable_metadata={},
        start_time=None,
        end_time=None,
        model_uri="",
        generation=1,
        _raw={},
        _client=None,
        _hold=Function(function),
    )


PRIMARY = model("primary", primary_answer)
KINDS = {
    "none": None,
    "none, again": None,
    "slow and failing": model("failing", slow_failure),
    "slow": model("slow", slow_answer),
    "hanging": model("hanging", never),
}


def new_mirror() -> Mirror:
    """Return a mirror with the options a service has by default, but for a time-out that a block can see."""
    return Mirror(
        lambda loaded, data: loaded(data),
        on_canary=lambda primary, canary, key: None,
        timeout=TIMEOUT,
        concurrency=1,
        queue_size=100,
        copy="default",
        clock=SystemClock(),
        telemetry=NoTelemetry(),
    )


async def measure(mirror: Mirror, canary: ServedModel | None) -> list[tuple[float, float]]:
    """Return the seconds of each request of one block, and of its offer alone."""
    seconds: list[tuple[float, float]] = []
    for number in range(REQUESTS):
        await anyio.sleep(PAUSE)
        start = time.perf_counter()
        output = await anyio.to_thread.run_sync(primary_answer, INPUT)
        answered = time.perf_counter()
        if canary is not None:
            mirror.offer(INPUT, str(number), Prediction(output, PRIMARY, Reason.BUCKET), (canary,))
        end = time.perf_counter()
        seconds.append((end - start, end - answered))
    return seconds


async def run() -> tuple[dict[str, list[list[tuple[float, float]]]], dict[str, CanaryCounts]]:
    """Return the blocks of each kind, and what became of the copies."""
    blocks: dict[str, list[list[tuple[float, float]]]] = {kind: [] for kind in KINDS}
    mirrors = {kind: new_mirror() for kind in KINDS}
    async with anyio.create_task_group() as tasks:
        for mirror in mirrors.values():
            tasks.start_soon(mirror.run)
        await measure(mirrors["none"], None)
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
            for kind in random.sample(list(KINDS), len(KINDS)):
                blocks[kind].append(await measure(mirrors[kind], KINDS[kind]))
                await anyio.sleep(TIMEOUT)  # by then no copy waits that the next block could feel
        tasks.cancel_scope.cancel()
    return blocks, {kind: counts for kind, mirror in mirrors.items() for counts in mirror.counts.values()}


def percentile(blocks: list[list[tuple[float, float]]], share: float, column: int = 0) -> float:
    """Return a percentile of all requests of a kind, or of their offers (column 1)."""
    return float(np.quantile(np.concatenate(blocks)[:, column], share))


def main() -> None:
    """Measure and print."""
    logging.disable()
    print(f"{ROUNDS} blocks of {REQUESTS} requests; goal: at most {GOAL:g} times")
    blocks, counts = anyio.run(run)
    print("| canary | p50 | p99 | p50 ratio | p99 ratio | offer, p50 | copies |")
    print("|---|---|---|---|---|---|---|")
    for kind, found in blocks.items():
        p50, p99, offer = percentile(found, 0.5), percentile(found, 0.99), percentile(found, 0.5, 1)
        ratios = [value / percentile(blocks["none"], share) for value, share in ((p50, 0.5), (p99, 0.99))]
        figures = [f"{p50 * 1e3:.2f} ms", f"{p99 * 1e3:.2f} ms", *(f"{ratio:.3f}" for ratio in ratios)]
        row = [kind, *figures, f"{offer * 1e6:.0f} us", told(counts.get(kind, CanaryCounts()))]
        print(f"| {' | '.join(row)} |")


def told(counts: CanaryCounts) -> str:
    """Return what became of the copies, in words."""
    names = ("offered", "answered", "failed", "timed_out", "dropped", "skipped")
    return ", ".join(f"{getattr(counts, name)} {name}" for name in names if getattr(counts, name))


if __name__ == "__main__":
    main()
