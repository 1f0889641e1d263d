"""Experiments of the earlier framework, which has no ledger: what their metrics say, as generation 0."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import cast

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import LedgerMissingError, RolloutError
from mlflow_utilities.rollout.adoption import adopted, live_states
from mlflow_utilities.rollout.calls import find_runs, quoted
from mlflow_utilities.rollout.document import Document
from mlflow_utilities.rollout.draft import Heading, State, build
from mlflow_utilities.rollout.facts import RunFacts
from mlflow_utilities.rollout.listing import check_not_lost
from mlflow_utilities.rollout.reader import Ledger

__all__ = ["LEGACY_SALT", "legacy_document"]

LEGACY_SALT = "00000000"
_LIVE = "attributes.status = 'FINISHED' AND metrics.active_state >= 2"
_TRUSTED = "serving.legacy"
_READINGS = 4
_BETWEEN_READINGS = 1.0
_HEADING = Heading(
    0, 0, "0" * 16, "adopt", "", "live runs without a ledger, as their metrics have them", "", LEGACY_SALT
)
_log = logging.getLogger("mlflow_utilities.serving")

_States = Mapping[str, tuple[float, float]]


async def legacy_document(client: AsyncMlflowClient, ledger: Ledger) -> tuple[Document, dict[str, RunFacts]] | None:
    """Return the live runs of a submodel that has no ledger, by the rule of adoption; None when none is live.

    The document has generation 0 whatever changes, so compare documents, and the salt `LEGACY_SALT`. If a ledger was
    begun meanwhile, it is the ledger's. A change without a ledger is many requests, and a reading may meet half of it:
    one that differs from the last that was trusted is made again until two in a row agree. One request in the steady
    state; two, a second apart, at first and after a change.

    Raises:
        RolloutError: four readings in a row differ: it is being changed, keep what you have.
        LedgerMissingError: the runs show generations of a ledger, and there is none any more.

    """
    trusted = cast("dict[tuple[str, str], _States]", client.state.setdefault(_TRUSTED, {}))
    key = (ledger.experiment.experiment_id, ledger.submodel)
    last = trusted.get(key)
    for reading in range(_READINGS):
        if reading:
            await client.clock.sleep(_BETWEEN_READINGS)
        runs = await _live_runs(client, ledger)
        try:
            check_not_lost(runs.values(), None)
        except LedgerMissingError:
            begun = (await ledger.walk(client)).document
            if begun is None:
                raise
            return begun, _those_in(begun, runs)
        now = live_states(runs.values())
        if now == last:
            trusted[key] = now
            return _document(runs, warn=reading > 0)
        last = now
    raise RolloutError(
        f"the live runs of {ledger.submodel} differ in {_READINGS} readings in a row: they are being changed",
        hint="what serves goes on serving until two readings agree",
    )


async def _live_runs(client: AsyncMlflowClient, ledger: Ledger) -> dict[str, RunFacts]:
    value = quoted(ledger.submodel)
    named = f" AND params.submodel_name = {value}" if value is not None else ""
    found = await find_runs(client, ledger.experiment.experiment_id, _LIVE + named)
    return {facts.run_id: facts for facts in found if facts.submodel == ledger.submodel and facts.version is not None}


def _document(runs: Mapping[str, RunFacts], *, warn: bool) -> tuple[Document, dict[str, RunFacts]] | None:
    found = adopted(runs.values())
    if found is None:
        return None
    change, warnings = found
    for warning in warnings if warn else ():
        _log.warning("%s", warning)
    document = build(State(None), change, _HEADING)
    return (document, _those_in(document, runs)) if document.live else None


def _those_in(document: Document, runs: Mapping[str, RunFacts]) -> dict[str, RunFacts]:
    return {run_id: facts for run_id, facts in runs.items() if run_id in document.runs}
