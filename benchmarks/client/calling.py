"""One small call at a time, and 64 callers at once, on the stub."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any

import anyio
from benchmarks.client.probe import repeated, repeated_async
from benchmarks.contenders import OWN, RAW, in_threads

Found = dict[str, float]
GET = "/api/2.0/mlflow/runs/get?run_id=1"
SEARCH = "/api/2.0/mlflow/runs/search"
RUNS = 10
ASKED = {"experiment_ids": [str(RUNS)], "max_results": RUNS, "run_view_type": "ACTIVE_ONLY", "filter": ""}


def call(contender: str, uri: str, times: int) -> Found:
    """Get a run, decoded."""
    if contender.startswith("MlflowClient") and "to_thread" not in contender:
        official = _official(uri)
        return {"seconds": repeated(lambda: official.get_run("1"), times)}

    async def run() -> Found:
        async with AsyncExitStack() as stack:
            get, _ = await _works(contender, uri, stack)
            return {"seconds": await repeated_async(get, times)}

    return anyio.run(run)


def live(contender: str, uri: str, times: int) -> Found:
    """Get an experiment of a real MLflow server, decoded."""
    if contender.startswith("MlflowClient"):
        official = _official(uri)
        return {"seconds": repeated(lambda: official.get_experiment("0"), times)}

    async def run() -> Found:
        async with AsyncExitStack() as stack:
            if contender in OWN:
                from mlflow_utilities import AsyncMlflowClient

                client = await stack.enter_async_context(AsyncMlflowClient(uri, http_library=OWN[contender]))
                return {"seconds": await repeated_async(lambda: client.get_experiment("0"), times)}
            http: Any = await stack.enter_async_context(__import__(RAW[contender]).AsyncClient(base_url=uri))

            async def work() -> Any:
                return (await http.get("/api/2.0/mlflow/experiments/get?experiment_id=0")).json()

            return {"seconds": await repeated_async(work, times)}

    return anyio.run(run)


def crowd(contender: str, uri: str, times: int) -> Found:
    """Search for ten runs, from one caller, 8 and 64 at once; return the calls a second."""
    if contender.startswith("MlflowClient") and "to_thread" not in contender:
        official = _official(uri)
        official.search_runs([str(RUNS)], max_results=RUNS)
        return {f"rate of {callers}": _in_threads(official, callers, times) for callers in (8, 64)}

    async def run() -> Found:
        async with AsyncExitStack() as stack:
            _, search = await _works(contender, uri, stack)
            await search()
            # 8 before and after 64, for a machine that others use does not stay as fast as it was.
            before = await _at_once(search, 8, times)
            many = await _at_once(search, 64, times)
            after = await _at_once(search, 8, times)
            return {"rate of 8": (before + after) / 2, "rate of 64": many}

    return anyio.run(run)


def _official(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(uri)


def _in_threads(official: Any, callers: int, calls: int) -> float:
    with ThreadPoolExecutor(callers) as pool:
        begin = time.perf_counter()
        list(pool.map(lambda _: official.search_runs([str(RUNS)], max_results=RUNS), range(calls)))
        return calls / (time.perf_counter() - begin)


async def _at_once(work: Callable[[], Awaitable[Any]], callers: int, calls: int) -> float:
    async def caller() -> None:
        for _ in range(calls // callers):
            await work()

    begin = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(caller)
    return calls // callers * callers / (time.perf_counter() - begin)


Work = Callable[[], Awaitable[Any]]


async def _works(contender: str, uri: str, stack: AsyncExitStack) -> tuple[Work, Work]:
    """Return how to get a run and how to search; the stack closes what was opened for that."""
    if contender in OWN:
        return await _of_sdk(OWN[contender], uri, stack)
    if contender == "raw aiohttp":
        return await _of_aiohttp(uri, stack)
    if contender in RAW:
        return await _of_httpx(RAW[contender], uri, stack)
    assert contender.endswith(in_threads(""))
    import asyncio  # noqa: TID251 - what is measured here

    official = _official(uri)
    return (
        lambda: asyncio.to_thread(official.get_run, "1"),
        lambda: asyncio.to_thread(official.search_runs, [str(RUNS)], max_results=RUNS),
    )


async def _of_sdk(library: str, uri: str, stack: AsyncExitStack) -> tuple[Work, Work]:
    from mlflow_utilities import AsyncMlflowClient

    client = await stack.enter_async_context(AsyncMlflowClient(uri, http_library=library))
    return lambda: client.get_run("1"), lambda: client.search_runs([str(RUNS)], max_results=RUNS)


async def _of_httpx(library: str, uri: str, stack: AsyncExitStack) -> tuple[Work, Work]:
    client: Any = await stack.enter_async_context(__import__(library).AsyncClient(base_url=uri))

    async def get() -> Any:
        return (await client.get(GET)).json()

    async def search() -> Any:
        return (await client.post(SEARCH, json=ASKED)).json()

    return get, search


async def _of_aiohttp(uri: str, stack: AsyncExitStack) -> tuple[Work, Work]:
    import aiohttp

    session = await stack.enter_async_context(aiohttp.ClientSession(uri))

    async def get() -> Any:
        async with session.get(GET) as response:
            return await response.json()

    async def search() -> Any:
        async with session.post(SEARCH, json=ASKED) as response:
            return await response.json()

    return get, search
