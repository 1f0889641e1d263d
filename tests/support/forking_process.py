"""A process that forks while its ActiveModels is busy: python -m support.forking_process URI EXPERIMENT BACKEND.

Prints a line of JSON for each child (which key got which run before and after it entered again, its state then, how
many clients it made, and who ended it) and one for the parent.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from threading import Event, Thread
from typing import Any

import anyio
import anyio.to_thread

from mlflow_utilities import AsyncMlflowClient
from mlflow_utilities.serving import ActiveModels, LoadingOptions

CHILDREN = 5
KEYS = [f"user-{number}" for number in range(50)]


class Forker:
    """Holds what the parent loaded; the clients that this process makes are counted."""

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri = uri
        self.clients = 0
        self.ready, self.over = Event(), Event()
        self.state = ""
        self.models = ActiveModels(
            self.new_client, experiment_name=experiment, model_version="*", loading=LoadingOptions(jitter=False)
        )

    def new_client(self) -> AsyncMlflowClient:
        """Return a client, counted."""
        self.clients += 1
        return AsyncMlflowClient(self.uri)

    async def keep_busy(self) -> None:
        """Serve until it is over, refreshing and predicting without a pause, so that a fork finds everything in use."""
        async with self.models as models, anyio.create_task_group() as tasks:
            await models.wait_ready(30.0)
            tasks.start_soon(self._repeat, models.refresh)
            tasks.start_soon(self._repeat, lambda: models.predict([[3.0]], KEYS[0]))
            self.ready.set()
            await anyio.to_thread.run_sync(self.over.wait)
            self.state = (await models.refresh()).state
            tasks.cancel_scope.cancel()

    async def _repeat(self, work: Any) -> None:
        while True:
            await work()

    def chosen(self) -> dict[str, str]:
        """Return the run of each key."""
        return {key: self.models.choose(key).run_id for key in KEYS}

    async def again(self) -> dict[str, Any]:
        """Enter in the child, ask MLflow, and predict."""
        async with self.models as models:
            entered = models.health().ready
            status = await models.refresh()
            answers = {key: (await models.predict([[3.0]], key)).output[0] for key in KEYS}
        return {"entered": entered, "state": status.state, "after": answers}

    def child(self, backend: str) -> dict[str, Any]:
        """Return what a child sees."""
        self.clients = 0
        before = self.chosen()
        return {"before": before, **anyio.run(self.again, backend=backend), "clients": self.clients}


def fork(forker: Forker, backend: str) -> dict[str, Any]:
    """Return what a new child reported, and its exit code."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as output:
            json.dump(forker.child(backend), output)
        sys.exit(0)
    os.close(writer)
    with os.fdopen(reader) as report:
        text = report.read()
    return {**json.loads(text or "{}"), "exit": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}


def main() -> None:
    """Fork several times, then show that the parent goes on."""
    uri, experiment, backend = sys.argv[1:]
    warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of forks beside threads: that is what happens here
    forker = Forker(uri, experiment)
    background = Thread(target=anyio.run, args=(forker.keep_busy,), kwargs={"backend": backend})
    background.start()
    forker.ready.wait()
    before = forker.chosen()
    for _ in range(CHILDREN):
        print(json.dumps(fork(forker, backend)), flush=True)
    forker.over.set()
    background.join()
    print(json.dumps({"state": forker.state, "clients": forker.clients, "before": before}), flush=True)


if __name__ == "__main__":
    main()
