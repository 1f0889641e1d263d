"""A process that has models in memory: backend, URI of the server, cache directory, file at which it is killed, runs.

A run is its id and the URI of its model. Prints how many files it downloaded, and the labels of the models.
"""

from __future__ import annotations

import os
import signal
import sys

import anyio
import httpx

from mlflow_utilities.serving.residents import Wanted
from support.served_models import running
from support.transports import faulty_client

FILES = "/mlflow-artifacts/artifacts/"


async def main(server_uri: str, cache_dir: str, killed_at: str, *runs: str) -> None:
    """Load the models."""
    downloads: list[str] = []

    def script(_: int, request: httpx.Request) -> None:
        if FILES in request.url.path:
            downloads.append(request.url.path)
            if len(downloads) == int(killed_at):
                os.kill(os.getpid(), signal.SIGKILL)

    wanted = [Wanted(run_id, uri) for run_id, uri in zip(runs[::2], runs[1::2], strict=True)]
    async with faulty_client(server_uri, script) as (client, _), running(client, cache_dir=cache_dir) as residents:
        found = await residents.ensure(wanted)
        print(len(downloads), *sorted(resident.hold().loaded.label for resident in found.values()))


if __name__ == "__main__":
    sys.modules["mlflow"] = None  # type: ignore[assignment]  # what it would take longest to import
    backend, *arguments = sys.argv[1:]
    anyio.run(main, *arguments, backend=backend)
