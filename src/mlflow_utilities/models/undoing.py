"""What is done when saving a model fails: nothing of it stays listed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import MlflowUtilitiesError

__all__ = ["FAILURE_TAG", "Progress", "undo"]

FAILURE_TAG = "mlflow_utilities.failure"
_SECONDS = 15.0
_SECONDS_EACH = 5.0
_LONGEST_REASON = 1000


@dataclass(slots=True)
class Progress:
    """What saving has made so far on the server; `registering` says that a version may exist that is not known."""

    name: str
    run_id: str | None = None
    model_id: str | None = None
    registering: bool = False
    version: str | None = None


async def undo(client: AsyncMlflowClient, progress: Progress, error: BaseException) -> None:
    """Mark the run FAILED with the reason, delete its registered version and mark its logged model as failed.

    Goes on when a step fails, and takes at most 15 seconds, cancelled or not. What could not be done is added to the
    error as a note; the run is not FINISHED in any case, unless the very last request of saving had been done.
    """
    if progress.run_id is None:
        return
    quick = client.with_options(timeout=_SECONDS_EACH, max_retries=1)
    run_id, model_id = progress.run_id, progress.model_id
    reason = "cancelled" if isinstance(error, anyio.get_cancelled_exc_class()) else f"{type(error).__name__}: {error}"

    async def end_run() -> None:
        await quick.set_terminated(run_id, "FAILED")

    async def unregister() -> None:
        for version in await _versions(quick, progress, run_id):
            await quick.delete_model_version(progress.name, version)

    async def end_model() -> None:
        if model_id is not None:
            await quick.finalize_logged_model(model_id, "FAILED")

    async def give_reason() -> None:
        await quick.set_tag(run_id, FAILURE_TAG, reason[:_LONGEST_REASON])

    with anyio.move_on_after(_SECONDS, shield=True):
        await _attempt(end_run, f"run {run_id} may still be listed", error)
        await _attempt(unregister, f"a version of {progress.name} may still be registered for run {run_id}", error)
        await _attempt(end_model, f"the logged model {model_id} may still be there", error)
        await _attempt(give_reason, f"run {run_id} does not say why it failed", error)


async def _attempt(step: Callable[[], Awaitable[None]], otherwise: str, error: BaseException) -> None:
    try:
        await step()
    except MlflowUtilitiesError as trouble:
        error.add_note(f"{otherwise}: {trouble}")


async def _versions(client: AsyncMlflowClient, progress: Progress, run_id: str) -> list[str]:
    if progress.version is not None:
        return [progress.version]
    if not progress.registering:
        return []
    found = await client.search_model_versions(f"run_id = '{run_id}'", max_results=100)
    return [version.version for version in found if version.name == progress.name]
