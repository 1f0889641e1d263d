"""A process that puts a model into the cache: URI of the server, of the model, directory, file at which it is killed.

Prints how many files it downloaded.
"""

from __future__ import annotations

import os
import signal
import sys

import anyio
import httpx

from mlflow_utilities.models.cache import ensure
from support.transports import faulty_client

FILES = "/mlflow-artifacts/artifacts/"


async def main(server_uri: str, model_uri: str, cache_dir: str, killed_at: str) -> None:
    """Put the model into the cache."""
    downloads: list[str] = []

    def script(_: int, request: httpx.Request) -> None:
        if FILES in request.url.path:
            downloads.append(request.url.path)
            if len(downloads) == int(killed_at):
                os.kill(os.getpid(), signal.SIGKILL)

    async with faulty_client(server_uri, script) as (client, _):
        await ensure(client, model_uri, cache_dir=cache_dir)
    print(len(downloads))


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
