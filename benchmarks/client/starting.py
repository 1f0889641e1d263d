"""From a bare interpreter to a client, and to the first decoded run. Imports are measured, so they are inside."""

from __future__ import annotations

import time

from benchmarks.contenders import OWN

Found = dict[str, float]


def start(contender: str, uri: str, times: int) -> Found:
    """Import a client and construct it; then say how much memory that took."""
    begin = time.perf_counter()
    if contender.startswith("MlflowClient"):
        from mlflow import MlflowClient

        kept: object = MlflowClient(uri)
    elif contender == "imports":
        import anyio
        import httpx
        import pydantic

        kept = anyio, httpx, pydantic
    else:
        from mlflow_utilities import AsyncMlflowClient

        kept = AsyncMlflowClient(uri, http_library=OWN[contender])
    seconds = time.perf_counter() - begin

    from benchmarks.client.probe import resident_bytes

    assert kept
    return {"seconds": seconds, "bytes": float(resident_bytes())}


def first_run(contender: str, uri: str, times: int) -> Found:
    """Import, construct, and get a run: to have its first metric."""
    begin = time.perf_counter()
    if contender.startswith("MlflowClient"):
        from mlflow import MlflowClient

        assert MlflowClient(uri).get_run("1").data.metrics["m0"] == 0.0
        return {"seconds": time.perf_counter() - begin}
    import anyio

    async def run() -> None:
        from mlflow_utilities import AsyncMlflowClient

        async with AsyncMlflowClient(uri, http_library=OWN[contender]) as client:
            assert (await client.get_run("1")).data.metrics["m0"] == 0.0

    anyio.run(run)
    return {"seconds": time.perf_counter() - begin}


def first_call(contender: str, uri: str, times: int) -> Found:
    """Return how long the event loop stands still during the first call after entering."""
    import anyio
    from benchmarks.client.probe import stall

    from mlflow_utilities import AsyncMlflowClient

    async def run() -> Found:
        async with AsyncMlflowClient(uri, http_library=OWN[contender]) as client, stall() as found:
            await client.get_run("1")
        return {"seconds": found.seconds}

    return anyio.run(run)
