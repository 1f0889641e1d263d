"""One contender on one case, in a process of its own: python -m benchmarks.contender CASE CONTENDER ADDRESS.

Prints the measured seconds of each repetition as JSON. Imports are part of what is measured, so they stay inside.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

CALLS = 300
LIVE_CALLS = 60
PAGES = 5


def start(contender: str, uri: str) -> None:
    """Import a client and construct it."""
    if contender == "MlflowClient":
        from mlflow import MlflowClient

        MlflowClient(uri)
    elif contender == "imports":
        import anyio  # noqa: F401
        import httpx  # noqa: F401
        import pydantic  # noqa: F401
    else:
        from mlflow_utilities import AsyncMlflowClient

        AsyncMlflowClient(uri, http_library=contender)


def repeated(work: Callable[[], Any], times: int) -> list[float]:
    """Return the seconds of each call of `work`."""
    found: list[float] = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return found


async def repeated_async(work: Callable[[], Awaitable[Any]], times: int) -> list[float]:
    """Return the seconds of each awaited call of `work`."""
    found: list[float] = []
    for _ in range(times):
        begin = time.perf_counter()
        await work()
        found.append(time.perf_counter() - begin)
    return found


def calls(contender: str, uri: str, case: str) -> list[float]:
    """Return the seconds of each call: a small run or experiment, or a page of 1,000 runs decoded."""
    times = {"page": PAGES, "live": LIVE_CALLS}.get(case, CALLS)
    if contender == "MlflowClient":
        from mlflow import MlflowClient

        official = MlflowClient(uri)
        works: dict[str, Callable[[], Any]] = {
            "page": lambda: official.search_runs(["1"]),
            "live": lambda: official.get_experiment("0"),
            "call": lambda: official.get_run("1"),
        }
        work = works[case]
        work()
        return repeated(work, times)
    import anyio

    if contender.startswith("raw"):
        return anyio.run(_raw, contender.partition(" ")[2], uri, times, case)
    return anyio.run(_own, contender, uri, times, case)


async def _raw(library: str, uri: str, times: int, case: str) -> list[float]:
    module: Any = __import__(library)
    path = "experiments/get?experiment_id=0" if case == "live" else "runs/get?run_id=1"
    async with module.AsyncClient(base_url=uri) as client:

        async def work() -> None:
            (await client.get(f"/api/2.0/mlflow/{path}")).json()

        await work()
        return await repeated_async(work, times)


async def _own(library: str, uri: str, times: int, case: str) -> list[float]:
    from mlflow_utilities import AsyncMlflowClient

    async with AsyncMlflowClient(uri, http_library=library) as client:

        async def one() -> None:
            await client.get_run("1")

        async def many() -> None:
            async for _ in client.iter_runs(["1"]):
                pass

        async def live() -> None:
            await client.get_experiment("0")

        work = {"page": many, "live": live, "call": one}[case]
        await work()
        return await repeated_async(work, times)


def main() -> None:
    """Measure what the arguments say."""
    case, contender, uri = sys.argv[1:4]
    if case == "start":
        begin = time.perf_counter()
        start(contender, uri)
        seconds = [time.perf_counter() - begin]
    else:
        seconds = calls(contender, uri, case)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
