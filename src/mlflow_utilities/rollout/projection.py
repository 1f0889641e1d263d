"""Writing a generation to its runs, for people, for MLflow's charts, and so that `off` entries can be forgotten."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import InvalidParameterError, MlflowUtilitiesError, NotFoundError
from mlflow_utilities.rollout.calls import read_run
from mlflow_utilities.rollout.document import Document, OffEntry
from mlflow_utilities.rollout.facts import ACTIVE_STATE, GENERATION_TAG, TEST_FRACTION, RunFacts
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.status_rule import decide

__all__ = ["is_confirmed", "project", "project_off", "stale_live"]


async def project(
    client: AsyncMlflowClient, generation: int, runs: Mapping[str, tuple[ModelStatus, float]]
) -> dict[str, str]:
    """Write status and share of these runs, one request a run; return why it failed for those where it did.

    Late or repeated writes change nothing: metrics carry the generation as their step. A run that is deleted or gone
    counts as written.
    """
    failed: dict[str, str] = {}

    async def write(run_id: str, status: ModelStatus, fraction: float) -> None:
        try:
            await _write(client, generation, run_id, status, fraction)
        except MlflowUtilitiesError as error:
            if not await _cannot_be_listed(client, run_id, error):
                failed[run_id] = str(error)

    async with anyio.create_task_group() as group:
        for run_id, (status, fraction) in runs.items():
            group.start_soon(write, run_id, status, fraction)
    return failed


async def _cannot_be_listed(client: AsyncMlflowClient, run_id: str, error: MlflowUtilitiesError) -> bool:
    """Whether a run refused what was written because it is deleted or gone; something in between may refuse as well."""
    if not isinstance(error, InvalidParameterError | NotFoundError):
        return False
    try:
        raw = await read_run(client, run_id, fresh=True)
    except MlflowUtilitiesError as second:
        return type(error) is type(second) is NotFoundError
    return bool(raw.get("info", {}).get("lifecycle_stage") == "deleted")


async def project_off(client: AsyncMlflowClient, entries: list[OffEntry]) -> set[tuple[str, int]]:
    """Write the status of runs that left, and return those of which the server confirmed it."""
    confirmed: set[tuple[str, int]] = set()

    async def write(entry: OffEntry) -> None:
        if not await project(client, entry.generation, {entry.run: (entry.status, 0.0)}):
            confirmed.add((entry.run, entry.generation))

    async with anyio.create_task_group() as group:
        for entry in entries:
            group.start_soon(write, entry)
    return confirmed


def is_confirmed(entry: OffEntry, facts: RunFacts | None) -> bool:
    """Return whether a run that was read shows that it left, or cannot be listed any more."""
    return facts is None or facts.deleted or facts.step >= entry.generation


def stale_live(document: Document, runs: Mapping[str, RunFacts]) -> dict[str, tuple[ModelStatus, float]]:
    """Return the live ones of the runs whose metrics show something else than the document says."""
    found: dict[str, tuple[ModelStatus, float]] = {}
    for run_id, facts in runs.items():
        if document.find(run_id) is None or facts.deleted:
            continue
        status, fraction = decide(run_id, document, None)
        if facts.active_state != float(status) or facts.test_fraction != fraction:
            found[run_id] = (status, fraction)
    return found


async def _write(client: AsyncMlflowClient, generation: int, run_id: str, status: ModelStatus, fraction: float) -> None:
    from mlflow_utilities.entities import Metric

    now = client.clock.now_ms()
    await client.log_batch(
        run_id,
        metrics=[
            Metric(ACTIVE_STATE, float(status), now, generation),
            Metric(TEST_FRACTION, fraction, now, generation),
        ],
        tags={ACTIVE_STATE: status.name, TEST_FRACTION: repr(fraction), GENERATION_TAG: str(generation)},
    )
