"""The runs of a submodel with their status: the document first, then the runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlflow_utilities.client import AsyncMlflowClient
from mlflow_utilities.errors import LedgerMissingError, RolloutError
from mlflow_utilities.rollout.calls import find_runs, quoted, runs_by_id
from mlflow_utilities.rollout.document import Document
from mlflow_utilities.rollout.facts import GENERATION_TAG, RunFacts
from mlflow_utilities.rollout.reader import Ledger, missing_run
from mlflow_utilities.rollout.status import ModelStatus
from mlflow_utilities.rollout.status_rule import decide
from mlflow_utilities.rollout.version import Version
from mlflow_utilities.rollout.version_range import VersionRange

__all__ = ["Listed", "Wanted", "check_not_lost", "is_ahead", "list_submodel", "submodel_runs"]

_LIVE = (ModelStatus.Active, ModelStatus.Canary)
_READINGS = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs to list; None means any."""

    versions: VersionRange
    status: ModelStatus | None = None
    immutable: Mapping[str, Any] | None = None
    mutable: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A run with its status and its share of requests."""

    facts: RunFacts
    version: Version
    status: ModelStatus
    fraction: float


async def list_submodel(client: AsyncMlflowClient, ledger: Ledger, wanted: Wanted) -> list[Listed]:
    """Return the finished runs that fit, newest first.

    Two requests in the steady state: the end of the ledger, and the runs (those that are live alone, when the status
    says so). When a run shows a later generation than the document, both are read again.

    Raises:
        LedgerMissingError: runs show a rollout, and there is no ledger.
        RolloutError: the ledger is there and cannot be read yet; metrics alone would show a part of a change.

    """
    document, runs = await _read_both(client, ledger, wanted)
    found = [
        Listed(facts, facts.version, *decide(facts.run_id, document, facts.active_state, facts.test_fraction))
        for facts in runs
        if facts.version is not None
    ]
    fitting = [
        item
        for item in found
        if (wanted.status is None or item.status is wanted.status)
        and item.facts.matches(wanted.immutable, wanted.mutable)
    ]
    versions = set(wanted.versions.matching([item.version for item in fitting]))
    kept = [item for item in fitting if item.version in versions]
    return sorted(kept, key=lambda item: (-(item.facts.start_time or 0), item.facts.run_id))


async def _read_both(
    client: AsyncMlflowClient, ledger: Ledger, wanted: Wanted
) -> tuple[Document | None, list[RunFacts]]:
    reading = 0
    while True:
        reading += 1
        tip = await ledger.walk(client)
        runs = await _read(client, ledger, tip.document, wanted)
        hidden = tip.document is None and (tip.lagging or tip.newer is not None)
        if reading == _READINGS or not (hidden or is_ahead(runs, tip.document)):
            break
        if reading == 1:
            await ledger.look_again(client)
    check_not_lost(runs, tip.document)
    if tip.document is None and tip.missing and ledger.control:
        raise missing_run(tip.missing, ledger.control.experiment_id)
    if hidden:
        raise RolloutError(
            f"the ledger of {ledger.submodel} cannot be read: {tip.newer or 'a run of it does not show yet'}",
            hint="update mlflow-utilities" if tip.newer else "is this a read replica that lags behind? try again",
        )
    return tip.document, runs


def is_ahead(runs: Iterable[RunFacts], document: Document | None) -> bool:
    """Return whether a run shows a later generation than the document."""
    generation = document.generation if document else 0
    return any(facts.step > generation for facts in runs)


def check_not_lost(runs: Iterable[RunFacts], document: Document | None) -> None:
    """Refuse to take runs for ones that never had a ledger when they show generations of one.

    Raises:
        LedgerMissingError: there is no document, and a run shows a generation.

    """
    # The tag tells generations of a ledger from steps that another tool gave the metric.
    shown = max((facts.step for facts in runs if GENERATION_TAG in facts.tags), default=0)
    if document is None and shown:
        raise LedgerMissingError(
            f"runs show generation {shown} of a rollout, and there is no ledger: was its control experiment renamed?",
            hint="give it its name back, or let reconcile(rebuild=True) begin a new ledger from what the runs show",
        )


async def _read(client: AsyncMlflowClient, ledger: Ledger, document: Document | None, wanted: Wanted) -> list[RunFacts]:
    experiment_id = ledger.experiment.experiment_id
    if document is None or wanted.status not in _LIVE:
        return await submodel_runs(client, experiment_id, ledger.submodel, wanted.versions.exact)
    live = [
        entry.run
        for version, entries in document.live.items()
        for entry in entries
        if entry.status is wanted.status and _may_match(wanted.versions, version)
    ]
    found = await runs_by_id(client, experiment_id, live)
    return [facts for facts in found.values() if not facts.deleted]


def _may_match(versions: VersionRange, key: str) -> bool:
    """Whether a version may be among those wanted; "latest" is decided when all of them are known."""
    exact = versions.exact
    return exact is None or exact.without_build == key


async def submodel_runs(
    client: AsyncMlflowClient, experiment_id: str, submodel: str, version: Version | None = None
) -> list[RunFacts]:
    """Return the finished runs of a submodel, of one version if it is given: one request for each 250 of them."""
    clauses = ["attributes.status = 'FINISHED'"]
    value = quoted(submodel)
    if value is not None:
        clauses.append(f"params.submodel_name = {value}")
    if version is not None:
        numbers = {"major": version.major, "minor": version.minor, "micro": version.micro}
        clauses.extend(f"params.{name}_version = '{number}'" for name, number in numbers.items())
    found = await find_runs(client, experiment_id, " AND ".join(clauses))
    return [facts for facts in found if facts.submodel == submodel and facts.version is not None]
