"""The ledger of a project from outside: its experiments, runs and values, to look at and to spoil."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator
from dataclasses import replace
from hashlib import sha256
from typing import Any

from mlflow_utilities import AsyncMlflowClient, mlflow_api
from mlflow_utilities.entities import Experiment, Run
from mlflow_utilities.rollout.codec import decode_slot, encode_document
from mlflow_utilities.rollout.document import Document, slot_key
from support.clock import FakeClock
from support.runs import Project, make_project
from support.transports import Fault, KilledError, Script

__all__ = [
    "NOW",
    "chain_documents",
    "control_of",
    "died",
    "is_killed",
    "ledger_runs",
    "live_now",
    "new_clock",
    "once",
    "sealed",
    "statuses",
    "with_generations",
]

NOW = 1_795_000_000_000


def new_clock() -> FakeClock:
    """Return a clock on which waiting takes no time."""
    return FakeClock(now_ms=NOW)


async def control_of(client: AsyncMlflowClient, project: Project) -> Experiment:
    """Return the control experiment of a project."""
    found = await client.get_experiment_by_name(f"mlflow-utilities/rollouts/{project.experiment_id}")
    assert found is not None
    return found


async def ledger_runs(client: AsyncMlflowClient, project: Project, view: str = "ACTIVE_ONLY") -> list[Run]:
    """Return the ledger runs of a project, oldest first, those that no pointer leads to as well."""
    control = await control_of(client, project)
    found = await client.search_runs([control.experiment_id], "tags.`rollouts.role` = 'ledger'", view)
    return sorted(found, key=lambda run: (min(run.data.params, default=""), run.info.start_time or 0))


def chain_documents(runs: list[Run]) -> dict[int, dict[str, Any]]:
    """Return what the slots of ledger runs hold, by number; pointers and what is not JSON left out."""
    found: dict[int, dict[str, Any]] = {}
    for run in runs:
        for key, value in run.data.params.items():
            with contextlib.suppress(ValueError):
                body = json.loads(value[12:])
                if "live" in body:
                    found[int(key.removeprefix("g."))] = body
    return found


def sealed(body: dict[str, Any]) -> str:
    """Return a value with a right checksum."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()[:12] + text


async def with_generations(client: AsyncMlflowClient, name: str, generations: int, runs: int = 2) -> Project:
    """Make a project whose ledger run has so many generations, at most 16, all with the first run live."""
    project = await make_project(client, name, runs)
    await mlflow_api.enable_run(project.runs[0], client=client)
    (run,) = await ledger_runs(client, project)
    first = decode_slot(run.data.params[slot_key(1)], 1)
    assert isinstance(first, Document)
    later = [replace(first, generation=n, parent=n - 1, op=f"{n:016x}") for n in range(2, generations + 1)]
    await client.log_batch(run.info.run_id, params={slot_key(d.generation): encode_document(d) for d in later})
    return project


async def statuses(client: AsyncMlflowClient, project: Project) -> dict[str, tuple[str, float]]:
    """Return status and share of every run of a project."""
    runs = await mlflow_api.list_runs(None, project.experiment_id, client=client)
    return {run.run_id: (run.status.name, run.test_fraction) for run in runs}


async def live_now(uri: str, project: Project) -> dict[str, float]:
    """Return the shares of the Active runs, as a client sees them that has never looked before."""
    async with AsyncMlflowClient(uri, clock=new_clock()) as client:
        runs = await mlflow_api.list_runs(None, project.experiment_id, active_state="Active", client=client)
    return {run.run_id: run.test_fraction for run in runs}


def once(fault: Fault, number: int) -> Script:
    """Return a script that breaks one request, by its number."""
    return lambda current, request: fault if current == number else None


@contextlib.contextmanager
def died() -> Generator[None]:
    """See that the block dies as a script says, and go on."""
    try:
        yield
    except BaseException as error:
        if not is_killed(error):
            raise
    else:
        raise AssertionError("it lived to the end")


def is_killed(error: Any) -> bool:
    """Return whether an error, or one of a group, is the death that a script asked for."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_killed(inner) for inner in error.exceptions)
    return isinstance(error, KilledError)
