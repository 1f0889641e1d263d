"""Many runs: decoding a page, iterating without stopping the event loop, and without memory that grows."""

from __future__ import annotations

import time
from typing import Any

import anyio
from benchmarks.client.probe import peak_bytes, repeated, repeated_async, resident_bytes, stall
from benchmarks.contenders import OWN

Found = dict[str, float]
RUNS = "1000"
MANY, VERY_MANY = 10_000, 100_000


def decode(contender: str, uri: str, times: int) -> Found:
    """Turn the body of a page of 1,000 wide runs into entities."""
    from benchmarks.stub import page_of

    body = page_of(1000)
    if contender.startswith("MlflowClient"):
        return {"seconds": repeated(lambda: _officially_decoded(body), times)}
    from mlflow_utilities._protocol.paging import PageReader
    from mlflow_utilities.entities import Run

    def decoded() -> None:
        for raw in PageReader(body, "runs"):
            Run.model_validate(raw)

    return {"seconds": repeated(decoded, times)}


def _officially_decoded(body: bytes) -> list[Any]:
    """Decode as MlflowClient does between the answer and the list of runs."""
    import json

    from mlflow.entities import Run
    from mlflow.protos.service_pb2 import SearchRuns
    from mlflow.utils.proto_json_utils import parse_dict

    message = SearchRuns.Response()
    parse_dict(json.loads(body.decode()), message)
    return [Run.from_proto(run) for run in message.runs]


def fetch(contender: str, uri: str, times: int) -> Found:
    """Search for 1,000 wide runs and look at each."""
    if contender.startswith("MlflowClient"):
        from mlflow import MlflowClient

        official = MlflowClient(uri)
        return {"seconds": repeated(lambda: list(official.search_runs([RUNS], max_results=1000)), times)}

    async def run() -> Found:
        from mlflow_utilities import AsyncMlflowClient

        async with AsyncMlflowClient(uri, http_library=OWN[contender]) as client:

            async def work() -> None:
                async for _ in client.iter_runs([RUNS]):
                    pass

            return {"seconds": await repeated_async(work, times)}

    return anyio.run(run)


def iterate(contender: str, uri: str, times: int) -> Found:
    """Return how long the event loop stands still at most while 10,000 runs are read, or one page of 1,000 is."""
    return anyio.run(_iterate, contender, uri)


async def _iterate(contender: str, uri: str) -> Found:
    begin = time.perf_counter()
    if contender.startswith("MlflowClient"):
        found = await _officially_iterated(uri)
    else:
        from mlflow_utilities import AsyncMlflowClient

        library, _, whole = contender.partition(", ")
        async with AsyncMlflowClient(uri, http_library=OWN[library]) as client:
            await client.get_run("1")
            begin = time.perf_counter()
            async with stall() as found:
                if whole:
                    assert len(await client.search_runs([RUNS])) == int(RUNS)
                else:
                    assert len([None async for _ in client.iter_runs([str(MANY)])]) == MANY
    return {"stall": found.seconds, "collecting": found.collecting, "seconds": time.perf_counter() - begin}


async def _officially_iterated(uri: str) -> Any:
    import asyncio  # noqa: TID251 - what is measured here

    from mlflow import MlflowClient

    official = MlflowClient(uri)

    def read() -> int:
        page = official.search_runs([str(MANY)], max_results=1000)
        seen = len(page)
        while page.token:
            page = official.search_runs([str(MANY)], max_results=1000, page_token=page.token)
            seen += len(page)
        return seen

    await asyncio.to_thread(official.get_run, "1")
    async with stall() as found:
        assert await asyncio.to_thread(read) == MANY
    return found


def memory(contender: str, uri: str, times: int) -> Found:
    """Return the memory at the 10,000th and the 100,000th run, and the most that there ever was."""

    async def run() -> Found:
        from mlflow_utilities import AsyncMlflowClient

        seen, early = 0, 0
        async with AsyncMlflowClient(uri, http_library=OWN[contender]) as client:
            async for _ in client.iter_runs([str(VERY_MANY)]):
                seen += 1
                if seen == MANY:
                    early = peak_bytes()
        assert seen == VERY_MANY
        return {"early": float(early), "peak": float(peak_bytes()), "end": float(resident_bytes())}

    return anyio.run(run)
