"""The command line in tests: how it is called, and what is stored after it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import anyio

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from support.runs import Project

__all__ = ["CommandLine", "Ended", "generation_of", "on_server", "statuses_of"]

T = TypeVar("T")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed on standard output, all of which is one JSON document."""
        return json.loads(self.out)


CommandLine: TypeAlias = Callable[..., Ended]


def on_server(uri: str, work: Callable[[AsyncMlflowClient], Awaitable[T]]) -> T:
    """Run `work` with a client of its own."""

    async def main() -> T:
        async with AsyncMlflowClient(uri) as client:
            return await work(client)

    return anyio.run(main)


def statuses_of(uri: str, project: Project) -> dict[str, tuple[str, float]]:
    """Return status and share of every run, as a client sees them that has never looked before."""
    runs = on_server(uri, lambda client: mlflow_api.list_runs(None, project.experiment_id, client=client))
    return {run.run_id: (run.status.name, run.test_fraction) for run in runs}


def generation_of(uri: str, project: Project) -> int:
    """Return the current generation of a project's rollout; -1 when not even the ledger's experiment exists."""

    async def work(client: AsyncMlflowClient) -> int:
        if await client.get_experiment_by_name(f"mlflow-utilities/rollouts/{project.experiment_id}") is None:
            return -1
        history = await mlflow_api.rollout_history(experiment_id=project.experiment_id, client=client)
        return history[-1].generation if history else 0

    return on_server(uri, work)
