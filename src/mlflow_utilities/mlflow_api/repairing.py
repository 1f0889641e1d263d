"""The verb that repairs what crashes left."""

from __future__ import annotations

from mlflow_utilities.client import AsyncMlflowClient, opened
from mlflow_utilities.mlflow_api.calls import options_of
from mlflow_utilities.rollout import reconcile as repairs
from mlflow_utilities.rollout.experiments import find_ledger
from mlflow_utilities.rollout.rebuild import rebuild as begin_again
from mlflow_utilities.rollout.reconcile import Repairs

__all__ = ["Repairs", "reconcile"]


async def reconcile(
    *,
    experiment_id: str | None = None,
    experiment_name: str | None = None,
    submodel_name: str | None = None,
    rebuild: bool = False,
    why: str = "",
    client: AsyncMlflowClient | None = None,
    dry_run: bool = False,
) -> Repairs:
    """Write again what a rollout shows of itself in tags, metrics and notes, and delete what crashed writers left.

    The rollout is not changed, and doing it twice does nothing more. `rebuild` first begins a new ledger from what the
    runs' metrics show, for a ledger that was removed for good: look at `dry_run` before.

    Returns what was, or with `dry_run` would be, written and deleted, with warnings about foreign changes.

    Raises RolloutError when there is a ledger and `rebuild` is set, LedgerError, InvalidInputError and API errors.
    """
    async with opened(client) as using:
        options = options_of(using, why, None, dry_run)
        ledger = await find_ledger(using, experiment_id, experiment_name, submodel_name)
        if rebuild:
            document = await begin_again(using, ledger, options)
            if dry_run:
                return Repairs(document.generation, projected=sorted(document.runs))
        return await repairs.reconcile(using, ledger, dry_run=dry_run)
