"""A new ledger for runs whose ledger is gone for good, from what their metrics still show."""

from __future__ import annotations

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import LedgerNewerFormatError, RolloutConflictError, RolloutError
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
    """Begin a new ledger with the live runs that metrics show; generations go on after the highest that was seen.

    Raises:
        RolloutError: there still is a ledger, or no run shows that it is live.
        RolloutConflictError: somebody else began one at the same time.
        LedgerNewerFormatError: a newer release began one.

    """
    again = Ledger(ledger.experiment, ledger.submodel)  # as the name of the control experiment is now
    tip = await again.walk(client, fresh=True)
    if tip.newer:
        raise LedgerNewerFormatError(f"a newer release wrote the ledger: {tip.newer}", hint="update mlflow-utilities")
    if tip.document is not None or tip.lagging or not tip.at_index:
        raise RolloutError("there is a ledger, so nothing is rebuilt", hint="reconcile without rebuild repairs it")
    runs = await submodel_runs(client, ledger.experiment.experiment_id, ledger.submodel)
    known = ledger.document.generation if ledger.document else 0
    generation = max([known, *(facts.step for facts in runs)]) + 1
    found = adopted_document(client, runs, generation, options)
    if found is None:
        raise RolloutError("no run shows that it is live, so there is nothing to rebuild", hint="use enable_run")
    document, _ = found
    if options.dry_run:
        return document
    control = again.control = await elect(client, ledger.experiment)
    tip = await again.walk(client, fresh=True)
    empty = tip.document is None and tip.at_index
    if not empty or not (await write(client, again, control, tip, document)).won:
        raise RolloutConflictError("somebody else began a ledger at the same time", current=again.document)
    ledger.move_to(control)
    ledger.learn(document)
    await project(client, document.generation, changed_runs(None, document))
    return document
