"""A process that follows a ledger and shares its polls: python -m support.polling_process URI DIRECTORY INTERVAL.

Prints the generation whenever it changes. With "fork" for an address it takes its turn to poll instead, forks, prints
the id of the child, and ends; the child stays until its input ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio
import httpx

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities._clock import SystemClock
from mlflow_utilities.rollout.reader import Ledger, ModelExperiment
from mlflow_utilities.serving.feed import Feed
from mlflow_utilities.serving.host_feed import HostFeed, Turn

CREATED = 1_790_000_000_000


async def follow(uri: str, directory: Path, interval: float) -> None:
    """Print the generation whenever it changes, for ever."""
    async with httpx.AsyncClient(headers={"x-process": str(os.getpid())}) as http_client:
        client = AsyncMlflowClient(uri, http_client=http_client)
        feed = Feed(client, Ledger(ModelExperiment("7", "model", CREATED), "model"), share_dir=directory)
        with feed.subscribe(interval):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(feed.drive)
                seen, shown = 0, 0
                while True:
                    seen = await feed.wait(seen)
                    document = feed.latest.document if feed.latest else None
                    if document is not None and document.generation != shown:
                        shown = document.generation
                        print(shown, flush=True)


async def take(directory: Path) -> HostFeed:
    """Hold the lock."""
    feed = HostFeed(directory, "identity", SystemClock())
    assert await feed.look() is Turn.POLL
    return feed


def main() -> None:
    """Do what the arguments say."""
    uri, directory, interval = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    if uri != "fork":
        anyio.run(follow, uri, directory, interval)
        return
    feed = anyio.run(take, directory)
    child = os.fork()
    if child:
        print(child, flush=True)
        os._exit(0)
    sys.stdin.read()
    del feed


if __name__ == "__main__":
    main()
