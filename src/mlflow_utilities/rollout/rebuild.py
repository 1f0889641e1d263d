"""A new ledger for runs whose ledger is gone for good, from what their metrics still show."""

from __future__ import annotations

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import RolloutConflictError, RolloutError
from mlflow_utilities.rollout.document import Document
from mlflow_utilities.rollout.draft import changed_runs
from mlflow_utilities.rollout.election import elect
from mlflow_utilities.rollout.listing import submodel_runs
from mlflow_utilities.rollout.projection import project
from mlflow_utilities.rollout.reader import Ledger
from mlflow_utilities.rollout.rounds import Options, adopted_document
from mlflow_utilities.rollout.writing import write

__all__ = ["rebuild"]


async def rebuild(client: AsyncMlflowClient, ledger: Ledger, options: Options) -> Document:
    """Begin a new ledger with the live runs that metrics show; generations go on after the highest that was shown.

    Raises:
        RolloutError: there still is a ledger, or no run shows that it is live.
        RolloutConflictError: somebody else began one at the same time.

    """
    tip = await ledger.walk(client, fresh=True)
    if tip.document is not None or not tip.at_index:
        raise RolloutError("there is a ledger, so nothing is rebuilt", hint="reconcile without rebuild repairs it")
    runs = await submodel_runs(client, ledger.experiment.experiment_id, ledger.submodel)
    generation = max((facts.step for facts in runs), default=0) + 1
    found = adopted_document(client, runs, generation, options)
    if found is None:
        raise RolloutError("no run shows that it is live, so there is nothing to rebuild", hint="use enable_run")
    document, _ = found
    if options.dry_run:
        return document
    ledger.control = await elect(client, ledger.experiment)
    tip = await ledger.walk(client, fresh=True)
    empty = tip.document is None and tip.at_index
    if not empty or not (await write(client, ledger, ledger.control, tip, document)).won:
        raise RolloutConflictError("somebody else began a ledger at the same time", current=ledger.document)
    ledger.document = document
    await project(client, document.generation, changed_runs(None, document))
    return document
